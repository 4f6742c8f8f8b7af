//! Browser legs: taking a seat, losing it, taking it again. The customer's leg never depends on
//! the agent's browser: while the seat is gone the customer hears music.

use super::desk::Desk;
use super::media_worker::{MediaCommand, Source};
use super::switch::{LegOf, SessionOf, Switch, sdp_body};
use crate::agent::seat::Seat;
use crate::id::{AgentId, LegId};
use crate::media::g711::Law;
use crate::now::Now;
use crate::sip::{Body, Flow, SessionId, Transport};
use crate::store;

/// What the page calls to take its seat.
const SEAT_USER: &str = "seat";

impl Switch {
    /// Whether this is a page that wants its seat, and no call through us.
    pub(super) fn is_seat(&self, flow: &Flow, called: &str) -> bool {
        called == SEAT_USER && matches!(flow.transport, Transport::Ws | Transport::Wss)
    }

    /// A signed-in page calls its seat. A seat still held by an older session is taken over:
    /// the newest page is where the agent sits.
    pub(super) fn seat_invited(
        &mut self,
        now: Now,
        session: SessionId,
        flow: u64,
        user: Option<String>,
        called: &str,
        body: Option<Body>,
    ) {
        let Some(agent) = user.map(|user| AgentId::new(&user)) else {
            self.sip
                .reject(now, session, 403, Some("Sign in first"), vec![]);
            return;
        };
        if called != SEAT_USER || !self.desks.contains_key(&agent) {
            self.sip
                .reject(now, session, 404, Some("Not Found"), vec![]);
            return;
        }
        if self.seat_phone(&agent).is_some() {
            let why = Some("Your seat is a desk phone");
            return self.sip.reject(now, session, 403, why, vec![]);
        }
        let Some(offer) = body.and_then(|body| String::from_utf8(body.bytes).ok()) else {
            self.sip
                .reject(now, session, 488, Some("An SDP offer is needed"), vec![]);
            return;
        };
        let in_call = self.live_call(&agent).map(|call| call.leg);
        self.release_seat_leg(now, &agent);
        let leg = self.new_leg(in_call);
        self.legs.insert(leg, LegOf::Seat(agent.clone()));
        self.sessions
            .insert(session, SessionOf::Seat(agent.clone()));
        if let Some(desk) = self.desk(&agent) {
            desk.seat = Seat::Connecting { session, leg };
            desk.seat_flow = Some(flow);
        }
        self.media(MediaCommand::OpenBrowser {
            leg,
            offer,
            law: Law::A,
        });
        self.sip.ring(now, session, 180, None);
    }

    /// The page offers again: another direction, or new candidates after a change of network.
    pub(super) fn seat_reoffered(&mut self, now: Now, session: SessionId, body: Option<Body>) {
        let Some(leg) = self.seat_leg(session) else {
            return;
        };
        match body.and_then(|body| String::from_utf8(body.bytes).ok()) {
            Some(offer) => self.media(MediaCommand::ReofferBrowser { leg, offer }),
            None => self.sip.refuse_reoffer(now, session, 488),
        }
    }

    pub(super) fn seat_answered(&mut self, now: Now, leg: LegId, sdp: String) {
        let Some(session) = self.seat_session(leg) else {
            return;
        };
        let body = Some(sdp_body(sdp));
        if self.seat_accepted(leg) {
            self.sip.answer_reoffer(now, session, body);
        } else {
            self.sip.accept(now, session, vec![], body);
            self.accepted_seats.insert(leg);
        }
    }

    pub(super) fn seat_refused(&mut self, now: Now, leg: LegId, reason: &str) {
        let Some(session) = self.seat_session(leg) else {
            return;
        };
        tracing::warn!(%leg, reason, "browser offer refused");
        if self.seat_accepted(leg) {
            self.sip.refuse_reoffer(now, session, 488);
        } else {
            self.sip
                .reject(now, session, 488, Some("Not Acceptable Here"), vec![]);
            self.seat_gone(now, session, false);
        }
    }

    /// Voice can flow: whatever the agent should hear is put on her new leg.
    pub(super) fn seat_connected(&mut self, now: Now, leg: LegId) {
        let Some(LegOf::Seat(agent)) = self.legs.get(&leg).cloned() else {
            return;
        };
        let Some(desk) = self.desk(&agent) else {
            return;
        };
        if !desk.seat.connected(leg) {
            return;
        }
        self.counters.seats_taken += 1;
        match self.live_call(&agent).map(|call| call.id) {
            Some(call) => self.rejoin(call, leg),
            None => self.media(MediaCommand::Listen {
                leg,
                to: Source::Silence,
            }),
        }
        self.ask_for_card(now, &agent);
    }

