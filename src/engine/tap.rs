//! The tap: every SIP message in or out passes it, after decryption and in the order the loop
//! handles it. The last ones stay in memory, bounded in bytes; who listens gets them as they come.
//!
//! With nobody listening a message costs one copy into the ring. A listener that is slower than
//! the traffic loses messages and is told how many; it never holds up the loop. Messages carry
//! numbers and names, so only the admin API may hand them out, and none goes to a log. Keys of SRTP
//! are struck out before anybody gets a message.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::tally::Tally;
use crate::net::hep::HepSender;
use crate::now::{Now, UtcMs};
use crate::sdp::crypto;
use crate::sip::{Flow, Transport};

/// Messages a listener may be behind.
const LISTENER_MESSAGES_MAX: usize = 4_096;
/// Listeners at once; a further one takes the place of the oldest.
const LISTENERS_MAX: usize = 8;
/// What a message in the ring costs beside its bytes.
const MESSAGE_OVERHEAD_BYTES: usize = std::mem::size_of::<Heard>();

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    In,
    Out,
}

impl Way {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Way::In => "in",
            Way::Out => "out",
        }
    }
}

/// One message as it passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Counts from 1 since the start; a gap is what a listener has lost.
    pub number: u64,
    pub at: UtcMs,
    pub way: Way,
    pub transport: Transport,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub bytes: Bytes,
}

