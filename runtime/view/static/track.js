// Draws the timeline: above, compression with its useful band; below, the quality of each image. Knows a context, an axis
// and the cine. What was not live is hatched, each state its own way; nothing is drawn between images that are far apart.

import { number, say } from './language.js';
import { USEFUL } from './best.js';
import { percent } from './words.js';

const INK = '#f0f3f6';
const FAINT = '#aab4c0';
const MOST = 0.02; // |strain| at the edge; beyond it a point stays there
const QUALITY_PX = 22;
const GAP_PX = 5;
const COLUMN_PX = 3;
const TICK_S = 5;
const COLOURS = { held: '#e69f00', idle: '#56b4e9', stale: '#d55e00', band: '#28506b' };
const SHOWN = '#cc79a7';
const patterns = new Map();

export function drawTimeline(context, { width, height }, axis, cine, staleMs) {
  context.fillStyle = '#151a21';
  context.fillRect(0, 0, width, height);
  const deep = height - QUALITY_PX - GAP_PX - 6;
  const middle = 3 + deep / 2;
  const y = (strain) => middle - (Math.max(-MOST, Math.min(MOST, strain)) / MOST) * (deep / 2);
  const field = { ...axis, top: 3, deep, y, foot: height - 3 };
  drawGround(context, field);
  drawRuns(context, field, runsOf(cine.kept, axis.end, staleMs));
  const columns = columnsOf(cine.kept, axis, staleMs);
  drawCurve(context, field, columns);
  drawQuality(context, field, columns);
  if (cine.span) drawSpan(context, field, cine);
  for (const { best } of cine.presses) if (best >= 0) drawBest(context, field, cine.kept[best]);
  if (cine.frozen) drawShown(context, field, cine.kept[cine.place]);
}

// Stretches of one state; an image counts until the next, but not for longer than `staleMs`: from there on it was stale.
function runsOf(kept, end, staleMs) {
  const runs = [];
  const add = (state, from, to) => {
    const last = runs.at(-1);
    if (last?.state === state) last.to = to;
    else if (to > from) runs.push({ state, from, to });
  };
  kept.forEach(({ state, arrivedMs }, at) => {
    const until = kept[at + 1]?.arrivedMs ?? Math.max(end, arrivedMs + 1);
    add(state === 'live' || state === 'held' || state === 'idle' ? state : 'stale', arrivedMs, Math.min(until, arrivedMs + staleMs));
    if (until > arrivedMs + staleMs) add('stale', arrivedMs + staleMs, until);
  });
  return runs;
}

function drawGround(context, { left, right, top, deep, y, x, end, foot }) {
  context.fillStyle = '#000';
  context.fillRect(left, top, right - left, deep);
  context.fillRect(left, foot - QUALITY_PX, right - left, QUALITY_PX);
  context.fillStyle = patternOf(context, 'band');
  for (const sign of [1, -1]) {
    const [a, b] = USEFUL.map((strain) => y(sign * strain));
    context.fillRect(left, Math.min(a, b), right - left, Math.abs(a - b));
  }
  context.fillStyle = '#39424e';
  for (let s = TICK_S; ; s += TICK_S) {
    const at = x(end - 1000 * s);
    if (at < left) break;
    context.fillRect(at, top, 1, foot - top);
  }
  context.fillStyle = FAINT;
  context.fillRect(left, y(0), right - left, 1);
  context.font = '15px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const strain of [USEFUL[1], 0, -USEFUL[1]]) {
    context.fillText(strain ? percent(strain, 1) : number(0), left - 8, y(strain));
  }
  context.fillText(say('press.quality'), left - 8, foot - QUALITY_PX / 2);
}

function drawRuns(context, { x, left, top, foot }, runs) {
  for (const { state, from, to } of runs) {
    if (state === 'live') continue;
    const start = Math.max(left, x(from));
    context.fillStyle = patternOf(context, state);
    context.fillRect(start, top, x(to) - start, foot - top);
  }
}

// The live images by columns of COLUMN_PX, or the cost would grow with the rate: the most compression and the least quality
// of each. null where the curve breaks. Columns are bound to the clock, so that nothing flickers as they move.
function columnsOf(kept, { x }, staleMs) {
  const wide = COLUMN_PX / (x(1) - x(0));
  const columns = [];
  let before = -Infinity;
  for (const { state, arrivedMs, header: { readable_strain: strain, score } } of kept) {
    if (state !== 'live' || arrivedMs - before > staleMs) columns.push(null);
    if (state !== 'live') continue;
    const key = Math.floor(arrivedMs / wide);
    const last = columns.at(-1);
    if (last?.key === key) {
      if (Math.abs(strain) > Math.abs(last.strain)) last.strain = strain;
      last.score = Math.min(last.score, score);
    } else {
      columns.push({ key, ms: arrivedMs, strain, score });
    }
    before = arrivedMs;
  }
  return columns;
}

