// Wall-clock time at the customer. The named zone knows about summer time; the offset is the fallback when this
// browser does not know the zone.

export type Place = { time_zone: string | null; utc_offset_s: number | null };

/** Without a zone and an offset nobody knows how late it is there. */
export function is_known(place: Place): boolean {
  return place.time_zone !== null || place.utc_offset_s !== null;
}

const PARTS = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' } as const;
const formats = new Map<string, Intl.DateTimeFormat | null>();

function format_of(zone: string): Intl.DateTimeFormat | null {
  if (!formats.has(zone)) {
    try {
      formats.set(zone, new Intl.DateTimeFormat('en-US', { ...PARTS, timeZone: zone }));
    } catch {
      formats.set(zone, null);
    }
  }
  return formats.get(zone) ?? null;
}

export function offset_ms(place: Place, at_ms: number): number {
  const format = place.time_zone ? format_of(place.time_zone) : null;
  if (!format) return (place.utc_offset_s ?? 0) * 1_000;
  const part = Object.fromEntries(format.formatToParts(at_ms).map((p) => [p.type, Number(p.value)]));
  const wall = Date.UTC(part.year!, part.month! - 1, part.day, part.hour, part.minute, part.second);
  return wall - Math.floor(at_ms / 1_000) * 1_000;
}

/** `YYYY-MM-DDTHH:MM` as a `datetime-local` field wants it. */
export function to_wall(place: Place, at_ms: number): string {
  return new Date(at_ms + offset_ms(place, at_ms)).toISOString().slice(0, 16);
}

export function from_wall(place: Place, wall: string): number | null {
  // Browsers take ":00Z" for a date, too; an emptied field must be no time.
  const as_utc = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$/.test(wall) ? Date.parse(`${wall}:00Z`) : NaN;
  if (Number.isNaN(as_utc)) return null;
  // The offset there depends on the instant we look for: two steps settle it except inside a changed hour,
  // where any answer is within that hour.
  const guess = as_utc - offset_ms(place, as_utc - (place.utc_offset_s ?? 0) * 1_000);
  return as_utc - offset_ms(place, guess);
}

/** Tomorrow at the given hour, at the customer. */
export function tomorrow_at(place: Place, now_ms: number, hour: number): number {
  const there = new Date(now_ms + offset_ms(place, now_ms));
  there.setUTCDate(there.getUTCDate() + 1);
  there.setUTCHours(hour, 0, 0, 0);
  return from_wall(place, there.toISOString().slice(0, 16)) ?? now_ms;
}
