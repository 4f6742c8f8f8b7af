//! Seats made of desk phones: one leg a call. The switch rings the agent's own phone with
//! auto-answer (RFC 5373, and the headers phones know it by), and when it answers, her seat is
//! live and the dial goes on. What the phone does during the call is what she does; its leg ends
//! with the call, while the page stays for cards and dispositions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::call::Call;
use super::handle::Problem;
use super::media_worker::{MediaCommand, Source};
use super::switch::{LegOf, ReplyId, SessionOf, Switch, sdp_body};
use crate::agent::seat::{Kind, Seat};
use crate::agent::state::State;
use crate::call::transfer::Transfer;
use crate::id::{AgentId, FenceToken, LegId, PhoneId};
use crate::now::Now;
use crate::sdp::negotiate::Negotiation;
use crate::sdp::{Codec, Direction};
use crate::sip::{Body, EndedBy, InviteTimers, NameAddr, SessionId, SipEvent, Target};

/// A phone that answers by itself does so at once; one that is picked up gets this long.
const SUMMONS: Duration = Duration::from_secs(10);

/// The phones that ring for their agents or are in a call.
#[derive(Default)]
pub(super) struct PhoneSeats {
    seats: BTreeMap<AgentId, PhoneSeat>,
    refers: u64,
}

struct PhoneSeat {
    session: SessionId,
    leg: LegId,
    port: u16,
    sdp: Negotiation,
    phase: Phase,
    refer: Option<Refer>,
}

/// How far a transfer by the phone's REFER has come.
enum Refer {
    /// Gate and store are asked.
    Asked(ReplyId),
    /// The third party is called.
    Placed,
    Refused(u16),
}

enum Phase {
    Ringing { until: Instant, after: After },
    Live,
}

/// What the phone is rung for.
pub(super) enum After {
    /// A click on Call, and who waits to hear of it.
    Dial {
        token: FenceToken,
        key: String,
        phone: Option<PhoneId>,
        replies: Vec<ReplyId>,
    },
    /// The phone's link was lost in a call.
    Rejoin,
}

impl PhoneSeats {
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let ringing = self.seats.values().filter_map(|seat| match seat.phase {
            Phase::Ringing { until, .. } => Some(until),
            Phase::Live => None,
        });
        ringing.min().map(|until| (until, "an agent's phone"))
    }

    /// Whether it is a phone that is answered, and no page.
    pub fn heard(&mut self, reply: ReplyId, result: &Result<(), Problem>) -> bool {
        let asked =
            |seat: &&mut PhoneSeat| matches!(seat.refer, Some(Refer::Asked(of)) if of == reply);
        let Some(seat) = self.seats.values_mut().find(asked) else {
            return false;
        };
        seat.refer = Some(match result {
            Ok(()) => Refer::Placed,
            Err(problem) if matches!(problem.status, 404 | 422) => Refer::Refused(404),
            Err(_) => Refer::Refused(403),
        });
        true
    }

    /// Names a wish that is no page's: from the top, where pages never come.
    fn next_reply(&mut self) -> ReplyId {
        self.refers += 1;
        ReplyId(u64::MAX - self.refers)
    }

    fn of(&mut self, agent: &AgentId, session: SessionId) -> Option<&mut PhoneSeat> {
        let seat = self.seats.get_mut(agent)?;
        (seat.session == session).then_some(seat)
    }
}

impl Switch {
    /// The user of the phone that is the agent's seat.
    pub(super) fn seat_phone(&self, agent: &AgentId) -> Option<&str> {
        match &self.desks.get(agent)?.profile.seat {
            Kind::Phone(user) => Some(user),
            Kind::Browser => None,
        }
    }

    /// Whether the agent can be connected: her page's voice flows, or her phone is registered.
    pub(super) fn is_seated(&self, agent: &AgentId) -> bool {
        match self.seat_phone(agent) {
            Some(user) => !self.sip.contacts(user).is_empty(),
            None => {
                let desk = self.desks.get(agent);
                desk.is_some_and(|desk| desk.seat.live_leg().is_some())
            }
        }
    }

