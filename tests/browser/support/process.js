// Programs that a spec starts and ends itself, by their own process id.
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const BUILT = resolve(import.meta.dirname, '../../../target/debug/foredial');
/** The daemon under test, and beside it the far end, as cargo lays them out. */
export const FOREDIAL = resolve(process.env.FOREDIAL_BIN ?? BUILT);
export const CARRIER = join(dirname(FOREDIAL), 'examples/carrier');

const LOG_LINES_MOST = 400;
const ENDS_WITHIN_MS = 10_000;

const run_file = promisify(execFile);

function built(program) {
  if (!existsSync(program)) {
    throw new Error(`${program} is missing: cargo build --bin foredial --example carrier, or set FOREDIAL_BIN`);
  }
  return program;
}

/** Runs a program to its end; its output. */
export async function foredial(...line) {
  const { stdout } = await run_file(built(FOREDIAL), line);
  return stdout;
}

/** A running program with its output read line by line. */
export class Process {
  lines = [];
  log = [];
  #waiting = new Set();
  #child;
  ended;

  constructor(program, line, options = {}) {
    this.#child = spawn(built(program), line, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    this.ended = new Promise((done) => this.#child.once('close', (code, signal) => done(signal ?? code)));
    createInterface({ input: this.#child.stdout }).on('line', (text) => this.#read(text));
    createInterface({ input: this.#child.stderr }).on('line', (text) => {
      this.log.push(text);
      if (this.log.length > LOG_LINES_MOST) this.log.shift();
    });
  }

  get pid() {
    return this.#child.pid;
  }

  say(text) {
    this.#child.stdin.write(`${text}\n`);
  }

  /** The first line of output, past or to come, that `wanted` gives something for. */
  line(wanted, limit_ms = 20_000) {
    const found = this.lines.map(wanted).find(Boolean);
    if (found) return Promise.resolve(found);
    return new Promise((done, fail) => {
      const ask = { wanted, done: (value) => (clearTimeout(timer), done(value)) };
      const give_up = (why) => {
        this.#waiting.delete(ask);
        fail(new Error(`${why}; it said:\n${[...this.lines, ...this.log].join('\n')}`));
      };
      const timer = setTimeout(() => give_up('nothing of the kind was said'), limit_ms);
      void this.ended.then((how) => (clearTimeout(timer), give_up(`ended (${how})`)));
      this.#waiting.add(ask);
    });
  }

  #read(text) {
    this.lines.push(text);
    for (const ask of this.#waiting) {
      const found = ask.wanted(text);
      if (!found) continue;
      this.#waiting.delete(ask);
      ask.done(found);
    }
  }

  /** Closes its stdin, asks it to end by `signal`, and makes sure that it does. */
  async end(signal = 'SIGINT') {
    this.#child.stdin.end();
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), ENDS_WITHIN_MS);
    const how = await this.ended;
    clearTimeout(timer);
    return how;
  }
}
