import { expect, test } from 'vitest';
import { from_wall, to_wall, tomorrow_at } from './zoned';

const NEW_YORK = { time_zone: 'America/New_York', utc_offset_s: -18_000 };
const SHANGHAI = { time_zone: 'Asia/Shanghai', utc_offset_s: 28_800 };

test('wall time goes there and back, in summer and winter', () => {
  for (const place of [NEW_YORK, SHANGHAI, { time_zone: null, utc_offset_s: 20_700 }]) {
    for (let hour = 0; hour < 24 * 365; hour += 7) {
      const at_ms = Date.UTC(2026, 0, 1, hour);
      const again = from_wall(place, to_wall(place, at_ms))!;
      // In the hour that autumn repeats, one wall time names two instants.
      const repeated = place === NEW_YORK && Math.abs(at_ms - Date.UTC(2026, 10, 1, 6)) <= 3_600_000;
      expect(Math.abs(again - at_ms)).toBeLessThanOrEqual(repeated ? 3_600_000 : 0);
    }
  }
});

test('a summer appointment made in winter keeps its hour there', () => {
  expect(from_wall(NEW_YORK, '2026-07-01T10:00')).toBe(Date.UTC(2026, 6, 1, 14));
});

test('tomorrow is tomorrow at the customer', () => {
  const late_utc_ms = Date.UTC(2026, 10, 22, 17); // already the 23rd in Shanghai
  expect(tomorrow_at(SHANGHAI, late_utc_ms, 10)).toBe(Date.UTC(2026, 10, 24, 2));
  expect(tomorrow_at(NEW_YORK, late_utc_ms, 10)).toBe(Date.UTC(2026, 10, 23, 15));
});

test('nonsense is no time', () => {
  expect(from_wall(SHANGHAI, '')).toBeNull();
});
