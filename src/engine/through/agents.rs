//! Calls that agents take: what the queue and the ringing seat need to know of a caller and do to
//! his leg, and the way he goes when one of them answers.

use super::{Phase, Refusal};
use crate::engine::media_worker::{MediaCommand, Source as Sound};
use crate::engine::switch::{LegOf, Switch};
use crate::engine::trunk_call::Way;
use crate::id::{CallId, LegId, TrunkId};
use crate::leads::phone::{self, Region};
use crate::leads::row::{Phone, PhoneKind};
use crate::now::Now;
use crate::route::Source;
use crate::sdp::negotiate::Negotiation;
use crate::sip::{NameAddr, SessionId, Target};

/// A caller who shows no number.
const ANONYMOUS: &str = "anonymous";

/// Where a caller came from, and his leg.
pub(in crate::engine) struct Came {
    pub session: SessionId,
    pub leg: LegId,
    pub port: u16,
    pub sdp: Negotiation,
    pub trunk: Option<TrunkId>,
    /// The number he called.
    pub called: String,
    pub ring_ms: u64,
    /// A queue has answered the call.
    pub accepted: bool,
}

/// A caller's side that belongs to an agent's call from now on.
pub(in crate::engine) struct Taken {
    pub session: SessionId,
    pub leg: LegId,
    pub port: u16,
    pub sdp: Negotiation,
    /// His place on a trunk we called him by, before he was put through.
    pub way: Option<Way>,
    /// To his offer, if he made one.
    pub answer: Option<String>,
    pub accepted: bool,
}

impl Switch {
    pub(in crate::engine) fn caller_came(&self, id: CallId) -> Option<Came> {
        let call = self.through.calls.get(&id)?;
        Some(Came {
            session: call.caller.session,
            leg: call.caller.leg,
            port: call.caller.port,
            sdp: call.caller.sdp.clone(),
            trunk: match &call.source {
                Source::Trunk(trunk) => Some(trunk.clone()),
                _ => None,
            },
            called: call.number.clone(),
            ring_ms: call.ring_ms,
            accepted: call.accepted,
        })
    }

    /// Whether an agent can take him. Who is put through by a phone stays with the phone until
    /// somebody answers, and agents' seats are not asked.
    pub(in crate::engine) fn caller_may_be_taken(&self, id: CallId) -> bool {
        let call = self.through.calls.get(&id);
        call.is_some_and(|call| matches!(call.phase, Phase::Calling))
    }

    /// Whom he says he is: what a trunk asserts (RFC 3325) before his From, as E.164 where the
    /// trunk's rule can read it.
    pub(in crate::engine) fn caller_phone(&self, id: CallId) -> Option<Phone> {
        let call = self.through.calls.get(&id)?;
        let asserted = call
            .caller
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("P-Asserted-Identity"))
            .and_then(|(_, value)| NameAddr::parse(value))
            .and_then(|name| Target::parse(&name.uri).ok())
            .and_then(|target| target.user_text());
        let shown = asserted.unwrap_or_else(|| call.caller.party.user.clone());
        let shown = shown.split(';').next().unwrap_or_default().to_owned();
        let read = match &call.source {
            Source::Trunk(trunk) => self.config.trunks.get(trunk),
            _ => None,
        };
        let read = read.and_then(|trunk| trunk.number.read(&shown));
        let number = read.unwrap_or(shown);
        Some(as_phone(number))
    }

    /// Why the last step came to nothing, unless another said more.
    pub(in crate::engine) fn caller_refused(&mut self, id: CallId, status: u16) {
        self.note_refusal(id, Refusal::ours(status));
    }

    pub(in crate::engine) fn caller_goes_on(&mut self, now: Now, id: CallId) {
        self.through_next_step(now, id);
    }

    /// 180 or 182; one who has been answered hears ringing or music instead.
    pub(in crate::engine) fn caller_told(&mut self, now: Now, id: CallId, status: u16) {
        let Some(call) = self.through.calls.get(&id) else {
            return;
        };
        let (session, leg) = (call.caller.session, call.caller.leg);
        if !call.accepted {
            return self.sip.ring(now, session, status, None);
        }
        let to = match status {
            180 => Sound::Ringback,
            _ => Sound::Music,
        };
        self.media(MediaCommand::Listen { leg, to });
    }

    /// Answered by the queue itself.
    pub(in crate::engine) fn caller_accepted(&mut self, now: Now, id: CallId) {
        self.through_accept(now, id);
    }

    /// His leg goes to the media worker of this seat: two legs hear each other on one worker
    /// only. It opens there with [`Switch::caller_leg_opened`].
    pub(in crate::engine) fn caller_moves(&mut self, id: CallId, seat: LegId) {
        let Some(call) = self.through.calls.get(&id) else {
            return;
        };
        let old = call.caller.leg;
        if self.are_beside(old, seat) {
            return;
        }
        let leg = self.new_leg(Some(seat));
        self.legs.remove(&old);
        self.legs.insert(leg, LegOf::Through(id));
        self.media(MediaCommand::CloseLeg { leg: old });
        if let Some(call) = self.through.call(id) {
            call.caller.leg = leg;
            call.moved = true;
        }
    }

    pub(in crate::engine) fn caller_leg_opened(&mut self, id: CallId) {
        let Some(call) = self.through.call(id).filter(|call| call.moved) else {
            return;
        };
        let (leg, port) = (call.caller.leg, call.caller.port);
        let agreed = call.caller.sdp.agreed().copied();
        let accepted = call.accepted;
        call.moved = false;
        self.media(MediaCommand::OpenTrunk { leg, port });
        if let Some(agreed) = agreed {
            self.aim(leg, &agreed);
        }
        if accepted {
            let to = Sound::Ringback;
            self.media(MediaCommand::Listen { leg, to });
        }
    }

    /// Its port was not free yet.
    pub(in crate::engine) fn caller_leg_opened_again(&mut self, id: CallId) {
        if let Some(call) = self.through.call(id) {
            call.moved = true;
        }
        self.caller_leg_opened(id);
    }

    /// He is an agent's from now on: nothing is closed.
    pub(in crate::engine) fn caller_taken(&mut self, now: Now, id: CallId) -> Option<Taken> {
        let calling = |call: &&super::Through| matches!(call.phase, Phase::Calling);
        self.through.calls.get(&id).filter(calling)?;
        self.through.set_deadline(id, None);
        let call = self.through.calls.remove(&id)?;
        for leave in call.leave.into_iter().chain(call.leaves) {
            self.through_leave_ended(now, &leave);
        }
        self.through.counters.answered += 1;
        Some(Taken {
            session: call.caller.session,
            leg: call.caller.leg,
            port: call.caller.port,
            sdp: call.caller.sdp,
            way: call.caller.way,
            answer: call.answer,
            accepted: call.accepted,
        })
    }
}

fn as_phone(number: String) -> Phone {
    let known = number
        .starts_with('+')
        .then(|| Region::parse("CN"))
        .flatten()
        .and_then(|region| phone::parse(&number, region).ok());
    known.unwrap_or_else(|| Phone {
        e164: match number.is_empty() {
            true => ANONYMOUS.to_owned(),
            false => number,
        },
        kind: PhoneKind::Other,
        time_zones: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_known_by_a_number_or_by_what_he_shows() {
        let known = as_phone("+8613800138000".to_owned());
        assert_eq!(known.time_zones, ["Asia/Shanghai"]);
        assert_eq!(as_phone("101".to_owned()).e164, "101");
        assert_eq!(as_phone(String::new()).e164, ANONYMOUS);
    }
}
