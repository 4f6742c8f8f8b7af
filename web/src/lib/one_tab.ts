// One tab owns the phone (Web Locks). The others wait in line and get it when that tab closes, or take it over.

export type Owner = 'unknown' | 'this_tab' | 'other_tab';

export interface Locks {
  request(name: string, options: { steal?: boolean; ifAvailable?: boolean; signal?: AbortSignal }, held: (lock: unknown) => Promise<void>): Promise<unknown>;
}

export class OneTab {
  #locks: Locks | undefined;
  #name: string;
  #changed: (owner: Owner) => void;
  #release: (() => void) | null = null;
  #queue: AbortController | null = null;
  #owner: Owner = 'unknown';
  #left = false;

  constructor(locks: Locks | undefined, name: string, changed: (owner: Owner) => void) {
    this.#locks = locks;
    this.#name = name;
    this.#changed = changed;
  }

  get owner(): Owner {
    return this.#owner;
  }

  async claim(): Promise<void> {
    // Without Web Locks (a plain-http address) there is no microphone either: nothing to fight over.
    if (!this.#locks) {
      this.#set('this_tab');
      return;
    }
    await this.#request({ ifAvailable: true });
  }

  async take_over(): Promise<void> {
    this.#queue?.abort();
    if (!this.#locks) return this.claim();
    await this.#request({ steal: true });
  }

  leave(): void {
    this.#left = true;
    this.#queue?.abort();
    this.#release?.();
    this.#release = null;
  }

  async #request(options: { steal?: boolean; ifAvailable?: boolean; signal?: AbortSignal }): Promise<void> {
    try {
      await this.#locks!.request(this.#name, options, async (lock) => {
        if (!lock) return;
        await new Promise<void>((release) => {
          this.#release = release;
          this.#set('this_tab');
        });
      });
    } catch {
      // AbortError: stolen by another tab, or we left the queue to steal it ourselves.
      if (options.signal?.aborted) return;
    }
    this.#release = null;
    if (!this.#left) this.#wait_in_line();
  }

  #wait_in_line(): void {
    this.#set('other_tab');
    this.#queue = new AbortController();
    void this.#request({ signal: this.#queue.signal });
  }

  #set(owner: Owner): void {
    if (this.#owner === owner) return;
    this.#owner = owner;
    this.#changed(owner);
  }
}
