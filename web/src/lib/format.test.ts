import { expect, test } from 'vitest';
import { city_of, clock_at, day, decibel, duration, text_in } from './format';

const SHANGHAI = { time_zone: 'Asia/Shanghai', utc_offset_s: 28_800 };
const NOON_UTC_MS = Date.UTC(2026, 10, 22, 12);

test('durations', () => {
  expect(duration(0)).toBe('0:00');
  expect(duration(65_999)).toBe('1:05');
  expect(duration(3_665_000)).toBe('1:01:05');
  expect(duration(-5)).toBe('0:00');
});

test('decibels carry their sign', () => {
  expect(decibel(0)).toBe('0 dB');
  expect(decibel(12)).toBe('+12 dB');
  expect(decibel(-40)).toBe('\u221240 dB');
});

test('the time at the customer, with or without a known zone', () => {
  expect(clock_at(SHANGHAI, NOON_UTC_MS, 'en')).toBe('20:00');
  expect(clock_at({ time_zone: null, utc_offset_s: 19_800 }, NOON_UTC_MS, 'zh')).toBe('17:30');
  expect(clock_at({ time_zone: 'Mars/Olympus', utc_offset_s: -3_600 }, NOON_UTC_MS, 'en')).toBe('11:00');
  expect(clock_at({ time_zone: 'America/New_York', utc_offset_s: 0 }, Date.UTC(2026, 6, 1, 12), 'en')).toBe('08:00');
});

test('places have a name', () => {
  expect(city_of({ time_zone: 'America/Argentina/Buenos_Aires', utc_offset_s: 0 })).toBe('Buenos Aires');
  expect(city_of({ time_zone: null, utc_offset_s: 19_800 })).toBe('UTC+5:30');
  expect(city_of({ time_zone: null, utc_offset_s: -3_600 })).toBe('UTC\u22121');
  expect(city_of(SHANGHAI, 'zh')).toMatch(/中国/);
});

test('only ISO days are rewritten', () => {
  expect(day('2026-12-15', 'en')).toBe('15 Dec 2026');
  expect(day('2026-12-15', 'zh')).toBe('2026年12月15日');
  expect(day('next spring', 'en')).toBe('next spring');
});

test('a text falls back to the other language', () => {
  expect(text_in({ en: 'Product', zh: '产品' }, 'zh')).toBe('产品');
  expect(text_in({ en: 'Product', zh: '' }, 'zh')).toBe('Product');
  expect(text_in('as it is', 'zh')).toBe('as it is');
  expect(text_in(null, 'en')).toBe('');
});
