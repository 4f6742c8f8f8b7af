//! One leg's ICE, lite and therefore controlled (RFC 8445 2.5): credentials, the addresses checks
//! came from, and which of them the browser nominated.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;

use super::stun::Check;
use super::{PeerError, crypto_error};

/// RFC 7675 5.1: consent ends 30 s after the last check; a seat should notice sooner.
pub(super) const CONSENT: Duration = Duration::from_secs(15);
/// Addresses of one leg; a browser shows one per interface and NAT.
const ADDRESSES_MAX: usize = 8;
const UFRAG_CHARS: usize = 8;
/// RFC 8445 5.3 asks for at least 22; 24 of 64 kinds are 144 bits.
const PASSWORD_CHARS: usize = 24;
/// RFC 8839 5.4: the ice-chars.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[derive(Clone, Debug, PartialEq, Eq)]
struct Credentials {
    ufrag: String,
    password: String,
    /// The browser's half of the user name.
    remote_ufrag: String,
}

pub(super) struct Ice {
    current: Credentials,
    /// Before an ICE restart: valid until the first check with the new ones.
    previous: Option<Credentials>,
    addresses: Vec<(SocketAddr, Instant)>,
    nominated: Option<SocketAddr>,
    last_check: Option<Instant>,
}

/// What a passed check pushed out.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) evicted: Option<SocketAddr>,
    /// A user name that no longer leads here.
    pub(super) retired: Option<String>,
}

impl Ice {
    pub(super) fn new(
        remote_ufrag: &str,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Self, PeerError> {
        Ok(Ice {
            current: Credentials::generate(remote_ufrag, provider)?,
            previous: None,
            addresses: Vec::new(),
            nominated: None,
            last_check: None,
        })
    }

    /// RFC 8445 9: new credentials, while the old ones and the path in use hold on until the
    /// browser's first new check. Returns a user name that is now forgotten.
    pub(super) fn restart(
        &mut self,
        remote_ufrag: &str,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Option<String>, PeerError> {
        let fresh = Credentials::generate(remote_ufrag, provider)?;
        let old = std::mem::replace(&mut self.current, fresh);
        Ok(self.previous.replace(old).map(|forgotten| forgotten.ufrag))
    }

    pub(super) fn ufrag(&self) -> &str {
        &self.current.ufrag
    }

    pub(super) fn password(&self) -> &str {
        &self.current.password
    }

    pub(super) fn ufrags(&self) -> impl Iterator<Item = &str> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .map(|it| it.ufrag.as_str())
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().map(|(address, _)| *address)
    }

    /// The password a check with this user name must have been signed with.
    pub(super) fn password_for(&self, check: &Check) -> Option<&str> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|it| it.ufrag == check.local_ufrag() && it.remote_ufrag == check.remote_ufrag())
            .map(|it| it.password.as_str())
    }

    /// Where to send: the address nominated last, or the one heard last before any nomination.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        let heard = || {
            self.addresses
                .iter()
                .max_by_key(|(_, at)| *at)
                .map(|(address, _)| *address)
        };
        self.nominated.or_else(heard)
    }

    /// When consent ends unless another check comes.
    pub(super) fn consent_until(&self) -> Option<Instant> {
        self.last_check.map(|at| at + CONSENT)
    }

    pub(super) fn heard_lately(&self, now: Instant, from: SocketAddr) -> bool {
        self.addresses
            .iter()
            .any(|(address, at)| *address == from && now < *at + CONSENT)
    }

    pub(super) fn forget(&mut self, from: SocketAddr) {
        self.addresses.retain(|(address, _)| *address != from);
        self.nominated = self.nominated.filter(|address| *address != from);
    }

    /// A verified check: its source is ours now, and the path in use if it says so.
    pub(super) fn passed(&mut self, now: Instant, from: SocketAddr, check: &Check) -> Passed {
        let mut passed = Passed::default();
        self.last_check = Some(now);
        let renewed = check.local_ufrag() == self.current.ufrag;
        if renewed {
            passed.retired = self.previous.take().map(|old| old.ufrag);
        }
        match self
            .addresses
            .iter_mut()
            .find(|(address, _)| *address == from)
        {
            Some((_, at)) => *at = now,
            None => {
                if self.addresses.len() == ADDRESSES_MAX {
                    passed.evicted = self.evict();
                }
                self.addresses.push((from, now));
            }
        }
        // RFC 8445 7.3.1.5; a path chosen later replaces an earlier one, as browsers expect.
        if check.nominates() {
            self.nominated = Some(from);
        }
        passed
    }

    fn evict(&mut self) -> Option<SocketAddr> {
        let nominated = self.nominated;
        let idle = self
            .addresses
            .iter()
            .filter(|(address, _)| Some(*address) != nominated);
        let oldest = idle
            .min_by_key(|(_, at)| *at)
            .map(|(address, _)| *address)?;
        self.forget(oldest);
        Some(oldest)
    }
}

impl Credentials {
    fn generate(remote_ufrag: &str, provider: &dyn RTCCryptoProvider) -> Result<Self, PeerError> {
        Ok(Credentials {
            ufrag: secret::<UFRAG_CHARS>(provider)?,
            password: secret::<PASSWORD_CHARS>(provider)?,
            remote_ufrag: remote_ufrag.to_owned(),
        })
    }
}

fn secret<const CHARS: usize>(provider: &dyn RTCCryptoProvider) -> Result<String, PeerError> {
    let mut bytes = [0; CHARS];
    provider.random().fill(&mut bytes).map_err(crypto_error)?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(ICE_CHARS[usize::from(byte & 63)]))
        .collect())
}
