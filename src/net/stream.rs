//! One TCP or TLS connection (RFC 3261 §18, RFC 5626 §3.5.1): messages in, bytes out, keep-alives,
//! and an end to everything that takes too long. It never outlives its sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::flood::Flood;
use super::streams::{StreamFact, What};
use crate::sip::{Flow, Framed, Framer, Limits};

const READ_BYTES: usize = 8_192;
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";
/// Pongs that may wait; a peer that pings faster gets fewer.
const PONGS_MAX: usize = 4;
/// How long the refusal of a broken stream may take to be read by the peer.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    pub message: Limits,
    /// Connections in all, ours among them, and those from one address.
    pub connections_max: usize,
    pub per_address_max: usize,
    /// Messages that may wait to be written; a slower peer is closed.
    pub queue_max: usize,
    /// From the connection, TLS handshake included, to its first octet.
    pub first_byte: Duration,
    /// From the first octet of a message to its last.
    pub message_whole: Duration,
    /// Without an octet from the peer. Longer than a registration lives.
    pub idle: Duration,
    /// For one write.
    pub write: Duration,
    /// For a connection of ours to be up, TLS handshake included: the next server of a trunk must
    /// ring within 4 s.
    pub connect: Duration,
    /// Between the keep-alives on a connection of ours (RFC 5626 §4.4.1).
    pub ping_every: Duration,
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            message: Limits::default(),
            connections_max: 2_000,
            per_address_max: 100,
            queue_max: 256,
            first_byte: Duration::from_secs(10),
            message_whole: Duration::from_secs(10),
            idle: Duration::from_secs(3_900),
            write: Duration::from_secs(10),
            connect: Duration::from_secs(3),
            ping_every: Duration::from_secs(95),
        }
    }
}

/// Which side opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    Peer,
    Us,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    ByPeer,
    ByUs,
    NothingSaid,
    HalfMessage,
    Idle,
    SlowReader,
    Broken,
}

impl End {
    pub fn text(self) -> &'static str {
        match self {
            End::ByPeer => "closed by the peer",
            End::ByUs => "closed by us",
            End::NothingSaid => "nothing was said on it",
            End::HalfMessage => "a message never became whole",
            End::Idle => "idle",
            End::SlowReader => "the peer does not read",
            End::Broken => "its framing is lost",
        }
    }
}

/// Tells what happens on one connection.
pub(super) struct Teller {
    pub flow: Flow,
    pub life: u64,
    pub facts: mpsc::Sender<StreamFact>,
    /// Who judges each message of a connection that was opened to us.
    pub flood: Option<Arc<Flood>>,
}

impl Teller {
    /// Whether a message may go on; one that may not is as if lost on the way.
    fn admits(&self, message: &[u8]) -> bool {
        self.flood.as_ref().is_none_or(|flood| {
            let (free, depth) = (self.facts.capacity(), self.facts.max_capacity());
            flood.admits(self.flow.transport, self.flow.remote, message, free, depth)
        })
    }

    /// Waits when the loop is behind, and so does the peer. False when the loop is gone.
    pub async fn tell(&self, what: What) -> bool {
        let (flow, life) = (self.flow, self.life);
        let fact = StreamFact { flow, life, what };
        self.facts.send(fact).await.is_ok()
    }
}

/// Runs until either side is done.
pub(super) async fn run<S>(
    stream: S,
    opener: Opener,
    limits: &StreamLimits,
    outgoing: mpsc::Receiver<Vec<u8>>,
    teller: &Teller,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_peer, mut to_peer) = tokio::io::split(stream);
    let (pongs, to_pong) = mpsc::channel(PONGS_MAX);
    let broken = AtomicBool::new(false);
    let end = tokio::select! {
        end = read(&mut from_peer, opener, limits, (&pongs, &broken), teller) => end,
        end = write(&mut to_peer, opener, limits, outgoing, to_pong) => end,
    };
    if end == End::ByUs {
        // Closing with octets unread resets the connection, and the last message with it.
        let _ = timeout(LINGER, to_peer.shutdown()).await;
        let mut rest = [0; READ_BYTES];
        let drained = async { while matches!(from_peer.read(&mut rest).await, Ok(1..)) {} };
        let _ = timeout(LINGER, drained).await;
    }
    if broken.load(Ordering::Relaxed) {
        return End::Broken;
    }
    end
}

