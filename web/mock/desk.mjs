// A desk that plays its part without a switch: every state the page knows, on the same protocol.
import { randomUUID } from 'node:crypto';
import { LEADS, CAMPAIGN, DISPOSITIONS, SKIP_REASONS, crm_of, script_of } from './leads.mjs';

const problem = (status, rule, title, detail) => ({ type: 'about:blank', title, status, detail, rule });

export class MockDesk {
  constructor({ changed, agent = { id: 'agent1', name: 'Li Wei', language: 'en' }, auto = true }) {
    this.changed = changed;
    this.agent = agent;
    this.epoch = randomUUID();
    this.seq = 0;
    this.auto = auto;
    this.next_lead = 0;
    this.token = 100;
    this.answers = new Map();
    this.timers = new Set();
    this.seat = { kind: 'browser', status: 'absent' };
    this.calls = [];
    this.preview_ms = 120_000;
    this.rest('not_ready', 'signed_in');
  }

  // --- for tests: put the desk into a scene -------------------------------------------------------------------------

  rest(kind, reason = null) {
    this.stop_timers();
    this.card = null;
    this.call = null;
    this.waiting = null;
    this.enter(kind, reason);
  }

  enter(kind, reason = null, deadline_ms = null) {
    this.state = { kind, reason, since_ms: Date.now(), deadline_ms, queued: kind === 'not_ready' || kind === 'ready' ? null : (this.state?.queued ?? null) };
  }

  wait_because(reason, detail, earliest_ms = null) {
    this.rest('ready');
    this.waiting = { reason, detail, earliest_ms };
    this.publish();
  }

  give_card(index = this.next_lead) {
    const lead = LEADS[index % LEADS.length];
    this.next_lead = index + 1;
    this.token += 1;
    this.waiting = null;
    this.call = null;
    const deadline_ms = Date.now() + this.preview_ms;
    this.card = {
      token: this.token,
      lead: index + 1,
      campaign: CAMPAIGN,
      ...lead,
      crm: { status: 'loading', sections: [], error: null, as_of_ms: null },
      script: script_of(lead, this.agent),
      deadline_ms,
      extensions_left: 2,
      skip_reasons: SKIP_REASONS,
      dispositions: DISPOSITIONS,
    };
    this.enter('previewing', null, deadline_ms);
    if (this.auto) {
      this.after(900, () => this.crm_arrives());
      this.after(this.preview_ms, () => this.rest('not_ready', 'preview_timeout'));
    }
    this.publish();
  }

  crm_arrives(failed = false) {
    if (!this.card) return;
    this.card.crm = failed
      ? { status: 'failed', sections: [], error: 'time-out after 3000 ms', as_of_ms: null }
      : { status: 'ready', sections: crm_of(this.card), error: null, as_of_ms: Date.now() };
    this.publish();
  }

  ring() {
    Object.assign(this.call, { state: 'ringing', ringing_ms: Date.now() });
    this.publish();
  }

  answer() {
    const now = Date.now();
    Object.assign(this.call, { state: 'talking', answered_ms: now, recording: true });
    this.enter('talking');
    this.publish();
  }

  end(result, detail) {
    this.stop_timers();
    const now = Date.now();
    Object.assign(this.call, { state: 'ended', ended_ms: now, result, detail, recording: false, held: false });
    const answered = this.call.answered_ms !== null;
    this.calls.unshift({
      id: this.call.id, started_ms: this.call.started_ms, name: this.card.name, company: this.card.company,
      number: this.card.phones[0].display, result, detail, disposition: null, notes: null,
      talk_ms: answered ? now - this.call.answered_ms : 0,
      recording: answered ? `/api/v1/recordings/${this.call.id}` : null,
    });
    this.enter('wrap_up', null, now + (answered ? 30_000 : 15_000));
    if (answered) this.after(400, () => { if (this.call) { this.call.recording_ready = true; this.publish(); } });
    this.publish();
  }

  third() {
    const third = this.call?.transfer;
    return third && third.state !== 'over' && third.state !== 'joined' ? third : null;
  }

  held(on) {
    Object.assign(this.call, { held: on, state: on ? 'held' : 'talking' });
  }

  third_answers() {
    const third = this.third();
    if (!third) return;
    third.answered_ms = Date.now();
    if (third.state === 'leaving') return this.hand_over();
    Object.assign(third, { state: 'consulting', heard: 'third' });
    this.publish();
  }

  third_over(outcome) {
    Object.assign(this.call.transfer, { state: 'over', heard: null, outcome });
    this.held(false);
    this.publish();
  }

  hand_over() {
    Object.assign(this.call.transfer, { state: 'joined', heard: null });
    this.call.handed_over = true;
    this.end('connected', null);
  }

  // --- commands -----------------------------------------------------------------------------------------------------

  /** null when done, else the problem. A repeated key gets the first answer. */
  command(command) {
    if (command.key && this.answers.has(command.key)) return this.answers.get(command.key);
    const answer = this.run(command);
    if (command.key) this.answers.set(command.key, answer);
    if (!answer) this.publish();
    return answer;
  }

