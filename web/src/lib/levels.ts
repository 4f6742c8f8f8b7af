// How loud a stream is, for the meters: 0 (−60 dBFS or less) to 1 (full scale).

const FLOOR_DB = -60;

export function level_of(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const rms_db = 10 * Math.log10(sum / samples.length + 1e-12);
  return Math.min(1, Math.max(0, 1 - rms_db / FLOOR_DB));
}

let shared: AudioContext | null = null;

/** One context for meters and signals. It is suspended until the browser allows sound. */
export function audio_context(): AudioContext {
  shared ??= new AudioContext();
  if (shared.state === 'suspended') void shared.resume().catch(() => undefined);
  return shared;
}

export class Meter {
  #source: MediaStreamAudioSourceNode;
  #analyser: AnalyserNode;
  #samples: Float32Array<ArrayBuffer>;

  constructor(stream: MediaStream) {
    const context = audio_context();
    this.#source = context.createMediaStreamSource(stream);
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 1_024;
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source.connect(this.#analyser);
  }

  read(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return level_of(this.#samples);
  }

  close(): void {
    this.#source.disconnect();
  }
}
