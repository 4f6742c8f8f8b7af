//! One step of a route after the other: outgoing INVITEs to trunks, phones and fixed peers, tones.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::passed::{Trust, escaped, from, outgoing};
use super::{Fork, Leave, Phase, Refusal, Side};
use crate::dialer::campaign::Route;
use crate::engine::media_worker::{MediaCommand, Source as Sound};
use crate::engine::resolved::Trunk;
use crate::engine::srtp::Whose;
use crate::engine::switch::{LegOf, SessionOf, Switch, sdp_body};
use crate::engine::trunk_call::{Way, Ways};
use crate::id::CallId;
use crate::now::Now;
use crate::route::{CALLED, Outcome, Outward, Question, Source, Step, Tone};
use crate::sdp::{Codec, Direction};
use crate::sip::{Credentials, Flow, InviteTimers, NameAddr, Party, Reason, SessionId, Uri};
use crate::trunk::Outgoing;
use crate::trunk::fraud::Verdict;

/// How long a busy tone is played before the call is refused.
const BUSY_TONE: Duration = Duration::from_secs(5);
/// Contacts of one phone that are called at once.
const FORKS_MAX: usize = 10;

/// One outgoing INVITE, all but its media.
struct Placement {
    request_uri: String,
    /// Through the proxies a phone registered through.
    route: Vec<String>,
    from: NameAddr,
    to: NameAddr,
    flow: Flow,
    trust: Trust,
    who: Source,
    party: Party,
    way: Option<Way>,
    credentials: Option<Credentials>,
    /// Timer B, when it is not the usual one.
    answer_timeout: Option<Duration>,
}

impl Switch {
    /// On with the next step that can be taken; without one the caller is told why.
    pub(super) fn through_next_step(&mut self, now: Now, id: CallId) {
        loop {
            let Some(call) = self.through.call(id) else {
                return;
            };
            if !call.is_calling() {
                return;
            }
            let ring = Duration::from_millis(call.ring_ms);
            let Some(step) = call.steps.pop_front() else {
                return self.through_give_up(now, id);
            };
            self.through.set_deadline(id, now.instant.checked_add(ring));
            if self.through_step(now, id, step) {
                return;
            }
        }
    }

    /// Whether the step has begun; its end is told by an event or by its time.
    fn through_step(&mut self, now: Now, id: CallId, step: Step) -> bool {
        match step {
            Step::Trunks(trunks) => self.through_trunks(now, id, trunks),
            Step::Phone(user) if user == CALLED => {
                let called = self.through.call(id).map(|call| call.number.clone());
                self.through_to_phone(now, id, &called.unwrap_or_default())
            }
            Step::Phone(user) => self.through_to_phone(now, id, &user),
            Step::Uri(uri) => self.through_to_peer(now, id, &uri),
            Step::Seat(seated) => {
                self.through.set_deadline(id, None);
                self.caller_for_agents(now, id, seated)
            }
            Step::Play(tone) => self.through_play(now, id, tone),
            Step::Refuse(status) => {
                self.note_refusal(id, Refusal::ours(status));
                if let Some(call) = self.through.call(id) {
                    call.steps.clear();
                }
                false
            }
        }
    }

    /// Whether one of these trunks is called now.
    fn through_trunks(&mut self, now: Now, id: CallId, trunks: Vec<Outward>) -> bool {
        let emergency = self.through.call(id).is_some_and(|call| call.emergency);
        let routes: Vec<Route> = trunks
            .into_iter()
            .map(|outward| Route {
                trunk: outward.trunk,
                caller_id: outward.caller_id,
            })
            .collect();
        let ways = self.open_ways(now, &routes, emergency);
        if let Some(call) = self.through.call(id) {
            call.ways = Some(ways);
        }
        let placed = self.through_next_trunk(now, id, None);
        let outside = self
            .through
            .call(id)
            .is_some_and(|call| call.ways.is_some());
        if !placed && outside {
            self.note_refusal(id, Refusal::ours(503));
        }
        placed
    }

