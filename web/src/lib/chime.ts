// Short, soft signals made on the spot; no sound files.
import { audio_context } from './levels';

function note(at_s: number, hz: number, length_s: number, loudness: number): void {
  const context = audio_context();
  const start = context.currentTime + at_s;
  const tone = context.createOscillator();
  const gain = context.createGain();
  tone.frequency.value = hz;
  gain.gain.setValueAtTime(0, start);
  gain.gain.linearRampToValueAtTime(loudness, start + 0.012);
  gain.gain.exponentialRampToValueAtTime(0.0001, start + length_s);
  tone.connect(gain).connect(context.destination);
  tone.start(start);
  tone.stop(start + length_s + 0.02);
}

export function ten_seconds(): void {
  note(0, 880, 0.18, 0.16);
  note(0.22, 880, 0.18, 0.16);
}

export function new_card(): void {
  note(0, 523, 0.25, 0.08);
  note(0.12, 784, 0.35, 0.08);
}

/** One ring of an incoming call; again every RING_EVERY_MS while it rings. */
export function ring(): void {
  for (const at_s of [0, 0.5]) {
    note(at_s, 587, 0.4, 0.14);
    note(at_s + 0.08, 740, 0.35, 0.14);
  }
}

export const RING_EVERY_MS = 3_000;

export function test_tone(): void {
  [440, 554, 659].forEach((hz, i) => note(i * 0.18, hz, 0.3, 0.15));
}
