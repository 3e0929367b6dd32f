// The two regions of the strain ratio: A, the target, and B, the background, in mm. Drawn, moved and resized by pointer or
// by keys. Knows panels, no server. A region is always inside the image that it was drawn on, and has an area.

import { across, down, inside, mmAt } from './layout.js';
import { say } from './language.js';

const LEAST_MM = 0.5;
const GRIP_PX = 24;
const NAMES = ['A', 'B'];

export class Regions {
  all = { A: null, B: null };
  active = null; // the one that keys move
  version = 0; // counts changes
  #drag = null;

  constructor(changed, notice) {
    this.changed = changed;
    this.notice = notice;
  }

  get both() {
    return Boolean(this.all.A && this.all.B);
  }

  // As the server reads them: depth,lateral.
  get texts() {
    const text = ({ depth, lateral }) => [depth, lateral].map((pair) => pair.map((mm) => mm.toFixed(3)).join(':')).join(',');
    return this.both ? { target: text(this.all.A), background: text(this.all.B) } : null;
  }

  #done() {
    this.version += 1;
    this.changed();
  }

  clear() {
    this.all = { A: null, B: null };
    this.active = null;
    this.#drag = null;
    this.#done();
  }

  remove() {
    if (!this.active) return;
    this.all[this.active] = null;
    this.#done();
  }

  // Choose a region; one that is not there yet is placed where it may be of use.
  choose(name, picture) {
    this.active = name;
    if (!this.all[name] && picture) {
      const { extent: [deep, wide], origin, fan } = picture;
      const half = { depth: 0.1 * deep, lateral: (fan ? 0.05 : 0.1) * wide };
      const other = this.all[name === 'A' ? 'B' : 'A'];
      const centre = {
        depth: other ? (other.depth[0] + other.depth[1]) / 2 : origin[0] + deep / 2,
        lateral: origin[1] + (name === 'A' ? 0.5 : fan ? 0.35 : 0.14) * wide,
      };
      this.#set(name, picture, { depth: [centre.depth - half.depth, centre.depth + half.depth], lateral: [centre.lateral - half.lateral, centre.lateral + half.lateral] });
    } else {
      this.changed();
    }
  }

  release() {
    this.active = null;
    this.changed();
  }

  // By keys: a step down and right, or the far corner.
  nudge(depth, lateral, resize, picture) {
    const region = this.all[this.active];
    if (!region) return;
    const by = (pair, mm) => (resize ? [pair[0], Math.max(pair[0] + LEAST_MM, pair[1] + mm)] : [pair[0] + mm, pair[1] + mm]);
    this.#set(this.active, picture, { depth: by(region.depth, depth), lateral: by(region.lateral, lateral) });
  }

  // Inside the image, its size kept where it can be.
  #set(name, picture, region) {
    const fit = ([first, last], least, reach) => {
      const size = Math.min(last - first, reach);
      const start = Math.max(least, Math.min(first, least + reach - size));
      return [start, start + size];
    };
    this.all[name] = { depth: fit(region.depth, picture.origin[0], picture.reach[0]), lateral: fit(region.lateral, picture.origin[1], picture.reach[1]) };
    this.#done();
  }

  down(panels, x, y, picture) {
    const panel = panels.find((one) => inside(one, x, y));
    if (!panel) {
      if (panels.length) this.notice(say('regions.inside'));
      return false;
    }
    const at = mmAt(panel, x, y);
    const order = this.active ? [this.active, ...NAMES.filter((name) => name !== this.active)] : NAMES;
    for (const name of order) {
      const region = this.all[name];
      if (!region) continue;
      const corner = { x: across(panel, region.lateral[1]), y: down(panel, region.depth[1]) };
      const grip = Math.hypot(corner.x - x, corner.y - y) < GRIP_PX;
      const over = at.depth >= region.depth[0] && at.depth <= region.depth[1] && at.lateral >= region.lateral[0] && at.lateral <= region.lateral[1];
      if (grip || over) {
        this.active = name;
        this.#drag = { name, panel, picture, how: grip ? 'resize' : 'move', at, from: structuredClone(region) };
        this.changed();
        return true;
      }
    }
    const name = NAMES.find((one) => !this.all[one]);
    if (!name) {
      this.active = null;
      this.changed();
      this.notice(say('regions.full'));
      return false;
    }
    this.active = name;
    this.#drag = { name, panel, picture, how: 'draw', at, from: null };
    return true;
  }

  move(x, y) {
    const drag = this.#drag;
    if (!drag) return;
    const at = mmAt(drag.panel, x, y);
    const { from, picture, name } = drag;
    if (drag.how === 'move') {
      const by = { depth: at.depth - drag.at.depth, lateral: at.lateral - drag.at.lateral };
      this.#set(name, picture, { depth: from.depth.map((one) => one + by.depth), lateral: from.lateral.map((one) => one + by.lateral) });
      return;
    }
    const start = drag.how === 'resize' ? { depth: from.depth[0], lateral: from.lateral[0] } : drag.at;
    const span = (a, b, least, reach) => {
      const most = least + reach;
      const [low, high] = [Math.max(least, Math.min(a, b)), Math.min(most, Math.max(a, b))];
      return high - low >= LEAST_MM ? [low, high] : [Math.min(low, most - LEAST_MM), Math.min(low, most - LEAST_MM) + LEAST_MM];
    };
    this.all[name] = { depth: span(start.depth, at.depth, picture.origin[0], picture.reach[0]), lateral: span(start.lateral, at.lateral, picture.origin[1], picture.reach[1]) };
    this.#done();
  }

  up() {
    this.#drag = null;
  }
}
