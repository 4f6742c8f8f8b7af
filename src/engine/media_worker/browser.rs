//! The one seam to the room `peer`: its socket, its datagrams, its deadlines.
//!
//! What a browser says is read under [`guarded`]. Which leg a panicking datagram belonged to is
//! not known here, so it is logged and dropped, and the others go on.

use super::plane::BUFFER_BYTES;
use crate::id::LegId;
use crate::media::g711::Law;
use crate::media::packet::RtpPacket;
use crate::peer::{PeerEvent, Peers, PeersConfig};
use crate::rtpio::Socket;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// All browser legs share it: half a second of a thousand of them.
const QUEUE_BYTES: usize = 4 << 20;

pub struct Browsers {
    pub socket: Socket,
    peers: Peers,
}

impl Browsers {
    pub fn bind(ip: IpAddr, port: u16, advertised: Vec<IpAddr>, seed: u64) -> io::Result<Browsers> {
        let socket = Socket::bind(SocketAddr::new(ip, port), QUEUE_BYTES)?;
        let config = PeersConfig {
            local: socket.local(),
            advertised,
        };
        let peers = Peers::new(config, seed).map_err(io::Error::other)?;
        Ok(Browsers { socket, peers })
    }

    pub fn local(&self) -> SocketAddr {
        self.socket.local()
    }

    pub fn offer(
        &mut self,
        now: Instant,
        leg: LegId,
        sdp: &str,
        law: Law,
    ) -> Result<String, String> {
        let peers = &mut self.peers;
        let answer = guarded("offer", || peers.offer(now, leg, sdp, law)).map_or_else(
            || Err("a fault of ours".to_owned()),
            |answer| answer.map_err(|error| error.to_string()),
        );
        self.flush();
        answer
    }

    pub fn law(&self, leg: LegId) -> Option<Law> {
        self.peers.law(leg)
    }

    pub fn close(&mut self, now: Instant, leg: LegId) {
        self.peers.close(now, leg);
        self.flush();
    }

    pub fn send(&mut self, now: Instant, leg: LegId, packet: &RtpPacket) {
        self.peers.send(now, leg, packet);
        self.flush();
    }

    /// Reads at most `datagrams_max`; whether the socket is empty.
    pub fn read(&mut self, now: Instant, datagrams_max: usize) -> bool {
        let mut buffer = [0; BUFFER_BYTES];
        for _ in 0..datagrams_max {
            let Some((len, from)) = self.socket.receive(&mut buffer) else {
                return true;
            };
            let peers = &mut self.peers;
            guarded("datagram", || {
                peers.handle_datagram(now, from, &buffer[..len])
            });
        }
        false
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self
            .peers
            .poll_timeout()
            .is_some_and(|deadline| deadline <= now)
        {
            let peers = &mut self.peers;
            guarded("deadline", || peers.handle_timeout(now));
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.peers.poll_timeout()
    }

    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.peers.poll_event()
    }

    /// Sends what the legs have to say. What the kernel refuses is lost, as on any network.
    pub fn flush(&mut self) {
        while let Some((to, datagram)) = self.peers.poll_transmit() {
            let _ = self.socket.send(&datagram, to);
        }
    }
}

/// What `act` gives, or `None` if it panicked.
fn guarded<T>(what: &str, act: impl FnOnce() -> T) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(act));
    if outcome.is_err() {
        tracing::error!(what, "a browser leg's step panicked");
    }
    outcome.ok()
}
