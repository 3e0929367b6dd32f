// The last half minute of pictures, as they came. Knows pictures, no elements. Frozen, nothing is added or forgotten, and
// `shown` is the picture that was chosen, or the average over the chosen span; else it is the newest. Bounded in time and
// in bytes.

import { presses } from './best.js';

export const KEPT_MS = 30000;
const MOST_BYTES = (navigator.deviceMemory ?? 8) <= 4 ? 200e6 : 500e6;

export class Cine {
  #kept = [];
  #bytes = 0;
  #newest = null;
  #place = -1; // of the shown picture; -1: not frozen
  #presses = { of: null, found: [] };
  span = null; // first and last place of the chosen stretch, while frozen
  average = null; // the average that is shown instead of the picture at the place

  add(picture) {
    this.#newest = picture;
    if (this.frozen) return;
    this.#kept.push(picture);
    this.#bytes += picture.message.byteLength;
    while (this.#kept.length > 1 && (this.#bytes > MOST_BYTES || picture.arrivedMs - this.#kept[0].arrivedMs > KEPT_MS)) {
      this.#bytes -= this.#kept.shift().message.byteLength;
    }
  }

  get frozen() {
    return this.#place >= 0;
  }

  get newest() {
    return this.#newest;
  }

  get shown() {
    return this.average ?? (this.frozen ? this.#kept[this.#place] : this.#newest);
  }

  // All pictures, oldest first; not to be changed.
  get kept() {
    return this.#kept;
  }

  get presses() {
    const newest = this.#kept.at(-1) ?? null;
    if (this.#presses.of !== newest) this.#presses = { of: newest, found: presses(this.#kept) };
    return this.#presses.found;
  }

  clear() {
    this.resume();
    this.#kept = [];
    this.#bytes = 0;
    this.#newest = null;
  }

  get count() {
    return this.#kept.length;
  }

  get place() {
    return this.frozen ? this.#place : this.#kept.length - 1;
  }

  get spanMs() {
    return this.#kept.length ? this.#kept.at(-1).arrivedMs - this.#kept[0].arrivedMs : 0;
  }

  // How long before the last one that is kept.
  get backMs() {
    return this.frozen ? this.#kept.at(-1).arrivedMs - this.#kept[this.#place].arrivedMs : 0;
  }

  freeze() {
    if (!this.frozen && this.#kept.length) this.#place = this.#kept.length - 1;
  }

  resume() {
    this.#place = -1;
    this.span = null;
    this.average = null;
  }

  go(place) {
    this.freeze();
    this.average = null;
    if (this.frozen) this.#place = Math.max(0, Math.min(this.#kept.length - 1, place));
  }

  // The pictures that a ratio of the shown one is taken over, oldest first: live ones of its session.
  before(most) {
    if (this.average) return [this.average];
    const of = this.shown;
    const same = (one) => one.state === 'live' && one.header.session === of.header.session && one.header.server_starts === of.header.server_starts;
    return this.#kept.slice(0, this.place + 1).filter(same).slice(-most);
  }
}
