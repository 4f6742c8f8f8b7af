//! RTP packets, RFC 3550 section 5.1: the one seam between the `rtp` crate and the house.
//!
//! The `rtp` crate's reader panics on crafted packets (an extension element that reaches past
//! the datagram), so every datagram first passes [`check`], our own walk over the header, and the
//! payload is taken at the place that walk found.

use bytes::Bytes;
use rtp::header::Header;
use webrtc_util::marshal::{Marshal, MarshalSize, Unmarshal};

/// A header without CSRCs and extensions, which is the only kind we send.
pub const HEADER_BYTES: usize = 12;

/// What an Ethernet path carries; a longer datagram is no voice packet.
pub const DATAGRAM_BYTES_MAX: usize = 1_500;

const PROFILE_ONE_BYTE: u16 = 0xBEDE;
const PROFILE_TWO_BYTE: u16 = 0x1000;

/// The fixed header's fields that matter to a voice packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    /// In units of the payload's clock, 8 kHz for G.711.
    pub timestamp: u32,
    pub ssrc: u32,
}

/// An RTP packet that owns its payload. CSRCs, extensions and padding are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpPacket {
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    /// In units of the payload's clock, 8 kHz for G.711.
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: Bytes,
}

/// Why a datagram is not taken for an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("shorter than its own header says")]
    Short,
    #[error("longer than any voice packet")]
    Long,
    #[error("not RTP version 2")]
    Version,
    #[error("an extension element reaches past its extension")]
    Extension,
    #[error("padding is longer than the payload, or empty")]
    Padding,
}

impl RtpHeader {
    #[must_use]
    pub fn with_payload(self, payload: Bytes) -> RtpPacket {
        let RtpHeader {
            payload_type,
            marker,
            sequence,
            timestamp,
            ssrc,
        } = self;
        RtpPacket {
            payload_type,
            marker,
            sequence,
            timestamp,
            ssrc,
            payload,
        }
    }
}

impl RtpPacket {
    #[must_use]
    pub fn header(&self) -> RtpHeader {
        RtpHeader {
            payload_type: self.payload_type,
            marker: self.marker,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
    }

    /// Reads a datagram into a packet of its own.
    pub fn read(datagram: &[u8]) -> Result<RtpPacket, Malformed> {
        let (header, payload) = read(datagram)?;
        Ok(header.with_payload(Bytes::copy_from_slice(payload)))
    }
}

impl From<rtp::packet::Packet> for RtpPacket {
    fn from(packet: rtp::packet::Packet) -> RtpPacket {
        from_crate(&packet.header).with_payload(packet.payload)
    }
}

impl From<RtpPacket> for rtp::packet::Packet {
    fn from(packet: RtpPacket) -> rtp::packet::Packet {
        rtp::packet::Packet {
            header: to_crate(&packet.header()),
            payload: packet.payload,
        }
    }
}

/// Reads a datagram in place: its header, and the payload without padding.
pub fn read(datagram: &[u8]) -> Result<(RtpHeader, &[u8]), Malformed> {
    let payload = check(datagram)?;
    let mut reader = datagram;
    let header = Header::unmarshal(&mut reader).map_err(|_| Malformed::Short)?;
    Ok((from_crate(&header), payload))
}

/// Writes header and payload into `into`; the bytes used, or `None` when they do not fit.
pub fn write(header: &RtpHeader, payload: &[u8], into: &mut [u8]) -> Option<usize> {
    let header = to_crate(header);
    let start = header.marshal_size();
    let end = start + payload.len();
    if end > into.len() {
        return None;
    }
    header.marshal_to(&mut into[..start]).ok()?;
    into[start..end].copy_from_slice(payload);
    Some(end)
}

/// Whether a datagram on an RTP port is RTCP (RFC 5761 section 4: packet types 192 to 223).
#[must_use]
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.len() >= 8 && datagram[0] >> 6 == 2 && (192..=223).contains(&datagram[1])
}

/// Walks fixed header, CSRCs, extension elements and padding; gives the payload.
fn check(datagram: &[u8]) -> Result<&[u8], Malformed> {
    if datagram.len() > DATAGRAM_BYTES_MAX {
        return Err(Malformed::Long);
    }
    let first = *datagram.first().ok_or(Malformed::Short)?;
    if first >> 6 != 2 {
        return Err(Malformed::Version);
    }
    let mut start = HEADER_BYTES + usize::from(first & 0x0F) * 4;
    if datagram.len() < start {
        return Err(Malformed::Short);
    }
    if first & 0x10 != 0 {
        start += extension_bytes(&datagram[start..])?;
    }
    let payload = &datagram[start..];
    if first & 0x20 == 0 {
        return Ok(payload);
    }
    let padding = usize::from(*payload.last().ok_or(Malformed::Padding)?);
    match payload.len().checked_sub(padding) {
        Some(len) if padding > 0 => Ok(&payload[..len]),
        _ => Err(Malformed::Padding),
    }
}

