import { expect, test } from 'vitest';
import { EMPTY_DRAFT, filled_in, first_phone, missing_to_save, primary } from './actions';
import type { Card, Desk, PhoneNumber, StateKind } from './protocol';

const phone = (id: number, callable = true): PhoneNumber => ({ id, display: '', kind: 'mobile', time_zone: null, utc_offset_s: 0, callable, why: null });
const disposition = (key: string, change = {}) => ({ key, label: { en: key, zh: key }, action: 'final', notes_min: 0, needs_callback_time: false, ...change });
const card = {
  phones: [phone(1, false), phone(2)],
  dispositions: [disposition('sold'), disposition('busy'), disposition('interested', { notes_min: 3 }), disposition('callback', { needs_callback_time: true })],
} as unknown as Card;

function desk(kind: StateKind, change: object = {}): Desk {
  return { state: { kind, since_ms: 0, deadline_ms: null, queued: null }, seat: { kind: 'browser', status: 'live' }, waiting: null, card, call: null, ...change } as Desk;
}
const around = (change = {}) => ({ link_live: true, phone: phone(2), draft: EMPTY_DRAFT, now_ms: 1_000, ...change });

test('every state has one next action', () => {
  const action = (kind: StateKind, change = {}) => primary(desk(kind, change), around()).action;
  expect(action('not_ready')).toBe('ready');
  expect(action('ready')).toBe('wait');
  expect(action('ready', { waiting: { reason: 'no_leads', earliest_ms: null } })).toBe('next');
  expect(action('previewing')).toBe('dial');
  expect(action('dialing')).toBe('stop');
  expect(action('ringing')).toBe('wait'); // its card is on the way
  expect(action('ringing', { call: { state: 'ringing', direction: 'in' } })).toBe('answer');
  expect(action('talking')).toBe('hang_up');
  expect(action('wrap_up')).toBe('save');
});

test('space never ends a call', () => {
  for (const kind of ['dialing', 'talking'] as const) expect(primary(desk(kind), around()).key).toBe('escape');
});

test('nothing is dialled without a phone, a callable number and a connection', () => {
  const missing = (change: object, surroundings = {}) => primary(desk('previewing', change), around(surroundings)).missing;
  expect(missing({})).toBeNull();
  expect(missing({ seat: { kind: 'browser', status: 'lost' } })).toBe('phone');
  expect(missing({ seat: { kind: 'phone', status: 'absent' } })).toBeNull();
  expect(missing({}, { phone: phone(1, false) })).toBe('number');
  expect(missing({}, { phone: null })).toBe('number');
  expect(missing({}, { link_live: false })).toBe('link');
});

test('a caller is answered with space, once the phone is there', () => {
  const call = { state: 'ringing', direction: 'in' };
  expect(primary(desk('ringing', { call }), around())).toEqual({ action: 'answer', key: 'space', missing: null });
  const lost = { call, seat: { kind: 'browser', status: 'lost' } };
  expect(primary(desk('ringing', lost), around()).missing).toBe('phone');
  expect(primary(desk('ringing', { call }), around({ link_live: false })).missing).toBe('link');
});

test('what an outcome needs before it is saved', () => {
  const missing = (change: object) => missing_to_save(card, { ...EMPTY_DRAFT, ...change }, 1_000);
  expect(missing({})).toBe('disposition');
  expect(missing({ disposition: 'gone' })).toBe('disposition');
  expect(missing({ disposition: 'sold' })).toBeNull();
  expect(missing({ disposition: 'interested', notes: ' ab ' })).toBe('notes');
  expect(missing({ disposition: 'interested', notes: '很好👍' })).toBeNull();
  expect(missing({ disposition: 'callback' })).toBe('callback');
  expect(missing({ disposition: 'callback', callback_at_ms: 1_000 })).toBe('callback');
  expect(missing({ disposition: 'callback', callback_at_ms: 1_001 })).toBeNull();
});

test('the first number that may be called is offered', () => {
  expect(first_phone(card)?.id).toBe(2);
  expect(first_phone({ ...card, phones: [phone(2), { ...phone(3), suggested: true }] })?.id).toBe(3);
  expect(first_phone({ ...card, phones: [{ ...phone(1, false), suggested: true }, phone(2)] })?.id).toBe(2);
  expect(first_phone({ ...card, phones: [phone(1, false)] })?.id).toBe(1);
  expect(first_phone(null)).toBeNull();
});

test('an unanswered call fills in its outcome, an answered one never', () => {
  const ended = (call: object) => filled_in(desk('wrap_up', { call: { answered_ms: null, result: 'busy', ...call } }));
  expect(ended({})).toBe('busy');
  expect(ended({ answered_ms: 5 })).toBeNull();
  expect(ended({ result: 'trunk_failure' })).toBeNull();
  expect(filled_in(desk('talking', { call: { answered_ms: null, result: 'busy' } }))).toBeNull();
});
