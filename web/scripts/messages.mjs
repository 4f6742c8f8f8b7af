// Every message in every language, with the same parameters: a missing or half-translated one fails the build.
import { readFileSync } from 'node:fs';

const settings = JSON.parse(readFileSync(new URL('../project.inlang/settings.json', import.meta.url), 'utf8'));
const tables = new Map(
  settings.locales.map((locale) => [
    locale,
    JSON.parse(readFileSync(new URL(`../messages/${locale}.json`, import.meta.url), 'utf8')),
  ]),
);

const parameters = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort().join(',');

const complaints = [];
const keys = new Set([...tables.values()].flatMap((table) => Object.keys(table)).filter((key) => key !== '$schema'));
const base = tables.get(settings.baseLocale);
for (const key of keys) {
  for (const [locale, table] of tables) {
    const text = table[key];
    if (typeof text !== 'string' || text.trim() === '') {
      complaints.push(`messages/${locale}.json: "${key}" is missing`);
    } else if (typeof base[key] === 'string' && parameters(text) !== parameters(base[key])) {
      complaints.push(`messages/${locale}.json: "${key}" has parameters {${parameters(text)}}, ${settings.baseLocale} has {${parameters(base[key])}}`);
    }
  }
}
if (complaints.length > 0) {
  console.error(complaints.join('\n'));
  process.exit(1);
}
