// Deadlines are the server's; the page only shows them. `ServerClock` turns the page's clock into the server's.

export const BELL_AT_MS = 10_000;

export class ServerClock {
  #offset_ms = 0;

  /** Every desk tells the time; the smallest delay seen is the best estimate, so only jumps move it at once. */
  heard(server_now_ms: number, local_now_ms: number): void {
    const offset = server_now_ms - local_now_ms;
    const drift = offset - this.#offset_ms;
    this.#offset_ms = Math.abs(drift) > 1_000 ? offset : this.#offset_ms + drift / 4;
  }

  now_ms(local_now_ms: number): number {
    return local_now_ms + this.#offset_ms;
  }
}

export type Left = { left_ms: number; seconds: number; fraction: number; urgent: boolean };

/** What a countdown shows: whole seconds rounded up, so that "1" is the last second and "0" is over. */
export function left(now_ms: number, since_ms: number, deadline_ms: number): Left {
  const total_ms = Math.max(1, deadline_ms - since_ms);
  const left_ms = Math.max(0, deadline_ms - now_ms);
  return {
    left_ms,
    seconds: Math.ceil(left_ms / 1_000),
    fraction: Math.min(1, left_ms / total_ms),
    urgent: left_ms <= BELL_AT_MS,
  };
}

/** Rings once for every deadline that comes within ten seconds; an extended deadline is a new one. */
export class Bell {
  #rung: number | null = null;

  due(now_ms: number, deadline_ms: number | null): boolean {
    if (deadline_ms === null || this.#rung === deadline_ms) return false;
    const left_ms = deadline_ms - now_ms;
    if (left_ms > BELL_AT_MS || left_ms <= 0) return false;
    this.#rung = deadline_ms;
    return true;
  }
}
