// The phone over JsSIP: a session to sip:seat@foredial.invalid through /sip, taken again whenever it is lost. Every
// attempt gets a user agent of its own, so that nothing of a dead one can wake up later; the microphone stays open
// across attempts, so that the browser asks once.
import JsSIP from 'jssip';
import type { RTCSession } from 'jssip/lib/RTCSession';
import type { UA } from 'jssip/lib/UA';
import { Backoff } from './backoff';
import { microphone_constraints, type Phone, type PhoneEvents, type PhoneStatus, type Quality, type Sound, type Trouble } from './phone';

const SEAT = 'sip:seat@foredial.invalid';
/** From INVITE to a confirmed session. On the LAN it takes a tenth of a second. */
const TAKE_LIMIT_MS = 5_000;
/** Candidates that come later than this are not waited for: host candidates need milliseconds. */
const GATHER_LIMIT_MS = 300;
/** ICE says "disconnected" for a moment on every hiccup. */
const HICCUP_MS = 2_500;
/** A session that lasted this long was a good one: the next break starts again at the shortest wait. */
const STEADY_MS = 5_000;

export type PhoneSetup = { agent: string; url: string; instance_id: string; raw_audio: boolean; events: PhoneEvents };

type Attempt = { ua: UA; session: RTCSession | null; timers: Set<ReturnType<typeof setTimeout>>; over: boolean };

export class JsSipPhone implements Phone {
  #setup: PhoneSetup;
  #status: PhoneStatus = { kind: 'off' };
  #sound: Sound = 'unknown';
  #backoff = new Backoff();
  #attempt: Attempt | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #wanted = false;
  #muted = false;
  #microphone: string | null = null;
  #local: MediaStream | null = null;
  #remote: MediaStream | null = null;
  #speaker = new Audio();
  #byes: number[] = [];

  constructor(setup: PhoneSetup) {
    this.#setup = setup;
    this.#speaker.autoplay = true;
  }

  get status(): PhoneStatus {
    return this.#status;
  }
  get sound(): Sound {
    return this.#sound;
  }
  get remoteStream(): MediaStream | null {
    return this.#remote;
  }
  get localStream(): MediaStream | null {
    return this.#local;
  }

