// Numbers and times as people read them, in both languages. Nothing here reads a clock.
import { offset_ms, type Place } from './zoned';
import type { Text } from './protocol';

export type Locale = 'en' | 'zh';

const TAGS: Record<Locale, string> = { en: 'en-GB', zh: 'zh-CN' };

/** 65,000 ms → 1:05; 3,665,000 ms → 1:01:05 */
export function duration(ms: number): string {
  const all_s = Math.max(0, Math.floor(ms / 1_000));
  const two = (n: number) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(all_s / 3_600), Math.floor(all_s / 60) % 60, all_s % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** With a true minus sign, and a plus sign where it is louder. */
export function decibel(db: number): string {
  if (db === 0) return '0 dB';
  return `${db > 0 ? '+' : '\u2212'}${Math.abs(db)} dB`;
}

export function clock_at(place: Place, at_ms: number, locale: Locale, with_seconds = false): string {
  return new Intl.DateTimeFormat(TAGS[locale], {
    hour: '2-digit',
    minute: '2-digit',
    ...(with_seconds ? { second: '2-digit' } : {}),
    hourCycle: 'h23',
    timeZone: 'UTC',
  }).format(at_ms + offset_ms(place, at_ms));
}

export function weekday_at(place: Place, at_ms: number, locale: Locale): string {
  return new Intl.DateTimeFormat(TAGS[locale], { weekday: 'short', timeZone: 'UTC' }).format(at_ms + offset_ms(place, at_ms));
}

/** Where it is that late: "America/New_York" → "New York"; Chinese has no city names here, so it names the zone. */
export function city_of(place: Place, locale: Locale = 'en'): string {
  if (locale === 'zh' && place.time_zone) return zone_name(place.time_zone) ?? place.time_zone;
  const name = place.time_zone?.split('/').at(-1)?.replaceAll('_', ' ');
  if (name) return name;
  const offset_s = place.utc_offset_s ?? 0;
  const sign = offset_s < 0 ? '\u2212' : '+';
  const minutes = Math.abs(offset_s) / 60;
  return `UTC${sign}${Math.floor(minutes / 60)}${minutes % 60 ? `:${String(minutes % 60).padStart(2, '0')}` : ''}`;
}

/** A moment by the agent's own clock: today only the time, else day and time. */
export function moment(at_ms: number, now_ms: number, locale: Locale): string {
  const same_day = new Date(at_ms).toDateString() === new Date(now_ms).toDateString();
  const same_year = new Date(at_ms).getFullYear() === new Date(now_ms).getFullYear();
  return new Intl.DateTimeFormat(TAGS[locale], {
    ...(same_day ? {} : { month: 'short', day: 'numeric' }),
    ...(same_year ? {} : { year: 'numeric' }),
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).format(at_ms);
}

/** An ISO day becomes a readable one; anything else is shown as it came. */
export function day(value: string, locale: Locale): string {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(value)) return value;
  const at = Date.parse(`${value}T00:00:00Z`);
  if (Number.isNaN(at)) return value;
  return new Intl.DateTimeFormat(TAGS[locale], { year: 'numeric', month: 'short', day: 'numeric', timeZone: 'UTC' }).format(at);
}

function zone_name(zone: string): string | undefined {
  try {
    const parts = new Intl.DateTimeFormat(TAGS.zh, { timeZone: zone, timeZoneName: 'longGeneric' }).formatToParts();
    return parts.find((part) => part.type === 'timeZoneName')?.value;
  } catch {
    return undefined;
  }
}

export function language_name(tag: string, locale: Locale): string {
  try {
    return new Intl.DisplayNames([TAGS[locale]], { type: 'language' }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

export function text_in(text: Text | string | null | undefined, locale: Locale): string {
  if (text === null || text === undefined) return '';
  if (typeof text === 'string') return text;
  return text[locale] || text.en || text.zh || '';
}
