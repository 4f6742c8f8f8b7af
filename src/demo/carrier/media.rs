//! The audio of one call: a socket, a voice on a 20 ms beat, an ear (RFC 3550, 3551).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::ear::Packet;
use super::journal::Sound;
use super::law::Law;
use super::lock;
use super::voice::{Speaker, Voice};

const FRAME_SAMPLES: usize = 160;
const FRAME: Duration = Duration::from_millis(20);
/// Tries to find an even port whose odd neighbour is free as well.
const PORT_TRIES_MAX: usize = 64;
/// The longest packet listened to.
const PACKET_BYTES_MAX: usize = 2_048;
/// How much of what was heard an echo may be behind, in samples.
const ECHO_SAMPLES_MAX: usize = 1_600;

/// What the call's signalling has agreed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flow {
    /// Nothing yet: incoming packets are counted as foreign, nothing leaves.
    Silent,
    Ringing(Stream),
    Talking(Stream),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stream {
    /// `None`: our voice may not go out.
    pub(super) to: Option<SocketAddr>,
    pub(super) law: Law,
    pub(super) telephone_event: Option<u8>,
}

/// A running media task; it ends when this is dropped.
pub(super) struct Media {
    pub(super) local: SocketAddr,
    flow: watch::Sender<Flow>,
    task: JoinHandle<()>,
}

impl Media {
    /// `seed` fixes SSRC and the first sequence number and timestamp.
    pub(super) fn open(
        ip: IpAddr,
        voice: Voice,
        seed: u64,
        started: Instant,
        sound: Arc<Mutex<Sound>>,
    ) -> io::Result<Media> {
        let (rtp, rtcp) = bind_pair(ip)?;
        let local = rtp.local_addr()?;
        rtp.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(rtp)?;
        let (flow, changes) = watch::channel(Flow::Silent);
        let mouth = Mouth::new(voice, seed);
        let task = Talk {
            socket,
            _rtcp: rtcp,
            mouth,
            started,
            sound,
        };
        let task = tokio::spawn(task.run(changes));
        Ok(Media { local, flow, task })
    }

    pub(super) fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 3550 11: RTP even, RTCP the odd port above. RTCP is not read; the port is only held so
/// that nobody else's packets come from it.
fn bind_pair(ip: IpAddr) -> io::Result<(StdSocket, StdSocket)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES_MAX {
        let first = StdSocket::bind((ip, 0))?;
        let port = first.local_addr()?.port();
        match StdSocket::bind((ip, port ^ 1)) {
            Ok(second) if port & 1 == 0 => return Ok((first, second)),
            Ok(second) => return Ok((second, first)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

struct Talk {
    socket: UdpSocket,
    _rtcp: StdSocket,
    mouth: Mouth,
    started: Instant,
    sound: Arc<Mutex<Sound>>,
}

impl Talk {
    async fn run(mut self, changes: watch::Receiver<Flow>) {
        let mut packet = [0; PACKET_BYTES_MAX];
        let mut beat = tokio::time::interval(FRAME);
        // A late beat is made up for at once: the sender's clock must not drift.
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    let flow = *changes.borrow();
                    if let Some((to, bytes)) = self.mouth.next_packet(flow) {
                        lock(&self.sound).spoken_packets += 1;
                        // ECONNREFUSED of an earlier packet: the far end may not be up yet.
                        let _ = self.socket.send_to(&bytes, to).await;
                    }
                }
                received = self.socket.recv_from(&mut packet) => {
                    if let Ok((length, _)) = received {
                        let flow = *changes.borrow();
                        self.hear(flow, &packet[..length]);
                    }
                }
            }
        }
    }

    fn hear(&mut self, flow: Flow, bytes: &[u8]) {
        let now = Instant::now();
        let at_ms = now.saturating_duration_since(self.started).as_millis() as u64;
        let mut sound = lock(&self.sound);
        let (Flow::Ringing(stream) | Flow::Talking(stream)) = flow else {
            return sound.ear.handle_foreign();
        };
        match Packet::parse(bytes) {
            Some(packet) if packet.payload_type == stream.law.payload_type() => {
                sound.ear.handle_audio(now, at_ms, stream.law, &packet);
                self.mouth.overhear(packet.payload);
            }
            Some(packet) if Some(packet.payload_type) == stream.telephone_event => {
                sound.ear.handle_event(now, at_ms, &packet);
            }
            _ => sound.ear.handle_foreign(),
        }
    }
}

/// The sending side: a voice in packets.
struct Mouth {
    voice: Voice,
    speaker: Speaker,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    /// The next packet begins a talkspurt (RFC 3551 4.1).
    first: bool,
    /// Octets heard and not yet sent back.
    echo: Vec<u8>,
}

impl Mouth {
    fn new(voice: Voice, seed: u64) -> Self {
        let bytes = seed.to_be_bytes();
        Self {
            voice,
            speaker: Speaker::new(voice),
            sequence: u16::from_be_bytes([bytes[0], bytes[1]]),
            timestamp: u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]),
            ssrc: (seed as u32) | 1,
            first: true,
            echo: Vec::new(),
        }
    }

    fn overhear(&mut self, payload: &[u8]) {
        if self.voice == Voice::Echo && self.echo.len() + payload.len() <= ECHO_SAMPLES_MAX {
            self.echo.extend_from_slice(payload);
        }
    }

    /// One frame further; time passes for the voice even when nothing may be sent.
    fn next_packet(&mut self, flow: Flow) -> Option<(SocketAddr, Vec<u8>)> {
        let stream = match flow {
            Flow::Silent => return None,
            Flow::Ringing(stream) | Flow::Talking(stream) => stream,
        };
        let payload = self.frame(stream.law, matches!(flow, Flow::Ringing(_)));
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(FRAME_SAMPLES as u32);
        let Some(to) = stream.to else {
            self.first = true;
            return None;
        };
        let marker = if std::mem::take(&mut self.first) {
            0x80
        } else {
            0
        };
        let mut bytes = Vec::with_capacity(12 + payload.len());
        bytes.extend([0x80, stream.law.payload_type() | marker]);
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        Some((to, bytes))
    }

    fn frame(&mut self, law: Law, ringing: bool) -> Vec<u8> {
        if self.voice == Voice::Echo && self.echo.len() >= FRAME_SAMPLES && !ringing {
            return self.echo.drain(..FRAME_SAMPLES).collect();
        }
        let speaker = &mut self.speaker;
        let sample = |_| {
            law.encode(if ringing {
                speaker.ring()
            } else {
                speaker.speak()
            })
        };
        (0..FRAME_SAMPLES).map(sample).collect()
    }
}
