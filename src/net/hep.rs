//! HEPv3 (Homer Encapsulation Protocol, EEP rev. 12): SIP messages mirrored to a capture server,
//! one a UDP datagram. All chunks are of vendor 0; numbers are big-endian; a chunk's length counts
//! its six bytes of head.
//!
//! A capture server that is gone costs nothing but a counter: SIP never waits for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::now::UtcMs;
use crate::sip::Transport;

const MAGIC: &[u8] = b"HEP3";
const HEAD_BYTES: usize = 6;
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Head, addresses, times and a Call-ID, generously.
const CHUNKS_BYTES_MAX: usize = 1_024;
const CALL_ID_BYTES_MAX: usize = 512;

const IP_FAMILY: u16 = 0x01;
const IP_PROTOCOL: u16 = 0x02;
const IPV4_SOURCE: u16 = 0x03;
const IPV4_TARGET: u16 = 0x04;
const IPV6_SOURCE: u16 = 0x05;
const IPV6_TARGET: u16 = 0x06;
const SOURCE_PORT: u16 = 0x07;
const TARGET_PORT: u16 = 0x08;
const SECONDS: u16 = 0x09;
const MICROSECONDS: u16 = 0x0a;
const PAYLOAD_KIND: u16 = 0x0b;
const CAPTURE_ID: u16 = 0x0c;
const PASSWORD: u16 = 0x0e;
const PAYLOAD: u16 = 0x0f;
const CORRELATION_ID: u16 = 0x11;

const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_TCP: u8 = 6;
const KIND_SIP: u8 = 1;

/// Who we are to the capture server.
#[derive(Clone, PartialEq, Eq)]
pub struct HepIdentity {
    pub id: u32,
    /// Empty is none.
    pub password: String,
}

/// A socket toward one capture server.
pub struct HepSender {
    socket: UdpSocket,
    identity: HepIdentity,
    sent: u64,
    failed: u64,
}

impl HepSender {
    pub fn open(server: SocketAddr, identity: HepIdentity) -> io::Result<HepSender> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(server)?;
        Ok(HepSender {
            socket,
            identity,
            sent: 0,
            failed: 0,
        })
    }

    pub fn send(
        &mut self,
        at: UtcMs,
        transport: Transport,
        source: SocketAddr,
        target: SocketAddr,
        message: &[u8],
    ) {
        let packet = packet(&self.identity, at, transport, source, target, message);
        match self.socket.send(&packet) {
            Ok(_) => self.sent += 1,
            Err(_) => self.failed += 1,
        }
    }

    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }
}

impl std::fmt::Debug for HepSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HepSender")
            .field("sent", &self.sent)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// One message as a HEP datagram. What does not fit is cut off at its end.
#[must_use]
pub fn packet(
    identity: &HepIdentity,
    at: UtcMs,
    transport: Transport,
    source: SocketAddr,
    target: SocketAddr,
    message: &[u8],
) -> Vec<u8> {
    let millis = u64::try_from(at.0).unwrap_or(0);
    let seconds = u32::try_from(millis / 1_000).unwrap_or(u32::MAX);
    let micros = u32::try_from(millis % 1_000 * 1_000).unwrap_or(0);
    let protocol = match transport.is_reliable() {
        true => PROTOCOL_TCP,
        false => PROTOCOL_UDP,
    };
    let message = &message[..message.len().min(DATAGRAM_BYTES_MAX - CHUNKS_BYTES_MAX)];
    let mut out = Vec::with_capacity(message.len() + 256);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[0, 0]);
    match same_family(source.ip(), target.ip()) {
        Pair::V4(from, to) => {
            chunk(&mut out, IP_FAMILY, &[FAMILY_IPV4]);
            chunk(&mut out, IP_PROTOCOL, &[protocol]);
            chunk(&mut out, IPV4_SOURCE, &from.octets());
            chunk(&mut out, IPV4_TARGET, &to.octets());
        }
        Pair::V6(from, to) => {
            chunk(&mut out, IP_FAMILY, &[FAMILY_IPV6]);
            chunk(&mut out, IP_PROTOCOL, &[protocol]);
            chunk(&mut out, IPV6_SOURCE, &from.octets());
            chunk(&mut out, IPV6_TARGET, &to.octets());
        }
    }
    chunk(&mut out, SOURCE_PORT, &source.port().to_be_bytes());
    chunk(&mut out, TARGET_PORT, &target.port().to_be_bytes());
    chunk(&mut out, SECONDS, &seconds.to_be_bytes());
    chunk(&mut out, MICROSECONDS, &micros.to_be_bytes());
    chunk(&mut out, PAYLOAD_KIND, &[KIND_SIP]);
    chunk(&mut out, CAPTURE_ID, &identity.id.to_be_bytes());
    if !identity.password.is_empty() {
        chunk(&mut out, PASSWORD, identity.password.as_bytes());
    }
    if let Some(call_id) = call_id(message) {
        chunk(&mut out, CORRELATION_ID, call_id);
    }
    chunk(&mut out, PAYLOAD, message);
    let length = u16::try_from(out.len()).unwrap_or(u16::MAX);
    out[4..6].copy_from_slice(&length.to_be_bytes());
    out
}

/// Both ends in one family, as a capture wants them: a wildcard follows the other end.
pub enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

