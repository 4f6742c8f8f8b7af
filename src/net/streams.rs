//! Every TCP and TLS connection for SIP: accepting and opening them, each as a task of its own
//! that tells its facts into one bounded channel. The loop never waits here.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ACCEPTED_FIRST;
use super::census::{Census, Place};
use super::flood::Flood;
use super::stream::{End, Opener, StreamLimits, Teller, run};
use super::tls::{ServerTls, Toward};
use crate::sip::{Broken, Flow, Transport};

/// How long to leave a listener alone that cannot accept: usually out of file descriptors.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
/// The kernel asks a silent peer whether it lives after this.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// What a connection of ours has sent and the peer's kernel has not taken for so long makes it a
/// dead one: the next message opens another.
const DEAD_AFTER: Duration = Duration::from_secs(4);

/// What happened on a connection. `life` tells apart those that had the same flow one after
/// another.
#[derive(Debug)]
pub struct StreamFact {
    pub flow: Flow,
    pub life: u64,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// A peer has opened it; dropping the sender closes it, once all is written.
    Accepted {
        outgoing: mpsc::Sender<Vec<u8>>,
    },
    /// One of ours is up.
    Up,
    Received(Vec<u8>),
    Broken(Broken),
    /// The last fact of this life.
    Closed,
}

/// A bound listener.
pub struct Listening {
    pub listener: std::net::TcpListener,
    /// TLS when there is one.
    pub tls: Option<ServerTls>,
}

/// What became of connections since the start.
#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    opened: AtomicU64,
    open_failed: AtomicU64,
    timed_out: AtomicU64,
    broken: AtomicU64,
}

/// The same, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    pub open: usize,
    pub accepted: u64,
    /// Closed at once, because a limit was reached or the TLS handshake failed.
    pub refused: u64,
    pub opened: u64,
    pub open_failed: u64,
    /// Ended by a limit of time.
    pub timed_out: u64,
    pub broken: u64,
}

/// The door to all connections. Dropping the last clone closes the listeners.
#[derive(Clone)]
pub struct SipStreams {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    _listeners: Arc<Vec<AbortOnDrop>>,
}

struct Shared {
    limits: StreamLimits,
    toward: Toward,
    facts: mpsc::Sender<StreamFact>,
    census: Arc<Census>,
    counters: Counters,
    next_accepted: AtomicU64,
    next_life: AtomicU64,
    flood: OnceLock<Arc<Flood>>,
}

impl SipStreams {
    /// Starts to accept; facts wait in a channel of `depth_facts`. On a tokio runtime, which the
    /// connections then live on.
    pub fn start(
        listening: Vec<Listening>,
        toward: Toward,
        limits: StreamLimits,
        depth_facts: usize,
    ) -> io::Result<(SipStreams, mpsc::Receiver<StreamFact>)> {
        let (facts, receiver) = mpsc::channel(depth_facts);
        let shared = Arc::new(Shared {
            census: Census::new(limits.connections_max, limits.per_address_max),
            limits,
            toward,
            facts,
            counters: Counters::default(),
            next_accepted: AtomicU64::new(ACCEPTED_FIRST),
            next_life: AtomicU64::new(1),
            flood: OnceLock::new(),
        });
        let mut listeners = Vec::new();
        for one in listening {
            let listener = TcpListener::from_std(one.listener)?;
            let task = accept(Arc::clone(&shared), listener, one.tls);
            listeners.push(AbortOnDrop(tokio::spawn(task)));
        }
        let streams = SipStreams {
            shared,
            runtime: tokio::runtime::Handle::current(),
            _listeners: Arc::new(listeners),
        };
        Ok((streams, receiver))
    }

    /// From now on `flood` decides who may connect, and how much those who do may say; the first
    /// one stays.
    pub fn guard(&self, flood: Arc<Flood>) {
        let _ = self.shared.flood.set(flood);
    }

