//! A trunk leg's sockets, and whom they believe.

use super::plane::PAYLOAD_BYTES_MAX;
use crate::media::coding::Coding;
use crate::media::opus::{Opus, OpusError};
use crate::media::packet::{HEADER_BYTES, RtpHeader, write};
use crate::peer::{PeerError, Srtp, SrtpKeys};
use crate::rtpio::PortPair;
use bytes::Bytes;
use std::net::SocketAddr;

/// About 40 packets, 0.8 s: what a starving worker finds later is not worth more.
pub const QUEUE_BYTES: usize = 32_768;

pub struct Trunk {
    pub sockets: PortPair,
    aim: Option<Aim>,
    srtp: Option<Secured>,
    /// `None`: it speaks G.711.
    opus: Option<Box<Opus>>,
}

struct Secured {
    keys: SrtpKeys,
    srtp: Box<Srtp>,
}

/// What SDP said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    pub remote: SocketAddr,
    pub payload_type: u8,
    pub telephone_event: Option<u8>,
    pub send: bool,
    pub receive: bool,
    latch: Latch,
}

/// Against injection and RTP bleed: the first valid source is believed, then no other, except that
/// the signalled address always wins over a stranger who was faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Latch {
    Open,
    Locked(SocketAddr),
}

/// What a datagram is to the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Voice,
    /// RFC 4733.
    Event,
    /// Of the stream, but on hold nobody is to hear it.
    Held,
    Refused,
}

impl Aim {
    pub fn new(
        remote: SocketAddr,
        payload_type: u8,
        telephone_event: Option<u8>,
        send: bool,
        receive: bool,
    ) -> Aim {
        Aim {
            remote,
            payload_type,
            telephone_event,
            send,
            receive,
            latch: Latch::Open,
        }
    }
}

impl Trunk {
    pub fn new(sockets: PortPair) -> Trunk {
        Trunk {
            sockets,
            aim: None,
            srtp: None,
            opus: None,
        }
    }

    /// The same coding again goes on where it was.
    pub fn code(&mut self, coding: Coding) -> Result<(), OpusError> {
        match (coding, &self.opus) {
            (Coding::G711(_), _) => self.opus = None,
            (Coding::Opus, Some(_)) => {}
            (Coding::Opus, None) => self.opus = Some(Box::new(Opus::new()?)),
        }
        Ok(())
    }

    pub fn opus(&mut self) -> Option<&mut Opus> {
        self.opus.as_deref_mut()
    }

    pub fn speaks_opus(&self) -> bool {
        self.opus.is_some()
    }

    /// Keys from SDP, and again at each re-INVITE; `None` is voice in the clear.
    pub fn secure(&mut self, keys: Option<SrtpKeys>) -> Result<(), PeerError> {
        let before = self.srtp.take();
        let Some(keys) = keys else {
            return Ok(());
        };
        self.srtp = Some(match before {
            Some(before) if before.keys == keys => before,
            before => {
                let mut srtp = Box::new(Srtp::from_keys(&keys)?);
                if let Some(before) = before {
                    srtp.carry_over(*before.srtp, &before.keys, &keys);
                }
                Secured { keys, srtp }
            }
        });
        Ok(())
    }

    pub fn srtp(&mut self) -> Option<&mut Srtp> {
        self.srtp.as_mut().map(|secured| &mut *secured.srtp)
    }

    /// Whether the kernel took it.
    pub fn send(&mut self, header: &RtpHeader, payload: &[u8], to: SocketAddr) -> bool {
        if let Some(Secured { srtp, .. }) = &mut self.srtp {
            let packet = header.with_payload(Bytes::copy_from_slice(payload));
            let wire = srtp.protect(&packet, header.ssrc, header.payload_type);
            return wire.is_some_and(|wire| self.sockets.rtp.send(&wire, to));
        }
        let mut datagram = [0; HEADER_BYTES + PAYLOAD_BYTES_MAX];
        let len = write(header, payload, &mut datagram);
        len.is_some_and(|len| self.sockets.rtp.send(&datagram[..len], to))
    }

    /// Whether the kernel took it.
    pub fn send_report(&mut self, report: &[u8], to: SocketAddr) -> bool {
        match &mut self.srtp {
            None => self.sockets.rtcp.send(report, to),
            Some(Secured { srtp, .. }) => srtp
                .protect_rtcp(report)
                .is_some_and(|wire| self.sockets.rtcp.send(&wire, to)),
        }
    }

