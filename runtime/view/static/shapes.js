// The geometry of what a person draws: rectangles, ellipses and closed lines in mm, their areas and diameters, and a free-hand
// line made simple. Knows numbers only. A region lies in the rectangle `depth`, `lateral`; the corners of a polygon are
// kept as shares of it, so that moving and resizing are the same for every kind. An ellipse may be turned by `angle` degrees
// about its middle, as in usert/runtime/view/region.py.

export const MOST_POINTS = 64;
const ROUND = 64; // points that an ellipse is drawn with
const LEAST_KEPT = 0.8; // share of a line's loops that its largest must have, else it has no single inside

// Corners in mm, [depth, lateral] each.
export function outline(region) {
  const { kind, depth, lateral, unit } = region;
  if (kind === 'rectangle') return [[depth[0], lateral[0]], [depth[0], lateral[1]], [depth[1], lateral[1]], [depth[1], lateral[0]]];
  const at = ([u, v]) => turned(region, [depth[0] + u * (depth[1] - depth[0]), lateral[0] + v * (lateral[1] - lateral[0])]);
  return (unit ?? CIRCLE).map(at);
}

export const middle = ({ depth, lateral }) => [(depth[0] + depth[1]) / 2, (lateral[0] + lateral[1]) / 2];
const sinCos = ({ angle = 0 }) => [Math.sin((angle * Math.PI) / 180), Math.cos((angle * Math.PI) / 180)];

// A place turned with the region; `back`: as it was before.
export function turned(region, [z, x], back = false) {
  const [z0, x0] = middle(region);
  const [sine, cos] = sinCos(region);
  const sin = back ? -sine : sine;
  return [z0 + (z - z0) * cos - (x - x0) * sin, x0 + (z - z0) * sin + (x - x0) * cos];
}

// Of the middle of a region as it is turned, how far it reaches down and across.
function halves(region) {
  const [down, across] = [region.depth, region.lateral].map(([first, last]) => (last - first) / 2);
  const [sin, cos] = sinCos(region);
  return region.angle ? [Math.hypot(down * cos, across * sin), Math.hypot(down * sin, across * cos)] : [down, across];
}

// The upper left corner of what it takes up.
export const corner = (region) => middle(region).map((at, axis) => at - halves(region)[axis]);

// Where a region is taken hold of, [depth, lateral] each: to resize it, and to turn it, an ellipse only.
export function gripsOf(region) {
  const { kind, depth, lateral } = region;
  return { resize: turned(region, [depth[1], lateral[1]]), turn: kind === 'ellipse' ? turned(region, [depth[0], middle(region)[1]]) : null };
}

// Inside the image, its size kept where it can be; one that is turned is made smaller as a whole.
export function fitted({ origin, reach }, region) {
  const takes = halves(region);
  const least = Math.min(...takes.map((half, axis) => reach[axis] / 2 / half));
  const all = region.angle ? Math.min(1, least) : 1;
  const fit = ([first, last], axis) => {
    const half = Math.min(takes[axis] * all, reach[axis] / 2);
    const at = Math.max(origin[axis] + half, Math.min((first + last) / 2, origin[axis] + reach[axis] - half));
    const own = region.angle ? ((last - first) / 2) * all : half;
    return [at - own, at + own];
  };
  return { depth: fit(region.depth, 0), lateral: fit(region.lateral, 1) };
}

export const CIRCLE = Array.from({ length: ROUND }, (_, k) => {
  const turn = (2 * Math.PI * k) / ROUND;
  return [0.5 + 0.5 * Math.cos(turn), 0.5 + 0.5 * Math.sin(turn)];
});

// mm², of a polygon by the shoelace formula.
export function area(region) {
  const rectangle = (region.depth[1] - region.depth[0]) * (region.lateral[1] - region.lateral[0]);
  if (region.kind === 'rectangle') return rectangle;
  if (region.kind === 'ellipse') return (Math.PI / 4) * rectangle;
  return Math.abs(signedArea(outline(region)));
}

function signedArea(points) {
  return points.reduce((sum, [z, x], at) => {
    const [z1, x1] = points[(at + 1) % points.length];
    return sum + (z * x1 - z1 * x) / 2;
  }, 0);
}

// The longest straight line between two points of the outline, mm.
export function diameter(region) {
  const points = outline(region);
  let longest = 0;
  for (const [z, x] of points) for (const [z1, x1] of points) longest = Math.max(longest, Math.hypot(z1 - z, x1 - x));
  return longest;
}

export function holds(region, { depth, lateral }) {
  const [[top, bottom], [left, right]] = [region.depth, region.lateral];
  if (region.kind === 'rectangle') return depth >= top && depth <= bottom && lateral >= left && lateral <= right;
  let inside = false;
  const points = outline(region);
  points.forEach(([z, x], at) => {
    const [z1, x1] = points[(at + 1) % points.length];
    if (z <= depth !== z1 <= depth && lateral > x + ((depth - z) / (z1 - z)) * (x1 - x)) inside = !inside;
  });
  return inside;
}

