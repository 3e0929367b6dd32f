// The average strain image over several pictures of one session, as a picture of its own: a message that can be shown,
// measured and saved as any other. Knows pictures, no elements.
//
// As the running average of the server (usert/runtime/imaging/persistence.py): each image over its own mean strain k, of
// either sign, weighted by precision; q quality, and back to percent by the mean |k|:
//
//     n = Σ w s/k / Σ w,   w = q²/(1 − q² + c) · k²/(k² + k₀²)
//
// Only readable pixels count. One that may be read in fewer than half of the images has no strain and quality 0; else its
// quality is the mean over those where it may. Images are not carried along with the tissue: a span is kept short.

import { Picture } from './picture.js';
import { say } from './language.js';
import { seconds } from './words.js';

const ROUGHNESS = 0.04; // c
const FLOOR_STRAIN = 0.012; // k₀
const UNIT = 1e-5;
const UNKNOWN = -32768;
const LEAST_MEAN = 3e-4; // |k| below which an image has no strain to speak of
const MOST_STRAIN = 0.015; // of the compression bar

// The state of an average that is shown; null for any other picture. `keys`: with the key that ends it.
export function averageState(picture, link, keys = true) {
  if (!picture?.header.average) return null;
  const { images: count, span_s: span } = picture.header.average;
  const why = [
    say('press.average_why', { count, span: seconds(1000 * span, 1) }), link === 'open' ? '' : say('why.alone'), keys ? say('press.average_key') : '',
  ].filter(Boolean).join(' ');
  return { key: 'frozen', word: say('press.average', { count }), bmodeWord: say('state.frozen'), why };
}

// What a snapshot says of an average; of any other picture nothing.
export function averageWords({ header }) {
  return header.average ? say('press.average_words', { count: header.average.images, span: seconds(1000 * header.average.span_s, 1) }) : '';
}

// Live images with the session, start and planes of the last live one, in their order.
export function averageable(pictures) {
  const newest = pictures.findLast(({ state }) => state === 'live');
  const same = ({ header, planes }) => header.session === newest.header.session && header.server_starts === newest.header.server_starts
    && planes.strain.rows === newest.planes.strain.rows && planes.strain.columns === newest.planes.strain.columns;
  return newest ? pictures.filter((one) => one.state === 'live' && one.run === newest.run && same(one)) : [];
}

// The average over what of `pictures` can be averaged, or null.
export function averaged(pictures) {
  const parts = averageable(pictures).map(measured).filter(({ mean }) => Math.abs(mean) >= LEAST_MEAN);
  if (!parts.length) return null;
  const { sums, weights, qualities, counts } = added(parts);
  const total = parts.reduce((sum, { gain }) => sum + gain, 0);
  const size = parts.reduce((sum, { gain, mean }) => sum + gain * Math.abs(mean), 0) / total;
  const strain = new Int16Array(sums.length);
  const quality = new Uint8Array(sums.length);
  for (let at = 0; at < sums.length; at++) {
    const known = 2 * counts[at] >= parts.length && weights[at] > 0;
    strain[at] = known ? Math.max(1 + UNKNOWN, Math.min(32767, Math.round((size * sums[at]) / weights[at] / UNIT))) : UNKNOWN;
    quality[at] = known ? Math.floor(qualities[at] / counts[at]) : 0;
  }
  return pictureOf(parts, size, strain, quality);
}

// One picture with its mean over readable pixels, and what the image as a whole weighs.
function measured(picture) {
  const { planes: { strain, quality }, leastReadable: least } = picture;
  let [sum, count] = [0, 0];
  for (let at = 0; at < strain.values.length; at++) {
    if (quality.values[at] < least || strain.values[at] === UNKNOWN) continue;
    sum += strain.values[at];
    count += 1;
  }
  const mean = count ? (UNIT * sum) / count : 0;
  return { picture, mean, gain: mean ** 2 / (mean ** 2 + FLOOR_STRAIN ** 2) };
}