/// Bytes of the extension at the front of `rest`, its own four-byte header included.
fn extension_bytes(rest: &[u8]) -> Result<usize, Malformed> {
    let [p0, p1, l0, l1, after @ ..] = rest else {
        return Err(Malformed::Short);
    };
    let len = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
    let elements = after.get(..len).ok_or(Malformed::Short)?;
    match u16::from_be_bytes([*p0, *p1]) {
        PROFILE_ONE_BYTE => check_elements(elements, 1)?,
        PROFILE_TWO_BYTE => check_elements(elements, 2)?,
        _ => {}
    }
    Ok(4 + len)
}

/// RFC 8285 sections 4.2 and 4.3: every element must end inside the extension.
fn check_elements(mut elements: &[u8], head_bytes: usize) -> Result<(), Malformed> {
    while let Some(&first) = elements.first() {
        if first == 0 {
            elements = &elements[1..];
            continue;
        }
        if head_bytes == 1 && first >> 4 == 15 {
            return Ok(()); // RFC 8285 4.2: id 15 ends the reading
        }
        let len = match head_bytes {
            1 => usize::from(first & 0x0F) + 1,
            _ => usize::from(*elements.get(1).ok_or(Malformed::Extension)?),
        };
        elements = elements
            .get(head_bytes + len..)
            .ok_or(Malformed::Extension)?;
    }
    Ok(())
}

fn from_crate(header: &Header) -> RtpHeader {
    RtpHeader {
        payload_type: header.payload_type,
        marker: header.marker,
        sequence: header.sequence_number,
        timestamp: header.timestamp,
        ssrc: header.ssrc,
    }
}

fn to_crate(header: &RtpHeader) -> Header {
    Header {
        version: 2,
        marker: header.marker,
        payload_type: header.payload_type & 0x7F,
        sequence_number: header.sequence,
        timestamp: header.timestamp,
        ssrc: header.ssrc,
        ..Header::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .chars()
            .filter_map(|c| c.to_digit(16))
            .map(|d| d as u8)
            .collect();
        digits
            .chunks(2)
            .map(|pair| (pair[0] << 4) | pair[1])
            .collect()
    }

    const HEADER: RtpHeader = RtpHeader {
        payload_type: 8,
        marker: true,
        sequence: 65_535,
        timestamp: u32::MAX,
        ssrc: 0xDEAD_BEEF,
    };

    #[test]
    fn the_packets_that_panic_the_crates_are_refused() {
        let past_the_end = hex("90000001 00000000 00000007 bede0001 01010101");
        assert_eq!(read(&past_the_end), Err(Malformed::Extension));
        assert_eq!(read(&hex("80000001")), Err(Malformed::Short));
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let mut datagram = [0; 64];
        let len = write(&HEADER, b"voice", &mut datagram).expect("it fits");
        assert_eq!(len, HEADER_BYTES + 5);
        assert_eq!(read(&datagram[..len]), Ok((HEADER, &b"voice"[..])));
        assert_eq!(write(&HEADER, b"voice", &mut [0; 16]), None);
    }

    #[test]
    fn csrcs_extensions_and_padding_are_stepped_over() {
        // one CSRC; one-byte extension: id 1 of 2 bytes, padding byte; payload 3 bytes + 2 padding
        let datagram = hex("b1080010 00000020 00000030 0000aaaa bede0001 11abcd00 010203 0002");
        let (header, payload) = read(&datagram).expect("well formed");
        assert_eq!(
            (header.payload_type, header.sequence, header.timestamp),
            (8, 16, 32)
        );
        assert_eq!(payload, [1, 2, 3]);
    }

    #[test]
    fn an_extension_ended_by_id_15_leaves_nothing_in_the_payload() {
        let datagram = hex("90000010 00000020 00000030 bede0002 f0aabbcc ddeeff00 010203");
        assert_eq!(read(&datagram).expect("well formed").1, [1, 2, 3]);
    }

    #[test]
    fn padding_longer_than_the_payload_is_refused() {
        assert_eq!(
            read(&hex("a0000001 00000000 00000007 0105")),
            Err(Malformed::Padding)
        );
        assert_eq!(
            read(&hex("a0000001 00000000 00000007 0100")),
            Err(Malformed::Padding)
        );
        assert_eq!(
            read(&hex("a0000001 00000000 00000007")),
            Err(Malformed::Padding)
        );
    }

    #[test]
    fn rtcp_is_told_from_rtp_with_a_marker() {
        assert!(is_rtcp(&hex("80c80006 00000000")));
        assert!(!is_rtcp(&hex("80880006 00000000")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_bytes_panic_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_extension_panics_the_reader(
            csrcs in 0u8..16,
            profile in prop_oneof![Just(PROFILE_ONE_BYTE), Just(PROFILE_TWO_BYTE), any::<u16>()],
            words in 0u16..12,
            rest in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let mut bytes = vec![0xB0 | csrcs, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
            bytes.extend(std::iter::repeat_n(9, usize::from(csrcs) * 4));
            bytes.extend(profile.to_be_bytes());
            bytes.extend(words.to_be_bytes());
            bytes.extend(&rest);
            if let Ok((header, payload)) = read(&bytes) {
                prop_assert_eq!(header.ssrc, 3);
                prop_assert!(payload.len() < rest.len());
            }
        }
    }
}
