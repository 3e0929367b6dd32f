// Compression over time, under the images: a slider over what is kept, live and frozen. Knows the cine and its own canvas.
// It is drawn when a picture came or something was chosen, and live at least every TICK_MS, since what is old must look so.

import { drawTimeline } from './track.js';
import { isUseful } from './best.js';
import { gripPx } from './grips.js';
import { known, number, say } from './language.js';
import { percent, seconds } from './words.js';

const LEAST_MS = 10000; // that the width stands for
const BEYOND_MS = 8000; // most that is shown after the last image
const TICK_MS = 100;
const MARGIN = { left: 76, right: 14 };

export class Timeline {
  #drawn = '';
  #drawnMs = 0;
  #drag = null; // 'scrub', or the end of the span that stays

  // `on`: go(place), span(first, last) as a span is chosen, and chosen() once it is.
  constructor(canvas, cine, on) {
    Object.assign(this, { canvas, cine, on });
    this.context = canvas.getContext('2d', { alpha: false });
    canvas.addEventListener('pointerdown', (event) => this.#down(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, () => this.#up());
    canvas.addEventListener('keydown', (event) => this.#key(event));
  }

  // Where things are: the first and the last moment, and the place of a moment on the canvas.
  get #axis() {
    const { cine, canvas } = this;
    const last = cine.count ? cine.kept.at(-1).arrivedMs : performance.now();
    const end = cine.frozen ? last : Math.min(performance.now(), last + BEYOND_MS);
    const start = Math.min(end - LEAST_MS, cine.count ? cine.kept[0].arrivedMs : end);
    const left = MARGIN.left;
    const right = Math.max(left + 1, canvas.clientWidth - MARGIN.right);
    const scale = (right - left) / (end - start);
    return { start, end, left, right, x: (ms) => left + (ms - start) * scale, ms: (x) => start + (x - left) / scale };
  }

  // The image nearest to a point of the canvas.
  #placeAt(x) {
    const ms = this.#axis.ms(x);
    const { kept } = this.cine;
    const after = kept.findIndex(({ arrivedMs }) => arrivedMs >= ms);
    if (after < 0) return kept.length - 1;
    return after > 0 && ms - kept[after - 1].arrivedMs < kept[after].arrivedMs - ms ? after - 1 : after;
  }

  #down(event) {
    const { cine } = this;
    if (event.button !== 0 || !cine.count) return;
    event.preventDefault();
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    const ends = (cine.span ?? []).map((place) => this.#axis.x(cine.kept[place].arrivedMs));
    const away = ends.map((x) => Math.abs(x - event.offsetX));
    const grip = away.findIndex((px, end) => px < gripPx(ends[1] - ends[0]) && px <= away[1 - end]);
    const place = this.#placeAt(event.offsetX);
    if (event.shiftKey) {
      cine.freeze();
      this.#drag = place;
      this.on.span(place, place);
    } else if (grip >= 0) {
      this.#drag = cine.span[1 - grip];
    } else {
      this.#drag = 'scrub';
      this.on.go(place);
    }
  }

  #move(event) {
    if (this.#drag === null) return;
    const place = this.#placeAt(event.offsetX);
    if (this.#drag === 'scrub') this.on.go(place);
    else this.on.span(Math.min(this.#drag, place), Math.max(this.#drag, place));
  }

  #up() {
    const chosen = this.#drag !== null && this.#drag !== 'scrub';
    this.#drag = null;
    if (chosen) this.on.chosen();
  }

  #key(event) {
    const { cine } = this;
    const to = {
      ArrowLeft: cine.place - 1, ArrowDown: cine.place - 1, ArrowRight: cine.place + 1, ArrowUp: cine.place + 1, Home: 0, End: cine.count - 1,
    }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey || !cine.count) return;
    event.preventDefault();
    event.stopPropagation(); // the slider's, not those of a region
    if (event.shiftKey) this.#extend(Math.max(0, Math.min(cine.count - 1, to)));
    else this.on.go(to);
  }

  // By keys the end of the span moves that lies where the shown image is.
  #extend(place) {
    const { cine } = this;
    cine.freeze();
    const from = cine.place;
    const [first, last] = cine.span?.includes(from) ? cine.span : [from, from];
    const stays = from === last ? first : last;
    this.on.go(place);
    this.on.span(Math.min(stays, place), Math.max(stays, place));
  }

  show(staleMs, dirty) {
    const { cine, canvas } = this;
    const now = performance.now();
    const { clientWidth: width, clientHeight: height } = canvas;
    const ratio = window.devicePixelRatio || 1;
    const what = `${cine.newest?.id} ${cine.frozen} ${cine.place} ${cine.span} ${width} ${height} ${ratio}`;
    if (!dirty && what === this.#drawn && (cine.frozen || now - this.#drawnMs < TICK_MS)) return;
    this.#drawn = what;
    this.#drawnMs = now;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawTimeline(this.context, { width, height }, this.#axis, cine, staleMs);
    this.#tell();
  }

  // For a screen reader, and for whoever looks from outside.
  #tell() {
    const { cine, canvas } = this;
    const picture = cine.frozen ? cine.kept[cine.place] : null;
    const best = cine.presses.map((press) => press.best).filter((place) => place >= 0);
    const marks = best.map((place) => cine.kept[place].id).join(' ');
    if (canvas.dataset.best !== marks) canvas.dataset.best = marks;
    const set = (name, value) => canvas.getAttribute(name) === String(value) || canvas.setAttribute(name, value);
    set('aria-valuemax', Math.max(0, (cine.frozen ? cine.count : 1) - 1)); // live it stands at its end, in silence
    set('aria-valuenow', cine.frozen ? cine.place : 0);
    const isBest = best.includes(cine.place);
    set('aria-valuetext', picture ? valueText(picture, cine, isBest) : say('press.live'));
  }
}

function valueText(picture, cine, isBest) {
  const { readable_strain: strain, score } = picture.header;
  const state = picture.state === 'live' ? (isUseful(strain) ? 'useful' : 'other') : picture.state;
  const words = say('press.value', {
    back: seconds(cine.backMs, 1), strain: percent(strain), score: number(score, 2),
    state: say(known(`press.${state}`) ? `press.${state}` : 'press.unknown'),
  });
  return isBest ? `${words}, ${say('press.best')}` : words;
}
