// The carrier behind the trunk, seen from its own side: examples/carrier.rs.
import { CARRIER, Process } from './process.js';

const SILENCE = 1e-6;
const LEVEL_MS = 100;

export const db = (amplitude) => 20 * Math.log10(Math.max(amplitude, SILENCE));

export class FarEnd {
  #process;
  #answers = new Map();
  #next_id = 1;
  #listen_hz;

  static async start({ voice_hz, listen_hz, answer_after_ms = 300, crm_delay_ms = 0 }) {
    const far_end = new FarEnd();
    far_end.#listen_hz = listen_hz;
    far_end.#process = new Process(CARRIER, []);
    far_end.#process.say(JSON.stringify({ voice_hz, listen_hz, answer_after_ms, crm_delay_ms }));
    const { sip, crm } = await far_end.#process.line((text) => JSON.parse(text));
    return Object.assign(far_end, { sip, crm });
  }

  async stop() {
    await this.#process.end();
  }

  async #ask(ask) {
    const id = this.#next_id++;
    this.#process.say(JSON.stringify({ id, ask }));
    const reply = await this.#process.line((text) => {
      const line = JSON.parse(text);
      return line.id === id && line;
    });
    this.#process.lines.length = 0;
    return reply;
  }

  /** Every call to `number` (digits only), oldest first, and the carrier's own time. */
  async calls(number) {
    const { answer, now_ms } = await this.#ask({ ask: 'calls', number });
    return { calls: answer, now_ms };
  }

  /** What was said about `number`, one text a message, such as `< INVITE`; retransmissions left out. */
  async journal(number) {
    const { answer } = await this.#ask({ ask: 'journal', number });
    return answer.filter(({ repeated }) => !repeated).map(({ what }) => what);
  }

  async count(number, message) {
    return (await this.journal(number)).filter((what) => what === message).length;
  }

  hang_up(call_id) {
    return this.#ask({ ask: 'hang_up', call_id });
  }

  answer(number, after_ms) {
    return this.#ask({ ask: 'answer', number, after_ms });
  }

  ring_out(number) {
    return this.#ask({ ask: 'ring_out', number });
  }

  /** Asks again until `enough` gives something for the calls to `number`. */
  async until(number, enough, what, limit_ms = 10_000) {
    const end = Date.now() + limit_ms;
    for (;;) {
      const { calls, now_ms } = await this.calls(number);
      const found = enough(calls, now_ms);
      if (found) return found;
      if (Date.now() > end) {
        const seen = calls.map(({ heard, ...call }) => ({ ...call, heard: { ...heard, levels: heard.levels.slice(-5) } }));
        throw new Error(`the carrier never saw: ${what}; it saw ${JSON.stringify(seen)}`);
      }
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  async until_journal(number, message, limit_ms = 10_000) {
    const end = Date.now() + limit_ms;
    for (;;) {
      const journal = await this.journal(number);
      if (journal.includes(message)) return journal;
      if (Date.now() > end) throw new Error(`no ${message} for ${number}: ${journal.join(', ')}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  /** What the last call to `number` hears from now on, over `ms`: mean levels in dB of full scale. */
  async hears(number, ms = 600) {
    const { now_ms: from_ms } = await this.calls(number);
    const levels = await this.until(
      number,
      (calls, now_ms) => {
        const heard = calls.at(-1)?.heard.levels.filter(({ at_ms }) => at_ms >= from_ms) ?? [];
        return (heard.length * LEVEL_MS >= ms || now_ms > from_ms + 3 * ms) && heard;
      },
      `${ms} ms of sound`,
    );
    return this.#mean(levels);
  }

  #mean(levels) {
    const mean = (pick) => levels.reduce((sum, level) => sum + pick(level), 0) / Math.max(1, levels.length);
    const power = mean(({ rms }) => rms * rms);
    return {
      ms: levels.length * LEVEL_MS,
      all_db: 10 * Math.log10(power + SILENCE ** 2),
      tone_db: Object.fromEntries(this.#listen_hz.map((hz, at) => [hz, db(mean(({ tones }) => tones[at]))])),
    };
  }
}
