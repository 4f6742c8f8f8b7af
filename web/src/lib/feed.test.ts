import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Backoff } from './backoff';
import { Feed, REPLY_LIMIT_MS, RESEND_LIMIT_MS, type Link, type Socket } from './feed';
import type { Desk, Problem } from './protocol';

class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  sent: { id: number; command: { cmd: string; key?: string } }[] = [];
  closed = false;
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
  }
  desk(epoch: string, seq: number, name = `${epoch}${seq}`): void {
    this.onmessage?.({ data: JSON.stringify({ type: 'desk', epoch, seq, desk: { agent: { name } } }) });
  }
  reply(id: number, problem?: Problem): void {
    this.onmessage?.({ data: JSON.stringify(problem ? { type: 'reply', id, ok: false, problem } : { type: 'reply', id, ok: true }) });
  }
  breaks(): void {
    this.onclose?.();
  }
}

const DIAL = { cmd: 'dial', token: 1, key: 'k1' } as const;

function setup() {
  const sockets: FakeSocket[] = [];
  const desks: string[] = [];
  const links: Link[] = [];
  let refused = 0;
  const feed = new Feed(
    () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    {
      desk: (desk: Desk) => desks.push(desk.agent.name),
      link: (link) => links.push(link),
      refused: () => (refused += 1),
    },
    new Backoff(() => 0.5),
  );
  feed.start();
  return { feed, sockets, desks, links, last: () => sockets.at(-1)!, refused: () => refused };
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('desks', () => {
  test('an older desk never replaces a newer one, and a gap does no harm', () => {
    const { desks, last } = setup();
    last().desk('a', 5);
    last().desk('a', 4);
    last().desk('a', 5);
    last().desk('a', 9);
    expect(desks).toEqual(['a5', 'a9']);
  });

  test('after a restart of the switch its first desk counts, whatever its number', () => {
    const { desks, last } = setup();
    last().desk('a', 500);
    last().desk('b', 1);
    last().desk('b', 2);
    expect(desks).toEqual(['a500', 'b1', 'b2']);
  });

  test('the first desk after a break replaces everything, even with the number we have', () => {
    const { desks, last, links } = setup();
    last().desk('a', 7, 'before');
    last().breaks();
    vi.advanceTimersByTime(200);
    last().desk('a', 7, 'after');
    expect(desks).toEqual(['before', 'after']);
    expect(links).toEqual(['live', 'lost', 'live']);
  });

  test('garbage is ignored', () => {
    const { desks, last } = setup();
    last().onmessage?.({ data: 'not json' });
    last().onmessage?.({ data: new ArrayBuffer(4) });
    last().onmessage?.({ data: '{"type":"other"}' });
    expect(desks).toEqual([]);
  });

  test('a socket that was given up is not listened to', () => {
    const { feed, desks, sockets } = setup();
    const first = sockets[0]!;
    const listen = first.onmessage!;
    feed.hurry();
    listen({ data: JSON.stringify({ type: 'desk', epoch: 'a', seq: 1, desk: { agent: { name: 'late' } } }) });
    expect(desks).toEqual([]);
    expect(first.closed).toBe(true);
  });
});

describe('coming back', () => {
  test('it waits 0.2 s, then twice as long each time, up to 5 s', () => {
    const { sockets, last } = setup();
    const waits: number[] = [];
    for (let i = 0; i < 7; i += 1) {
      last().breaks();
      const before = Date.now();
      const count = sockets.length;
      while (sockets.length === count) vi.advanceTimersByTime(10);
      waits.push(Date.now() - before);
    }
    expect(waits).toEqual([200, 400, 800, 1600, 3200, 5000, 5000]);
  });

  test('a server that closes without a word makes the page ask whether it is still signed in', () => {
    const { last, refused } = setup();
    last().breaks();
    expect(refused()).toBe(1);
    vi.advanceTimersByTime(200);
    last().desk('a', 1);
    last().breaks();
    expect(refused()).toBe(1);
  });

  test('when the network returns it does not wait', () => {
    const { feed, sockets, last } = setup();
    for (let i = 0; i < 6; i += 1) {
      last().breaks();
      vi.advanceTimersByTime(5_000);
    }
    last().breaks();
    const count = sockets.length;
    feed.hurry();
    expect(sockets.length).toBe(count + 1);
  });

  test('a stopped feed stays stopped', () => {
    const { feed, sockets, last } = setup();
    last().breaks();
    feed.stop();
    vi.advanceTimersByTime(60_000);
    expect(sockets.length).toBe(1);
  });
});

describe('commands', () => {
  test('a reply settles its own command', async () => {
    const { feed, last } = setup();
    last().desk('a', 1);
    const first = feed.command({ cmd: 'ready' });
    const second = feed.command({ cmd: 'hold', on: true });
    const [a, b] = last().sent;
    last().reply(b!.id, { title: 'No', status: 409, rule: 'wrong_state' });
    last().reply(a!.id);
    await expect(first).resolves.toBeUndefined();
    await expect(second).rejects.toMatchObject({ rule: 'wrong_state' });
  });

  test('a fenced command survives a short break with the same key', async () => {
    const { feed, last } = setup();
    last().desk('a', 1);
    const done = feed.command(DIAL);
    last().breaks();
    vi.advanceTimersByTime(200);
    last().desk('a', 2);
    expect(last().sent.map((each) => each.command)).toEqual([DIAL]);
    last().reply(last().sent[0]!.id);
    await expect(done).resolves.toBeUndefined();
  });

  test('a click never dials seconds later', async () => {
    const { feed, last } = setup();
    last().desk('a', 1);
    const done = feed.command(DIAL);
    const outcome = expect(done).rejects.toMatchObject({ rule: 'not_sent' });
    last().breaks();
    vi.advanceTimersByTime(RESEND_LIMIT_MS + 100);
    last().desk('a', 2);
    expect(last().sent).toEqual([]);
    await outcome;
  });

  test('a command without a key is not repeated, because it might then hit another call', async () => {
    const { feed, last } = setup();
    last().desk('a', 1);
    const done = feed.command({ cmd: 'hang_up' });
    const outcome = expect(done).rejects.toMatchObject({ rule: 'not_sent' });
    last().breaks();
    vi.advanceTimersByTime(200);
    last().desk('a', 2);
    expect(last().sent).toEqual([]);
    await outcome;
  });

  test('silence means that the connection is dead', async () => {
    const { feed, links, last, sockets } = setup();
    last().desk('a', 1);
    const outcome = expect(feed.command({ cmd: 'mute', on: true })).rejects.toMatchObject({ rule: 'not_sent' });
    vi.advanceTimersByTime(REPLY_LIMIT_MS);
    await outcome;
    expect(links).toEqual(['live', 'lost']);
    vi.advanceTimersByTime(200);
    expect(sockets.length).toBe(2);
  });
});
