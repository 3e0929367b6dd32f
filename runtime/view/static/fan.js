// The lines of a curved or phased array as the fan that they are: its outline, and planes laid out in mm (usert/beam_space.py).
// Knows numbers only. A pixel of quality is the worst of the four samples around it, so that what may be read may be read.

const LONGEST = 640; // pixels of a plane that is laid out
const UNKNOWN = -32768;
const tables = new Map(); // the last few, for they cost more than laying out

export class Fan {
  constructor({ radius_mm: radius, shape, first, step }, origin, extent) {
    Object.assign(this, { radius, shape, first, step, origin, extent });
  }

  // Row and line, fractions, at a depth and a lateral position in mm.
  position(depth, lateral) {
    const down = depth + this.radius;
    return [
      (Math.hypot(lateral, down) - this.radius - this.first[0]) / this.step[0],
      (Math.atan2(lateral, down) - this.first[1]) / this.step[1],
    ];
  }

  // Whether a region lies inside, to half a sample.
  holds({ depth, lateral }) {
    const [left, right] = lateral;
    const across = [left, right, Math.max(left, Math.min(0, right))];
    return across.every((x) => depth.every((z) => {
      const place = this.position(z, x);
      return place.every((at, axis) => at >= -0.5 && at <= this.shape[axis] - 0.5);
    }));
  }

  // A path around the image in `panel`.
  outline(context, { x, y, scale }) {
    const centre = [x - this.origin[1] * scale, y - (this.origin[0] + this.radius) * scale];
    const radius = (row) => Math.max(0, this.radius + this.first[0] + row * this.step[0]) * scale;
    const turn = (line) => Math.PI / 2 - this.first[1] - line * this.step[1];
    const [rows, lines] = this.shape;
    context.beginPath();
    context.arc(...centre, radius(-0.5), turn(lines - 0.5), turn(-0.5));
    context.arc(...centre, radius(rows - 0.5), turn(-0.5), turn(lines - 0.5), true);
    context.closePath();
  }

  // The plane as a picture; beyond the outline its pixels are those of the border.
  layOut(name, plane) {
    const { rows, columns, corners, down, across, right, below } = this.#table(plane);
    const source = plane.values;
    const values = new source.constructor(rows * columns);
    for (let at = 0; at < values.length; at++) {
      const i = corners[at];
      const a = source[i], b = source[i + right], c = source[i + below], d = source[i + below + right];
      if (name === 'quality') values[at] = Math.min(a, b, c, d);
      else if (a === UNKNOWN || b === UNKNOWN || c === UNKNOWN || d === UNKNOWN) values[at] = UNKNOWN;
      else {
        const upper = a + (b - a) * across[at];
        values[at] = Math.round(upper + (c + (d - c) * across[at] - upper) * down[at]);
      }
    }
    return { values, rows, columns };
  }

  #table({ rows: n, columns: m, step }) {
    const key = JSON.stringify([this, n, m, step]);
    if (tables.has(key)) return tables.get(key);
    const pitch = Math.max(...this.extent) / LONGEST;
    const [rows, columns] = this.extent.map((mm) => Math.max(1, Math.round(mm / pitch)));
    const corners = new Int32Array(rows * columns);
    const [down, across] = [new Float32Array(rows * columns), new Float32Array(rows * columns)];
    for (let at = 0; at < corners.length; at++) {
      const z = this.origin[0] + ((Math.floor(at / columns) + 0.5) * this.extent[0]) / rows;
      const x = this.origin[1] + (((at % columns) + 0.5) * this.extent[1]) / columns;
      const [row, line] = this.position(z, x).map((place, axis) => place / step[axis]);
      const top = Math.max(0, Math.min(n - 2, Math.floor(row)));
      const left = Math.max(0, Math.min(m - 2, Math.floor(line)));
      corners[at] = top * m + left;
      down[at] = Math.max(0, Math.min(1, row - top));
      across[at] = Math.max(0, Math.min(1, line - left));
    }
    if (tables.size > 5) tables.clear();
    const table = { rows, columns, corners, down, across, right: m > 1 ? 1 : 0, below: n > 1 ? m : 0 };
    tables.set(key, table);
    return table;
  }
}
