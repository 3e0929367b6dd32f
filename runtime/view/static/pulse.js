// A worker that says each half second that its page is there. The timers of a page in the background may run once a minute,
// those of its worker go on; when the page crashes or is closed, the worker ends with it. Named by the page: its number.

import { CHANNEL } from './channel.js';

const EVERY_MS = 500;
const channel = new BroadcastChannel(CHANNEL);
setInterval(() => channel.postMessage({ from: Number(self.name), alive: true }), EVERY_MS);
