/** A WAV file of a sine: 16 bit, mono. */
export function tone_wav({ hz, seconds, rate_hz = 8_000, amplitude = 0.3 }) {
  const count = Math.round(seconds * rate_hz);
  const wav = Buffer.alloc(44 + 2 * count);
  wav.write('RIFF', 0);
  wav.writeUInt32LE(36 + 2 * count, 4);
  wav.write('WAVEfmt ', 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(rate_hz, 24);
  wav.writeUInt32LE(2 * rate_hz, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write('data', 36);
  wav.writeUInt32LE(2 * count, 40);
  for (let i = 0; i < count; i += 1) wav.writeInt16LE(Math.round(32_767 * amplitude * Math.sin((2 * Math.PI * hz * i) / rate_hz)), 44 + 2 * i);
  return wav;
}
