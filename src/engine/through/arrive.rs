//! A call comes in: who calls, what the plan says, and whether there is room.

use rand::RngExt as _;

use super::passed::{hops, passed};
use super::{Phase, Side, Through};
use crate::engine::media_worker::MediaCommand;
use crate::engine::srtp::Whose;
use crate::engine::switch::{LegOf, SessionOf, Switch};
use crate::id::{AgentId, CallId, LegId};
use crate::now::Now;
use crate::route::{Outcome, Question, Routed, Source};
use crate::sdp::negotiate::{Agreed, Local, Negotiation};
use crate::sdp::{Codec, Direction};
use crate::sip::{Body, Flow, Headers, Party, SessionId, Target, Transport};
use crate::trunk::{self, Verstat};

/// Seconds a caller is asked to wait when there is no room.
pub(super) const RETRY_AFTER_S: u32 = 5;

/// What a caller is told whose offer cannot be taken.
type Refused = (u16, Vec<(String, String)>);

/// An INVITE that asks for a way.
pub(in crate::engine) struct Arrived {
    pub session: SessionId,
    pub flow: Flow,
    pub user: Option<String>,
    pub request_uri: String,
    pub from: Party,
    pub headers: Headers,
    pub body: Option<Body>,
}

impl Switch {
    pub(in crate::engine) fn through_invited(&mut self, now: Now, arrived: Arrived) {
        let called = number_of(&arrived.request_uri);
        let trunk = self.trunk_by_contact(arrived.flow.remote, &called).cloned();
        let (number, source) = match trunk {
            Some(trunk) => (
                self.number_behind_contact(&trunk, &arrived.headers),
                Source::Trunk(trunk),
            ),
            None => (
                called,
                self.source_of(&arrived.flow, arrived.user.as_deref()),
            ),
        };
        let question = Question {
            number,
            source,
            at: now.utc,
        };
        let session = arrived.session;
        let routed = match self.config.plan.route(&question).outcome {
            Outcome::Routed(routed) => routed,
            Outcome::Refused { status, rule } => {
                let (rule, from) = (rule.unwrap_or_default(), question.source.kind());
                tracing::info!(rule, from, status, "a call is refused by the plan");
                self.through.counters.refused += 1;
                return self.sip.reject(now, session, status, None, vec![]);
            }
        };
        let room = self.through.calls.len() < self.config.limits.through_calls_max;
        let port = match routed.emergency || (room && !self.draining) {
            true => self.ports.allocate(now.instant),
            false => None,
        };
        let Some(port) = port else {
            self.through.counters.refused += 1;
            let wait = vec![("Retry-After".to_owned(), RETRY_AFTER_S.to_string())];
            return self.sip.reject(now, session, 503, None, wait);
        };
        match self.caller_side(&arrived, &question.source, port, None) {
            Ok((side, answer)) => self.through_begins(now, arrived, question, routed, side, answer),
            Err((status, headers)) => {
                self.ports.release(port, now.instant);
                self.through.counters.refused += 1;
                self.sip.reject(now, session, status, None, headers);
            }
        }
    }

    /// Our end toward the caller, with the answer to his offer if he made one.
    pub(super) fn caller_side(
        &mut self,
        arrived: &Arrived,
        who: &Source,
        port: u16,
        beside: Option<LegId>,
    ) -> Result<(Side, Option<(String, Agreed)>), Refused> {
        let offer = match &arrived.body {
            Some(body) => Some(std::str::from_utf8(&body.bytes).map_err(|_| (400, vec![]))?),
            None => None,
        };
        let sdp = self.negotiation(port, by_their_order(offer));
        let mut sdp = self.secured(sdp, Whose::of(who), arrived.flow.transport);
        let answer = offer
            .map(|offer| sdp.answer(offer, Direction::SendRecv))
            .transpose()
            .map_err(|refusal| (refusal.status(), self.srtp_warning(&refusal)))?;
        let side = Side {
            session: arrived.session,
            leg: self.new_leg(beside),
            port,
            sdp,
            flow: arrived.flow,
            who: who.clone(),
            party: arrived.from.clone(),
            headers: passed(&arrived.headers, who),
            way: None,
            own: Direction::SendRecv,
            told: Direction::SendRecv,
        };
        Ok((side, answer))
    }

    pub(in crate::engine) fn negotiation(&mut self, port: u16, codecs: Vec<Codec>) -> Negotiation {
        let local = Local {
            address: self.config.media_address,
            port,
            codecs,
            telephone_event: true,
        };
        Negotiation::new(local, self.rng.random::<u64>() >> 1)
    }