    pub(super) fn seat_media_lost(&mut self, now: Now, leg: LegId) {
        if self.phone_leg_lost(now, leg) {
            return;
        }
        if let Some(session) = self.seat_session(leg) {
            self.sip
                .hang_up(now, session, Some("SIP;text=\"media lost\""));
            self.seat_gone(now, session, true);
        }
    }

    /// The WebSocket closed. Its SIP session cannot be spoken to any more.
    pub(super) fn seat_flow_closed(&mut self, now: Now, flow: u64) {
        let session = self
            .desks
            .values()
            .find(|desk| desk.seat_flow == Some(flow))
            .and_then(|desk| desk.seat.held())
            .map(|(session, _)| session);
        if let Some(session) = session {
            self.sip.hang_up(now, session, None);
            self.seat_gone(now, session, true);
        }
    }

    /// The seat's session ended, by a BYE (`lost` false) or without a word. A standing seat's end
    /// never ends the customer's call by itself: that is what the page's hang-up is for.
    pub(super) fn seat_gone(&mut self, now: Now, session: SessionId, lost: bool) {
        let Some(SessionOf::Seat(agent)) = self.sessions.remove(&session) else {
            return;
        };
        let holds = |desk: &Desk| desk.seat.held().is_some_and(|(held, _)| held == session);
        if !self.desks.get(&agent).is_some_and(holds) {
            return;
        }
        let call = self
            .live_call(&agent)
            .map(|call| (call.id, call.is_answered()));
        let grace = match call {
            Some((_, false)) => self.config.limits.ringing_seat_grace,
            _ => self.config.limits.seat_grace,
        };
        self.release_seat_leg(now, &agent);
        let Some(desk) = self.desk(&agent) else {
            return;
        };
        if call.is_some() || lost {
            desk.seat.lose(now.instant, grace);
            self.counters.seats_lost += 1;
        } else {
            desk.seat = Seat::Absent;
        }
        if let Some((call, _)) = call {
            self.agent_leg_gone(call);
        }
        self.ring_over(now, &agent, store::RingEnd::SeatLost);
    }

    /// The customer has answered meanwhile: the agent has a call's grace to come back, no longer
    /// that of a phone that only rings.
    pub(super) fn wait_for_seat(&mut self, now: Now, agent: &AgentId) {
        let grace = self.config.limits.seat_grace;
        if let Some(desk) = self.desk(agent)
            && let Seat::Lost { .. } = desk.seat
        {
            desk.seat.lose(now.instant, grace);
        }
    }

    /// The seat of an agent who is gone for good.
    pub(super) fn give_seat_back(&mut self, now: Now, agent: &AgentId) {
        self.phone_seat_released(now, agent, None);
        self.release_seat_leg(now, agent);
    }

    /// Lets go of the seat's leg and session, if any, without judging why.
    fn release_seat_leg(&mut self, now: Now, agent: &AgentId) {
        let Some(desk) = self.desk(agent) else { return };
        let Some((session, leg)) = desk.seat.held() else {
            return;
        };
        desk.seat = Seat::Absent;
        desk.seat_flow = None;
        self.legs.remove(&leg);
        self.accepted_seats.remove(&leg);
        self.media(MediaCommand::CloseLeg { leg });
        if self.sessions.remove(&session).is_some() {
            self.sip
                .hang_up(now, session, Some("SIP;text=\"replaced\""));
        }
        if let Some(call) = self.live_call(agent).map(|call| call.id) {
            self.agent_leg_gone(call);
        }
    }

    /// The seat's INVITE has its 200: what comes from media now answers a re-INVITE.
    fn seat_accepted(&self, leg: LegId) -> bool {
        self.accepted_seats.contains(&leg)
    }

    fn seat_session(&self, leg: LegId) -> Option<SessionId> {
        let Some(LegOf::Seat(agent)) = self.legs.get(&leg) else {
            return None;
        };
        let (session, held) = self.desks.get(agent)?.seat.held()?;
        (held == leg).then_some(session)
    }

    fn seat_leg(&self, session: SessionId) -> Option<LegId> {
        let Some(SessionOf::Seat(agent)) = self.sessions.get(&session) else {
            return None;
        };
        let (held, leg) = self.desks.get(agent)?.seat.held()?;
        (held == session).then_some(leg)
    }
}
