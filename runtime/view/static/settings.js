// How a person has set the page, kept in this browser. Knows names and allowed values; what was kept and is not allowed any
// more is forgotten.

import { LANGUAGES } from './language.js';

const NAME = 'usert-view';
const START = { language: '', mode: 'side', opacity: 0.55, map: 'viridis', range: 'auto', quality: false, blank: true, invert: false, box: null };
export const MODES = ['side', 'overlay', 'strain'];
export const RANGES = ['auto', 0.005, 0.01, 0.02, 0.03];

const isSpan = (pair) => Array.isArray(pair) && pair.length === 2 && pair.every(Number.isFinite) && pair[1] - pair[0] >= 1;

export function load(maps) {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(NAME)) ?? {};
  } catch {
    // not allowed to keep anything here
  }
  const allowed = {
    language: (value) => Object.hasOwn(LANGUAGES, value),
    mode: (value) => MODES.includes(value),
    opacity: (value) => value >= 0 && value <= 1,
    map: (value) => maps.includes(value),
    range: (value) => RANGES.includes(value),
    quality: (value) => typeof value === 'boolean',
    box: (value) => typeof value?.on === 'boolean' && [value.depth, value.lateral].every(isSpan),
    invert: (value) => typeof value === 'boolean',
    blank: (value) => value === true, // hiding what must not be read is on at every start
  };
  return Object.fromEntries(Object.entries(START).map(([name, start]) => [name, allowed[name](kept[name]) ? kept[name] : start]));
}

export function keep(view) {
  try {
    localStorage.setItem(NAME, JSON.stringify(view));
  } catch {
    // see above
  }
}

export const next = (values, value) => values[(values.indexOf(value) + 1) % values.length];
