// The second window, which shows the image alone (image.js): opened here, and told how this page shows it. Live, it has its
// pictures from the server as this page has; frozen, it is sent the picture. Knows a channel between windows of one browser.

export const CHANNEL = 'usert-view';
const ALIVE_MS = 1000;

export class Apart {
  #channel = new BroadcastChannel(CHANNEL);
  #from = Math.random();
  #told = '';

  constructor() {
    this.#channel.onmessage = ({ data }) => {
      if (data.hello) this.#told = ''; // a new window knows nothing
    };
    setInterval(() => this.#channel.postMessage({ from: this.#from, alive: true }), ALIVE_MS);
    window.addEventListener('pagehide', () => this.#channel.postMessage({ from: this.#from, gone: true }));
    window.addEventListener('pageshow', () => { this.#told = ''; });
  }

  open() {
    return window.open('?view=image', 'usert-image', 'popup');
  }

  // Send what has changed.
  tell({ view }, { frozen, shown }) {
    const now = JSON.stringify([view, frozen && [shown.id, shown.shownState]]);
    if (now === this.#told) return;
    this.#told = now;
    const picture = frozen ? { message: shown.message, run: shown.run, shownState: shown.shownState } : null;
    this.#channel.postMessage({ from: this.#from, view, picture });
  }
}
