// The keyboard: one table of label, keys and action, from which the page is driven and its help is written: the words of an
// action are `keys.ACTION`. Knows names of actions, not what they do.

import { keyboard, say } from './language.js';

export const KEYS = [
  ['{space}', [' '], 'freeze'],
  [', {and} .', [',', '.'], 'step'],
  ['{home}, {end}', ['Home', 'End'], 'ends'],
  ['T', ['t'], 'best'],
  ['O', ['o'], 'average'],
  ['V', ['v'], 'mode'],
  ['+ {and} −', ['+', '-', '=', '−'], 'opacity'],
  ['M', ['m'], 'map'],
  ['I', ['i'], 'invert'],
  ['G', ['g'], 'range'],
  ['Q', ['q'], 'quality'],
  ['X', ['x'], 'blank'],
  ['K', ['k'], 'box'],
  ['A, B, 1 {to} 8', ['a', 'b', '1', '2', '3', '4', '5', '6', '7', '8'], 'region'],
  ['E, P', ['e', 'p'], 'tool'],
  ['H', ['h'], 'histogram'],
  ['{arrows}', ['ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight'], 'arrow'],
  ['{delete}', ['Delete', 'Backspace'], 'remove'],
  ['C', ['c'], 'clear'],
  ['S', ['s'], 'snapshot'],
  ['R', ['r'], 'record'],
  ['N', ['n'], 'case'],
  ['U, Y', ['u', 'y'], 'dicom'],
  ['F', ['f'], 'full'],
  ['?', ['?'], 'help'],
  ['{escape}', ['Escape'], 'escape'],
];

const ACTIONS = new Map(KEYS.flatMap(([, keys, action]) => keys.map((key) => [key, action])));
const OF_CONTROLS = [' ', 'Enter', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight', 'Home', 'End'];

export function listen(act) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const control = event.target.closest?.('button, input, select');
    if (control?.matches('input[type=text], select')) return; // what is typed or chosen there
    if (control && OF_CONTROLS.includes(event.key)) return; // what a button or slider does with it
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = ACTIONS.get(key);
    if (!action) return;
    event.preventDefault();
    act(action, key, event);
  });
}

export function writeHelp(element) {
  element.replaceChildren();
  for (const [label, , action] of KEYS) {
    const key = document.createElement('kbd');
    key.textContent = keyboard(label);
    const words = document.createElement('span');
    words.textContent = say(`keys.${action}`);
    element.append(key, words);
  }
}
