//! The room's door: owns transactions, sessions and the registrar. Bytes and commands go in,
//! one ordered stream of bytes and events comes out.

mod config;
mod receive;
mod register;
mod registering;
mod stream;
mod trust;

pub use config::{Counters, EndpointConfig, Snapshot};
pub(super) use receive::put_capabilities;
pub use registering::{RegisterId, RegisterPlan};

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::now::Now;

use super::accounts::Accounts;
use super::auth::{Algorithm, Credentials, Secret};
use super::dialog::{DialogIdentity, InvitePlan, Orphan};
use super::event::{Flow, InfoDigit, InviteTimers, Output, PingId, SessionId, SipEvent};
use super::guard::AddressBlock;
use super::message::{Body, Method, NameAddr, Request, Response};
use super::registrar::{Change, Registered, Registrar};
use super::replaces::Replaces;
use super::session::{Session, Sessions, Wish, relay_body};
use super::stack::Stack;
use super::timer::{Deadline, earlier};
use super::transaction::{Failure, Note, Owner};

pub struct Endpoint {
    stack: Stack,
    sessions: Sessions,
    registrar: Registrar,
    accounts: Accounts,
    defence: trust::Defence,
    /// Flows whose user something else has proved.
    trusted: HashMap<u64, String>,
    sources: HashMap<IpAddr, trust::Permit>,
    /// Those who may call without a challenge.
    permitted: Vec<AddressBlock>,
    pings: BTreeSet<PingId>,
    next_ping: u64,
    registering: registering::Registering,
    counters: Counters,
}

impl Endpoint {
    #[must_use]
    pub fn new(config: EndpointConfig, seed: u64) -> Endpoint {
        let registrar = {
            let mut registrar = Registrar::new(config.registrar, config.domain.clone());
            registrar.set_domains(config.domain.clone(), config.domains.clone());
            registrar
        };
        let defence = trust::Defence::new(&config);
        let realm = config.realm.clone();
        let stack = Stack::new(config, seed);
        let accounts = Accounts::new(realm, stack.key());
        Endpoint {
            stack,
            sessions: Sessions::new(),
            registrar,
            accounts,
            defence,
            trusted: HashMap::new(),
            sources: HashMap::new(),
            permitted: Vec::new(),
            pings: BTreeSet::new(),
            next_ping: 0,
            registering: registering::Registering::default(),
            counters: Counters::default(),
        }
    }

    // ── whom we trust

    /// Requests on this flow come from `user`; it is not challenged.
    pub fn trust_flow(&mut self, flow_id: u64, user: String) {
        self.trusted.insert(flow_id, user);
    }

    /// A trunk known by its address: it may call without a challenge, and register phones only
    /// if `may_register`.
    pub fn permit_source(&mut self, ip: IpAddr, may_register: bool) {
        self.sources
            .insert(ip.to_canonical(), trust::Permit { may_register });
    }

    pub fn forget_source(&mut self, ip: IpAddr) {
        self.sources.remove(&ip.to_canonical());
    }

    /// Whoever sends from these blocks may call without a challenge, and register nobody. They
    /// take the place of those given before.
    pub fn permit_blocks(&mut self, blocks: Vec<AddressBlock>) {
        self.permitted = blocks;
    }

    /// Takes over what may change while the endpoint works: its domains, its lockout, and whether
    /// scanners are answered.
    pub fn reconfigure(&mut self, config: &EndpointConfig) {
        self.defence.set_rules(config.lockout);
        self.registrar
            .set_domains(config.domain.clone(), config.domains.clone());
        let own = &mut self.stack.config;
        own.domain.clone_from(&config.domain);
        own.domains.clone_from(&config.domains);
        own.lockout = config.lockout;
        own.drop_scanners = config.drop_scanners;
    }

    /// A phone's account. `order`: the challenges it is sent, first choice first.
    pub fn set_phone(&mut self, user: String, secret: Secret, order: Vec<Algorithm>) {
        self.accounts.set(user, &secret, &order);
    }

    pub fn remove_phone(&mut self, user: &str) {
        self.accounts.remove(user);
    }

