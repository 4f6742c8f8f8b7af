// Notes and outcome of the card at hand survive a reload of this tab, and only that: they are gone when they are saved
// or another card comes.
import { EMPTY_DRAFT, type Draft } from './actions';

const KEY = 'foredial.draft';

type Kept = { token: number; draft: Draft };

export function load(token: number, storage: Storage = sessionStorage): Draft {
  try {
    const kept = JSON.parse(storage.getItem(KEY) ?? 'null') as Kept | null;
    if (kept?.token === token) return { ...EMPTY_DRAFT, ...kept.draft };
  } catch {
    // unreadable: as if there were none
  }
  return { ...EMPTY_DRAFT };
}

export function keep(token: number, draft: Draft, storage: Storage = sessionStorage): void {
  try {
    storage.setItem(KEY, JSON.stringify({ token, draft } satisfies Kept));
  } catch {
    // full or switched off: the draft lives as long as the page
  }
}

export function forget(storage: Storage = sessionStorage): void {
  try {
    storage.removeItem(KEY);
  } catch {
    // as above
  }
}
