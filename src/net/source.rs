//! Which of our addresses a packet to a peer leaves from. Only the kernel's routing table knows;
//! what it said is kept for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long an answer holds: routes change seldom, and a stale one costs a wrong Via.
const FRESH: Duration = Duration::from_secs(30);
const PEERS_MAX: usize = 4_096;
/// Any port: nothing is sent there.
const ASKED_PORT: u16 = 9;

/// Asks the routing table and remembers.
#[derive(Debug, Default)]
pub struct Sources(Mutex<HashMap<IpAddr, (Instant, Option<IpAddr>)>>);

impl Sources {
    /// `None`: there is no way to this peer.
    #[must_use]
    pub fn toward(&self, peer: IpAddr) -> Option<IpAddr> {
        let now = Instant::now();
        // A panic elsewhere leaves the map whole: it is only ever replaced entry by entry.
        let mut known = match self.0.lock() {
            Ok(known) => known,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some((asked_at, source)) = known.get(&peer)
            && now.duration_since(*asked_at) < FRESH
        {
            return *source;
        }
        if known.len() >= PEERS_MAX {
            known.clear();
        }
        let source = ask(peer);
        known.insert(peer, (now, source));
        source
    }
}

/// Connecting a UDP socket sends nothing; it only asks the routing table.
#[must_use]
pub fn ask(peer: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((peer, ASKED_PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_peer_is_reached_from_the_loopback() {
        let sources = Sources::default();
        for _ in 0..2 {
            let peer = Ipv4Addr::new(127, 0, 22, 9).into();
            assert_eq!(sources.toward(peer), Some(Ipv4Addr::LOCALHOST.into()));
        }
    }
}
