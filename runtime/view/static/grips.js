// How near a press must be to take hold of a corner, an end or an edge, in CSS pixels. Knows the screen only. With touch a target is
// 12 mm (as in page.css), where what it belongs to is large enough to leave room for moving it.

const FINE = 24;
const GLOVED = 39; // half of 12 mm at 6.5 pixels a millimetre
const coarse = matchMedia('(any-pointer: coarse)').matches;

// `size`: pixels of the smaller side, or of the line, that the grip belongs to.
export const gripPx = (size) => (coarse ? Math.max(FINE, Math.min(GLOVED, size / 2)) : FINE);

// An edge lies beside the inside of what it belongs to, which must remain.
export const edgePx = (size) => (coarse ? gripPx(size / 2) : FINE / 2);
