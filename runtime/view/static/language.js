// The words of the page in the chosen language, read from words-CODE.json: `say` looks one up, `fillWords` writes those of
// elements. A text with forms by number is an object {one, other}; `count` chooses. Numbers and dates are written by Intl.

// By their own names.
export const LANGUAGES = { en: 'English', fr: 'Français', de: 'Deutsch', es: 'Español', zh: '中文' };
let code = 'en';
let words = {};
const formats = new Map(); // to make one costs more than to use it

export const language = () => code;

// The language that is asked for in the address, was chosen before, or that the browser prefers.
export function preferred(kept) {
  const asked = new URLSearchParams(location.search).get('lang');
  const wanted = [asked, kept, ...navigator.languages].map((one) => one?.slice(0, 2).toLowerCase());
  return wanted.find((one) => Object.hasOwn(LANGUAGES, one)) ?? 'en';
}

export async function speak(wanted) {
  words = await (await fetch(`static/words-${wanted}.json`)).json();
  code = wanted;
  document.documentElement.lang = tagOf(wanted);
  fillWords(document);
  document.dispatchEvent(new Event('language')); // for whoever wrote words by itself
}

export const tagOf = (one) => (one === 'zh' ? 'zh-Hans' : one);

const find = (key) => key.split('.').reduce((at, part) => at?.[part], words);
export const known = (key) => find(key) !== undefined;

// The words of `key`, e.g. 'ratio.outside_one', its {placeholders} replaced by `values`.
export function say(key, values = {}) {
  let text = find(key);
  if (typeof text === 'object') text = text[new Intl.PluralRules(code).select(values.count)] ?? text.other;
  if (typeof text !== 'string') {
    console.error(`no words for ${key} in ${code}`);
    return key;
  }
  return fill(text, values);
}

export const fill = (text, values) =>
  text.replace(/\{(\w+)\}/g, (all, name) => {
    const value = values[name];
    return typeof value === 'number' ? number(value) : value ?? all;
  });

// A number as the language writes it; with `digits`, so many after the point.
export function number(value, digits) {
  const kind = `${code} ${digits}`;
  if (!formats.has(kind)) formats.set(kind, new Intl.NumberFormat(code, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return formats.get(kind).format(value);
}

// Names of keys of the keyboard in the text: {space}, {home}.
export const keyboard = (text) => fill(text, words.keyboard);

// Elements say what their attributes ask for: data-word the text, data-word-title the title with the key that does the same,
// data-word-label the label for who cannot see.
export function fillWords(root) {
  for (const element of root.querySelectorAll('[data-word]')) element.textContent = say(element.dataset.word);
  for (const element of root.querySelectorAll('[data-word-title]')) {
    const key = element.getAttribute('aria-keyshortcuts');
    element.title = say(element.dataset.wordTitle) + (key ? ` (${key})` : '');
  }
  for (const element of root.querySelectorAll('[data-word-label]')) element.setAttribute('aria-label', say(element.dataset.wordLabel));
}
