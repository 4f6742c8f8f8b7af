//! What a UDP socket for SIP could not deliver: the ICMP errors of what it sent, with whom it was
//! sent to (ip(7) `IP_RECVERR`, ipv6(7) `IPV6_RECVERR`; RFC 3261 §18.4, RFC 1122 §4.1.3.3).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Errors that may wait for the loop. One that finds no room is lost: the transaction then ends
/// by its timer, as it would without ICMP.
pub const WAITING_MAX: usize = 256;
/// Of a returned packet nothing but its address is of interest.
const RETURNED_BYTES: usize = 64;

/// Nobody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Which of our sockets sent it: the id of its flow.
    pub socket: u64,
    pub remote: SocketAddr,
}

/// From now on the kernel keeps the ICMP errors of this socket for [`watch`]. The second descriptor
/// is woken for errors alone, and shares no readiness with whoever reads and writes.
pub(super) fn keep(socket: &UdpSocket) -> io::Result<AsyncFd<OwnedFd>> {
    match socket.local_addr()?.is_ipv4() {
        true => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
        false => setsockopt(socket, sockopt::Ipv6RecvErr, &true)?,
    }
    let second = socket.as_fd().try_clone_to_owned()?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe code, for a promise that an OwnedFd keeps by itself"
    )]
    AsyncFd::with_interest(second, Interest::PRIORITY)
}

/// Tells of every address the socket could not reach, until the receiver is gone.
pub(super) async fn watch(
    number: u64,
    socket: AsyncFd<OwnedFd>,
    unreachable: mpsc::Sender<Unreachable>,
) {
    while let Ok(mut ready) = socket.ready(Interest::ERROR).await {
        // Until `WouldBlock`, which waits for the next one.
        while let Ok(taken) = ready.try_io(|socket| take(socket.get_ref())) {
            let Ok(Some(remote)) = taken else { continue };
            tracing::debug!(%remote, "ICMP: unreachable");
            let told = unreachable.try_send(Unreachable {
                socket: number,
                remote,
            });
            if matches!(told, Err(mpsc::error::TrySendError::Closed(_))) {
                return;
            }
        }
    }
}

/// The next error the kernel has kept; `None` for one that says nothing of a peer.
fn take(socket: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    let mut returned = [0; RETURNED_BYTES];
    let mut parts = [io::IoSliceMut::new(&mut returned)];
    let mut space = cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in6);
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
    )?;
    let speaks = message.cmsgs()?.any(|found| match found {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            is_unreachable(error.ee_errno)
        }
        _ => false,
    });
    let to = message.address.filter(|_| speaks);
    Ok(to.and_then(|to| address(&to)))
}

/// A packet that was too large is not one that cannot arrive.
fn is_unreachable(errno: u32) -> bool {
    let errno = i32::try_from(errno).map_or(Errno::UnknownErrno, Errno::from_raw);
    matches!(
        errno,
        Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH
    )
}

fn address(to: &SockaddrStorage) -> Option<SocketAddr> {
    let four = to
        .as_sockaddr_in()
        .map(|to| SocketAddr::new(IpAddr::V4(to.ip()), to.port()));
    let six = || {
        let to = to.as_sockaddr_in6()?;
        let ip: Ipv6Addr = to.ip();
        Some(SocketAddr::new(IpAddr::V6(ip), to.port()))
    };
    four.or_else(six).filter(|to| to.port() != 0)
}

#[cfg(test)]
mod tests {
    use crate::net::udp::SipUdp;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::sync::mpsc;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A port that was free a moment ago.
    fn nobody(ip: &str) -> SocketAddr {
        let socket = std::net::UdpSocket::bind((ip, 0)).expect("loopback");
        socket.local_addr().expect("bound")
    }

    async fn told_of(ip: &str) -> (SocketAddr, super::Unreachable) {
        let local: SocketAddr = match ip.contains(':') {
            true => format!("[{ip}]:0").parse().expect("an address"),
            false => format!("{ip}:0").parse().expect("an address"),
        };
        let (datagrams, _kept) = mpsc::channel(4);
        let (sender, mut unreachable) = mpsc::channel(4);
        let socket = SipUdp::join(local, 7, datagrams).expect("a socket");
        socket.watch_errors(sender).expect("the kernel keeps them");
        let gone = nobody(ip);
        socket.send_to(b"OPTIONS", gone).await.expect("sent");
        let told = tokio::time::timeout(PATIENCE, unreachable.recv()).await;
        (gone, told.expect("in time").expect("told"))
    }

    #[tokio::test]
    async fn a_closed_port_is_told_with_its_address_and_socket() {
        let (gone, told) = told_of("127.0.0.1").await;
        assert_eq!((told.socket, told.remote), (7, gone));
    }

    #[tokio::test]
    async fn the_same_over_ipv6() {
        if std::net::UdpSocket::bind("[::1]:0").is_err() {
            return eprintln!("this machine has no IPv6");
        }
        let (gone, told) = told_of("::1").await;
        assert_eq!(told.remote, gone);
    }

    #[tokio::test]
    async fn one_peer_that_is_gone_costs_no_other_peer_a_message() {
        let (datagrams, _kept) = mpsc::channel(4);
        let (sender, mut unreachable) = mpsc::channel(64);
        let local = "127.0.0.1:0".parse().expect("an address");
        let socket = SipUdp::join(local, 0, datagrams).expect("a socket");
        socket.watch_errors(sender).expect("the kernel keeps them");
        let (there, mut heard) = SipUdp::bind(local, 64).await.expect("a socket");
        let gone = nobody("127.0.0.1");
        for number in 0..20_u8 {
            // The second write meets the error of the first, which is another peer's.
            socket.send_to(b"to nobody", gone).await.expect("sent");
            let sent = socket.send_to(&[number], there.local_addr()).await;
            sent.expect("another's error is not this peer's");
        }
        for number in 0..20_u8 {
            let got = tokio::time::timeout(PATIENCE, heard.recv()).await;
            assert_eq!(got.expect("in time").expect("open").bytes[..], [number]);
        }
        let told = tokio::time::timeout(PATIENCE, unreachable.recv()).await;
        assert_eq!(told.expect("in time").expect("told").remote, gone);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_error_is_overlooked() {
        let (datagrams, _kept) = mpsc::channel(4);
        let (sender, mut unreachable) = mpsc::channel(4);
        let local = "127.0.0.1:0".parse().expect("an address");
        let socket = SipUdp::join(local, 0, datagrams).expect("a socket");
        socket.watch_errors(sender).expect("the kernel keeps them");
        for round in 0..300 {
            let gone = nobody("127.0.0.1");
            socket.send_to(b"to nobody", gone).await.expect("sent");
            let told = tokio::time::timeout(PATIENCE, unreachable.recv()).await;
            let told = told.unwrap_or_else(|_| panic!("nothing was told in round {round}"));
            assert_eq!(told.expect("told").remote, gone);
        }
    }
}
