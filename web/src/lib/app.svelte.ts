// The page's memory: who is signed in, the last desk, the phone, the draft. Views read it; only this file sends
// commands.
import { disposition_of, EMPTY_DRAFT, filled_in, first_phone, primary, type Draft, type Primary } from './actions';
import * as chime from './chime';
import { Bell, ServerClock } from './countdown';
import * as drafts from './drafts';
import { Feed, type Link, type Socket } from './feed';
import { duration } from './format';
import { language, m, problem_text, result_name } from './i18n.svelte';
import { JsSipPhone } from './jssip_phone';
import { OneTab, type Locks, type Owner } from './one_tab';
import type { Phone, PhoneStatus, Quality, Sound } from './phone';
import { prefs, type Theme } from './prefs';
import type { Command, Desk, PhoneNumber, Problem } from './protocol';
import { sign_in, sign_out, signed_in_as, type SignInFailure } from './session';
import { acts, command_of, may_bring_in, third_party, type Act } from './transfer';
import { uuid } from './uuid';

const TOASTS_MOST = 3;
const TOAST_MS = 8_000;
const TICK_MS = 200;
const QUALITY_EVERY_MS = 5_000;
const VOLUME_EVERY_MS = 120;

export const VOLUME_LEAST_DB = -40;
export const VOLUME_MOST_DB = 12;

export type Toast = { id: number; title: string; text: string };
export type Entry = { kind: 'checking' } | { kind: 'signed_out'; ended: boolean } | { kind: 'signed_in'; agent: string };

class App {
  entry = $state<Entry>({ kind: 'checking' });
  owner = $state<Owner>('unknown');
  link = $state<Link>('connecting');
  desk = $state.raw<Desk | null>(null);
  now_ms = $state(Date.now());
  draft = $state<Draft>({ ...EMPTY_DRAFT });
  picked_phone = $state<number | null>(null);
  toasts = $state<Toast[]>([]);
  announcement = $state('');
  phone_status = $state.raw<PhoneStatus>({ kind: 'off' });
  sound = $state<Sound>('unknown');
  remote = $state.raw<MediaStream | null>(null);
  local = $state.raw<MediaStream | null>(null);
  quality = $state.raw<Quality | null>(null);
  theme = $state<Theme>(prefs.theme());
  /** While the slider moves, it and not the desk says where it is. */
  volume_moving_db = $state<number | null>(null);
  busy = $state<string | null>(null);

  phone: Phone | null = null;
  #feed: Feed | null = null;
  #tabs: OneTab | null = null;
  #clock = new ServerClock();
  #bell = new Bell();
  #toast_id = 0;
  #rang_ms = 0;
  #volume_timer: ReturnType<typeof setTimeout> | undefined;

  shown_phone = $derived.by<PhoneNumber | null>(() => {
    const card = this.desk?.card ?? null;
    return card?.phones.find((phone) => phone.id === this.picked_phone) ?? first_phone(card);
  });

  primary = $derived.by<Primary | null>(() =>
    this.desk
      ? primary(this.desk, { link_live: this.link === 'live', phone: this.shown_phone, draft: this.draft, now_ms: this.now_ms })
      : null,
  );

  volume_db = $derived(this.volume_moving_db ?? this.desk?.call?.volume_db ?? 0);

  in_call = $derived.by(() => {
    const kind = this.desk?.state.kind;
    return kind === 'dialing' || kind === 'talking';
  });