    fn through_begins(
        &mut self,
        now: Now,
        arrived: Arrived,
        question: Question,
        routed: Routed,
        caller: Side,
        answer: Option<(String, Agreed)>,
    ) {
        let id = CallId(self.new_uuid(now));
        let (leg, session) = (caller.leg, caller.session);
        tracing::info!(call = %id, rule = routed.rule, from = question.source.kind(), "a call is routed");
        self.sessions.insert(session, SessionOf::Through(id));
        self.legs.insert(leg, LegOf::Through(id));
        self.media(MediaCommand::OpenTrunk {
            leg,
            port: caller.port,
        });
        if let Some((_, agreed)) = &answer {
            self.aim(leg, agreed);
        }
        self.through.counters.routed += 1;
        let call = Through {
            id,
            verstat: self.verstat_of(&arrived.headers, &question.source),
            hops: hops(&arrived.headers),
            source: question.source,
            leave: None,
            leaves: Vec::new(),
            answered: None,
            until: None,
            rule: routed.rule,
            number: routed.number,
            referred_by: None,
            caller,
            mirrored: false,
            answer: answer.map(|(body, _)| body),
            phase: Phase::Calling,
            forks: Vec::new(),
            early: None,
            ways: None,
            steps: routed.steps.into(),
            ring_ms: routed.ring_ms,
            deadline: None,
            record: routed.record,
            recording: None,
            emergency: routed.emergency,
            best: None,
            accepted: false,
            moved: false,
            since: now.utc,
        };
        self.through.calls.insert(id, call);
        self.through_next_step(now, id);
    }

    /// What a trunk we believe says of its caller's number.
    fn verstat_of(&self, headers: &Headers, source: &Source) -> Verstat {
        let Source::Trunk(id) = source else {
            return Verstat::Unknown;
        };
        let believed = self.config.trunks.get(id).is_some_and(|it| it.verstat);
        trunk::verstat(headers, believed)
    }

    /// Who calls, by what proved him.
    pub(super) fn source_of(&self, flow: &Flow, user: Option<&str>) -> Source {
        let page = matches!(flow.transport, Transport::Ws | Transport::Wss);
        if let Some(user) = user {
            let agent = AgentId::new(user);
            return match page && self.desks.contains_key(&agent) {
                true => Source::Agent(agent),
                false => Source::Phone(user.to_owned()),
            };
        }
        match self.trunk_of(flow.remote) {
            Some(trunk) => Source::Trunk(trunk.clone()),
            None => Source::Address(flow.remote.ip().to_canonical()),
        }
    }
}

/// The number in a Request-URI, without the parameters of a telephone number (RFC 3966 §3).
pub(super) fn number_of(request_uri: &str) -> String {
    let user = Target::parse(request_uri)
        .ok()
        .and_then(|target| target.user_text());
    let user = user.unwrap_or_default();
    user.split(';').next().unwrap_or_default().to_owned()
}

/// G.711 as the caller prefers it, so that packets need not be translated; Opus where there is none.
fn by_their_order(offer: Option<&str>) -> Vec<Codec> {
    let line = offer.and_then(|text| text.lines().find(|line| line.starts_with("m=audio")));
    let formats: Vec<&str> = line.map_or_else(Vec::new, |line| {
        line.split_ascii_whitespace().skip(3).collect()
    });
    let place = |codec: &Codec| {
        let number = codec.payload_type().to_string();
        let at = formats.iter().position(|format| *format == number);
        at.unwrap_or(usize::MAX)
    };
    let mut codecs = vec![Codec::Pcma, Codec::Pcmu];
    codecs.sort_by_key(place);
    codecs.push(Codec::Opus);
    codecs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_user_without_parameters() {
        assert_eq!(number_of("sip:+8613800138000;npdi@host"), "+8613800138000");
        assert_eq!(number_of("sip:%2B86138@host:5070;user=phone"), "+86138");
        assert_eq!(number_of("sip:host"), "");
    }

    #[test]
    fn the_callers_first_codec_is_ours() {
        let offer = "v=0\r\nm=audio 4000 RTP/AVP 18 0 8 101\r\n";
        let opus = Codec::Opus;
        assert_eq!(
            by_their_order(Some(offer)),
            [Codec::Pcmu, Codec::Pcma, opus]
        );
        assert_eq!(by_their_order(None), [Codec::Pcma, Codec::Pcmu, opus]);
    }
}
