// DICOM: the page draws what is shown, or every image that it kept, and usert view makes an object of it, for the downloads, a
// folder or a node. Knows the page and its dialog. The page goes on meanwhile, whatever becomes of it.

import { known, say } from './language.js';
import { render } from './snapshot.js';
import { seconds } from './words.js';

const $ = (id) => document.getElementById(id);
const MOST_IMAGES = 256;
const FILM = { width: 960, height: 540 }; // of the images; half of a snapshot

export class Dicom {
  #busy = null; // what stops it

  constructor(page) {
    this.page = page;
    $('dicom-button').addEventListener('click', () => this.open());
    $('dicom-close').addEventListener('click', () => $('dicom-dialog').close());
    $('dicom-stop').addEventListener('click', () => this.stop());
    $('dicom-check').addEventListener('click', () => this.#check());
    for (const what of ['image', 'film']) {
      $(`dicom-${what}`).addEventListener('click', () => this.make(what, false));
      $(`dicom-send-${what}`).addEventListener('click', () => this.make(what, true));
    }
  }

  get #chosen() {
    const { kept, span } = this.page.cine;
    const all = span?.[1] > span?.[0] ? kept.slice(span[0], span[1] + 1) : kept;
    return all.filter((one) => alike(one, all.at(-1)));
  }