  async start(): Promise<void> {
    setInterval(() => this.#tick(), TICK_MS);
    setInterval(() => void this.#measure(), QUALITY_EVERY_MS);
    addEventListener('online', () => this.#hurry());
    addEventListener('beforeunload', (event) => {
      if (this.in_call) event.preventDefault();
    });
    for (const gesture of ['pointerdown', 'keydown'] as const) {
      addEventListener(gesture, () => this.sound === 'refused' && void this.phone?.enable_sound());
    }
    this.#watch_devices();
    await this.check_session();
  }

  async check_session(): Promise<void> {
    const agent = await signed_in_as();
    if (agent === 'unreachable') {
      if (this.entry.kind === 'checking') setTimeout(() => void this.check_session(), 1_000);
    } else if (agent === null) {
      this.#leave(this.entry.kind === 'signed_in');
    } else if (this.entry.kind !== 'signed_in') {
      this.#enter(agent);
    }
  }

  async sign_in(agent: string, password: string): Promise<SignInFailure | null> {
    const failure = await sign_in(agent, password);
    if (!failure) await this.check_session();
    return failure;
  }

  async sign_out(): Promise<void> {
    await this.send({ cmd: 'log_out' });
    await sign_out();
    this.#leave(false);
  }

  take_over(): void {
    void this.#tabs?.take_over();
  }

  set_theme(theme: Theme): void {
    this.theme = theme;
    prefs.set_theme(theme);
    this.show_theme();
  }

  show_theme(): void {
    if (this.theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.theme;
  }

  // --- commands ---------------------------------------------------------------------------------------------------

  do_primary(): void {
    const next = this.primary;
    if (!next || next.missing) return;
    if (next.action === 'ready' || next.action === 'next') void this.send({ cmd: next.action });
    else if (next.action === 'dial') this.dial();
    else if (next.action === 'answer') void this.send({ cmd: 'answer' });
    else if (next.action === 'save') this.save();
    else if (next.action === 'hang_up' || next.action === 'stop') this.hang_up();
  }

  dial(): void {
    void this.#fenced((fence) => ({ cmd: 'dial', ...fence, ...(this.shown_phone ? { phone: this.shown_phone.id } : {}) }));
  }

  skip(reason: string): void {
    void this.#fenced((fence) => ({ cmd: 'skip', ...fence, reason }));
  }

  give_back(): void {
    void this.#fenced((fence) => ({ cmd: 'cancel', ...fence }));
  }

  dnc(): void {
    void this.#fenced((fence) => ({ cmd: 'dnc', ...fence }));
  }

  extend(): void {
    const card = this.desk?.card;
    if (card && card.extensions_left > 0) void this.send({ cmd: 'extend', token: card.token });
  }

  decline(): void {
    if (this.desk?.state.kind === 'ringing') void this.send({ cmd: 'decline' });
  }

  hang_up(): void {
    if (this.in_call) void this.send({ cmd: 'hang_up' });
  }

  not_ready(reason: string): void {
    void this.send({ cmd: 'not_ready', reason });
  }

  undo_not_ready(): void {
    void this.send({ cmd: 'ready' });
  }

  toggle_mute(): void {
    const call = this.desk?.call;
    if (this.desk?.state.kind !== 'talking' || !call) return;
    const on = !call.muted;
    // Silence must not wait for the network; sound may.
    if (on) this.phone?.mute(true);
    void this.send({ cmd: 'mute', on });
  }

  toggle_hold(): void {
    const call = this.desk?.call;
    if (this.desk?.state.kind === 'talking' && call && !third_party(this.desk)) void this.send({ cmd: 'hold', on: !call.held });
  }

  bring_in(cmd: 'consult' | 'transfer', to: string): void {
    if (may_bring_in(this.desk)) void this.send({ cmd, to });
  }

  third(act: Act): void {
    const third = third_party(this.desk);
    if (third && acts(third).includes(act)) void this.send(command_of(act));
  }

  set_volume(db: number): void {
    const bounded = Math.min(VOLUME_MOST_DB, Math.max(VOLUME_LEAST_DB, Math.round(db)));
    if (!this.in_call) return;
    this.volume_moving_db = bounded;
    this.#volume_timer ??= setTimeout(() => {
      this.#volume_timer = undefined;
      const db = this.volume_moving_db;
      if (db === null) return;
      void this.send({ cmd: 'volume', db }).then(() => {
        if (this.volume_moving_db === db) this.volume_moving_db = null;
      });
    }, VOLUME_EVERY_MS);
  }

  save(): void {
    const { disposition, notes, callback_at_ms } = this.draft;
    if (!disposition) return;
    const timed = disposition_of(this.desk?.card ?? null, disposition)?.needs_callback_time;
    const saved = this.#fenced((fence) => ({
      cmd: 'dispose',
      ...fence,
      disposition,
      notes: notes.trim(),
      ...(timed && callback_at_ms !== null ? { callback_at_ms } : {}),
    }));
    void saved.then((done) => done && drafts.forget());
  }

  edit_draft(change: Partial<Draft>): void {
    this.draft = { ...this.draft, ...change };
    const lead = this.desk?.card?.lead;
    if (lead !== undefined) drafts.keep(lead, this.draft);
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  /** One key a click, and one click at a time: a second press while the first is on its way does nothing. */
  async #fenced(build: (fence: { token: number; key: string }) => Command): Promise<boolean> {
    const token = this.desk?.card?.token;
    if (token === undefined || this.busy) return false;
    const command = build({ token, key: uuid() });
    this.busy = command.cmd;
    try {
      return await this.send(command);
    } finally {
      this.busy = null;
    }
  }

  /** Whether the switch agreed; when not, a toast says why. */
  async send(command: Command): Promise<boolean> {
    try {
      if (!this.#feed) return false;
      await this.#feed.command(command);
      return true;
    } catch (problem) {
      if (command.cmd === 'mute') this.phone?.mute(this.desk?.call?.muted ?? false);
      this.#complain(problem as Problem);
      return false;
    }
  }

  #complain(problem: Problem): void {
    const title = m.problem_title();
    const text = problem_text(problem);
    this.#toast_id += 1;
    const id = this.#toast_id;
    this.toasts = [...this.toasts.filter((toast) => toast.text !== text), { id, title, text }].slice(-TOASTS_MOST);
    setTimeout(() => this.dismiss(id), TOAST_MS);
  }

  // --- coming and going -------------------------------------------------------------------------------------------

  #enter(agent: string): void {
    this.entry = { kind: 'signed_in', agent };
    const locks = 'locks' in navigator ? (navigator.locks as unknown as Locks) : undefined;
    this.#tabs = new OneTab(locks, `foredial-phone-${agent}`, (owner) => {
      this.owner = owner;
      if (owner === 'this_tab') this.#work(agent);
      else this.#rest();
    });
    void this.#tabs.claim();
  }

  #work(agent: string): void {
    const origin = location.origin.replace(/^http/, 'ws');
    this.phone = new JsSipPhone({
      agent,
      url: `${origin}/sip`,
      instance_id: prefs.instance_id(),
      raw_audio: prefs.raw_audio(),
      events: { changed: () => this.#phone_changed() },
    });
    void this.phone.use_microphone(prefs.microphone());
    void this.phone.use_speaker(prefs.speaker()).catch(() => prefs.set_speaker(null));
    this.#feed = new Feed(() => new WebSocket(`${origin}/api/v1/desk`) as unknown as Socket, {
      desk: (desk, received_ms) => this.#show(desk, received_ms),
      link: (link) => (this.link = link),
      refused: () => void this.check_session(),
    });
    this.#feed.start();
  }

  #rest(): void {
    this.#feed?.stop();
    this.#feed = null;
    this.phone?.leave();
    this.phone = null;
    this.desk = null;
    this.link = 'connecting';
    this.volume_moving_db = null;
  }

  #leave(ended: boolean): void {
    this.#rest();
    this.#tabs?.leave();
    this.#tabs = null;
    this.owner = 'unknown';
    drafts.forget();
    this.entry = { kind: 'signed_out', ended };
  }

  #hurry(): void {
    this.#feed?.hurry();
    this.phone?.hurry();
  }

  #watch_devices(): void {
    const again = () => this.phone_status.kind === 'blocked' && this.phone_status.trouble !== 'elsewhere' && this.phone?.take();
    navigator.mediaDevices?.addEventListener?.('devicechange', again);
    void navigator.permissions
      ?.query({ name: 'microphone' as PermissionName })
      .then((permission) => permission.addEventListener('change', () => permission.state === 'granted' && again()))
      .catch(() => undefined); // a browser that does not know this permission: the button remains
  }

  #phone_changed(): void {
    if (!this.phone) return;
    this.phone_status = this.phone.status;
    this.sound = this.phone.sound;
    this.remote = this.phone.remoteStream;
    this.local = this.phone.localStream;
  }

  // --- what the desk says -----------------------------------------------------------------------------------------

  #show(desk: Desk, received_ms: number): void {
    const before = this.desk;
    this.#clock.heard(desk.now_ms, received_ms);
    this.now_ms = this.#clock.now_ms(received_ms);
    if (desk.card?.token !== before?.card?.token) this.#turn_card(desk, before);
    this.desk = desk;
    if (!before) language.suggest(desk.agent.language);
    if (desk.seat.kind === 'browser' && this.phone_status.kind === 'off') this.phone?.take();
    this.phone?.mute(desk.state.kind === 'talking' && (desk.call?.muted ?? false));
    if (desk.call?.id !== before?.call?.id) this.volume_moving_db = null;
    const filled = filled_in(desk);
    if (filled && this.draft.disposition === null) this.edit_draft({ disposition: filled });
    if (before) this.#announce(before, desk);
    if (desk.state.kind === 'logged_out' && before) void this.check_session();
  }

  #turn_card(desk: Desk, before: Desk | null): void {
    this.picked_phone = null;
    if (!desk.card) {
      drafts.forget();
      this.draft = { ...EMPTY_DRAFT };
      return;
    }
    this.draft = drafts.load(desk.card.lead);
    if (before && desk.state.kind === 'previewing') {
      this.announcement = m.announce_card({ name: desk.card.name });
      if (document.hidden) chime.new_card();
    }
  }

  #announce(before: Desk, desk: Desk): void {
    const [was, is] = [before.call?.state, desk.call?.state];
    if (was === is) return;
    if (is === 'ringing' && desk.call?.direction === 'in') {
      this.announcement = m.announce_incoming({ name: this.#caller() });
      return;
    }
    if (is === 'ringing') this.announcement = m.announce_ringing();
    if (is === 'talking' && was !== 'held') this.announcement = m.announce_answered();
    if (is === 'ended') this.announcement = m.announce_ended({ result: result_name(desk.call?.result ?? 'connected') });
  }

  #tick(): void {
    this.now_ms = this.#clock.now_ms(Date.now());
    const desk = this.desk;
    document.title = this.#title();
    this.#ring(desk);
    if (desk?.state.kind === 'previewing' && this.#bell.due(this.now_ms, desk.card?.deadline_ms ?? desk.state.deadline_ms)) {
      chime.ten_seconds();
      this.announcement = m.announce_ten_seconds();
    }
  }

  /** An incoming call is heard until it is answered or over. */
  #ring(desk: Desk | null): void {
    if (desk?.state.kind !== 'ringing') {
      this.#rang_ms = 0;
      return;
    }
    const now_ms = Date.now();
    if (now_ms - this.#rang_ms < chime.RING_EVERY_MS) return;
    this.#rang_ms = now_ms;
    chime.ring();
  }

  #caller(): string {
    return this.desk?.card?.name || this.shown_phone?.display || m.caller_unknown();
  }

  #title(): string {
    const desk = this.desk;
    if (desk?.state.kind === 'ringing') return m.title_incoming({ name: this.#caller() });
    if (!this.in_call || !desk?.call) return m.app_name();
    const since = desk.call.answered_ms ?? desk.call.started_ms;
    return m.title_in_call({ time: duration(this.now_ms - since), name: desk.card?.name ?? '' });
  }

  async #measure(): Promise<void> {
    this.quality = (await this.phone?.quality().catch(() => null)) ?? null;
  }
}

export const app = new App();

// What browser tests look at. Nothing here that the page's own script could not reach anyway.
Object.defineProperty(window, 'foredial', {
  value: {
    get phone() {
      return app.phone;
    },
    get desk() {
      return app.desk;
    },
    get link() {
      return app.link;
    },
    get now_ms() {
      return app.now_ms;
    },
  },
});
