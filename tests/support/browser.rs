//! A browser's half of a leg: a `webrtc` peer connection that offers audio as Chromium does (Opus
//! first, G.711, telephone-event), speaks a tone and listens.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription,
};
use webrtc::rtp_transceiver::RTCRtpTransceiverDirection;

use super::ear::{Arrival, Heard, Law, PACKET_SAMPLES, Tone};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How loud it speaks: the peak of 16-bit samples.
pub const AMPLITUDE: f64 = 8_000.0;
/// Nothing on loopback takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

const UNPOISONED: &str = "nothing panics while holding it";

/// Dropping it is going away without a word: no BYE, no close_notify.
pub struct Browser {
    connection: Arc<dyn PeerConnection>,
    tone_hz: Arc<AtomicU32>,
    heard: Arc<Mutex<Heard>>,
    gathered: watch::Receiver<bool>,
    state: watch::Receiver<RTCPeerConnectionState>,
    /// The tasks that speak and listen: they would keep the connection alive.
    tasks: Tasks,
}

type Tasks = Arc<Mutex<Vec<AbortHandle>>>;

struct Events {
    tasks: Tasks,
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
    heard: Arc<Mutex<Heard>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let listening = tokio::spawn(listen(track, self.heard.clone()));
        self.tasks
            .lock()
            .expect(UNPOISONED)
            .push(listening.abort_handle());
    }
}

impl Browser {
    /// A browser on 127.0.0.1 with a microphone, silent until told to speak. It offers PCMU.
    pub async fn new() -> Result<Self, Failure> {
        Self::speaking(Law::Mu).await
    }

    /// One that offers this law only.
    pub async fn speaking(law: Law) -> Result<Self, Failure> {
        let (gathered_tx, gathered) = watch::channel(false);
        let (state_tx, state) = watch::channel(RTCPeerConnectionState::New);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let tasks = Tasks::default();
        let events = Events {
            tasks: tasks.clone(),
            gathered: gathered_tx,
            state: state_tx,
            heard: heard.clone(),
        };
        let connection: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_media_engine(codecs()?)
                .with_handler(Arc::new(events))
                .with_udp_addrs(vec!["127.0.0.1:0"])
                // Only a connection on a reactor of its own ends when it is dropped.
                .with_dedicated_reactor_pool_size(2)
                .build()
                .await?,
        );
        let ssrc = rand::random::<u32>();
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            "microphone".into(),
            "audio".into(),
            "microphone".into(),
            RtpCodecKind::Audio,
            vec![RTCRtpEncodingParameters {
                rtp_coding_parameters: RTCRtpCodingParameters {
                    ssrc: Some(ssrc),
                    ..RTCRtpCodingParameters::default()
                },
                codec: codec(law.name(), 8_000, 0),
                ..RTCRtpEncodingParameters::default()
            }],
        )));
        connection.add_track(track.clone()).await?;
        let tone_hz = Arc::new(AtomicU32::new(0));
        let speaking = tokio::spawn(speak(track, law, ssrc, tone_hz.clone()));
        tasks
            .lock()
            .expect(UNPOISONED)
            .push(speaking.abort_handle());
        Ok(Browser {
            connection,
            tone_hz,
            heard,
            gathered,
            state,
            tasks,
        })
    }

    /// The offer with all candidates, as JsSIP puts it into its INVITE.
    pub async fn offer(&self) -> Result<String, Failure> {
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer).await?;
        self.described().await
    }

    /// The answer to the far side's offer.
    pub async fn answer(&self, offer: &str) -> Result<String, Failure> {
        let offer = RTCSessionDescription::offer(offer.to_owned())?;
        self.connection.set_remote_description(offer).await?;
        let answer = self.connection.create_answer(None).await?;
        self.connection.set_local_description(answer).await?;
        self.described().await
    }

    async fn described(&self) -> Result<String, Failure> {
        let mut gathered = self.gathered.clone();
        tokio::time::timeout(PATIENCE, gathered.wait_for(|gathered| *gathered)).await??;
        Ok(self
            .connection
            .local_description()
            .await
            .ok_or("no local description")?
            .sdp)
    }

    pub async fn accept(&self, answer: &str) -> Result<(), Failure> {
        let answer = RTCSessionDescription::answer(answer.to_owned())?;
        self.connection.set_remote_description(answer).await?;
        Ok(())
    }

    /// For the next offer: sendrecv, or sendonly and inactive to hold.
    pub async fn set_direction(
        &self,
        direction: RTCRtpTransceiverDirection,
    ) -> Result<(), Failure> {
        let transceivers = self.connection.get_transceivers().await;
        transceivers
            .first()
            .ok_or("no transceiver")?
            .set_direction(direction)
            .await?;
        Ok(())
    }

    /// The next offer restarts ICE, as after a change of network.
    pub async fn restart_ice(&self) -> Result<(), Failure> {
        Ok(self.connection.restart_ice().await?)
    }

    /// Until ICE and DTLS are up.
    pub async fn connected(&self) -> Result<(), Failure> {
        let mut state = self.state.clone();
        let connected = state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
        tokio::time::timeout(PATIENCE, connected).await??;
        Ok(())
    }

    /// From now on this tone; 0 is digital silence, as a muted track sends it.
    pub fn speak(&self, hz: u32) {
        self.tone_hz.store(hz, Ordering::Relaxed);
    }

    /// All that was heard so far.
    pub fn heard(&self) -> Heard {
        self.heard.lock().expect(UNPOISONED).clone()
    }

    /// Forgets what was heard, to measure from here.
    pub fn listen_anew(&self) {
        *self.heard.lock().expect(UNPOISONED) = Heard::default();
    }

    /// Listens for this long, from now on.
    pub async fn hear(&self, window: Duration) -> Heard {
        self.listen_anew();
        tokio::time::sleep(window).await;
        self.heard()
    }

    /// Until this tone is heard at half the loudness it is spoken with, or not.
    pub async fn hears(&self, hz: f64) -> bool {
        let window = Duration::from_millis(200);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let heard = self.heard();
            if heard.samples.len() >= 1_600 && heard.amplitude(hz, window) > AMPLITUDE / 2.0 {
                return true;
            }
        }
        false
    }

    /// Leaves with a close_notify.
    pub async fn close(self) -> Result<(), Failure> {
        Ok(self.connection.close().await?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        for task in self.tasks.lock().expect(UNPOISONED).drain(..) {
            task.abort();
        }
    }
}

