// The histogram of strain in the chosen region, in the colours of the image. Knows its elements and a scene; what it shows
// was counted by the server.

import { labelOf } from './regions.js';
import { language, say } from './language.js';
import { histogramText, readingOf } from './ratios.js';
import { percent } from './words.js';
import { softEnd } from './stage.js';

const $ = (id) => document.getElementById(id);
const AXIS = 20; // pixels below the bars
let drawn = [];

export function showHistogram(scene) {
  const { regions } = scene;
  $('histogram').hidden = !regions.histogram;
  $('histogram-button').setAttribute('aria-pressed', String(regions.histogram));
  if (!regions.histogram) return;
  const region = regions.chosen;
  const found = readingOf(scene)?.histogram;
  put($('histogram-title'), region ? say('histogram.title', { name: labelOf(region) }) : say('histogram.list'));
  put($('histogram-figures'), histogramText(scene) || say(!region ? 'histogram.start' : readingOf(scene) ? 'histogram.none' : 'ratio.no_live'));
  const canvas = $('histogram-bars');
  const now = [found, canvas.clientWidth, scene.view.map, scene.view.invert, scene.picture && softEnd(scene), language()];
  if (now.some((value, at) => value !== drawn[at])) draw(canvas, found, scene);
  drawn = now;
}

function draw(canvas, found, scene) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  if (!found) return;
  const { counts, first, width: step } = found;
  const most = Math.max(...counts);
  const [bar, soft] = [width / counts.length, softEnd(scene)];
  counts.forEach((count, at) => {
    const tall = (count / most) * (height - AXIS);
    context.fillStyle = scene.painter.colour(scene.view.map, (first + (at + 0.5) * step) / soft, scene.view.invert);
    context.fillRect(at * bar, height - AXIS - tall, bar - 1, tall);
    context.strokeStyle = '#aab4c0';
    context.strokeRect(at * bar + 0.5, height - AXIS - tall + 0.5, bar - 2, Math.max(0, tall - 1));
  });
  context.font = `15px ${scene.font}`;
  context.fillStyle = '#f0f3f6';
  context.textBaseline = 'bottom';
  for (const [align, at, value] of [['left', 0, first], ['right', width, first + step * counts.length]]) {
    context.textAlign = align;
    context.fillText(percent(value), at, height);
  }
  const x = ((found.median - first) / step) * bar;
  context.fillStyle = '#fff';
  context.fillRect(Math.max(0, Math.min(width - 2, x - 1)), 0, 2, height - AXIS);
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
