//! One browser leg: what was offered, how it is reached, whether audio flows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;

use super::description::{Offer, Ours};
use super::handshake::{Handshake, Identity, Progress};
use super::ice::Ice;
use super::srtp::{Rejected, Srtp};
use super::{Dropped, LegSnapshot, LinkState, PeerError};
use crate::id::LegId;
use crate::media::packet::{self, RtpPacket};

/// From the offer to the end of the handshake.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// What the worker has to hear about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Connected,
    Lost,
}

enum Link {
    Connecting { since: Instant },
    Connected,
    Lost,
}

pub(super) struct Leg {
    pub(super) offer: Offer,
    pub(super) ice: Ice,
    pub(super) handshake: Handshake,
    /// Not yet taken by the worker.
    pub(super) change: Option<Change>,
    /// Under which deadline it stands in the worker's list.
    pub(super) scheduled: Option<Instant>,
    link: Link,
    srtp: Option<Box<Srtp>>,
    ssrc: u32,
    session_id: u64,
    version: u64,
    offered_at: Instant,
    connect_ms: Option<u64>,
    packets_in: u64,
    packets_out: u64,
    reports_in: u64,
}

impl Leg {
    pub(super) fn new(
        now: Instant,
        offer: Offer,
        identity: &Identity,
        provider: &Arc<dyn RTCCryptoProvider>,
        ssrc: u32,
        session_id: u64,
    ) -> Result<Self, PeerError> {
        let fingerprint = offer.fingerprint.clone();
        Ok(Leg {
            ice: Ice::new(&offer.ice_ufrag, provider.as_ref())?,
            handshake: Handshake::new(offer.role, fingerprint, identity, provider)?,
            offer,
            change: None,
            scheduled: None,
            link: Link::Connecting { since: now },
            srtp: None,
            ssrc,
            session_id,
            version: 0,
            offered_at: now,
            connect_ms: None,
            packets_in: 0,
            packets_out: 0,
            reports_in: 0,
        })
    }

    /// Takes a later offer over. Returns a user name of ours that is forgotten by it.
    pub(super) fn reoffer(
        &mut self,
        now: Instant,
        mut offer: Offer,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Option<String>, PeerError> {
        // RFC 8842 4: another certificate would be another association, which a browser makes with
        // another peer connection, that is another leg.
        if offer.fingerprint != self.offer.fingerprint {
            return Err(PeerError::Changes("the fingerprint"));
        }
        if self.handshake.over() {
            return Err(PeerError::Changes(
                "nothing that could revive a closed association",
            ));
        }
        // The roles of a standing association stay (RFC 8842 5.5), whatever `actpass` allows.
        offer.role = self.offer.role;
        let restarts = offer.ice_ufrag != self.offer.ice_ufrag
            || offer.ice_password != self.offer.ice_password;
        let mut retired = None;
        if restarts {
            retired = self.ice.restart(&offer.ice_ufrag, provider)?;
            if self.srtp.is_none() {
                self.link = Link::Connecting { since: now };
            }
        }
        self.offer = offer;
        Ok(retired)
    }

    pub(super) fn answer(&mut self, identity: &Identity, candidates: &[SocketAddr]) -> String {
        self.version += 1;
        self.offer.answer(&Ours {
            session_id: self.session_id,
            version: self.version,
            role: self.offer.role,
            ice_ufrag: self.ice.ufrag(),
            ice_password: self.ice.password(),
            fingerprint: &identity.fingerprint,
            candidates,
            ssrc: self.ssrc,
        })
    }

    /// A check passed.
    pub(super) fn heard(&mut self, now: Instant, nominated: bool) {
        if nominated {
            self.handshake.start(now);
        }
        if matches!(self.link, Link::Lost) && self.srtp.is_some() && !self.handshake.over() {
            self.link = Link::Connected;
            self.change = Some(Change::Connected);
        }
    }

    pub(super) fn read_handshake(
        &mut self,
        now: Instant,
        bytes: &[u8],
        provider: &dyn RTCCryptoProvider,
    ) -> Result<(), PeerError> {
        match self.handshake.read(now, bytes, provider)? {
            Progress::Going => {}
            Progress::Complete(srtp) => {
                self.srtp = Some(srtp);
                self.link = Link::Connected;
                self.change = Some(Change::Connected);
                let took = now.saturating_duration_since(self.offered_at).as_millis();
                self.connect_ms = u64::try_from(took).ok();
            }
            Progress::Closed => self.lose(),
        }
        Ok(())
    }

    pub(super) fn read_media(&mut self, bytes: &[u8], dropped: &mut Dropped) -> Option<RtpPacket> {
        let Some(srtp) = &mut self.srtp else {
            dropped.undecipherable += 1;
            return None;
        };
        let outcome = if packet::is_rtcp(bytes) {
            srtp.unprotect_rtcp(bytes).map(|_| None)
        } else {
            srtp.unprotect(bytes).map(Some)
        };
        match outcome {
            Ok(Some(packet)) => self.take(packet, dropped),
            Ok(None) => {
                self.reports_in += 1;
                None
            }
            Err(Rejected::Malformed) => {
                dropped.malformed += 1;
                None
            }
            Err(Rejected::Undecipherable) => {
                dropped.undecipherable += 1;
                None
            }
            Err(Rejected::Unencrypted) => {
                dropped.unencrypted += 1;
                None
            }
        }
    }

    fn take(&mut self, mut packet: RtpPacket, dropped: &mut Dropped) -> Option<RtpPacket> {
        if packet.payload_type != self.offer.payload_type || !self.offer.direction.receive() {
            dropped.unwanted += 1;
            return None;
        }
        packet.payload_type = self.offer.law.payload_type();
        self.packets_in += 1;
        Some(packet)
    }

    pub(super) fn protect(&mut self, packet: &RtpPacket) -> Option<(SocketAddr, Vec<u8>)> {
        // RFC 7675 5.1: without consent nothing is sent.
        if !matches!(self.link, Link::Connected) || !self.offer.direction.send() {
            return None;
        }
        let to = self.ice.remote()?;
        let bytes = self
            .srtp
            .as_mut()?
            .protect(packet, self.ssrc, self.offer.payload_type)?;
        self.packets_out += 1;
        Some((to, bytes))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let link = match self.link {
            Link::Connecting { since } => Some(since + CONNECT_MAX),
            Link::Connected => self.ice.consent_until(),
            Link::Lost => None,
        };
        [link, self.handshake.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.handshake.handle_timeout(now);
        let late = match self.link {
            Link::Connecting { since } => now >= since + CONNECT_MAX,
            Link::Connected => self.ice.consent_until().is_some_and(|until| now >= until),
            Link::Lost => false,
        };
        if late || self.handshake.over() {
            self.lose();
        }
    }

    pub(super) fn snapshot(&self, leg: LegId) -> LegSnapshot {
        LegSnapshot {
            leg,
            link: match self.link {
                Link::Connecting { .. } => LinkState::Connecting,
                Link::Connected => LinkState::Connected,
                Link::Lost => LinkState::Lost,
            },
            remote: self.ice.remote(),
            law: self.offer.law,
            profile: self.srtp.as_ref().map(|srtp| srtp.profile()),
            packets_in: self.packets_in,
            packets_out: self.packets_out,
            reports_in: self.reports_in,
            connect_ms: self.connect_ms,
        }
    }

    fn lose(&mut self) {
        if !matches!(self.link, Link::Lost) {
            self.link = Link::Lost;
            self.change = Some(Change::Lost);
        }
    }
}
