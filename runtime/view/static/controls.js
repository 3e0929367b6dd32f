// Buttons, sliders, pointers and keys: what a person does becomes a change of the page. Knows the elements and the page.
// Every action has a key and a button, and both do the same.

import { MODES, RANGES, keep, next } from './settings.js';
import { listen, writeHelp } from './keys.js';
import { say } from './language.js';
import { share } from './words.js';
import { Pedals } from './pedals.js';
import { snapshot } from './snapshot.js';

const $ = (id) => document.getElementById(id);
const OPACITY_STEP = 0.1;
const NUDGE = 0.02; // of the depth
const TURN_DEG = 5;
const ACTIVATE = { freeze: 'freeze', mode: 'mode', map: 'map', range: 'range', 'quality-map': 'quality', blank: 'blank', box: 'box', invert: 'invert', best: 'best', average: 'average', clear: 'clear', 'histogram-button': 'histogram', snapshot: 'snapshot', record: 'record', 'help-button': 'help', apart: 'apart', full: 'full' };

export class Controls {
  constructor(page) {
    this.page = page;
    for (const [id, action] of Object.entries(ACTIVATE)) $(id).addEventListener('click', () => this.act(action));
    $('help-close').addEventListener('click', () => $('help').close());
    $('opacity').addEventListener('input', ({ target }) => this.#set('opacity', Number(target.value) / 100));
    writeHelp($('keys'));
    document.addEventListener('language', () => writeHelp($('keys')));
    listen((action, key, event) => this.act(action, key, event), new Pedals());
    this.#pointers($('canvas'));
  }

  act(action, key = '', event = {}) {
    const { box, cine, list, regions, review, view } = this.page;
    const actions = {
      freeze: () => review.freeze(),
      step: () => review.go(cine.place + (key === ',' ? -1 : 1)),
      ends: () => review.go(key === 'Home' ? 0 : cine.count - 1),
      best: () => review.best(),
      average: () => review.average(),
      mode: () => this.page.about?.bmode ? this.#set('mode', next(MODES, view.mode)) : this.page.notice(say('help.no_bmode')),
      opacity: () => this.#set('opacity', Math.max(0, Math.min(1, view.opacity + (key === '-' || key === '−' ? -OPACITY_STEP : OPACITY_STEP)))),
      map: () => this.#set('map', next(this.page.painter.maps, view.map)),
      range: () => this.#set('range', next(RANGES, view.range)),
      quality: () => this.#set('quality', !view.quality),
      blank: () => this.#set('blank', !view.blank),
      invert: () => this.#set('invert', !view.invert),
      box: () => this.#box(cine.shown),
      region: () => list.choose({ a: 1, b: 2 }[key] ?? Number(key)),
      tool: () => list.toggle({ e: 'ellipse', p: 'polygon' }[key]),
      distance: () => list.measure(),
      histogram: () => list.histogram(),
      arrow: () => this.#arrow(key, event.shiftKey),
      turn: () => regions.turn(event.shiftKey ? -TURN_DEG : TURN_DEG, cine.shown),
      remove: () => (box.active ? box.forget() : regions.remove()),
      clear: () => regions.clear(),
      snapshot: () => this.#snapshot(),
      record: () => this.#record(),
      case: () => this.page.patient.open(),
      dicom: () => this.page.dicom.key(event.shiftKey ? 'film' : 'image', key === 'y'),
      full: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()).catch(() => {}),
      language: () => this.page.languages.open(),
      apart: () => this.page.apart.open(),
      help: () => $('help').showModal(),
      escape: () => {
        box.release();
        regions.leave();
      },
    };
    actions[action]?.();
    this.page.dirty = true;
  }

  #set(name, value) {
    this.page.view[name] = value;
    this.page.dirty = true;
    keep(this.page.view);
  }

  #arrow(key, resize) {
    const { box, cine, regions } = this.page;
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
    const picture = cine.shown;
    const step = NUDGE * (picture?.extent[0] ?? 0);
    if (box.active && box.on && picture) {
      box.nudge(down * step, right * step, resize, picture);
    } else if (regions.moving && picture) {
      regions.nudge(down * step, right * step, resize, picture);
    } else if (right) {
      this.page.review.go(cine.place + right);
    }
  }

  #box(picture) {
    const { box, notice, regions } = this.page;
    if (!picture && !box.on) {
      notice(say('regions.no_image'));
      return;
    }
    box.toggle(picture);
    if (box.on) notice(say(box.armed ? 'press.box_draw' : 'press.box_hint'));
    regions.release();
  }

  #snapshot() {
    const scene = this.page.scene();
    if (scene.picture) {
      snapshot(scene);
      this.page.patient.saved();
    } else this.page.notice(say('snapshot.no_image'));
  }

  #record() {
    const { about, record, notice, send, link } = this.page;
    if (!about?.control) notice(say('record.needs'));
    else if (link !== 'open') notice(say('record.lost'));
    else if (record?.error) notice(record.error);
    else send('record', !record?.running);
  }

  #pointers(canvas) {
    const at = (event) => [event.offsetX, event.offsetY];
    let holder = null; // the pointer that draws: a second finger, or a palm, moves nothing
    canvas.addEventListener('pointerdown', (event) => {
      const { box, regions, panels, cine } = this.page;
      if (event.button !== 0 || !cine.shown || (holder ?? event.pointerId) !== event.pointerId) return;
      const mine = !regions.armed && box.down(panels, ...at(event), cine.shown);
      if (!mine) box.release();
      if (!mine && !regions.down(panels, ...at(event), cine.shown)) return;
      holder = event.pointerId;
      canvas.setPointerCapture(holder);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (event.pointerId !== holder) return;
      this.page.box.move(...at(event));
      this.page.regions.move(...at(event));
    });
    for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      canvas.addEventListener(name, (event) => {
        if (event.pointerId !== holder) return;
        holder = null;
        this.page.box.up();
        this.page.regions.up(name === 'pointerup');
      });
    }
  }

  // What the controls say, now.
  show() {
    const { box, view, record, about } = this.page;
    document.body.dataset.mode = about?.bmode ? view.mode : 'strain';
    put($('mode'), say(`view.${about?.bmode ? view.mode : 'strain'}`));
    able($('mode'), about?.bmode);
    $('opacity').value = Math.round(100 * view.opacity);
    put($('map'), say(`view.${view.map}`));
    press($('invert'), view.invert);
    $('map-unsafe').hidden = this.page.painter.safe(view.map);
    put($('range'), view.range === 'auto' ? say('view.range_auto') : say('view.range_fixed', { percent: share(view.range, view.range < 0.01 ? 1 : 0) }));
    press($('quality-map'), view.quality);
    press($('blank'), view.blank);
    press($('box'), box.on);
    put($('box'), say(box.on ? 'press.box_off' : 'press.box'));
    this.#showRecord(record, about);
  }

  #showRecord(record, about) {
    const button = $('record');
    const on = Boolean(record?.running);
    press(button, on);
    put(button, on ? say(record.missing ? 'record.stop_missing' : 'record.stop', record) : say('record.start'));
    button.title = !about?.control ? say('record.needs_title') : record?.error || `${say('record.title')} (R)`;
    able(button, about?.control && !record?.error);
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// One that does nothing now can still be pressed, and says why: a title is not seen by whoever has no mouse.
function able(element, on) {
  element.setAttribute('aria-disabled', String(!on));
}

function press(element, on) {
  element.setAttribute('aria-pressed', String(on));
}
