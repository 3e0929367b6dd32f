// A barcode scanner is a keyboard that types fast and ends with Enter. Outside of a text field its characters would press the
// page's keys, so characters are held for a moment: what ends with Enter before a person could is a scan, anything else is
// typed again as it was. Knows keys, not what a scan is for.

const GAP_MS = 60; // between two characters of a scanner, and how late a person's key may act
const LEAST = 4; // characters

const BEGINS = /^[\p{L}\p{N}]$/u; // signs and blanks begin no identifier, and act at once
const TEXT = 'input:not([type=range]):not([type=checkbox]):not([type=radio]):not([type=button]), textarea, select, [contenteditable]';

export class Scanner {
  #held = [];
  #timer = 0;
  #lastMs = 0;
  #again = new WeakSet();

  constructor(onScan) {
    this.onScan = onScan;
    window.addEventListener('keydown', (event) => this.#take(event), true);
  }

  #take(event) {
    if (this.#again.has(event)) return;
    if (['Shift', 'CapsLock', 'AltGraph'].includes(event.key)) return;
    const character = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat;
    if (event.target.closest?.(TEXT) || (!this.#held.length && !BEGINS.test(event.key))) {
      this.#release();
      return;
    }
    if (event.timeStamp - this.#lastMs > GAP_MS) this.#release();
    if (character) {
      this.#hold(event);
      return;
    }
    if (event.key === 'Enter' && this.#held.length >= LEAST) {
      const text = this.#held.map(({ key }) => key).join('');
      this.#held = [];
      clearTimeout(this.#timer);
      stop(event); // it must not press the button that has the focus
      this.onScan(text);
      return;
    }
    this.#release();
  }

  #hold(event) {
    stop(event);
    this.#held.push(event);
    this.#lastMs = event.timeStamp;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#release(), GAP_MS);
  }

  // No scan: the keys, as they were.
  #release() {
    clearTimeout(this.#timer);
    for (const { key, code, shiftKey, target } of this.#held.splice(0)) {
      const event = new KeyboardEvent('keydown', { key, code, shiftKey, bubbles: true, cancelable: true });
      this.#again.add(event);
      (target.isConnected ? target : document.body).dispatchEvent(event);
    }
  }
}

function stop(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}
