// The desk's one WebSocket: whole desks come down, commands go up. It connects for ever (backoff.ts) and takes the
// switch's word for everything: after a break the first desk it gets replaces what was shown.
import { Backoff } from './backoff';
import type { Command, Desk, FromServer, Problem } from './protocol';

/** An unanswered command after this long means the connection is dead, whatever the browser believes. */
export const REPLY_LIMIT_MS = 4_000;
/** A command that carries a key may be sent again after a break, but no click dials somebody seconds later. */
export const RESEND_LIMIT_MS = 3_000;

export type Link = 'connecting' | 'live' | 'lost';

export interface Socket {
  send(text: string): void;
  close(): void;
  onopen: (() => void) | null;
  onclose: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
}

export type FeedEvents = {
  desk(desk: Desk, received_ms: number): void;
  link(link: Link): void;
  /** The server closed before it said anything: perhaps the session is over. */
  refused(): void;
};

type Waiting = {
  id: number;
  command: Command;
  asked_ms: number;
  sent: boolean;
  resolve: () => void;
  reject: (problem: Problem) => void;
  timer: ReturnType<typeof setTimeout> | undefined;
};

export const NOT_SENT: Problem = { title: 'No answer', status: 0, rule: 'not_sent' };

export class Feed {
  #open: () => Socket;
  #events: FeedEvents;
  #backoff: Backoff;
  #socket: Socket | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #link: Link = 'connecting';
  #epoch = '';
  #seq = -1;
  #id = 0;
  #waiting = new Map<number, Waiting>();

  constructor(open: () => Socket, events: FeedEvents, backoff = new Backoff()) {
    this.#open = open;
    this.#events = events;
    this.#backoff = backoff;
  }

  get link(): Link {
    return this.#link;
  }

  get seq(): number {
    return this.#seq;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#connect();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#retry);
    this.#drop();
    for (const waiting of [...this.#waiting.values()]) this.#fail(waiting, NOT_SENT);
    this.#seq = -1;
    this.#epoch = '';
  }

  /** The network changed: do not wait for the next attempt. */
  hurry(): void {
    if (!this.#running || this.#link === 'live') return;
    this.#backoff.reset();
    clearTimeout(this.#retry);
    this.#drop();
    this.#connect();
  }

  command(command: Command): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#running || (this.#link !== 'live' && !('key' in command))) {
        reject(NOT_SENT);
        return;
      }
      this.#id += 1;
      const waiting: Waiting = { id: this.#id, command, asked_ms: Date.now(), sent: false, resolve, reject, timer: undefined };
      this.#waiting.set(waiting.id, waiting);
      this.#send(waiting);
    });
  }

  #send(waiting: Waiting): void {
    clearTimeout(waiting.timer);
    waiting.timer = setTimeout(() => this.#overdue(waiting), REPLY_LIMIT_MS);
    if (this.#link !== 'live' || !this.#socket) return;
    waiting.sent = true;
    this.#socket.send(JSON.stringify({ type: 'command', id: waiting.id, command: waiting.command }));
  }

  #overdue(waiting: Waiting): void {
    this.#fail(waiting, NOT_SENT);
    if (this.#link === 'live') this.#lost();
  }

  #fail(waiting: Waiting, problem: Problem): void {
    clearTimeout(waiting.timer);
    if (this.#waiting.delete(waiting.id)) waiting.reject(problem);
  }

  #connect(): void {
    const socket = this.#open();
    let heard = false;
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      if (this.#socket !== socket || typeof data !== 'string') return;
      const message = parse(data);
      if (!message) return;
      if (!heard && message.type === 'desk') {
        heard = true;
        this.#resync();
      }
      this.#hear(message);
    };
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      if (!heard) this.#events.refused();
      this.#lost();
    };
  }

  /** The first desk on a connection replaces everything, and what was asked during the break is asked again. */
  #resync(): void {
    this.#epoch = '';
    this.#seq = -1;
    this.#backoff.reset();
    this.#set_link('live');
    for (const waiting of [...this.#waiting.values()]) {
      const fresh = Date.now() - waiting.asked_ms <= RESEND_LIMIT_MS;
      if ('key' in waiting.command && fresh) this.#send(waiting);
      else this.#fail(waiting, NOT_SENT);
    }
  }

  #hear(message: FromServer): void {
    if (message.type === 'desk') {
      // Every message is a whole desk, so a gap costs nothing; only an older one must not win.
      if (message.epoch === this.#epoch && message.seq <= this.#seq) return;
      this.#epoch = message.epoch;
      this.#seq = message.seq;
      this.#events.desk(message.desk, Date.now());
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    if (!message.ok) {
      this.#fail(waiting, message.problem);
      return;
    }
    clearTimeout(waiting.timer);
    this.#waiting.delete(message.id);
    waiting.resolve();
  }

  #lost(): void {
    this.#drop();
    if (!this.#running) return;
    this.#set_link('lost');
    for (const waiting of [...this.#waiting.values()]) {
      if (!('key' in waiting.command)) this.#fail(waiting, NOT_SENT);
    }
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), this.#backoff.next_ms());
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onclose = socket.onmessage = null;
    socket.close();
  }

  #set_link(link: Link): void {
    if (this.#link === link) return;
    this.#link = link;
    this.#events.link(link);
  }
}

function parse(data: string): FromServer | null {
  try {
    const message = JSON.parse(data) as FromServer;
    return message.type === 'desk' || message.type === 'reply' ? message : null;
  } catch {
    return null;
  }
}
