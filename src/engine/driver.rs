//! The loop: one thread, one owner of the switch. It reads the clock once per wake-up, feeds the
//! switch what has come, and carries out what the switch says. It waits for nobody.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};

use super::handle::{DeskUpdate, Handle, Input as Request, Problem, SipSocket};
use super::media_worker::{MediaCommand, MediaCommander, MediaFact};
use super::streams::Streams;
use super::switch::{Input, Output, ReplyId, Switch};
use super::tap::{Tap, Way};
use super::ways::Ways;
use crate::id::{AgentId, LegId, TrunkId};
use crate::net::dns::Dns;
use crate::net::streams::StreamCounts;
use crate::net::udp::{Datagram, SipUdp};
use crate::net::unreachable::Unreachable;
use crate::net::{Home, SipSockets, StreamFact, WEBSOCKETS_FIRST};
use crate::now::{Now, UtcMs};
use crate::sip::guard::Load;
use crate::sip::{Flow, Transport};
use crate::store::{Command, Fact, Refused, StoreError, StoreHandle};
use crate::trunk::Place;

/// Requests from the top floor that may wait for the loop.
const REQUESTS_MAX: usize = 4_096;
/// SIP messages one WebSocket may have waiting; a slower page is closed.
const FLOW_QUEUE_MAX: usize = 256;
/// The first UDP socket's flow.
pub const UDP_FLOW: u64 = 0;
/// How long the far ends have to answer when the process stops.
const STOP_LIMIT: Duration = Duration::from_secs(3);
const STOP_LOOK: Duration = Duration::from_millis(50);
/// Inputs handled before timers and the sockets get their turn.
const BATCH_MAX: usize = 64;

/// What the CRM is to be asked for a card. The answer comes back through [`Handle::crm`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrmQuestion {
    pub agent: AgentId,
    pub token: u64,
    pub external_id: String,
    pub phone: String,
}

/// Called on the control loop: must only start the fetch, never wait for it.
pub type FetchCrm = Arc<dyn Fn(Handle, CrmQuestion) + Send + Sync>;

/// Facts from the store's writer, as they come back.
pub type StoreFacts = mpsc::UnboundedReceiver<(u64, Result<Fact, StoreError>)>;

/// Everything the loop drives.
pub struct Parts {
    pub switch: Switch,
    pub sip: SipSockets,
    pub ways: Ways,
    pub store: StoreHandle,
    pub store_facts: StoreFacts,
    pub workers: Vec<MediaCommander>,
    pub media_facts: mpsc::UnboundedReceiver<MediaFact>,
    pub fetch_crm: FetchCrm,
    /// For the names of trunks; or why there is none.
    pub resolver: Result<Dns, String>,
    /// Every SIP message passes it.
    pub tap: Tap,
    /// Reads the clock; tests may shift it.
    pub clock: fn() -> Now,
}

/// A running engine. Dropping it does not stop it; [`Handle::shutdown`] does.
pub struct Engine {
    pub handle: Handle,
    thread: std::thread::JoinHandle<()>,
}

impl Engine {
    /// Starts the loop on a thread of its own, beside what reads the sockets of `home`.
    pub fn start(home: Home, parts: Parts) -> std::io::Result<Engine> {
        let (handle, inbox) = Handle::new(REQUESTS_MAX);
        let own = handle.clone();
        let thread = std::thread::Builder::new()
            .name("switch".to_owned())
            .spawn(move || {
                home.run(Driver::new(parts, own).run(inbox));
            })?;
        Ok(Engine { handle, thread })
    }

    /// Waits for the loop to end, after [`Handle::shutdown`].
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the control loop panicked");
        }
    }
}

/// The present moment on both clocks.
pub fn clock() -> Now {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let utc = UtcMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    Now {
        instant: Instant::now(),
        utc,
    }
}

struct Driver {
    parts: Parts,
    own: Handle,
    replies: HashMap<ReplyId, (AgentId, oneshot::Sender<CommandResult>)>,
    /// Those who wait for a phone's change.
    phone_replies: HashMap<ReplyId, oneshot::Sender<Result<(), Problem>>>,
    next_reply: u64,
    desks: HashMap<AgentId, watch::Sender<Arc<DeskUpdate>>>,
    flows: HashMap<u64, SocketFlow>,
    next_flow: u64,
    streams: Streams,
    /// Media workers that were left commands.
    to_ring: Vec<bool>,
}

type CommandResult = Result<Arc<DeskUpdate>, Problem>;

