//! The DTLS handshake of one leg (RFC 5763, RFC 5764) on `rtc`'s sans-IO endpoint. Its only product
//! is SRTP keys; application data is not used.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc::dtls::config::{
    ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, VerifyPeerCertificateFn,
};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error;

use super::description::{Fingerprint, Role};
use super::srtp::Srtp;
use super::{PeerError, crypto_error};

/// GCM costs less than half of SHA-1's profile and leaves no room for forged SRTCP.
const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const SHA1: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
/// RFC 5764 4.1.1: the extension's number, and the number of GCM (RFC 7714 14.2) in it.
const USE_SRTP: [u8; 2] = [0, 14];
const GCM_NUMBER: [u8; 2] = [0, 7];
/// RFC 6347 4.1, 4.2.2: of the record and of the handshake message in it.
const FRAGMENT_HEADER_BYTES: usize = 25;
/// More than any ClientHello takes: without its end we go on as it is.
const FIRST_DATAGRAMS_MAX: usize = 6;
/// The endpoint keys its associations by address; ours survives a change of path, so it is given
/// always the same one.
const FAR_END: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// A lost flight is repeated after this; RFC 6347's 1 s would be heard at every set-up with loss.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(300);

/// The certificate of this worker, the same for all its legs.
pub(super) struct Identity {
    certificate: Certificate,
    pub(super) fingerprint: Fingerprint,
}

impl Identity {
    pub(super) fn generate(provider: &dyn RTCCryptoProvider) -> Result<Self, PeerError> {
        let names = vec!["foredial".to_owned()];
        let certificate =
            Certificate::generate_self_signed(names, provider.crypto()).map_err(crypto_error)?;
        let der = certificate
            .certificate
            .first()
            .ok_or(PeerError::Lacks("a certificate"))?;
        let fingerprint = fingerprint(der, provider).map_err(crypto_error)?;
        Ok(Identity {
            certificate,
            fingerprint,
        })
    }
}

/// What a datagram brought the handshake to.
pub(super) enum Progress {
    Going,
    Complete(Box<Srtp>),
    Closed,
}

pub(super) struct Handshake {
    endpoint: Endpoint,
    opening: Opening,
    state: State,
}

/// Who says the first word, until it is said.
enum Opening {
    /// We do, once the browser can be reached.
    Speak(Box<ConfigBuilder>),
    /// The browser does, and tells its profiles with it.
    Listen(Box<ConfigBuilder>, FirstWord),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Going,
    Complete,
    Over,
}

impl Handshake {
    pub(super) fn new(
        role: Role,
        remote: Fingerprint,
        identity: &Identity,
        provider: &Arc<dyn RTCCryptoProvider>,
    ) -> Result<Self, PeerError> {
        let builder = ConfigBuilder::default()
            .with_crypto_provider(provider.clone())
            .with_certificates(vec![identity.certificate.clone()])
            .with_srtp_protection_profiles(vec![GCM, SHA1])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // No authority signs browsers' certificates: the fingerprint in the SDP decides.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(matching(remote, provider.clone())))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_flight_interval(FLIGHT_INTERVAL);
        let opening = match role {
            Role::Active => Opening::Speak(Box::new(builder)),
            Role::Passive => Opening::Listen(Box::new(builder), FirstWord::default()),
        };
        let endpoint = Endpoint::new(FAR_END, TransportProtocol::UDP, None);
        Ok(Handshake {
            endpoint,
            opening,
            state: State::Going,
        })
    }

    /// The browser can be reached: if ours is the first word, say it.
    pub(super) fn start(&mut self, now: Instant) {
        let Opening::Speak(builder) = &self.opening else {
            return;
        };
        let started = ConfigBuilder::clone(builder)
            .build(true, None)
            .and_then(|config| self.endpoint.connect(now, FAR_END, Arc::new(config), None));
        self.opening = Opening::Done;
        if started.is_err() {
            self.state = State::Over;
        }
    }

