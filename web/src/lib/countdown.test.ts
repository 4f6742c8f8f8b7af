import { describe, expect, test } from 'vitest';
import { Bell, left, ServerClock } from './countdown';

test('a countdown shows the second that is running, and nothing below zero', () => {
  expect(left(0, 0, 120_000)).toMatchObject({ seconds: 120, fraction: 1, urgent: false });
  expect(left(119_001, 0, 120_000)).toMatchObject({ seconds: 1, urgent: true });
  expect(left(120_000, 0, 120_000)).toMatchObject({ seconds: 0, fraction: 0 });
  expect(left(125_000, 0, 120_000)).toMatchObject({ seconds: 0, left_ms: 0 });
});

test('a clock that was extended is never more than full', () => {
  expect(left(0, 50_000, 100_000).fraction).toBe(1);
  expect(left(10, 10, 10).fraction).toBe(0);
});

describe('the bell', () => {
  test('rings once, at ten seconds', () => {
    const bell = new Bell();
    const rings = [89_000, 89_999, 90_000, 90_200, 99_999].map((now) => bell.due(now, 100_000));
    expect(rings).toEqual([false, false, true, false, false]);
  });

  test('rings again for an extended deadline', () => {
    const bell = new Bell();
    expect(bell.due(95_000, 100_000)).toBe(true);
    expect(bell.due(96_000, 160_000)).toBe(false);
    expect(bell.due(150_500, 160_000)).toBe(true);
  });

  test('does not ring when it is over, or without a deadline', () => {
    expect(new Bell().due(100_000, 100_000)).toBe(false);
    expect(new Bell().due(100_000, null)).toBe(false);
  });
});

test('the server\'s clock counts, whatever this computer thinks', () => {
  const clock = new ServerClock();
  clock.heard(1_000_000, 400_000);
  expect(clock.now_ms(400_500)).toBe(1_000_500);
  // a late message moves it a little, not by its whole delay
  clock.heard(1_001_000 - 400, 401_000);
  expect(clock.now_ms(401_000)).toBe(1_000_900);
});
