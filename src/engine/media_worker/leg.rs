//! One leg of a call as the media plane sees it.

use super::command::Source;
use super::trunk::Trunk;
use crate::id::{CallId, LegId};
use crate::media::bridge::{Outgoing, Voice};
use crate::media::opus::{Clock, Opus};
use crate::media::quality::Reception;
use crate::media::rtcp::Ntp;
use crate::media::wave::Channel;
use std::time::Duration;

pub struct Leg {
    pub id: LegId,
    pub side: Side,
    /// What others hear of it.
    pub voice: Voice,
    pub hears: Source,
    /// Places of the legs that hear this one.
    pub listeners: Vec<usize>,
    /// Where in a looped sound it is.
    pub cursor: usize,
    pub out: Outgoing,
    pub tap: Option<Tap>,
    pub counts: Counts,
}

pub enum Side {
    Trunk(Box<Trunk>),
    Browser,
}

/// Where this leg's voice is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    pub call: CallId,
    pub channel: Channel,
}

/// What the leg has seen. Times are the worker's.
#[derive(Debug, Default)]
pub struct Counts {
    pub reception: Reception,
    pub octets_in: u64,
    pub packets_out: u64,
    pub octets_out: u64,
    pub reports_out: u64,
    pub refused: u64,
    pub heard_once: bool,
    /// Aimed, or RTP or RTCP came.
    pub heard: Duration,
    pub report_due: Duration,
    pub round_trip: Option<Duration>,
    pub lost_far: Option<u64>,
    /// The far side's last sender report and when it came.
    pub sender_report: Option<(Ntp, Duration)>,
    /// Loss at our last receiver report: what was expected, what came.
    pub reported: (u64, u64),
}

impl Leg {
    pub fn new(id: LegId, side: Side, voice: Voice, out: Outgoing) -> Leg {
        Leg {
            id,
            side,
            voice,
            hears: Source::Silence,
            listeners: vec![],
            cursor: 0,
            out,
            tap: None,
            counts: Counts::default(),
        }
    }

    /// What translates for it, if it speaks no G.711.
    pub fn opus(&mut self) -> Option<&mut Opus> {
        match &mut self.side {
            Side::Trunk(trunk) => trunk.opus(),
            Side::Browser => None,
        }
    }

    /// The clock of its packets.
    pub fn clock(&self) -> Clock {
        match &self.side {
            Side::Trunk(trunk) if trunk.speaks_opus() => Clock::Opus,
            Side::Trunk(_) | Side::Browser => Clock::House,
        }
    }

    /// Whether it is to be sent anything: a trunk leg that is not aimed yet is not.
    pub fn is_open_out(&self) -> bool {
        match &self.side {
            Side::Trunk(trunk) => trunk.target().is_some(),
            Side::Browser => true,
        }
    }
}
