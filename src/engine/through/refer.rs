//! A side asks for the other to be put through to somebody else (RFC 3515, a blind transfer). The
//! request stays between that side and us: we call the target, found by the plan as if that side
//! had called, and join the two when it answers. Until then nothing is lost: when it does not
//! answer, the old call is as it was.

use super::arrive::number_of;
use super::end::mapped;
use super::passed::{escaped, reason_value};
use super::{Leave, Phase, Refusal, Side};
use crate::engine::media_worker::{MediaCommand, Source as Sound};
use crate::engine::switch::Switch;
use crate::id::CallId;
use crate::now::Now;
use crate::route::{Outcome, Question, Routed, Source, Tone};
use crate::sdp::Direction;
use crate::sip::{Flow, NameAddr, SessionId};

/// What a REFER asks for.
pub(super) struct Wish {
    pub refer_to: String,
    /// With a Replaces, and the session it names if there is one.
    pub replaces: Option<Option<SessionId>>,
    pub referred_by: Option<String>,
}

/// A transfer under way.
pub(super) struct Referral {
    pub who: Source,
    pub flow: Flow,
    /// Who has asked, until he hangs up.
    pub side: Option<Side>,
    /// He was the caller.
    was_caller: bool,
}

impl Referral {
    pub fn is_of(&self, session: SessionId) -> bool {
        self.side
            .as_ref()
            .is_some_and(|side| side.session == session)
    }
}

impl Switch {
    pub(super) fn through_referred(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        wish: Wish,
    ) {
        let who = match self.may_refer(id, session) {
            Ok(who) => who,
            Err(status) => return self.sip.refuse_refer(now, session, status),
        };
        self.sip.answer_refer(now, session, true);
        if let Some(other) = wish.replaces {
            return self.through_attended(now, id, session, other);
        }
        let question = Question {
            number: number_of(&wish.refer_to),
            source: who.clone(),
            at: now.utc,
        };
        let routed = match self.config.plan.route(&question).outcome {
            // Nobody is put through to the police; whoever needs them calls them.
            Outcome::Routed(routed) if routed.emergency => Err(403),
            Outcome::Routed(_) if self.draining => Err(503),
            Outcome::Routed(routed) => Ok(routed),
            Outcome::Refused { status, .. } => Err(status),
        };
        match routed {
            Ok(routed) => self.through_refer(now, id, session, routed, wish.referred_by),
            Err(status) => self.tell_referrer(now, session, status, None),
        }
    }

    /// Who asks, or why it may not.
    fn may_refer(&mut self, id: CallId, session: SessionId) -> Result<Source, u16> {
        let call = self.through.call(id).ok_or(481_u16)?;
        if matches!(call.phase, Phase::Referred(_)) {
            return Err(491);
        }
        if call.callee().is_none() || call.emergency {
            return Err(603);
        }
        let who = call.side_mut(session).ok_or(481_u16)?.who.clone();
        if let Source::Trunk(trunk) = &who {
            let trunk = self.config.trunks.get(trunk);
            if !trunk.is_some_and(|trunk| trunk.allow_refer) {
                return Err(403);
            }
        }
        Ok(who)
    }

    fn through_refer(
        &mut self,
        now: Now,
        id: CallId,
        session: SessionId,
        routed: Routed,
        referred_by: Option<String>,
    ) {
        let host = self.own_host();
        let Some(call) = self.through.call(id) else {
            return;
        };
        let Phase::Talking(second) = std::mem::replace(&mut call.phase, Phase::Calling) else {
            return;
        };
        let mut side = *second;
        let was_caller = call.caller.session == session;
        if was_caller {
            std::mem::swap(&mut call.caller, &mut side);
            call.mirrored = !call.mirrored;
        }
        let named = referred_by.filter(|text| NameAddr::parse(text).is_some());
        let user = match &side.who {
            Source::Phone(user) => user,
            _ => &side.party.user,
        };
        let by = named.unwrap_or_else(|| format!("<sip:{}@{host}>", escaped(user)));
        call.referred_by = Some(by);
        let (caller_leg, leg) = (call.caller.leg, side.leg);
        let rule = routed.rule;
        tracing::info!(call = %id, rule, from = side.who.kind(), "a call is transferred");
        call.phase = Phase::Referred(Box::new(Referral {
            who: side.who.clone(),
            flow: side.flow,
            side: Some(side),
            was_caller,
        }));
        call.leaves.extend(call.leave.take());
        call.number = routed.number;
        call.steps = routed.steps.into();
        call.ring_ms = routed.ring_ms;
        call.record |= routed.record;
        (call.best, call.early, call.ways) = (None, None, None);
        // A hold by the one who asked is over.
        let held = call.caller.told != Direction::SendRecv;
        call.caller.told = Direction::SendRecv;
        let (waiting, offer) = (
            call.caller.session,
            held.then(|| call.caller.sdp.offer(Direction::SendRecv)),
        );
        for (leg, to) in [(caller_leg, Sound::Music), (leg, Sound::Silence)] {
            self.media(MediaCommand::Listen { leg, to });
        }
        if let Some(offer) = offer {
            let body = crate::engine::switch::sdp_body(offer);
            self.sip.reoffer(now, waiting, Some(body));
        }
        self.through_next_step(now, id);
    }

