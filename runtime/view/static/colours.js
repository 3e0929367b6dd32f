// Planes into colours. Knows pictures and the tables of the server, which begin with hard; inverted, they begin with soft.
// Paints into small canvases, one pixel a sample. What must not be read is transparent there, so that whatever lies below
// shows.

const UNIT = 1e-5;
const UNKNOWN = -32768;

export class Painter {
  #maps;
  #tables = {};
  #cache = new Map();
  #laid = new Map();

  // `maps`: { name: { table, safe } } (usert/runtime/view/pages.py).
  constructor(maps) {
    this.#maps = maps;
    for (const [name, { table: colours }] of Object.entries(maps)) {
      const table = new Uint32Array(256);
      const bytes = new Uint8ClampedArray(table.buffer);
      colours.forEach((colour, at) => bytes.set([...colour, 255], 4 * at));
      this.#tables[name] = { false: table, true: table.toReversed() };
    }
  }

  get maps() {
    return Object.keys(this.#maps);
  }

  // Whether colour-blind people can read it, too.
  safe(map) {
    return this.#maps[map].safe;
  }

  colour(map, unit, invert = false) {
    const at = Math.max(0, Math.min(255, Math.round(255 * unit)));
    const [r, g, b] = new Uint8Array(this.#tables[map][invert].buffer, 4 * at, 3);
    return `rgb(${r} ${g} ${b})`;
  }

  strain(picture, { map, invert, blank, soft }) {
    const table = this.#tables[map][invert];
    const scale = (255 * UNIT) / soft;
    const least = blank ? picture.leastReadable : 0;
    return this.#painted('strain', picture, `${map} ${invert} ${soft} ${least}`, (pixels, { values }) => {
      const quality = this.plane(picture, 'quality');
      for (let at = 0; at < values.length; at++) {
        const value = values[at];
        if (value === UNKNOWN || quality.values[at] < least) pixels[at] = 0;
        else pixels[at] = table[Math.max(0, Math.min(255, Math.round(value * scale)))];
      }
    });
  }

  grey(picture, name) {
    return this.#painted(name, picture, '', (pixels, plane) => {
      const table = this.#tables.grey.false;
      for (let at = 0; at < pixels.length; at++) pixels[at] = table[plane.values[at]];
    });
  }

  // A plane over the extent of the picture: as it came, or that of a fan laid out, once as long as it is the same.
  plane(picture, name) {
    if (!picture.fan) return picture.planes[name];
    const kept = this.#laid.get(name);
    if (kept?.picture === picture) return kept.plane;
    const plane = picture.fan.layOut(name, picture.planes[name]);
    this.#laid.set(name, { picture, plane });
    return plane;
  }

  // Painted once, as long as nothing changes.
  #painted(name, picture, how, fill) {
    let entry = this.#cache.get(name);
    if (!entry) this.#cache.set(name, (entry = { canvas: document.createElement('canvas') }));
    if (entry.picture === picture && entry.how === how) return entry.canvas;
    const { canvas } = entry;
    const plane = this.plane(picture, name);
    if (canvas.width !== plane.columns || canvas.height !== plane.rows) {
      canvas.width = plane.columns;
      canvas.height = plane.rows;
    }
    const context = canvas.getContext('2d');
    const image = context.createImageData(plane.columns, plane.rows);
    fill(new Uint32Array(image.data.buffer), plane);
    context.putImageData(image, 0, 0);
    Object.assign(entry, { picture, how });
    return canvas;
  }
}
