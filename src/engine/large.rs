//! RFC 3261 §18.1.1: a request of more than 1,300 octets goes over TCP, where fragments do not get
//! lost, and over UDP after all when the peer has no TCP. So does one whose next hop says
//! `;transport=tcp` (RFC 3263 §4.1), as the Contact of a peer that was reached over TCP may.
//!
//! Its transaction keeps speaking UDP and does not know: what it repeats is dropped while TCP
//! carries the request, and answers are handed to it as if they had come to its own socket.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::switch::Switch;
use crate::now::Now;
use crate::sip::message::{Limits, Message, Method, Parsed, parse};
use crate::sip::{Flow, Transport};

/// Larger ones leave UDP.
const UDP_BYTES_MAX: usize = 1_300;
/// A peer that refused TCP is not asked again this long.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// Requests remembered, oldest out: those that are answered late or cancelled.
const REQUESTS_MAX: usize = 1_000;
const REFUSERS_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Large {
    /// By branch.
    requests: HashMap<String, Carried>,
    oldest: VecDeque<String>,
    /// Peers configured for UDP and nothing else.
    fixed: HashSet<SocketAddr>,
    refusers: HashMap<SocketAddr, Instant>,
}

/// A request that left UDP.
#[derive(Debug)]
struct Carried {
    method: Method,
    original: (Flow, Vec<u8>),
    /// The connection.
    over: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Over,
}

impl Large {
    pub fn up(&mut self, connection: u64) {
        for one in self
            .requests
            .values_mut()
            .filter(|it| it.over == connection)
        {
            one.state = State::Over;
        }
    }

    /// What the closed connection never carried goes by UDP.
    pub fn closed(&mut self, now: Instant, connection: u64) -> Vec<(Flow, Vec<u8>)> {
        let mut back = Vec::new();
        let gone = self.requests.extract_if(|_, it| it.over == connection);
        for (_, one) in gone {
            if one.state == State::Opening {
                back.push(one.original);
            }
        }
        for (flow, _) in &back {
            self.refused(now, flow.remote);
        }
        back
    }

    fn refused(&mut self, now: Instant, peer: SocketAddr) {
        if self.refusers.len() >= REFUSERS_MAX {
            self.refusers.clear();
        }
        self.refusers.insert(peer, now + ASK_AGAIN);
    }

    fn may_try(&self, now: Instant, peer: &SocketAddr) -> bool {
        let refused = self.refusers.get(peer).is_some_and(|until| *until > now);
        !refused && !self.fixed.contains(peer)
    }

    fn remember(&mut self, branch: String, carried: Carried) {
        while self.oldest.len() >= REQUESTS_MAX {
            if let Some(oldest) = self.oldest.pop_front() {
                self.requests.remove(&oldest);
            }
        }
        self.oldest.push_back(branch.clone());
        self.requests.insert(branch, carried);
    }
}

/// How a message leaves.
enum Way {
    AsItIs,
    Over(u64),
    /// It is under way over TCP already.
    NotAgain,
}

impl Switch {
    /// Nothing to this peer leaves UDP, however large.
    pub fn keep_to_udp(&mut self, peer: SocketAddr) {
        self.connections.large.fixed.insert(peer);
    }

    /// The flow and bytes a message leaves with; `None` when it need not leave again.
    pub(super) fn sized(
        &mut self,
        now: Now,
        flow: Flow,
        bytes: Vec<u8>,
    ) -> Option<(Flow, Vec<u8>)> {
        let fits = bytes.len() <= UDP_BYTES_MAX && self.connections.large.requests.is_empty();
        if flow.transport != Transport::Udp
            || bytes.starts_with(b"SIP/2.0")
            || fits && !asks_for_tcp(&bytes)
        {
            return Some((flow, bytes));
        }
        let Some((branch, method)) = top_of(&bytes) else {
            return Some((flow, bytes));
        };
        match self.way_of(now, &flow, &bytes, &branch, method) {
            Way::AsItIs => Some((flow, bytes)),
            Way::NotAgain => None,
            Way::Over(id) => {
                let over = Flow {
                    id,
                    transport: Transport::Tcp,
                    local: self.config.ways.from(flow.remote),
                    remote: flow.remote,
                };
                match self.sip.readdressed(&bytes, &over) {
                    Some(readdressed) => Some((over, readdressed)),
                    None => Some((flow, bytes)),
                }
            }
        }
    }

    fn way_of(&mut self, now: Now, flow: &Flow, bytes: &[u8], branch: &str, method: Method) -> Way {
        let large = &mut self.connections.large;
        if let Some(carried) = large.requests.get(branch) {
            let (over, state) = (carried.over, carried.state);
            return match state {
                // CANCEL and ACK follow their INVITE.
                _ if carried.method != method => Way::Over(over),
                State::Over => Way::NotAgain,
                // TCP takes too long: the repetition goes by UDP, and so does all that follows.
                State::Opening => {
                    large.requests.remove(branch);
                    large.refused(now.instant, flow.remote);
                    Way::AsItIs
                }
            };
        }
        let fits = bytes.len() <= UDP_BYTES_MAX && !asks_for_tcp(bytes);
        if fits || !large.may_try(now.instant, &flow.remote) {
            return Way::AsItIs;
        }
        let known = self.is_up(flow.remote);
        let over = self.connection(Transport::Tcp, flow.remote, None).id;
        let carried = Carried {
            method,
            original: (*flow, bytes.to_vec()),
            over,
            state: if known { State::Over } else { State::Opening },
        };
        self.connections.large.remember(branch.to_owned(), carried);
        Way::Over(over)
    }

    /// An answer to a request that left UDP is heard by the transaction that waits there.
    pub(super) fn heard_on(&self, flow: Flow, bytes: &[u8]) -> Flow {
        let large = &self.connections.large;
        if large.requests.is_empty() || !bytes.starts_with(b"SIP/2.0") {
            return flow;
        }
        let carried = top_of(bytes).and_then(|(branch, _)| large.requests.get(&branch));
        match carried {
            Some(carried) if carried.over == flow.id => carried.original.0,
            _ => flow,
        }
    }
}

/// Whether the next hop of a request of ours, its first Route or else its target, names TCP.
fn asks_for_tcp(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|b| *b == b'\n');
    let target = lines.next().unwrap_or_default();
    let head = lines.take_while(|line| line.len() > 1);
    let mut routes = head.filter(|line| line.starts_with(b"Route:"));
    // Further routes of one line are hops of others.
    let hop = routes.next().map(|line| line.split(|b| *b == b',').next());
    let hop = hop.flatten().unwrap_or(target).to_ascii_lowercase();
    let named = b";transport=tcp";
    hop.windows(named.len()).any(|window| window == named)
}

/// Branch and method of what a message belongs to.
fn top_of(bytes: &[u8]) -> Option<(String, Method)> {
    let headers = match parse(bytes, &Limits::default()) {
        Parsed::Message(Message::Request(request)) => request.headers,
        Parsed::Message(Message::Response(response)) => response.headers,
        _ => return None,
    };
    let branch = headers.via()?.branch()?.to_owned();
    Some((branch, Method::parse(&headers.cseq()?.1)))
}
