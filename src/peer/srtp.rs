//! SRTP and SRTCP of one leg (RFC 3711, RFC 7714), keyed by its handshake or, toward trunks and
//! phones, by the signalling (SDES, RFC 4568).

use bytes::{Bytes, BytesMut};
use rtc::crypto::{RTCCryptoProvider, default_provider};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::dtls::state::State;
use rtc::rtp::Header;
use rtc::shared::marshal::{MarshalSize, Unmarshal};
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP, SessionKeys};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

use super::{PeerError, crypto_error};
use crate::media::packet::{self, RtpPacket};

/// Packets; 2.5 s of audio may arrive out of order.
const REPLAY_WINDOW: usize = 128;
/// The crate keeps a state for each SSRC it was shown, authentic or not.
const SSRCS_MAX: usize = 32;
/// RFC 3711 3.4: the first bit of the index that trails an SRTCP packet.
const ENCRYPTED_FLAG: u8 = 0x80;
const SRTCP_INDEX_BYTES: usize = 4;

pub struct Srtp {
    outward: Context,
    inward: Context,
    profile: ProtectionProfile,
    ssrcs: Vec<u32>,
    scratch: BytesMut,
}

/// RFC 4568 6.2, RFC 7714 14.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    AeadAes128Gcm,
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
}

/// Master key and salt of each direction, one after the other as they stand in SDP.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    pub suite: Suite,
    pub local: Vec<u8>,
    pub remote: Vec<u8>,
}

/// Keys are never shown.
impl std::fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SrtpKeys({:?})", self.suite)
    }
}

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    Malformed,
    Undecipherable,
    Unencrypted,
}

impl Suite {
    fn profile(self) -> ProtectionProfile {
        match self {
            Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        }
    }

    /// Bytes of a master key and its salt together.
    #[must_use]
    pub fn key_bytes(self) -> usize {
        self.profile().key_len() + self.profile().salt_len()
    }
}

impl Srtp {
    /// `Err`: a key is not as long as its suite wants it.
    pub fn from_keys(keys: &SrtpKeys) -> Result<Srtp, PeerError> {
        let profile = keys.suite.profile();
        let provider = default_provider().map_err(crypto_error)?;
        let (local_key, local_salt) = split(keys.suite, &keys.local)?;
        let (remote_key, remote_salt) = split(keys.suite, &keys.remote)?;
        let keys = SessionKeys {
            local_master_key: local_key.to_vec(),
            local_master_salt: local_salt.to_vec(),
            remote_master_key: remote_key.to_vec(),
            remote_master_salt: remote_salt.to_vec(),
        };
        Srtp::with_keys(profile, &keys, provider.as_ref())
    }

    /// Takes over what a re-negotiation left as it was: a direction with the same key goes on with
    /// its packet index (RFC 3711 3.3.1), one with a new key begins anew.
    pub fn carry_over(&mut self, before: Srtp, was: &SrtpKeys, is: &SrtpKeys) {
        if was.suite != is.suite {
            return;
        }
        if was.local == is.local {
            self.outward = before.outward;
        }
        if was.remote == is.remote {
            self.inward = before.inward;
            self.ssrcs = before.ssrcs;
        }
    }