    /// Rings the agent's phone. What follows when it answers, is refused or stays silent is told
    /// by `after`.
    ///
    /// # Errors
    /// It cannot be rung, and what to do about it.
    pub(super) fn summon_seat(
        &mut self,
        now: Now,
        agent: &AgentId,
        after: After,
    ) -> Result<(), Problem> {
        let user = self.seat_phone(agent).map(str::to_owned);
        let Some(user) = user else {
            return Err(no_phone());
        };
        self.phone_seat_released(now, agent, None);
        let Some(way) = self.sip.contacts(&user).into_iter().next() else {
            return Err(unregistered(&user));
        };
        let Some(port) = self.ports.allocate(now.instant) else {
            return Err(Problem::overload());
        };
        let beside = self.live_call(agent).map(|call| call.leg);
        let leg = self.new_leg(beside);
        let mut sdp = self.negotiation(port, vec![Codec::Pcma, Codec::Pcmu]);
        let offer = sdp_body(sdp.offer(Direction::SendRecv));
        let host = self.own_host();
        let from = NameAddr::new(Some("Foredial"), &format!("sip:foredial@{host}"));
        let to = NameAddr::new(None, &way.request_uri);
        let plan = self.sip.plan_phone(&way, from, to);
        let headers = auto_answer(&host);
        let timers = InviteTimers::default();
        let session = self
            .sip
            .invite(now, plan, headers, Some(offer), None, timers);
        self.sessions
            .insert(session, SessionOf::Seat(agent.clone()));
        self.legs.insert(leg, LegOf::Seat(agent.clone()));
        self.media(MediaCommand::OpenTrunk { leg, port });
        let lost = self.desks.get(agent).and_then(|desk| match desk.seat {
            Seat::Lost { until } => Some(until),
            _ => None,
        });
        let until = lost.unwrap_or(now.instant + SUMMONS);
        if let Some(desk) = self.desk(agent)
            && lost.is_none()
        {
            desk.seat = Seat::Connecting { session, leg };
        }
        let seat = PhoneSeat {
            session,
            leg,
            port,
            sdp,
            phase: Phase::Ringing { until, after },
            refer: None,
        };
        self.phone_seats.seats.insert(agent.clone(), seat);
        Ok(())
    }

    /// Before a dial: whether the agent's phone is rung first, and the dial goes on by itself
    /// once it answers. `reply` is answered then.
    pub(super) fn summons_first(
        &mut self,
        now: Now,
        agent: &AgentId,
        token: FenceToken,
        key: &str,
        phone: Option<PhoneId>,
        reply: ReplyId,
    ) -> bool {
        let live = self.desks.get(agent).and_then(|desk| desk.seat.live_leg());
        if live.is_some() || self.seat_phone(agent).is_none() {
            return false;
        }
        if let Some(PhoneSeat {
            phase:
                Phase::Ringing {
                    after:
                        After::Dial {
                            token: of,
                            key: by,
                            replies,
                            ..
                        },
                    ..
                },
            ..
        }) = self.phone_seats.seats.get_mut(agent)
            && *of == token
        {
            match by == key {
                true => replies.push(reply),
                false => self.reply(reply, Err(rings_already())),
            }
            return true;
        }
        let after = After::Dial {
            token,
            key: key.to_owned(),
            phone,
            replies: vec![reply],
        };
        if let Err(problem) = self.summon_seat(now, agent, after) {
            self.reply(reply, Err(problem));
        }
        true
    }

    /// What SIP says of a phone's session; whether it is one.
    pub(super) fn phone_seat_event(
        &mut self,
        now: Now,
        agent: &AgentId,
        session: SessionId,
        event: &SipEvent,
    ) -> bool {
        if self.phone_seats.of(agent, session).is_none() {
            return false;
        }
        match event {
            SipEvent::Answered { body, .. } => {
                self.phone_seat_answered(now, agent, session, body.as_ref())
            }
            SipEvent::Failed { status, phrase, .. } => {
                self.sessions.remove(&session);
                let user = self.seat_phone(agent).unwrap_or_default().to_owned();
                let problem = refused(&user, *status, phrase);
                self.phone_seat_failed(now, agent, problem);
            }
            SipEvent::Reoffer { body, .. } => {
                self.phone_seat_reoffered(now, agent, session, body.as_ref())
            }
            SipEvent::Confirmed {
                body: Some(body), ..
            }
            | SipEvent::ReofferAnswered {
                body: Some(body), ..
            } => {
                self.phone_seat_agrees(agent, session, body);
            }
            SipEvent::Refer {
                refer_to, replaces, ..
            } => match replaces {
                // Her other calls are no agent's calls.
                Some(_) => self.sip.refuse_refer(now, session, 603),
                None => self.phone_seat_refers(now, agent, session, refer_to),
            },
            SipEvent::Ended { by, .. } => {
                self.sessions.remove(&session);
                match by {
                    // She has hung up.
                    EndedBy::Remote => {
                        self.phone_seat_released(now, agent, None);
                        // A call that has just ended by itself is as good.
                        let _ = self.agent_hangs_up(now, agent);
                    }
                    EndedBy::Local | EndedBy::Timeout | EndedBy::FlowClosed => {
                        self.phone_seat_lost(now, agent);
                    }
                }
            }
            _ => {}
        }
        true
    }