    /// Both `rtc-dtls` and Chromium let the ClientHello's order decide, and Chromium's puts SHA-1
    /// first: if it offers GCM at all, nothing else is accepted. Gives the datagrams that are now
    /// to be read.
    fn listen(&mut self, bytes: &[u8]) -> Result<Vec<BytesMut>, PeerError> {
        let Opening::Listen(builder, first_word) = &mut self.opening else {
            return Ok(vec![BytesMut::from(bytes)]);
        };
        let Some(profiles) = first_word.hear(bytes) else {
            return Ok(Vec::new());
        };
        let builder = ConfigBuilder::clone(builder).with_srtp_protection_profiles(profiles);
        let datagrams = std::mem::take(&mut first_word.datagrams);
        self.opening = Opening::Done;
        let config = builder.build(false, None).map_err(crypto_error)?;
        self.endpoint.set_server_config(Some(Arc::new(config)));
        Ok(datagrams)
    }

    /// # Errors
    /// A record that does not fit; the handshake goes on unless it is [`Handshake::over`].
    pub(super) fn read(
        &mut self,
        now: Instant,
        bytes: &[u8],
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Progress, PeerError> {
        // Over: a late datagram would begin a new association. Not started: nothing to read yet.
        if self.state == State::Over || matches!(self.opening, Opening::Speak(_)) {
            return Ok(Progress::Going);
        }
        let mut progress = Progress::Going;
        for datagram in self.listen(bytes)? {
            let events = self.endpoint.read(now, FAR_END, None, datagram);
            for event in events.map_err(crypto_error)? {
                self.take(event, &mut progress, provider)?;
            }
        }
        Ok(progress)
    }

    fn take(
        &mut self,
        event: EndpointEvent,
        progress: &mut Progress,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<(), PeerError> {
        match event {
            EndpointEvent::HandshakeComplete if self.state == State::Going => {
                let state = self.endpoint.get_connection_state(FAR_END);
                let state = state.ok_or_else(|| crypto_error("no association"))?;
                *progress = Progress::Complete(Box::new(Srtp::from_handshake(state, provider)?));
                self.state = State::Complete;
            }
            EndpointEvent::PeerClosed => {
                self.state = State::Over;
                *progress = Progress::Closed;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn over(&self) -> bool {
        self.state == State::Over
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint
            .poll_transmit()
            .map(|transmit| transmit.message)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| deadline <= now)
            && self.endpoint.handle_timeout(FAR_END, now).is_err()
        {
            // The last retransmission went unheard.
            self.state = State::Over;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Over {
            return None;
        }
        self.endpoint.poll_timeout(&FAR_END)
    }

    pub(super) fn close(&mut self, now: Instant) {
        if self.state != State::Over {
            self.state = State::Over;
            // Closing an endpoint only queues its alerts.
            let _ = self.endpoint.close(now);
        }
    }
}

/// The browser's ClientHello: with post-quantum keys it comes in two datagrams, and its extensions
/// in any order.
#[derive(Default)]
struct FirstWord {
    datagrams: Vec<BytesMut>,
    /// The handshake message without the headers of its fragments.
    message: Vec<u8>,
}

impl FirstWord {
    /// The profiles to agree to, once enough of it has been heard.
    fn hear(&mut self, datagram: &[u8]) -> Option<Vec<SrtpProtectionProfile>> {
        self.datagrams.push(BytesMut::from(datagram));
        self.message
            .extend_from_slice(datagram.get(FRAGMENT_HEADER_BYTES..).unwrap_or(&[]));
        // RFC 6347 4.2.2: after the record's header and the message's type.
        let length = datagram
            .get(14..17)
            .map(|bytes| u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]));
        let whole = length.is_some_and(|length| self.message.len() >= length as usize);
        if offers_gcm(&self.message) {
            Some(vec![GCM])
        } else {
            (whole || self.datagrams.len() == FIRST_DATAGRAMS_MAX).then(|| vec![GCM, SHA1])
        }
    }
}

/// Finds `use_srtp` in a ClientHello and looks for GCM in its list.
fn offers_gcm(hello: &[u8]) -> bool {
    let mut lists = hello.windows(6).enumerate().filter_map(|(at, head)| {
        let number = |index: usize| usize::from(u16::from_be_bytes([head[index], head[index + 1]]));
        // Its length, the list's length, the list, an empty MKI.
        let framed = head[..2] == USE_SRTP && number(2) == number(4) + 3;
        let list = hello.get(at + 6..at + 6 + number(4))?;
        framed.then_some(list)
    });
    lists.any(|list| list.chunks_exact(2).any(|profile| profile == GCM_NUMBER))
}

fn matching(
    expected: Fingerprint,
    provider: Arc<dyn RTCCryptoProvider>,
) -> VerifyPeerCertificateFn {
    Arc::new(move |chain, _| {
        let leaf = chain.first().ok_or(Error::ErrNonCertificate)?;
        let found = fingerprint(leaf, provider.as_ref());
        let found = found.map_err(|error| Error::Crypto(error.to_string()))?;
        if found == expected {
            Ok(())
        } else {
            Err(Error::ErrNoMatchingCertificateFingerprint)
        }
    })
}

fn fingerprint(
    der: &[u8],
    provider: &dyn RTCCryptoProvider,
) -> Result<Fingerprint, rtc::crypto::CryptoError> {
    provider
        .crypto()
        .hash(HashAlgorithm::Sha256, der)
        .map(Fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(profiles: &[u8]) -> Vec<u8> {
        let list = u8::try_from(profiles.len()).expect("short");
        let mut hello = vec![0x00, 0x0A, 0x00, 0x02, 0x00, 0x17];
        hello.extend([0, 14, 0, list + 3, 0, list]);
        hello.extend(profiles);
        hello.extend([0, 0, 23, 0, 0]);
        hello
    }

    fn fragment(of: &[u8], part: std::ops::Range<usize>) -> Vec<u8> {
        let mut datagram = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        datagram.extend([0, 0, u8::try_from(of.len()).expect("short")]);
        datagram.resize(FRAGMENT_HEADER_BYTES, 0);
        datagram.extend(&of[part]);
        datagram
    }

    #[test]
    fn gcm_is_insisted_on_wherever_it_stands_in_the_list() {
        assert!(offers_gcm(&hello(&[0, 1, 0, 7])));
        assert!(offers_gcm(&hello(&[0, 7])));
        assert!(!offers_gcm(&hello(&[0, 1, 0, 2])));
        assert!(!offers_gcm(&hello(&[7, 0, 0, 1])));
        assert!(!offers_gcm(&[0, 14, 0, 5, 0, 2]));
    }

    #[test]
    fn a_client_hello_in_two_datagrams_is_heard_to_its_end() {
        let hello = hello(&[0, 1, 0, 7]);
        for cut in 1..hello.len() - 1 {
            let mut first_word = FirstWord::default();
            let early = first_word.hear(&fragment(&hello, 0..cut));
            let late = first_word.hear(&fragment(&hello, cut..hello.len()));
            assert_eq!(early.or(late), Some(vec![GCM]), "cut at {cut}");
        }
        let only_sha1 = self::hello(&[0, 1]);
        let mut first_word = FirstWord::default();
        let profiles = first_word.hear(&fragment(&only_sha1, 0..only_sha1.len()));
        assert_eq!(profiles, Some(vec![GCM, SHA1]));
    }

    #[test]
    fn what_never_ends_is_not_waited_for() {
        let mut first_word = FirstWord::default();
        let heard = (0..FIRST_DATAGRAMS_MAX).find_map(|_| first_word.hear(&[22; 20]));
        assert!(heard.is_some());
    }
}