    pub(super) fn from_handshake(
        state: &State,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Self, PeerError> {
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
                ProtectionProfile::Aes128CmHmacSha1_80
            }
            _ => return Err(crypto_error("no SRTP profile in common")),
        };
        let mut config = Config {
            profile,
            ..Config::default()
        };
        let length = config.keying_material_len();
        let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length);
        let material = material.map_err(crypto_error)?;
        config
            .set_session_keys_from_keying_material(material.as_ref(), state.is_client())
            .map_err(crypto_error)?;
        Srtp::with_keys(profile, &config.keys, provider)
    }

    fn with_keys(
        profile: ProtectionProfile,
        keys: &SessionKeys,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Self, PeerError> {
        let (key, salt) = (&keys.local_master_key, &keys.local_master_salt);
        let outward = Context::new(key, salt, profile, None, None, provider.crypto());
        let (key, salt) = (&keys.remote_master_key, &keys.remote_master_salt);
        let rtp_window = Some(srtp_replay_protection(REPLAY_WINDOW));
        let rtcp_window = Some(srtcp_replay_protection(REPLAY_WINDOW));
        let inward = Context::new(
            key,
            salt,
            profile,
            rtp_window,
            rtcp_window,
            provider.crypto(),
        );
        Ok(Srtp {
            outward: outward.map_err(crypto_error)?,
            inward: inward.map_err(crypto_error)?,
            profile,
            ssrcs: Vec::new(),
            scratch: BytesMut::new(),
        })
    }

    pub(super) fn profile(&self) -> &'static str {
        match self.profile {
            ProtectionProfile::AeadAes128Gcm => "AEAD_AES_128_GCM",
            _ => "AES_CM_128_HMAC_SHA1_80",
        }
    }

    /// `packet` with these numbers in place of its own, ready for the wire. None when the key is
    /// used up (2^48 packets).
    pub fn protect(&mut self, packet: &RtpPacket, ssrc: u32, payload_type: u8) -> Option<Vec<u8>> {
        let header = Header {
            version: 2,
            marker: packet.marker,
            payload_type,
            sequence_number: packet.sequence,
            timestamp: packet.timestamp,
            ssrc,
            ..Header::default()
        };
        let numbers = packet::RtpHeader {
            payload_type,
            ssrc,
            ..packet.header()
        };
        self.scratch
            .resize(packet::HEADER_BYTES + packet.payload.len(), 0);
        packet::write(&numbers, &packet.payload, &mut self.scratch)?;
        let bytes = self
            .outward
            .encrypt_rtp_with_header(&self.scratch, &header)
            .ok()?;
        Some(bytes.into())
    }

    pub fn unprotect(&mut self, datagram: &[u8]) -> Result<RtpPacket, Rejected> {
        let mut reader = datagram;
        let header = Header::unmarshal(&mut reader).map_err(|_| Rejected::Malformed)?;
        // The crate re-computes the header's length from what it kept of it; where that is not the
        // length on the wire, payload and authenticated part would be cut at the wrong place.
        if wire_header_bytes(datagram) != Some(header.marshal_size()) {
            return Err(Rejected::Malformed);
        }
        self.know(header.ssrc)?;
        let plain = self.inward.decrypt_rtp_with_header(datagram, &header);
        let plain: Bytes = plain.map_err(|_| Rejected::Undecipherable)?.freeze();
        let (header, payload) = packet::read(&plain).map_err(|_| Rejected::Malformed)?;
        let payload = plain.slice_ref(payload);
        Ok(header.with_payload(payload))
    }

    /// A compound RTCP packet, ready for the wire. None when the key is used up (2^31 packets).
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let bytes = self.outward.encrypt_rtcp(packet).ok()?;
        Some(bytes.into())
    }

    /// The compound RTCP packet in the clear.
    pub fn unprotect_rtcp(&mut self, datagram: &[u8]) -> Result<BytesMut, Rejected> {
        // The tag stands after the index with SHA-1's profiles, before it with GCM.
        let tag_bytes = self.profile.rtcp_auth_tag_len();
        let index = datagram.len().checked_sub(tag_bytes + SRTCP_INDEX_BYTES);
        let first = index
            .and_then(|index| datagram.get(index))
            .ok_or(Rejected::Malformed)?;
        // rtc-srtp accepts a forged packet that says it is not encrypted, and its index would
        // then shut the replay window to every real one.
        if first & ENCRYPTED_FLAG == 0 {
            return Err(Rejected::Unencrypted);
        }
        let ssrc = datagram.get(4..8).and_then(|bytes| bytes.try_into().ok());
        self.know(u32::from_be_bytes(ssrc.ok_or(Rejected::Malformed)?))?;
        self.inward
            .decrypt_rtcp(datagram)
            .map_err(|_| Rejected::Undecipherable)
    }

    fn know(&mut self, ssrc: u32) -> Result<(), Rejected> {
        if self.ssrcs.contains(&ssrc) {
            return Ok(());
        }
        if self.ssrcs.len() == SSRCS_MAX {
            return Err(Rejected::Undecipherable);
        }
        self.ssrcs.push(ssrc);
        Ok(())
    }
}

