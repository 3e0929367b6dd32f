// Asks for what is measured in regions. Live, the server is told the regions and sends a reading with each picture; frozen,
// it is sent the kept pictures. Knows cine, regions and link; no elements. A reading belongs to the version of the regions
// that it was asked for.

import { say } from './language.js';

const MOST_IMAGES = 10;
const WAIT_MS = 120;

export class Measuring {
  #told = null;
  #timer = 0;
  #asked = '';

  constructor(cine, regions, link) {
    Object.assign(this, { cine, regions, link });
  }

  // After anything that may change what is measured.
  update() {
    if (this.cine.frozen) {
      this.#ask();
    } else {
      this.#asked = '';
      clearTimeout(this.#timer); // or what was asked of an image would be answered by those of now
      this.#tell();
    }
  }

  // The connection is new: it knows nothing.
  forget() {
    this.#told = null;
    this.update();
  }

  #tell() {
    const { plan } = this.regions;
    const told = JSON.stringify(plan);
    if (!this.link.open || told === this.#told) return;
    this.#told = told;
    this.link.send('regions', plan);
  }

  // A reading of the picture `of`.
  take({ of, ...reading }) {
    const { newest } = this.cine;
    if (newest?.id === of && reading.version === this.regions.version) newest.reading = reading;
  }

  // Of a picture that has no reading of its own: that of the live one before it.
  inherit(picture, before) {
    if (before?.reading && before.reading.version === this.regions.version && picture.run === before.run
      && picture.header.server_starts === before.header.server_starts && picture.header.session === before.header.session) {
      picture.reading = before.reading;
    }
  }

  #ask() {
    const picture = this.cine.shown;
    const { plan, version } = this.regions;
    const asked = `${picture.id} ${version}`;
    if (!plan || asked === this.#asked) return;
    this.#asked = asked;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      const put = (reading) => {
        if (version === this.regions.version) picture.reading = { ...reading, version };
      };
      const pictures = this.cine.before(MOST_IMAGES);
      if (!pictures.length) return put({ none: true });
      try {
        const answer = await fetch('measure', { method: 'POST', body: bodyOf(plan, pictures), signal: AbortSignal.timeout(5000) });
        const { reading, error } = await answer.json();
        put(error ? { error } : reading ?? { none: true });
      } catch {
        this.#asked = '';
        put({ error: say('ratio.no_connection') });
      }
    }, WAIT_MS);
  }
}

function bodyOf(plan, pictures) {
  const sizes = pictures.map((one) => one.measuredBytes);
  const head = new TextEncoder().encode(JSON.stringify({ ...plan, sizes }));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, head.length, true);
  return new Blob([length, head, ...pictures.map((one) => new Uint8Array(one.message, 0, one.measuredBytes))]);
}