    /// Opens a connection to `flow.remote`; what is sent waits until it is up. TLS checks the
    /// peer's certificate against `server_name`, or its address when there is none.
    #[must_use]
    pub fn open(&self, flow: Flow, server_name: Option<String>) -> (u64, mpsc::Sender<Vec<u8>>) {
        let life = self.shared.next_life.fetch_add(1, Ordering::Relaxed);
        let (outgoing, queue) = mpsc::channel(self.shared.limits.queue_max);
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let line = Line::new(shared, flow, life);
            line.open(server_name, queue).await;
            line.teller.tell(What::Closed).await;
        });
        (life, outgoing)
    }

    #[must_use]
    pub fn counts(&self) -> StreamCounts {
        let Shared {
            counters, census, ..
        } = &*self.shared;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StreamCounts {
            open: census.in_all(),
            accepted: read(&counters.accepted),
            refused: read(&counters.refused),
            opened: read(&counters.opened),
            open_failed: read(&counters.open_failed),
            timed_out: read(&counters.timed_out),
            broken: read(&counters.broken),
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, tls: Option<ServerTls>) {
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a SIP connection could not be accepted");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let transport = match tls {
            Some(_) => Transport::Tls,
            None => Transport::Tcp,
        };
        if !shared.lets_in(transport, remote) {
            shared.count(&shared.counters.refused);
            continue;
        }
        let Some(place) = shared.census.admit(remote.ip()) else {
            shared.count(&shared.counters.refused);
            tracing::debug!(%remote, "too many SIP connections");
            continue;
        };
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        let flow = Flow {
            id: shared.next_accepted.fetch_add(1, Ordering::Relaxed),
            transport,
            local,
            remote,
        };
        let life = shared.next_life.fetch_add(1, Ordering::Relaxed);
        let mut line = Line::new(Arc::clone(&shared), flow, life);
        line.teller.flood = shared.flood.get().cloned();
        let tls = tls.clone();
        tokio::spawn(async move { line.serve(stream, tls, place).await });
    }
}

/// One connection's own task.
struct Line {
    shared: Arc<Shared>,
    flow: Flow,
    teller: Teller,
}

impl Line {
    fn new(shared: Arc<Shared>, flow: Flow, life: u64) -> Line {
        let facts = shared.facts.clone();
        let teller = Teller {
            flow,
            life,
            facts,
            flood: None,
        };
        Line {
            shared,
            flow,
            teller,
        }
    }

    async fn serve(&self, stream: TcpStream, tls: Option<ServerTls>, _place: Place) {
        settle_in(&stream);
        let counters = &self.shared.counters;
        let Some(tls) = tls else {
            return self.speak_accepted(stream).await;
        };
        match timeout(self.shared.limits.first_byte, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak_accepted(stream).await,
            Ok(Err(error)) => {
                self.shared.count(&counters.refused);
                tracing::debug!(remote = %self.flow.remote, %error, "no TLS handshake");
            }
            Err(_) => self.shared.count(&counters.timed_out),
        }
    }

    async fn speak_accepted<S>(&self, stream: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        self.shared.count(&self.shared.counters.accepted);
        let (outgoing, queue) = mpsc::channel(self.shared.limits.queue_max);
        if self.teller.tell(What::Accepted { outgoing }).await {
            self.speak(stream, Opener::Peer, queue).await;
            self.teller.tell(What::Closed).await;
        }
    }

    async fn open(&self, server_name: Option<String>, queue: mpsc::Receiver<Vec<u8>>) {
        let Some(_place) = self.shared.census.ours() else {
            tracing::warn!(remote = %self.flow.remote, "too many SIP connections to open another");
            return self.shared.count(&self.shared.counters.open_failed);
        };
        match timeout(self.shared.limits.connect, self.connect(server_name, queue)).await {
            Ok(Ok(Connected::Plain(stream, queue))) => self.speak_ours(stream, queue).await,
            Ok(Ok(Connected::Tls(stream, queue))) => self.speak_ours(stream, queue).await,
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("no answer in time"),
        }
    }

