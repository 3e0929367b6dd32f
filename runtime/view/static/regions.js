// The regions that a person draws, in mm: up to eight, numbered, of a kind and with a role. Drawn, moved and resized by
// pointer or by keys. Knows panels, no server. A region is always inside the rectangle of the image that it was drawn on.

import { gripPx } from './grips.js';
import { CIRCLE, area, fitted, gripsOf, holds, middle, polygon, sentAs, shownOn, turned } from './shapes.js';
import { Callipers } from './callipers.js';
import { across, down, inside, mmAt } from './layout.js';
import { say } from './language.js';

export const MOST = 8;
export const KINDS = ['rectangle', 'ellipse', 'polygon'];
export const TOOLS = [...KINDS, 'calliper'];
// What a region is for. One is divided by: the reference, or fat. Two are the same lesion, outlined on B-mode and on strain.
export const ROLES = ['target', 'reference', 'fat', 'bmode', 'strain'];
const REFERENCES = ['reference', 'fat'];
const LEAST_MM = 0.5;
const SLACK_PX = 6; // a press that moves less draws nothing
const LONGEST_NAME = 24;
const MOST_DRAWN = 2000; // points of a free-hand line, before it is made simple
// Where keys place regions, as shares of depth and width; the first two are those of a ratio.
const PLACES = [[0.5, 0.5], [0.5, 0.14], [0.5, 0.86], [0.2, 0.5], [0.8, 0.5], [0.2, 0.14], [0.2, 0.86], [0.8, 0.14]];
const DODECAGON = Array.from({ length: 12 }, (_, k) => CIRCLE[Math.round((k * CIRCLE.length) / 12)]);

export class Regions {
  all = []; // { id, kind, depth, lateral, unit, name, role }, in the order of their numbers
  active = null; // number of the one that keys move
  tool = 'rectangle'; // what is drawn next
  histogram = false;
  version = 0; // counts changes of what is measured
  draft = null; // a free-hand line under way, in mm
  armed = false; // the next press draws, whatever lies below
  #drag = null;

  constructor(changed, notice) {
    this.changed = changed;
    this.notice = notice;
    this.callipers = new Callipers(changed, notice);
  }

  get = (id) => this.all.find((one) => one.id === id);

  get reference() {
    return this.all.find((one) => REFERENCES.includes(one.role));
  }

  // The one whose ratio is shown large.
  get target() {
    const targets = this.all.filter((one) => one.role === 'target');
    return targets.find((one) => one.id === this.active) ?? targets[0];
  }

  // The one whose histogram is shown.
  get chosen() {
    return this.get(this.active) ?? this.target ?? this.all[0];
  }

  // As the server reads them; null for none.
  get plan() {
    if (!this.all.length) return null;
    const at = (region) => (region ? this.all.indexOf(region) : null);
    return { version: this.version, shapes: this.all.map(sentAs), reference: at(this.reference), histogram: this.histogram ? at(this.chosen) : null };
  }