function drawCurve(context, { x, y }, columns) {
  context.strokeStyle = INK;
  context.lineWidth = 2;
  context.lineJoin = 'bevel';
  context.beginPath();
  columns.forEach((column, at) => {
    if (!column) return;
    const point = [x(column.ms), y(column.strain)];
    if (columns[at - 1]) context.lineTo(...point);
    else if (columns[at + 1]) context.moveTo(...point);
    else context.rect(point[0] - 0.5, point[1] - 0.5, 1, 1); // alone
  });
  context.stroke();
}

function drawQuality(context, { x, foot }, columns) {
  const some = columns.filter(Boolean);
  const apart = some.length > 1 ? (x(some.at(-1).ms) - x(some[0].ms)) / (some.length - 1) : 0;
  const wide = Math.max(COLUMN_PX - 1, Math.min(8, Math.floor(apart) - 1));
  context.fillStyle = '#c9d1d9';
  for (const { ms, score } of some) {
    const high = Math.round(score * QUALITY_PX);
    context.fillRect(Math.round(x(ms) - wide / 2), foot - high, wide, high);
  }
}

function drawSpan(context, { x, top, foot }, { kept, span }) {
  const [a, b] = span.map((place) => x(kept[place].arrivedMs));
  context.fillStyle = 'rgb(255 255 255 / .22)';
  context.fillRect(a, top, b - a, foot - top);
  for (const at of [a, b]) {
    context.fillStyle = '#000';
    context.fillRect(at - 6, top, 12, foot - top);
    context.fillStyle = '#fff';
    context.fillRect(at - 4, top, 8, foot - top);
    context.fillStyle = '#000';
    context.fillRect(at - 1, (top + foot) / 2 - 9, 2, 18);
  }
}

// A triangle that points at it from above, and a line to its quality.
function drawBest(context, { x, top, foot }, image) {
  const at = x(image.arrivedMs);
  context.strokeStyle = '#000';
  context.lineWidth = 3;
  context.fillStyle = '#f0e442';
  context.beginPath();
  context.moveTo(at - 9, top);
  context.lineTo(at + 9, top);
  context.lineTo(at, top + 15);
  context.closePath();
  context.stroke();
  context.fill();
  context.fillRect(at - 1, top + 14, 2, foot - top - 14);
}

function drawShown(context, { x, top, foot }, image) {
  const at = x(image.arrivedMs);
  context.fillStyle = '#000';
  context.fillRect(at - 3.5, top - 3, 7, foot - top + 6);
  context.fillStyle = SHOWN;
  context.fillRect(at - 2, top - 3, 4, foot - top + 6);
  context.beginPath();
  context.moveTo(at - 10, foot + 3);
  context.lineTo(at + 10, foot + 3);
  context.lineTo(at, foot - 11);
  context.closePath();
  context.fill();
}

// Each state its own way, so that it is told without its colour: held leans, idle lies, stale crosses; the band stands.
function patternOf(context, name) {
  if (!patterns.has(name)) {
    const tile = document.createElement('canvas');
    tile.width = tile.height = 12;
    const on = tile.getContext('2d');
    on.strokeStyle = COLOURS[name];
    on.lineWidth = 2;
    const line = (...points) => {
      on.beginPath();
      on.moveTo(points[0], points[1]);
      on.lineTo(points[2], points[3]);
      on.stroke();
    };
    if (name === 'band') {
      on.fillStyle = '#173243';
      on.fillRect(0, 0, 12, 12);
      for (const at of [1.5, 7.5]) line(at, 0, at, 12);
    }
    if (name === 'idle') for (const at of [3, 9]) line(0, at, 12, at);
    if (name === 'held' || name === 'stale') for (const at of [-12, 0, 12]) line(at, 12, at + 12, 0);
    if (name === 'stale') for (const at of [-12, 0, 12]) line(at, 0, at + 12, 12);
    patterns.set(name, context.createPattern(tile, 'repeat'));
  }
  return patterns.get(name);
}
