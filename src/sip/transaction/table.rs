//! The table of live transactions: matching, deadlines, and the one stream of outputs.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use crate::now::Now;
use crate::sip::endpoint::RegisterId;
use crate::sip::event::{Flow, Output, PingId, SessionId};
use crate::sip::message::{Method, Request, Response};
use crate::sip::timer::{Deadline, Deadlines, Timers};

use super::client::Client;
use super::client_invite::ClientInvite;
use super::server::Server;
use super::server_invite::ServerInvite;
use super::{Effect, Failure, TxId};

/// Who hears of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Owner {
    Session(SessionId),
    Ping(PingId),
    Register(RegisterId),
    /// Sent and forgotten: the BYE of a forked answer.
    Nobody,
}

/// What a transaction tells its owner.
#[derive(Debug)]
pub(in crate::sip) enum Note {
    Response {
        tx: TxId,
        owner: Owner,
        flow: Flow,
        response: Box<Response>,
    },
    Failed {
        tx: TxId,
        owner: Owner,
        failure: Failure,
    },
    /// Gone from the table.
    Over { tx: TxId },
}

/// Where a request belongs.
#[derive(Debug)]
pub(in crate::sip) enum Arrival {
    /// A retransmission, or an ACK that a transaction was waiting for.
    Absorbed,
    /// An ACK that no transaction takes: that of a 2xx, or a stray.
    Ack,
    /// RFC 3261 8.2.2.2: the same request by another path.
    Merged,
    New,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientKey {
    branch: String,
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ServerKey {
    Branch {
        branch: String,
        sent_by: String,
        /// More than RFC 3261 17.2.3 asks for: not every client draws its branches anew.
        call_id: String,
        method: String,
    },
    /// RFC 3261 17.2.3 for RFC 2543 clients.
    Old {
        uri: String,
        from_tag: String,
        call_id: String,
        cseq: u32,
        via: String,
        method: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct MergeKey {
    call_id: String,
    from_tag: String,
    cseq: u32,
    method: String,
}

enum Machine {
    ClientInvite(Box<ClientInvite>),
    Client(Client),
    ServerInvite(ServerInvite),
    Server(Server),
}

enum Key {
    Client(ClientKey),
    Server(ServerKey, Option<MergeKey>),
}

struct Entry {
    machine: Machine,
    key: Key,
    owner: Owner,
    /// Where its messages go.
    flow: Flow,
}

pub(in crate::sip) struct Transactions {
    table: HashMap<TxId, Entry>,
    clients: HashMap<ClientKey, TxId>,
    servers: HashMap<ServerKey, TxId>,
    merges: HashMap<MergeKey, TxId>,
    deadlines: Deadlines<TxId>,
    /// Of the request last found to be new.
    arrived: Option<ServerKey>,
    next: u64,
    timers: Timers,
    notes: VecDeque<Note>,
    /// Everything the endpoint says, in order.
    pub out: VecDeque<Output>,
}

/// Live transactions by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub client_invite: usize,
    pub client: usize,
    pub server_invite: usize,
    pub server: usize,
}

impl Transactions {
    pub fn new(timers: Timers) -> Transactions {
        Transactions {
            table: HashMap::new(),
            clients: HashMap::new(),
            servers: HashMap::new(),
            merges: HashMap::new(),
            deadlines: Deadlines::new(),
            arrived: None,
            next: 0,
            timers,
            notes: VecDeque::new(),
            out: VecDeque::new(),
        }
    }

    // ── as client

    pub fn send_invite(
        &mut self,
        now: Now,
        flow: Flow,
        request: Request,
        owner: Owner,
        timers: Timers,
    ) -> TxId {
        let mut fx = Vec::new();
        let key = client_key(&request);
        let reliable = flow.transport.is_reliable();
        let machine = ClientInvite::start(now.instant, request, reliable, timers, &mut fx);
        self.insert_client(
            key,
            Machine::ClientInvite(Box::new(machine)),
            owner,
            flow,
            fx,
        )
    }

    /// Waits for answers to an INVITE that an earlier process sent.
    pub fn resume_invite(&mut self, now: Now, flow: Flow, request: Request, owner: Owner) -> TxId {
        let key = client_key(&request);
        let reliable = flow.transport.is_reliable();
        let machine = ClientInvite::resume(now.instant, request, reliable, self.timers);
        self.insert_client(
            key,
            Machine::ClientInvite(Box::new(machine)),
            owner,
            flow,
            Vec::new(),
        )
    }

    pub fn send(&mut self, now: Now, flow: Flow, request: &Request, owner: Owner) -> TxId {
        let mut fx = Vec::new();
        let reliable = flow.transport.is_reliable();
        let machine = Client::start(now.instant, request, reliable, self.timers, &mut fx);
        self.insert_client(
            client_key(request),
            Machine::Client(machine),
            owner,
            flow,
            fx,
        )
    }

    fn insert_client(
        &mut self,
        key: ClientKey,
        machine: Machine,
        owner: Owner,
        flow: Flow,
        fx: Vec<Effect>,
    ) -> TxId {
        let tx = self.next_id();
        self.clients.insert(key.clone(), tx);
        self.table.insert(
            tx,
            Entry {
                machine,
                key: Key::Client(key),
                owner,
                flow,
            },
        );
        self.apply(tx, fx);
        tx
    }

    /// RFC 3261 17.1.3. False when no transaction waits for this response.
    pub fn handle_response(&mut self, now: Now, from: &Flow, response: Response) -> bool {
        let (Some(via), Some((_, method))) = (response.headers.via(), response.headers.cseq())
        else {
            return false;
        };
        let branch = via.branch().unwrap_or_default().to_owned();
        let Some(tx) = self.clients.get(&ClientKey { branch, method }).copied() else {
            return false;
        };
        let Some(entry) = self.table.get_mut(&tx) else {
            return false;
        };
        // A challenge is answered only to the peer that was asked. A connection has one peer.
        let asked = from.id == entry.flow.id
            && (from.transport.is_reliable() || from.remote.ip() == entry.flow.remote.ip());
        if matches!(response.status, 401 | 407) && !asked {
            return false;
        }
        let mut fx = Vec::new();
        match &mut entry.machine {
            Machine::ClientInvite(one) => one.handle_response(now.instant, response, &mut fx),
            Machine::Client(one) => one.handle_response(now.instant, response, &mut fx),
            Machine::ServerInvite(_) | Machine::Server(_) => return false,
        }
        self.apply(tx, fx);
        true
    }

    /// The INVITE of a client transaction.
    pub fn invite_of(&self, tx: TxId) -> Option<&Request> {
        match &self.table.get(&tx)?.machine {
            Machine::ClientInvite(one) => Some(one.request()),
            _ => None,
        }
    }

    /// RFC 3261 9.1: a cancelled INVITE that is never answered is given up.
    pub fn abandon(&mut self, tx: TxId) {
        self.remove(tx);
    }

    /// Every client transaction towards there fails.
    pub fn handle_unreachable(&mut self, flow_id: u64, remote: Option<SocketAddr>) {
        let hit = |flow: &Flow| flow.id == flow_id && remote.is_none_or(|r| r == flow.remote);
        let mut hits: Vec<TxId> = self
            .table
            .iter()
            .filter(|(_, e)| hit(&e.flow))
            .map(|(tx, _)| *tx)
            .collect();
        hits.sort_unstable();
        for tx in hits {
            let Some(entry) = self.table.get_mut(&tx) else {
                continue;
            };
            let mut fx = Vec::new();
            match &mut entry.machine {
                Machine::ClientInvite(one) => one.handle_unreachable(&mut fx),
                Machine::Client(one) => one.handle_unreachable(&mut fx),
                Machine::ServerInvite(_) | Machine::Server(_) => {}
            }
            self.apply(tx, fx);
        }
    }

    // ── as server

    /// Matches a request; retransmissions are answered here.
    pub fn handle_request(&mut self, now: Now, request: &Request) -> Arrival {
        let is_ack = request.method == Method::Ack;
        self.arrived = None;
        let Some(key) = server_key(request, &request.method) else {
            return Arrival::Absorbed;
        };
        let Some(tx) = self.servers.get(&key).copied() else {
            if is_ack {
                return Arrival::Ack;
            }
            let merged = merge_key(request).is_some_and(|key| self.merges.contains_key(&key));
            self.arrived = Some(key);
            return if merged {
                Arrival::Merged
            } else {
                Arrival::New
            };
        };
        let Some(entry) = self.table.get_mut(&tx) else {
            return Arrival::New;
        };
        let mut fx = Vec::new();
        let mut sessions_own = false;
        match &mut entry.machine {
            Machine::ServerInvite(one) if is_ack => sessions_own = one.handle_ack(now.instant),
            Machine::ServerInvite(one) => one.handle_repeat(&mut fx),
            Machine::Server(one) => one.handle_repeat(&mut fx),
            Machine::ClientInvite(_) | Machine::Client(_) => {}
        }
        self.apply(tx, fx);
        if sessions_own {
            Arrival::Ack
        } else {
            Arrival::Absorbed
        }
    }

    /// A transaction for a request just found to be [`Arrival::New`]. `flow` is where its
    /// responses go.
    pub fn accept(&mut self, flow: Flow, request: &Request, owner: Owner) -> Option<TxId> {
        let key = self.arrived.take();
        let key = key.or_else(|| server_key(request, &request.method))?;
        let reliable = flow.transport.is_reliable();
        let machine = match request.method {
            Method::Invite => Machine::ServerInvite(ServerInvite::new(reliable, self.timers)),
            _ => Machine::Server(Server::new(reliable, self.timers)),
        };
        let tx = self.next_id();
        let merge = merge_key(request);
        self.servers.insert(key.clone(), tx);
        if let Some(merge) = merge.clone() {
            self.merges.insert(merge, tx);
        }
        self.table.insert(
            tx,
            Entry {
                machine,
                key: Key::Server(key, merge),
                owner,
                flow,
            },
        );
        Some(tx)
    }

    pub fn respond(&mut self, now: Now, tx: TxId, response: &Response) {
        let Some(entry) = self.table.get_mut(&tx) else {
            return;
        };
        let mut fx = Vec::new();
        match &mut entry.machine {
            Machine::ServerInvite(one) => one.respond(now.instant, response, &mut fx),
            Machine::Server(one) => one.respond(now.instant, response, &mut fx),
            Machine::ClientInvite(_) | Machine::Client(_) => {}
        }
        self.apply(tx, fx);
    }

    /// Repeats a 2xx, which no transaction does any more.
    pub fn resend(&mut self, flow: Flow, bytes: Vec<u8>) {
        self.out.push_back(Output::Send { flow, bytes });
    }

    pub fn flow_of(&self, tx: TxId) -> Option<Flow> {
        Some(self.table.get(&tx)?.flow)
    }

    /// RFC 3261 9.2: the INVITE a CANCEL means, whether it still rings, and whose it is.
    pub fn cancelled_by(&self, cancel: &Request) -> Option<(TxId, bool, Owner)> {
        let key = server_key(cancel, &Method::Invite)?;
        let tx = self.servers.get(&key).copied()?;
        let entry = self.table.get(&tx)?;
        match &entry.machine {
            Machine::ServerInvite(one) => Some((tx, one.is_open(), entry.owner)),
            _ => None,
        }
    }

    // ── time and bookkeeping

    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(tx) = self.deadlines.due(now.instant) {
            let Some(entry) = self.table.get_mut(&tx) else {
                self.deadlines.set(tx, None);
                continue;
            };
            let mut fx = Vec::new();
            match &mut entry.machine {
                Machine::ClientInvite(one) => one.handle_timeout(now.instant, &mut fx),
                Machine::Client(one) => one.handle_timeout(now.instant, &mut fx),
                Machine::ServerInvite(one) => one.handle_timeout(now.instant, &mut fx),
                Machine::Server(one) => one.handle_timeout(now.instant),
            }
            self.apply(tx, fx);
        }
    }

    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.deadlines.first()
    }

    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.table.values() {
            match entry.machine {
                Machine::ClientInvite(_) => counts.client_invite += 1,
                Machine::Client(_) => counts.client += 1,
                Machine::ServerInvite(_) => counts.server_invite += 1,
                Machine::Server(_) => counts.server += 1,
            }
        }
        counts
    }

