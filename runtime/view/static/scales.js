// Scales in mm and colour bars around a panel. Knows a context, a panel and a scene. Every bar names its ends.

import { across, down, RIGHT, ticks } from './layout.js';
import { number, say } from './language.js';
import { share } from './words.js';

const INK = '#f0f3f6';
const FAINT = '#aab4c0';
const GAP = 10; // left to the frame around the image
const written = (mm) => number(mm).replace('-', '−');

export function drawScales(context, panel, scene) {
  const { x, y, width, height, origin } = panel;
  const [deep, wide] = scene.picture.extent;
  context.strokeStyle = FAINT;
  context.lineWidth = 1;
  context.strokeRect(x - 0.5, y - 0.5, width + 1, height + 1);
  context.font = `17px ${scene.font}`;
  context.fillStyle = INK;
  context.lineWidth = 2;
  context.beginPath();
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const mm of ticks(origin[0], origin[0] + deep, Math.max(2, Math.floor(height / 44)))) {
    const at = down(panel, mm);
    context.moveTo(x - GAP - 6, at);
    context.lineTo(x - GAP, at);
    context.fillText(written(mm), x - GAP - 9, at);
  }
  context.textAlign = 'center';
  context.textBaseline = 'top';
  for (const mm of ticks(origin[1], origin[1] + wide, Math.max(2, Math.floor(width / 56)))) {
    const at = across(panel, mm);
    context.moveTo(at, y + height + GAP);
    context.lineTo(at, y + height + GAP + 6);
    context.fillText(written(mm), at, y + height + GAP + 8);
  }
  context.stroke();
  context.fillStyle = FAINT;
  context.font = `15px ${scene.font}`;
  context.fillText(say('stage.width'), x + width / 2, y + height + GAP + 28);
  context.save();
  context.translate(x - GAP - 46, y + height / 2);
  context.rotate(-Math.PI / 2);
  context.textBaseline = 'middle';
  context.fillText(say('stage.depth'), 0, 0);
  context.restore();
}

export function drawBar(context, panel, scene, soft) {
  if (panel.kind === 'bmode') return; // its title says how many decibels black is below white
  const { view, picture, painter } = scene;
  const strain = panel.kind === 'strain' || panel.kind === 'overlay';
  const map = strain ? view.map : 'grey';
  const x = panel.x + panel.width + 22;
  const room = strain ? 30 : 0; // for the words at the ends
  const top = panel.y + room;
  const height = panel.height - 2 * room;
  if (height < 20) return;
  const ramp = context.createLinearGradient(0, top + height, 0, top);
  for (let at = 0; at <= 16; at++) ramp.addColorStop(at / 16, painter.colour(map, at / 16, strain && view.invert));
  context.fillStyle = ramp;
  context.fillRect(x, top, 18, height);
  context.strokeStyle = FAINT;
  context.lineWidth = 1;
  context.strokeRect(x - 0.5, top - 0.5, 19, height + 1);
  context.textAlign = 'left';
  context.textBaseline = 'middle';
  context.fillStyle = INK;
  context.font = `17px ${scene.font}`;
  const label = (unit, text) => {
    const at = top + (1 - unit) * height;
    context.fillRect(x + 18, at - 1, 5, 2);
    context.fillText(text, x + 27, at, panel.x + panel.width + RIGHT[panel.kind] - x - 27);
  };
  if (strain) {
    const sign = soft < 0 ? '−' : '+';
    const parts = height > 170 ? 4 : 2;
    for (let at = 0; at <= parts; at++) {
      label(at / parts, at === 0 ? share(0) : sign + share((Math.abs(soft) * at) / parts, 2));
    }
    context.font = `800 17px ${scene.font}`;
    context.fillText(say('stage.soft'), x - 2, top - 18);
    context.fillText(say('stage.hard'), x - 2, top + height + 20);
  } else {
    label(1, say('stage.good'));
    label(0, say('stage.none'));
    label(picture.header.readable_quality, say('stage.read', { value: number(picture.header.readable_quality, 2) }));
  }
}
