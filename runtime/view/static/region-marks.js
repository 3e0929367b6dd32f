// Draws the regions over a panel. Knows a context, a panel and a scene. White on black, so that they are seen on any colour;
// what a region is for is told by its line: whole for a target, dashed for the reference, dotted for the size of a lesion.

import { across, down } from './layout.js';
import { labelOf } from './regions.js';
import { length } from './callipers.js';
import { millimetres } from './words.js';
import { outline, shownOn } from './shapes.js';

const DASHES = { target: [], reference: [7, 5], fat: [7, 5], bmode: [2, 4], strain: [2, 4] };

export function drawRegions(context, panel, { regions, font }) {
  for (const region of regions.all) {
    if (!shownOn(region.role, panel.kind)) continue;
    const chosen = regions.active === region.id;
    const points = outline(region).map(([depth, lateral]) => [across(panel, lateral), down(panel, depth)]);
    line(context, points, true, DASHES[region.role], chosen);
    tag(context, labelOf(region), across(panel, region.lateral[0]), down(panel, region.depth[0]), font);
    if (!chosen) continue;
    context.fillStyle = '#fff';
    context.fillRect(across(panel, region.lateral[1]) - 6, down(panel, region.depth[1]) - 6, 12, 12);
  }
  drawCallipers(context, panel, regions.callipers, font);
  if (regions.draft) line(context, regions.draft.map(([depth, lateral]) => [across(panel, lateral), down(panel, depth)]), false, [], true);
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

function tag(context, text, x, y, font) {
  context.font = `800 17px ${font}`;
  const width = Math.max(22, context.measureText(text).width + 10);
  context.fillStyle = '#fff';
  context.fillRect(x - 1, y - 1, width, 22);
  context.fillStyle = '#000';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(text, x - 1 + width / 2, y + 11);
}
