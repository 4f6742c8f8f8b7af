//! Browser legs, and SRTP for all legs: the only room that names the webrtc crates.
//!
//! [`Peers`] is every browser leg of one media worker behind one UDP port, without IO: the worker
//! owns the socket, hands datagrams in and takes datagrams out. It is ICE-lite (RFC 8445 2.5),
//! DTLS-SRTP (RFC 5763, 5764) and G.711 on the sans-IO parts of `rtc`: its STUN, DTLS and SRTP are
//! used, its peer connection is not, because that binds a leg to a socket of its own, costs three
//! times the time a packet, and believes any source once a pair is selected.
//!
//! What reaches what (RFC 7983):
//! - STUN goes to the leg its user name names, and counts only with that leg's MESSAGE-INTEGRITY;
//!   a check that passes makes its source an address of the leg.
//! - DTLS, SRTP and SRTCP are taken only from an address of a leg. Everything else is counted and
//!   dropped, so neither a stranger's ClientHello nor his RTP ever reaches a state machine.

mod description;
mod handshake;
mod ice;
mod leg;
mod srtp;
mod stun;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rtc::crypto::{RTCCryptoProvider, default_provider};

use crate::id::LegId;
use crate::media::g711::Law;
use crate::media::packet::RtpPacket;
use crate::sdp::SdpError;

pub use srtp::{Rejected, Srtp, SrtpKeys, Suite};

use description::Offer;
use handshake::Identity;
use leg::Leg;

/// Browser legs of one worker; a core carries about a thousand calls.
pub const LEGS_MAX: usize = 4_096;

/// Where the legs are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersConfig {
    /// The worker's bound socket.
    pub local: SocketAddr,
    /// The addresses browsers are told, with the socket's port. Empty: the socket's own.
    pub advertised: Vec<IpAddr>,
}

/// Why an offer is refused, or nothing can be offered at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("unreadable offer: {0}")]
    Unreadable(#[from] SdpError),
    #[error("no audio over DTLS-SRTP in the offer")]
    NoAudio,
    #[error("neither PCMU nor PCMA in the offer")]
    NoCommonCodec,
    #[error("the offer lacks {0}")]
    Lacks(&'static str),
    #[error("the re-offer changes {0}")]
    Changes(&'static str),
    #[error("too many browser legs")]
    TooManyLegs,
    #[error("no address to tell browsers")]
    NoAddress,
    #[error("cryptography: {0}")]
    Crypto(String),
}

/// A fact about a leg.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerEvent {
    /// Audio can flow: once after the handshake, and again after each `Lost` that healed.
    Connected { leg: LegId },
    /// No consent for 15 s, no handshake within 30 s of the offer, or the browser closed it. A
    /// re-offer (ICE restart) or returning checks may heal it; closing is the worker's decision.
    Lost { leg: LegId },
    /// An authenticated packet of the negotiated codec, its payload type that of RFC 3551.
    Rtp { leg: LegId, packet: RtpPacket },
}

/// Datagrams dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// DTLS, SRTP or SRTCP from an address no check came from.
    pub stranger: u64,
    /// STUN for no leg of ours, or with the wrong integrity.
    pub unauthenticated: u64,
    /// Not STUN, DTLS, RTP or RTCP, or broken.
    pub malformed: u64,
    /// SRTP or SRTCP whose tag is wrong, a replay, or before the handshake.
    pub undecipherable: u64,
    /// SRTCP that claims not to be encrypted (E=0): forgeable with rtc-srtp.
    pub unencrypted: u64,
    /// Authentic RTP nobody negotiated: another payload type, or a direction on hold.
    pub unwanted: u64,
    /// A check from an address that belongs to another live leg.
    pub contested: u64,
}

