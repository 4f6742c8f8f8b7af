//! The switch: one owner of live calls, seats, cards and agent states. A value like every other
//! machine: inputs and the time go in, outputs are drained, and nothing in here waits.
//!
//! The verbs lie beside it: `commands` (what agents ask for), `seat` (browser legs), `customer`
//! (trunk legs), `writes` (what the store answers), `timers`, `desk` (what pages are shown).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::bindings::Unsaved;
use super::call::Call;
use super::connections::{Connections, is_connection};
use super::desk::Desk;
use super::driver::CrmQuestion;
use super::handle::{AgentCommand, DeskUpdate, Problem};
use super::inbound::Inbound;
use super::kept_phones::{KeptPhones, PhoneChange};
use super::media_worker::{MediaCommand, MediaFact};
use super::phone_seat::PhoneSeats;
use super::resolved::EngineConfig;
use super::security;
use super::srtp::Encrypted;
use super::through::{Arrived, Throughs};
use super::trunks::{self, Trunks};
use super::writes::Write;
use crate::id::{AgentId, CallId, LegId, TrunkId};
use crate::net::flood::Flood;
use crate::net::port_pool::{PortPool, QUARANTINE};
use crate::now::Now;
use crate::sip::{self, Endpoint, Flow, SessionId, SipEvent, Transport};
use crate::stats::live::Totals;
use crate::store;
use crate::trunk::fraud::Fraud;
use crate::trunk::{Answer, Place};

/// Names a command whose sender waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyId(pub u64);

/// Everything that can happen to the switch.
pub enum Input {
    Sip {
        flow: Flow,
        bytes: Vec<u8>,
    },
    /// A WebSocket for SIP was opened by a signed-in agent.
    SipOpened {
        flow: u64,
        agent: AgentId,
    },
    /// A TCP or TLS connection is up, opened by the peer or by us.
    SipConnected {
        flow: Flow,
    },
    /// A connection has lost its framing; it is closed after this.
    SipBroken {
        flow: Flow,
        broken: sip::Broken,
    },
    SipClosed {
        flow: u64,
    },
    SipSendFailed {
        flow: u64,
        remote: std::net::SocketAddr,
    },
    Command {
        agent: AgentId,
        command: AgentCommand,
        reply: ReplyId,
    },
    Presence {
        agent: AgentId,
        tab: u64,
        present: bool,
    },
    Media(MediaFact),
    Store {
        id: u64,
        fact: Result<store::Fact, store::StoreError>,
    },
    Crm {
        agent: AgentId,
        token: u64,
        result: Result<serde_json::Value, String>,
    },
    /// What a trunk's name stands for, or why that could not be found out.
    Resolved {
        trunk: TrunkId,
        place: Place,
        answer: Result<Answer, String>,
    },
    /// A new configuration; calls that are up keep what they have.
    Reload(Box<EngineConfig>),
    /// A person on this machine ends a call.
    HangUp {
        call: CallId,
    },
    /// A person on this machine adds or removes a phone.
    Phone {
        change: PhoneChange,
        reply: ReplyId,
    },
    Drain,
    /// End everything that is up, properly.
    Shutdown,
}

/// Everything the switch asks of the world.
pub enum Output {
    Sip {
        flow: Flow,
        bytes: Vec<u8>,
    },
    /// Open a TCP or TLS connection; what is sent on the flow waits for it.
    SipConnect {
        flow: Flow,
        server_name: Option<String>,
    },
    Media(MediaCommand),
    Store {
        id: u64,
        command: store::Command,
    },
    Desk {
        agent: AgentId,
        update: DeskUpdate,
    },
    Reply {
        reply: ReplyId,
        result: Result<(), Problem>,
    },
    FetchCrm(CrmQuestion),
    /// To be answered by [`Input::Resolved`].
    Resolve {
        trunk: TrunkId,
        place: Place,
        transport: Transport,
    },
}

/// Whose SIP session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SessionOf {
    Seat(AgentId),
    Customer(CallId),
    Third(CallId),
    Through(CallId),
}