    /// A new address opens the latch; the same one keeps it, since a NAT has not moved for a
    /// re-INVITE that holds.
    pub fn aim(&mut self, mut aim: Aim) {
        if let Some(before) = self.aim
            && before.remote == aim.remote
        {
            aim.latch = before.latch;
        }
        self.aim = Some(aim);
    }

    pub fn receives(&self) -> bool {
        self.aim.is_some_and(|aim| aim.receive)
    }

    /// What other legs' events are sent as, if the far side knows them.
    pub fn telephone_event(&self) -> Option<u8> {
        self.aim.and_then(|aim| aim.telephone_event)
    }

    /// Where RTP goes and its payload type.
    pub fn target(&self) -> Option<(SocketAddr, u8)> {
        let aim = self.aim.filter(|aim| aim.send)?;
        Some((aim.source(), aim.payload_type))
    }

    /// RFC 3550 section 11: RTCP goes to the next port.
    pub fn rtcp_target(&self) -> Option<SocketAddr> {
        let mut to = self.aim?.source();
        to.set_port(to.port().checked_add(1)?);
        Some(to)
    }

    pub fn believes_report(&self, from: SocketAddr) -> bool {
        self.aim.is_some_and(|aim| from.ip() == aim.source().ip())
    }

    /// Judges a well-formed packet; the first good one turns the latch.
    pub fn judge(&mut self, from: SocketAddr, header: &RtpHeader) -> Kind {
        let Some(aim) = &mut self.aim else {
            return Kind::Refused;
        };
        let kind = match header.payload_type {
            voice if voice == aim.payload_type => Kind::Voice,
            event if Some(event) == aim.telephone_event => Kind::Event,
            _ => return Kind::Refused,
        };
        match aim.latch {
            Latch::Locked(source) if from == source => {}
            Latch::Locked(_) if from != aim.remote => return Kind::Refused,
            _ => aim.latch = Latch::Locked(from),
        }
        if aim.receive { kind } else { Kind::Held }
    }
}

impl Aim {
    fn source(&self) -> SocketAddr {
        match self.latch {
            Latch::Open => self.remote,
            Latch::Locked(source) => source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const VOICE: RtpHeader = RtpHeader {
        payload_type: 8,
        marker: false,
        sequence: 1,
        timestamp: 2,
        ssrc: 3,
    };

    fn address(port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }

    fn trunk() -> Trunk {
        let free = (20_000..).step_by(2);
        let mut ports =
            free.filter_map(|port| PortPair::bind(address(0).ip(), port, QUEUE_BYTES).ok());
        let mut trunk = Trunk::new(ports.next().expect("some port is free"));
        trunk.aim(Aim::new(address(4_000), 8, Some(101), true, true));
        trunk
    }

    #[test]
    fn the_first_valid_source_is_locked() {
        let mut trunk = trunk();
        assert_eq!(trunk.target(), Some((address(4_000), 8)));
        let odd = RtpHeader {
            payload_type: 3,
            ..VOICE
        };
        assert_eq!(trunk.judge(address(666), &odd), Kind::Refused);
        assert_eq!(trunk.judge(address(5_000), &VOICE), Kind::Voice);
        assert_eq!(trunk.target(), Some((address(5_000), 8)));
        assert_eq!(trunk.judge(address(666), &VOICE), Kind::Refused);
        assert_eq!(trunk.target(), Some((address(5_000), 8)));
    }

    #[test]
    fn the_signalled_address_wins_over_a_faster_stranger() {
        let mut trunk = trunk();
        assert_eq!(trunk.judge(address(666), &VOICE), Kind::Voice);
        assert_eq!(trunk.judge(address(4_000), &VOICE), Kind::Voice);
        assert_eq!(trunk.judge(address(666), &VOICE), Kind::Refused);
        assert_eq!(trunk.target(), Some((address(4_000), 8)));
    }

    #[test]
    fn hold_keeps_the_latch_and_a_new_address_opens_it() {
        let mut trunk = trunk();
        trunk.judge(address(5_000), &VOICE);
        trunk.aim(Aim::new(address(4_000), 8, None, true, false));
        assert_eq!(trunk.target(), Some((address(5_000), 8)));
        assert_eq!(trunk.judge(address(5_000), &VOICE), Kind::Held);
        trunk.aim(Aim::new(address(6_000), 0, None, true, true));
        assert_eq!(trunk.target(), Some((address(6_000), 0)));
    }

    #[test]
    fn nothing_is_believed_or_sent_before_the_aim() {
        let mut trunk = trunk();
        trunk.aim = None;
        assert_eq!(trunk.judge(address(4_000), &VOICE), Kind::Refused);
        assert_eq!(trunk.target(), None);
        assert!(!trunk.believes_report(address(4_001)));
    }
}