struct SocketFlow {
    flow: Flow,
    outgoing: mpsc::Sender<Vec<u8>>,
}

enum Wake {
    Request(Option<Request>),
    Datagram(Datagram),
    Stream(StreamFact),
    Unreachable(Unreachable),
    Store(u64, Result<Fact, StoreError>),
    Media(MediaFact),
    Timer,
}

impl Driver {
    fn new(parts: Parts, own: Handle) -> Driver {
        Driver {
            to_ring: vec![false; parts.workers.len()],
            parts,
            own,
            replies: HashMap::new(),
            phone_replies: HashMap::new(),
            next_reply: 1,
            desks: HashMap::new(),
            flows: HashMap::new(),
            next_flow: WEBSOCKETS_FIRST,
            streams: Streams::default(),
        }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        for socket in &self.parts.sip.udp {
            socket.writable().await;
        }
        self.carry_out((self.parts.clock)());
        loop {
            let wake = self.wait(&mut inbox).await;
            let now = (self.parts.clock)();
            self.parts.switch.note_load(Load {
                queued: self.parts.sip.datagrams.len(),
                queued_max: self.parts.sip.datagrams.max_capacity(),
                late_ms: 0,
            });
            if let Some(stopped) = self.take(now, wake) {
                return self.stop(now, stopped, &mut inbox).await;
            }
            let mut handled = 1;
            while let Some(wake) = self.ready(&mut inbox) {
                if let Some(stopped) = self.take(now, wake) {
                    return self.stop(now, stopped, &mut inbox).await;
                }
                handled += 1;
                if handled == BATCH_MAX {
                    break;
                }
            }
            let due = self
                .parts
                .switch
                .poll_timeout(now)
                .is_some_and(|(at, _)| at <= now.instant);
            if due {
                self.parts.switch.handle_timeout(now);
                self.carry_out(now);
            }
            if handled == BATCH_MAX {
                // The sockets are read on this thread too.
                tokio::task::yield_now().await;
            }
        }
    }

