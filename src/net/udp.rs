//! UDP sockets for SIP: a receive loop each into one bounded channel, and sending. STUN keep-alives
//! are answered here and go no further.
//!
//! When the channel is full the datagram is dropped and counted: SIP over UDP retransmits, and a
//! loop that waited here would let the kernel's queue grow stale instead.

use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::bind;
use super::flood::Flood;
use super::stun;
use super::unreachable::{self, Unreachable};
use crate::sip::Transport;

/// The largest UDP payload there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// How long to leave a socket alone whose reads fail, so that it cannot spin.
const PAUSE_AFTER_ERROR: std::time::Duration = std::time::Duration::from_millis(50);

/// One datagram as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Which of our sockets it came to, counted from 0: the id of its flow.
    pub socket: u64,
    pub remote: SocketAddr,
    pub bytes: Bytes,
}

/// A bound socket. The loop ends when this and every clone is dropped.
#[derive(Clone, Debug)]
pub struct SipUdp {
    socket: Arc<UdpSocket>,
    number: u64,
    local: SocketAddr,
    dropped: Arc<AtomicU64>,
    flood: Arc<OnceLock<Arc<Flood>>>,
    watching: Arc<OnceLock<AbortOnDrop>>,
    _alive: Arc<AbortOnDrop>,
}

impl SipUdp {
    /// Binds `local` and starts reading into a channel of `depth_datagrams`.
    pub async fn bind(
        local: SocketAddr,
        depth_datagrams: usize,
    ) -> io::Result<(SipUdp, mpsc::Receiver<Datagram>)> {
        let (datagrams, receiver) = mpsc::channel(depth_datagrams);
        Ok((SipUdp::join(local, 0, datagrams)?, receiver))
    }

    /// Binds `local` as the socket of this number, reading into a channel that several share.
    /// On a tokio runtime.
    pub fn join(
        local: SocketAddr,
        number: u64,
        datagrams: mpsc::Sender<Datagram>,
    ) -> io::Result<SipUdp> {
        let socket = Arc::new(UdpSocket::from_std(bind::udp(local)?)?);
        let local = socket.local_addr()?;
        let dropped = Arc::new(AtomicU64::new(0));
        let flood = Arc::new(OnceLock::new());
        let reading = tokio::spawn(receive(
            number,
            Arc::clone(&socket),
            datagrams,
            Arc::clone(&dropped),
            Arc::clone(&flood),
        ));
        Ok(SipUdp {
            socket,
            number,
            local,
            dropped,
            flood,
            watching: Arc::new(OnceLock::new()),
            _alive: Arc::new(AbortOnDrop(reading)),
        })
    }

    /// From now on `flood` decides what is let in; the first one stays.
    pub fn guard(&self, flood: Arc<Flood>) {
        let _ = self.flood.set(flood);
    }

    /// From now on whoever could not be reached is told to `unreachable`; the first one stays.
    /// On a tokio runtime.
    ///
    /// # Errors
    /// When the kernel keeps no ICMP errors for us.
    pub fn watch_errors(&self, unreachable: mpsc::Sender<Unreachable>) -> io::Result<()> {
        let errors = unreachable::keep(&self.socket)?;
        let watching = tokio::spawn(unreachable::watch(self.number, errors, unreachable));
        let _ = self.watching.set(AbortOnDrop(watching));
        Ok(())
    }

