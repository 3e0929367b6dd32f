// The page: what comes over the link is kept, judged and drawn, once for each frame of the screen. Knows all the others.
// Whatever is shown, its state and age are computed anew at every frame, also when nothing comes.

import { Apart } from './apart.js';
import { Box } from './box.js';
import { Case } from './case.js';
import { Cine } from './cine.js';
import { Painter } from './colours.js';
import { CineControls } from './review.js';
import { Controls } from './controls.js';
import { Languages } from './languages.js';
import { Dicom } from './dicom.js';
import { Link } from './link.js';
import { Measuring } from './measuring.js';
import { RegionList } from './region-list.js';
import { Regions } from './regions.js';
import { ServerClock } from './clock.js';
import { averageState } from './average.js';
import { Speaker } from './speaker.js';
import { Surface } from './surface.js';
import { language, preferred, say, number, speak } from './language.js';
import { ageText, stateOf } from './words.js';
import { FONT } from './stage.js';
import { keep, load } from './settings.js';
import { makeTabs } from './tabs.js';
import { adviceOf, showFigures } from './figures.js';
import { showHistogram } from './histogram.js';

const $ = (id) => document.getElementById(id);
const RATE_MS = 2000;
const FIGURES_MS = 100;
const NOTICE_MS = 8000;
const LONG_WHY = 45; // characters; more are written small

const painter = new Painter(await (await fetch('static/colours.json')).json());
const view = load(painter.maps);
await speak(preferred(view.language));
if (location.search.includes('lang=')) keep(Object.assign(view, { language: language() }));
history.replaceState(null, '', location.pathname); // the token is in a cookie by now, and not to be seen
const clock = new ServerClock();
const cine = new Cine();
const page = {
  cine, painter, clock,
  view,
  about: null,
  link: 'lost',
  line: '',
  record: null,
  arrivals: [],
  heardMs: performance.now(),
  panels: [],
  dirty: true,
  notice,
  scene,
  clear,
};
page.patient = new Case(page);
page.dicom = new Dicom(page);
page.regions = new Regions(() => { page.dirty = true; measuring.update(); }, notice);

const link = new Link(clock, {
  state(state, line) {
    const before = page.link;
    if (state === 'lost' && before === 'refused') return;
    Object.assign(page, { link: state, line, dirty: true });
    if (state === 'open' && page.about && before !== 'open') notice(say('notice.connected'));
    if (state === 'lost' && line) notice(say('notice.closed', { reason: line }));
    if (state === 'open') {
      measuring.forget();
      page.patient.connected();
    }
  },
  picture(picture) {
    if (!page.patient.owns(picture)) return;
    const before = cine.newest;
    if (before && before.run === page.about?.run && picture.header.server_starts > before.header.server_starts) notice(say('notice.server_started'));
    picture.run = page.about?.run;
    if (before && before.header.stream === picture.header.stream && before.header.session !== picture.header.session) notice(say('notice.session'));
    if (before) measuring.inherit(picture, before);
    cine.add(picture);
    page.heardMs = performance.now();
    page.arrivals.push(page.heardMs);
    forgetArrivals();
    page.dirty ||= !cine.frozen;
    tellOthers(picture);
  },
  text(key, value) {
    if (key === 'about') {
      if (page.about && page.about.run !== value.run) notice(say('notice.view_started'));
      page.about = value;
      showAbout();
    } else if (key === 'reading') {
      measuring.take(value);
    } else if (key === 'record') {
      page.record = value;
    } else if (key === 'refused') {
      notice(value);
    } else {
      page.patient.text(key, value);
    }
    page.dirty = true;
  },
});
page.send = (key, value) => link.send(key, value);
const measuring = new Measuring(cine, page.regions, link);
page.measuring = measuring;
page.list = new RegionList(page);
page.review = new CineControls(page);
page.box = new Box(view, () => { page.dirty = true; }, keep);
const controls = new Controls(page);
page.languages = new Languages(page);
page.apart = new Apart(page);
document.querySelectorAll('[role=tablist]').forEach(makeTabs);

function showAbout() {
  const { version, strain, bmode } = page.about;
  $('about').textContent = say('help.about', { version, from: strain }) + (bmode ? '' : ` ${say('help.no_bmode')}`);
}
document.addEventListener('language', () => page.about && showAbout());
// Nothing of the last case is left.
function clear() {
  page.dicom.stop();
  cine.clear();
  page.regions.clear();
  measuring.forget();
  Object.assign(page, { arrivals: [], dirty: true });
}

let others = '';
function tellOthers({ header }) {
  const now = header.other_streams.join(', ');
  if (now && now !== others) notice(say('notice.others', { streams: now, shown: header.stream }));
  others = now;
}

function notice(text) {
  const line = document.createElement('p');
  line.textContent = `${new Date().toLocaleTimeString(language())}  ${text}`;
  const notices = $('notices');
  if ([...notices.children].some((one) => one.textContent === line.textContent)) return;
  notices.append(line);
  while (notices.children.length > 3) notices.firstChild.remove();
  setTimeout(() => line.remove(), NOTICE_MS);
}

function scene() {
  const picture = cine.shown;
  const age = picture ? ageOf(picture) : null;
  const state = averageState(picture, page.link) ?? stateOf({
    link: page.link, line: page.line, picture, age, about: page.about,
    staleMs: page.about?.stale_ms ?? 500,
    quietMs: performance.now() - page.heardMs,
    frozen: cine.frozen,
  });
  if (picture && !cine.frozen) picture.shownState = state.key === 'lost' ? 'stale' : state.key;
  return {
    picture, age, state, painter, view: page.view, about: page.about, box: page.box,
    regions: page.regions, identifier: page.patient.identifier, font: FONT,
  };
}

// Of a picture of an earlier run of usert view, whose clock is not this one's, what this browser knows.
function ageOf(picture) {
  if (picture.run === page.about?.run) return clock.age(picture);
  return { ms: performance.now() - picture.arrivedMs, exact: false };
}

const surface = new Surface($('canvas'), () => { page.dirty = true; });
const speaker = new Speaker($('spoken'));
let shown = '';
let figuresMs = 0;

function draw(now) {
  requestAnimationFrame(draw);
  const current = scene();
  const { state, age } = current;
  if (document.body.dataset.state !== state.key) document.body.dataset.state = state.key;
  surface.canvas.dataset.ageMs = age ? age.ms.toFixed(0) : ''; // for whoever looks from outside
  const what = `${state.key} ${current.picture?.id}`;
  const changed = page.dirty || what !== shown;
  page.review.draw(changed);
  if (changed) {
    page.panels = surface.draw(current);
    shown = what;
    page.dirty = false;
  }
  if (changed || now - figuresMs > FIGURES_MS) {
    figuresMs = now;
    showText($('word'), state.word);
    showText($('why'), state.why);
    $('why').dataset.long = state.why.length > LONG_WHY;
    showText($('age'), age ? ageText(age.ms, age.exact) : '–');
    forgetArrivals();
    showText($('rate'), number(page.arrivals.length / (RATE_MS / 1000), page.arrivals.length < 10 ? 1 : 0));
    showFigures(current);
    page.list.show(current);
    page.review.show();
    showHistogram(current);
    controls.show();
    page.patient.show();
    page.dicom.show();
    page.apart.tell();
    speaker.say([state.word, ...adviceOf(current.picture, state)].join('. '));
  }
}

// As they come, too: a page in the background draws nothing for hours.
function forgetArrivals() {
  while (page.arrivals.length && performance.now() - page.arrivals[0] > RATE_MS) page.arrivals.shift();
}

function showText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

requestAnimationFrame(draw);