    /// Every address of record that can be reached, with each place it can be reached at.
    pub fn registrations(&self) -> impl Iterator<Item = Registered<'_>> {
        self.registrar.all()
    }

    // ── calling

    /// Fixes everything that identifies an INVITE, so that it can be stored before it is sent.
    pub fn plan_invite(
        &mut self,
        request_uri: &str,
        from: NameAddr,
        to: NameAddr,
        flow: &Flow,
    ) -> InvitePlan {
        InvitePlan {
            call_id: self.stack.token(),
            from_tag: self.stack.token(),
            branch: self.stack.branch(),
            cseq: 1,
            request_uri: request_uri.to_owned(),
            route: Vec::new(),
            from,
            to,
            flow: *flow,
        }
    }

    /// Sends a planned INVITE. Names, CSeq, Via, Contact and the like are ours and are dropped
    /// from `headers`, as is what would break the message; both are counted.
    pub fn invite(
        &mut self,
        now: Now,
        plan: InvitePlan,
        headers: Vec<(String, String)>,
        body: Option<Body>,
        credentials: Option<Credentials>,
        timers: InviteTimers,
    ) -> SessionId {
        let id = self.sessions.next_id();
        let (headers, body) = (headers.as_slice(), body.as_ref());
        let wish = Wish {
            plan,
            headers,
            body,
            credentials,
            timers,
        };
        let session = Session::invite(now, &mut self.stack, id, wish);
        self.sessions.insert(session);
        self.settle(now);
        id
    }

    /// Lets the ACK of an answer leave.
    pub fn acknowledge(&mut self, now: Now, session: SessionId, body: Option<Body>) {
        self.command(now, session, |s, stack| {
            s.acknowledge(now, stack, body.as_ref())
        });
    }

    /// Ends a session whatever its state. `reason` is a Reason header value (RFC 3326).
    pub fn hang_up(&mut self, now: Now, session: SessionId, reason: Option<&str>) {
        self.command(now, session, |s, stack| s.hang_up(now, stack, reason));
    }

    // ── being called

    /// 180, 183 and their like, with early media when there is a body.
    pub fn ring(&mut self, now: Now, session: SessionId, status: u16, body: Option<Body>) {
        self.command(now, session, |s, stack| {
            s.ring(now, stack, status, body.as_ref())
        });
    }

    pub fn accept(
        &mut self,
        now: Now,
        session: SessionId,
        headers: Vec<(String, String)>,
        body: Option<Body>,
    ) {
        self.command(now, session, |s, stack| {
            s.accept(now, stack, &headers, body.as_ref())
        });
    }

    pub fn reject(
        &mut self,
        now: Now,
        session: SessionId,
        status: u16,
        phrase: Option<&str>,
        headers: Vec<(String, String)>,
    ) {
        self.command(now, session, |s, stack| {
            s.reject(now, stack, status, phrase, &headers)
        });
    }

    // ── changing

    /// Sends a re-INVITE as soon as none is under way; without a body it asks for an offer.
    pub fn reoffer(&mut self, now: Now, session: SessionId, body: Option<Body>) {
        self.command(now, session, |s, stack| s.reoffer(now, stack, body));
    }

    pub fn answer_reoffer(&mut self, now: Now, session: SessionId, body: Option<Body>) {
        self.command(now, session, |s, stack| {
            s.answer_reoffer(now, stack, body.as_ref())
        });
    }

    pub fn refuse_reoffer(&mut self, now: Now, session: SessionId, status: u16) {
        self.command(now, session, |s, stack| {
            s.refuse_reoffer(now, stack, status)
        });
    }

    /// Offers a change by UPDATE (RFC 3311), also before the answer; without a body it only
    /// moves the target. The answer comes as [`SipEvent::ReofferAnswered`].
    pub fn update(&mut self, now: Now, session: SessionId, body: Option<Body>) {
        self.command(now, session, |s, stack| s.update(now, stack, body));
    }

    /// Answers [`SipEvent::EarlyOffer`] of the fork with this To tag.
    pub fn prack(&mut self, now: Now, session: SessionId, to_tag: &str, body: Option<Body>) {
        self.command(now, session, |s, stack| {
            s.prack(now, stack, to_tag, body.as_ref())
        });
    }

    /// Sends an INFO with this body.
    pub fn info(&mut self, now: Now, session: SessionId, body: Body) {
        self.command(now, session, |s, stack| s.info(now, stack, &body));
    }

    /// Sends a digit as INFO (`application/dtmf-relay`).
    pub fn info_digit(&mut self, now: Now, session: SessionId, digit: InfoDigit) {
        self.info(now, session, relay_body(digit.digit, digit.duration_ms));
    }

    // ── transfer

    /// Asks the peer to call `refer_to`, there to take the place of `replaces` if given.
    /// [`SipEvent::ReferAnswered`] and [`SipEvent::ReferProgress`] follow.
    pub fn refer(
        &mut self,
        now: Now,
        session: SessionId,
        refer_to: &str,
        replaces: Option<&Replaces>,
        referred_by: Option<&str>,
    ) {
        self.command(now, session, |s, stack| {
            s.refer(now, stack, refer_to, replaces, referred_by)
        });
    }

    /// Answers [`SipEvent::Refer`]: 202 and a first notification, or 603. Unanswered it is
    /// declined after 32·T1.
    pub fn answer_refer(&mut self, now: Now, session: SessionId, accept: bool) {
        self.command(now, session, |s, stack| s.answer_refer(now, stack, accept));
    }

    /// Answers [`SipEvent::Refer`] with a refusal of this status.
    pub fn refuse_refer(&mut self, now: Now, session: SessionId, status: u16) {
        self.command(now, session, |s, stack| s.refuse_refer(now, stack, status));
    }

    /// Tells who referred how the call goes. A final status ends the telling.
    pub fn notify_refer(&mut self, now: Now, session: SessionId, status: u16, phrase: &str) {
        self.command(now, session, |s, stack| {
            s.notify_refer(now, stack, status, phrase)
        });
    }

    /// What names this session's dialog to its peer, for [`Endpoint::refer`] in another session
    /// or a Replaces header of a new call.
    #[must_use]
    pub fn replaces_of(&self, session: SessionId) -> Option<Replaces> {
        self.sessions.replaces_of(session)
    }

    /// The dialog this session has or, of a call that came in, would have once it is answered:
    /// what is written down before the answer leaves.
    #[must_use]
    pub fn dialog_of(&self, session: SessionId) -> Option<DialogIdentity> {
        self.sessions.dialog_of(session)
    }

    // ── outside calls

    /// Asks whether a peer is alive.
    pub fn options(&mut self, now: Now, to: &str, flow: &Flow) -> PingId {
        self.next_ping += 1;
        let ping = PingId(self.next_ping);
        self.pings.insert(ping);
        let (call_id, tag) = (self.stack.token(), self.stack.token());
        let mut request = Request::new(Method::Options, to);
        let ours = NameAddr::parse(&self.stack.contact(flow)).unwrap_or_default();
        request.headers.put("Max-Forwards", "70");
        request.headers.put("From", ours.with_tag(&tag).to_string());
        request
            .headers
            .put("To", NameAddr::new(None, to).to_string());
        request.headers.put("Call-ID", call_id);
        request.headers.put("CSeq", "1 OPTIONS");
        request
            .headers
            .put("Accept", self.stack.config.accept.join(", "));
        self.stack.request(now, *flow, request, Owner::Ping(ping));
        self.settle(now);
        ping
    }

    /// Ends what an earlier process left; [`SipEvent::OrphanEnded`] says when.
    pub fn end_orphan(&mut self, now: Now, orphan: Orphan) {
        let id = self.sessions.next_id();
        let session = Session::end_orphan(now, &mut self.stack, id, orphan);
        self.sessions.insert(session);
        self.settle(now);
    }

    // ── the network

    /// One datagram or one WebSocket message.
    pub fn handle_received(&mut self, now: Now, flow: &Flow, bytes: &[u8]) {
        self.receive(now, flow, bytes);
        self.settle(now);
    }

    pub fn handle_flow_closed(&mut self, now: Now, flow_id: u64) {
        self.stack.tx.handle_unreachable(flow_id, None);
        self.settle(now);
        self.sessions.on_flow_closed(now, &mut self.stack, flow_id);
        let changes = self.registrar.handle_flow_closed(flow_id);
        self.tell(changes);
        self.trusted.remove(&flow_id);
        self.settle(now);
    }

    /// ICMP or a refused write: RFC 3261 8.1.3.1.
    pub fn handle_send_failed(&mut self, now: Now, flow_id: u64, remote: SocketAddr) {
        self.stack.tx.handle_unreachable(flow_id, Some(remote));
        let changes = self.registrar.handle_unreachable(flow_id, remote);
        self.tell(changes);
        self.settle(now);
    }

    pub fn handle_timeout(&mut self, now: Now) {
        // What one of them does may set a deadline of another, never one that has passed.
        while self.poll_timeout().is_some_and(|(at, _)| at <= now.instant) {
            self.stack.tx.handle_timeout(now);
            self.settle(now);
            self.sessions.handle_timeout(now, &mut self.stack);
            let changes = self.registrar.handle_timeout(now.instant);
            self.tell(changes);
            self.settle(now);
        }
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let first = earlier(self.stack.tx.poll_timeout(), self.sessions.poll_timeout());
        earlier(first, self.registrar.poll_timeout())
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.stack.tx.out.pop_front()
    }

    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            transactions: self.stack.tx.counts(),
            sessions: self.sessions.len(),
            dialogs: self.sessions.dialog_count(),
            bindings: self.registrar.len(),
            trusted_flows: self.trusted.len(),
            pings: self.pings.len(),
            acks: self.stack.acks.len(),
            counters: Counters {
                headers_refused: self.stack.headers_refused,
                ..self.counters
            },
        }
    }

    // ── inside

    fn command(&mut self, now: Now, id: SessionId, act: impl FnOnce(&mut Session, &mut Stack)) {
        let stack = &mut self.stack;
        self.sessions.with(id, |session| act(session, stack));
        self.settle(now);
    }

    /// Carries what the transactions noted to those who own them.
    fn settle(&mut self, now: Now) {
        while let Some(note) = self.stack.tx.poll_note() {
            match note {
                Note::Response {
                    owner: Owner::Ping(ping),
                    response,
                    ..
                } => {
                    self.on_pong(ping, &response);
                }
                Note::Response {
                    owner: Owner::Register(id),
                    response,
                    ..
                } => self.on_register_answer(now, id, &response),
                Note::Failed {
                    owner: Owner::Register(id),
                    failure,
                    ..
                } => self.on_register_failure(id, failure),
                Note::Response {
                    tx,
                    owner,
                    flow,
                    response,
                } => {
                    let id = session_of(owner);
                    self.sessions
                        .on_response(now, &mut self.stack, id, tx, flow, &response);
                }
                Note::Failed {
                    owner: Owner::Ping(ping),
                    failure,
                    ..
                } => {
                    let status = if failure == Failure::Timeout {
                        408
                    } else {
                        503
                    };
                    self.pong(ping, false, status);
                }
                Note::Failed {
                    tx,
                    owner: Owner::Session(id),
                    failure,
                } => {
                    self.sessions
                        .on_failure(now, &mut self.stack, id, tx, failure);
                }
                Note::Failed {
                    owner: Owner::Nobody,
                    ..
                } => {}
                Note::Over { tx } => self.stack.acks.forget(tx),
            }
        }
    }

    fn on_pong(&mut self, ping: PingId, response: &Response) {
        let status = response.status;
        if status >= 200 {
            // Even a refusal is a sign of life; these four say the peer cannot work.
            self.pong(ping, !matches!(status, 408 | 500 | 502..=504), status);
        }
    }

    fn pong(&mut self, ping: PingId, ok: bool, status: u16) {
        if self.pings.remove(&ping) {
            self.stack.event(SipEvent::Pong { ping, ok, status });
        }
    }

    fn tell(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.stack.event(match change {
                Change::Added {
                    aor,
                    contact,
                    expires_s,
                    flow,
                } => SipEvent::Registered {
                    aor,
                    contact,
                    expires_s,
                    flow,
                },
                Change::Gone { aor, contact } => SipEvent::Unregistered { aor, contact },
            });
        }
    }
}

fn session_of(owner: Owner) -> Option<SessionId> {
    match owner {
        Owner::Session(id) => Some(id),
        Owner::Ping(_) | Owner::Register(_) | Owner::Nobody => None,
    }
}
