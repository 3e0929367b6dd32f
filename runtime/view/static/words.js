// What the page says of state and quality. Knows no elements; the words themselves are the language's. Every word of
// the protocol has a sentence there, and one that is not known is shown as it is.

import { known, number, say } from './language.js';

export const warning = (name) => (known(`warnings.${name}`) ? say(`warnings.${name}`) : name);

// Why an image is held; empty for a reason that is not known.
const held = (reason) => (['quality', 'still', 'frozen'].includes(reason) ? say(`why.${reason}`) : '');

export function ageText(ms, exact = true) {
  return (exact ? '' : '> ') + spanText(ms);
}

function spanText(ms) {
  if (ms < 1000) return say('unit.ms', { value: Math.max(10, Math.round(ms / 10) * 10) });
  if (ms < 59950) return seconds(ms, 1);
  const all = Math.round(ms / 1000);
  return say('unit.min', { minutes: Math.floor(all / 60), seconds: all % 60 });
}

export const seconds = (ms, digits = 0) => say('unit.s', { value: number(ms / 1000, digits) });

// A share, or a strain without its sign.
export const share = (fraction, digits = 0) => say('unit.percent', { value: number(100 * fraction, digits) });

// A length, one digit after the point.
export const millimetres = (mm) => say('unit.mm', { value: number(mm, 1) });

export const percent = (fraction, digits = 2) => (fraction < 0 ? '−' : '+') + share(Math.abs(fraction), digits);

// What a frozen image was when it was shown; empty for a live one.
function wasText(picture) {
  const { shownState: was } = picture;
  return was === 'live' ? '' : say(`why.then_${['held', 'idle'].includes(was) ? was : 'stale'}`);
}

// The state of what is shown: a key for colours and patterns, a word, and why; `was`: of a frozen image, what it was when it
// was shown. `apart`: for the second window, which has no keys of its own.
export function stateOf(now) {
  const [key, why] = judge(now);
  return { key, word: known(`state.${key}`) ? say(`state.${key}`) : key.toUpperCase(), why, was: key === 'frozen' ? wasText(now.picture) : '' };
}

function judge({ link, picture, age, staleMs, quietMs, frozen, about, line, apart }) {
  if (frozen && picture) {
    const [where, key] = apart ? ['why.there', ''] : ['why.here', say('why.space')];
    return ['frozen', [say(where), wasText(picture), link === 'open' ? '' : say('why.alone'), key].filter(Boolean).join(' ')];
  }
  if (link === 'refused') return ['refused', line];
  if (link !== 'open') return ['lost', say('why.lost')];
  if (!picture) return ['waiting', say('why.waiting', { from: about?.strain ?? say('why.server') })];
  if (!age || age.ms > staleMs) {
    return ['stale', quietMs <= staleMs ? held(picture.reason) || say('why.late') : say('why.quiet', { age: ageText(quietMs) })];
  }
  if (picture.state === 'held') return ['held', held(picture.reason) || say('why.held')];
  if (picture.state === 'idle') return ['idle', picture.reason === 'quality' ? say('why.idle_quality') : say('why.idle')];
  if (picture.state !== 'live') return ['stale', `${picture.state} ${picture.reason}`];
  return ['live', ''];
}

// What stands after the headings of numbers that are not of this moment.
export function afterWord(key) {
  if (key === 'held' || key === 'frozen') return ` – ${say(`after.${key}`)}`;
  return ['stale', 'lost', 'refused'].includes(key) ? ` – ${say('after.old')}` : '';
}

export function compressionWord(picture) {
  if (picture.header.average) return ''; // of presses and releases alike
  if (picture.state === 'idle' || picture.compression === 0) return say('compression.rest');
  return picture.compression > 0 ? say('compression.pressing') : say('compression.releasing');
}

export function scoreWord(score) {
  if (score >= 0.8) return say('quality.good');
  if (score >= 0.6) return say('quality.fair');
  return score >= 0.4 ? say('quality.low') : say('quality.unreadable');
}