  take(): void {
    this.#wanted = true;
    this.#backoff.reset();
    this.#byes = [];
    clearTimeout(this.#retry);
    if (!this.#attempt && this.#status.kind !== 'asking_mic') void this.#try();
  }

  leave(): void {
    this.#wanted = false;
    clearTimeout(this.#retry);
    const attempt = this.#attempt;
    if (attempt) this.#end(attempt, true);
    this.#local?.getTracks().forEach((track) => track.stop());
    this.#local = null;
    this.#become({ kind: 'off' });
  }

  hurry(): void {
    if (this.#wanted && this.#status.kind === 'waiting') this.take();
  }

  mute(on: boolean): void {
    this.#muted = on;
    this.#local?.getAudioTracks().forEach((track) => (track.enabled = !on));
  }

  async enable_sound(): Promise<void> {
    if (!this.#remote) return;
    try {
      await this.#speaker.play();
      this.#heard('playing');
    } catch (error) {
      // AbortError: the stream was replaced meanwhile, and that play() reports for itself.
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.#heard('refused');
    }
  }

  async use_microphone(device_id: string | null): Promise<void> {
    this.#microphone = device_id;
    if (!this.#local) return;
    const fresh = await this.#open_microphone();
    if (!fresh) return;
    const old = this.#local;
    this.#local = fresh;
    this.mute(this.#muted);
    const sender = this.#attempt?.session?.connection?.getSenders().find((each) => each.track?.kind === 'audio');
    await sender?.replaceTrack(fresh.getAudioTracks()[0] ?? null);
    old.getTracks().forEach((track) => track.stop());
    this.#setup.events.changed();
  }

  async use_speaker(device_id: string | null): Promise<void> {
    await this.#speaker.setSinkId?.(device_id ?? '');
  }

  async quality(): Promise<Quality | null> {
    const connection = this.#attempt?.session?.connection;
    if (!connection || this.#status.kind !== 'live') return null;
    const quality: Quality = { rtt_ms: null, lost_percent: 0, jitter_ms: 0 };
    for (const report of (await connection.getStats()).values()) {
      if (report.type === 'inbound-rtp' && report.kind === 'audio') {
        const all = report.packetsReceived + report.packetsLost;
        quality.lost_percent = all > 0 ? Math.max(0, (100 * report.packetsLost) / all) : 0;
        quality.jitter_ms = 1_000 * report.jitter;
      }
      if (report.type === 'candidate-pair' && report.nominated && report.currentRoundTripTime !== undefined) {
        quality.rtt_ms = 1_000 * report.currentRoundTripTime;
      }
    }
    return quality;
  }

  async #try(): Promise<void> {
    if (!this.#local) {
      this.#become({ kind: 'asking_mic' });
      this.#local = await this.#open_microphone();
      if (!this.#local) return;
      if (!this.#wanted) return this.leave();
      this.mute(this.#muted);
    }
    this.#become({ kind: 'connecting', attempt: this.#backoff.attempt });
    this.#start();
  }

  async #open_microphone(): Promise<MediaStream | null> {
    if (!navigator.mediaDevices?.getUserMedia) return this.#block('insecure');
    const open = (device: string | null) =>
      navigator.mediaDevices.getUserMedia({ audio: microphone_constraints(this.#setup.raw_audio, device), video: false });
    try {
      const stream = await open(this.#microphone);
      stream.getAudioTracks()[0]?.addEventListener('ended', () => this.#unplugged(stream));
      return stream;
    } catch (error) {
      const name = error instanceof DOMException ? error.name : '';
      if (name === 'OverconstrainedError' && this.#microphone) {
        this.#microphone = null;
        return this.#open_microphone();
      }
      return this.#block(name === 'NotAllowedError' || name === 'SecurityError' ? 'mic_denied' : 'no_mic');
    }
  }

  #block(trouble: Trouble): null {
    this.#become({ kind: 'blocked', trouble });
    return null;
  }

  #unplugged(stream: MediaStream): void {
    if (this.#local === stream && this.#wanted) void this.use_microphone(null);
  }

  #start(): void {
    const { agent, url, instance_id } = this.#setup;
    const ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(url)],
      uri: `sip:${encodeURIComponent(agent)}@foredial.invalid`,
      instance_id,
      register: false,
      session_timers: false,
      user_agent: 'Foredial desk',
    });
    const attempt: Attempt = { ua, session: null, timers: new Set(), over: false };
    this.#attempt = attempt;
    this.#after(attempt, TAKE_LIMIT_MS, () => {
      if (this.#status.kind !== 'live') this.#lose(attempt, 'time-out');
    });
    ua.on('connected', () => {
      if (!attempt.over && !attempt.session) this.#call(attempt);
    });
    ua.on('disconnected', () => this.#lose(attempt, 'socket'));
    ua.start();
  }

  #call(attempt: Attempt): void {
    const session = attempt.ua.call(SEAT, {
      mediaStream: this.#local!, // #try() opened it before #start()
      mediaConstraints: { audio: true, video: false },
      pcConfig: { iceServers: [], bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' },
      extraHeaders: [`X-Foredial-Instance: ${this.#setup.instance_id}`],
    });
    attempt.session = session;
    let gathering = false;
    session.on('icecandidate', ({ ready }) => {
      if (!gathering) this.#after(attempt, GATHER_LIMIT_MS, ready);
      gathering = true;
    });
    this.#watch(attempt, session.connection);
    session.on('confirmed', () => {
      if (!attempt.over) this.#become({ kind: 'live', since_ms: Date.now() });
    });
    session.on('failed', ({ cause }) => this.#lose(attempt, cause));
    session.on('ended', ({ originator, message, cause }) => {
      if (String(originator) === 'remote') this.#said_goodbye(attempt, message?.getHeader?.('Reason') ?? '');
      else this.#lose(attempt, cause);
    });
  }

  #watch(attempt: Attempt, connection: RTCPeerConnection): void {
    connection.addEventListener('track', ({ track, streams }) => {
      if (attempt.over || track.kind !== 'audio') return;
      this.#play(streams[0] ?? new MediaStream([track]));
    });
    connection.addEventListener('connectionstatechange', () => {
      if (connection.connectionState === 'failed') this.#lose(attempt, 'media');
      if (connection.connectionState === 'disconnected') {
        this.#after(attempt, HICCUP_MS, () => {
          if (connection.connectionState !== 'connected') this.#lose(attempt, 'media');
        });
      }
    });
  }

  #play(stream: MediaStream): void {
    this.#remote = stream;
    this.#speaker.srcObject = stream;
    void this.enable_sound();
    this.#setup.events.changed();
  }

  /** The switch ended the session. When it says that the seat moved, or does it again and again, two desks would
   * otherwise take it from each other for ever. */
  #said_goodbye(attempt: Attempt, reason: string): void {
    const now = Date.now();
    this.#byes = [...this.#byes.filter((at) => now - at < 10_000), now];
    if (/replaced|elsewhere|taken/i.test(reason) || this.#byes.length >= 3) {
      this.#end(attempt, false);
      this.#block('elsewhere');
    } else {
      this.#lose(attempt, 'bye');
    }
  }

  #lose(attempt: Attempt, why: string): void {
    if (attempt.over) return;
    const steady = this.#status.kind === 'live' && Date.now() - this.#status.since_ms >= STEADY_MS;
    this.#end(attempt, why === 'media' || why === 'time-out');
    if (!this.#wanted) return;
    if (steady) this.#backoff.reset();
    const wait_ms = this.#backoff.next_ms();
    this.#become({ kind: 'waiting', retry_at_ms: Date.now() + wait_ms, why });
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#try(), wait_ms);
  }

  #end(attempt: Attempt, politely: boolean): void {
    attempt.over = true;
    attempt.timers.forEach((timer) => clearTimeout(timer));
    if (this.#attempt === attempt) this.#attempt = null;
    const connection = attempt.session?.connection;
    if (politely) attempt.ua.terminateSessions();
    attempt.ua.stop();
    connection?.close();
    this.#remote = null;
    this.#speaker.srcObject = null;
    this.#heard('unknown');
  }

  #after(attempt: Attempt, ms: number, then: () => void): void {
    attempt.timers.add(
      setTimeout(() => {
        if (!attempt.over) then();
      }, ms),
    );
  }

  #heard(sound: Sound): void {
    if (this.#sound === sound) return;
    this.#sound = sound;
    this.#setup.events.changed();
  }

  #become(status: PhoneStatus): void {
    this.#status = status;
    this.#setup.events.changed();
  }
}
