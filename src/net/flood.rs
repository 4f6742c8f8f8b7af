//! The gate in front of the SIP sockets, shared by all of them: the rules are
//! [`crate::sip::guard::Gate`]'s, the clock and the lock are here. What it turns away costs no
//! parsing and no place in the queue.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::sip::Transport;
use crate::sip::guard::{
    AccessList, AddressBlock, Admission, Gate, Rate, SecurityEvent, SecurityNote,
};

/// Where the notes for the security log go.
pub type Say = fn(&SecurityNote);

pub struct Flood {
    gate: Mutex<Gate>,
    say: Say,
    denied: AtomicU64,
    flooding: AtomicU64,
    crowded_out: AtomicU64,
}

/// What was turned away since the start, in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnedAway {
    /// By the access list.
    pub denied: u64,
    /// Beyond their source's rate.
    pub flooding: u64,
    /// The queue was kept for trunks and for calls that are up.
    pub crowded_out: u64,
}

impl std::fmt::Debug for Flood {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Flood").finish_non_exhaustive()
    }
}

impl Flood {
    #[must_use]
    pub fn new(gate: Gate, say: Say) -> Flood {
        Flood {
            gate: Mutex::new(gate),
            say,
            denied: AtomicU64::new(0),
            flooding: AtomicU64::new(0),
            crowded_out: AtomicU64::new(0),
        }
    }

    /// Other rules from now on, for messages that come after.
    pub fn set_rules(&self, access: AccessList, strangers_rate: Rate, trusted_rate: Rate) {
        if let Ok(mut gate) = self.gate.lock() {
            gate.set_rules(access, strangers_rate, trusted_rate);
        }
    }

    /// Whose messages go before others': trunks and permitted callers.
    pub fn set_trusted(&self, trusted: Vec<AddressBlock>) {
        if let Ok(mut gate) = self.gate.lock() {
            gate.set_trusted(trusted);
        }
    }

    /// Whether a message that came whole may go on into a queue with `free` of `depth` places.
    pub fn admits(
        &self,
        transport: Transport,
        from: SocketAddr,
        message: &[u8],
        free: usize,
        depth: usize,
    ) -> bool {
        let admission = match self.gate.lock() {
            Ok(mut gate) => gate.admit(Instant::now(), from.ip(), message),
            // Only a panic inside the gate poisons it, and then nobody is kept out.
            Err(_) => return true,
        };
        match admission {
            Admission::Pass(lane) if lane.has_room(free, depth) => return true,
            Admission::Pass(_) => self.crowded_out.fetch_add(1, Ordering::Relaxed),
            Admission::Denied => self.denied.fetch_add(1, Ordering::Relaxed),
            Admission::Flooding { tell } => {
                if tell {
                    (self.say)(&SecurityNote {
                        event: SecurityEvent::Flood,
                        from,
                        transport,
                        user: None,
                        reason: "rate",
                        seconds: None,
                    });
                }
                self.flooding.fetch_add(1, Ordering::Relaxed)
            }
        };
        false
    }

    #[must_use]
    pub fn turned_away(&self) -> TurnedAway {
        TurnedAway {
            denied: self.denied.load(Ordering::Relaxed),
            flooding: self.flooding.load(Ordering::Relaxed),
            crowded_out: self.crowded_out.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_away_is_counted_by_reason() {
        let deny = vec!["198.51.100.0/24".parse().expect("a block")];
        let access = AccessList {
            allow: Vec::new(),
            deny,
        };
        let rate = Rate {
            messages_per_s: 1,
            burst: 2,
        };
        let gate = Gate::new(access, Vec::new(), rate, Rate::UNLIMITED);
        let flood = Flood::new(gate, |_| {});
        let ask = |from: &str, free| {
            let from = from.parse().expect("an address");
            flood.admits(Transport::Udp, from, b"INVITE sip:a@b SIP/2.0\r\n", free, 8)
        };
        assert!(!ask("198.51.100.1:5060", 8));
        assert!(ask("192.0.2.1:5060", 8));
        assert!(!ask("192.0.2.1:5060", 2), "kept for calls that are up");
        let turned_away = flood.turned_away();
        assert_eq!((turned_away.denied, turned_away.crowded_out), (1, 1));
        let passed = (0..100).filter(|_| ask("192.0.2.1:5060", 8)).count();
        assert!(passed < 10, "{passed}");
        assert!(flood.turned_away().flooding > 90);
    }

    #[test]
    fn rules_change_while_messages_come() {
        let rate = Rate {
            messages_per_s: 1,
            burst: 1,
        };
        let gate = Gate::new(AccessList::default(), Vec::new(), rate, Rate::UNLIMITED);
        let flood = Flood::new(gate, |_| {});
        let passed = || {
            let from = "192.0.2.1:5060".parse().expect("an address");
            (0..50)
                .filter(|_| flood.admits(Transport::Udp, from, b"BYE sip:a SIP/2.0\r\n", 8, 8))
                .count()
        };
        assert!(passed() < 5);
        flood.set_trusted(vec!["192.0.2.0/24".parse().expect("a block")]);
        assert_eq!(passed(), 50, "a trunk's from now on");
        flood.set_trusted(Vec::new());
        assert!(passed() < 5, "and no longer");
        flood.set_rules(AccessList::default(), Rate::UNLIMITED, Rate::UNLIMITED);
        assert_eq!(passed(), 50);
    }
}
