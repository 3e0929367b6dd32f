// Words of the page by key.

const WORDS = {};

export function say(key, values = {}) {
  const found = key.split('.').reduce((table, name) => table?.[name], WORDS);
  return (found ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

export const add = (name, table) => { WORDS[name] = table; };
