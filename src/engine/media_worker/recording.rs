//! Which legs are recorded, and where to. The recorder's thread does the rest.

use super::leg::{Leg, Tap};
use super::legs::Legs;
use super::plane::Moment;
use crate::engine::recorder::{Piece, RecorderDoor};
use crate::id::{CallId, LegId};
use crate::media::frame::ms_of;
use crate::media::packet::RtpHeader;
use crate::media::wave::Channel;
use std::collections::HashMap;
use std::path::PathBuf;

/// The longest packet that is taken, 120 ms.
const MUTED_BYTES_MAX: usize = 960;

pub struct Recordings {
    running: HashMap<CallId, Running>,
    recorder: RecorderDoor,
    /// Legs may know of a recording.
    tapped: bool,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    agent: Option<LegId>,
    customer: LegId,
    /// What the recorder would not take.
    gap_samples: u64,
}

impl Recordings {
    pub fn new(recorder: RecorderDoor) -> Recordings {
        Recordings {
            running: HashMap::new(),
            recorder,
            tapped: false,
        }
    }

    /// A call that is recorded already goes on in its file with these legs.
    pub fn record(
        &mut self,
        now: Moment,
        call: CallId,
        agent: Option<LegId>,
        customer: LegId,
        path: PathBuf,
    ) {
        let running = self.running.entry(call).or_insert_with(|| {
            self.recorder.begin(call, path, now.instant);
            Running {
                agent,
                customer,
                gap_samples: 0,
            }
        });
        running.agent = agent;
        running.customer = customer;
    }

    pub fn stop(&mut self, now: Moment, call: CallId) {
        if let Some(running) = self.running.remove(&call) {
            self.recorder
                .end(call, now.instant, ms_of(running.gap_samples));
        }
    }

    pub fn stop_all(&mut self, now: Moment) {
        for call in self.running.keys().copied().collect::<Vec<_>>() {
            self.stop(now, call);
        }
    }

    /// Writes down with each leg where it is recorded. After any change of legs or recordings.
    pub fn retap(&mut self, legs: &mut Legs) {
        if self.running.is_empty() && !std::mem::take(&mut self.tapped) {
            return;
        }
        self.tapped = !self.running.is_empty();
        for place in legs.places() {
            if let Some(leg) = legs.at(place) {
                leg.tap = None;
            }
        }
        for (call, running) in &self.running {
            let sides = [
                (running.agent, Channel::Left),
                (Some(running.customer), Channel::Right),
            ];
            for (id, channel) in sides {
                if let Some(leg) = id.and_then(|id| legs.named(id)) {
                    leg.tap = Some(Tap {
                        call: *call,
                        channel,
                    });
                }
            }
        }
    }

    pub fn tap(&mut self, now: Moment, leg: &Leg, header: &RtpHeader, payload: &[u8]) {
        let Some(Tap { call, channel }) = leg.tap else {
            return;
        };
        let mut scratch = [0; MUTED_BYTES_MAX];
        let payload = leg.voice.tapped(payload, &mut scratch);
        let (at, header, law) = (now.instant, *header, leg.voice.law());
        let piece = Piece {
            call,
            channel,
            at,
            header,
            law,
            payload,
        };
        if !self.recorder.voice(&piece)
            && let Some(running) = self.running.get_mut(&call)
        {
            running.gap_samples += payload.len() as u64;
        }
    }
}