  #done() {
    this.version += 1;
    this.changed();
  }

  clear() {
    Object.assign(this, { all: [], active: null, draft: null });
    this.#drag = null;
    this.callipers.clear();
    this.#done();
  }

  remove(id = this.active) {
    if (id === null && this.callipers.active) this.callipers.remove();
    if (!this.get(id)) return;
    this.all = this.all.filter((one) => one.id !== id);
    this.active = this.#drag = null;
    this.#done();
  }

  use(tool) {
    this.tool = tool;
    this.armed = true;
    this.activate(null);
  }

  showHistogram(on) {
    this.histogram = on;
    this.#done();
  }

  rename(id, name) {
    this.get(id).name = Array.from(name.replace(/\p{C}/gu, '').trim()).slice(0, LONGEST_NAME).join('');
    this.changed();
  }

  assign(id, role) {
    const alike = REFERENCES.includes(role) ? REFERENCES : role === 'target' ? [] : [role];
    for (const one of this.all) if (alike.includes(one.role)) one.role = 'target';
    this.get(id).role = role;
    this.#done();
  }

  // Whether keys move anything.
  get moving() {
    return Boolean(this.get(this.active) || this.callipers.active);
  }

  activate(id) {
    const before = this.chosen;
    if (id !== null) this.callipers.active = null;
    this.active = id;
    if (this.histogram && this.chosen !== before) this.#done();
    else this.changed();
  }

  // Choose a region; one that is not there yet is placed where it may be of use.
  choose(id, picture) {
    if (this.get(id) || !picture) return this.activate(id);
    const { extent: [deep, wide], origin, fan } = picture;
    const [half, narrow] = [0.1 * deep, (fan ? 0.05 : 0.1) * wide];
    const [u, v] = PLACES[id - 1];
    const beside = id <= 2 ? this.get(3 - id) : null;
    const depth = beside ? (beside.depth[0] + beside.depth[1]) / 2 : origin[0] + u * deep;
    const lateral = origin[1] + (fan ? 0.5 + 0.417 * (v - 0.5) : v) * wide;
    const kind = KINDS.includes(this.tool) ? this.tool : KINDS[0];
    this.#add(id, { kind, ...(kind === 'polygon' && { unit: DODECAGON }), ...fitted(picture, { depth: [depth - half, depth + half], lateral: [lateral - narrow, lateral + narrow] }) });
  }

  #add(id, shape) {
    const role = id === 2 && !this.reference ? 'reference' : 'target';
    this.all = [...this.all.filter((one) => one.id !== id), { id, name: '', role, ...shape }].sort((a, b) => a.id - b.id);
    this.active = id;
    this.callipers.active = null;
    this.#done();
  }

  get #free() {
    for (let id = 1; id <= MOST; id++) if (!this.get(id)) return id;
    return null;
  }

  release() {
    this.armed = false;
    this.up(false);
    this.callipers.activate(null);
    this.activate(null);
  }

  // What is under way is broken off; else what is chosen is let go, and the drawing tool with it.
  leave() {
    const idle = !this.draft && !this.#drag && !this.callipers.busy;
    this.release();
    if (idle) this.tool = KINDS[0];
  }

  // By keys: a step down and right, or the far corner.
  nudge(depth, lateral, resize, picture) {
    if (this.callipers.active) return this.callipers.nudge(depth, lateral, resize, picture);
    const region = this.get(this.active);
    if (!region) return;
    const by = (pair, mm) => (resize ? [pair[0], Math.max(pair[0] + LEAST_MM, pair[1] + mm)] : [pair[0] + mm, pair[1] + mm]);
    this.#set(region, fitted(picture, { ...region, depth: by(region.depth, depth), lateral: by(region.lateral, lateral) }));
  }

  // The chosen ellipse, by degrees.
  turn(by, picture) {
    const region = this.get(this.active);
    if (region?.kind === 'ellipse' && picture) this.#turnTo(region, (region.angle ?? 0) + by, picture);
  }

  #turnTo(region, angle, picture) {
    const next = { ...region, angle: ((Math.round(angle) + 540) % 360) - 180 };
    this.#set(region, { angle: next.angle, ...fitted(picture, next) });
  }

  #set(region, place) {
    Object.assign(region, place);
    this.#done();
  }

  // The region at a place of a panel, and whether it is a grip of it: the chosen one before others, small ones before large.
  hit(panel, x, y) {
    const at = mmAt(panel, x, y);
    const order = this.all.filter((one) => shownOn(one.role, panel.kind)).sort((a, b) => (b.id === this.active) - (a.id === this.active) || area(a) - area(b));
    for (const region of order) {
      const sides = [region.depth, region.lateral].map(([first, last]) => last - first);
      const reach = gripPx(panel.scale * Math.min(...sides));
      const near = (grip) => grip && Math.hypot(across(panel, grip[1]) - x, down(panel, grip[0]) - y);
      const { resize, turn } = gripsOf(region);
      if (near(resize) < reach) return { region, how: 'resize' };
      if (turn && region.id === this.active && near(turn) < Math.min(reach, panel.scale * Math.min(...sides) / 2)) return { region, how: 'turn' };
      if (holds(region, at)) return { region, how: 'move' };
    }
    return null;
  }

  down(panels, x, y, picture) {
    const panel = panels.find((one) => inside(one, x, y));
    if (!panel) {
      if (panels.length) this.notice(say('regions.inside'));
      return false;
    }
    const at = mmAt(panel, x, y);
    const hit = this.armed ? null : this.hit(panel, x, y);
    const measure = this.tool === 'calliper';
    if (this.callipers.down(panel, x, y, picture, measure && !hit)) {
      this.armed = false;
      this.activate(null);
      return true;
    }
    if (hit) {
      const { id, depth, lateral } = hit.region;
      this.activate(id);
      this.#drag = { ...hit, panel, picture, at, from: { depth, lateral } };
      return true;
    }
    const id = this.#free;
    if (!id) this.notice(say('regions.full', { most: MOST }));
    else this.#drag = { how: 'draw', id, panel, picture, at, pressed: [x, y], moved: false };
    this.activate(null);
    return Boolean(id);
  }

  move(x, y) {
    if (this.callipers.busy) return this.callipers.move(x, y);
    const drag = this.#drag;
    if (!drag) return;
    const { panel, picture, from } = drag;
    const at = mmAt(panel, x, y);
    if (drag.how === 'move') {
      const by = (axis) => from[axis].map((one) => one + at[axis] - drag.at[axis]);
      this.#set(drag.region, fitted(picture, { ...drag.region, depth: by('depth'), lateral: by('lateral') }));
      return;
    }
    if (drag.how === 'turn' || (drag.how === 'resize' && drag.region.angle)) return this.#turning(drag, [at.depth, at.lateral]);
    if (drag.how === 'draw' && !drag.moved) {
      if (Math.hypot(x - drag.pressed[0], y - drag.pressed[1]) < SLACK_PX) return;
      drag.moved = true;
      this.armed = false;
      if (this.tool === 'polygon') this.draft = [[drag.at.depth, drag.at.lateral]];
    }
    if (this.draft) return this.#extend(at, drag);
    const place = this.#spanned(drag.how === 'resize' ? { depth: from.depth[0], lateral: from.lateral[0] } : drag.at, at, picture);
    if (drag.region) return this.#set(drag.region, place);
    this.#add(drag.id, { kind: this.tool, ...place });
    drag.region = this.get(drag.id);
  }

  // An ellipse whose upper end is drawn to a place, or, where it is turned, whose corner is: about its middle.
  #turning({ region, how, picture }, at) {
    const [z, x] = middle(region);
    if (how === 'turn') return this.#turnTo(region, (Math.atan2(x - at[1], z - at[0]) * 180) / Math.PI, picture);
    const [half, wide] = turned(region, at, true).map((mm, axis) => Math.max(LEAST_MM / 2, Math.abs(mm - [z, x][axis])));
    this.#set(region, fitted(picture, { ...region, depth: [z - half, z + half], lateral: [x - wide, x + wide] }));
  }

  // Between two points, inside the image, and with an area.
  #spanned(start, end, { origin, reach }) {
    const span = (a, b, least, most) => {
      const [low, high] = [Math.max(least, Math.min(a, b)), Math.min(least + most, Math.max(a, b))];
      const from = Math.min(low, least + most - LEAST_MM);
      return high - low >= LEAST_MM ? [low, high] : [from, from + LEAST_MM];
    };
    return { depth: span(start.depth, end.depth, origin[0], reach[0]), lateral: span(start.lateral, end.lateral, origin[1], reach[1]) };
  }

  #extend(at, { picture: { origin, reach }, panel }) {
    const held = [at.depth, at.lateral].map((mm, axis) => Math.max(origin[axis], Math.min(origin[axis] + reach[axis], mm)));
    const last = this.draft.at(-1);
    if (Math.hypot(held[0] - last[0], held[1] - last[1]) * panel.scale < 2) return;
    this.draft.push(held);
    if (this.draft.length > MOST_DRAWN) this.draft = this.draft.filter((_, k) => k % 2 === 0);
    this.changed();
  }

  // The pointer has left the image's surface; `done`: by the person's will.
  up(done = true) {
    const [drag, line] = [this.#drag, this.draft];
    this.#drag = this.draft = null;
    this.callipers.up();
    if (!line) return;
    const shape = done ? polygon(line, LEAST_MM) : null;
    if (shape) return this.#add(drag.id, shape);
    if (done) this.notice(say('regions.crossed'));
    this.changed();
  }
}

// The first two are called A and B, as long as they have no other name.
export const labelOf = ({ id, name }) => name || ({ 1: 'A', 2: 'B' }[id] ?? String(id));
