// The regions beside the images: the ratio, a row for each with its name and role, and what they are drawn with. Knows its
// elements and the page; writes only what changed, so that nobody loses a word that is being typed.

import { KINDS, MOST, ROLES, TOOLS } from './regions.js';
import { openTab } from './tabs.js';
import { distanceLines, ratioTexts, regionLines, sizesText } from './ratios.js';
import { language, say } from './language.js';

const $ = (id) => document.getElementById(id);

export class RegionList {
  #rows = new Map();
  #built = '';

  constructor(page) {
    this.page = page;
    for (const tool of TOOLS) $(`draw-${tool}`).addEventListener('click', () => this.use(tool));
    for (const [id, number] of [['region-a', 1], ['region-b', 2]]) $(id).addEventListener('click', () => this.choose(number));
  }

  use(kind) {
    this.page.box.release();
    this.page.regions.use(kind);
  }

  toggle(kind) {
    this.use(this.page.regions.tool === kind ? KINDS[0] : kind);
  }

  // Distances; asked for again, one is placed for keys.
  measure() {
    const { regions, cine, notice } = this.page;
    if (!cine.shown) notice(say('regions.no_image'));
    else if (regions.tool === 'calliper') regions.callipers.place(cine.shown);
    this.use('calliper');
  }

  histogram() {
    const { regions } = this.page;
    regions.showHistogram(!regions.histogram);
    if (regions.histogram) openTab('lists');
    $('histogram').hidden = !regions.histogram;
    $('histogram').scrollIntoView({ block: 'nearest' });
  }

  choose(number) {
    const { regions, cine, notice } = this.page;
    if (!(number >= 1 && number <= MOST)) return;
    this.page.box.release();
    if (cine.shown || regions.get(number)) regions.choose(number, cine.shown);
    else notice(say('regions.no_image'));
  }

  show(scene) {
    const { regions } = scene;
    const { title, value, words, more } = ratioTexts(scene);
    for (const [id, text] of Object.entries({ 'ratio-title': title, 'ratio-value': value, 'ratio-words': words, 'ratio-more': more, 'region-sizes': sizesText(scene) })) put($(id), text);
    const lines = regionLines(scene);
    $('region-start').hidden = lines.length > 0;
    $('distances').hidden = !regions.callipers.all.length;
    const distances = distanceLines(scene);
    const built = JSON.stringify([language(), regions.active, regions.callipers.active, lines.map(({ id, role }) => [id, role]), distances.map(({ id, on }) => [id, on])]);
    if (built !== this.#built) this.#build(lines, distances, regions);
    this.#built = built;
    for (const line of lines) {
      this.#rows.get(line.id).button.title = line.label; // where there is not the room for it
      for (const name of ['label', 'strain', 'ratio', 'area']) put(this.#rows.get(line.id)[name], line[name]);
    }
    for (const tool of TOOLS) $(`draw-${tool}`).setAttribute('aria-pressed', String(regions.tool === tool));
    for (const [id, number] of [['region-a', 1], ['region-b', 2]]) $(id).setAttribute('aria-pressed', String(regions.active === number));
    for (const { id, length } of distances) put(this.#rows.get(`D${id}`).length, length);
    $('clear').disabled = !lines.length && !distances.length;
  }

  #build(lines, distances, regions) {
    const list = $('lists');
    const held = list.contains(document.activeElement) && document.activeElement.dataset.part;
    this.#rows.clear();
    $('region-list').replaceChildren(...lines.map((line) => this.#row(line, regions)));
    $('distance-list').replaceChildren(...distances.map((line) => this.#distance(line, regions.callipers)));
    if (!held) return;
    const item = this.#rows.get(regions.active ?? `D${regions.callipers.active}`)?.button.parentElement;
    (item?.querySelector(`[data-part=${held}]`) ?? $('canvas')).focus();
  }

  #row({ id, role }, regions) {
    const item = make('li');
    const button = make('button', { part: 'row', className: 'row', ariaPressed: String(regions.active === id) });
    const parts = Object.fromEntries(['label', 'strain', 'ratio', 'area'].map((name) => [name, make('span', { className: name })]));
    button.append(...Object.values(parts));
    button.addEventListener('click', () => {
      this.page.box.release();
      regions.activate(regions.active === id ? null : id);
    });
    item.append(button);
    if (regions.active === id) item.append(this.#editor(id, role, regions));
    this.#rows.set(id, { button, ...parts });
    return item;
  }

  #distance({ id, label, on, length }, callipers) {
    const item = make('li');
    const button = make('button', { part: 'row', className: 'row', ariaPressed: String(callipers.active === id) });
    const shown = make('span', { textContent: length });
    button.append(make('span', { className: 'label', textContent: label }), make('span', { textContent: on }), shown);
    button.addEventListener('click', () => {
      this.page.box.release();
      this.page.regions.activate(null);
      callipers.activate(callipers.active === id ? null : id);
    });
    item.append(button);
    if (callipers.active === id) {
      const editor = make('div', { className: 'editor' });
      const images = make('select', { part: 'role', ariaLabel: say('callipers.on', { id }) });
      images.append(...['bmode', 'strain'].map((one) => make('option', { value: one, textContent: say(`regions.${one}`), selected: one === callipers.get(id).on })));
      images.addEventListener('change', () => callipers.assign(id, images.value));
      const remove = make('button', { part: 'remove', textContent: say('regions.remove') });
      remove.addEventListener('click', () => callipers.remove(id));
      editor.append(images, remove);
      item.append(editor);
    }
    this.#rows.set(label, { button, length: shown });
    return item;
  }

  #editor(id, role, regions) {
    const editor = make('div', { className: 'editor' });
    const name = make('input', { part: 'name', type: 'text', maxLength: 24, value: regions.get(id).name, placeholder: say('regions.name_hint'), ariaLabel: say('regions.name', { id }) });
    name.addEventListener('input', () => regions.rename(id, name.value));
    const roles = make('select', { part: 'role', ariaLabel: say('regions.role', { id }) });
    roles.append(...ROLES.map((one) => make('option', { value: one, textContent: say(`regions.${one}`), selected: one === role })));
    roles.addEventListener('change', () => regions.assign(id, roles.value));
    const remove = make('button', { part: 'remove', textContent: say('regions.remove') });
    remove.addEventListener('click', () => regions.remove(id));
    editor.append(name, roles, remove);
    return editor;
  }
}

function make(tag, { part, ...properties } = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  if (part) element.dataset.part = part; // for who has it in hand while the list is built anew
  return element;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
