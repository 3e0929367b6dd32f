// The keyboard: one table, from which the page is driven and its help is written. Knows names of actions, not what they do.

export const KEYS = [
  ['Space', [' '], 'freeze', 'freeze, or back to live'],
  [', and .', [',', '.'], 'step', 'one image back, forward'],
  ['Home, End', ['Home', 'End'], 'ends', 'oldest image, newest image'],
  ['V', ['v'], 'mode', 'side by side, overlaid, strain alone'],
  ['+ and −', ['+', '-', '=', '−'], 'opacity', 'strain over B-mode: more, less'],
  ['M', ['m'], 'map', 'colours of strain'],
  ['G', ['g'], 'range', 'range of the colours: automatic or fixed'],
  ['Q', ['q'], 'quality', 'quality map'],
  ['X', ['x'], 'blank', 'hide or show pixels that must not be read'],
  ['A, B', ['a', 'b'], 'region', 'place or choose a region'],
  ['Arrows', ['ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight'], 'arrow', 'move the chosen region; with Shift: its size. Without one: step'],
  ['Delete', ['Delete', 'Backspace'], 'remove', 'remove the chosen region'],
  ['C', ['c'], 'clear', 'clear both regions'],
  ['S', ['s'], 'snapshot', 'save a picture'],
  ['R', ['r'], 'record', 'start or stop a record'],
  ['N', ['n'], 'case', 'case: type or scan its identifier'],
  ['U, Y', ['u', 'y'], 'dicom', 'save, send this image as DICOM; with Shift: the film'],
  ['F', ['f'], 'full', 'full screen'],
  ['?', ['?'], 'help', 'these keys'],
  ['Esc', ['Escape'], 'escape', 'choose no region'],
];

const ACTIONS = new Map(KEYS.flatMap(([, keys, action]) => keys.map((key) => [key, action])));
const OF_CONTROLS = [' ', 'Enter', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight', 'Home', 'End'];

export function listen(act) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const control = event.target.closest?.('button, input');
    if (control && OF_CONTROLS.includes(event.key)) return; // what a button or slider does with it
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = ACTIONS.get(key);
    if (!action) return;
    event.preventDefault();
    act(action, key, event);
  });
}

export function writeHelp(element) {
  for (const [label, , , what] of KEYS) {
    const key = document.createElement('kbd');
    key.textContent = label;
    const words = document.createElement('span');
    words.textContent = what;
    element.append(key, words);
  }
}
