//! SIP messages as a pcapng file (draft-ietf-opsawg-pcapng): Ethernet, IPv4 or IPv6, UDP, with
//! right checksums, so that tshark, Wireshark and sngrep read them as SIP.
//!
//! What came over TCP, TLS or a WebSocket is written as UDP too, one message a datagram, with a
//! comment that says so: there is no stream left to show after decryption. Little-endian; times in
//! microseconds.

use crate::net::hep::{Pair, same_family};
use std::io::{self, Write};
use std::net::SocketAddr;

const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const LINK_ETHERNET: u16 = 1;
const SNAP_BYTES: u32 = 262_144;
const OPTION_COMMENT: u16 = 1;
const OPTION_NAME: u16 = 2;
const OPTION_FLAGS: u16 = 2;
const OPTION_PROGRAM: u16 = 4;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// Locally administered; the switch is 1, everyone else 2.
const MAC_OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const MAC_THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];
const UDP: u8 = 17;
const UDP_HEAD_BYTES: usize = 8;
const HOPS: u8 = 64;
/// What one IPv4 datagram holds.
const PAYLOAD_BYTES_MAX: usize = 65_507;

/// One message to be written.
pub(super) struct Packet<'a> {
    pub at_ms: u64,
    pub outbound: bool,
    pub transport: &'a str,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub message: &'a [u8],
}

pub(super) struct Pcap<W: Write> {
    out: W,
}

impl<W: Write> Pcap<W> {
    /// Begins a file.
    pub(super) fn begin(mut out: W) -> io::Result<Pcap<W>> {
        let mut section = Vec::new();
        section.extend_from_slice(&BYTE_ORDER.to_le_bytes());
        section.extend_from_slice(&1_u16.to_le_bytes());
        section.extend_from_slice(&0_u16.to_le_bytes());
        // Of unknown length.
        section.extend_from_slice(&u64::MAX.to_le_bytes());
        let program = concat!("foredial ", env!("CARGO_PKG_VERSION"));
        option(&mut section, OPTION_PROGRAM, program.as_bytes());
        option(&mut section, 0, b"");
        block(&mut out, SECTION, &section)?;
        let mut interface = Vec::new();
        interface.extend_from_slice(&LINK_ETHERNET.to_le_bytes());
        interface.extend_from_slice(&0_u16.to_le_bytes());
        interface.extend_from_slice(&SNAP_BYTES.to_le_bytes());
        option(&mut interface, OPTION_NAME, b"foredial");
        option(&mut interface, 0, b"");
        block(&mut out, INTERFACE, &interface)?;
        Ok(Pcap { out })
    }

