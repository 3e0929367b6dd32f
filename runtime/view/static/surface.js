// The canvas on the page: as sharp as the screen, drawn from a scene. Keeps on the element what was drawn, for whoever looks
// from outside.

import { drawStage } from './stage.js';

export class Surface {
  constructor(canvas, resized) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d', { alpha: false });
    new ResizeObserver(resized).observe(canvas);
  }

  // Returns the panels, for pointers. `zoom` enlarges the writing and lines, for a display far away.
  draw(scene, zoom = 1) {
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio * zoom, 0, 0, ratio * zoom, 0, 0);
    const panels = drawStage(context, width / zoom, height / zoom, scene);
    canvas.dataset.drawn = scene.picture?.id ?? '';
    canvas.dataset.panels = JSON.stringify(panels);
    return panels;
  }
}
