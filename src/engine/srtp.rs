//! SRTP with keys in the body (SDES, RFC 4568) as calls use it: whose calls are encrypted, with
//! fresh keys for each negotiation, and what is counted. Keys are offered and accepted where the
//! messages themselves cannot be read on the way (RFC 4568 §7): TLS, WSS, or a way that the
//! configuration calls private.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rand::TryRng as _;
use rand::rngs::SysRng;

use super::switch::Switch;
use crate::id::{LegId, TrunkId};
use crate::peer;
use crate::route::Source;
use crate::sdp::crypto::KEY_BYTES_MAX;
use crate::sdp::{Agreed, Key, Negotiation, Refusal, Secured, Security, Suite};
use crate::sip::Transport;
use crate::trunk::Srtp;

/// In the order they are offered: the one everybody has first.
const SUITES: [Suite; 3] = [
    Suite::AesCm128HmacSha1_80,
    Suite::AeadAes128Gcm,
    Suite::AesCm128HmacSha1_32,
];
/// Legs remembered before those that are gone are looked for.
const LEGS_MIN: usize = 64;
/// RFC 3261 20.43: incompatible transport protocol.
const WARNING: u16 = 302;

/// Fills octets nobody can foretell; false when there are none to be had.
type Fill = Arc<dyn Fn(&mut [u8]) -> bool + Send + Sync>;

/// Where keys come from: never from the switch's seeded generator.
#[derive(Clone)]
pub struct KeySource(Fill);

impl Default for KeySource {
    /// The operating system.
    fn default() -> KeySource {
        KeySource(Arc::new(|octets| SysRng.try_fill_bytes(octets).is_ok()))
    }
}

impl KeySource {
    /// For tests.
    #[must_use]
    pub fn of(fill: impl Fn(&mut [u8]) -> bool + Send + Sync + 'static) -> KeySource {
        KeySource(Arc::new(fill))
    }

    fn key(&self, suite: Suite) -> Option<Key> {
        let mut octets = [0; KEY_BYTES_MAX];
        let own = octets.get_mut(..suite.key_bytes())?;
        (self.0)(own).then(|| Key::new(suite, own)).flatten()
    }

    /// One a suite. None at all when the source fails: then nothing is encrypted badly.
    fn keys(&self) -> Vec<Key> {
        let keys: Option<Vec<Key>> = SUITES.into_iter().map(|suite| self.key(suite)).collect();
        keys.unwrap_or_else(|| {
            tracing::error!("no random octets for SRTP keys from the system");
            Vec::new()
        })
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySource")
    }
}

/// Whose leg is negotiated, and by what its messages come or go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'a> {
    Trunk(&'a TrunkId),
    Phone(&'a str),
    /// A permitted address or a configured peer.
    Other,
}

impl Whose<'_> {
    pub fn of(source: &Source) -> Whose<'_> {
        match source {
            Source::Trunk(id) => Whose::Trunk(id),
            Source::Phone(user) => Whose::Phone(user),
            Source::Agent(_) | Source::Address(_) => Whose::Other,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Encrypted {
    legs: HashSet<LegId>,
    /// Since the start.
    secured: u64,
    refused: u64,
}

impl Encrypted {
    pub fn of(&self, leg: LegId) -> bool {
        self.legs.contains(&leg)
    }

    /// Legs that became encrypted, and bodies refused for want of SRTP or for its presence.
    pub fn totals(&self) -> (u64, u64) {
        (self.secured, self.refused)
    }
}

impl Switch {
    /// What a leg's offers and answers are held to, with keys of its own. `None`: SRTP is required
    /// and cannot be had over this transport.
    pub(super) fn security(&mut self, whose: Whose<'_>, over: Transport) -> Option<Security> {
        let (policy, over_plain) = self.srtp_of(whose);
        let private = over_plain || matches!(over, Transport::Tls | Transport::Wss);
        match (policy, private) {
            (Srtp::Off, _) | (Srtp::Optional, false) => Some(Security::Plain),
            (Srtp::Optional, true) => Some(Security::Accepted(self.config.keys.keys())),
            (Srtp::Required, true) => Some(Security::Required(self.config.keys.keys())),
            (Srtp::Required, false) => {
                self.encrypted.refused += 1;
                None
            }
        }
    }

    fn srtp_of(&self, whose: Whose<'_>) -> (Srtp, bool) {
        match whose {
            Whose::Trunk(id) => {
                let trunk = self.config.trunks.get(id);
                trunk.map_or((Srtp::Off, false), |it| (it.srtp, it.srtp_over_plain))
            }
            Whose::Phone(user) => {
                let mut phones = self.config.phones.iter();
                let phone = phones.find(|phone| phone.user == user);
                phone.map_or((Srtp::Optional, false), |it| (it.srtp, it.srtp_over_plain))
            }
            Whose::Other => (Srtp::Optional, false),
        }
    }

    /// A body that was not accepted: counted when SRTP was what did not meet.
    pub(super) fn note_sdp_refusal(&mut self, refusal: Option<&Refusal>) {
        if refusal.is_some_and(Refusal::is_for_srtp) {
            self.encrypted.refused += 1;
        }
    }

    /// The Warning that goes with a 488 for want of SRTP.
    pub(super) fn srtp_warning(&mut self, refusal: &Refusal) -> Vec<(String, String)> {
        self.note_sdp_refusal(Some(refusal));
        match refusal.is_for_srtp() {
            true => vec![warning(&refusal.to_string())],
            false => Vec::new(),
        }
    }

    /// What the media worker encrypts with; which legs are encrypted is remembered.
    pub(super) fn srtp_keys(&mut self, leg: LegId, agreed: &Agreed) -> Option<peer::SrtpKeys> {
        let Some(Secured { ours, theirs }) = agreed.secured else {
            self.encrypted.legs.remove(&leg);
            return None;
        };
        if self.encrypted.legs.insert(leg) {
            self.encrypted.secured += 1;
        }
        if self.encrypted.legs.len() > LEGS_MIN + 2 * self.legs.len() {
            let legs = &self.legs;
            self.encrypted.legs.retain(|leg| legs.contains_key(leg));
        }
        Some(peer::SrtpKeys {
            suite: suite(ours.suite),
            local: ours.bytes().to_vec(),
            remote: theirs.bytes().to_vec(),
        })
    }

    /// A negotiation that keeps to this policy; a policy that cannot be kept accepts nothing.
    pub(super) fn secured(
        &mut self,
        sdp: Negotiation,
        whose: Whose<'_>,
        over: Transport,
    ) -> Negotiation {
        let security = self.security(whose, over);
        sdp.with_security(security.unwrap_or(Security::Required(Vec::new())))
    }
}

/// Why a call without SRTP, or with it, is not taken.
pub(super) fn warning(why: &str) -> (String, String) {
    (
        "Warning".to_owned(),
        format!("{WARNING} foredial \"{why}\""),
    )
}

fn suite(suite: Suite) -> peer::Suite {
    match suite {
        Suite::AesCm128HmacSha1_80 => peer::Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32 => peer::Suite::AesCm128HmacSha1_32,
        Suite::AeadAes128Gcm => peer::Suite::AeadAes128Gcm,
    }
}
