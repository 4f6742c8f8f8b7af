// What the big button does: one decision, from the desk alone, so that the next action is always in the same place.
import type { Card, Desk, Disposition, PhoneNumber } from './protocol';

export type Draft = { disposition: string | null; notes: string; callback_at_ms: number | null };

export const EMPTY_DRAFT: Draft = { disposition: null, notes: '', callback_at_ms: null };

export type Missing = 'phone' | 'number' | 'link' | 'disposition' | 'notes' | 'callback';

export type Primary = {
  action: 'ready' | 'next' | 'dial' | 'answer' | 'hang_up' | 'stop' | 'save' | 'wait';
  /** Space and Enter advance; only Escape ends a call, so that a second press of Space cannot. */
  key: 'space' | 'escape' | null;
  missing: Missing | null;
};

export type Surroundings = { link_live: boolean; phone: PhoneNumber | null; draft: Draft; now_ms: number };

export function primary(desk: Desk, around: Surroundings): Primary {
  const plain = primary_of(desk, around);
  return around.link_live ? plain : { ...plain, missing: 'link' };
}

function primary_of(desk: Desk, around: Surroundings): Primary {
  switch (desk.state.kind) {
    case 'not_ready':
    case 'logged_out':
      return { action: 'ready', key: 'space', missing: null };
    case 'ready':
      return desk.waiting ? { action: 'next', key: 'space', missing: null } : { action: 'wait', key: null, missing: null };
    case 'previewing':
      return { action: 'dial', key: 'space', missing: missing_to_dial(desk, around.phone) };
    case 'dialing':
      return { action: 'stop', key: 'escape', missing: null };
    case 'ringing':
      // The card comes with the call, a moment after the state.
      return { action: desk.call ? 'answer' : 'wait', key: desk.call ? 'space' : null, missing: missing_seat(desk) };
    case 'talking':
      return { action: 'hang_up', key: 'escape', missing: null };
    case 'wrap_up':
      return { action: 'save', key: 'space', missing: missing_to_save(desk.card, around.draft, around.now_ms) };
  }
}

function missing_to_dial(desk: Desk, phone: PhoneNumber | null): Missing | null {
  return missing_seat(desk) ?? (phone?.callable ? null : 'number');
}

function missing_seat(desk: Desk): Missing | null {
  return desk.seat.kind === 'browser' && desk.seat.status !== 'live' ? 'phone' : null;
}

export function missing_to_save(card: Card | null, draft: Draft, now_ms: number): Missing | null {
  const chosen = disposition_of(card, draft.disposition);
  if (!chosen) return 'disposition';
  if ([...draft.notes.trim()].length < chosen.notes_min) return 'notes';
  if (chosen.needs_callback_time && (draft.callback_at_ms === null || draft.callback_at_ms <= now_ms)) return 'callback';
  return null;
}

export function disposition_of(card: Card | null, key: string | null): Disposition | null {
  return card?.dispositions.find((each) => each.key === key) ?? null;
}

/** The number to call unless the agent picks another: the gate's choice, else the first that may be called. */
export function first_phone(card: Card | null): PhoneNumber | null {
  return card?.phones.find((phone) => phone.callable && phone.suggested) ?? card?.phones.find((phone) => phone.callable) ?? card?.phones[0] ?? null;
}

/** An unanswered call's outcome is filled in when a disposition of that name exists (dialer rules fill in the rest). */
export function filled_in(desk: Desk): string | null {
  if (desk.state.kind !== 'wrap_up' || !desk.call || desk.call.answered_ms !== null) return null;
  const result = desk.call.result;
  return result && disposition_of(desk.card, result) ? result : null;
}