  get #about() {
    return this.page.about?.dicom ?? { missing: '', folder: false, node: '' };
  }

  open() {
    if (this.#about.missing) {
      this.page.notice(this.#about.missing);
      return;
    }
    if (document.querySelector('dialog[open]')) return;
    put($('dicom-line'), '');
    $('dicom-dialog').showModal();
    this.show();
  }

  // Called often: while the dialog is open, the case may change and a pedal freezes.
  show() {
    if (!$('dicom-dialog').open) return;
    const { cine, patient: { identifier } } = this.page;
    const { folder, node } = this.#about;
    put($('dicom-patient'), identifier ? say('dicom.patient', { identifier }) : say('dicom.no_patient'));
    put($('dicom-where'), say(folder ? 'dicom.folder' : 'dicom.downloads'));
    put($('dicom-node'), node ? say('dicom.node', { node }) : say('dicom.no_node'));
    put($('dicom-film'), say('dicom.film', { count: Math.min(MOST_IMAGES, this.#chosen.length) }));
    for (const id of ['dicom-send-image', 'dicom-send-film', 'dicom-check']) $(id).hidden = !node;
    for (const id of ['dicom-film', 'dicom-send-film']) $(id).disabled = !cine.frozen;
    put($('dicom-hint'), cine.frozen ? '' : say('dicom.needs_freeze'));
  }

  stop() {
    this.#busy?.abort();
  }

  // By a key: as from the dialog; but to send what has no Patient ID, which archives refuse or put aside, is asked first.
  key(what, send) {
    if (!send || this.page.patient.identifier || !this.#about.node) return this.make(what, send);
    this.open();
    if ($('dicom-dialog').open) $(`dicom-send-${what}`).focus();
  }

  // `what`: image or film.
  async make(what, send) {
    const { page } = this;
    if (this.#about.missing) return this.#tell(this.#about.missing);
    if (this.#busy) return this.#tell(say('dicom.busy'));
    if (send && !this.#about.node) return this.#tell(say('dicom.no_node'));
    if (what === 'film' && !page.cine.frozen) return this.#tell(say('dicom.needs_freeze'));
    const scene = page.scene();
    if (!scene.picture) return this.#tell(say('snapshot.no_image'));
    const work = page.patient.work();
    this.#busy = new AbortController();
    $('dicom-dialog').dataset.busy = true;
    try {
      const { signal } = this.#busy;
      const drawn = what === 'image' ? [await draw(scene, {})] : await this.#film(scene, signal);
      put($('dicom-line'), say('dicom.working'));
      const answer = await fetch('dicom', { method: 'POST', body: this.#body(what, send, scene, drawn), signal });
      await this.#answer(answer);
      if (answer.ok) page.patient.saved(work);
    } catch (error) {
      this.#tell(say(error.name === 'AbortError' ? 'dicom.stopped' : 'dicom.lost'));
    } finally {
      this.#busy = null;
      $('dicom-dialog').dataset.busy = false;
    }
  }

  // The images of the chosen stretch, or all that are kept, or every k-th of them, each as it was shown.
  async #film(scene, signal) {
    const all = distinct(this.#chosen);
    const step = Math.ceil(all.length / MOST_IMAGES);
    if (step > 1) this.page.notice(say('dicom.thinned', { step, most: MOST_IMAGES }));
    const chosen = all.filter((_, at) => at % step === 0);
    const last = chosen.at(-1).arrivedMs;
    const drawn = [];
    for (const [at, picture] of chosen.entries()) {
      signal.throwIfAborted();
      put($('dicom-line'), say('dicom.drawing', { done: at + 1, count: chosen.length }));
      const line = say('dicom.position', { at: at + 1, count: chosen.length, seconds: seconds(last - picture.arrivedMs, 1) });
      const key = picture.shownState ?? picture.state;
      drawn.push(await draw({ ...scene, picture, age: null, state: { key, word: say(`state.${key}`), why: '' } }, { ...FILM, line }));
    }
    return drawn;
  }

  #body(what, send, scene, drawn) {
    const first = drawn[0].picture.header;
    const { header } = drawn.at(-1).picture;
    const fields = {
      case: this.page.patient.number, kind: what === 'image' ? 'image' : 'cine', send, scale: drawn[0].scale,
      sound_speed_m_s: header.sound_speed_m_s, stream: header.stream, session: header.session,
      reference: first.reference, current: header.current, weights: header.weights ?? '', state: scene.state.key,
      frames: drawn.map(({ blob, picture: { header: of, bornMs } }) => ({ bytes: blob.size, acquired_ms: of.acquired_ms, born_ms: bornMs })),
    };
    const text = new TextEncoder().encode(JSON.stringify(fields));
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, text.length, true);
    return new Blob([length, text, ...drawn.map(({ blob }) => blob)]);
  }

  async #answer(answer) {
    const type = answer.headers.get('content-type') ?? '';
    if (answer.ok && type.startsWith('application/dicom')) {
      const name = /filename="([\w.-]+)"/.exec(answer.headers.get('content-disposition'))[1];
      download(await answer.blob(), name);
      this.#tell(say('dicom.saved', { name }));
      return;
    }
    const told = await answer.json();
    if (!answer.ok) this.#tell(known(told.key) ? say(told.key, told.values) : told.error);
    else if (told.saved) this.#tell(say('dicom.saved', { name: told.saved }));
    else if (told.sent) this.#tell(say('dicom.sent', { node: told.sent }));
    else this.#tell(say('dicom.there', { node: told.there }));
  }

  async #check() {
    put($('dicom-line'), say('dicom.working'));
    try {
      await this.#answer(await fetch('dicom/echo', { method: 'POST' }));
    } catch {
      this.#tell(say('dicom.lost'));
    }
  }

  #tell(line) {
    if ($('dicom-dialog').open) put($('dicom-line'), line);
    else this.page.notice(line);
  }
}

// Of the same millimetres: an object has one pixel spacing for all of its images.
const alike = (a, b) => [...a.extent, ...a.origin].every((mm, at) => mm === [...b.extent, ...b.origin][at]);

// While a held image stands, it comes again and again.
function distinct(pictures) {
  let last = null;
  return pictures.filter(({ header, bornMs }) => {
    const other = last === null || header.session !== last.header.session || bornMs > last.bornMs;
    if (other) last = { header, bornMs };
    return other;
  });
}

async function draw(scene, options) {
  const { canvas, scale } = render(scene, { ...options, named: false });
  const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
  return { blob, scale, picture: scene.picture };
}

function download(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
