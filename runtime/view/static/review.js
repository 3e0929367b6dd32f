// Freezing, going through what was kept, the best image of a press and averages: one place for timeline, buttons and keys.
// Knows cine, measuring and its own elements. An average is shown only while frozen, and any step ends it.

import { Timeline } from './timeline.js';
import { averaged } from './average.js';
import { bestFrom, pressAt } from './best.js';
import { say } from './language.js';
import { seconds } from './words.js';

const $ = (id) => document.getElementById(id);

export class CineControls {
  constructor(page) {
    this.page = page;
    this.timeline = new Timeline($('time'), page.cine, {
      go: (place) => this.go(place),
      span: (first, last) => this.choose(first, last),
      chosen: () => this.#showAverage(),
    });
  }

  freeze() {
    const { cine, notice } = this.page;
    if (cine.frozen) cine.resume();
    else cine.freeze();
    if (!cine.frozen && !cine.count) notice(say('cine.no_image'));
    this.#done();
  }

  go(place) {
    this.page.cine.go(place);
    this.#done();
  }

  best() {
    const { cine, notice } = this.page;
    const place = bestFrom(cine.presses, cine.frozen ? cine.place : cine.count);
    if (place < 0) notice(say('press.no_best'));
    else this.go(place);
  }

  choose(first, last) {
    const { cine } = this.page;
    if (!cine.frozen) return;
    cine.span = [first, last];
    cine.average = null;
    this.#done();
  }

  // Of the chosen span; without one that holds the shown image, of the press; and off again.
  average() {
    const { cine, notice } = this.page;
    if (cine.average) {
      cine.average = null;
      this.#done();
      return;
    }
    const chosen = cine.frozen && cine.span?.[1] > cine.span?.[0] && cine.span[0] <= cine.place && cine.place <= cine.span[1];
    if (!chosen) {
      const press = pressAt(cine.presses, cine.place);
      if (!press) {
        notice(say('press.no_press'));
        return;
      }
      cine.freeze();
      cine.span = [press.first, press.last];
      if (cine.place < press.first || cine.place > press.last) cine.go(press.best < 0 ? press.last : press.best);
    }
    this.#showAverage();
  }

  #showAverage() {
    const { cine, notice } = this.page;
    if (!cine.span) return; // live again, or another case, while one was being chosen
    const [first, last] = cine.span;
    if (cine.place < first || cine.place > last) cine.go(last);
    cine.average = averaged(cine.kept.slice(first, last + 1));
    if (!cine.average) notice(say('press.no_live'));
    this.#done();
  }

  #done() {
    this.page.measuring.update();
    this.page.dirty = true;
  }

  draw(dirty) {
    this.timeline.show(this.page.about?.stale_ms ?? 500, dirty);
  }

  // What the buttons say, now.
  show() {
    const { cine } = this.page;
    document.body.dataset.frozen = cine.frozen;
    put($('freeze'), say(cine.frozen ? 'cine.live' : 'cine.freeze'));
    $('average').setAttribute('aria-pressed', String(Boolean(cine.average)));
    put($('time-words'), cine.backMs ? say('cine.back', { back: seconds(cine.backMs, 1), span: seconds(cine.spanMs) }) : say('cine.kept', { span: seconds(cine.spanMs) }));
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