    pub(super) fn write(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let (source, target) = match packet.outbound {
            true => (packet.local, packet.remote),
            false => (packet.remote, packet.local),
        };
        let kept = packet.message.len().min(PAYLOAD_BYTES_MAX);
        let frame = frame(packet.outbound, source, target, &packet.message[..kept]);
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let micros = packet.at_ms.saturating_mul(1_000);
        let mut body = Vec::with_capacity(frame.len() + 128);
        for number in [
            0,
            (micros >> 32) as u32,
            (micros & 0xffff_ffff) as u32,
            length,
            length,
        ] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        body.extend_from_slice(&frame);
        pad(&mut body);
        if let Some(note) = note(packet, kept) {
            option(&mut body, OPTION_COMMENT, note.as_bytes());
        }
        let flags = if packet.outbound { OUTBOUND } else { INBOUND };
        option(&mut body, OPTION_FLAGS, &flags.to_le_bytes());
        option(&mut body, 0, b"");
        block(&mut self.out, PACKET, &body)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What the frame does not show as it was.
fn note(packet: &Packet<'_>, kept: usize) -> Option<String> {
    let mut notes = Vec::new();
    if packet.transport != "UDP" {
        notes.push(format!("{} in truth, written as UDP", packet.transport));
    }
    if kept < packet.message.len() {
        notes.push(format!("cut off, {} bytes in truth", packet.message.len()));
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

fn frame(outbound: bool, source: SocketAddr, target: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let (from, to) = match outbound {
        true => (MAC_OURS, MAC_THEIRS),
        false => (MAC_THEIRS, MAC_OURS),
    };
    let mut udp = Vec::with_capacity(UDP_HEAD_BYTES + payload.len());
    // Bounded by `PAYLOAD_BYTES_MAX`.
    let udp_length = u16::try_from(UDP_HEAD_BYTES + payload.len()).unwrap_or(u16::MAX);
    udp.extend_from_slice(&source.port().to_be_bytes());
    udp.extend_from_slice(&target.port().to_be_bytes());
    udp.extend_from_slice(&udp_length.to_be_bytes());
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(payload);
    let mut out = Vec::with_capacity(udp.len() + 54);
    out.extend_from_slice(&to);
    out.extend_from_slice(&from);
    let (ip, addresses) = match same_family(source.ip(), target.ip()) {
        Pair::V4(source, target) => {
            out.extend_from_slice(&ETHERTYPE_IPV4);
            let addresses = [source.octets(), target.octets()].concat();
            (ipv4_head(udp_length, &addresses), addresses)
        }
        Pair::V6(source, target) => {
            out.extend_from_slice(&ETHERTYPE_IPV6);
            let addresses = [source.octets(), target.octets()].concat();
            (ipv6_head(udp_length, &addresses), addresses)
        }
    };
    let length = udp_length.to_be_bytes();
    let pseudo = [&addresses[..], &[0, UDP], &length].concat();
    // RFC 768: a sum of zero is written as its other form.
    let sum = match checksum(&[&pseudo, &udp]) {
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&ip);
    out.extend_from_slice(&udp);
    out
}

/// RFC 791 3.1, without options.
fn ipv4_head(udp_length: u16, addresses: &[u8]) -> Vec<u8> {
    let length = udp_length.saturating_add(20).to_be_bytes();
    let mut head = vec![
        0x45, 0, length[0], length[1], 0, 0, 0x40, 0, HOPS, UDP, 0, 0,
    ];
    head.extend_from_slice(addresses);
    let sum = checksum(&[&head]).to_be_bytes();
    head[10..12].copy_from_slice(&sum);
    head
}

/// RFC 8200 3.
fn ipv6_head(udp_length: u16, addresses: &[u8]) -> Vec<u8> {
    let length = udp_length.to_be_bytes();
    let mut head = vec![0x60, 0, 0, 0, length[0], length[1], UDP, HOPS];
    head.extend_from_slice(addresses);
    head
}

/// RFC 1071. Every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !(sum as u16)
}

fn block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX);
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(body)?;
    out.write_all(&length.to_le_bytes())
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Ours are short.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    while !body.len().is_multiple_of(4) {
        body.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const MESSAGE: &[u8] = b"OPTIONS sip:probe@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: abc\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

    fn file(packets: &[(&str, &str, &str)]) -> Vec<u8> {
        let mut pcap = Pcap::begin(Vec::new()).unwrap();
        for (at, (transport, local, remote)) in packets.iter().enumerate() {
            pcap.write(&Packet {
                at_ms: 1_700_000_000_000 + at as u64,
                outbound: at % 2 == 0,
                transport,
                local: local.parse().unwrap(),
                remote: remote.parse().unwrap(),
                message: MESSAGE,
            })
            .unwrap();
        }
        pcap.out
    }

    #[test]
    fn a_checksum_over_its_own_header_is_zero() {
        let head = ipv4_head(100, &[127, 0, 27, 1, 127, 0, 27, 2]);
        assert_eq!(checksum(&[&head]), 0);
        assert_eq!(head.len(), 20);
    }

    #[test]
    fn blocks_are_as_long_as_they_say_at_both_ends() {
        let bytes = file(&[("TLS", "127.0.27.1:5061", "[2001:db8::1]:40000")]);
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let (mut at, mut kinds) = (0, Vec::new());
        while at < bytes.len() {
            let length = number(at + 4) as usize;
            assert_eq!((length % 4, number(at + length - 4) as usize), (0, length));
            kinds.push(number(at));
            at += length;
        }
        assert_eq!(kinds, [SECTION, INTERFACE, PACKET]);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("TLS in truth, written as UDP"));
    }

    #[test]
    fn tshark_reads_every_transport_and_family_as_sip_with_right_checksums() {
        let bytes = file(&[
            ("UDP", "127.0.27.1:5060", "127.0.27.2:5070"),
            ("UDP", "[2001:db8::1]:5060", "[2001:db8::2]:5060"),
            ("TCP", "127.0.27.1:5070", "127.0.27.2:40000"),
            ("WSS", "[::]:8443", "127.0.27.9:50000"),
            ("TLS", "0.0.0.0:5061", "[2001:db8::9]:50001"),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.pcapng");
        std::fs::write(&path, bytes).unwrap();
        let asked = Command::new("tshark")
            .args([
                "-n",
                "-o",
                "udp.check_checksum:TRUE",
                "-o",
                "ip.check_checksum:TRUE",
            ])
            .args([
                "-T",
                "fields",
                "-E",
                "separator=,",
                "-e",
                "frame.protocols",
                "-e",
                "sip.Method",
            ])
            .args(["-e", "udp.checksum.status", "-e", "frame.comment", "-r"])
            .arg(&path)
            .output();
        let Ok(output) = asked else {
            eprintln!("no tshark here: its reading is not tried");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines,
            [
                "eth:ethertype:ip:udp:sip,OPTIONS,1,",
                "eth:ethertype:ipv6:udp:sip,OPTIONS,1,",
                "eth:ethertype:ip:udp:sip,OPTIONS,1,TCP in truth, written as UDP",
                "eth:ethertype:ip:udp:sip,OPTIONS,1,WSS in truth, written as UDP",
                "eth:ethertype:ipv6:udp:sip,OPTIONS,1,TLS in truth, written as UDP",
            ],
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
