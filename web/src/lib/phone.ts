// The agent's phone as the page sees it: one long audio session for the whole shift. The page never dials a customer
// with it; calls attach to it on the switch.

export type Trouble = 'mic_denied' | 'no_mic' | 'insecure' | 'elsewhere';

export type PhoneStatus =
  | { kind: 'off' }
  | { kind: 'asking_mic' }
  | { kind: 'connecting'; attempt: number }
  | { kind: 'live'; since_ms: number }
  | { kind: 'waiting'; retry_at_ms: number; why: string }
  | { kind: 'blocked'; trouble: Trouble };

/** Whether the browser lets the page be heard: `refused` until a click. */
export type Sound = 'unknown' | 'playing' | 'refused';

export type Quality = { rtt_ms: number | null; lost_percent: number; jitter_ms: number };

export type PhoneEvents = { changed(): void };

export interface Phone {
  readonly status: PhoneStatus;
  readonly sound: Sound;
  readonly remoteStream: MediaStream | null;
  readonly localStream: MediaStream | null;
  take(): void;
  leave(): void;
  hurry(): void;
  mute(on: boolean): void;
  enable_sound(): Promise<void>;
  use_microphone(device_id: string | null): Promise<void>;
  use_speaker(device_id: string | null): Promise<void>;
  quality(): Promise<Quality | null>;
}

/** Tests send pure tones, which a browser's speech clean-up would take for noise. */
export function microphone_constraints(raw: boolean, device_id: string | null): MediaTrackConstraints {
  return {
    echoCancellation: !raw,
    noiseSuppression: !raw,
    autoGainControl: !raw,
    channelCount: 1,
    ...(device_id ? { deviceId: { exact: device_id } } : {}),
  };
}
