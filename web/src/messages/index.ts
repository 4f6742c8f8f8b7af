// `m.key({ parameter })` in the language of the moment. Called inside a view it is as reactive as `speak`'s answer.
import { en } from './en';
import type { Key, Messages, Table } from './table';
import { zh } from './zh';

const TABLES: Record<'en' | 'zh', Table> = { en, zh };

let locale: () => 'en' | 'zh' = () => 'en';

/** Who decides about the language. */
export function speak(decides: () => 'en' | 'zh'): void {
  locale = decides;
}

export function fill(words: string, values: Record<string, string | number> = {}): string {
  return words.replace(/\{(\w+)\}/g, (hole, name: string) => (name in values ? String(values[name]) : hole));
}

const word = (key: Key) => (values?: Record<string, string | number>) => fill(TABLES[locale()][key], values);

// The type follows from the table: its keys are these, and table.ts derives each one's parameters from its words.
export const m = Object.fromEntries((Object.keys(en) as Key[]).map((key) => [key, word(key)])) as Messages;