async fn read<S: AsyncRead + Unpin>(
    from_peer: &mut S,
    opener: Opener,
    limits: &StreamLimits,
    (pongs, lost): (&mpsc::Sender<()>, &AtomicBool),
    teller: &Teller,
) -> End {
    let mut framer = Framer::new(limits.message);
    let mut buffer = vec![0; READ_BYTES];
    let mut patience = match opener {
        Opener::Peer => (Instant::now() + limits.first_byte, End::NothingSaid),
        Opener::Us => (Instant::now() + limits.idle, End::Idle),
    };
    loop {
        let count = tokio::select! {
            read = from_peer.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return End::ByPeer,
                Ok(count) => count,
            },
            () = sleep_until(patience.0) => return patience.1,
        };
        framer.push(&buffer[..count]);
        let mut whole = false;
        while let Some(framed) = framer.poll() {
            whole = true;
            let heard = match framed {
                Framed::Message(bytes) if !teller.admits(&bytes) => true,
                Framed::Message(bytes) => teller.tell(What::Received(bytes)).await,
                // A full queue of pongs is answer enough.
                Framed::Ping => pongs.try_send(()).is_ok() || !pongs.is_closed(),
                Framed::Broken(broken) => {
                    lost.store(true, Ordering::Relaxed);
                    teller.tell(What::Broken(broken)).await;
                    // The loop refuses, then lets go of the sender, which ends the writer.
                    tokio::time::sleep(limits.write).await;
                    return End::Broken;
                }
            };
            if !heard {
                return End::ByUs;
            }
        }
        let now = Instant::now();
        patience = match (framer.is_within(), patience) {
            // A message that grows octet by octet gets no more time for it.
            (true, (_, End::HalfMessage)) if !whole => patience,
            (true, _) => (now + limits.message_whole, End::HalfMessage),
            (false, _) => (now + limits.idle, End::Idle),
        };
    }
}

