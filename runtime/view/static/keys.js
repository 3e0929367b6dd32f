// The keyboard: one table of label, keys and action, from which the page is driven and its help is written: the words of an
// action are `keys.ACTION`. Knows names of actions, not what they do.

import { keyboard, say } from './language.js';
import { nameOf } from './pedals.js';

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
  ['D', ['d'], 'distance'],
  ['H', ['h'], 'histogram'],
  ['{arrows}', ['ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight'], 'arrow'],
  ['J', ['j'], 'turn'],
  ['{delete}', ['Delete', 'Backspace'], 'remove'],
  ['C', ['c'], 'clear'],
  ['S', ['s'], 'snapshot'],
  ['R', ['r'], 'record'],
  ['N', ['n'], 'case'],
  ['U, Y', ['u', 'y'], 'dicom'],
  ['F', ['f'], 'full'],
  ['L', ['l'], 'language'],
  ['W', ['w'], 'apart'],
  ['?', ['?'], 'help'],
  ['{escape}', ['Escape'], 'escape'],
];

const ACTIONS = new Map(KEYS.flatMap(([, keys, action]) => keys.map((key) => [key, action])));
const REPEATING = ['step', 'arrow', 'opacity', 'turn']; // of the others, a key that is held down does one
const OF_CONTROLS = ['Enter', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight', 'Home', 'End'];
const OF_WRITING = [...OF_CONTROLS, 'Delete', 'Backspace', 'Escape'];
const WRITING = 'select, textarea, input:not([type=range])';

// `pedals` knows which keys are a foot pedal's. They act wherever the focus is, but for what writes there or works a dialog.
export function listen(act, pedals) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const key = nameOf(event);
    const pedal = pedals.actionOf(key);
    const dialog = document.querySelector('dialog[open]');
    const writing = event.target.matches?.(WRITING);
    const taken = OF_WRITING.includes(event.key) || (writing ? key.length === 1 : key === ' ');
    if ((dialog || writing) && (!pedal || taken)) return;
    const control = event.target.closest?.('button, input');
    // What a button or slider does with it.
    if (control && !pedal && (OF_CONTROLS.includes(event.key) || (event.key === ' ' && control.matches('button')))) return;
    const action = pedal ?? ACTIONS.get(key);
    if (!action) return;
    event.preventDefault();
    if (!event.repeat || REPEATING.includes(action)) act(action, key, event);
  });
}

// After a press by mouse or finger the keys are the page's again: Space freezes, whatever was pressed before.
document.addEventListener('click', (event) => {
  if (event.detail && !document.querySelector('dialog[open]')) event.target.closest('button')?.blur();
});

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
