// The numbers beside the images. Knows the elements of the side column; writes only what changed. A number that is not of
// this moment is never left standing without the state beside it saying so.

import { number, say } from './language.js';
import { afterWord, compressionWord, percent, ratioWords, refusal, scoreWord, share, warning } from './words.js';

const $ = (id) => document.getElementById(id);

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function showFigures({ picture, state, regions }) {
  for (const title of document.querySelectorAll('#figures h2')) title.dataset.after = afterWord(state.key);
  showCompression(picture, state);
  showQuality(picture);
  showRatio(picture, state, regions);
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

// What the box of the ratio says, for screen and snapshot.
export function ratioTexts({ picture, state, regions }) {
  if (!regions.both) {
    const left = regions.all.A ? say('ratio.draw_b') : say('ratio.draw_both');
    return { value: '–', words: regions.all.B && !regions.all.A ? say('ratio.draw_a') : left, more: '' };
  }
  const reading = picture?.reading;
  if (!reading || reading.version !== regions.version) {
    const idle = state.key === 'live' || state.key === 'frozen' ? say('ratio.measuring') : say('ratio.no_live');
    return { value: '–', words: reading?.error ?? idle, more: '' };
  }
  if (reading.error) return { value: '–', words: reading.error, more: '' };
  if (reading.none) return { value: '–', words: say('ratio.not_live'), more: '' };
  if (reading.ratio === null || reading.ratio === undefined) return { value: say('ratio.none'), words: refusal(reading, regions.all, picture), more: '' };
  const { ratio, spread, target, background, frames, quality } = reading;
  const inverse = `B / A ${number(1 / ratio, 2)} ± ${number(spread / ratio ** 2, 2)}`;
  const strains = `A ${percent(target.mean_strain)}   B ${percent(background.mean_strain)}`;
  const count = say('ratio.images', { count: frames, quality: number(quality, 2) });
  return { value: `${number(ratio, 2)} ± ${number(spread, 2)}`, words: ratioWords(reading), more: `${inverse}\n${strains}\n${count}` };
}

function showRatio(picture, state, regions) {
  const { value, words, more } = ratioTexts({ picture, state, regions });
  put($('ratio-value'), value);
  put($('ratio-words'), words);
  put($('ratio-more'), more);
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
