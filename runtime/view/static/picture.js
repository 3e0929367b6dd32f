// One picture as it comes over the WebSocket: header and planes (see planes.py). Knows no elements. The planes lie in the
// message, not copied; the message is kept as it came, to be measured later.

import { Fan } from './fan.js';

const MAGIC = 0x31767375; // "usv1"

export class Picture {
  constructor(message) {
    const view = new DataView(message);
    if (view.getUint32(0, true) !== MAGIC) throw new Error('not a picture of this version: load the page again');
    const room = view.getUint32(4, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 8, room)));
    this.message = message;
    this.arrivedMs = performance.now();
    this.header = header;
    this.id = header.id;
    this.state = header.state;
    this.shownState = header.state; // as it was when it was seen last: may have gone stale
    this.reason = header.reason;
    this.bornMs = header.born_ms;
    this.exact = header.exact;
    this.extent = header.extent_mm;
    this.reach = header.reach_mm;
    this.origin = header.origin_mm ?? [0, 0]; // depth and lateral position of the upper left corner
    this.fan = header.fan ? new Fan(header.fan, this.origin, this.extent) : null;
    this.soft = header.soft_strain;
    this.compression = header.compression;
    this.leastReadable = header.least_readable;
    this.reading = null; // strain ratio, with the regions it is of
    this.planes = {};
    this.measuredBytes = 8 + room; // of the message, up to the end of what is measured
    for (const { name, dtype, shape, step, offset } of header.planes) {
      const size = shape[0] * shape[1];
      const Kind = dtype === 'int16' ? Int16Array : Uint8Array;
      this.planes[name] = { values: new Kind(message, 8 + room + offset, size), rows: shape[0], columns: shape[1], step };
      if (name !== 'bmode') this.measuredBytes = Math.max(this.measuredBytes, 8 + room + offset + size * Kind.BYTES_PER_ELEMENT);
    }
  }
}