  run(command) {
    const { cmd } = command;
    const kind = this.state.kind;
    const wrong = () => problem(409, 'wrong_state', 'Not now', `${cmd} is not possible in ${kind}`);
    if ('token' in command && command.token !== this.card?.token) return problem(409, 'stale_token', 'Stale token', 'the reservation has moved on');
    const only = (...kinds) => kinds.includes(kind);
    switch (cmd) {
      case 'ready':
      case 'next':
        if (only('dialing', 'talking', 'wrap_up')) { this.state.queued = null; return null; }
        if (!only('not_ready', 'ready')) return wrong();
        this.rest('ready');
        if (this.auto) this.after(700, () => this.give_card());
        return null;
      case 'not_ready':
        if (only('dialing', 'talking', 'wrap_up')) { this.state.queued = { kind: 'not_ready', reason: command.reason }; return null; }
        this.rest('not_ready', command.reason);
        return null;
      case 'dial':
        if (!only('previewing')) return wrong();
        if (this.gate) return problem(409, 'gate', 'This number may not be called now', this.gate);
        this.stop_timers();
        this.dialled = command.phone ?? null;
        this.call = { id: randomUUID(), state: 'dialing', started_ms: Date.now(), ringing_ms: null, answered_ms: null, ended_ms: null, muted: false, held: false, volume_db: 0, recording: false, result: null, detail: null, recording_ready: false };
        this.enter('dialing');
        if (this.auto) {
          this.after(600, () => this.ring());
          this.after(2_600, () => (this.card.lead % 3 === 0 ? this.end('busy', '486 Busy Here') : this.answer()));
        }
        return null;
      case 'skip':
        if (!only('previewing')) return wrong();
        if (!SKIP_REASONS.some(({ key }) => key === command.reason)) return problem(422, 'bad_reason', 'Unknown reason', command.reason);
        this.skipped = command.reason;
        this.onward();
        return null;
      case 'cancel':
        if (!only('previewing')) return wrong();
        this.rest('not_ready', 'cancelled');
        return null;
      case 'dnc':
        if (!only('previewing')) return wrong();
        this.suppressed = this.card.lead;
        this.onward();
        return null;
      case 'extend':
        if (!only('previewing') || this.card.extensions_left === 0) return wrong();
        this.card.extensions_left -= 1;
        this.card.deadline_ms += 60_000;
        this.state.deadline_ms = this.card.deadline_ms;
        return null;
      case 'hang_up':
        if (!only('dialing', 'talking')) return wrong();
        if (this.call.answered_ms === null) this.end('agent_cancelled', '487 Request Terminated');
        else this.end('connected', null);
        return null;
      case 'mute':
        if (!only('talking')) return wrong();
        this.call.muted = command.on;
        return null;
      case 'hold':
        if (!only('talking')) return wrong();
        Object.assign(this.call, { held: command.on, state: command.on ? 'held' : 'talking' });
        return null;
      case 'consult':
      case 'transfer': {
        if (!only('talking') || this.third()) return wrong();
        if (command.to === 'phone:store') return problem(409, 'not_registered', 'This phone is not connected', '');
        const blind = cmd === 'transfer';
        this.call.transfer = { state: 'calling', kind: command.to.startsWith('phone:') ? 'phone' : 'number', name: command.to.replace('phone:', ''), heard: null, since_ms: Date.now(), answered_ms: null, outcome: null };
        if (blind) this.call.transfer.state = 'leaving';
        this.held(true);
        if (this.auto) this.after(2_000, () => this.third_answers());
        return null;
      }
      case 'swap':
        if (this.third()?.state !== 'consulting') return wrong();
        this.call.transfer.heard = this.call.transfer.heard === 'third' ? 'customer' : 'third';
        this.held(this.call.transfer.heard === 'third');
        return null;
      case 'complete':
        if (!this.third()) return wrong();
        if (this.third().state === 'consulting') this.hand_over();
        else this.call.transfer.state = 'leaving';
        return null;
      case 'drop':
        if (!this.third()) return wrong();
        this.third_over('dropped');
        return null;
      case 'volume':
        if (!this.call || !(command.db >= -40 && command.db <= 12)) return problem(422, 'volume', 'Out of range', String(command.db));
        this.call.volume_db = command.db;
        return null;
      case 'dispose': {
        if (!only('wrap_up')) return wrong();
        const chosen = DISPOSITIONS.find(({ key }) => key === command.disposition);
        if (!chosen) return problem(422, 'disposition', 'Unknown disposition', command.disposition);
        if (chosen.needs_callback_time && !(command.callback_at_ms > Date.now())) return problem(422, 'callback_time', 'When?', 'a callback needs a time in the future');
        this.disposed = command;
        Object.assign(this.calls[0], { disposition: chosen.label, notes: command.notes || null });
        const queued = this.state.queued;
        if (queued) this.rest('not_ready', queued.reason);
        else this.onward();
        return null;
      }
      case 'log_out':
        if (only('dialing', 'talking')) return wrong();
        this.rest('logged_out');
        return null;
      default:
        return problem(422, 'bad', 'Unknown command', String(cmd));
    }
  }

  onward() {
    this.rest('ready');
    if (this.auto) this.after(350, () => this.give_card());
  }

  // --- plumbing -----------------------------------------------------------------------------------------------------

  after(ms, then) {
    const timer = setTimeout(() => { this.timers.delete(timer); then(); }, ms);
    this.timers.add(timer);
  }

  stop_timers() {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  publish() {
    this.seq += 1;
    this.changed();
  }

  message() {
    return JSON.stringify({
      type: 'desk', epoch: this.epoch, seq: this.seq,
      desk: { agent: this.agent, now_ms: Date.now(), state: this.state, seat: this.seat, waiting: this.waiting, card: this.card, call: this.call, targets: this.state.kind === 'talking' ? { phones: [{ user: 'front', registered: true }, { user: 'store', registered: false }, { user: '101', registered: true }] } : null },
    });
  }
}
