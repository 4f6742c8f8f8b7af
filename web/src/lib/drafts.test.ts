import { beforeEach, expect, test } from 'vitest';
import { EMPTY_DRAFT } from './actions';
import { forget, keep, load } from './drafts';

const kept = new Map<string, string>();
const storage = {
  getItem: (key: string) => kept.get(key) ?? null,
  setItem: (key: string, value: string) => void kept.set(key, value),
  removeItem: (key: string) => void kept.delete(key),
} as unknown as Storage;
const DRAFT = { disposition: 'sold', notes: 'ring the bell', callback_at_ms: null };

beforeEach(() => kept.clear());

test('a draft survives a reload, for its own customer only', () => {
  keep(7, DRAFT, storage);
  expect(load(7, storage)).toEqual(DRAFT);
  expect(load(8, storage)).toEqual(EMPTY_DRAFT);
});

test('a saved draft is gone', () => {
  keep(7, DRAFT, storage);
  forget(storage);
  expect(kept.size).toBe(0);
  expect(load(7, storage)).toEqual(EMPTY_DRAFT);
});

test('unreadable storage is an empty draft', () => {
  kept.set('foredial.draft', '{broken');
  expect(load(7, storage)).toEqual(EMPTY_DRAFT);
});