    /// The next server of the step's trunks that takes the call. `left` has failed: its place on
    /// its trunk goes along or back.
    pub(super) fn through_next_trunk(&mut self, now: Now, id: CallId, left: Option<&Way>) -> bool {
        let mut left = left.cloned();
        let ways = self.through.call(id).and_then(|call| call.ways.take());
        let mut placed = false;
        if let Some(mut ways) = ways {
            while let Some(way) = self.next_way(now, &mut ways, left.as_ref()) {
                left = None;
                if !self.through_may_go_outside(now, id) {
                    // Another trunk would be outside as well: no way is left.
                    self.leave_way(&way);
                    return false;
                }
                placed = self.through_to_trunk(now, id, &way, &ways);
                if placed {
                    break;
                }
                self.leave_way(&way);
            }
            if let Some(call) = self.through.call(id) {
                call.ways = Some(ways);
            }
        }
        if let Some(left) = left {
            self.leave_way(&left);
        }
        placed
    }

    /// The one place where a call through us goes out on a trunk.
    fn through_to_trunk(&mut self, now: Now, id: CallId, way: &Way, ways: &Ways) -> bool {
        let Some(trunk) = self.config.trunks.get(&way.trunk).cloned() else {
            return false;
        };
        let Some(call) = self.through.call(id) else {
            return false;
        };
        let number = way.number.as_ref().unwrap_or(&call.number);
        // A number the plan has not made E.164 goes out as the plan has written it.
        let called = match is_e164(number) {
            true => trunk.request_uri(number),
            false => format!("sip:{}@{}", escaped(number), trunk.domain),
        };
        let identity = shown_on(&trunk, way);
        let placement = Placement {
            to: NameAddr::new(None, &called),
            request_uri: called,
            route: Vec::new(),
            from: identity.from,
            flow: self.trunk_flow(&way.trunk, way.server),
            trust: Trust::Trusted,
            who: Source::Trunk(way.trunk.clone()),
            party: self.through_called(id),
            way: Some(way.clone()),
            credentials: trunk.credentials,
            answer_timeout: Some(ways.patience(now, trunk.invite_timeout)),
        };
        self.through_place(now, id, placement)
    }

    /// A 3xx of the trunk: to another number only where the plan would lead this caller by the same
    /// trunk, and a phone only where phones may call.
    pub(super) fn through_redirected(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        way: &Way,
        ways: &mut Ways,
    ) -> bool {
        let Some(call) = self.through.call(id) else {
            return false;
        };
        let (called, source) = (call.number.clone(), call.source.clone());
        let trunk = way.trunk.clone();
        let may_call = |switch: &Switch, number: &str| {
            let question = Question {
                number: number.to_owned(),
                source: source.clone(),
                at: now.utc,
            };
            let Outcome::Routed(routed) = switch.config.plan.route(&question).outcome else {
                return false;
            };
            let leads = |step: &Step| match step {
                Step::Trunks(trunks) => trunks.iter().any(|it| it.trunk == trunk),
                _ => false,
            };
            let phone = matches!(source, Source::Phone(_));
            routed.number == number
                && routed.steps.first().is_some_and(leads)
                && (!phone || switch.config.fraud.permits(number))
        };
        self.open_redirect(now, session, way, &called, ways, may_call)
    }

    /// A phone's password may be stolen: what it may call outside is capped. An emergency is not.
    fn through_may_go_outside(&mut self, now: Now, id: CallId) -> bool {
        let Some(call) = self.through.call(id) else {
            return false;
        };
        let (Source::Phone(user), flow) = call.asks() else {
            return true;
        };
        if call.emergency || call.leave.is_some() {
            return true;
        }
        let (user, flow, number) = (user.clone(), *flow, call.number.clone());
        let verdict = self.may_call_outside(now, &user, &flow, &number);
        let Some(call) = self.through.call(id) else {
            return false;
        };
        match verdict {
            Verdict::Allowed { ticket, longest } => {
                call.leave = Some(Leave {
                    ticket,
                    longest,
                    since: None,
                });
                true
            }
            Verdict::Refused(_) => {
                self.note_refusal(id, Refusal::ours(403));
                false
            }
        }
    }

