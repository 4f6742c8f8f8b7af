// Notes and outcome of the customer at hand survive a reload of this tab, and only that: they are gone when they are
// saved or another customer comes. By lead and not by token, because a restarted switch gives out new tokens.
import { EMPTY_DRAFT, type Draft } from './actions';

const KEY = 'foredial.draft';

type Kept = { lead: number; draft: Draft };

export function load(lead: number, storage: Storage = sessionStorage): Draft {
  try {
    const kept = JSON.parse(storage.getItem(KEY) ?? 'null') as Kept | null;
    if (kept?.lead === lead) return { ...EMPTY_DRAFT, ...kept.draft };
  } catch {
    // unreadable: as if there were none
  }
  return { ...EMPTY_DRAFT };
}

export function keep(lead: number, draft: Draft, storage: Storage = sessionStorage): void {
  try {
    storage.setItem(KEY, JSON.stringify({ lead, draft } satisfies Kept));
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
