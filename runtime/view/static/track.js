// Draws the timeline: above, compression with its useful band; below, the quality of each image. Knows a context, an axis
// and the cine. What was not live is hatched, each state its own way; nothing is drawn between images that are far apart.

import { USEFUL } from './best.js';

const INK = '#f0f3f6';
const FAINT = '#aab4c0';
const MOST = 0.02; // |strain| at the edge; beyond it a point stays there
const QUALITY_PX = 22;
const GAP_PX = 5;
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
  const runs = runsOf(cine.kept, axis.end, staleMs);
  drawRuns(context, field, runs);
  drawCurve(context, field, cine.kept, runs);
  drawQuality(context, field, cine.kept);
  if (cine.span) drawSpan(context, field, cine);
  for (const { best } of cine.presses) if (best >= 0) drawBest(context, field, cine.kept[best]);
  if (cine.frozen) drawShown(context, field, cine.kept[cine.place]);
}

// Stretches of one state; an image counts until the next, but not for longer than `staleMs`: from there on it was stale.
function runsOf(kept, end, staleMs) {
  const runs = [];
  const add = (state, from, to, at) => {
    const last = runs.at(-1);
    if (last?.state === state) Object.assign(last, { to, last: at });
    else if (to > from) runs.push({ state, from, to, first: at, last: at });
  };
  kept.forEach(({ state, arrivedMs }, at) => {
    const until = kept[at + 1]?.arrivedMs ?? Math.max(end, arrivedMs + 1);
    add(state === 'live' || state === 'held' || state === 'idle' ? state : 'stale', arrivedMs, Math.min(until, arrivedMs + staleMs), at);
    if (until > arrivedMs + staleMs) add('stale', arrivedMs + staleMs, until, at);
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
    const sign = strain > 0 ? '+' : strain < 0 ? '−' : '';
    context.fillText(strain ? `${sign}${(100 * Math.abs(strain)).toFixed(1)} %` : '0', left - 8, y(strain));
  }
  context.fillText('quality', left - 8, foot - QUALITY_PX / 2);
}

function drawRuns(context, { x, left, top, foot }, runs) {
  for (const { state, from, to } of runs) {
    if (state === 'live') continue;
    const start = Math.max(left, x(from));
    context.fillStyle = patternOf(context, state);
    context.fillRect(start, top, x(to) - start, foot - top);
  }
}

function drawCurve(context, { x, y }, kept, runs) {
  context.strokeStyle = INK;
  context.fillStyle = INK;
  context.lineWidth = 2;
  context.beginPath();
  for (const { state, first, last } of runs) {
    if (state !== 'live') continue;
    for (let at = first; at <= last; at++) {
      const point = [x(kept[at].arrivedMs), y(kept[at].header.readable_strain)];
      if (at > first) context.lineTo(...point);
      else if (first === last) context.rect(point[0] - 1, point[1] - 1, 2, 2);
      else context.moveTo(...point);
    }
  }
  context.stroke();
}

function drawQuality(context, { x, foot }, kept) {
  const few = kept.length > 1 ? (x(kept.at(-1).arrivedMs) - x(kept[0].arrivedMs)) / (kept.length - 1) : 4;
  const wide = Math.max(1, Math.min(8, few - 1));
  context.fillStyle = '#c9d1d9';
  context.beginPath();
  for (const { state, arrivedMs, header } of kept) {
    if (state === 'live') context.rect(x(arrivedMs) - wide / 2, foot - header.score * QUALITY_PX, wide, header.score * QUALITY_PX);
  }
  context.fill();
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
