// What is said of the regions: the ratio of the chosen target, large, and a line for each region. Knows a scene; no elements.

import { percent } from './words.js';
import { area, diameter } from './shapes.js';
import { labelOf } from './regions.js';
import { say } from './language.js';

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
  const title = say(reference?.role === 'fat' ? 'regions.fatTitle' : 'regions.title', names);
  const nothing = (words, value = '–') => ({ title, value, words, more: '' });
  if (!target || !reference) return nothing(say(`regions.${missing(regions)}`));
  const stated = picture?.reading?.version === regions.version ? picture.reading : null;
  if (stated?.error) return nothing(stated.error);
  if (stated?.none) return nothing(say('regions.wasNotLive'));
  if (!stated) return nothing(say(state.key === 'live' || state.key === 'frozen' ? 'regions.measuring' : 'regions.notLive'));
  const [at, of] = [target, reference].map((one) => regions.all.indexOf(one));
  const reading = stated.ratios[at];
  if (!reading || reading.ratio === null) return nothing(refusal(reading, stated.regions[at], stated.regions[of], names, picture), say('regions.none'));
  const { ratio, spread, frames } = reading;
  const quality = reading.quality.toFixed(2);
  const inverse = say('regions.inverse', { ...names, ratio: (1 / ratio).toFixed(2), spread: (spread / ratio ** 2).toFixed(2) });
  const count = frames === 1 ? say('regions.oneImage', { quality }) : say('regions.images', { count: frames, quality });
  const verdict = ratio + spread < 1 ? 'harder' : ratio - spread > 1 ? 'softer' : 'same';
  return { title, value: withSpread(reading), words: say(`regions.${verdict}`, names), more: `${inverse}\n${count}` };
}

const withSpread = ({ ratio, spread }) => `${ratio.toFixed(2)} ± ${spread.toFixed(2)}`;

function missing({ all, target, reference, get }) {
  if (!target && !reference) return 'start';
  if (!target) return 'needTarget';
  return get(2) ? 'chooseReference' : 'needReference';
}

function refusal(reading, target, reference, names, picture) {
  const [deep, wide] = picture.extent.map((mm) => mm.toFixed(0));
  if (!target && !reference) return say('regions.bothOutside', { ...names, deep, wide });
  if (!target || !reference) return say('regions.outside', { name: target ? names.reference : names.target, deep, wide });
  if (reading.refused === 'unreadable') {
    const shares = [[names.target, target], [names.reference, reference]]
      .filter(([, part]) => part.readable_share < LEAST_SHARE)
      .map(([name, part]) => `${name} (${Math.round(100 * part.readable_share)} %)`);
    if (!shares.length) return say('regions.small', names);
    return say('regions.unreadable', { names: shares.length > 1 ? say('regions.and', { first: shares[0], second: shares[1] }) : shares[0] });
  }
  return reading.refused === 'background' ? say('regions.background', names) : reading.refused;
}

// A line for each region: its mean strain, its ratio to the reference or what it is for, its area in mm².
export function regionLines(scene) {
  const reading = readingOf(scene);
  return scene.regions.all.map((region, at) => {
    const strain = reading?.regions[at];
    const ratio = reading?.ratios[at];
    return {
      id: region.id,
      label: labelOf(region),
      role: region.role,
      strain: strain && strain.pixels ? percent(strain.mean_strain) : '–',
      ratio: region.role !== 'target' ? say(`regions.${region.role}Short`) : ratio && ratio.ratio !== null ? withSpread(ratio) : '–',
      area: area(region).toFixed(1),
    };
  });
}

// The size of a lesion on strain over that on B-mode, of area and of length; empty where it was not outlined on both.
export function sizesText({ regions }) {
  const [strain, bmode] = ['strain', 'bmode'].map((role) => regions.all.find((one) => one.role === role));
  if (!strain || !bmode) return '';
  return say('regions.sizes', { area: (area(strain) / area(bmode)).toFixed(2), length: (diameter(strain) / diameter(bmode)).toFixed(2) });
}

// All of it in a few lines of writing, for the snapshot.
export function regionTexts(scene) {
  const texts = regionLines(scene).map((line) => say('regions.written', line));
  const rows = [];
  for (let at = 0; at < texts.length; at += 4) rows.push(texts.slice(at, at + 4).join('     '));
  return [...rows, sizesText(scene)].filter(Boolean);
}