/// What a listener gets: the ring as it is, then everything after it.
#[derive(Debug)]
pub struct Listening {
    pub past: Vec<Heard>,
    pub live: mpsc::Receiver<Heard>,
    /// Messages this listener was too slow for.
    pub lost: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Listener {
    live: mpsc::Sender<Heard>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
pub struct Tap {
    ring: VecDeque<Heard>,
    ring_bytes: usize,
    ring_bytes_max: usize,
    listeners: Vec<Listener>,
    hep: Option<HepSender>,
    tally: Tally,
    passed: u64,
    lost: u64,
}

impl Tap {
    /// A ring of zero bytes keeps nothing.
    #[must_use]
    pub fn new(ring_bytes_max: usize, hep: Option<HepSender>) -> Tap {
        Tap {
            ring: VecDeque::new(),
            ring_bytes: 0,
            ring_bytes_max,
            listeners: Vec::new(),
            hep,
            tally: Tally::default(),
            passed: 0,
            lost: 0,
        }
    }

    /// A message passes. Keep-alives (RFC 5626 3.5.1) are no messages.
    pub fn message(&mut self, now: Now, way: Way, flow: &Flow, bytes: &[u8]) {
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return;
        }
        self.passed += 1;
        self.tally.count(way, bytes);
        let veiled = crypto::veiled(bytes);
        let bytes = &*veiled;
        if let Some(hep) = &mut self.hep {
            let (source, target) = match way {
                Way::In => (flow.remote, flow.local),
                Way::Out => (flow.local, flow.remote),
            };
            hep.send(now.utc, flow.transport, source, target, bytes);
        }
        if self.ring_bytes_max == 0 && self.listeners.is_empty() {
            return;
        }
        let heard = Heard {
            number: self.passed,
            at: now.utc,
            way,
            transport: flow.transport,
            local: flow.local,
            remote: flow.remote,
            bytes: Bytes::copy_from_slice(bytes),
        };
        self.tell(&heard);
        self.keep(heard);
    }

    /// What has passed, and what will.
    pub fn listen(&mut self) -> Listening {
        let (live, receiver) = mpsc::channel(LISTENER_MESSAGES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        self.listeners.retain(|one| !one.live.is_closed());
        if self.listeners.len() == LISTENERS_MAX {
            self.listeners.remove(0);
        }
        self.listeners.push(Listener {
            live,
            lost: Arc::clone(&lost),
        });
        Listening {
            past: self.ring.iter().cloned().collect(),
            live: receiver,
            lost,
        }
    }

    /// For `/metrics`: counts only.
    #[must_use]
    pub fn snapshot(&self) -> Value {
        let hep = self.hep.as_ref();
        json!({
            "messages": self.tally.snapshot(),
            "ring_bytes": self.ring_bytes,
            "ring_messages": self.ring.len(),
            "listeners": self.listeners.len(),
            "lost": self.lost,
            "hep_sent": hep.map(HepSender::sent),
            "hep_failed": hep.map(HepSender::failed),
        })
    }

    fn tell(&mut self, heard: &Heard) {
        let lost_here = &mut self.lost;
        self.listeners
            .retain(|one| match one.live.try_send(heard.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    one.lost.fetch_add(1, Ordering::Relaxed);
                    *lost_here += 1;
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            });
    }

    fn keep(&mut self, heard: Heard) {
        self.ring_bytes += cost(&heard);
        self.ring.push_back(heard);
        while self.ring_bytes > self.ring_bytes_max {
            let Some(oldest) = self.ring.pop_front() else {
                break;
            };
            self.ring_bytes -= cost(&oldest);
        }
    }
}

/// Messages for tests of what is built on the tap.
#[cfg(test)]
pub mod played {
    use super::*;

    const LOCAL: &str = "127.0.27.1:5060";

    pub fn heard(remote: &str, text: &str) -> Heard {
        Heard {
            number: 1,
            at: UtcMs(0),
            way: Way::In,
            transport: Transport::Udp,
            local: LOCAL.parse().unwrap(),
            remote: remote.parse().unwrap(),
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    /// A trace in which one message has passed.
    pub fn listening(text: &str) -> Listening {
        let mut tap = Tap::new(4_096, None);
        let heard = heard(LOCAL, text);
        tap.keep(heard);
        tap.listen()
    }
}

fn cost(heard: &Heard) -> usize {
    heard.bytes.len() + MESSAGE_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn now() -> Now {
        Now {
            instant: Instant::now(),
            utc: UtcMs(1_000),
        }
    }

    fn flow() -> Flow {
        Flow {
            id: 0,
            transport: Transport::Udp,
            local: "127.0.27.1:5060".parse().unwrap(),
            remote: "127.0.27.2:5060".parse().unwrap(),
        }
    }

    #[test]
    fn the_ring_keeps_the_last_messages_and_never_more_than_its_bytes() {
        let mut tap = Tap::new(3 * (100 + MESSAGE_OVERHEAD_BYTES), None);
        for byte in 0..10_u8 {
            tap.message(now(), Way::In, &flow(), &[byte + b'A'; 100]);
        }
        let kept: Vec<u64> = tap.listen().past.iter().map(|heard| heard.number).collect();
        assert_eq!(kept, [8, 9, 10]);
        assert_eq!(tap.snapshot()["ring_messages"], 3);
        // One that fits nowhere is not kept, and nothing else is either.
        tap.message(now(), Way::In, &flow(), &[b'Z'; 10_000]);
        assert_eq!(tap.snapshot()["ring_bytes"], 0);
    }

    #[test]
    fn a_slow_listener_loses_messages_is_told_how_many_and_holds_up_nobody() {
        let mut tap = Tap::new(0, None);
        let mut slow = tap.listen();
        for _ in 0..LISTENER_MESSAGES_MAX + 5 {
            tap.message(now(), Way::Out, &flow(), b"OPTIONS sip:a SIP/2.0\r\n\r\n");
        }
        assert_eq!(slow.lost.load(Ordering::Relaxed), 5);
        assert_eq!(slow.live.try_recv().unwrap().number, 1);
        assert_eq!(tap.snapshot()["lost"], 5);
        drop(slow);
        tap.message(now(), Way::Out, &flow(), b"OPTIONS sip:a SIP/2.0\r\n\r\n");
        assert_eq!(tap.snapshot()["listeners"], 0, "who is gone is forgotten");
    }

    #[test]
    fn nobody_reads_a_key() {
        let mut tap = Tap::new(4_096, None);
        let mut live = tap.listen();
        let text = "INVITE sip:a SIP/2.0\r\nContent-Length: 64\r\n\r\nm=audio 4 RTP/SAVP 0\r\n\
            a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0c2VjcmV0|2^20\r\na=sendrecv\r\n";
        tap.message(now(), Way::In, &flow(), text.as_bytes());
        let hidden = text.replace("c2VjcmV0c2VjcmV0", "****************");
        let hidden = hidden.replace("|2^20", "*****");
        assert_eq!(live.live.try_recv().unwrap().bytes, hidden.as_bytes());
        assert_eq!(tap.listen().past[0].bytes, hidden.as_bytes());
    }

    #[test]
    fn keep_alives_are_no_messages() {
        let mut tap = Tap::new(1_000, None);
        tap.message(now(), Way::In, &flow(), b"\r\n\r\n");
        assert!(tap.listen().past.is_empty());
    }

    #[test]
    fn a_ninth_listener_takes_the_place_of_the_first() {
        let mut tap = Tap::new(0, None);
        let mut all: Vec<Listening> = (0..=LISTENERS_MAX).map(|_| tap.listen()).collect();
        tap.message(now(), Way::In, &flow(), b"x");
        let heard: Vec<bool> = all
            .iter_mut()
            .map(|it| it.live.try_recv().is_ok())
            .collect();
        assert_eq!(heard.iter().filter(|heard| **heard).count(), LISTENERS_MAX);
        assert!(!heard[0]);
    }
}
