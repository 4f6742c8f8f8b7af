// How long to wait before the next attempt: 0.2 s, doubling to 5 s, ± 20 % so that a room full of desks does not
// come back in one wave after a restart.

export const FIRST_MS = 200;
export const MOST_MS = 5_000;

export class Backoff {
  #attempt = 0;
  #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  get attempt(): number {
    return this.#attempt;
  }

  next_ms(): number {
    const plain = Math.min(MOST_MS, FIRST_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    return Math.min(MOST_MS, Math.round(plain * (0.8 + 0.4 * this.#random())));
  }

  reset(): void {
    this.#attempt = 0;
  }
}