async fn speak(track: Arc<TrackLocalStaticRTP>, law: Law, ssrc: u32, tone_hz: Arc<AtomicU32>) {
    let mut tone = Tone::default();
    let (mut sequence, mut timestamp) = (rand::random::<u16>(), rand::random::<u32>());
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        let hz = f64::from(tone_hz.load(Ordering::Relaxed));
        let payload: Vec<u8> = tone
            .packet(hz, AMPLITUDE)
            .into_iter()
            .map(|sample| law.encode(sample))
            .collect();
        let header = rtc::rtp::Header {
            version: 2,
            payload_type: law.payload_type(),
            sequence_number: sequence,
            timestamp,
            ssrc,
            ..rtc::rtp::Header::default()
        };
        // Before the handshake and while held nothing can be sent; the microphone runs on.
        let _ = track
            .write_rtp(rtc::rtp::Packet {
                header,
                payload: payload.into(),
            })
            .await;
        sequence = sequence.wrapping_add(1);
        timestamp = timestamp.wrapping_add(PACKET_SAMPLES as u32);
    }
}

async fn listen(track: Arc<dyn TrackRemote>, heard: Arc<Mutex<Heard>>) {
    while let Some(event) = track.poll().await {
        let TrackRemoteEvent::OnRtpPacket(packet) = event else {
            continue;
        };
        heard.lock().expect(UNPOISONED).hear(&Arrival {
            at: Instant::now(),
            payload_type: packet.header.payload_type,
            sequence: packet.header.sequence_number,
            marker: packet.header.marker,
            ssrc: packet.header.ssrc,
            payload: &packet.payload,
        });
    }
}

fn codecs() -> Result<MediaEngine, Failure> {
    let mut engine = MediaEngine::default();
    let offered = [
        ("audio/opus", 48_000, 2, 111),
        ("audio/PCMU", 8_000, 0, 0),
        ("audio/PCMA", 8_000, 0, 8),
        ("audio/telephone-event", 48_000, 0, 110),
        ("audio/telephone-event", 8_000, 0, 126),
    ];
    for (name, clock_hz, channels, payload_type) in offered {
        let rtp_codec = codec(name, clock_hz, channels);
        let parameters = RTCRtpCodecParameters {
            rtp_codec,
            payload_type,
        };
        engine.register_codec(parameters, RtpCodecKind::Audio)?;
    }
    Ok(engine)
}

fn codec(name: &str, clock_rate: u32, channels: u16) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: name.to_owned(),
        clock_rate,
        channels,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: Vec::new(),
    }
}
