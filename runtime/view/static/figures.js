// The numbers beside the images. Knows the elements of the side column; writes only what changed. A number that is not of
// this moment is never left standing without the state beside it saying so.

import { number, say } from './language.js';
import { afterWord, compressionWord, percent, scoreWord, share, warning } from './words.js';

const $ = (id) => document.getElementById(id);

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function showFigures({ picture, state }) {
  for (const title of document.querySelectorAll('#figures h2, #histogram h2')) title.dataset.after = afterWord(state.key);
  showCompression(picture, state);
  showQuality(picture);
  showWarnings(picture, state);
}

function showCompression(picture, state) {
  put($('compression-percent'), picture ? percent(picture.header.readable_strain) : '–');
  const rate = picture?.header.strain_rate;
  const rateText = rate === null || rate === undefined || picture.state === 'idle' ? '' : `, ${say('compression.rate', { percent: percent(rate, 1) })}`;
  const word = picture ? compressionWord(picture) : '';
  put($('compression-word'), picture ? (state.key === 'stale' ? say('compression.was', { word }) : word) + rateText : '');
  const at = picture ? Math.max(-1, Math.min(1, picture.compression)) : 0;
  const fill = $('compression-fill').style;
  fill.left = `${50 + Math.min(0, 50 * at)}%`;
  fill.width = `${Math.abs(50 * at)}%`;
}

function showQuality(picture) {
  const score = picture?.header.score ?? 0;
  put($('score'), picture ? number(score, 2) : '–');
  put($('score-word'), picture ? scoreWord(score) : '');
  $('score-fill').style.width = `${100 * score}%`;
  const past = picture?.header.persistence;
  const averaged = past ? `, ${say('quality.averaged', { count: past.images })}` : '';
  put($('share'), picture ? say('quality.share', { percent: share(picture.header.readable_share) }) + averaged : '');
}

export function adviceOf(picture, state) {
  if (!picture || !['live', 'held', 'frozen', 'idle'].includes(state.key)) return [];
  return picture.header.warnings.map(warning);
}

function showWarnings(picture, state) {
  const advice = adviceOf(picture, state);
  const lines = advice.length ? advice : [picture && state.key === 'live' ? say('advice.nothing') : '–'];
  const list = $('warnings');
  if (list.dataset.lines === lines.join('\n')) return;
  list.dataset.lines = lines.join('\n');
  list.replaceChildren(...lines.map((line) => {
    const item = document.createElement('li');
    item.textContent = line;
    item.classList.toggle('calm', !advice.length);
    return item;
  }));
}