#[must_use]
pub fn same_family(source: IpAddr, target: IpAddr) -> Pair {
    let (source, target) = (source.to_canonical(), target.to_canonical());
    let as_v6 = |ip: IpAddr| match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv6Addr::UNSPECIFIED,
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => Pair::V4(source, target),
        (IpAddr::V4(source), IpAddr::V6(target)) if target.is_unspecified() => {
            Pair::V4(source, Ipv4Addr::UNSPECIFIED)
        }
        (IpAddr::V6(source), IpAddr::V4(target)) if source.is_unspecified() => {
            Pair::V4(Ipv4Addr::UNSPECIFIED, target)
        }
        (source, target) => Pair::V6(as_v6(source), as_v6(target)),
    }
}

fn chunk(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(HEAD_BYTES + value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

/// The value of Call-ID, or of its compact name `i`, as written.
#[must_use]
pub fn call_id(message: &[u8]) -> Option<&[u8]> {
    let lines = message.split(|byte| *byte == b'\n').skip(1);
    for line in lines {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return None;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = line[..colon].trim_ascii_end();
        if name.eq_ignore_ascii_case(b"call-id") || name.eq_ignore_ascii_case(b"i") {
            let value = line[colon + 1..].trim_ascii();
            return (1..=CALL_ID_BYTES_MAX)
                .contains(&value.len())
                .then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] =
        b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\ni : abc@here\r\n\r\nCall-ID: no\r\n";

    fn identity() -> HepIdentity {
        HepIdentity {
            id: 2_001,
            password: "pw".to_owned(),
        }
    }

    /// Every chunk: vendor, type, value.
    fn chunks(packet: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
        assert_eq!(&packet[..4], MAGIC);
        let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        assert_eq!(usize::from(number(4)), packet.len());
        let (mut at, mut found) = (6, Vec::new());
        while at < packet.len() {
            let end = at + usize::from(number(at + 4));
            found.push((number(at), number(at + 2), packet[at + 6..end].to_vec()));
            at = end;
        }
        found
    }

    #[test]
    fn every_chunk_stands_as_the_specification_has_it() {
        let (source, target) = ("192.0.2.1:5060", "192.0.2.2:5070");
        let packet = packet(
            &identity(),
            UtcMs(1_700_000_000_123),
            Transport::Udp,
            source.parse().unwrap(),
            target.parse().unwrap(),
            MESSAGE,
        );
        let found = chunks(&packet);
        assert!(found.iter().all(|(vendor, ..)| *vendor == 0));
        let value = |kind: u16| {
            let found = found.iter().find(|(_, it, _)| *it == kind);
            found.map(|(.., value)| value.as_slice())
        };
        assert_eq!(value(IP_FAMILY), Some(&[2][..]));
        assert_eq!(value(IP_PROTOCOL), Some(&[17][..]));
        assert_eq!(value(IPV4_SOURCE), Some(&[192, 0, 2, 1][..]));
        assert_eq!(value(TARGET_PORT), Some(&5070_u16.to_be_bytes()[..]));
        assert_eq!(value(SECONDS), Some(&1_700_000_000_u32.to_be_bytes()[..]));
        assert_eq!(value(MICROSECONDS), Some(&123_000_u32.to_be_bytes()[..]));
        assert_eq!(value(CAPTURE_ID), Some(&2_001_u32.to_be_bytes()[..]));
        assert_eq!(value(PASSWORD), Some(&b"pw"[..]));
        assert_eq!(value(CORRELATION_ID), Some(&b"abc@here"[..]));
        assert_eq!(value(PAYLOAD), Some(MESSAGE));
    }

    #[test]
    fn ipv6_and_streams_are_told_apart_and_a_wildcard_follows_the_other_end() {
        let packet = packet(
            &identity(),
            UtcMs(0),
            Transport::Wss,
            "[2001:db8::1]:443".parse().unwrap(),
            "0.0.0.0:5060".parse().unwrap(),
            MESSAGE,
        );
        let found = chunks(&packet);
        let has = |kind: u16, value: &[u8]| found.iter().any(|it| it.1 == kind && it.2 == value);
        assert!(has(IP_FAMILY, &[10]) && has(IP_PROTOCOL, &[6]));
        assert!(has(IPV6_TARGET, &[0; 16]));
    }

    #[test]
    fn a_giant_is_cut_so_that_it_fits_one_datagram() {
        let mut giant = MESSAGE.to_vec();
        giant.resize(70_000, b'x');
        let here: SocketAddr = "127.0.27.1:5060".parse().unwrap();
        let packet = packet(&identity(), UtcMs(0), Transport::Ws, here, here, &giant);
        assert!(packet.len() <= DATAGRAM_BYTES_MAX);
        chunks(&packet);
    }

    #[test]
    fn a_server_that_is_gone_is_a_counter() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = closed.local_addr().unwrap();
        drop(closed);
        let mut sender = HepSender::open(server, identity()).unwrap();
        for _ in 0..20 {
            sender.send(UtcMs(0), Transport::Udp, server, server, MESSAGE);
        }
        assert_eq!(sender.sent() + sender.failed(), 20);
        assert!(sender.failed() > 0, "an ICMP refusal is told by the kernel");
    }
}