    fn phone_seat_answered(
        &mut self,
        now: Now,
        agent: &AgentId,
        session: SessionId,
        body: Option<&Body>,
    ) {
        self.sip.acknowledge(now, session, None);
        let agreed = body.is_some_and(|body| self.phone_seat_agrees(agent, session, body));
        if !agreed {
            let user = self.seat_phone(agent).unwrap_or_default().to_owned();
            let problem = refused(&user, 488, "no codec in common; allow G.711 (PCMA or PCMU)");
            return self.phone_seat_failed(now, agent, problem);
        }
        let Some(seat) = self.phone_seats.seats.get_mut(agent) else {
            return;
        };
        let leg = seat.leg;
        let Phase::Ringing { after, .. } = std::mem::replace(&mut seat.phase, Phase::Live) else {
            return;
        };
        if let Some(desk) = self.desk(agent) {
            desk.seat = Seat::Live { session, leg };
        }
        self.counters.seats_taken += 1;
        let to = Source::Silence;
        self.media(MediaCommand::Listen { leg, to });
        match after {
            After::Dial {
                token,
                key,
                phone,
                replies,
            } => {
                for reply in replies {
                    self.dial(now, agent, token, key.clone(), phone, reply);
                }
            }
            After::Rejoin => {
                if let Some(call) = self.live_call(agent).map(|call| call.id) {
                    self.rejoin(call, leg);
                }
            }
        }
    }

    /// Takes the phone's answer: media goes where it says.
    fn phone_seat_agrees(&mut self, agent: &AgentId, session: SessionId, body: &Body) -> bool {
        let seat = self.phone_seats.of(agent, session);
        let read = seat.and_then(|seat| {
            let text = std::str::from_utf8(&body.bytes).ok()?;
            Some((seat.leg, seat.sdp.read_answer(text).ok()?))
        });
        let Some((leg, agreed)) = read else {
            return false;
        };
        self.aim(leg, &agreed);
        true
    }

    /// Her hold is the customer's hold.
    fn phone_seat_reoffered(
        &mut self,
        now: Now,
        agent: &AgentId,
        session: SessionId,
        body: Option<&Body>,
    ) {
        let Some(seat) = self.phone_seats.of(agent, session) else {
            return;
        };
        let leg = seat.leg;
        let Some(body) = body else {
            let offer = seat.sdp.offer(Direction::SendRecv);
            return self.sip.answer_reoffer(now, session, Some(sdp_body(offer)));
        };
        let before = seat.sdp.agreed().is_some_and(|agreed| agreed.held());
        let text = std::str::from_utf8(&body.bytes).ok();
        let answer = text.and_then(|text| seat.sdp.answer(text, Direction::SendRecv).ok());
        let Some((answer, agreed)) = answer else {
            return self.sip.refuse_reoffer(now, session, 488);
        };
        self.aim(leg, &agreed);
        self.sip
            .answer_reoffer(now, session, Some(sdp_body(answer)));
        if before != agreed.held() {
            // While the customer's phone rings there is nobody to hold.
            let _ = self.hold(now, agent, agreed.held());
        }
    }

