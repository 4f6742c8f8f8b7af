//! After a start: far legs an earlier process left are ended, cards go back on their desks.

use std::time::Duration;

use super::card::Card;
use super::switch::Switch;
use crate::agent::state::State;
use crate::now::Now;
use crate::sip::{DialogIdentity, InvitePlan, Orphan};
use crate::store::fact::{OrphanPhase, Recovered, Reservation};

/// An agent whose call a restart has cut off gets at least this long to say what happened.
const WRAP_UP_AFTER_RESTART: Duration = Duration::from_secs(60);

impl Switch {
    /// Takes up what the store found at start. Agents have the desk grace to come back.
    pub fn restore(&mut self, now: Now, recovered: Recovered) {
        let customers = recovered.orphans.iter();
        let customers = customers.map(|it| (it.phase, &it.dialog, it.attempt));
        let thirds = recovered.thirds.iter();
        let thirds = thirds.map(|it| (it.phase, &it.dialog, it.attempt));
        for (phase, dialog, attempt) in customers.chain(thirds) {
            let known = match phase {
                OrphanPhase::Answered => DialogIdentity::from_text(dialog).map(Orphan::Answered),
                OrphanPhase::Dialing | OrphanPhase::Ringing => {
                    InvitePlan::from_text(dialog).map(Orphan::Unanswered)
                }
            };
            match known {
                Some(far_leg) => {
                    let far_leg = self.reconnected(far_leg);
                    self.sip.end_orphan(now, far_leg);
                }
                None => {
                    tracing::error!(%attempt, "its dialog cannot be read back")
                }
            }
        }
        for reservation in recovered.previews {
            let (deadline, left) = (reservation.life.deadline, reservation.extensions_left);
            let extensions_left = u8::try_from(left).unwrap_or(u8::MAX);
            self.card_back(
                now,
                reservation,
                State::Previewing {
                    deadline,
                    extensions_left,
                },
            );
        }
        for reservation in recovered.wrap_ups {
            let earliest = now.utc.plus(WRAP_UP_AFTER_RESTART);
            let deadline = reservation
                .wrap_up_until
                .map_or(earliest, |at| at.max(earliest));
            self.card_back(now, reservation, State::WrapUp { deadline });
        }
        self.settle(now);
    }

    /// The earlier process took its connections with it.
    fn reconnected(&mut self, mut far_leg: Orphan) -> Orphan {
        let flow = match &mut far_leg {
            Orphan::Unanswered(plan) => &mut plan.flow,
            Orphan::Answered(dialog) => &mut dialog.flow,
        };
        if flow.transport.is_stream() {
            *flow = self.connection(flow.transport, flow.remote, None);
        }
        far_leg
    }

    fn card_back(&mut self, now: Now, reservation: Reservation, state: State) {
        let Some(campaign) = self
            .config
            .campaigns
            .get(&reservation.lead.campaign)
            .cloned()
        else {
            return;
        };
        let agent = reservation.agent.clone();
        let Some(desk) = self.desk(&agent) else {
            return;
        };
        desk.agent.restore(state, now.utc);
        desk.deserted_since = Some(now.instant);
        desk.card = Some(Card::new(reservation, campaign));
        self.ask_crm(&agent);
    }
}