    /// Everywhere the phone is registered, at once.
    fn through_to_phone(&mut self, now: Now, id: CallId, user: &str) -> bool {
        let host = self.own_host();
        let mut placed = false;
        let mut devices = HashSet::new();
        // RFC 5626 6: several ways to one device are not rung at once.
        let mut ways = self.sip.contacts(user);
        ways.retain(|way| {
            way.instance
                .as_ref()
                .is_none_or(|one| devices.insert(one.clone()))
        });
        for way in ways.into_iter().take(FORKS_MAX) {
            let Some(call) = self.through.call(id) else {
                return false;
            };
            let called = format!("sip:{}@{host}", escaped(user));
            let placement = Placement {
                request_uri: way.request_uri,
                route: way.route,
                from: from(
                    &call.caller.party,
                    &call.caller.headers,
                    &host,
                    Trust::Untrusted,
                ),
                to: NameAddr::new(None, &called),
                flow: way.flow,
                trust: Trust::Untrusted,
                who: Source::Phone(user.to_owned()),
                party: Party {
                    user: user.to_owned(),
                    ..Party::default()
                },
                way: None,
                credentials: None,
                answer_timeout: None,
            };
            placed |= self.through_place(now, id, placement);
        }
        if !placed {
            self.note_refusal(id, Refusal::ours(480));
        }
        placed
    }

    fn through_to_peer(&mut self, now: Now, id: CallId, uri: &str) -> bool {
        let host = self.own_host();
        let Some((parsed, call)) = Uri::parse(uri).ok().zip(self.through.call(id)) else {
            return false;
        };
        let Some(remote) = parsed.address() else {
            return false;
        };
        let called = match parsed.user {
            Some(_) => uri.to_owned(),
            None => uri.replacen(':', &format!(":{}@", escaped(&call.number)), 1),
        };
        let placement = Placement {
            to: NameAddr::new(None, &called),
            request_uri: called,
            route: Vec::new(),
            from: from(
                &call.caller.party,
                &call.caller.headers,
                &host,
                Trust::Trusted,
            ),
            flow: Flow {
                remote,
                ..self.config.trunk_flow
            },
            trust: Trust::Trusted,
            who: Source::Address(remote.ip().to_canonical()),
            party: self.through_called(id),
            way: None,
            credentials: None,
            answer_timeout: None,
        };
        self.through_place(now, id, placement)
    }