    #[must_use]
    pub fn flood(&self) -> Option<Arc<Flood>> {
        self.flood.get().cloned()
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends without waiting: `WouldBlock` when the kernel's queue is full, which SIP treats as loss.
    pub fn try_send_to(&self, bytes: &[u8], remote: SocketAddr) -> io::Result<()> {
        let sent = self.socket.try_send_to(bytes, remote);
        let sent = match sent {
            // The kernel tells the next write of an ICMP error, whomever that one is for; the
            // queue of errors says who it was. Told once, it is gone.
            Err(error) if is_of_another(&error) => self.socket.try_send_to(bytes, remote),
            other => other,
        };
        sent.map(drop)
    }

    /// The same for SIP, which repeats what is lost: a full queue is no failure.
    ///
    /// # Errors
    /// When the peer cannot be reached at all.
    pub fn send_or_lose(&self, bytes: &[u8], remote: SocketAddr) -> io::Result<()> {
        match self.try_send_to(bytes, remote) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }

    /// Until the runtime has looked at the socket once, nothing can be sent without waiting.
    pub async fn writable(&self) {
        // A socket that cannot tell is found out by the first write.
        let _ = self.socket.writable().await;
    }

    pub async fn send_to(&self, bytes: &[u8], remote: SocketAddr) -> io::Result<()> {
        let sent = match self.socket.send_to(bytes, remote).await {
            Err(error) if is_of_another(&error) => self.socket.send_to(bytes, remote).await,
            other => other,
        };
        sent.map(drop)
    }

    /// Datagrams that found the channel full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

async fn receive(
    number: u64,
    socket: Arc<UdpSocket>,
    datagrams: mpsc::Sender<Datagram>,
    dropped: Arc<AtomicU64>,
    flood: Arc<OnceLock<Arc<Flood>>>,
) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, remote)) => {
                let (free, depth) = (datagrams.capacity(), datagrams.max_capacity());
                if flood.get().is_some_and(|flood| {
                    !flood.admits(Transport::Udp, remote, &buffer[..length], free, depth)
                }) {
                    continue;
                }
                if stun::is_stun(&buffer[..length]) {
                    if let Some(answer) = stun::answer(&buffer[..length], remote) {
                        // A lost answer is asked for again.
                        let _ = socket.try_send_to(&answer, remote);
                    }
                    continue;
                }
                let datagram = Datagram {
                    socket: number,
                    remote,
                    bytes: Bytes::copy_from_slice(&buffer[..length]),
                };
                match datagrams.try_send(datagram) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
            // An ICMP error of something we sent; it says nothing about this socket.
            Err(error) if is_of_another(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "reading the SIP socket failed");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

fn is_of_another(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionRefused | HostUnreachable | NetworkUnreachable
    )
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(5), future)
            .await
            .expect("within 5 s")
    }

    #[tokio::test]
    async fn a_datagram_goes_there_and_back() {
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (one, mut to_one) = SipUdp::bind(loopback, 8).await.unwrap();
        let (two, mut to_two) = SipUdp::bind(loopback, 8).await.unwrap();
        one.send_to(b"OPTIONS", two.local_addr()).await.unwrap();
        let got = within(to_two.recv()).await.unwrap();
        assert_eq!(
            got,
            Datagram {
                socket: 0,
                remote: one.local_addr(),
                bytes: Bytes::from_static(b"OPTIONS")
            }
        );
        two.try_send_to(b"200", one.local_addr()).unwrap();
        assert_eq!(within(to_one.recv()).await.unwrap().bytes, "200");
    }

    #[tokio::test]
    async fn what_finds_the_channel_full_is_dropped_and_counted() {
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (socket, mut datagrams) = SipUdp::bind(loopback, 2).await.unwrap();
        let (sender, _) = SipUdp::bind(loopback, 1).await.unwrap();
        for number in 0..5u8 {
            sender
                .send_to(&[number], socket.local_addr())
                .await
                .unwrap();
        }
        within(async {
            while socket.dropped() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(datagrams.recv().await.unwrap().bytes[..], [0]);
        assert_eq!(datagrams.recv().await.unwrap().bytes[..], [1]);
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_and_a_dropped_socket_frees_it() {
        let (socket, datagrams) = SipUdp::bind("127.0.0.1:0".parse().unwrap(), 1)
            .await
            .unwrap();
        let local = socket.local_addr();
        assert_eq!(
            SipUdp::bind(local, 1).await.unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop((socket, datagrams));
        within(async {
            while SipUdp::bind(local, 1).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}