    fn next_id(&mut self) -> TxId {
        self.next += 1;
        TxId(self.next)
    }

    fn apply(&mut self, tx: TxId, fx: Vec<Effect>) {
        let Some(entry) = self.table.get(&tx) else {
            return;
        };
        let (owner, flow) = (entry.owner, entry.flow);
        for effect in fx {
            match effect {
                Effect::Send(bytes) => self.out.push_back(Output::Send { flow, bytes }),
                Effect::Response(response) => {
                    self.notes.push_back(Note::Response {
                        tx,
                        owner,
                        flow,
                        response,
                    });
                }
                Effect::Failed(failure) => {
                    self.notes.push_back(Note::Failed { tx, owner, failure });
                }
                // RFC 3261 17.2.1: a refusal without its ACK leaves nothing to undo.
                Effect::Unacknowledged => {}
            }
        }
        let deadline = match &entry.machine {
            Machine::ClientInvite(one) => one.deadline(),
            Machine::Client(one) => one.deadline(),
            Machine::ServerInvite(one) => one.deadline(),
            Machine::Server(one) => one.deadline(),
        };
        let over = match &entry.machine {
            Machine::ClientInvite(one) => one.is_over(),
            Machine::Client(one) => one.is_over(),
            Machine::ServerInvite(one) => one.is_over(),
            Machine::Server(one) => one.is_over(),
        };
        if over {
            self.remove(tx);
        } else {
            self.deadlines.set(tx, deadline);
        }
    }

