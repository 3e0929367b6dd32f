// What timeline, averages and colours say, in English.

const WORDS = {
  live: 'live, at the newest image',
  value: '{back} seconds back, compression {strain}, quality {score}, {state}',
  useful: 'useful',
  other: 'outside the useful range',
  held: 'held',
  idle: 'at rest',
  best: 'best image of the press',
  no_best: 'No image at useful compression is kept yet.',
  no_press: 'No press is kept yet: there is nothing to average.',
  no_live: 'There is no live image in this span: nothing to average.',
  average: 'AVERAGE OF {count}',
  average_bmode: 'FROZEN',
  average_why: 'Mean of {count} live images, {span} s. O: single image.',
  average_words: 'average of {count} live images over {span} s',
};

const MAPS = {
  viridis: 'Viridis', cividis: 'Cividis', grey: 'Grey', 'blue-green-red': 'Blue–green–red', 'blue-white-red': 'Blue–white–red',
};

export const mapWord = (name) => MAPS[name] ?? name;

export const pressWord = (key, values = {}) =>
  (WORDS[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
