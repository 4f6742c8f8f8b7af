//! Who hears whom in a call with a third party, by the states of `call::transfer`.

use super::To;
use crate::call::transfer::Hears;
use crate::engine::media_worker::{MediaCommand, Source};
use crate::engine::switch::Switch;
use crate::id::{CallId, LegId};
use crate::now::Now;
use crate::sdp::negotiate::Negotiation;

impl Switch {
    /// After any change of the third party: the customer's time on hold, ears, and the page.
    pub(in crate::engine) fn hear(&mut self, now: Now, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id)
            && let Some(third) = &call.third
        {
            call.progress.hold(third.talk.holds_customer(), now.utc);
        }
        self.connect_third(id);
        self.show_call(id);
    }

    /// False: there is no third party to be heard yet.
    pub(in crate::engine) fn connect_third(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.get(&id) else {
            return false;
        };
        let Some(third) = &call.third else {
            return false;
        };
        let Some(far) = third.voice() else {
            if let To::Agent(_) = third.to {
                self.wait_for_agent(id);
            }
            return true;
        };
        let seat = match call.is_handed_over() {
            true => None,
            false => self
                .desks
                .get(&call.agent)
                .and_then(|it| it.seat.live_leg()),
        };
        let agent = seat.map_or(Source::Music, Source::Leg);
        let customer = speaks(&call.sdp).then_some(Source::Leg(call.leg));
        let other = speaks(&far.sdp).then_some(Source::Leg(far.leg));
        let source = |hears: Hears| match hears {
            Hears::Silence => Source::Silence,
            Hears::Music => Source::Music,
            Hears::Ringback => Source::Ringback,
            Hears::Customer => customer.unwrap_or(Source::Music),
            Hears::Agent => agent,
            Hears::Third => other.unwrap_or(Source::Music),
        };
        let ears = third.talk.ears();
        let mut listens: Vec<(LegId, Source)> = vec![
            (call.leg, source(ears.customer)),
            (far.leg, source(ears.third)),
        ];
        listens.extend(seat.map(|seat| (seat, source(ears.agent))));
        for (leg, to) in listens {
            self.media(MediaCommand::Listen { leg, to });
        }
        true
    }

    /// Its page sees the call anew.
    pub(in crate::engine) fn show_call(&mut self, id: CallId) {
        if let Some(agent) = self.calls.get(&id).map(|call| call.agent.clone()) {
            self.desk(&agent);
        }
    }
}

/// Not so while it holds us: then whoever listened to it hears our music instead of nothing.
fn speaks(sdp: &Negotiation) -> bool {
    sdp.agreed().is_none_or(|agreed| agreed.direction.receive())
}
