// The elastogram box: strain is shown inside a rectangle only, B-mode around it. Kept in mm in the settings; drawn, moved
// and sized by pointer, touch and keys. Knows panels and pictures, no server. The box that is shown is always inside the
// image and has an area; what was drawn for a larger image is kept.

import { edgePx, gripPx } from './grips.js';
import { across, down, inside, mmAt } from './layout.js';
import { BoxRange } from './box-range.js';

const LEAST_MM = 2;
const START = 0.25; // of the image that is left free at each side
let versions = 0; // of all boxes: what a picture notes of one is not taken for another's

export class Box {
  active = false; // arrow keys move it
  armed = false; // the next drag draws it anew
  #drag = null;
  #range = new BoxRange();
  #version = ++versions;

  // `view`: the settings, with `box`: null or { on, depth, lateral }.
  constructor(view, changed, keep) {
    Object.assign(this, { view, changed, keep });
  }

  get on() {
    return Boolean(this.view.box?.on);
  }

  // On where it was last, or in the middle until it is drawn; or off: the full image.
  toggle(picture) {
    this.#drag = null;
    this.armed = !this.view.box;
    if (this.on) this.#set({ ...this.view.box, on: false });
    else if (this.view.box) this.#set({ ...this.view.box, on: true });
    else this.#set({ on: true, depth: middle(picture, 0), lateral: middle(picture, 1) });
    this.active = this.on;
  }

  // Off, to be drawn anew the next time.
  forget() {
    this.release();
    this.#set(null);
  }

  release() {
    this.up();
    this.active = this.armed = false;
  }

  // What is shown in this picture: { depth, lateral } in mm, or null for the full image.
  in(picture) {
    return this.on ? fitted(this.view.box, picture) : null;
  }

  // The softest strain of the colours inside, and the share of it that may be read.
  reading(picture, painter) {
    return this.#range.of(picture, painter, this.in(picture), this.#version);
  }

  // By keys: a step down and right, or of the lower right corner.
  nudge(depth, lateral, resize, picture) {
    const now = this.in(picture);
    const by = ([first, last], mm) => (resize ? [first, Math.max(first + LEAST_MM, last + mm)] : [first + mm, last + mm]);
    this.#put(picture, { depth: by(now.depth, depth), lateral: by(now.lateral, lateral) });
  }

  // Whether a press of the pointer is the box's.
  down(panels, x, y, picture) {
    const now = this.in(picture);
    const sides = now && [now.depth, now.lateral].map(([first, last]) => last - first);
    const sizeOf = (panel) => panel.scale * Math.min(...sides);
    const panel = now && panels.find((one) => one.kind !== 'quality' && inside(one, x, y, gripPx(sizeOf(one))));
    if (!panel) return false;
    const [grip, edge] = [gripPx(sizeOf(panel)), edgePx(sizeOf(panel))];
    const at = mmAt(panel, x, y);
    const [left, right] = now.lateral.map((mm) => across(panel, mm));
    const [top, bottom] = now.depth.map((mm) => down(panel, mm));
    const corner = !this.armed && [[top, left, 1, 1], [top, right, 1, 0], [bottom, left, 0, 1], [bottom, right, 0, 0]]
      .find(([cy, cx]) => Math.hypot(cx - x, cy - y) < grip);
    const within = x > left - edge && x < right + edge && y > top - edge && y < bottom + edge;
    const onEdge = !this.armed && within && Math.min(Math.abs(x - left), Math.abs(x - right), Math.abs(y - top), Math.abs(y - bottom)) < edge;
    if (corner) this.#drag = { panel, picture, how: 'size', from: { depth: now.depth[corner[2]], lateral: now.lateral[corner[3]] } };
    else if (onEdge) this.#drag = { panel, picture, how: 'move', at, from: now };
    else if (this.armed && inside(panel, x, y)) this.#drag = { panel, picture, how: 'size', from: at };
    else return false;
    this.active = true;
    this.changed();
    return true;
  }

  move(x, y) {
    if (!this.#drag) return;
    const { panel, picture, how, at, from } = this.#drag;
    const now = mmAt(panel, x, y);
    if (how === 'move') {
      const by = (name) => from[name].map((mm) => mm + now[name] - at[name]);
      this.#put(picture, { depth: by('depth'), lateral: by('lateral') });
      return;
    }
    const span = (name, axis) => {
      const [least, most] = ends(picture, axis);
      const [low, high] = [Math.max(least, Math.min(from[name], now[name])), Math.min(most, Math.max(from[name], now[name]))];
      return [low, Math.max(high, low + LEAST_MM)];
    };
    if (Math.hypot(now.depth - from.depth, now.lateral - from.lateral) < LEAST_MM / 2) return; // not drawn yet
    this.#put(picture, { depth: span('depth', 0), lateral: span('lateral', 1) });
    this.armed = false;
  }

  up() {
    if (this.#drag) this.keep(this.view);
    this.#drag = null;
  }

  #put(picture, region) {
    this.#set({ on: true, ...fitted(region, picture) });
  }

  #set(box) {
    this.#version = ++versions;
    this.view.box = box;
    this.changed();
    if (!this.#drag) this.keep(this.view);
  }
}

const ends = ({ origin, extent }, axis) => [origin[axis], origin[axis] + extent[axis]];

function middle(picture, axis) {
  const [least, most] = ends(picture, axis);
  return [least + START * (most - least), most - START * (most - least)];
}

// Inside the image, its size kept where it can be.
function fitted({ depth, lateral }, picture) {
  const fit = ([first, last], axis) => {
    const [least, most] = ends(picture, axis);
    const size = Math.min(last - first, most - least);
    const start = Math.max(least, Math.min(first, most - size));
    return [start, start + size];
  };
  return { depth: fit(depth, 0), lateral: fit(lateral, 1) };
}