/// Whose leg it is, as media facts name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LegOf {
    Seat(AgentId),
    Customer(CallId),
    Third(CallId),
    Through(CallId),
}

pub struct Switch {
    pub(super) config: EngineConfig,
    pub(super) sip: Endpoint,
    pub(super) desks: BTreeMap<AgentId, Desk>,
    pub(super) calls: HashMap<CallId, Call>,
    pub(super) sessions: HashMap<SessionId, SessionOf>,
    pub(super) legs: HashMap<LegId, LegOf>,
    pub(super) through: Throughs,
    pub(super) phone_seats: PhoneSeats,
    pub(super) inbound: Inbound,
    /// Seat legs whose INVITE has been accepted.
    pub(super) accepted_seats: HashSet<LegId>,
    pub(super) ports: PortPool,
    pub(super) writes: HashMap<u64, Write>,
    /// Outcomes the store refused for now, to be written again.
    pub(super) write_again: Vec<(Instant, Write, store::Command)>,
    pub(super) counters: Counters,
    pub(super) rng: StdRng,
    pub(super) draining: bool,
    pub(super) connections: Connections,
    next_write: u64,
    next_leg: u64,
    workers: u64,
    pub(super) trunks: Trunks,
    pub(super) unsaved: Unsaved,
    pub(super) kept_phones: KeptPhones,
    pub(super) flood: Option<Arc<Flood>>,
    pub(super) fraud: Fraud,
    pub(super) fraud_refused: u64,
    pub(super) encrypted: Encrypted,
    /// When leases are looked through next.
    pub(super) expire_at: Instant,
    /// Answers to commands; they leave after the desks they are about.
    replies: Vec<Output>,
    out: VecDeque<Output>,
}

/// Totals since the process started, for `/metrics` and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub dials: u64,
    pub denied: u64,
    pub recordings: u64,
    pub recordings_failed: u64,
    pub seats_taken: u64,
    pub seats_lost: u64,
    pub writes_failed: u64,
    pub orphans: u64,
    pub calls: Totals,
    pub transfers: super::transfer::Tally,
}