    /// Her transfer is the customer's transfer: the same as the page's.
    fn phone_seat_refers(&mut self, now: Now, agent: &AgentId, session: SessionId, to: &str) {
        let reply = self.phone_seats.next_reply();
        let Some(seat) = self.phone_seats.of(agent, session) else {
            return;
        };
        if seat.refer.is_some() {
            return self.sip.refuse_refer(now, session, 491);
        }
        seat.refer = Some(Refer::Asked(reply));
        self.sip.answer_refer(now, session, true);
        let target = Target::parse(to).ok().and_then(|target| target.user_text());
        let number = target.unwrap_or_default();
        self.bring_in(now, agent, &number, Transfer::blind(), reply);
    }

    /// Tells phones whose transfer came to nothing.
    fn phone_seats_told(&mut self, now: Now) -> bool {
        let mut told = Vec::new();
        for (agent, seat) in &self.phone_seats.seats {
            let alone = || {
                let call = self.live_call(agent);
                call.is_some_and(|call| call.third.is_none())
            };
            match seat.refer {
                Some(Refer::Refused(status)) => told.push((agent.clone(), seat.session, status)),
                Some(Refer::Placed) if alone() => told.push((agent.clone(), seat.session, 480)),
                _ => {}
            }
        }
        for (agent, session, status) in &told {
            if let Some(seat) = self.phone_seats.of(agent, *session) {
                seat.refer = None;
            }
            self.sip
                .notify_refer(now, *session, *status, crate::sip::phrase(*status));
        }
        !told.is_empty()
    }

    /// It did not answer, or said no.
    fn phone_seat_failed(&mut self, now: Now, agent: &AgentId, problem: Problem) {
        self.phone_seat_released(now, agent, Some(problem));
    }

    /// Nothing has come from the phone's media for its time-out, or the session broke: the
    /// customer hears music, and the phone is rung again. Whether the leg was a phone's.
    pub(super) fn phone_leg_lost(&mut self, now: Now, leg: LegId) -> bool {
        let found = self
            .phone_seats
            .seats
            .iter()
            .find(|(_, seat)| seat.leg == leg);
        let Some(agent) = found.map(|(agent, _)| agent.clone()) else {
            return false;
        };
        self.phone_seat_lost(now, &agent);
        true
    }

    fn phone_seat_lost(&mut self, now: Now, agent: &AgentId) {
        self.phone_seat_released(now, agent, None);
        let call = self
            .live_call(agent)
            .map(|call| (call.id, call.is_answered()));
        let Some((call, answered)) = call else { return };
        let grace = match answered {
            true => self.config.limits.seat_grace,
            false => self.config.limits.ringing_seat_grace,
        };
        self.counters.seats_lost += 1;
        if let Some(desk) = self.desk(agent) {
            desk.seat.lose(now.instant, grace);
        }
        self.agent_leg_gone(call);
        // A phone that is not there now may register within the grace.
        let _ = self.summon_seat(now, agent, After::Rejoin);
    }

    /// A phone has registered or is gone: its agent's page shows it, and a lost one is rung.
    pub(super) fn phone_turned(&mut self, now: Now, aor: &str) {
        let uri = Target::parse(aor)
            .ok()
            .and_then(|target| target.user_text());
        let bare = aor.split('@').next().unwrap_or_default();
        let user = uri.unwrap_or_else(|| bare.to_owned());
        let of = |kind: &Kind| matches!(kind, Kind::Phone(phone) if *phone == user);
        let desks = self.desks.iter().filter(|(_, desk)| of(&desk.profile.seat));
        let agents: Vec<AgentId> = desks.map(|(agent, _)| agent.clone()).collect();
        for agent in agents {
            let lost = self
                .desk(&agent)
                .is_some_and(|desk| matches!(desk.seat, Seat::Lost { .. }));
            if lost && !self.phone_seats.seats.contains_key(&agent) {
                let _ = self.summon_seat(now, &agent, After::Rejoin);
            }
        }
    }

    pub(super) fn phone_seats_timeout(&mut self, now: Now) {
        let late = |seat: &PhoneSeat| match seat.phase {
            Phase::Ringing { until, .. } => until <= now.instant,
            Phase::Live => false,
        };
        let seats = self.phone_seats.seats.iter().filter(|(_, seat)| late(seat));
        let agents: Vec<AgentId> = seats.map(|(agent, _)| agent.clone()).collect();
        for agent in agents {
            let user = self.seat_phone(&agent).unwrap_or_default().to_owned();
            self.phone_seat_failed(now, &agent, silent(&user));
        }
    }

