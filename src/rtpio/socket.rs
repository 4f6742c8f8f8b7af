//! Nonblocking UDP sockets with short queues.

use mio::event::Source;
use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Errors that earlier datagrams left on the socket (ICMP), read past in one go.
const ERRORS_SKIPPED_MAX: usize = 16;

#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    local: SocketAddr,
}

/// A trunk leg's two sockets: RTP on a port, RTCP on the next (RFC 3550 section 11).
#[derive(Debug)]
pub struct PortPair {
    pub rtp: Socket,
    pub rtcp: Socket,
}

impl Socket {
    /// `queue_bytes` bounds what the kernel keeps for us: voice that waited too long is worth
    /// nothing. Port 0 takes any.
    pub fn bind(at: SocketAddr, queue_bytes: usize) -> io::Result<Socket> {
        let socket =
            socket2::Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(queue_bytes)?;
        socket.bind(&at.into())?;
        let socket = UdpSocket::from_std(socket.into());
        let local = socket.local_addr()?;
        Ok(Socket { socket, local })
    }

    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next datagram, or `None` when there is none for now.
    pub fn receive(&self, into: &mut [u8]) -> Option<(usize, SocketAddr)> {
        for _ in 0..ERRORS_SKIPPED_MAX {
            match self.socket.recv_from(into) {
                Ok(received) => return Some(received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // ECONNREFUSED and the like speak of a datagram sent before.
                Err(_) => {}
            }
        }
        None
    }

    /// Whether the kernel took it. Voice that it did not take is not sent later.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) -> bool {
        self.socket.send_to(datagram, to).is_ok()
    }

    pub(super) fn source(&mut self) -> &mut impl Source {
        &mut self.socket
    }
}

impl PortPair {
    /// Binds `port` and `port + 1`, both or none.
    pub fn bind(ip: IpAddr, port: u16, queue_bytes: usize) -> io::Result<PortPair> {
        let next = port.checked_add(1).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(PortPair {
            rtp: Socket::bind(SocketAddr::new(ip, port), queue_bytes)?,
            rtcp: Socket::bind(SocketAddr::new(ip, next), queue_bytes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Reactor, Ready};
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_datagram_and_the_bell_wake_the_reactor() {
        let (mut reactor, bell) = Reactor::new().expect("epoll");
        let mut ours = Socket::bind(ANY, 32_768).expect("a port");
        let theirs = Socket::bind(ANY, 32_768).expect("a port");
        reactor.add(&mut ours, 5).expect("added");
        let mut buffer = [0; 64];
        assert_eq!(ours.receive(&mut buffer), None);

        assert!(theirs.send(b"voice", ours.local()));
        let mut ready = vec![];
        reactor
            .wait(Some(Duration::from_secs(5)), &mut ready)
            .expect("waited");
        assert_eq!(ready, [Ready::Socket(5)]);
        assert_eq!(ours.receive(&mut buffer), Some((5, theirs.local())));

        ready.clear();
        bell.ring().expect("rung");
        reactor
            .wait(Some(Duration::from_secs(5)), &mut ready)
            .expect("waited");
        assert_eq!(ready, [Ready::Bell]);
    }

    #[test]
    fn a_taken_port_is_an_error_and_frees_the_other() {
        let taken = Socket::bind(ANY, 32_768).expect("a port");
        let before = taken.local().port() - 1;
        let pair = PortPair::bind(ANY.ip(), before, 32_768);
        assert_eq!(pair.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        drop(taken);
        PortPair::bind(ANY.ip(), before, 32_768).expect("both are free again");
    }
}
