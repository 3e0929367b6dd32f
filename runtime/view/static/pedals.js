// Foot pedals. A pedal is a keyboard of a few keys; which key each sends is taught here (press Learn, then the pedal) and kept
// in this browser. What a pedal does goes before what the keyboard does with that key. Knows elements of its dialog.

import { known, say } from './language.js';

const $ = (id) => document.getElementById(id);
const NAME = 'usert-pedals';
// Keys that neither this page nor browsers use otherwise; F13 to F15 exist on pedals, not on most keyboards.
const START = { freeze: ['PageDown', 'F13'], snapshot: ['PageUp', 'F14'] };
const NO_PEDAL = ['Shift', 'Control', 'Alt', 'AltGraph', 'Meta', 'CapsLock', 'Dead', 'Process', 'Unidentified', 'Tab'];

export class Pedals {
  #keys = load();
  #learning = '';

  constructor() {
    $('pedals-button').addEventListener('click', () => this.open());
    $('pedals-close').addEventListener('click', () => $('pedals').close());
    $('pedals-reset').addEventListener('click', () => this.#set(structuredClone(START)));
    $('pedals').addEventListener('close', () => this.#learn(''));
    $('pedals').addEventListener('keydown', (event) => this.#taught(event));
    document.addEventListener('language', () => this.#show());
    this.#show();
  }

  // The action of a key; undefined for one that is no pedal's.
  actionOf(key) {
    return Object.keys(this.#keys).find((action) => this.#keys[action].includes(key));
  }

  open() {
    $('pedals').showModal();
  }

  #learn(action) {
    this.#learning = action;
    this.#show();
  }

  #taught(event) {
    if (!this.#learning || event.ctrlKey || event.altKey || event.metaKey || NO_PEDAL.includes(event.key)) return;
    event.preventDefault();
    const action = this.#learning;
    this.#learning = '';
    if (event.key === 'Escape') return this.#show();
    const others = Object.entries(this.#keys).map(([one, keys]) => [one, keys.filter((key) => key !== nameOf(event))]);
    this.#set({ ...Object.fromEntries(others), [action]: [nameOf(event)] });
  }

  #set(keys) {
    this.#keys = keys;
    try {
      localStorage.setItem(NAME, JSON.stringify(keys));
    } catch {
      // not allowed to keep anything here
    }
    this.#show();
  }

  #show() {
    const focused = document.activeElement?.dataset.action;
    $('pedals-all').replaceChildren(...Object.keys(START).flatMap((action) => {
      const what = element('span', say(`keys.${action}`));
      const keys = element('kbd', this.#keys[action].map(label).join(', ') || '–');
      const button = element('button', say(this.#learning === action ? 'pedals.press' : 'pedals.learn'));
      button.dataset.action = action;
      button.setAttribute('aria-label', `${button.textContent}: ${what.textContent}`);
      button.setAttribute('aria-pressed', String(this.#learning === action));
      button.addEventListener('click', () => this.#learn(this.#learning === action ? '' : action));
      return [what, keys, button];
    }));
    if (focused) $('pedals-all').querySelector(`[data-action=${focused}]`).focus();
  }
}

export const nameOf = ({ key }) => (key.length === 1 ? key.toLowerCase() : key);

const label = (key) => (key === ' ' ? say('keyboard.space') : known(`keyboard.${key}`) ? say(`keyboard.${key}`) : key.length === 1 ? key.toUpperCase() : key);

function element(kind, text) {
  return Object.assign(document.createElement(kind), { textContent: text });
}

function load() {
  const keys = structuredClone(START);
  try {
    for (const [action, kept] of Object.entries(JSON.parse(localStorage.getItem(NAME)) ?? {})) {
      if (action in START && Array.isArray(kept)) keys[action] = kept.filter((key) => typeof key === 'string');
    }
  } catch {
    // nothing kept, or not readable
  }
  return keys;
}
