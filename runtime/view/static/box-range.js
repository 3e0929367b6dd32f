// The automatic range of colours inside a box, by the rule of usert/runtime/view/strain_range.py: it follows the compression
// at once, the contrast slowly. Knows pictures and the painter that lays them out.

const UNIT = 1e-5;
const UNKNOWN = -32768;
const LEAST = 1e-3;
const SOFT = 0.98; // of the sorted values
const FOLLOWING = 0.1;
const EVIDENT = 5e-4;
const TYPICAL = 1.3;
const LEAST_SHARE = 0.01;
const MOST_SAMPLES = 8192;

export class BoxRange {
  #contrast = null;
  #of = ''; // the box and the session that the contrast is of
  #last = null;

  // { soft, share } of a picture; computed once for each box, so that a kept picture keeps its colours.
  of(picture, painter, region, version) {
    if (picture.boxed?.version === version) return picture.boxed;
    const { values, share } = samples(picture, painter, region);
    const of = `${version} ${picture.run} ${picture.header.server_starts} ${picture.header.session}`;
    const follows = of === this.#of && picture.arrivedMs > this.#last?.arrivedMs;
    if (of !== this.#of) this.#contrast = null;
    let soft = LEAST;
    if (share >= LEAST_SHARE) {
      const mean = (UNIT * values.reduce((sum, one) => sum + one, 0)) / values.length;
      const sign = mean < 0 ? -1 : 1;
      const found = Math.abs(mean) > EVIDENT ? Math.min(5, Math.abs(softest(values, sign) * UNIT / mean)) : null;
      if (found !== null) this.#contrast = follows && this.#contrast ? this.#contrast + FOLLOWING * (found - this.#contrast) : found;
      soft = sign * Math.max(LEAST, (this.#contrast ?? TYPICAL) * Math.abs(mean));
    }
    this.#of = of;
    this.#last = picture;
    picture.boxed = { version, soft, share };
    return picture.boxed;
  }
}

// Readable values inside, not more than needed, and the share that may be read.
function samples(picture, painter, { depth, lateral }) {
  const strain = painter.plane(picture, 'strain');
  const quality = painter.plane(picture, 'quality');
  const { origin, extent, leastReadable: least } = picture;
  const cells = (pair, axis, count) => {
    const [first, last] = pair.map((mm) => ((mm - origin[axis]) / extent[axis]) * count);
    return [Math.max(0, Math.ceil(first - 0.5)), Math.min(count, Math.max(Math.ceil(first - 0.5) + 1, Math.ceil(last - 0.5)))];
  };
  const [top, bottom] = cells(depth, 0, strain.rows);
  const [left, right] = cells(lateral, 1, strain.columns);
  const step = Math.max(1, Math.ceil(Math.sqrt(((bottom - top) * (right - left)) / MOST_SAMPLES)));
  const values = new Int16Array(Math.ceil((bottom - top) / step) * Math.ceil((right - left) / step));
  let [count, all] = [0, 0];
  for (let row = top; row < bottom; row += step) {
    for (let column = left; column < right; column += step) {
      if (picture.fan && !inFan(picture, strain, row, column)) continue;
      const at = row * strain.columns + column;
      all += 1;
      if (quality.values[at] >= least && strain.values[at] !== UNKNOWN) values[count++] = strain.values[at];
    }
  }
  return { values: values.subarray(0, count), share: all ? count / all : 0 };
}

function inFan({ fan, origin, extent }, { rows, columns }, row, column) {
  const place = fan.position(origin[0] + ((row + 0.5) * extent[0]) / rows, origin[1] + ((column + 0.5) * extent[1]) / columns);
  return place.every((at, axis) => at >= -0.5 && at <= fan.shape[axis] - 0.5);
}

// As numpy.percentile, of the values times the sign.
function softest(values, sign) {
  const sorted = values.toSorted();
  const place = SOFT * (sorted.length - 1);
  const take = (at) => (sign > 0 ? sorted[at] : -sorted[sorted.length - 1 - at]);
  const low = Math.floor(place);
  return take(low) + (place - low) * (take(Math.min(low + 1, sorted.length - 1)) - take(low));
}