    async fn wait(&mut self, inbox: &mut mpsc::Receiver<Request>) -> Wake {
        let deadline = self
            .parts
            .switch
            .poll_timeout((self.parts.clock)())
            .map(|(at, _)| at);
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some((id, fact)) = self.parts.store_facts.recv() => Wake::Store(id, fact),
            Some(fact) = self.parts.media_facts.recv() => Wake::Media(fact),
            Some(datagram) = self.parts.sip.datagrams.recv() => Wake::Datagram(datagram),
            Some(fact) = self.parts.sip.stream_facts.recv() => Wake::Stream(fact),
            Some(peer) = self.parts.sip.unreachable.recv() => Wake::Unreachable(peer),
            request = inbox.recv() => Wake::Request(request),
            () = timer => Wake::Timer,
        }
    }

    /// Whatever has come already, in the same order of precedence.
    fn ready(&mut self, inbox: &mut mpsc::Receiver<Request>) -> Option<Wake> {
        if let Ok((id, fact)) = self.parts.store_facts.try_recv() {
            return Some(Wake::Store(id, fact));
        }
        if let Ok(fact) = self.parts.media_facts.try_recv() {
            return Some(Wake::Media(fact));
        }
        if let Ok(datagram) = self.parts.sip.datagrams.try_recv() {
            return Some(Wake::Datagram(datagram));
        }
        if let Ok(fact) = self.parts.sip.stream_facts.try_recv() {
            return Some(Wake::Stream(fact));
        }
        if let Ok(peer) = self.parts.sip.unreachable.try_recv() {
            return Some(Wake::Unreachable(peer));
        }
        inbox
            .try_recv()
            .ok()
            .map(|request| Wake::Request(Some(request)))
    }

    /// Handles one wake-up. `Some` when the loop should end, with whom to tell.
    fn take(&mut self, now: Now, wake: Wake) -> Option<Option<oneshot::Sender<()>>> {
        match wake {
            Wake::Store(id, fact) => self.parts.switch.handle(now, Input::Store { id, fact }),
            Wake::Media(fact) => self.parts.switch.handle(now, Input::Media(fact)),
            Wake::Datagram(datagram) => self.take_datagram(now, datagram),
            Wake::Stream(fact) => self.take_stream(now, fact),
            Wake::Unreachable(Unreachable { socket, remote }) => {
                let failed = Input::SipSendFailed {
                    flow: socket,
                    remote,
                };
                self.parts.switch.handle(now, failed);
            }
            Wake::Request(Some(Request::Shutdown { reply })) => return Some(Some(reply)),
            Wake::Request(Some(request)) => self.request(now, request),
            Wake::Request(None) => return Some(None),
            Wake::Timer => self.parts.switch.handle_timeout(now),
        }
        self.carry_out(now);
        None
    }

    fn take_datagram(&mut self, now: Now, datagram: Datagram) {
        let Some(socket) = self.parts.sip.udp(datagram.socket) else {
            return;
        };
        // Nobody else holds the bytes, so none is copied.
        let (bound, bytes) = (socket.local_addr(), Vec::from(datagram.bytes));
        let flow = self
            .parts
            .ways
            .heard(datagram.socket, bound, datagram.remote);
        self.parts.tap.message(now, Way::In, &flow, &bytes);
        self.parts.switch.handle(now, Input::Sip { flow, bytes });
    }

    fn take_stream(&mut self, now: Now, fact: StreamFact) {
        let (flow, life) = (fact.flow.id, fact.life);
        let Some(taken) = self.streams.take(fact) else {
            return;
        };
        if let Input::Sip { flow, bytes } = &taken.input {
            self.parts.tap.message(now, Way::In, flow, bytes);
        }
        self.parts.switch.handle(now, taken.input);
        self.carry_out(now);
        if taken.ends && self.streams.end(flow, life) {
            self.parts.switch.handle(now, Input::SipClosed { flow });
        }
    }

    fn request(&mut self, now: Now, request: Request) {
        let switch = &mut self.parts.switch;
        match request {
            Request::Command {
                agent,
                command,
                reply,
            } => {
                let id = ReplyId(self.next_reply);
                self.next_reply += 1;
                self.replies.insert(id, (agent.clone(), reply));
                switch.handle(
                    now,
                    Input::Command {
                        agent,
                        command,
                        reply: id,
                    },
                );
            }
            Request::Desk { agent, reply } => {
                let desk = self.desks.get(&agent).map(watch::Sender::subscribe);
                let _ = reply.send(desk);
            }
            Request::Presence {
                agent,
                tab,
                present,
            } => {
                switch.handle(
                    now,
                    Input::Presence {
                        agent,
                        tab,
                        present,
                    },
                );
            }
            Request::SipOpen {
                agent,
                local,
                remote,
                secure,
                reply,
            } => {
                let _ = reply.send(self.open_flow(now, agent, local, remote, secure));
            }
            Request::SipReceived { flow, bytes } => {
                if let Some(socket) = self.flows.get(&flow) {
                    let flow = socket.flow;
                    self.parts.tap.message(now, Way::In, &flow, &bytes);
                    switch.handle(
                        now,
                        Input::Sip {
                            flow,
                            bytes: bytes.to_vec(),
                        },
                    );
                }
            }
            Request::SipClosed { flow } => self.close_flow(now, flow),
            Request::Crm {
                agent,
                token,
                result,
            } => {
                switch.handle(
                    now,
                    Input::Crm {
                        agent,
                        token,
                        result,
                    },
                );
            }
            Request::Snapshot { reply } => {
                let mut snapshot = switch.snapshot();
                snapshot["tap"] = self.parts.tap.snapshot();
                snapshot["queues"] = self.queues();
                snapshot["sip_connections"] = told(self.parts.sip.streams.counts());
                let _ = reply.send(snapshot);
            }
            Request::TrunkSnapshot { reply } => {
                let _ = reply.send(switch.trunk_snapshot());
            }
            Request::Resolved {
                trunk,
                place,
                answer,
            } => {
                let resolved = Input::Resolved {
                    trunk,
                    place,
                    answer,
                };
                switch.handle(now, resolved);
            }
            Request::Registrations { reply } => {
                let _ = reply.send(switch.registrations(now));
            }
            Request::Phones { reply } => {
                let _ = reply.send(switch.phones(now));
            }
            Request::Phone { change, reply } => {
                let id = ReplyId(self.next_reply);
                self.next_reply += 1;
                self.phone_replies.insert(id, reply);
                switch.handle(now, Input::Phone { change, reply: id });
            }
            Request::Reload { config, reply } => {
                switch.handle(now, Input::Reload(config));
                let _ = reply.send(switch.leaving().cloned().collect());
            }
            Request::HangUp { call, reply } => {
                let _ = reply.send(switch.has_call(call));
                switch.handle(now, Input::HangUp { call });
            }
            Request::Trace { reply } => {
                let _ = reply.send(self.parts.tap.listen());
            }
            Request::Drain => switch.handle(now, Input::Drain),
            // Handled where the loop can be left.
            Request::Shutdown { .. } => {}
        }
    }

    /// How much waits for the loop, for `/metrics`.
    fn queues(&self) -> serde_json::Value {
        let sip = &self.parts.sip;
        serde_json::json!({
            "requests": self.own.waiting(),
            "datagrams": sip.datagrams.len(),
            "datagrams_dropped": sip.udp.iter().map(SipUdp::dropped).sum::<u64>(),
            "stream_facts": sip.stream_facts.len(),
            "store_facts": self.parts.store_facts.len(),
            "media_facts": self.parts.media_facts.len(),
            "sip_sockets": self.flows.len(),
        })
    }

    fn open_flow(
        &mut self,
        now: Now,
        agent: Option<AgentId>,
        local: SocketAddr,
        remote: SocketAddr,
        secure: bool,
    ) -> SipSocket {
        let id = self.next_flow;
        self.next_flow += 1;
        let transport = if secure {
            Transport::Wss
        } else {
            Transport::Ws
        };
        let (outgoing, receiver) = mpsc::channel(FLOW_QUEUE_MAX);
        let flow = Flow {
            id,
            transport,
            local,
            remote,
        };
        self.flows.insert(id, SocketFlow { flow, outgoing });
        if let Some(agent) = agent {
            let opened = Input::SipOpened { flow: id, agent };
            self.parts.switch.handle(now, opened);
        }
        SipSocket {
            flow: id,
            outgoing: receiver,
        }
    }

    fn close_flow(&mut self, now: Now, flow: u64) {
        if self.flows.remove(&flow).is_some() {
            self.parts.switch.handle(now, Input::SipClosed { flow });
        }
    }

    fn carry_out(&mut self, now: Now) {
        while let Some(output) = self.parts.switch.poll_output() {
            match output {
                Output::Sip { flow, bytes } => self.send_sip(now, &flow, bytes),
                Output::SipConnect { flow, server_name } => {
                    let opened = self.parts.sip.streams.open(flow, server_name);
                    self.streams.opened(flow, opened);
                }
                Output::Media(command) => self.send_media(command),
                Output::Store { id, command } => self.write(now, id, command),
                Output::Desk { agent, update } => self.show(agent, update),
                Output::Reply { reply, result } => self.answer(reply, result),
                Output::Resolve {
                    trunk,
                    place,
                    transport,
                } => self.resolve(trunk, place, transport),
                Output::FetchCrm(question) => {
                    (self.parts.fetch_crm)(self.own.clone(), question);
                }
            }
        }
        self.ring();
    }

    /// Asks DNS beside the loop.
    fn resolve(&mut self, trunk: TrunkId, place: Place, transport: Transport) {
        let (own, resolver) = (self.own.clone(), self.parts.resolver.clone());
        tokio::spawn(async move {
            let answer = match resolver {
                Ok(dns) => dns
                    .resolve(&place, transport)
                    .await
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error),
            };
            own.resolved(trunk, place, answer).await;
        });
    }

    /// A queue that is full refuses at once; the switch keeps what must not be lost.
    fn write(&mut self, now: Now, id: u64, command: Command) {
        if let Err(refused) = self.parts.store.submit(id, now.utc, command) {
            let why = match refused {
                Refused::QueueFull(_) => "the queue is full",
                Refused::Stopped(_) => "the writer has stopped",
            };
            let fact = Err(StoreError::NotCommitted(why.to_owned()));
            self.parts.switch.handle(now, Input::Store { id, fact });
        }
    }

    fn send_sip(&mut self, now: Now, flow: &Flow, bytes: Vec<u8>) {
        self.parts.tap.message(now, Way::Out, flow, &bytes);
        let sent = match flow.transport {
            Transport::Udp => {
                let socket = self.parts.sip.udp(flow.id);
                socket.is_some_and(|socket| socket.send_or_lose(&bytes, flow.remote).is_ok())
            }
            Transport::Tcp | Transport::Tls => self.streams.send(flow.id, bytes),
            Transport::Ws | Transport::Wss => self
                .flows
                .get(&flow.id)
                .is_some_and(|socket| socket.outgoing.try_send(bytes).is_ok()),
        };
        if sent {
            return;
        }
        let id = flow.id;
        match flow.transport {
            Transport::Udp => {
                let remote = flow.remote;
                let failed = Input::SipSendFailed { flow: id, remote };
                self.parts.switch.handle(now, failed);
            }
            // A peer that does not read is gone; so is its connection.
            Transport::Tcp | Transport::Tls => {
                self.streams.drop_flow(id);
                self.parts.switch.handle(now, Input::SipClosed { flow: id });
            }
            // A page that does not read is gone; dropping the sender closes its socket.
            Transport::Ws | Transport::Wss => self.close_flow(now, id),
        }
    }

    /// A leg is closed by the worker's next tick: it has one as long as it has a leg.
    fn send_media(&mut self, command: MediaCommand) {
        let waits = matches!(command, MediaCommand::CloseLeg { .. });
        let workers = self.parts.workers.len();
        match leg_of(&command) {
            Some(LegId(leg)) => {
                // Leg ids carry their worker, see `Switch::new_leg`.
                let worker = usize::try_from(leg % workers as u64).unwrap_or(0);
                self.parts.workers[worker].leave(command);
                self.to_ring[worker] |= !waits;
            }
            None => {
                for (worker, ring) in self.parts.workers.iter().zip(&mut self.to_ring) {
                    worker.leave(command.clone());
                    *ring = true;
                }
            }
        }
    }

    /// Once a turn, however many commands it had.
    fn ring(&mut self) {
        for (worker, ring) in self.parts.workers.iter().zip(&mut self.to_ring) {
            if std::mem::take(ring) {
                worker.ring();
            }
        }
    }

    fn show(&mut self, agent: AgentId, update: DeskUpdate) {
        let update = Arc::new(update);
        match self.desks.get(&agent) {
            Some(desk) => {
                desk.send_replace(update);
            }
            None => {
                self.desks.insert(agent, watch::Sender::new(update));
            }
        }
    }

    fn answer(&mut self, reply: ReplyId, result: Result<(), Problem>) {
        if let Some(sender) = self.phone_replies.remove(&reply) {
            let _ = sender.send(result);
            return;
        }
        let Some((agent, sender)) = self.replies.remove(&reply) else {
            return;
        };
        // The desk the answer shows is the one after the command: render it first.
        let desk = self.desks.get(&agent).map(|desk| desk.borrow().clone());
        let result = match (result, desk) {
            (Err(problem), _) => Err(problem),
            (Ok(()), Some(desk)) => Ok(desk),
            (Ok(()), None) => Err(Problem::overload()),
        };
        let _ = sender.send(result);
    }

    /// Ends every call and stays until the far ends, the recorder and the store have taken it in.
    async fn stop(
        &mut self,
        now: Now,
        told: Option<oneshot::Sender<()>>,
        inbox: &mut mpsc::Receiver<Request>,
    ) {
        self.parts.switch.handle(now, Input::Shutdown);
        self.carry_out(now);
        let latest = now.instant + STOP_LIMIT;
        while !self.parts.switch.is_quiet() && (self.parts.clock)().instant < latest {
            let wake = tokio::time::timeout(STOP_LOOK, self.wait(inbox)).await;
            let now = (self.parts.clock)();
            if let Ok(Wake::Request(None)) = wake {
                break;
            }
            self.take(now, wake.unwrap_or(Wake::Timer));
        }
        if let Some(told) = told {
            let _ = told.send(());
        }
    }
}

/// Connections for people; never read back.
fn told(counts: StreamCounts) -> serde_json::Value {
    serde_json::json!({
        "open": counts.open,
        "accepted": counts.accepted,
        "refused": counts.refused,
        "opened": counts.opened,
        "open_failed": counts.open_failed,
        "timed_out": counts.timed_out,
        "broken": counts.broken,
    })
}

/// The leg a command is about; a recording is kept where its customer's leg runs.
fn leg_of(command: &MediaCommand) -> Option<LegId> {
    match command {
        MediaCommand::OpenTrunk { leg, .. }
        | MediaCommand::AimTrunk { leg, .. }
        | MediaCommand::OpenBrowser { leg, .. }
        | MediaCommand::ReofferBrowser { leg, .. }
        | MediaCommand::CloseLeg { leg }
        | MediaCommand::Listen { leg, .. }
        | MediaCommand::Mute { leg, .. }
        | MediaCommand::Gain { leg, .. } => Some(*leg),
        MediaCommand::Record { customer, .. } => Some(*customer),
        MediaCommand::StopRecording { .. } | MediaCommand::Shutdown => None,
    }
}