    async fn connect(
        &self,
        server_name: Option<String>,
        queue: mpsc::Receiver<Vec<u8>>,
    ) -> io::Result<Connected> {
        let stream = TcpStream::connect(self.flow.remote).await?;
        settle_in(&stream);
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(DEAD_AFTER));
        if self.flow.transport != Transport::Tls {
            return Ok(Connected::Plain(stream, queue));
        }
        let toward = &self.shared.toward;
        let stream = toward
            .connect(stream, self.flow.remote, server_name.as_deref())
            .await?;
        Ok(Connected::Tls(Box::new(stream), queue))
    }

    fn failed(&self, why: &str) {
        self.shared.count(&self.shared.counters.open_failed);
        let transport = self.flow.transport.name();
        tracing::warn!(remote = %self.flow.remote, transport, why, "no SIP connection");
    }

    async fn speak_ours<S>(&self, stream: S, queue: mpsc::Receiver<Vec<u8>>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        self.shared.count(&self.shared.counters.opened);
        if self.teller.tell(What::Up).await {
            self.speak(stream, Opener::Us, queue).await;
        }
    }

    async fn speak<S>(&self, stream: S, opener: Opener, queue: mpsc::Receiver<Vec<u8>>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let end = run(stream, opener, &self.shared.limits, queue, &self.teller).await;
        let counters = &self.shared.counters;
        match end {
            End::ByPeer | End::ByUs => {}
            End::Broken => self.shared.count(&counters.broken),
            End::NothingSaid | End::HalfMessage | End::Idle | End::SlowReader => {
                self.shared.count(&counters.timed_out);
            }
        }
        tracing::debug!(remote = %self.flow.remote, why = end.text(), "a SIP connection ended");
    }
}

impl Shared {
    /// A new connection costs what a message does.
    fn lets_in(&self, transport: Transport, remote: SocketAddr) -> bool {
        let depth = self.facts.max_capacity();
        let flood = self.flood.get();
        flood.is_none_or(|flood| flood.admits(transport, remote, b"", depth, depth))
    }

    fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Up, with what waited for it.
enum Connected {
    Plain(TcpStream, mpsc::Receiver<Vec<u8>>),
    Tls(
        Box<tokio_rustls::client::TlsStream<TcpStream>>,
        mpsc::Receiver<Vec<u8>>,
    ),
}

/// Messages leave at once, and a peer that vanished is noticed. A socket that refuses this works
/// all the same.
fn settle_in(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(TCP_KEEPALIVE)
        .with_interval(TCP_KEEPALIVE / 4);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::bind;
    use crate::net::tls::{Clients, Identity, Verify};
    use std::path::{Path, PathBuf};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    const PATIENCE: Duration = Duration::from_secs(10);

    struct End {
        streams: SipStreams,
        facts: mpsc::Receiver<StreamFact>,
        address: SocketAddr,
    }

    fn end(tls: Option<ServerTls>, toward: Toward, limits: StreamLimits) -> End {
        let listener = bind::tcp("127.0.22.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let listening = vec![Listening { listener, tls }];
        let (streams, facts) = SipStreams::start(listening, toward, limits, 16).unwrap();
        End {
            streams,
            facts,
            address,
        }
    }

    fn plain(limits: StreamLimits) -> End {
        let toward = Toward::load(&Verify::Nobody, None).unwrap();
        end(None, toward, limits)
    }

    impl End {
        async fn fact(&mut self) -> What {
            let fact = timeout(PATIENCE, self.facts.recv()).await;
            fact.expect("in time").expect("a fact").what
        }

        fn open(&self, to: &End, name: Option<&str>) -> mpsc::Sender<Vec<u8>> {
            let transport = match name {
                Some(_) => Transport::Tls,
                None => Transport::Tcp,
            };
            let flow = Flow {
                id: crate::net::OPENED_FIRST,
                transport,
                local: self.address,
                remote: to.address,
            };
            self.streams.open(flow, name.map(str::to_owned)).1
        }
    }

    #[tokio::test]
    async fn a_message_sent_before_the_connection_is_up_arrives_and_is_answered() {
        let (mut one, mut other) = (
            plain(StreamLimits::default()),
            plain(StreamLimits::default()),
        );
        let outgoing = one.open(&other, None);
        outgoing.send(OPTIONS.to_vec()).await.unwrap();
        assert!(matches!(one.fact().await, What::Up));
        let What::Accepted { outgoing: back } = other.fact().await else {
            panic!("not accepted");
        };
        assert!(matches!(other.fact().await, What::Received(bytes) if bytes == OPTIONS));
        back.send(OPTIONS.to_vec()).await.unwrap();
        assert!(matches!(one.fact().await, What::Received(bytes) if bytes == OPTIONS));
        drop(outgoing);
        assert!(matches!(other.fact().await, What::Closed));
        assert_eq!(other.streams.counts().accepted, 1);
    }

    #[tokio::test]
    async fn nobody_there_is_a_closed_connection() {
        let mut one = plain(StreamLimits::default());
        let nobody = plain(StreamLimits::default());
        let address = nobody.address;
        drop(nobody);
        let flow = Flow {
            id: 1,
            transport: Transport::Tcp,
            local: one.address,
            remote: SocketAddr::new(address.ip(), 9),
        };
        let _outgoing = one.streams.open(flow, None);
        assert!(matches!(one.fact().await, What::Closed));
        assert_eq!(one.streams.counts().open_failed, 1);
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_at_once_and_room_comes_back() {
        let limits = StreamLimits {
            per_address_max: 1,
            ..StreamLimits::default()
        };
        let mut end = plain(limits);
        let mut first = TcpStream::connect(end.address).await.unwrap();
        assert!(matches!(end.fact().await, What::Accepted { .. }));
        let mut second = TcpStream::connect(end.address).await.unwrap();
        let read = timeout(PATIENCE, second.read(&mut [0; 8])).await.unwrap();
        assert!(!matches!(read, Ok(1..)), "closed");
        assert_eq!(end.streams.counts().refused, 1);
        first.shutdown().await.unwrap();
        assert!(matches!(end.fact().await, What::Closed));
        let _third = TcpStream::connect(end.address).await.unwrap();
        assert!(matches!(end.fact().await, What::Accepted { .. }));
    }

    #[tokio::test]
    async fn messages_and_connections_of_one_source_share_its_rate_and_a_denied_one_has_none() {
        use crate::sip::guard::{AccessList, Gate, Rate};
        let denying = |deny: &[&str]| AccessList {
            allow: Vec::new(),
            deny: deny.iter().map(|it| it.parse().unwrap()).collect(),
        };
        let rate = Rate {
            messages_per_s: 1,
            burst: 4,
        };
        let gate = Gate::new(denying(&[]), Vec::new(), rate, Rate::UNLIMITED);
        let mut end = plain(StreamLimits::default());
        let flood = Arc::new(Flood::new(gate, |_| {}));
        end.streams.guard(Arc::clone(&flood));
        let mut peer = TcpStream::connect(end.address).await.unwrap();
        peer.write_all(&OPTIONS.repeat(50)).await.unwrap();
        peer.shutdown().await.unwrap();
        assert!(matches!(end.fact().await, What::Accepted { .. }));
        let mut heard = 0;
        while let What::Received(_) = end.fact().await {
            heard += 1;
        }
        assert!((1..10).contains(&heard), "{heard}");
        assert!(flood.turned_away().flooding >= 40);
        flood.set_rules(denying(&["127.0.0.0/8"]), rate, Rate::UNLIMITED);
        let mut denied = TcpStream::connect(end.address).await.unwrap();
        let read = timeout(PATIENCE, denied.read(&mut [0; 8])).await.unwrap();
        assert!(!matches!(read, Ok(1..)), "closed");
        assert_eq!(flood.turned_away().denied, 1);
    }

    /// An authority, and what it signed for a name.
    struct Authority {
        certificate: rcgen::Certificate,
        issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    }

    impl Authority {
        fn new() -> Authority {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let certificate = params.self_signed(&key).unwrap();
            Authority {
                certificate,
                issuer: rcgen::Issuer::new(params, key),
            }
        }

        fn file(&self, folder: &Path) -> PathBuf {
            let file = folder.join("ca.pem");
            std::fs::write(&file, self.certificate.pem()).unwrap();
            file
        }

        fn identity(&self, folder: &Path, name: &str) -> Identity {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            let signed = params.signed_by(&key, &self.issuer).unwrap();
            let identity = Identity {
                certificate: folder.join(format!("{name}.pem")),
                key: folder.join(format!("{name}.key")),
            };
            std::fs::write(&identity.certificate, signed.pem()).unwrap();
            std::fs::write(&identity.key, key.serialize_pem()).unwrap();
            identity
        }
    }

    /// What becomes of a connection to a server called `sip.example.com`.
    async fn outcome(
        verify: &Verify,
        ours: Option<&Identity>,
        clients: &Clients,
        name: &str,
        folder: &Path,
        signer: &Authority,
    ) -> bool {
        let server = signer.identity(folder, "sip.example.com");
        let tls = ServerTls::load(&server, clients).unwrap();
        let toward = Toward::load(&Verify::Nobody, None).unwrap();
        let mut far = end(Some(tls), toward, StreamLimits::default());
        let toward = Toward::load(verify, ours).unwrap();
        let mut near = end(None, toward, StreamLimits::default());
        let outgoing = near.open(&far, Some(name));
        outgoing.send(OPTIONS.to_vec()).await.unwrap();
        tokio::select! {
            fact = far.fact() => matches!(fact, What::Accepted { .. })
                && matches!(far.fact().await, What::Received(_)),
            // A client may think it is in before the server has seen its certificate.
            closed = async { loop { if matches!(near.fact().await, What::Closed) { break } } } => {
                let () = closed;
                false
            }
        }
    }

    #[tokio::test]
    async fn only_a_certificate_of_our_authority_for_the_name_we_call_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, signer) = (folder.path(), Authority::new());
        let by = Verify::By {
            ca: signer.file(folder),
        };
        let unasked = Clients::Unasked;
        let name = "sip.example.com";
        assert!(outcome(&by, None, &unasked, name, folder, &signer).await);
        assert!(!outcome(&by, None, &unasked, "other.example.com", folder, &signer).await);
        assert!(!outcome(&by, None, &unasked, name, folder, &Authority::new()).await);
        assert!(!outcome(&Verify::Nobody, None, &unasked, name, folder, &signer).await);
        let other = Authority::new();
        assert!(
            outcome(
                &Verify::Off,
                None,
                &unasked,
                "any.example.com",
                folder,
                &other
            )
            .await
        );
    }

    #[tokio::test]
    async fn a_required_client_certificate_must_be_shown_and_be_signed() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, signer) = (folder.path(), Authority::new());
        let ca = signer.file(folder);
        let by = Verify::By { ca: ca.clone() };
        let name = "sip.example.com";
        let required = Clients::Required { ca: ca.clone() };
        let asked = Clients::Asked { ca };
        let ours = signer.identity(folder, "us.example.com");
        let strange = Authority::new().identity(folder, "stranger.example.com");
        assert!(!outcome(&by, None, &required, name, folder, &signer).await);
        assert!(!outcome(&by, Some(&strange), &required, name, folder, &signer).await);
        assert!(outcome(&by, Some(&ours), &required, name, folder, &signer).await);
        assert!(outcome(&by, None, &asked, name, folder, &signer).await);
        assert!(!outcome(&by, Some(&strange), &asked, name, folder, &signer).await);
    }
}
