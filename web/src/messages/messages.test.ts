import { afterEach, expect, test } from 'vitest';
import { en } from './en';
import { fill, m, speak } from './index';
import { zh } from './zh';

afterEach(() => speak(() => 'en'));

test('both languages have every message, and none is empty', () => {
  expect(Object.keys(zh)).toEqual(Object.keys(en));
  for (const words of [...Object.values(en), ...Object.values(zh)]) expect(words.trim()).not.toBe('');
});

test('a message follows the language at once', () => {
  expect(m.seconds_left({ count: 5 })).toBe('5 seconds left');
  speak(() => 'zh');
  expect(m.seconds_left({ count: 5 })).toBe('剩余 5 秒');
});

test('values are put in as they are, once', () => {
  expect(fill('{a} and {b}', { a: '{b}', b: '$&' })).toBe('{b} and $&');
});
