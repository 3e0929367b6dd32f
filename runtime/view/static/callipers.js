// Distances that a person measures: up to four callipers of two points in mm, each on B-mode or on strain. Drawn and moved by
// pointer or by keys. Knows panels; no elements. Both ends are always inside the rectangle of the image.

import { gripPx } from './grips.js';
import { across, down, mmAt } from './layout.js';
import { say } from './language.js';
import { shownOn } from './shapes.js';

export const MOST_CALLIPERS = 4;
const LINE_PX = 12;
const SLACK_PX = 6;

export class Callipers {
  all = []; // { id, on: 'bmode' or 'strain', ends: two of { depth, lateral } }
  active = null;
  #drag = null;

  constructor(changed, notice) {
    Object.assign(this, { changed, notice });
  }

  get = (id) => this.all.find((one) => one.id === id);

  get busy() {
    return Boolean(this.#drag);
  }

  // The last one on an image.
  last = (on) => this.all.filter((one) => one.on === on).at(-1);

  clear() {
    Object.assign(this, { all: [], active: null });
    this.#drag = null;
    this.changed();
  }

  remove(id = this.active) {
    this.all = this.all.filter((one) => one.id !== id);
    this.active = this.#drag = null;
    this.changed();
  }

  activate(id) {
    this.active = id;
    this.changed();
  }

  assign(id, on) {
    this.get(id).on = on;
    this.changed();
  }

  // In the middle of the image, to be moved by keys.
  place({ origin, extent }) {
    const depth = origin[0] + extent[0] / 2;
    const lateral = [0.4, 0.6].map((share) => origin[1] + share * extent[1]);
    this.#add('strain', lateral.map((one) => ({ depth, lateral: one })));
  }

  #add(on, ends) {
    const id = [1, 2, 3, 4].find((one) => !this.get(one));
    if (!id) return this.notice(say('callipers.full', { most: MOST_CALLIPERS }));
    this.all = [...this.all, { id, on, ends }];
    this.activate(id);
    return this.get(id);
  }

  // By keys: the whole, or its second end.
  nudge(depth, lateral, end, { origin, reach }) {
    const one = this.get(this.active);
    if (!one) return;
    one.ends = one.ends.map((at, k) => (end && k === 0 ? at : held({ depth: at.depth + depth, lateral: at.lateral + lateral }, origin, reach)));
    this.changed();
  }

  // Whether it takes the press: an end or a line of one is there, or one is to be drawn.
  down(panel, x, y, picture, draw) {
    const at = mmAt(panel, x, y);
    for (const one of [...this.all].reverse()) {
      if (!shownOn(one.on, panel.kind)) continue;
      const [a, b] = one.ends.map((end) => [across(panel, end.lateral), down(panel, end.depth)]);
      const reach = gripPx(Math.hypot(a[0] - b[0], a[1] - b[1]));
      const near = [a, b].findIndex((end) => Math.hypot(end[0] - x, end[1] - y) < reach);
      if (near < 0 && fromLine([x, y], a, b) > LINE_PX) continue;
      this.activate(one.id);
      this.#drag = { one, end: near, panel, picture, at, from: one.ends };
      return true;
    }
    if (draw) this.#drag = { one: null, end: 1, panel, picture, at, pressed: [x, y] };
    this.activate(null);
    return draw;
  }

  move(x, y) {
    const { one, end, panel, picture: { origin, reach }, at, from, pressed } = this.#drag;
    const now = held(mmAt(panel, x, y), origin, reach);
    if (!one) {
      if (Math.hypot(x - pressed[0], y - pressed[1]) < SLACK_PX) return;
      this.#drag.one = this.#add(panel.kind === 'bmode' ? 'bmode' : 'strain', [held(at, origin, reach), now]);
      if (!this.#drag.one) this.#drag = null;
      return;
    }
    const moved = (place) => held({ depth: place.depth + now.depth - at.depth, lateral: place.lateral + now.lateral - at.lateral }, origin, reach);
    if (end < 0) one.ends = from.map(moved);
    else one.ends = one.ends.map((place, k) => (k === end ? now : place));
    this.changed();
  }

  up() {
    this.#drag = null;
  }
}

export const length = ({ ends: [a, b] }) => Math.hypot(a.depth - b.depth, a.lateral - b.lateral);

const within = (mm, least, most) => Math.max(least, Math.min(least + most, mm));
const held = ({ depth, lateral }, origin, reach) => ({ depth: within(depth, origin[0], reach[0]), lateral: within(lateral, origin[1], reach[1]) });

function fromLine([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const along = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(ax + along * dx - x, ay + along * dy - y);
}
