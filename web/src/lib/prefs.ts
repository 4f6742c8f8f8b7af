// What this browser remembers: how the page looks and sounds, and which instance of the phone it is. Nothing about
// customers.
import { uuid } from './uuid';

const PREFIX = 'foredial.';

function read(key: string): string | null {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null; // storage is switched off in this browser
  }
}

function write(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, value);
  } catch {
    // as above: then it is not remembered
  }
}

export type Theme = 'system' | 'light' | 'dark';

export const prefs = {
  locale: () => {
    const value = read('locale');
    return value === 'en' || value === 'zh' ? value : null;
  },
  set_locale: (locale: string) => write('locale', locale),
  theme: (): Theme => {
    const value = read('theme');
    return value === 'light' || value === 'dark' ? value : 'system';
  },
  set_theme: (theme: Theme) => write('theme', theme === 'system' ? null : theme),
  microphone: () => read('microphone'),
  set_microphone: (id: string | null) => write('microphone', id),
  speaker: () => read('speaker'),
  set_speaker: (id: string | null) => write('speaker', id),
  raw_audio: () => new URLSearchParams(location.search).get('rawaudio') === '1' || read('rawaudio') === '1',
  instance_id: () => {
    const known = read('instance');
    if (known) return known;
    const fresh = uuid();
    write('instance', fresh);
    return fresh;
  },
};
