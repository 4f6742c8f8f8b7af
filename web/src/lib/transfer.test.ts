import { expect, test } from 'vitest';
import type { Desk, TransferState } from './protocol';
import { acts, choices, may_be_asked, may_bring_in, meant, third_party } from './transfer';

const third = (state: TransferState['state']): TransferState => ({
  state, kind: 'phone', name: 'front', heard: null, since_ms: 0, answered_ms: null, outcome: null,
});
const phones = [{ user: 'store', registered: false }, { user: 'front', registered: true }, { user: '101', registered: true }];

function desk(change: object = {}, kind = 'talking'): Desk {
  const call = { answered_ms: 5, transfer: null, ...change };
  return { state: { kind }, call, targets: { phones } } as unknown as Desk;
}

test('phones that can be reached stand first, and what is typed narrows them down', () => {
  expect(choices(desk(), '').map((choice) => choice.name)).toEqual(['101', 'front', 'store']);
  expect(choices(desk(), ' Fro').map((choice) => choice.to)).toEqual(['phone:front']);
  expect(choices({ ...desk(), targets: null }, '')).toEqual([]);
});

test('a name is a phone, digits are a number, and half a name is nobody', () => {
  expect(meant(desk(), 'front')).toBe('phone:front');
  expect(meant(desk(), '101')).toBe('phone:101');
  expect(meant(desk(), '+86 (21) 5555-0100')).toBe('+86 (21) 5555-0100');
  expect(meant(desk(), 'fron')).toBeNull();
  expect(meant(desk(), ' ')).toBeNull();
});

test('free agents are offered by their names, and are given the call without being asked', () => {
  const agents = [{ id: 'ana', name: 'Ana' }];
  const both = { ...desk(), targets: { phones, agents } } as Desk;
  expect(choices(both, 'an')).toEqual([{ to: 'agent:ana', name: 'Ana', kind: 'agent', free: true }]);
  expect(meant(both, 'Ana')).toBe('agent:ana');
  expect(may_be_asked('agent:ana')).toBe(false);
  expect(may_be_asked('phone:front')).toBe(true);
  expect(may_be_asked(null)).toBe(false);
});

test('one third party at a time, and only in a call', () => {
  expect(may_bring_in(desk())).toBe(true);
  expect(may_bring_in(desk({ answered_ms: null }))).toBe(false);
  expect(may_bring_in(desk({}, 'wrap_up'))).toBe(false);
  expect(may_bring_in(desk({ transfer: third('ringing') }))).toBe(false);
  expect(may_bring_in(desk({ transfer: third('over') }))).toBe(true);
  expect(may_bring_in(null)).toBe(false);
});

test('what can be done follows from how far it has come', () => {
  expect(acts(third('calling'))).toEqual(['complete', 'drop']);
  expect(acts(third('consulting'))).toEqual(['swap', 'complete', 'drop']);
  expect(acts(third('leaving'))).toEqual(['drop']);
  expect(third_party(desk({ transfer: third('over') }))).toBeNull();
});