impl Switch {
    /// `workers` is the number of media workers that legs are spread over.
    pub fn new(now: Now, config: EngineConfig, workers: usize) -> Switch {
        let mut rng = StdRng::seed_from_u64(config.seed);
        let mut sip = Endpoint::new(config.endpoint.clone(), rng.random());
        for trunk in config.trunks.values() {
            trunks::permit(&mut sip, trunk);
        }
        sip.permit_blocks(config.permit.clone());
        for phone in config.phones.iter().cloned() {
            sip.set_phone(phone.user, phone.secret, phone.order);
        }
        let desks = config
            .agents
            .values()
            .map(|profile| (profile.id.clone(), Desk::new(profile.clone(), now)))
            .collect();
        let trunks = Trunks::new(now, &config.trunks, &mut rng);
        Switch {
            ports: PortPool::new(config.rtp_ports.0..=config.rtp_ports.1, QUARANTINE),
            accepted_seats: HashSet::new(),
            sip,
            desks,
            calls: HashMap::new(),
            through: Throughs::default(),
            phone_seats: PhoneSeats::default(),
            inbound: Inbound::default(),
            sessions: HashMap::new(),
            legs: HashMap::new(),
            writes: HashMap::new(),
            write_again: Vec::new(),
            counters: Counters::default(),
            rng,
            draining: false,
            connections: Connections::default(),
            next_write: 1,
            next_leg: 1,
            workers: workers.max(1) as u64,
            trunks,
            unsaved: Unsaved::default(),
            kept_phones: KeptPhones::new(),
            flood: None,
            fraud: Fraud::new(config.fraud.clone()),
            fraud_refused: 0,
            encrypted: Encrypted::default(),
            expire_at: now.instant + config.limits.expire_every,
            replies: Vec::new(),
            out: VecDeque::new(),
            config,
        }
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Sip { flow, bytes } => {
                self.admit_sender(flow.remote.ip());
                let flow = self.heard_on(flow, &bytes);
                self.sip.handle_received(now, &flow, &bytes);
            }
            Input::SipOpened { flow, agent } => {
                self.sip.trust_flow(flow, agent.as_str().to_owned());
            }
            Input::SipConnected { flow } => self.connected(&flow),
            Input::SipBroken { flow, broken } => self.broken(now, &flow, &broken),
            Input::SipClosed { flow } if is_connection(flow) => {
                self.connection_closed(now, flow);
            }
            Input::SipClosed { flow } => {
                self.sip.handle_flow_closed(now, flow);
                self.seat_flow_closed(now, flow);
            }
            Input::SipSendFailed { flow, remote } => self.sip.handle_send_failed(now, flow, remote),
            Input::Command {
                agent,
                command,
                reply,
            } => self.command(now, &agent, command, reply),
            Input::Presence {
                agent,
                tab,
                present,
            } => self.presence(now, &agent, tab, present),
            Input::Media(fact) => self.media_fact(now, fact),
            Input::Store { id, fact } => self.store_fact(now, id, fact),
            Input::Crm {
                agent,
                token,
                result,
            } => self.crm_fact(&agent, token, result),
            Input::Resolved {
                trunk,
                place,
                answer,
            } => self.place_resolved(now, &trunk, &place, answer),
            Input::Reload(config) => self.reload(now, *config),
            Input::HangUp { call } => self.hang_up_by_admin(now, call),
            Input::Phone { change, reply } => self.change_phone(change, reply),
            Input::Drain => {
                self.drain();
                self.send_callers_away(now);
            }
            Input::Shutdown => self.end_everything(now),
        }
        self.settle(now);
    }

    /// How full the queue in front of us is.
    pub fn note_load(&mut self, load: sip::guard::Load) {
        self.sip.note_load(load);
    }

    /// The gate in front of us: whose counts are shown with ours, and who is told whom to trust.
    pub fn watch_flood(&mut self, flood: Option<Arc<Flood>>) {
        self.flood = flood;
        self.trust_in_gate();
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Follows what SIP has to say until it is silent, then shows pages what changed.
    pub(super) fn settle(&mut self, now: Now) {
        self.follow_sip(now);
        while self.phone_seats_cleared(now) {
            self.follow_sip(now);
        }
        self.clear_left_desks(now);
        self.show_desks(now);
        self.out.extend(self.replies.drain(..));
    }

    fn follow_sip(&mut self, now: Now) {
        while let Some(output) = self.sip.poll_output() {
            match output {
                sip::Output::Send { flow, bytes } => {
                    let flow = self.live_way(flow);
                    if let Some((flow, bytes)) = self.sized(now, flow, bytes) {
                        self.out.push_back(Output::Sip { flow, bytes });
                    }
                }
                sip::Output::Event(event) => self.sip_event(now, event),
            }
        }
    }

    fn sip_event(&mut self, now: Now, event: SipEvent) {
        if let SipEvent::Incoming {
            session,
            flow,
            user,
            request_uri,
            from,
            headers,
            body,
            replaces,
            ..
        } = event
        {
            let called = user_part(&request_uri);
            if replaces.is_none() && self.is_seat(&flow, &called) {
                return self.seat_invited(now, session, flow.id, user, &called, body);
            }
            let arrived = Arrived {
                session,
                flow,
                user,
                request_uri,
                from,
                headers,
                body,
            };
            return match replaces {
                Some(replaced) => self.through_replaces(now, arrived, replaced),
                None => self.through_invited(now, arrived),
            };
        }
        match &event {
            SipEvent::OrphanEnded { .. } => self.counters.orphans += 1,
            SipEvent::Pong { ping, ok, status } => self.pong(now, *ping, *ok, *status),
            SipEvent::RegisterAnswered { register, answer } => {
                self.register_answered(now, *register, *answer);
            }
            SipEvent::Security(note) => security::log(note),
            SipEvent::Registered {
                aor,
                flow,
                expires_s,
                ..
            } => {
                tracing::info!(from = %flow.remote, expires_s, "a phone registered");
                self.binding_changed(now, aor);
                self.phone_turned(now, aor);
            }
            SipEvent::Unregistered { aor, .. } => {
                self.binding_changed(now, aor);
                self.phone_turned(now, aor);
            }
            _ => {}
        }
        let Some(session) = session_of(&event) else {
            return;
        };
        match self.sessions.get(&session).cloned() {
            Some(SessionOf::Through(call)) => self.through_event(now, call, event),
            Some(SessionOf::Seat(agent)) if self.phone_seat_event(now, &agent, session, &event) => {
            }
            _ if matches!(event, SipEvent::Refer { .. }) => {
                self.sip.answer_refer(now, session, false);
            }
            Some(SessionOf::Customer(call)) => self.customer_event(now, call, event),
            Some(SessionOf::Third(call)) => self.third_event(now, call, event),
            Some(SessionOf::Seat(_)) => match event {
                SipEvent::Reoffer { body, .. } => self.seat_reoffered(now, session, body),
                SipEvent::Ended { .. } | SipEvent::Failed { .. } => {
                    self.seat_gone(now, session, false);
                }
                _ => {}
            },
            None => {}
        }
    }

    fn media_fact(&mut self, now: Now, fact: MediaFact) {
        let Some(fact) = self.through_media(now, fact) else {
            return;
        };
        match fact {
            MediaFact::BrowserAnswer { leg, sdp } => self.seat_answered(now, leg, sdp),
            MediaFact::BrowserRefused { leg, reason } => self.seat_refused(now, leg, &reason),
            MediaFact::BrowserConnected { leg } => self.seat_connected(now, leg),
            MediaFact::BrowserLost { leg } => self.seat_media_lost(now, leg),
            MediaFact::PortTaken { leg, port } => self.port_taken(now, leg, port),
            MediaFact::Stalled { leg, silent_ms } => self.leg_stalled(now, leg, silent_ms),
            MediaFact::LegDied { leg, reason } => self.leg_died(now, leg, &reason),
            MediaFact::Recorded {
                call,
                path,
                duration_ms,
                bytes,
                gap_ms,
                sha256,
            } => {
                self.recorded(call, &path, duration_ms, bytes, gap_ms, sha256);
            }
            MediaFact::RecordingFailed { call, reason } => self.recording_failed(call, &reason),
            MediaFact::FirstPacket { .. } | MediaFact::Quality { .. } => {}
        }
    }

    pub(super) fn media(&mut self, command: MediaCommand) {
        self.out.push_back(Output::Media(command));
    }

    pub(super) fn emit(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(super) fn reply(&mut self, reply: ReplyId, result: Result<(), Problem>) {
        if self.phone_seats.heard(reply, &result) {
            return;
        }
        self.replies.push(Output::Reply { reply, result });
    }

    /// A new leg on the media worker `beside` runs on, or on the next one in turn.
    pub(super) fn new_leg(&mut self, beside: Option<LegId>) -> LegId {
        let worker = match beside {
            Some(leg) => leg.0 % self.workers,
            None => self.next_leg % self.workers,
        };
        let leg = LegId(self.next_leg * self.workers + worker);
        self.next_leg += 1;
        leg
    }

    /// Whether these two can hear each other: only legs of one media worker can.
    pub(super) fn are_beside(&self, one: LegId, other: LegId) -> bool {
        one.0 % self.workers == other.0 % self.workers
    }

    pub(super) fn write(&mut self, write: Write, command: store::Command) {
        let id = self.next_write;
        self.next_write += 1;
        self.writes.insert(id, write);
        self.out.push_back(Output::Store { id, command });
    }

    /// A time-ordered UUID from the switch's own clock and generator.
    pub(super) fn new_uuid(&mut self, now: Now) -> uuid::Uuid {
        let millis = u64::try_from(now.utc.0).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.rng.random()).into_uuid()
    }

    /// Nothing is outstanding: no write, no SIP transaction, no recording.
    pub fn is_quiet(&self) -> bool {
        let sip = self.sip.snapshot();
        self.writes.is_empty()
            && self.write_again.is_empty()
            && self.through.is_quiet()
            && sip.transactions == sip::Counts::default()
            && !self.calls.values().any(Call::is_recording)
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts and states for people and tests; never read back.
    pub fn snapshot(&self) -> serde_json::Value {
        let sip = self.sip.snapshot();
        let results = self.counters.calls.results.iter();
        let results: BTreeMap<&str, u64> = results
            .map(|(result, count)| (result.name(), *count))
            .collect();
        serde_json::json!({
            "agents": self.desks.iter().map(|(id, desk)| serde_json::json!({
                "id": id.as_str(), "state": desk.agent.state().name(), "seat": desk.seat.name(),
                "leaving": !self.config.agents.contains_key(id),
            })).collect::<Vec<_>>(),
            "calls": self.calls.values().map(|call| {
                let mut summary = call.summary();
                summary["secured"] = self.encrypted.of(call.leg).into();
                summary
            }).collect::<Vec<_>>(),
            "through": self.through.snapshot(&self.encrypted),
            "inbound": self.inbound.snapshot(),
            "sip": {
                "sessions": sip.sessions,
                "dialogs": sip.dialogs,
                "transactions": sip.transactions.client_invite + sip.transactions.client
                    + sip.transactions.server_invite + sip.transactions.server,
            },
            "legs": self.legs.len(),
            "registrations": sip.bindings,
            "rtp_ports_in_use": self.ports.counts().in_use,
            "writes_pending": self.writes.len() + self.write_again.len(),
            "draining": self.draining,
            "sip_refusals": super::figures::refusals(&sip.counters),
            "security": self.security_counters(),
            "counters": {
                "dials": self.counters.dials,
                "denied": self.counters.denied,
                "answered": self.counters.calls.answered,
                "ended": self.counters.calls.ended,
                "talk_ms": self.counters.calls.talk_ms,
                "recordings": self.counters.recordings,
                "recordings_failed": self.counters.recordings_failed,
                "seats_taken": self.counters.seats_taken,
                "seats_lost": self.counters.seats_lost,
                "writes_failed": self.counters.writes_failed,
                "orphans": self.counters.orphans,
                "srtp_legs": self.encrypted.totals().0,
                "srtp_refused": self.encrypted.totals().1,
                "results": results,
                "transfers": self.counters.transfers.outcomes,
                "transfer_targets": self.counters.transfers.kinds,
            },
        })
    }
}

/// The user of a SIP URI: what was called.
fn user_part(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or("", |(user, _)| user).to_owned()
}

fn session_of(event: &SipEvent) -> Option<SessionId> {
    match event {
        SipEvent::Incoming { session, .. }
        | SipEvent::Provisional { session, .. }
        | SipEvent::Answered { session, .. }
        | SipEvent::Failed { session, .. }
        | SipEvent::Confirmed { session, .. }
        | SipEvent::Reoffer { session, .. }
        | SipEvent::ReofferAnswered { session, .. }
        | SipEvent::Refreshed { session, .. }
        | SipEvent::EarlyOffer { session, .. }
        | SipEvent::EarlyAnswer { session, .. }
        | SipEvent::Redirected { session, .. }
        | SipEvent::Info { session, .. }
        | SipEvent::Refer { session, .. }
        | SipEvent::ReferAnswered { session, .. }
        | SipEvent::ReferProgress { session, .. }
        | SipEvent::Ended { session, .. } => Some(*session),
        SipEvent::Registered { .. }
        | SipEvent::Unregistered { .. }
        | SipEvent::Pong { .. }
        | SipEvent::RegisterAnswered { .. }
        | SipEvent::OrphanEnded { .. }
        | SipEvent::Security(_) => None,
    }
}

pub(super) fn sdp_body(text: String) -> sip::Body {
    sip::Body {
        content_type: "application/sdp".to_owned(),
        bytes: text.into_bytes(),
    }
}
