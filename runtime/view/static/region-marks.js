// Draws the regions over a panel. Knows a context, a panel and a scene. White on black, so that they are seen on any colour;
// what a region is for is told by its line: whole for a target, dashed for the reference, dotted for the size of a lesion.

import { across, down } from './layout.js';
import { labelOf } from './regions.js';
import { length } from './callipers.js';
import { millimetres } from './words.js';
import { corner, gripsOf, outline, shownOn } from './shapes.js';

const DASHES = { target: [], reference: [7, 5], fat: [7, 5], bmode: [2, 4], strain: [2, 4] };

export function drawRegions(context, panel, { regions, font }) {
  for (const region of regions.all) {
    if (!shownOn(region.role, panel.kind)) continue;
    const chosen = regions.active === region.id;
    const points = outline(region).map(([depth, lateral]) => [across(panel, lateral), down(panel, depth)]);
    line(context, points, true, DASHES[region.role], chosen);
    const [top, left] = corner(region);
    tag(context, labelOf(region), across(panel, left), down(panel, top), font, region.kind === 'ellipse' ? panel.x : null);
    if (chosen) drawGrips(context, panel, gripsOf(region));
  }
  drawCallipers(context, panel, regions.callipers, font);
  if (regions.draft) line(context, regions.draft.map(([depth, lateral]) => [across(panel, lateral), down(panel, depth)]), false, [], true);
}

// A square resizes, a ring turns.
function drawGrips(context, panel, { resize, turn }) {
  context.fillStyle = '#fff';
  context.fillRect(across(panel, resize[1]) - 6, down(panel, resize[0]) - 6, 12, 12);
  if (!turn) return;
  for (const [colour, radius] of [['#000', 9], ['#fff', 7], ['#000', 3]]) {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(across(panel, turn[1]), down(panel, turn[0]), radius, 0, 2 * Math.PI);
    context.fill();
  }
}

function drawCallipers(context, panel, callipers, font) {
  for (const one of callipers.all) {
    if (!shownOn(one.on, panel.kind)) continue;
    const ends = one.ends.map(({ depth, lateral }) => [across(panel, lateral), down(panel, depth)]);
    line(context, ends, false, [3, 4], callipers.active === one.id);
    for (const [x, y] of ends) {
      line(context, [[x - 7, y], [x + 7, y]], false, [], false);
      line(context, [[x, y - 7], [x, y + 7]], false, [], false);
    }
    tag(context, `D${one.id} ${millimetres(length(one))}`, ends[1][0] + 12, ends[1][1] + 8, font);
  }
}

function line(context, points, closed, dash, chosen) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  if (closed) context.closePath();
  context.lineJoin = 'round';
  context.setLineDash([]);
  context.lineWidth = 5;
  context.strokeStyle = '#000';
  context.stroke();
  context.setLineDash(dash);
  context.lineWidth = chosen ? 3 : 2;
  context.strokeStyle = '#fff';
  context.stroke();
  context.setLineDash([]);
}

// Right and below of a place; with `left` beside it, not beyond `left`: the ring of an ellipse may be there.
function tag(context, text, x, y, font, left = null) {
  context.font = `800 17px ${font}`;
  const width = Math.max(22, context.measureText(text).width + 10);
  if (left !== null) x = Math.max(left, x - width);
  context.fillStyle = '#fff';
  context.fillRect(x - 1, y - 1, width, 22);
  context.fillStyle = '#000';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(text, x - 1 + width / 2, y + 11);
}