function added(parts) {
  const precision = Float64Array.from({ length: 256 }, (_, at) => (at / 255) ** 2 / (1 - (at / 255) ** 2 + ROUGHNESS));
  const { length } = parts[0].picture.planes.strain.values;
  const [sums, weights] = [new Float64Array(length), new Float64Array(length)];
  const [qualities, counts] = [new Uint32Array(length), new Uint16Array(length)];
  for (const { picture, mean, gain } of parts) {
    const { planes: { strain: { values: strain }, quality: { values: quality } }, leastReadable: least } = picture;
    const scale = (gain * UNIT) / mean;
    for (let at = 0; at < length; at++) {
      if (quality[at] < least || strain[at] === UNKNOWN) continue;
      const weight = precision[quality[at]];
      sums[at] += scale * weight * strain[at];
      weights[at] += gain * weight;
      qualities[at] += quality[at];
      counts[at] += 1;
    }
  }
  return { sums, weights, qualities, counts };
}

// With B-mode and header of the image that weighs most, and the age of the oldest.
function pictureOf(parts, size, strain, quality) {
  const most = parts.reduce((a, b) => (b.gain * b.picture.header.score > a.gain * a.picture.header.score ? b : a)).picture;
  const pictures = parts.map(({ picture }) => picture);
  const [oldest, newest] = [pictures[0], pictures.at(-1)];
  const least = most.leastReadable;
  let [sum, score, count] = [0, 0, 0];
  for (let at = 0; at < strain.length; at++) {
    if (quality[at] < least || strain[at] === UNKNOWN) continue;
    sum += UNIT * strain[at];
    score += quality[at] / 255;
    count += 1;
  }
  const contrast = parts.reduce((all, { picture, mean }) => all + picture.soft / mean, 0) / parts.length;
  const mean = count ? sum / count : 0;
  const header = {
    ...most.header,
    id: `average-${oldest.id}-${newest.id}-${parts.length}`,
    state: 'live', reason: '', warnings: [], persistence: null, ratio: null, strain_rate: null,
    readable_strain: mean, compression: Math.min(1, mean / MOST_STRAIN),
    readable_share: count / strain.length, score: score / strain.length,
    soft_strain: contrast * size,
    born_ms: Math.min(...pictures.map(({ bornMs }) => bornMs)), exact: pictures.every(({ exact }) => exact),
    reference: oldest.header.reference, current: newest.header.current, // the frames that it is of
    average: { images: parts.length, span_s: (newest.arrivedMs - oldest.arrivedMs) / 1000 },
  };
  const planes = most.planes;
  const picture = new Picture(encoded(header, [
    ['strain', strain, planes.strain], ['quality', quality, planes.quality], ...(planes.bmode ? [['bmode', planes.bmode.values, planes.bmode]] : []),
  ]));
  return Object.assign(picture, { run: most.run, arrivedMs: Math.min(...pictures.map(({ arrivedMs }) => arrivedMs)) });
}

// The message of a picture, as usert/runtime/view/planes.py packs it.
function encoded(fields, planes) {
  const padded = (size) => Math.ceil(size / 8) * 8;
  let place = 0;
  const listed = planes.map(([name, values, { rows, columns, step }]) => {
    const entry = { name, dtype: values instanceof Int16Array ? 'int16' : 'uint8', shape: [rows, columns], step, offset: place };
    place += padded(values.byteLength);
    return entry;
  });
  const head = new TextEncoder().encode(JSON.stringify({ ...fields, planes: listed }));
  const room = padded(8 + head.length) - 8;
  const bytes = new Uint8Array(8 + room + place).fill(32, 8, 8 + room);
  bytes.set([0x75, 0x73, 0x76, 0x31]);
  new DataView(bytes.buffer).setUint32(4, room, true);
  bytes.set(head, 8);
  planes.forEach(([, values], at) => bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 8 + room + listed[at].offset));
  return bytes.buffer;
}