// A polygon of a free-hand line of points in mm, closed; null where it has no single inside or no area.
export function polygon(line, leastMm) {
  let points = untangled(simplified(line, MOST_POINTS));
  if (!points || points.length < 3) return null;
  const [depth, lateral] = [0, 1].map((axis) => [Math.min(...points.map((one) => one[axis])), Math.max(...points.map((one) => one[axis]))]);
  const size = [depth[1] - depth[0], lateral[1] - lateral[0]];
  if (Math.min(...size) < leastMm) return null;
  return { kind: 'polygon', depth, lateral, unit: points.map(([z, x]) => [(z - depth[0]) / size[0], (x - lateral[0]) / size[1]]) };
}

// Fewer points, at most `most`, none further from the line than need be (Ramer, Douglas and Peucker).
function simplified(line, most) {
  const [low, high] = [Math.min, Math.max].map((end) => [0, 1].map((axis) => line.reduce((so, one) => end(so, one[axis]), line[0][axis])));
  let least = 0.002 * Math.hypot(high[0] - low[0], high[1] - low[1]);
  let points = line;
  do {
    points = thinned(line, least);
    least *= 1.4;
  } while (points.length > most && least > 0);
  return points;
}

function thinned(line, least) {
  const kept = new Set([0, line.length - 1]);
  const open = [[0, line.length - 1]];
  while (open.length) {
    const [first, last] = open.pop();
    let [far, at] = [least, -1];
    for (let k = first + 1; k < last; k++) {
      const off = distance(line[k], line[first], line[last]);
      if (off > far) [far, at] = [off, k];
    }
    if (at < 0) continue;
    kept.add(at);
    open.push([first, at], [at, last]);
  }
  const points = [...kept].sort((a, b) => a - b).map((at) => line[at]);
  if (points.length > 1 && Math.hypot(points.at(-1)[0] - points[0][0], points.at(-1)[1] - points[0][1]) <= least) points.pop();
  return points;
}

// Of a point from a stretch between two others.
function distance([z, x], [z0, x0], [z1, x1]) {
  const [dz, dx] = [z1 - z0, x1 - x0];
  const along = dz || dx ? Math.max(0, Math.min(1, ((z - z0) * dz + (x - x0) * dx) / (dz * dz + dx * dx))) : 0;
  return Math.hypot(z - z0 - along * dz, x - x0 - along * dx);
}

// Without the small loops that a hand draws where a line begins and ends; null where what is left is not most of it.
function untangled(points) {
  const whole = () => Math.abs(signedArea(points));
  let dropped = 0;
  for (let tries = 0; tries < 2 * MOST_POINTS; tries++) {
    const crossing = firstCrossing(points);
    if (!crossing) return dropped > (1 - LEAST_KEPT) * (whole() + dropped) ? null : points;
    const { i, j, at } = crossing;
    const loops = [[at, ...points.slice(i + 1, j + 1)], [at, ...points.slice(j + 1), ...points.slice(0, i + 1)]];
    const sizes = loops.map((one) => Math.abs(signedArea(one)));
    points = sizes[0] > sizes[1] ? loops[0] : loops[1];
    dropped += Math.min(...sizes);
  }
  return null;
}

function firstCrossing(points) {
  const count = points.length;
  for (let i = 0; i < count; i++) {
    for (let j = i + 2; j < count; j++) {
      if (i === 0 && j === count - 1) continue; // neighbours
      const at = crossingOf(points[i], points[i + 1], points[j], points[(j + 1) % count]);
      if (at) return { i, j, at };
    }
  }
  return null;
}

function crossingOf([az, ax], [bz, bx], [cz, cx], [dz, dx]) {
  const turn = (bz - az) * (dx - cx) - (bx - ax) * (dz - cz);
  if (!turn) return null;
  const s = ((cz - az) * (dx - cx) - (cx - ax) * (dz - cz)) / turn;
  const t = ((cz - az) * (bx - ax) - (cx - ax) * (bz - az)) / turn;
  return s >= 0 && s <= 1 && t >= 0 && t <= 1 ? [az + s * (bz - az), ax + s * (bx - ax)] : null;
}

// Whether something of a role is seen on a panel: outlines of a lesion on the image that they are of, all else on every one.
export function shownOn(role, kind) {
  if (kind === 'overlay' || (role !== 'bmode' && role !== 'strain')) return true;
  return role === kind;
}

// As usert/runtime/view/region.py reads it.
export function sentAs(region) {
  const round = (mm) => Number(mm.toFixed(4));
  const { kind, depth, lateral, unit, angle } = region;
  if (kind !== 'polygon') return { kind, depth: depth.map(round), lateral: lateral.map(round), ...(angle && { angle_deg: angle }) };
  const at = ([u, v]) => [depth[0] + u * (depth[1] - depth[0]), lateral[0] + v * (lateral[1] - lateral[0])].map(round);
  return { kind, points: unit.map(at) };
}