    /// Ends the legs of phones that nobody needs any more; whether there were any.
    pub(super) fn phone_seats_cleared(&mut self, now: Now) -> bool {
        let seats = self.phone_seats.seats.iter();
        let unneeded = seats.filter(|(agent, seat)| !self.is_needed(agent, seat));
        let agents: Vec<AgentId> = unneeded.map(|(agent, _)| agent.clone()).collect();
        for agent in &agents {
            self.phone_seat_released(now, agent, Some(super::commands::no_card()));
        }
        self.phone_seats_told(now) || !agents.is_empty()
    }

    fn is_needed(&self, agent: &AgentId, seat: &PhoneSeat) -> bool {
        let Some(desk) = self.desks.get(agent) else {
            return false;
        };
        match &seat.phase {
            Phase::Ringing {
                after: After::Dial { token, .. },
                ..
            } => {
                let card = desk.card.as_ref().filter(|card| card.token == *token);
                matches!(desk.agent.state(), State::Previewing { .. })
                    && card.is_some_and(|card| !card.leaving)
            }
            Phase::Ringing {
                after: After::Rejoin,
                ..
            }
            | Phase::Live => self.live_call(agent).is_some(),
        }
    }

    /// Lets go of the phone, whatever it was doing; who waited for it is told `why`.
    pub(super) fn phone_seat_released(&mut self, now: Now, agent: &AgentId, why: Option<Problem>) {
        let Some(seat) = self.phone_seats.seats.remove(agent) else {
            return;
        };
        let PhoneSeat {
            session,
            leg,
            port,
            phase,
            refer,
            ..
        } = seat;
        self.legs.remove(&leg);
        self.media(MediaCommand::CloseLeg { leg });
        self.ports.release(port, now.instant);
        if refer.is_some() {
            let call = self.call_on_desk(agent);
            let status = match call.is_some_and(Call::is_handed_over) {
                true => 200,
                false => 487,
            };
            self.sip
                .notify_refer(now, session, status, crate::sip::phrase(status));
        }
        if self.sessions.remove(&session).is_some() {
            self.sip.hang_up(now, session, None);
        }
        if let Some(desk) = self.desk(agent)
            && desk.seat.held().is_some_and(|(held, _)| held == session)
        {
            desk.seat = Seat::Absent;
        }
        if let Phase::Ringing {
            after: After::Dial { replies, .. },
            ..
        } = phase
        {
            for reply in replies {
                let problem = why.clone().unwrap_or_else(super::commands::no_card);
                self.reply(reply, Err(problem));
            }
        }
    }
}

/// Three ways of saying it, as no two makers of phones read the same one.
fn auto_answer(host: &str) -> Vec<(String, String)> {
    [
        ("Call-Info", format!("<sip:{host}>;answer-after=0")),
        ("Alert-Info", format!("<sip:{host}>;info=alert-autoanswer")),
        // RFC 5373 4.1.
        ("Answer-Mode", "Auto".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn no_phone() -> Problem {
    Problem::new(
        409,
        "seat_absent",
        "Your seat is no desk phone",
        "The page takes its seat by itself.",
    )
}

fn unregistered(user: &str) -> Problem {
    Problem::new(
        409,
        "phone_unregistered",
        "Your desk phone is not registered",
        format!("Check the network and the account of phone {user}, then call again."),
    )
}

fn silent(user: &str) -> Problem {
    Problem::new(
        409,
        "phone_silent",
        "Your desk phone did not answer",
        format!(
            "Phone {user} rang for {} s. Allow auto-answer on it, or pick it up, then call again.",
            SUMMONS.as_secs()
        ),
    )
}

fn refused(user: &str, status: u16, phrase: &str) -> Problem {
    Problem::new(
        409,
        "phone_refused",
        "Your desk phone refused the call",
        format!(
            "Phone {user} said {status} {phrase}. End its other call or its do-not-disturb, then call again."
        ),
    )
}

fn rings_already() -> Problem {
    Problem::new(
        409,
        "wrong_state",
        "Your desk phone rings already",
        "Pick it up; the dial goes on by itself.",
    )
}
