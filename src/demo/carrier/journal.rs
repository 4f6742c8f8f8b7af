//! What the carrier wrote down: every message in order, every call with its state and audio.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::ear::{Ear, Heard};
use super::law::Law;
use super::lock;

/// Entries kept; older ones go first.
const ENTRIES_MAX: usize = 100_000;
/// Calls kept; older ones go first.
const CALLS_MAX: usize = 10_000;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Instant,
    /// Since the carrier started.
    pub at_ms: u64,
    pub call_id: String,
    /// As dialed, digits only; empty where no call is concerned.
    pub number: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A request came in. `repeated`: the same one had come before.
    Received {
        method: String,
        cseq: u32,
        repeated: bool,
    },
    /// A response to a request of ours came in.
    Response { status: u16, method: String },
    /// A response of ours went out; `repeated` as retransmissions do.
    Sent {
        status: u16,
        method: String,
        repeated: bool,
    },
    /// A response of ours was kept back, as the behaviour asked.
    Withheld { status: u16, method: String },
    /// A request of ours went out.
    Requested { method: String, repeated: bool },
    /// The dialog, or the attempt at one, is over.
    Ended(EndedBy),
}

/// Who ended a call, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The caller's BYE.
    CallerBye,
    /// Our BYE, answered or not.
    OurBye,
    /// The caller's CANCEL, in time.
    Cancelled,
    /// Our final status.
    Refused(u16),
    /// Our 200 was never acknowledged; we said BYE.
    NoAck,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    Ringing,
    /// `sends`: whether the agreed direction lets our voice out (false while held).
    Answered {
        acked: bool,
        sends: bool,
    },
    Ended {
        by: EndedBy,
    },
}

/// One call, as far as it went.
#[derive(Clone, Debug, PartialEq)]
pub struct CallReport {
    pub call_id: String,
    /// Our tag; tells forked answers apart.
    pub tag: String,
    /// As dialed, digits only.
    pub number: String,
    /// The From header.
    pub caller: String,
    pub state: CallState,
    /// All since the carrier started.
    pub invited_ms: u64,
    pub answered_ms: Option<u64>,
    pub ended_ms: Option<u64>,
    pub law: Option<Law>,
    /// RTP packets sent.
    pub spoken_packets: u64,
    pub heard: Heard,
}

/// A call's report while it grows: the signalling half here, the audio half in its ear.
pub(super) struct CallRecord {
    pub(super) report: CallReport,
    pub(super) sound: Arc<Mutex<Sound>>,
}

/// What the media task of a call has measured.
pub(super) struct Sound {
    pub(super) ear: Ear,
    pub(super) spoken_packets: u64,
}

pub(super) struct Journal {
    started: Instant,
    entries: VecDeque<Entry>,
    /// By our tag.
    calls: HashMap<String, CallRecord>,
    order: VecDeque<String>,
}

impl Journal {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            entries: VecDeque::new(),
            calls: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }

    pub(super) fn note(&mut self, now: Instant, call_id: &str, number: &str, what: What) {
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            at: now,
            at_ms: self.ms(now),
            call_id: call_id.to_owned(),
            number: number.to_owned(),
            what,
        });
    }

    pub(super) fn open(&mut self, record: CallRecord) {
        if self.order.len() == CALLS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.calls.remove(&oldest);
        }
        let tag = record.report.tag.clone();
        self.order.push_back(tag.clone());
        self.calls.insert(tag, record);
    }

    pub(super) fn change(&mut self, tag: &str, change: impl FnOnce(&mut CallReport)) {
        if let Some(record) = self.calls.get_mut(tag) {
            change(&mut record.report);
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    pub(super) fn calls(&self) -> Vec<CallReport> {
        let report = |record: &CallRecord| {
            let sound = lock(&record.sound);
            let mut report = record.report.clone();
            report.heard = sound.ear.heard();
            report.spoken_packets = sound.spoken_packets;
            report
        };
        self.order
            .iter()
            .filter_map(|tag| self.calls.get(tag))
            .map(report)
            .collect()
    }
}
