// Bringing a third party into a call: whom the agent may mean, and what she can do with whom.
import type { Command, Desk, TransferState } from './protocol';

export type Choice = { to: string; name: string; kind: 'phone' | 'agent'; free: boolean };

export type Act = 'swap' | 'complete' | 'drop';

const CHOICES_MOST = 8;
/** What people write between digits. */
const NUMBER = /^\+?[\d\s().\/-]{2,}$/;

/** Phones of the house and free agents whose name fits what is typed, those that can be reached first. */
export function choices(desk: Desk, typed: string): Choice[] {
  const wanted = typed.trim().toLowerCase();
  const phones = (desk.targets?.phones ?? []).map((phone): Choice => ({ to: `phone:${phone.user}`, name: phone.user, kind: 'phone', free: phone.registered }));
  const agents = (desk.targets?.agents ?? []).map((agent): Choice => ({ to: `agent:${agent.id}`, name: agent.name, kind: 'agent', free: true }));
  return [...phones, ...agents]
    .filter((choice) => choice.name.toLowerCase().includes(wanted))
    .sort((one, other) => Number(other.free) - Number(one.free) || one.name.localeCompare(other.name))
    .slice(0, CHOICES_MOST);
}

/** Who is meant by what is typed: a phone or an agent by the whole name, else a number; `null` while it is none. */
export function meant(desk: Desk, typed: string): string | null {
  const text = typed.trim();
  if ((desk.targets?.phones ?? []).some((phone) => phone.user === text)) return `phone:${text}`;
  const agent = (desk.targets?.agents ?? []).find((one) => one.name === text);
  if (agent) return `agent:${agent.id}`;
  return NUMBER.test(text) ? text : null;
}

/** An agent takes the call over; she is not asked first. */
export function may_be_asked(to: string | null): boolean {
  return to !== null && !to.startsWith('agent:');
}

/** Whether a third party may be brought in now. */
export function may_bring_in(desk: Desk | null): boolean {
  return desk?.state.kind === 'talking' && desk.call?.answered_ms != null && third_party(desk) === null;
}

/** The third party that is in the call now. */
export function third_party(desk: Desk | null): TransferState | null {
  const third = desk?.call?.transfer;
  return third && third.state !== 'over' && third.state !== 'joined' ? third : null;
}

export function acts(third: TransferState): Act[] {
  if (third.state === 'consulting') return ['swap', 'complete', 'drop'];
  return third.state === 'leaving' ? ['drop'] : ['complete', 'drop'];
}

export function command_of(act: Act): Command {
  return { cmd: act };
}