fn split(suite: Suite, key: &[u8]) -> Result<(&[u8], &[u8]), PeerError> {
    if key.len() != suite.key_bytes() {
        return Err(crypto_error("an SRTP key of the wrong length"));
    }
    Ok(key.split_at(suite.profile().key_len()))
}

/// Fixed header, CSRCs and extension as RFC 3550 5.1 lays them out.
fn wire_header_bytes(datagram: &[u8]) -> Option<usize> {
    let first = *datagram.first()?;
    let fixed = packet::HEADER_BYTES + usize::from(first & 0x0F) * 4;
    if first & 0x10 == 0 {
        return Some(fixed);
    }
    let words = datagram.get(fixed + 2..fixed + 4)?;
    Some(fixed + 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::packet::RtpHeader;

    const SSRC: u32 = 7;
    /// A sender report of SSRC 7 without blocks (RFC 3550 6.4.1).
    const REPORT: [u8; 28] = [
        0x80, 200, 0, 6, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1,
    ];

    /// Us and the browser.
    fn pair(profile: ProtectionProfile) -> (Srtp, Srtp) {
        let key = |byte| vec![byte; profile.key_len()];
        let salt = |byte| vec![byte; profile.salt_len()];
        let ours = SessionKeys {
            local_master_key: key(1),
            local_master_salt: salt(2),
            remote_master_key: key(3),
            remote_master_salt: salt(4),
        };
        let theirs = SessionKeys {
            local_master_key: key(3),
            local_master_salt: salt(4),
            remote_master_key: key(1),
            remote_master_salt: salt(2),
        };
        let provider = default_provider().expect("ring");
        let side = |keys| Srtp::with_keys(profile, keys, provider.as_ref()).expect("keys fit");
        (side(&ours), side(&theirs))
    }

    const PROFILES: [ProtectionProfile; 2] = [
        ProtectionProfile::AeadAes128Gcm,
        ProtectionProfile::Aes128CmHmacSha1_80,
    ];

    fn voice(sequence: u16) -> RtpPacket {
        RtpHeader {
            payload_type: 0,
            marker: false,
            sequence,
            timestamp: 160,
            ssrc: SSRC,
        }
        .with_payload(Bytes::from_static(&[0x55; 160]))
    }

    #[test]
    fn a_packet_arrives_as_it_was_sent_once() {
        for profile in PROFILES {
            let (mut us, mut browser) = pair(profile);
            for sequence in [65_534, 65_535, 0, 1] {
                let wire = browser
                    .protect(&voice(sequence), SSRC, 0)
                    .expect("protected");
                assert!(
                    !wire.windows(20).any(|bytes| bytes == [0x55; 20]),
                    "encrypted"
                );
                assert_eq!(us.unprotect(&wire), Ok(voice(sequence)));
                assert_eq!(
                    us.unprotect(&wire),
                    Err(Rejected::Undecipherable),
                    "a replay"
                );
            }
        }
    }

    #[test]
    fn a_changed_packet_is_rejected_wherever_it_was_changed() {
        for profile in PROFILES {
            let (mut us, mut browser) = pair(profile);
            let wire = browser.protect(&voice(1), SSRC, 0).expect("protected");
            for at in 0..wire.len() {
                let mut changed = wire.clone();
                changed[at] ^= 1;
                assert!(us.unprotect(&changed).is_err(), "byte {at}");
            }
            assert_eq!(us.unprotect(&wire), Ok(voice(1)));
        }
    }

    #[test]
    fn a_report_that_says_it_is_not_encrypted_is_dropped_and_shuts_nobody_out() {
        for profile in PROFILES {
            let (mut us, mut browser) = pair(profile);
            // E=0, the highest index, any tag.
            let mut forged = REPORT.to_vec();
            let tag = profile.rtcp_auth_tag_len();
            forged.extend([0x7F, 0xFF, 0xFF, 0xFF]);
            forged.extend(vec![0; tag]);
            // With GCM the tag stands before the index; make the length pass there, too.
            if tag == 0 {
                forged.splice(8..8, [0; 16]);
            }
            assert_eq!(us.unprotect_rtcp(&forged), Err(Rejected::Unencrypted));
            let real = browser.outward.encrypt_rtcp(&REPORT).expect("protected");
            assert_eq!(
                us.unprotect_rtcp(&real).map(|plain| plain.to_vec()),
                Ok(REPORT.to_vec())
            );
            assert!(us.unprotect_rtcp(&real).is_err(), "a replay");
        }
    }

    #[test]
    fn made_up_sources_do_not_fill_the_memory() {
        let (mut us, mut browser) = pair(ProtectionProfile::AeadAes128Gcm);
        let real = browser.protect(&voice(1), SSRC, 0).expect("protected");
        assert!(us.unprotect(&real).is_ok());
        for ssrc in 100..1_000 {
            let mut forged = real.clone();
            forged[8..12].copy_from_slice(&u32::to_be_bytes(ssrc));
            assert!(us.unprotect(&forged).is_err());
        }
        assert_eq!(us.ssrcs.len(), SSRCS_MAX);
        let real = browser.protect(&voice(2), SSRC, 0).expect("protected");
        assert!(us.unprotect(&real).is_ok(), "who was known stays known");
    }

    const SUITES: [Suite; 3] = [
        Suite::AeadAes128Gcm,
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
    ];

    fn signalled(suite: Suite, local: u8, remote: u8) -> SrtpKeys {
        let key = |byte| vec![byte; suite.key_bytes()];
        SrtpKeys {
            suite,
            local: key(local),
            remote: key(remote),
        }
    }

    #[test]
    fn signalled_keys_protect_voice_and_reports_in_every_suite() {
        for suite in SUITES {
            let mut us = Srtp::from_keys(&signalled(suite, 1, 2)).expect("keys fit");
            let mut phone = Srtp::from_keys(&signalled(suite, 2, 1)).expect("keys fit");
            let wire = phone.protect(&voice(1), SSRC, 0).expect("protected");
            assert_eq!(us.unprotect(&wire), Ok(voice(1)));
            let wire = us.protect_rtcp(&REPORT).expect("protected");
            let plain = phone.unprotect_rtcp(&wire).map(|plain| plain.to_vec());
            assert_eq!(plain, Ok(REPORT.to_vec()));
        }
    }

    #[test]
    fn a_key_that_stays_keeps_its_packet_index_and_a_new_one_begins_anew() {
        let suite = Suite::AesCm128HmacSha1_80;
        let was = signalled(suite, 1, 2);
        let mut us = Srtp::from_keys(&was).expect("keys fit");
        let mut phone = Srtp::from_keys(&signalled(suite, 2, 1)).expect("keys fit");
        // The sequence wraps: both sides count one rollover.
        for sequence in [65_534, 65_535, 0, 1] {
            let wire = us.protect(&voice(sequence), SSRC, 0).expect("protected");
            assert_eq!(phone.unprotect(&wire), Ok(voice(sequence)));
        }
        let is = signalled(suite, 1, 3);
        let mut again = Srtp::from_keys(&is).expect("keys fit");
        again.carry_over(us, &was, &is);
        let wire = again.protect(&voice(2), SSRC, 0).expect("protected");
        assert_eq!(phone.unprotect(&wire), Ok(voice(2)), "the same rollover");
        let mut rekeyed = Srtp::from_keys(&signalled(suite, 3, 1)).expect("keys fit");
        let wire = rekeyed.protect(&voice(9), SSRC, 0).expect("protected");
        assert_eq!(again.unprotect(&wire), Ok(voice(9)));
    }

    #[test]
    fn a_key_of_the_wrong_length_is_an_error() {
        let mut keys = signalled(Suite::AeadAes128Gcm, 1, 2);
        keys.remote.push(0);
        assert!(Srtp::from_keys(&keys).is_err());
        assert!(!format!("{keys:?}").contains("1, 1"), "keys are not shown");
    }

    #[test]
    fn crafted_packets_are_malformed() {
        let (mut us, _) = pair(ProtectionProfile::Aes128CmHmacSha1_80);
        // The packets that bring down rtp 0.17, rtcp 0.17 and webrtc-srtp 0.17.
        let rtp = [
            0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0xBE, 0xDE, 0, 1, 1, 1, 1, 1,
        ];
        assert!(us.unprotect(&rtp).is_err());
        assert!(us.unprotect(&[0x80]).is_err());
        assert!(us.unprotect_rtcp(&[0x80, 0, 0, 1]).is_err());
    }
}
