// Where the panels are: as large as fits, millimetres the same size down and across. Knows numbers only.

const ROOM = { left: 72, top: 44, bottom: 60 };
export const RIGHT = { bmode: 20, strain: 126, overlay: 126, quality: 126 }; // for the colour bar
const room = (kind) => ROOM.left + RIGHT[kind];

// Panels of a picture of `extent` mm (deep, wide), whose upper left corner lies at `origin`, in a field of width × height
// pixels.
export function layOut(kinds, { extent, origin }, width, height) {
  let best = { scale: 0 };
  for (let columns = 1; columns <= kinds.length; columns++) {
    const rows = [];
    for (let at = 0; at < kinds.length; at += columns) rows.push(kinds.slice(at, at + columns));
    const scale = Math.min(
      (height / rows.length - ROOM.top - ROOM.bottom) / extent[0],
      ...rows.map((row) => (width - row.reduce((sum, kind) => sum + room(kind), 0)) / row.length / extent[1]),
    );
    if (scale > best.scale) best = { scale, rows };
  }
  if (!(best.scale > 0)) return [];
  const { scale, rows } = best;
  const size = { width: extent[1] * scale, height: extent[0] * scale };
  const tall = height / rows.length;
  return rows.flatMap((row, at) => {
    const spare = width - row.reduce((sum, kind) => sum + room(kind) + size.width, 0);
    const y = at * tall + (tall - ROOM.top - ROOM.bottom - size.height) / 2 + ROOM.top;
    let x = 0;
    return row.map((kind) => {
      x += spare / row.length / 2 + ROOM.left;
      const panel = { kind, x, y, ...size, scale, origin };
      x += size.width + RIGHT[kind] + spare / row.length / 2;
      return panel;
    });
  });
}

// Places on the screen of mm, and the other way.
export const across = (panel, mm) => panel.x + (mm - panel.origin[1]) * panel.scale;
export const down = (panel, mm) => panel.y + (mm - panel.origin[0]) * panel.scale;
export const mmAt = ({ x, y, scale, origin }, px, py) => ({ depth: origin[0] + (py - y) / scale, lateral: origin[1] + (px - x) / scale });

export const inside = (panel, x, y, beyond = 0) =>
  x >= panel.x - beyond && x <= panel.x + panel.width + beyond && y >= panel.y - beyond && y <= panel.y + panel.height + beyond;

// Round numbers from `low` to `high`, a step of 1, 2 or 5 apart, at most `most` of them.
export function ticks(low, high, most) {
  const decade = 10 ** Math.floor(Math.log10((high - low) / Math.max(most - 1, 1)));
  for (const factor of [1, 2, 5, 10, 20]) {
    const step = factor * decade;
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    if (last - first + 1 <= most) {
      return Array.from({ length: last - first + 1 }, (_, at) => Number(((first + at) * step).toPrecision(12)));
    }
  }
  return [low];
}