    /// Whether it is a transfer's target that rings: then he who waits hears it, and he who
    /// asked is told.
    pub(super) fn through_referral_rings(
        &mut self,
        now: Now,
        id: CallId,
        status: u16,
        heard: bool,
    ) -> bool {
        let Some(call) = self.through.call(id) else {
            return false;
        };
        let Phase::Referred(referral) = &call.phase else {
            return false;
        };
        let session = referral.side.as_ref().map(|side| side.session);
        let leg = call.caller.leg;
        if !heard {
            let to = Sound::Ringback;
            self.media(MediaCommand::Listen { leg, to });
        }
        if let Some(session) = session {
            self.tell_referrer(now, session, status, None);
        }
        true
    }

    /// A target that is music: the one who waits hears it, and nobody else is there.
    pub(super) fn through_refer_to_tone(&mut self, now: Now, id: CallId, tone: Tone) -> bool {
        if matches!(tone, Tone::Busy) {
            self.note_refusal(id, Refusal::ours(486));
            return false;
        }
        let Some(call) = self.through.call(id) else {
            return false;
        };
        let (leg, until) = (call.caller.leg, call.until);
        let before = std::mem::replace(&mut call.phase, Phase::Playing);
        self.through.set_deadline(id, until);
        let to = Sound::Music;
        self.media(MediaCommand::Listen { leg, to });
        if let Phase::Referred(referral) = before {
            self.through_was_referred(now, *referral);
        }
        true
    }

    /// The target has answered: who asked is told and leaves.
    pub(super) fn through_was_referred(&mut self, now: Now, referral: Referral) {
        if let Some(side) = referral.side {
            self.sip.notify_refer(now, side.session, 200, "OK");
            self.through_side_closed(now, &side, None);
        }
    }

    /// The target did not answer: the old call again, or the end when there is nobody to go
    /// back to.
    pub(super) fn through_not_referred(&mut self, now: Now, id: CallId, refusal: &Refusal) {
        let Some(call) = self.through.call(id) else {
            return;
        };
        let Phase::Referred(referral) = std::mem::replace(&mut call.phase, Phase::Calling) else {
            return;
        };
        call.referred_by = None;
        let leave: Option<Leave> = call.leave.take();
        let status = mapped(refusal.status);
        let Referral {
            side, was_caller, ..
        } = *referral;
        if let Some(leave) = leave {
            self.through_leave_ended(now, &leave);
        }
        let Some(mut side) = side else {
            let reason = reason_value(&refusal.reason);
            let reason = reason.unwrap_or_else(|| format!("SIP;cause={status}"));
            return self.through_close(now, id, Some(&reason));
        };
        let asked = side.session;
        let Some(call) = self.through.call(id) else {
            return;
        };
        if was_caller {
            std::mem::swap(&mut call.caller, &mut side);
            call.mirrored = !call.mirrored;
        }
        let (one, other, until) = (call.caller.leg, side.leg, call.until);
        call.phase = Phase::Talking(Box::new(side));
        self.through.set_deadline(id, until);
        self.through_connect(one, other);
        let phrase = refusal.phrase.as_deref();
        let phrase = phrase.filter(|_| status == refusal.status);
        self.tell_referrer(now, asked, status, phrase);
        self.through_align(now, id);
    }

    pub(super) fn tell_referrer(
        &mut self,
        now: Now,
        session: SessionId,
        status: u16,
        phrase: Option<&str>,
    ) {
        let phrase = phrase.unwrap_or_else(|| crate::sip::phrase(status));
        self.sip.notify_refer(now, session, status, phrase);
    }
}
