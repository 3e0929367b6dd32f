// The case: its identifier, typed or scanned, the same on all screens of one usert view. Knows the page, its dialog and what a
// new case clears. The identifier is kept in no storage of the browser and in no address, and is written as text alone.

import { Scanner } from './scanner.js';
import { known, say } from './language.js';

const $ = (id) => document.getElementById(id);
const MOST = 64; // characters: those of a DICOM Patient ID
const LONG = 20; // from here on written small: two patients may differ in the last one

export class Case {
  #shown = { number: 0, identifier: '', began_ms: 0 };
  #run = '';
  #asked = null;
  #saved = '';
  #told = false;

  constructor(page) {
    this.page = page;
    this.scanner = new Scanner((text) => this.#scanned(text));
    $('case-button').addEventListener('click', () => this.open());
    $('case-begin').addEventListener('click', () => this.#typed());
    $('case-end').addEventListener('click', () => this.#order(''));
    $('case-cancel').addEventListener('click', () => this.#close());
    $('case-dialog').addEventListener('close', () => this.#forget());
    for (const answer of ['keep', 'clear']) $(`case-${answer}`).addEventListener('click', () => this.#answer(answer));
    $('case-input').addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.isComposing) this.#typed();
    });
  }

  get identifier() {
    return this.#shown.identifier;
  }

  get number() {
    return this.#shown.number;
  }

  // Whether a picture is of this case: what was acquired before it began is of the one before.
  owns(picture) {
    return picture.bornMs >= this.#shown.began_ms;
  }

  open() {
    const dialog = $('case-dialog');
    if (document.querySelector('dialog[open]') && !dialog.open) return;
    this.#ask(null);
    put($('case-present'), say('case.present', { identifier: this.identifier || say('case.none') }));
    $('case-end').disabled = !this.identifier;
    $('case-input').value = '';
    if (!dialog.open) dialog.showModal();
    $('case-input').focus();
  }

  // Texts of the server: `case`, `case_question`, `case_refused`.
  text(key, value) {
    if (key === 'case') this.#take(value);
    else if (key === 'case_question') this.#question(value);
    else if (key === 'case_refused') this.#tell(known(value.key) ? say(value.key, value.values) : value.error);
  }

  // What is saved now, or was there when `work` was taken, is saved.
  saved(work = this.work()) {
    this.#saved = work;
  }

  // Called often: tells the server whether there is something that a new case would ask about.
  show() {
    put($('case-shown'), this.identifier || '–');
    if ($('case-shown').title !== this.identifier) $('case-shown').title = this.identifier;
    $('case-shown').dataset.long = [...this.identifier].length >= LONG;
    const work = this.work();
    const unsaved = work !== '' && work !== this.#saved;
    if (unsaved === this.#told || this.page.link !== 'open') return;
    this.#told = unsaved;
    this.page.send('unsaved', unsaved);
  }

  // A new connection knows nothing.
  connected() {
    this.#told = false;
  }

  work() {
    const { cine, regions } = this.page;
    const drawn = [...regions.all, ...regions.callipers.all];
    if (!cine.frozen && !drawn.length) return '';
    return JSON.stringify([cine.frozen ? cine.shown?.id : null, drawn]);
  }

  #take(value) {
    const before = this.#shown;
    const sameRun = this.#run === this.page.about?.run;
    this.#shown = value;
    this.#run = this.page.about?.run ?? '';
    if ($('case-dialog').open && before.identifier !== value.identifier) this.#close();
    const next = sameRun ? value.number !== before.number : value.identifier !== before.identifier;
    if (before.number && next) {
      this.page.clear();
      this.#saved = '';
    }
    if (before.identifier === value.identifier) return;
    this.page.notice(value.identifier ? say('case.begun', value) : say('case.ended'));
    if (before.number && next) this.page.notice(say('case.cleared'));
  }

  #scanned(text) {
    if (document.querySelector('dialog[open]') && !$('case-dialog').open) document.querySelector('dialog[open]').close();
    this.#order(text.trim());
  }

  #typed() {
    const wanted = $('case-input').value.trim();
    if (wanted) this.#order(wanted);
  }

  #order(identifier, answer = '') {
    const count = [...identifier].length;
    if (this.page.link !== 'open') this.#tell(say('case.no_link'));
    else if (count > MOST) this.#tell(say('case.too_long', { count, most: MOST }));
    else this.page.send('case', { identifier, answer });
  }

  #answer(answer) {
    const wanted = this.#asked;
    if (wanted !== null) this.#order(wanted, answer);
  }

  #question({ identifier, unsaved, recording, can_keep }) {
    this.open();
    this.#ask(identifier);
    const lines = [
      identifier ? say('case.question', { identifier }) : say('case.question_end'),
      unsaved ? say('case.unsaved', { count: unsaved }) : '',
      recording ? say('case.recording') : '',
    ];
    put($('case-question'), lines.filter(Boolean).join('\n'));
    $('case-keep').hidden = !can_keep;
    $('case-cancel').focus();
  }

  // Shows the field, or for an identifier the question.
  #ask(identifier) {
    this.#asked = identifier;
    $('case-dialog').dataset.asks = identifier !== null;
    put($('case-error'), '');
  }

  #tell(line) {
    if ($('case-dialog').open) put($('case-error'), line);
    else this.page.notice(line);
  }

  #close() {
    $('case-dialog').close();
  }

  #forget() {
    this.#asked = null;
    $('case-input').blur();
    $('case-input').value = '';
    put($('case-question'), '');
    put($('case-error'), '');
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