async fn write<S: AsyncWrite + Unpin>(
    to_peer: &mut S,
    opener: Opener,
    limits: &StreamLimits,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    mut pongs: mpsc::Receiver<()>,
) -> End {
    let mut ping_at = Instant::now() + limits.ping_every;
    loop {
        let bytes = tokio::select! {
            biased;
            bytes = outgoing.recv() => match bytes {
                Some(bytes) => bytes,
                None => return End::ByUs,
            },
            Some(()) = pongs.recv() => PONG.to_vec(),
            () = sleep_until(ping_at), if opener == Opener::Us => PING.to_vec(),
        };
        ping_at = Instant::now() + limits.ping_every;
        let written = timeout(limits.write, async {
            to_peer.write_all(&bytes).await?;
            to_peer.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::ByPeer,
            Err(_) => return End::SlowReader,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Transport;
    use tokio::io::{DuplexStream, duplex};

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    /// Short enough to wait for; which limit ends a connection is what counts.
    const SHORT: StreamLimits = StreamLimits {
        message: Limits {
            message_bytes_max: 65_535,
            header_count_max: 256,
        },
        connections_max: 1,
        per_address_max: 1,
        queue_max: 8,
        first_byte: Duration::from_millis(300),
        message_whole: Duration::from_millis(300),
        idle: Duration::from_millis(900),
        write: Duration::from_millis(300),
        connect: Duration::from_millis(300),
        ping_every: Duration::from_millis(60),
    };

    struct Running {
        peer: DuplexStream,
        outgoing: mpsc::Sender<Vec<u8>>,
        told: mpsc::Receiver<StreamFact>,
        end: tokio::task::JoinHandle<End>,
    }

    fn start(opener: Opener) -> Running {
        let limits = SHORT;
        let (ours, peer) = duplex(1_024);
        let (outgoing, queue) = mpsc::channel(limits.queue_max);
        let (facts, told) = mpsc::channel(16);
        let address = "192.0.2.1:5060".parse().unwrap();
        let flow = Flow {
            id: 1,
            transport: Transport::Tcp,
            local: address,
            remote: address,
        };
        let teller = Teller {
            flow,
            life: 1,
            facts,
            flood: None,
        };
        let end = tokio::spawn(async move { run(ours, opener, &limits, queue, &teller).await });
        Running {
            peer,
            outgoing,
            told,
            end,
        }
    }

    async fn heard(running: &mut Running) -> Vec<u8> {
        let mut buffer = vec![0; 1_024];
        let count = running.peer.read(&mut buffer).await.unwrap();
        buffer[..count].to_vec()
    }

    #[tokio::test]
    async fn messages_arrive_whole_and_a_ping_gets_its_pong() {
        let mut running = start(Opener::Peer);
        running.peer.write_all(&OPTIONS[..9]).await.unwrap();
        running.peer.write_all(&OPTIONS[9..]).await.unwrap();
        running.peer.write_all(PING).await.unwrap();
        let told = running.told.recv().await.map(|fact| fact.what);
        let Some(What::Received(bytes)) = told else {
            panic!("no message");
        };
        assert_eq!(bytes, OPTIONS);
        assert_eq!(heard(&mut running).await, PONG);
        drop(running.peer);
        assert_eq!(running.end.await.unwrap(), End::ByPeer);
    }

    #[tokio::test]
    async fn whoever_says_nothing_or_never_finishes_is_closed() {
        assert_eq!(start(Opener::Peer).end.await.unwrap(), End::NothingSaid);
        let mut running = start(Opener::Peer);
        let drip = async {
            // Each octet comes well within the limit, the whole message does not.
            for octet in OPTIONS.iter().take(40) {
                // The connection may be gone by now: that is the point.
                let _ = running.peer.write_all(&[*octet]).await;
                tokio::time::sleep(SHORT.message_whole / 10).await;
            }
        };
        let (end, ()) = tokio::join!(running.end, drip);
        assert_eq!(end.unwrap(), End::HalfMessage);
    }

    #[tokio::test]
    async fn after_a_message_silence_is_judged_by_the_idle_limit() {
        let mut running = start(Opener::Peer);
        running.peer.write_all(OPTIONS).await.unwrap();
        assert_eq!(running.end.await.unwrap(), End::Idle);
        let limits = StreamLimits::default();
        let hour = Duration::from_secs(3_600);
        assert!(limits.idle > hour, "shorter than a registration");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_closed() {
        let mut running = start(Opener::Peer);
        // Else the limit for its first word would run beside the one for its reading.
        running.peer.write_all(OPTIONS).await.unwrap();
        assert!(running.told.recv().await.is_some());
        running.outgoing.send(vec![b'x'; 4_096]).await.unwrap();
        assert_eq!(running.end.await.unwrap(), End::SlowReader);
    }

    #[tokio::test]
    async fn the_refusal_of_a_broken_stream_is_still_read() {
        let mut running = start(Opener::Peer);
        let text = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n";
        running.peer.write_all(text).await.unwrap();
        let told = running.told.recv().await.map(|fact| fact.what);
        assert!(matches!(told, Some(What::Broken(_))), "{told:?}");
        running.outgoing.send(b"400".to_vec()).await.unwrap();
        let Running {
            mut peer,
            outgoing,
            end,
            ..
        } = running;
        drop(outgoing);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"400");
        drop(peer);
        assert_eq!(end.await.unwrap(), End::Broken);
    }

    #[tokio::test]
    async fn only_connections_of_our_own_are_kept_alive_by_us() {
        let mut running = start(Opener::Us);
        assert_eq!(heard(&mut running).await, PING);
        running.peer.write_all(PONG).await.unwrap();
        assert_eq!(heard(&mut running).await, PING);
        let mut other = start(Opener::Peer);
        other.peer.write_all(OPTIONS).await.unwrap();
        let quiet = timeout(SHORT.ping_every * 5, heard(&mut other)).await;
        assert!(quiet.is_err());
    }
}
