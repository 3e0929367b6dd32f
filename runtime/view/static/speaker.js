// What a screen reader is told: state and advice, once they have lasted, not every number that changes. Knows one element, a
// polite live region.

const LASTED_MS = 1000;
const APART_MS = 3000;

export class Speaker {
  #wanted = '';
  #sinceMs = 0;
  #saidMs = -Infinity;

  constructor(element) {
    this.element = element;
  }

  // To be called with the text of now, again and again.
  say(text) {
    const now = performance.now();
    if (text !== this.#wanted) {
      this.#wanted = text;
      this.#sinceMs = now;
    }
    if (this.element.textContent === text || now - this.#sinceMs < LASTED_MS || now - this.#saidMs < APART_MS) return;
    this.element.textContent = text;
    this.#saidMs = now;
  }
}
