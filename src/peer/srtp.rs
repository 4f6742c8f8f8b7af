//! SRTP and SRTCP of one leg (RFC 3711, RFC 7714), keyed by its handshake.

use bytes::{Bytes, BytesMut};
use rtc::crypto::RTCCryptoProvider;
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

pub(super) struct Srtp {
    outward: Context,
    inward: Context,
    profile: ProtectionProfile,
    ssrcs: Vec<u32>,
    scratch: BytesMut,
}

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    Malformed,
    Undecipherable,
    Unencrypted,
}

impl Srtp {
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
    pub(super) fn protect(
        &mut self,
        packet: &RtpPacket,
        ssrc: u32,
        payload_type: u8,
    ) -> Option<Vec<u8>> {
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

    pub(super) fn unprotect(&mut self, datagram: &[u8]) -> Result<RtpPacket, Rejected> {
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

    /// The compound RTCP packet in the clear.
    pub(super) fn unprotect_rtcp(&mut self, datagram: &[u8]) -> Result<BytesMut, Rejected> {
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
    use rtc::crypto::default_provider;

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
