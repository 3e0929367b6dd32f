// What is said of the regions: the ratio of the chosen target, large, and a line for each region. Knows a scene; no elements.

import { area, diameter } from './shapes.js';
import { labelOf } from './regions.js';
import { length } from './callipers.js';
import { number, say } from './language.js';
import { millimetres, percent, share } from './words.js';

const LEAST_SHARE = 0.5;

// The reading of the shown picture, if it is of the regions as they are now.
export function readingOf({ picture, regions }) {
  const reading = picture?.reading;
  return reading && reading.version === regions.version && !reading.error && !reading.none ? reading : null;
}

// What the box of the ratio says, for screen and snapshot.
export function ratioTexts(scene) {
  const { picture, state, regions } = scene;
  const { target, reference } = regions;
  const names = { target: target ? labelOf(target) : 'A', reference: reference ? labelOf(reference) : 'B' };
  const title = say(reference?.role === 'fat' ? 'ratio.title_fat' : 'ratio.title', names);
  const nothing = (words, value = '–') => ({ title, value, words, more: '' });
  if (!target || !reference) return nothing(say(`ratio.${missing(regions)}`));
  const stated = picture?.reading?.version === regions.version ? picture.reading : null;
  if (stated?.error) return nothing(stated.error);
  if (stated?.none) return nothing(say('ratio.not_live'));
  if (!stated) return nothing(say(state.key === 'live' || state.key === 'frozen' ? 'ratio.measuring' : 'ratio.no_live'));
  const [at, of] = [target, reference].map((one) => regions.all.indexOf(one));
  const reading = stated.ratios[at];
  if (!reading || reading.ratio === null) return nothing(refusal(reading, stated.regions[at], stated.regions[of], names, picture), say('ratio.none'));
  const { ratio, spread, frames, quality } = reading;
  const inverse = say('ratio.inverse', { ...names, value: withSpread(1 / ratio, spread / ratio ** 2) });
  const count = say('ratio.images', { count: frames, quality: number(quality, 2) });
  const verdict = ratio + spread < 1 ? 'harder' : ratio - spread > 1 ? 'softer' : 'alike';
  return { title, value: withSpread(ratio, spread), words: say(`ratio.${verdict}`, names), more: `${inverse}\n${count}` };
}

const withSpread = (ratio, spread) => `${number(ratio, 2)} ± ${number(spread, 2)}`;

function missing({ target, reference, get }) {
  if (!target) return reference ? 'draw_a' : 'draw_both';
  return get(2) ? 'choose' : 'draw_b';
}

function refusal(reading, target, reference, names, picture) {
  const size = picture.extent.map((mm) => number(mm, 0)).join(' × ');
  if (!target && !reference) return say('ratio.outside_both', { ...names, size });
  if (!target || !reference) return say('ratio.outside_one', { name: target ? names.reference : names.target, size });
  if (reading.refused === 'unreadable') {
    const masked = [[names.target, target], [names.reference, reference]].filter(([, part]) => part.readable_share < LEAST_SHARE);
    if (!masked.length) return say('ratio.few_pixels', names);
    return say('ratio.masked', { shares: masked.map(([name, part]) => `${name} (${share(part.readable_share)})`).join(', ') });
  }
  return reading.refused === 'background' ? say('ratio.background', names) : reading.refused;
}

// A line for each region: its mean strain, its ratio to the reference or what it is for, its area in mm².
export function regionLines(scene) {
  const reading = readingOf(scene);
  return scene.regions.all.map((region, at) => {
    const strain = reading?.regions[at];
    const ratio = reading?.ratios[at];
    const known = ratio && ratio.ratio !== null ? withSpread(ratio.ratio, ratio.spread) : '–';
    return {
      id: region.id,
      label: labelOf(region),
      role: region.role,
      strain: strain && strain.pixels ? percent(strain.mean_strain) : '–',
      ratio: region.role === 'target' ? known : say(`regions.short.${region.role}`),
      area: number(area(region), 1),
    };
  });
}

// Each distance: its length, and on which image.
export function distanceLines({ regions }) {
  return regions.callipers.all.map((one) => ({ id: one.id, label: `D${one.id}`, on: say(`regions.short.${one.on}`), length: millimetres(length(one)) }));
}

// The size of a lesion on strain over that on B-mode: of area, where it was outlined on both, and of length, by the last
// distance on each or by the longest diameter of the outlines. Empty where there is neither.
export function sizesText({ regions }) {
  const both = (find) => {
    const found = ['strain', 'bmode'].map(find);
    return found.every(Boolean) ? found : null;
  };
  const outlines = both((role) => regions.all.find((one) => one.role === role));
  const distances = both(regions.callipers.last);
  const ratio = (name, [strain, bmode], of) => say(`regions.${name}`, { value: number(of(strain) / of(bmode), 2) });
  const sizes = [];
  if (outlines) sizes.push(ratio('size_area', outlines, area));
  if (distances ?? outlines) sizes.push(distances ? ratio('size_length', distances, length) : ratio('size_length', outlines, diameter));
  return sizes.length ? say('regions.sizes', { sizes: sizes.join(', ') }) : '';
}

// Its figures in words; empty where there are none.
export function histogramText(scene) {
  const found = scene.regions.histogram ? readingOf(scene)?.histogram : null;
  if (!found) return '';
  const { mean, median, spread, readable_share: readable } = found;
  return say('histogram.figures', { mean: percent(mean), median: percent(median), spread: share(spread, 2), share: share(readable) });
}

// All of it in a few lines of writing, for the snapshot.
export function regionTexts(scene) {
  const texts = [
    ...regionLines(scene).map(({ id, ...line }) => say('regions.line', { ...line, ratio: line.role === 'target' ? say('regions.ratio', { value: line.ratio }) : line.ratio })),
    ...distanceLines(scene).map(({ id, ...line }) => say('callipers.line', line)),
  ];
  const rows = [];
  for (let at = 0; at < texts.length; at += 3) rows.push(texts.slice(at, at + 3).join('     '));
  const figures = histogramText(scene).replaceAll('\n', ', ');
  const histogram = figures && say('histogram.line', { name: labelOf(scene.regions.chosen), figures });
  return [...rows, sizesText(scene), histogram].filter(Boolean);
}
