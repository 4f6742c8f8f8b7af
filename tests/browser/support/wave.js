// A recording, measured: 16-bit stereo PCM, agent left, customer right (what the archive hands out).
import assert from 'node:assert/strict';

export class Wave {
  /** `bytes`: the file. */
  constructor(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const tag = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
    assert.equal(tag(0) + tag(8), 'RIFFWAVE');
    for (let at = 12; at + 8 <= bytes.length; at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) % 2)) {
      if (tag(at) === 'fmt ') {
        this.channels = view.getUint16(at + 10, true);
        this.rate_hz = view.getUint32(at + 12, true);
        assert.equal(view.getUint16(at + 22, true), 16);
      } else if (tag(at) === 'data') {
        this.#read(view, at + 8, Math.min(view.getUint32(at + 4, true), bytes.length - at - 8));
        return;
      }
    }
    assert.fail('no data in the WAV');
  }

  #read(view, start, length) {
    assert.equal(this.channels, 2);
    const frames = Math.floor(length / 4);
    this.agent = new Float64Array(frames);
    this.customer = new Float64Array(frames);
    for (let at = 0; at < frames; at++) {
      this.agent[at] = view.getInt16(start + 4 * at, true) / 32_768;
      this.customer[at] = view.getInt16(start + 4 * at + 2, true) / 32_768;
    }
    this.length_ms = (1_000 * frames) / this.rate_hz;
  }

  /** Levels in dB of full scale, as `support/sound.js` has them, of a span of one channel. */
  level(channel, hz, from_ms, to_ms) {
    const samples = this[channel].subarray(Math.round((from_ms * this.rate_hz) / 1_000), Math.round((to_ms * this.rate_hz) / 1_000));
    assert.ok(samples.length > 0, `nothing recorded from ${from_ms} to ${to_ms} of ${this.length_ms} ms`);
    const power = (value) => 10 * Math.log10(value + 1e-12);
    const tone = (frequency) => {
      const k = 2 * Math.cos((2 * Math.PI * frequency) / this.rate_hz);
      let [a, b] = [0, 0];
      for (const sample of samples) [a, b] = [sample + k * a - b, a];
      return power((2 * (a * a + b * b - k * a * b)) / samples.length ** 2);
    };
    return {
      all_db: power(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length),
      tone_db: Object.fromEntries(hz.map((frequency) => [frequency, tone(frequency)])),
    };
  }
}
