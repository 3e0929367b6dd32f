// The second window, which shows the image alone (image.js): opened here, and told how this page shows it. Live, it has its
// pictures from the server as this page has; frozen, it is sent the picture. Knows a channel between windows of one browser.

import { CHANNEL } from './channel.js';
import { say } from './language.js';

const OPENING_MS = 8000;
const ANSWER_MS = 250; // of a window that is open: it need not be in front, but has to answer

export class Apart {
  #channel = new BroadcastChannel(CHANNEL);
  #from = Math.random();
  #told = '';
  #opening = 0;
  #asking = 0;

  constructor(page) {
    this.page = page;
    this.#channel.onmessage = ({ data }) => {
      if (data.here && this.#asking) {
        this.#asking = clearTimeout(this.#asking);
        this.page.notice(say('apart.there'));
      }
      if (!data.hello) return; // a window that knows nothing: answered at once, for in the background nothing is drawn
      this.#told = '';
      this.tell();
      this.#opening = clearTimeout(this.#opening);
    };
    this.pulse = new Worker(new URL('pulse.js', import.meta.url), { type: 'module', name: String(this.#from) });
    window.addEventListener('pagehide', () => this.#channel.postMessage({ from: this.#from, gone: true }));
    window.addEventListener('pageshow', () => { this.#told = ''; });
  }

  // Open the window, unless there is one: that comes to the front, where the browser lets it.
  open() {
    if (this.#opening || this.#asking) return;
    this.#channel.postMessage({ raise: true });
    this.#asking = setTimeout(() => this.#another(), ANSWER_MS);
  }

  // Without an opener the browser gives the window a process of its own: it lives on when this one crashes. In return nobody
  // says whether it was opened, or is open, but itself.
  #another() {
    this.#asking = 0;
    window.open('?view=image', '_blank', 'popup, noopener');
    this.#opening = setTimeout(() => {
      this.#opening = 0;
      this.page.notice(say('apart.blocked'));
    }, OPENING_MS);
  }

  // Send what has changed.
  tell() {
    const { view, cine: { frozen, shown } } = this.page;
    const now = JSON.stringify([view, frozen && [shown.id, shown.shownState]]);
    if (now === this.#told) return;
    this.#told = now;
    const picture = frozen ? { message: shown.message, run: shown.run, shownState: shown.shownState } : null;
    this.#channel.postMessage({ from: this.#from, view, picture });
  }
}
