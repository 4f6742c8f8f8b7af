//! SRTP and SRTCP of one leg (RFC 3711, RFC 7714), keyed by its handshake.

use bytes::{Bytes, BytesMut};
use rtc::crypto::RTCCryptoProvider;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::dtls::state::State;
use rtc::rtp::Header;
use rtc::shared::marshal::{MarshalSize, Unmarshal};
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
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
        let keys = &config.keys;
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