    fn remove(&mut self, tx: TxId) {
        self.deadlines.set(tx, None);
        let Some(entry) = self.table.remove(&tx) else {
            return;
        };
        match entry.key {
            Key::Client(key) => drop(self.clients.remove(&key)),
            Key::Server(key, merge) => {
                self.servers.remove(&key);
                if let Some(merge) = merge {
                    self.merges.remove(&merge);
                }
            }
        }
        self.notes.push_back(Note::Over { tx });
    }
}

fn client_key(request: &Request) -> ClientKey {
    let via = request.headers.via();
    let branch = via
        .as_ref()
        .and_then(|via| via.branch())
        .unwrap_or_default()
        .to_owned();
    ClientKey {
        branch,
        method: request.method.to_string(),
    }
}

/// The key of the server transaction a request belongs to; an ACK has that of its INVITE.
fn server_key(request: &Request, method: &Method) -> Option<ServerKey> {
    let via = request.headers.via()?;
    let method = match method {
        Method::Ack => Method::Invite.to_string(),
        other => other.to_string(),
    };
    if via.has_rfc3261_branch() {
        let branch = via.branch().unwrap_or_default().to_owned();
        return Some(ServerKey::Branch {
            branch,
            sent_by: via.sent_by(),
            call_id: request.headers.call_id()?,
            method,
        });
    }
    Some(ServerKey::Old {
        uri: request.uri.clone(),
        from_tag: request.headers.tag("From").unwrap_or_default(),
        call_id: request.headers.call_id()?,
        cseq: request.headers.cseq()?.0,
        via: request.headers.items("Via").into_iter().next()?,
        method,
    })
}

/// Only a request outside any dialog can arrive by two paths.
fn merge_key(request: &Request) -> Option<MergeKey> {
    if request.headers.tag("To").is_some() || request.method == Method::Cancel {
        return None;
    }
    let (cseq, method) = request.headers.cseq()?;
    let from_tag = request.headers.tag("From")?;
    Some(MergeKey {
        call_id: request.headers.call_id()?,
        from_tag,
        cseq,
        method,
    })
}
