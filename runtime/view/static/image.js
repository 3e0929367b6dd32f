// The image alone, for a second display: a page of its own with its own connection, so it lives on without the main window.
// It is shown as the main window shows it, and frozen while that is; no controls but F and a double click, for full screen.

import { Box } from './box.js';
import { CHANNEL } from './channel.js';
import { FONT } from './stage.js';
import { Link } from './link.js';
import { Painter } from './colours.js';
import { Picture } from './picture.js';
import { Regions } from './regions.js';
import { ServerClock } from './clock.js';
import { Speaker } from './speaker.js';
import { Surface } from './surface.js';
import { averageState } from './average.js';
import { ageText, stateOf } from './words.js';
import { language, preferred, speak } from './language.js';
import { load } from './settings.js';

const $ = (id) => document.getElementById(id);
const NEAR_PX = 640; // a window of this height is written as on the main page, a larger one larger
const SILENCE_MS = 3000; // of the main window, whose pulse (pulse.js) comes each half second

const painter = new Painter(await (await fetch('static/colours.json')).json());
let view = load(painter.maps);
let box = boxOf(view);
await speak(preferred(view.language));
const clock = new ServerClock();
const now = { link: 'lost', line: '', about: null, live: null, frozen: null, heardMs: performance.now(), of: { number: 0, identifier: '', began_ms: 0, run: '' } };
let dirty = true;

new Link(clock, {
  state(state, line) {
    if (state === 'lost' && now.link === 'refused') return;
    Object.assign(now, { link: state, line });
  },
  picture(picture) {
    if (picture.bornMs < now.of.began_ms) return; // of the case before
    picture.run = now.about?.run;
    now.live = picture;
    now.heardMs = performance.now();
  },
  text(key, value) {
    if (key === 'about') now.about = value;
    else if (key === 'case') begin(value);
  },
});

// As in the main window (case.js): of the case before nothing is left.
function begin(value) {
  const run = now.about?.run;
  const next = now.of.run === run ? value.number !== now.of.number : value.identifier !== now.of.identifier;
  if (now.of.number && next) Object.assign(now, { live: null, frozen: null });
  now.of = { ...value, run };
  dirty = true;
}

// The main window that was heard last; 0 for none.
const channel = new BroadcastChannel(CHANNEL);
const main = { from: 0, heardMs: 0 };
channel.onmessage = ({ data }) => {
  if (data.hello) return;
  if (data.raise) {
    window.focus();
    channel.postMessage({ here: true });
  }
  if (data.view) {
    main.from = data.from;
    if (JSON.stringify(data.view.box) !== JSON.stringify(view.box)) box = boxOf(data.view); // else it goes on, with its range
    view = data.view;
    if (view.language && view.language !== language()) speak(view.language).catch(() => {});
    now.frozen = data.picture ? Object.assign(new Picture(data.picture.message), { run: data.picture.run, shownState: data.picture.shownState }) : null;
    dirty = true;
  }
  if (data.alive && !main.from) ask(); // one that was thought gone, or that was there before
  if (data.from !== main.from) return;
  main.heardMs = performance.now();
  if (data.gone) part();
};

const ask = () => channel.postMessage({ hello: true });
ask();

// Without the main window: live, until another one is heard.
function part() {
  now.frozen = null;
  main.from = 0;
  dirty = true;
}

const full = () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()).catch(() => {});
document.addEventListener('dblclick', full);
document.addEventListener('keydown', ({ key }) => key.toLowerCase() === 'f' && full());

function scene() {
  if (main.from && performance.now() - main.heardMs > SILENCE_MS) part();
  const picture = now.frozen ?? now.live;
  const age = !picture ? null
    : picture.run === now.about?.run ? clock.age(picture) : { ms: performance.now() - picture.arrivedMs, exact: false };
  const state = averageState(picture, now.link, false) ?? stateOf({
    ...now, picture, age, frozen: Boolean(now.frozen), apart: true, staleMs: now.about?.stale_ms ?? 500, quietMs: performance.now() - now.heardMs,
  });
  return { picture, age, state, painter, view, about: now.about, box, regions, font: FONT };
}

const regions = new Regions(() => {}, () => {}); // none: the image alone
const speaker = new Speaker($('spoken'));
const surface = new Surface($('canvas'), () => { dirty = true; });
let shown = '';

function draw() {
  requestAnimationFrame(draw);
  const current = scene();
  const { state, age, picture } = current;
  document.body.dataset.state = state.key;
  surface.canvas.dataset.ageMs = age ? age.ms.toFixed(0) : '';
  const what = `${state.key} ${picture?.id} ${language()}`;
  if (dirty || what !== shown) {
    surface.draw(current, Math.max(1, Math.min(innerWidth, innerHeight) / NEAR_PX));
    shown = what;
    dirty = false;
  }
  put($('word'), state.word);
  put($('why'), state.why);
  put($('age'), age ? ageText(age.ms, age.exact) : '–');
  speaker.say(state.word);
}

// As it is in the settings: nothing is drawn here.
function boxOf(settings) {
  return new Box(settings, () => {}, () => {});
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

requestAnimationFrame(draw);
