// Buttons, sliders, pointers and keys: what a person does becomes a change of the page. Knows the elements and the page.
// Every action has a key and a button, and both do the same.

import { MODES, RANGES, keep, next } from './settings.js';
import { listen, writeHelp } from './keys.js';
import { say } from './language.js';
import { seconds, share } from './words.js';
import { snapshot } from './snapshot.js';

const $ = (id) => document.getElementById(id);
const OPACITY_STEP = 0.1;
const NUDGE = 0.02; // of the depth
const ACTIVATE = { freeze: 'freeze', mode: 'mode', map: 'map', range: 'range', 'quality-map': 'quality', blank: 'blank', clear: 'clear', 'histogram-button': 'histogram', snapshot: 'snapshot', record: 'record', 'help-button': 'help' };

export class Controls {
  constructor(page) {
    this.page = page;
    for (const [id, action] of Object.entries(ACTIVATE)) $(id).addEventListener('click', () => this.act(action));
    $('help-close').addEventListener('click', () => $('help').close());
    $('opacity').addEventListener('input', ({ target }) => this.#set('opacity', Number(target.value) / 100));
    $('time').addEventListener('input', ({ target }) => this.#go(Number(target.value)));
    writeHelp($('keys'));
    listen((action, key, event) => this.act(action, key, event));
    this.#pointers($('canvas'));
  }

  act(action, key = '', event = {}) {
    const { cine, list, regions, view } = this.page;
    const actions = {
      freeze: () => this.#freeze(),
      step: () => this.#go(cine.place + (key === ',' ? -1 : 1)),
      ends: () => this.#go(key === 'Home' ? 0 : cine.count - 1),
      mode: () => this.#set('mode', next(this.#modes(), view.mode)),
      opacity: () => this.#set('opacity', Math.max(0, Math.min(1, view.opacity + (key === '-' || key === '−' ? -OPACITY_STEP : OPACITY_STEP)))),
      map: () => this.#set('map', next(this.page.painter.maps, view.map)),
      range: () => this.#set('range', next(RANGES, view.range)),
      quality: () => this.#set('quality', !view.quality),
      blank: () => this.#set('blank', !view.blank),
      region: () => list.choose({ a: 1, b: 2 }[key] ?? Number(key)),
      tool: () => list.toggle({ e: 'ellipse', p: 'polygon' }[key]),
      distance: () => list.measure(),
      histogram: () => list.histogram(),
      arrow: () => this.#arrow(key, event.shiftKey),
      remove: () => regions.remove(),
      clear: () => regions.clear(),
      snapshot: () => this.#snapshot(),
      record: () => this.#record(),
      full: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()).catch(() => {}),
      help: () => $('help').showModal(),
      escape: () => regions.release(),
    };
    actions[action]?.();
    this.page.dirty = true;
  }

  #modes() {
    return this.page.about?.bmode ? MODES : ['strain'];
  }

  #set(name, value) {
    this.page.view[name] = value;
    this.page.dirty = true;
    keep(this.page.view);
  }

  #freeze() {
    const { cine, measuring, notice } = this.page;
    if (cine.frozen) cine.resume();
    else cine.freeze();
    if (!cine.frozen && !cine.count) notice(say('cine.no_image'));
    measuring.update();
  }

  #go(place) {
    this.page.cine.go(place);
    this.page.measuring.update();
    this.page.dirty = true;
  }

  #arrow(key, resize) {
    const { cine, regions } = this.page;
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
    const picture = cine.shown;
    if (regions.moving && picture) {
      const step = NUDGE * picture.extent[0];
      regions.nudge(down * step, right * step, resize, picture);
    } else if (right) {
      this.#go(cine.place + right);
    }
  }

  #snapshot() {
    const scene = this.page.scene();
    if (scene.picture) snapshot(scene);
    else this.page.notice(say('snapshot.no_image'));
  }

  #record() {
    const { about, record, notice, send, link } = this.page;
    if (!about?.control) notice(say('record.needs'));
    else if (link !== 'open') notice(say('record.lost'));
    else send('record', !record?.files.length);
  }

  #pointers(canvas) {
    const at = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener('pointerdown', (event) => {
      const { regions, panels, cine } = this.page;
      if (event.button !== 0 || !cine.shown) return;
      if (regions.down(panels, ...at(event), cine.shown)) canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener('pointermove', (event) => this.page.regions.move(...at(event)));
    canvas.addEventListener('pointerup', () => this.page.regions.up());
    canvas.addEventListener('pointercancel', () => this.page.regions.up(false));
  }

  // What the controls say, now.
  show() {
    const { cine, view, record, about } = this.page;
    document.body.dataset.frozen = cine.frozen;
    document.body.dataset.mode = about?.bmode ? view.mode : 'strain';
    put($('freeze'), say(cine.frozen ? 'cine.live' : 'cine.freeze'));
    $('time').max = Math.max(0, cine.count - 1);
    $('time').value = cine.place;
    put($('time-words'), cine.frozen ? say('cine.back', { back: seconds(cine.backMs, 1), span: seconds(cine.spanMs) }) : say('cine.kept', { span: seconds(cine.spanMs) }));
    put($('mode'), say(`view.${about?.bmode ? view.mode : 'strain'}`));
    $('mode').disabled = !about?.bmode;
    $('opacity').value = Math.round(100 * view.opacity);
    put($('map'), say(`view.${view.map}`));
    put($('range'), view.range === 'auto' ? say('view.range_auto') : say('view.range_fixed', { percent: share(view.range, view.range < 0.01 ? 1 : 0) }));
    press($('quality-map'), view.quality);
    press($('blank'), view.blank);
    this.#showRecord(record, about);
  }

  #showRecord(record, about) {
    const button = $('record');
    const on = Boolean(record?.files.length);
    press(button, on);
    put(button, on ? say(record.missing ? 'record.stop_missing' : 'record.stop', record) : say('record.start'));
    button.title = !about?.control ? say('record.needs_title') : record?.error || `${say('record.title')} (R)`;
    button.disabled = !about?.control || Boolean(record?.error);
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function press(element, on) {
  element.setAttribute('aria-pressed', String(on));
}