    fn through_place(&mut self, now: Now, id: CallId, placement: Placement) -> bool {
        let whose = Whose::of(&placement.who);
        let Some(security) = self.security(whose, placement.flow.transport) else {
            self.note_refusal(id, Refusal::ours(488));
            return false;
        };
        let Some(port) = self.ports.allocate(now.instant) else {
            self.note_refusal(id, Refusal::ours(503));
            return false;
        };
        let Some(call) = self.through.calls.get(&id) else {
            self.ports.release(port, now.instant);
            return false;
        };
        let mut codecs = match call.caller.sdp.agreed().map(|agreed| agreed.codec) {
            Some(Codec::Pcmu) => vec![Codec::Pcmu, Codec::Pcma],
            Some(Codec::Opus) => vec![Codec::Opus, Codec::Pcma, Codec::Pcmu],
            _ => vec![Codec::Pcma, Codec::Pcmu],
        };
        let trunk = placement.way.as_ref().map(|way| &way.trunk);
        if let Some(trunk) = trunk.and_then(|trunk| self.config.trunks.get(trunk)) {
            codecs.retain(|codec| trunk.codecs.contains(codec));
        }
        let mut headers = outgoing(&call.caller.headers, call.hops, placement.trust);
        if let Some(way) = &placement.way
            && let Some(trunk) = self.config.trunks.get(&way.trunk)
        {
            headers = trunk.identity.told(headers, shown_on(trunk, way).headers);
        }
        // Carriers are told of nobody's transfers.
        if let Some(by) = call.referred_by.clone().filter(|_| trunk.is_none()) {
            headers.push(("Referred-By".to_owned(), by));
        }
        let beside = call.caller.leg;
        let leg = self.new_leg(Some(beside));
        let mut sdp = self.negotiation(port, codecs).with_security(security);
        let offer = sdp_body(sdp.offer(Direction::SendRecv));
        let Placement {
            request_uri,
            route,
            from,
            to,
            flow,
            who,
            party,
            way,
            credentials,
            answer_timeout,
            ..
        } = placement;
        let mut plan = self.sip.plan_invite(&request_uri, from, to, &flow);
        plan.route = route;
        let usual = InviteTimers {
            answer: answer_timeout,
            ..InviteTimers::default()
        };
        let trunk = way
            .as_ref()
            .and_then(|way| self.config.trunks.get(&way.trunk));
        let timers = trunk.map_or(usual, |trunk| trunk.timers(answer_timeout));
        let session = self
            .sip
            .invite(now, plan, headers, Some(offer), credentials, timers);
        self.sessions.insert(session, SessionOf::Through(id));
        self.legs.insert(leg, LegOf::Through(id));
        self.media(MediaCommand::OpenTrunk { leg, port });
        if let Some(way) = &way {
            self.way_invited(way);
        }
        let side = Side {
            session,
            leg,
            port,
            sdp,
            flow,
            who,
            party,
            headers: Vec::new(),
            way,
            own: Direction::SendRecv,
            told: Direction::SendRecv,
        };
        if let Some(call) = self.through.call(id) {
            call.forks.push(Fork {
                side,
                alerted: false,
            });
        }
        true
    }

    /// The called as others are shown them.
    fn through_called(&self, id: CallId) -> Party {
        let number = self.through.calls.get(&id).map(|call| call.number.clone());
        Party {
            user: number.unwrap_or_default(),
            ..Party::default()
        }
    }

    fn through_play(&mut self, now: Now, id: CallId, tone: Tone) -> bool {
        let Some(call) = self.through.call(id) else {
            return false;
        };
        if matches!(call.phase, Phase::Referred(_)) {
            return self.through_refer_to_tone(now, id, tone);
        }
        let (session, leg) = (call.caller.session, call.caller.leg);
        let early = call.answer.clone().map(sdp_body);
        call.phase = Phase::Playing;
        let until: Option<Instant> = match tone {
            Tone::Music => None,
            Tone::Busy => now.instant.checked_add(BUSY_TONE),
        };
        self.through.set_deadline(id, until);
        match tone {
            Tone::Busy => {
                self.note_refusal(id, Refusal::ours(486));
                self.sip.ring(now, session, 183, early);
            }
            Tone::Music => {
                self.through.counters.answered += 1;
                self.through_accept(now, id);
            }
        }
        let to = match tone {
            Tone::Music => Sound::Music,
            Tone::Busy => Sound::Busy,
        };
        self.media(MediaCommand::Listen { leg, to });
        true
    }

    /// Our host and port as far ends see them.
    pub(in crate::engine) fn own_host(&self) -> String {
        let advertised = self.config.endpoint.udp_advertised;
        match advertised.ip().is_unspecified() {
            true => self.config.trunk_flow.local.to_string(),
            false => advertised.to_string(),
        }
    }
}

/// What we say of ourselves on this way.
fn shown_on(trunk: &Trunk, way: &Way) -> Outgoing {
    let shown = match is_e164(&way.caller_id) {
        true => trunk.number.write(&way.caller_id),
        false => escaped(&way.caller_id),
    };
    trunk.identity.outgoing(&shown, &trunk.domain)
}

fn is_e164(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl Refusal {
    pub(super) fn ours(status: u16) -> Refusal {
        Refusal {
            status,
            phrase: None,
            reason: Reason::default(),
        }
    }
}
