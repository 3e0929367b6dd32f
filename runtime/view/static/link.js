// The WebSocket to the server of the page: opened, watched, and opened again whenever it is lost. Knows messages, not what
// they are for. `on` is told: state('open'|'lost'|'refused', line), text(key, value), picture(Picture). Each picture is
// acknowledged once it was taken, which is what makes the server send the next.

import { Picture } from './picture.js';
import { say } from './language.js';

const PING_MS = 1000;
const SILENCE_MS = 3000;
const RETRY_MS = [250, 500, 1000, 2000];

export class Link {
  #socket = null;
  #tries = 0;
  #heardMs = 0;
  #retry = 0;

  constructor(clock, on) {
    this.clock = clock;
    this.on = on;
    setInterval(() => this.#watch(), PING_MS / 2);
    document.addEventListener('visibilitychange', () => document.hidden || this.#watch());
    window.addEventListener('online', () => this.#watch());
    this.#open();
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  send(key, value) {
    if (this.open) this.#socket.send(JSON.stringify({ [key]: value }));
  }

  #open() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    const address = new URL('stream', location.href);
    address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    address.hash = '';
    const socket = new WebSocket(address);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#heardMs = performance.now();
    socket.onopen = () => {
      this.#tries = 0;
      this.clock.reset();
      this.#ping();
      this.on.state('open', '');
    };
    socket.onmessage = ({ data }) => socket === this.#socket && this.#take(data);
    socket.onclose = ({ reason }) => socket === this.#socket && this.#lost(reason);
  }

  #take(data) {
    this.#heardMs = performance.now();
    if (typeof data !== 'string') {
      try {
        const picture = new Picture(data);
        this.on.picture(picture);
        this.send('got', picture.id);
      } catch (error) {
        this.#socket.close();
        this.on.text('refused', error.message);
      }
      return;
    }
    for (const [key, value] of Object.entries(JSON.parse(data))) {
      if (key === 'pong') this.clock.pong(value.ping, value.now_ms);
      else this.on.text(key, value);
    }
  }

  #ping() {
    this.send('ping', performance.now());
  }

  #watch() {
    if (this.clock.slept()) {
      this.clock.reset();
      this.on.text('refused', say('notice.slept'));
      this.#drop();
    } else if (this.open) {
      if (performance.now() - this.#heardMs > SILENCE_MS) this.#drop();
      else this.#ping();
    } else if (!this.#retry && performance.now() - this.#heardMs > SILENCE_MS) {
      this.#drop();
    }
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#lost('');
  }

  async #lost(reason) {
    this.on.state('lost', reason);
    if (!this.#retry) {
      const wait = RETRY_MS[Math.min(this.#tries++, RETRY_MS.length - 1)];
      this.#retry = setTimeout(() => this.#open(), wait);
    }
    // A WebSocket does not say why it was refused, a request does.
    try {
      const answer = await fetch('alive', { signal: AbortSignal.timeout(2000) });
      if (answer.status === 403 && !this.open) this.on.state('refused', (await answer.text()).replace(/^usert view: /, '').trim());
    } catch {
      // not there: that is what `lost` says
    }
  }
}
