//! What a media worker is told, and what it tells.

use crate::id::{CallId, LegId};
use crate::media::coding::Coding;
use crate::media::g711::Law;
use crate::peer::SrtpKeys;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What a leg hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Packets of silence: keeps a NAT's door open and the far side sure that we live.
    Silence,
    /// Another leg. While that one sends nothing, this one hears nothing.
    Leg(LegId),
    Music,
    Ringback,
    Busy,
}

/// An imperative from above. A leg that is not known is not an error: it may just have died.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaCommand {
    /// Binds `port` (RTP) and `port + 1` (RTCP) now. The fact is `PortTaken` when it cannot be.
    OpenTrunk {
        leg: LegId,
        port: u16,
    },
    /// From SDP, and again at each re-INVITE. Packets go to the signalled address until the first
    /// valid one comes from another (symmetric NAT); then the source is locked.
    AimTrunk {
        leg: LegId,
        remote: SocketAddr,
        coding: Coding,
        payload_type: u8,
        telephone_event: Option<u8>,
        send: bool,
        receive: bool,
        /// What SDES agreed on. With it nothing in the clear is sent, heard or latched on.
        srtp: Option<SrtpKeys>,
    },
    /// The fact is `BrowserAnswer` or `BrowserRefused`.
    OpenBrowser {
        leg: LegId,
        offer: String,
        law: Law,
    },
    /// The fact is `BrowserAnswer` or `BrowserRefused`.
    ReofferBrowser {
        leg: LegId,
        offer: String,
    },
    CloseLeg {
        leg: LegId,
    },
    /// Also before the other leg exists: it is heard from when it opens.
    Listen {
        leg: LegId,
        to: Source,
    },
    /// This leg's own voice becomes silence to everybody, the recording included.
    Mute {
        leg: LegId,
        on: bool,
    },
    /// The volume of this leg as others hear it; the recording does not change.
    Gain {
        leg: LegId,
        db: f32,
    },
    /// Left is the agent, right the customer. Again for the same call: the same file goes on with
    /// these legs, `path` is not read again. Without an agent (whose browser is gone) the left
    /// channel stays silent.
    Record {
        call: CallId,
        agent: Option<LegId>,
        customer: LegId,
        path: PathBuf,
    },
    /// The fact is `Recorded` or `RecordingFailed`, from the recorder.
    StopRecording {
        call: CallId,
    },
    /// Finishes every recording, closes every leg, ends the thread.
    Shutdown,
}

/// A fact from below.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaFact {
    PortTaken {
        leg: LegId,
        port: u16,
    },
    BrowserAnswer {
        leg: LegId,
        sdp: String,
    },
    BrowserRefused {
        leg: LegId,
        reason: String,
    },
    BrowserConnected {
        leg: LegId,
    },
    /// No consent for 15 s, no handshake, or the browser closed it. The leg stays until `CloseLeg`:
    /// a re-offer or returning checks may heal it, and then it is `BrowserConnected` again.
    BrowserLost {
        leg: LegId,
    },
    /// Once a leg.
    FirstPacket {
        leg: LegId,
    },
    /// A trunk leg that should receive has had neither RTP nor RTCP for 30 s since it was last
    /// aimed or heard. Told again every 5 s while it lasts; before the answer it means nothing.
    Stalled {
        leg: LegId,
        silent_ms: u64,
    },
    /// Every 5 s for each leg, and once more when it closes. Telemetry: may be dropped above.
    Quality {
        leg: LegId,
        quality: Quality,
    },
    /// `gap_ms`: how much the recorder could not keep up with, silence in the file.
    Recorded {
        call: CallId,
        path: PathBuf,
        duration_ms: u64,
        bytes: u64,
        gap_ms: u64,
        /// Of the finished file, in hexadecimal; `None` when it could not be read back.
        sha256: Option<String>,
    },
    /// The call goes on. What was written so far stays as `.part` until the next repair.
    RecordingFailed {
        call: CallId,
        reason: String,
    },
    /// The leg's step panicked; the leg is gone, its recording goes on without it.
    LegDied {
        leg: LegId,
        reason: String,
    },
}

/// Totals since the leg opened, as far as not said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    pub packets_in: u64,
    pub packets_out: u64,
    pub octets_in: u64,
    pub octets_out: u64,
    /// Expected and not come.
    pub lost: u64,
    /// RFC 3550 section 6.4.1, now.
    pub jitter_ms: f32,
    /// From the far side's last receiver report.
    pub round_trip_ms: Option<f32>,
    /// What the far side says it lost of ours.
    pub lost_far: Option<u64>,
    /// Datagrams on this leg's port that were no packet of its stream: malformed, from a
    /// stranger, or of a payload type nobody agreed on.
    pub refused: u64,
    /// E-model estimate for G.711, 1.0 to 4.5, over the last interval.
    pub mos: f32,
}

impl MediaFact {
    /// Telemetry may be lost on the way; everything else is a fact someone waits for.
    #[must_use]
    pub fn is_telemetry(&self) -> bool {
        matches!(self, MediaFact::Quality { .. })
    }
}

/// Where facts go. Called from the worker's and the recorder's thread; must not wait.
pub type FactSink = Arc<dyn Fn(MediaFact) + Send + Sync>;
