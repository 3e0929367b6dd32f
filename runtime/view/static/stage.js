// Draws the panels: images, scales, bars, regions. Knows a context and a scene; screen and snapshot are drawn by the same
// lines. Strain that must not be read never looks like strain that may: it is hatched, or the B-mode below shows.

import { clipToBox, drawBox } from './box-drawing.js';
import { drawBar, drawScales } from './scales.js';
import { drawRegions } from './region-marks.js';
import { layOut } from './layout.js';
import { flagOf, mark } from './marks.js';
import { say } from './language.js';

export function kindsOf(scene) {
  const { view, picture } = scene;
  const kinds = { side: ['bmode', 'strain'], overlay: ['overlay'], strain: ['strain'] }[view.mode];
  const shown = picture.planes.bmode || scene.about?.bmode ? kinds : ['strain'];
  return view.quality ? [...shown, 'quality'] : shown;
}

export function softEnd(scene) {
  const { picture, view, box, painter } = scene;
  const soft = box.on ? box.reading(picture, painter).soft : picture.soft;
  return view.range === 'auto' ? soft : Math.sign(soft) * view.range;
}

export const FONT = 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif';

// Returns the panels, for pointers.
export function drawStage(context, width, height, scene) {
  context.fillStyle = '#0b0e12';
  context.fillRect(0, 0, width, height);
  if (!scene.picture) return [];
  const panels = layOut(kindsOf(scene), scene.picture, width, height);
  for (const panel of panels) {
    context.save();
    context.beginPath();
    if (scene.picture.fan) scene.picture.fan.outline(context, panel);
    else context.rect(panel.x, panel.y, panel.width, panel.height);
    context.clip();
    drawImages(context, panel, scene);
    context.restore();
    const flag = writeTitle(context, panel, scene);
    drawScales(context, panel, scene);
    drawBar(context, panel, scene, softEnd(scene));
    drawBox(context, panel, scene);
    drawRegions(context, panel, scene);
    mark(context, panel, scene, flag);
  }
  return panels;
}

// Beside the flag of an image that is not live, narrower where there is little room. Returns the flag.
function writeTitle(context, panel, scene) {
  const title = panel.kind === 'bmode' ? say('stage.bmode_range', { range: scene.picture.header.range_db }) : say(`stage.${panel.kind}`);
  context.font = `600 20px ${scene.font}`;
  const flag = flagOf(context, panel, scene, context.measureText(title).width);
  context.font = `600 20px ${scene.font}`;
  context.fillStyle = '#f0f3f6';
  context.textAlign = 'left';
  context.textBaseline = 'bottom';
  context.fillText(title, panel.x, panel.y - 13, flag.left - panel.x - 6);
  return flag;
}

function drawImages(context, panel, scene) {
  const { picture, view, painter } = scene;
  // Over the whole panel: right to half a step of the plane, a tenth of a millimetre.
  const put = (canvas) => context.drawImage(canvas, panel.x, panel.y, panel.width, panel.height);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = 'high';
  if (panel.kind === 'quality') {
    put(painter.grey(picture, 'quality'));
    return;
  }
  const region = scene.box.in(picture);
  if (panel.kind !== 'strain' || region) {
    if (picture.planes.bmode) put(painter.grey(picture, 'bmode'));
    else if (panel.kind !== 'strain') write(context, panel, scene, say('stage.no_bmode'));
    if (panel.kind === 'bmode') return;
  }
  clipToBox(context, panel, region);
  if (panel.kind === 'strain') hatch(context, panel);
  context.globalAlpha = panel.kind === 'overlay' ? view.opacity : 1;
  put(painter.strain(picture, { map: view.map, invert: view.invert, blank: view.blank, soft: softEnd(scene) }));
  context.globalAlpha = 1;
}

// Below strain that must not be read.
function hatch(context, { x, y, width, height }) {
  context.fillStyle = '#30343a';
  context.fillRect(x, y, width, height);
  context.strokeStyle = '#8b929b';
  context.lineWidth = 1.5;
  context.beginPath();
  for (let at = -height; at < width; at += 9) {
    context.moveTo(x + at, y + height);
    context.lineTo(x + at + height, y);
  }
  context.stroke();
}

function write(context, { x, y, width, height }, scene, text) {
  context.fillStyle = '#aab4c0';
  context.font = `18px ${scene.font}`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(text, x + width / 2, y + height / 2);
}
