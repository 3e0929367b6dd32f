// Draws the elastogram box: clips to it, and marks it. Knows a context, a panel and a scene.

import { across, down } from './layout.js';
import { say } from './language.js';
import { share } from './words.js';

const LEAST_SHARE = 0.5;
const COLOUR = '#f0e442';

const placeOf = (panel, { depth, lateral }) => {
  const [x, y] = [across(panel, lateral[0]), down(panel, depth[0])];
  return [x, y, across(panel, lateral[1]) - x, down(panel, depth[1]) - y];
};

// From here on nothing is drawn outside the box; without one nothing changes.
export function clipToBox(context, panel, region) {
  if (!region) return;
  context.beginPath();
  context.rect(...placeOf(panel, region));
  context.clip();
}

export function drawBox(context, panel, scene) {
  const region = scene.box.in(scene.picture);
  if (!region || panel.kind === 'quality') return;
  const [x, y, width, height] = placeOf(panel, region);
  context.setLineDash(panel.kind === 'bmode' ? [10, 6] : []);
  for (const [colour, wide] of [['#000', 5], [COLOUR, 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = wide;
    context.strokeRect(x, y, width, height);
  }
  context.setLineDash([]);
  if (scene.box.active) drawCorners(context, x, y, width, height);
  const { share: readable } = scene.box.reading(scene.picture, scene.painter);
  if (readable >= LEAST_SHARE || panel.kind === 'bmode') return;
  const text = say('press.box_unreadable', { percent: share(readable) });
  context.font = `700 16px ${scene.font}`;
  context.textAlign = 'left';
  context.textBaseline = 'bottom';
  context.fillStyle = '#000';
  context.fillRect(x, y + height + 4, context.measureText(text).width + 12, 24);
  context.fillStyle = COLOUR;
  context.fillText(text, x + 6, y + height + 26);
}

function drawCorners(context, x, y, width, height) {
  for (const cx of [x, x + width]) {
    for (const cy of [y, y + height]) {
      context.fillStyle = '#000';
      context.fillRect(cx - 9, cy - 9, 18, 18);
      context.fillStyle = COLOUR;
      context.fillRect(cx - 6, cy - 6, 12, 12);
    }
  }
}