/// How a leg stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Connecting,
    Connected,
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegSnapshot {
    pub leg: LegId,
    pub link: LinkState,
    /// Where the browser was last nominated.
    pub remote: Option<SocketAddr>,
    pub law: Law,
    /// The SRTP profile, once agreed.
    pub profile: Option<&'static str>,
    pub packets_in: u64,
    pub packets_out: u64,
    /// RTCP compounds that authenticated.
    pub reports_in: u64,
    /// From the offer to the end of the handshake.
    pub connect_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersSnapshot {
    /// In the order of their ids.
    pub legs: Vec<LegSnapshot>,
    pub dropped: Dropped,
}

/// All browser legs of one worker.
pub struct Peers {
    candidates: Vec<SocketAddr>,
    provider: Arc<dyn RTCCryptoProvider>,
    identity: Identity,
    /// For numbers that are not secrets; keys and passwords come from the crypto provider.
    rng: StdRng,
    legs: HashMap<LegId, Leg>,
    by_ufrag: HashMap<String, LegId>,
    by_address: HashMap<SocketAddr, LegId>,
    deadlines: BTreeSet<(Instant, LegId)>,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<PeerEvent>,
    dropped: Dropped,
}

impl Peers {
    /// Makes this worker's certificate.
    ///
    /// # Errors
    /// No address to advertise, or the crypto provider fails.
    pub fn new(config: PeersConfig, seed: u64) -> Result<Self, PeerError> {
        let mut addresses = config.advertised;
        if addresses.is_empty() && !config.local.ip().is_unspecified() {
            addresses.push(config.local.ip());
        }
        if addresses.is_empty() {
            return Err(PeerError::NoAddress);
        }
        let provider = default_provider().map_err(crypto_error)?;
        let identity = Identity::generate(provider.as_ref())?;
        let port = config.local.port();
        Ok(Peers {
            candidates: addresses
                .into_iter()
                .map(|ip| SocketAddr::new(ip, port))
                .collect(),
            provider,
            identity,
            rng: StdRng::seed_from_u64(seed),
            legs: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            deadlines: BTreeSet::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            dropped: Dropped::default(),
        })
    }

    /// Answers a browser's first offer or its re-offer: hold, resume, ICE restart. A refused
    /// re-offer leaves the leg as it was.
    ///
    /// `law` is preferred; the other one is taken if the browser offers nothing else. A re-offer
    /// keeps the law in use as long as it is offered.
    ///
    /// # Errors
    /// Why the offer is refused (488).
    pub fn offer(
        &mut self,
        now: Instant,
        leg: LegId,
        sdp: &str,
        law: Law,
    ) -> Result<String, PeerError> {
        // A call does not change its law because its hold key was pressed.
        let offer = Offer::read(sdp, self.law(leg).unwrap_or(law))?;
        if self.legs.contains_key(&leg) {
            self.reoffer(now, leg, offer)
        } else {
            self.first_offer(now, leg, offer)
        }
    }

    fn first_offer(&mut self, now: Instant, id: LegId, offer: Offer) -> Result<String, PeerError> {
        if self.legs.len() >= LEGS_MAX {
            return Err(PeerError::TooManyLegs);
        }
        let provider = self.provider.clone();
        let (ssrc, session_id) = (self.rng.random(), u64::from(self.rng.random::<u32>()));
        let mut leg = Leg::new(now, offer, &self.identity, &provider, ssrc, session_id)?;
        let answer = leg.answer(&self.identity, &self.candidates);
        self.by_ufrag.insert(leg.ice.ufrag().to_owned(), id);
        self.legs.insert(id, leg);
        self.reschedule(id);
        Ok(answer)
    }

    fn reoffer(&mut self, now: Instant, id: LegId, offer: Offer) -> Result<String, PeerError> {
        let provider = self.provider.clone();
        let Some(leg) = self.legs.get_mut(&id) else {
            return Err(PeerError::NoAudio);
        };
        let retired = leg.reoffer(now, offer, provider.as_ref())?;
        let answer = leg.answer(&self.identity, &self.candidates);
        self.by_ufrag.insert(leg.ice.ufrag().to_owned(), id);
        if let Some(ufrag) = retired {
            self.by_ufrag.remove(&ufrag);
        }
        self.reschedule(id);
        Ok(answer)
    }

    /// Says goodbye to the browser (close_notify) and forgets the leg.
    pub fn close(&mut self, now: Instant, leg: LegId) {
        let Some(mut gone) = self.legs.remove(&leg) else {
            return;
        };
        gone.handshake.close(now);
        Self::drain(&mut gone, &mut self.transmits);
        for ufrag in gone.ice.ufrags() {
            self.by_ufrag.remove(ufrag);
        }
        for address in gone.ice.addresses() {
            self.by_address.remove(&address);
        }
        if let Some(scheduled) = gone.scheduled {
            self.deadlines.remove(&(scheduled, leg));
        }
    }

    /// One datagram from the worker's socket.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        // RFC 7983 7: the first byte tells the protocols apart.
        match bytes.first() {
            Some(0..=3) => self.handle_stun(now, from, bytes),
            Some(20..=63) => self.handle_dtls(now, from, bytes),
            Some(128..=191) => self.handle_media(from, bytes),
            _ => self.dropped.malformed += 1,
        }
    }

    fn handle_stun(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(mut check) = stun::Check::read(bytes) else {
            self.dropped.malformed += 1;
            return;
        };
        let leg_id = self.by_ufrag.get(check.local_ufrag()).copied();
        let Some((id, leg)) = leg_id.and_then(|id| Some((id, self.legs.get_mut(&id)?))) else {
            self.dropped.unauthenticated += 1;
            return;
        };
        let crypto = self.provider.crypto();
        let password = leg
            .ice
            .password_for(&check)
            .filter(|password| check.verify(password, crypto));
        let Some(password) = password.map(str::to_owned) else {
            self.dropped.unauthenticated += 1;
            return;
        };
        if check.says_controlled() {
            // RFC 8445 7.3.1.1: we are lite, the browser has to control.
            self.transmits.extend(
                check
                    .role_conflict(&password, crypto)
                    .map(|reply| (from, reply)),
            );
            return;
        }
        let held_by = self
            .by_address
            .get(&from)
            .copied()
            .filter(|other| *other != id);
        if let Some(other) = held_by {
            // A spoofed source must not take another leg's address away while that one lives.
            let lives = self
                .legs
                .get(&other)
                .is_some_and(|leg| leg.ice.heard_lately(now, from));
            if lives {
                self.dropped.contested += 1;
                return;
            }
            if let Some(other) = self.legs.get_mut(&other) {
                other.ice.forget(from);
            }
        }
        let Some(reply) = check.success(from, &password, crypto) else {
            return;
        };
        self.transmits.push_back((from, reply));
        self.accept_check(now, id, from, &check);
    }

    fn accept_check(&mut self, now: Instant, id: LegId, from: SocketAddr, check: &stun::Check) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let passed = leg.ice.passed(now, from, check);
        if let Some(evicted) = passed.evicted {
            self.by_address.remove(&evicted);
        }
        if let Some(ufrag) = passed.retired {
            self.by_ufrag.remove(&ufrag);
        }
        self.by_address.insert(from, id);
        leg.heard(now, check.nominates());
        self.after(id);
    }

    fn handle_dtls(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(id) = self.by_address.get(&from).copied() else {
            self.dropped.stranger += 1;
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if leg
            .read_handshake(now, bytes, self.provider.as_ref())
            .is_err()
        {
            self.dropped.malformed += 1;
        }
        self.after(id);
    }

    fn handle_media(&mut self, from: SocketAddr, bytes: &[u8]) {
        let Some(id) = self.by_address.get(&from).copied() else {
            self.dropped.stranger += 1;
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if let Some(packet) = leg.read_media(bytes, &mut self.dropped) {
            self.events.push_back(PeerEvent::Rtp { leg: id, packet });
        }
    }

    /// Retransmits handshakes, notices silence.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.remove(&(deadline, id));
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.scheduled = None;
                leg.handle_timeout(now);
            }
            self.after(id);
        }
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Sends audio: sequence, timestamp, marker and payload are the caller's, SSRC and payload type
    /// are the leg's. Dropped while the leg is not connected or the browser does not receive.
    pub fn send(&mut self, _now: Instant, leg: LegId, packet: &RtpPacket) {
        let Some(leg) = self.legs.get_mut(&leg) else {
            return;
        };
        if let Some(transmit) = leg.protect(packet) {
            self.transmits.push_back(transmit);
        }
    }

    /// The law this leg speaks.
    #[must_use]
    pub fn law(&self, leg: LegId) -> Option<Law> {
        self.legs.get(&leg).map(|leg| leg.offer.law)
    }

    #[must_use]
    pub fn snapshot(&self) -> PeersSnapshot {
        let mut legs: Vec<_> = self
            .legs
            .iter()
            .map(|(id, leg)| leg.snapshot(*id))
            .collect();
        legs.sort_by_key(|leg| leg.leg);
        PeersSnapshot {
            legs,
            dropped: self.dropped,
        }
    }

    /// Takes out what a leg has to say after anything happened to it.
    fn after(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        Self::drain(leg, &mut self.transmits);
        match leg.change.take() {
            Some(leg::Change::Connected) => self.events.push_back(PeerEvent::Connected { leg: id }),
            Some(leg::Change::Lost) => self.events.push_back(PeerEvent::Lost { leg: id }),
            None => {}
        }
        self.reschedule(id);
    }

    fn drain(leg: &mut Leg, transmits: &mut VecDeque<(SocketAddr, Vec<u8>)>) {
        while let Some(bytes) = leg.handshake.poll_transmit() {
            // Nobody to send to means no check has passed yet: the handshake repeats itself.
            if let Some(to) = leg.ice.remote() {
                transmits.push_back((to, bytes.into()));
            }
        }
    }

    fn reschedule(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let deadline = leg.poll_timeout();
        if deadline == leg.scheduled {
            return;
        }
        if let Some(old) = leg.scheduled {
            self.deadlines.remove(&(old, id));
        }
        leg.scheduled = deadline;
        self.deadlines
            .extend(deadline.map(|deadline| (deadline, id)));
    }
}

fn crypto_error(error: impl std::fmt::Display) -> PeerError {
    PeerError::Crypto(error.to_string())
}
