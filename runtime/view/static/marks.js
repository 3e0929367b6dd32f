// What marks an image that is not live, so that nobody across the room takes it for one: a thick striped frame for every
// such state; an old image is crossed out by stripes and named, one without strain is dimmed and named. Not by colour alone.

import { say } from './language.js';

const COLOURS = {
  live: '#009e73', held: '#e69f00', stale: '#d55e00', lost: '#d55e00', refused: '#d55e00', idle: '#56b4e9', frozen: '#cc79a7',
  waiting: '#8a94a0',
};
const FRAME = 9;
const FLAG = 22;
const LEAST_FLAG = 0.75; // of it

// `flag`: of `flagOf`.
export function mark(context, panel, scene, flag) {
  const { key, word } = scene.state;
  const colour = COLOURS[key];
  const old = key === 'stale' || key === 'lost' || key === 'refused';
  const strain = panel.kind === 'strain' || panel.kind === 'overlay';
  if (old) {
    veil(context, panel, 0.5);
    stripes(context, panel, colour, 0.75, 46, 9);
    name(context, panel, scene, word);
  } else if (key === 'idle' && strain) {
    veil(context, panel, 0.6);
    name(context, panel, scene, say('stage.no_strain'));
  } else if (key === 'held' || key === 'frozen') {
    drawFlag(context, panel, scene, colour, flag);
  }
  frame(context, panel, colour, key === 'live' ? 4 : FRAME, key !== 'live');
}

function veil(context, { x, y, width, height }, opacity) {
  context.fillStyle = `rgb(0 0 0 / ${opacity})`;
  context.fillRect(x, y, width, height);
}

function stripes(context, { x, y, width, height }, colour, opacity, apart, wide) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.globalAlpha = opacity;
  context.strokeStyle = colour;
  context.lineWidth = wide;
  context.beginPath();
  for (let at = -height; at < width + height; at += apart) {
    context.moveTo(x + at, y);
    context.lineTo(x + at + height, y + height);
  }
  context.stroke();
  context.restore();
}

// Around the image, which it leaves free: striped, so that it is seen without its colour.
function frame(context, { x, y, width, height }, colour, thick, striped) {
  context.lineWidth = thick;
  const outer = [x - thick / 2, y - thick / 2, width + thick, height + thick];
  context.strokeStyle = striped ? '#000' : colour;
  context.setLineDash([]);
  context.strokeRect(...outer);
  if (striped) {
    context.strokeStyle = colour;
    context.setLineDash([22, 12]);
    context.strokeRect(...outer);
    context.setLineDash([]);
  }
}

function name(context, { x, y, width, height }, scene, word) {
  let size = Math.min(72, height / 3);
  context.font = `800 ${size}px ${scene.font}`;
  size *= Math.min(1, (width - 40) / context.measureText(word).width);
  context.font = `800 ${size}px ${scene.font}`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = size / 5;
  context.strokeStyle = '#000';
  context.strokeText(word, x + width / 2, y + height / 2);
  context.fillStyle = '#fff';
  context.fillText(word, x + width / 2, y + height / 2);
}

// The flag above an image, at its right, smaller where it would cover a title of `titled` pixels: its word, and where it begins.
// Without a flag it begins beyond everything.
export function flagOf(context, { kind, x, width }, scene, titled) {
  const { key, word, bmodeWord } = scene.state;
  if (key !== 'held' && key !== 'frozen') return { left: x + 2 * width };
  const text = (kind === 'bmode' && bmodeWord) || word;
  context.font = `800 ${FLAG}px ${scene.font}`;
  const wide = context.measureText(text).width;
  const size = FLAG * Math.max(LEAST_FLAG, Math.min(1, (width + FRAME - titled - 26) / wide));
  const room = (wide * size) / FLAG + 20;
  return { text, size, room, left: x + width + FRAME - room };
}

function drawFlag(context, { y }, scene, colour, { text, size, room, left }) {
  context.fillStyle = colour;
  context.fillRect(left, y - FRAME - 30, room, 30);
  context.font = `800 ${size}px ${scene.font}`;
  context.fillStyle = '#000';
  context.textAlign = 'left';
  context.textBaseline = 'middle';
  context.fillText(text, left + 10, y - FRAME - 14);
}
