// What the page says, in a clinician's words. Knows no elements. Every word of the protocol has a sentence here, and one
// that is not known is shown as it is.

const WARNINGS = {
  not_rf: 'The frames are not RF as the scanner describes it: do not trust the image.',
  low_quality: 'Image quality is low: hold the probe steadier.',
  strain_low: 'Too little compression: press a little more.',
  strain_high: 'Too much compression: press less.',
  strain_untrained: 'Compression beyond what the network was trained for: do not trust the numbers.',
  precompressed: 'The probe was pressed on before: lift it a little. Tissue under load looks harder.',
};
const HELD = {
  quality: 'Quality too low now. This is the last good image.',
  still: 'The probe rests. This is the last good image.',
  frozen: 'Frozen at the server. This is the image of that moment.',
};

export const warning = (name) => WARNINGS[name] ?? name;

export function ageText(ms, exact = true) {
  const sign = exact ? '' : '> ';
  if (ms < 1000) return `${sign}${Math.max(10, Math.round(ms / 10) * 10)} ms`;
  if (ms < 59950) return `${sign}${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${sign}${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

export const percent = (fraction, digits = 2) =>
  `${fraction < 0 ? '−' : '+'}${(100 * Math.abs(fraction)).toFixed(digits)} %`;

// The state of what is shown: a key for colours and patterns, a word, and why.
export function stateOf({ link, picture, age, staleMs, quietMs, frozen, about, line }) {
  if (frozen && picture) {
    const was = picture.shownState === 'live' ? '' : ` It was ${picture.shownState} then.`;
    const alone = link === 'open' ? '' : ' No connection to usert view.';
    return { key: 'frozen', word: 'FROZEN', why: `On this screen only.${was}${alone} Space: back to live.` };
  }
  if (link === 'refused') return { key: 'refused', word: 'ACCESS DENIED', why: line };
  if (link !== 'open') {
    return { key: 'lost', word: 'NO CONNECTION', why: 'usert view does not answer. Trying again.' };
  }
  if (!picture) return { key: 'waiting', word: 'NO IMAGE', why: `Waiting for the first image from ${about?.strain ?? 'the server'}.` };
  if (!age || age.ms > staleMs) {
    const why = quietMs <= staleMs
      ? HELD[picture.reason] ?? 'Images come, but late: server or network is too slow.'
      : `No new image for ${ageText(quietMs)}. Is the scanner running?`;
    return { key: 'stale', word: 'STALE', why };
  }
  if (picture.state === 'held') return { key: 'held', word: 'HELD', why: HELD[picture.reason] ?? 'This is the last good image.' };
  if (picture.state === 'idle') {
    const why = picture.reason === 'quality' ? 'No good image yet: quality too low.' : 'The probe rests: no strain to read.';
    return { key: 'idle', word: 'IDLE', why };
  }
  if (picture.state !== 'live') return { key: 'stale', word: picture.state.toUpperCase(), why: picture.reason };
  return { key: 'live', word: 'LIVE', why: '' };
}

export function compressionWord(picture) {
  if (picture.state === 'idle') return 'at rest';
  if (picture.compression === 0) return 'at rest';
  return picture.compression > 0 ? 'pressing' : 'releasing';
}

export function scoreWord(score) {
  if (score >= 0.8) return 'good';
  if (score >= 0.6) return 'fair';
  return score >= 0.4 ? 'low' : 'not readable';
}
