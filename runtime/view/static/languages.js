// The choice of the language: a dialog of one button each, under its own name. Knows elements and the page.

import { LANGUAGES, language, speak, tagOf } from './language.js';
import { keep } from './settings.js';

const $ = (id) => document.getElementById(id);

export class Languages {
  constructor(page) {
    this.page = page;
    $('languages-all').append(...Object.entries(LANGUAGES).map(([code, name]) => {
      const button = document.createElement('button');
      Object.assign(button, { textContent: name, value: code, lang: tagOf(code) });
      button.addEventListener('click', () => this.#choose(code));
      return button;
    }));
    $('language').addEventListener('click', () => this.open());
    $('languages-close').addEventListener('click', () => $('languages').close());
    this.#show();
  }

  open() {
    $('languages').showModal();
    $('languages-all').querySelector(`[value=${language()}]`).focus();
  }

  async #choose(code) {
    $('languages').close();
    try {
      await speak(code);
    } catch {
      return; // no connection, which the page says: the words stay
    }
    this.page.view.language = code;
    keep(this.page.view);
    this.page.dirty = true;
    this.#show();
  }

  #show() {
    $('language').textContent = LANGUAGES[language()];
    for (const button of $('languages-all').children) button.setAttribute('aria-pressed', String(button.value === language()));
  }
}
