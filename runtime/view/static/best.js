// The presses of a hand, and the best image of each. Pure functions over the kept images, oldest first; no elements.
// A press is the longest run of live images of one session in which the compression has one sign: pressing, or letting go.
// Rest ends it: a bar at 0, an image that is idle or held while the probe rests, another session, or GAP_MS without an
// image. An image that is held for its quality does not end a press, and does not belong to it.

export const USEFUL = [0.003, 0.015]; // |strain| that the compression bar calls useful
const GAP_MS = 1000;

const sessionOf = ({ header, run }) => `${run} ${header.server_starts} ${header.session}`;

export const isUseful = (strain) => Math.abs(strain) >= USEFUL[0] && Math.abs(strain) <= USEFUL[1];

// [{ first, last, sign, best }]: places in `images`; `best` is the first of highest quality among those at useful strain,
// -1 where no image is.
export function presses(images) {
  const found = [];
  let run = null;
  images.forEach((image, at) => {
    if (image.state === 'held' && image.reason === 'quality') return;
    const sign = image.state === 'live' ? Math.sign(image.compression) : 0;
    const before = run && images[run.last];
    const goes = run && sign === run.sign && sessionOf(image) === sessionOf(before) && image.arrivedMs - before.arrivedMs <= GAP_MS;
    if (goes) run.last = at;
    else if (sign) found.push((run = { first: at, last: at, sign, best: -1 }));
    else run = null;
    if (!sign || !isUseful(image.header.readable_strain)) return;
    if (run.best < 0 || image.header.score > images[run.best].header.score) run.best = at;
  });
  return found;
}

// The press that an image belongs to, or the last before it; else the first.
export const pressAt = (all, place) => all.findLast(({ first }) => first <= place) ?? all[0];

// Where the key of the best image leads: that of the press of the shown image, and from there that of the press before;
// from the oldest to the newest. -1 where there is none.
export function bestFrom(all, place) {
  const some = all.filter(({ best }) => best >= 0);
  if (!some.length) return -1;
  const here = some.findLast(({ first }) => first <= place);
  if (!here) return some.at(-1).best;
  if (here.best !== place) return here.best;
  return some[(some.indexOf(here) - 1 + some.length) % some.length].best;
}
