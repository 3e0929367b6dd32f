// A PNG of what is shown: images with scales and bars as on the screen, and the state, age and numbers in writing, so that
// it means something without the page. Knows a scene; the file goes where the browser puts downloads.

import { adviceOf } from './figures.js';
import { ageText, percent, share } from './words.js';
import { language, number, say } from './language.js';
import { averageWords } from './average.js';
import { drawStage } from './stage.js';
import { ratioTexts, regionTexts } from './ratios.js';

const WIDTH = 1600;
const HEIGHT = 900;
const HEAD = 84;
const FOOT = 150;
const LINE = 42;

export function snapshot(scene) {
  const { canvas } = render(scene, { named: true });
  canvas.toBlob((blob) => save(blob, scene), 'image/png');
}

// A canvas of what `scene` shows, and how many of its pixels a millimetre of the images has. `named`: with the case and the
// date in writing, which an object that holds them as data must not have. `line`: instead of the age.
export function render(scene, { width = WIDTH, height = HEIGHT, named, line = '' }) {
  const measured = line ? [] : regionTexts(scene); // which are of the shown image alone
  const canvas = document.createElement('canvas');
  const size = width / WIDTH; // of the writing
  canvas.width = width;
  canvas.height = height + Math.round((HEAD + FOOT + LINE * measured.length) * size);
  const context = canvas.getContext('2d');
  context.fillStyle = '#0b0e12';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.save();
  context.translate(0, Math.round(HEAD * size));
  const panels = drawStage(context, width, height, scene);
  context.restore();
  context.scale(size, size);
  write(context, scene, height / size, { named, line, measured });
  return { canvas, scale: panels[0].scale };
}

function write(context, scene, height, { named, line, measured }) {
  const { picture, state, age } = scene;
  const { header } = picture;
  context.fillStyle = '#f0f3f6';
  context.textBaseline = 'alphabetic';
  context.textAlign = 'left';
  context.font = `800 40px ${scene.font}`;
  context.fillText(state.word, 40, 56);
  const after = 64 + context.measureText(state.word).width;
  context.font = `24px ${scene.font}`;
  context.fillText(line || say('snapshot.age', { age: ageText(age.ms, age.exact) }), after, 54);
  if (named) {
    context.textAlign = 'right';
    context.fillText(new Date().toLocaleString(language()), WIDTH - 40, scene.identifier ? 74 : 54);
    context.font = `700 24px ${scene.font}`;
    if (scene.identifier) context.fillText(say('snapshot.case', scene), WIDTH - 40, 36, WIDTH / 2);
  }
  const ratio = ratioTexts(scene);
  const lines = [
    say('snapshot.numbers', {
      percent: percent(header.readable_strain), score: number(header.score, 2), share: share(header.readable_share),
    }) + (measured.length ? `   ${ratio.title} ${ratio.value}   ${ratio.words}` : ''),
    [state.was, averageWords(picture), line ? '' : ratio.more.replaceAll('\n', '   '), ...adviceOf(picture, state)].filter(Boolean).join('   '),
    ...measured,
    `${say('snapshot.source', {
      stream: header.stream, session: String(header.session), first: String(header.reference), last: String(header.current),
      weights: header.weights || say('snapshot.unknown'), version: scene.about?.version ?? '',
    })} ${say('help.research')}`,
  ];
  context.textAlign = 'left';
  lines.forEach((text, at) => {
    context.font = `${at === lines.length - 1 ? 18 : 24}px ${scene.font}`;
    context.fillText(text, 40, HEAD + height + 36 + LINE * at, WIDTH - 80);
  });
}

function save(blob, { picture }) {
  const link = document.createElement('a');
  const time = new Date().toISOString().replace(/[-:]/g, '').replace(/\..*/, '').replace('T', '-');
  link.href = URL.createObjectURL(blob);
  link.download = `usert-${picture.header.stream.replace(/[^\w-]/g, '_')}-${time}-${picture.header.current}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
