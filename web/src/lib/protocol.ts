// What the switch and the page say to each other on /api/v1/desk, field by field. Times end in _ms (epoch
// milliseconds by the server's clock) or _s.

export type Text = { en: string; zh: string };

export type StateKind = 'not_ready' | 'ready' | 'previewing' | 'dialing' | 'ringing' | 'talking' | 'wrap_up' | 'logged_out';

export type AgentState = {
  kind: StateKind;
  reason?: string | null;
  since_ms: number;
  deadline_ms: number | null;
  /** What comes after the call, when the agent asked for it during the call. */
  queued: null | string | { kind: string; reason?: string | null };
};

export type Seat = { kind: string; status: 'absent' | 'idle' | 'connecting' | 'live' | 'lost' };

export type Waiting = { reason: string; detail?: Text | null; earliest_ms: number | null };

export type PhoneNumber = {
  id: number;
  display: string;
  kind: string;
  time_zone: string | null;
  utc_offset_s: number | null;
  callable: boolean;
  /** The names of the gate's rules that speak against it, or words. */
  why: string | Text | null;
  /** The one the gate would take. */
  suggested?: boolean;
};

export type Field = { key: string; label: Text; value: string; kind: 'text' | 'money' | 'date' | 'phone' };

export type PastAttempt = {
  at_ms: number;
  result: string;
  disposition: string | null;
  agent: string;
  notes: string | null;
  talk_ms: number;
  recording: string | null;
};

export type Crm = {
  status: 'none' | 'loading' | 'ready' | 'failed';
  sections: { title: Text; fields: { label: Text; value: string }[] }[];
  error: string | null;
  as_of_ms: number | null;
};

export type Disposition = {
  key: string;
  label: Text;
  action: string;
  notes_min: number;
  needs_callback_time: boolean;
};

export type Card = {
  token: number;
  lead: number;
  campaign: { id: string; name: string | Text };
  name: string;
  company: string | null;
  language: string | null;
  phones: PhoneNumber[];
  fields: Field[];
  history: PastAttempt[];
  crm: Crm;
  script: { title: string; text: string } | null;
  deadline_ms: number | null;
  extensions_left: number;
  skip_reasons: { key: string; label: Text }[];
  dispositions: Disposition[];
  why: Text | null;
};

/** A third party in the call, or how the last one's part ended. */
export type TransferState = {
  state: 'calling' | 'ringing' | 'leaving' | 'consulting' | 'joined' | 'over';
  kind: string;
  name: string;
  /** With whom the agent talks in a consultation. */
  heard: 'third' | 'customer' | null;
  since_ms: number | null;
  answered_ms: number | null;
  /** `completed`, `dropped`, `third_left`, `denied` or a call's result. */
  outcome: string | null;
};

export type Call = {
  id: string;
  /** Who called whom; absent from an older switch. */
  direction?: 'out' | 'in';
  state: 'dialing' | 'ringing' | 'talking' | 'held' | 'ended';
  started_ms: number;
  ringing_ms: number | null;
  answered_ms: number | null;
  ended_ms: number | null;
  muted: boolean;
  held: boolean;
  held_by_far_end?: boolean;
  volume_db: number;
  recording: boolean;
  result: string | null;
  detail: string | null;
  recording_ready: boolean;
  transfer?: TransferState | null;
  handed_over?: boolean;
};

export type Desk = {
  agent: { id: string; name: string; language: string };
  now_ms: number;
  state: AgentState;
  seat: Seat;
  waiting: Waiting | null;
  card: Card | null;
  call: Call | null;
  /** Whom the agent may bring in, while she talks. */
  targets?: { phones: { user: string; registered: boolean }[]; agents?: { id: string; name: string }[] } | null;
  /** The switch is being stopped: calls go on, no new ones. */
  draining?: boolean;
};

export type Problem = { type?: string; title: string; status: number; detail?: string | null; rule?: string | null };

type Fenced = { token: number; key: string };

export type Command =
  | { cmd: 'ready' }
  | { cmd: 'next' }
  | { cmd: 'not_ready'; reason: string }
  | ({ cmd: 'dial'; phone?: number } & Fenced)
  | ({ cmd: 'skip'; reason: string } & Fenced)
  | ({ cmd: 'cancel' } & Fenced)
  | ({ cmd: 'dnc' } & Fenced)
  | { cmd: 'extend'; token: number }
  | { cmd: 'answer' }
  | { cmd: 'decline' }
  | { cmd: 'hang_up' }
  | { cmd: 'mute'; on: boolean }
  | { cmd: 'hold'; on: boolean }
  | { cmd: 'consult'; to: string }
  | { cmd: 'transfer'; to: string }
  | { cmd: 'swap' }
  | { cmd: 'complete' }
  | { cmd: 'drop' }
  | { cmd: 'volume'; db: number }
  | ({ cmd: 'dispose'; disposition: string; notes: string; callback_at_ms?: number } & Fenced)
  | { cmd: 'log_out' };

export type FromServer =
  | { type: 'desk'; epoch: string; seq: number; desk: Desk }
  | { type: 'reply'; id: number; ok: true }
  | { type: 'reply'; id: number; ok: false; problem: Problem };

/** A recent call, as `GET /api/v1/calls` lists it. */
export type RecentCall = {
  id: string;
  started_ms: number;
  name: string;
  company?: string | null;
  number?: string | null;
  result: string | null;
  detail?: string | null;
  disposition?: string | Text | null;
  notes?: string | null;
  talk_ms: number;
  /** Where the recording plays from, when there is one. */
  recording: string | null;
};
