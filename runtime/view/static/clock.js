// The clock of the process that serves the page, as seen from this browser. Knows no sockets. What it says is never
// earlier than the truth, so no image looks younger than it is: a pong was stamped after its ping had left here.

const KEPT = 16;
const JUMP_MS = 1000;

export class ServerClock {
  #offsets = [];
  #wall = Date.now() - performance.now();

  // `sentMs` by performance.now(), `serverMs` the stamp that came back.
  pong(sentMs, serverMs) {
    this.#offsets.push(serverMs - sentMs);
    if (this.#offsets.length > KEPT) this.#offsets.shift();
  }

  // Forget it: the computer slept, or it is another server.
  reset() {
    this.#offsets = [];
    this.#wall = Date.now() - performance.now();
  }

  // Whether this computer slept since it was asked last: the wall clock went on, the other did not.
  slept() {
    const jumped = Math.abs(Date.now() - performance.now() - this.#wall) > JUMP_MS;
    this.#wall = Date.now() - performance.now();
    return jumped;
  }

  get known() {
    return this.#offsets.length > 0;
  }

  now() {
    return performance.now() + Math.min(...this.#offsets);
  }

  // Age of a picture by now; while the server's clock is not known, a lower bound.
  age(picture) {
    if (this.known) return { ms: Math.max(0, this.now() - picture.bornMs), exact: picture.exact };
    return { ms: performance.now() - picture.arrivedMs, exact: false };
  }
}
