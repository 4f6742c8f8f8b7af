// What a page really plays and sends: Goertzel power of a stream, measured inside the browser.

/** Runs in the page. Levels in dBFS of each tone, and of everything together, over `ms` of the stream. */
async function measure({ of, hz, ms }) {
  const stream = of === 'remote' ? window.foredial.phone.remoteStream : of === 'local' ? window.foredial.phone.localStream : window.seat.remote;
  if (!stream) throw new Error(`no ${of} stream`);
  const context = new AudioContext();
  await context.resume();
  const source = context.createMediaStreamSource(stream);
  const tap = context.createScriptProcessor(4096, 1, 1);
  const samples = [];
  tap.onaudioprocess = ({ inputBuffer }) => samples.push(...inputBuffer.getChannelData(0));
  source.connect(tap);
  tap.connect(context.destination); // it outputs silence; unconnected it would not run
  await new Promise((done) => setTimeout(done, ms + 150));
  source.disconnect();
  tap.disconnect();
  const rate = context.sampleRate;
  await context.close();
  const kept = samples.slice(Math.floor(rate * 0.1)); // the jitter buffer's first samples are a ramp
  const db = (power) => 10 * Math.log10(power + 1e-12);
  const tone = (frequency) => {
    const k = 2 * Math.cos((2 * Math.PI * frequency) / rate);
    let [a, b] = [0, 0];
    for (const sample of kept) [a, b] = [sample + k * a - b, a];
    return db((2 * (a * a + b * b - k * a * b)) / kept.length ** 2); // mean power of that sine
  };
  return {
    samples: kept.length,
    all_db: db(kept.reduce((sum, sample) => sum + sample * sample, 0) / Math.max(1, kept.length)),
    tone_db: Object.fromEntries(hz.map((frequency) => [frequency, tone(frequency)])),
  };
}

/** What the agent hears. */
export const heard = (page, hz, ms = 1_000) => page.evaluate(measure, { of: 'remote', hz, ms });
/** What the microphone gives. */
export const spoken = (page, hz, ms = 1_000) => page.evaluate(measure, { of: 'local', hz, ms });
/** What arrives at the mock's answerer page. */
export const arrived = (page, hz, ms = 1_000) => page.evaluate(measure, { of: 'seat', hz, ms });

/** Asks again until the levels satisfy `enough`, or fails with the last ones seen. */
export async function until_sound(ask, enough, limit_ms = 10_000) {
  const end = Date.now() + limit_ms;
  for (;;) {
    const seen = await ask().catch((error) => ({ error: String(error) }));
    if (!seen.error && enough(seen)) return seen;
    if (Date.now() > end) throw new Error(`never heard: ${JSON.stringify(seen)}`);
  }
}
