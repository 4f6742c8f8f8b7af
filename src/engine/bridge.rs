//! Who hears whom in a call, and what of it is recorded.

use std::path::{Path, PathBuf};

use super::call::{Call, Phase, Recording};
use super::commands::no_call;
use super::handle::Problem;
use super::media_worker::{MediaCommand, Source};
use super::switch::Switch;
use super::writes::Write;
use crate::id::{AgentId, AttemptId, CallId, LegId};
use crate::media::coding::Coding;
use crate::media::g711::Law;
use crate::now::{Now, UtcMs};
use crate::sdp::Codec;
use crate::sdp::negotiate::Agreed;
use crate::store::{self, AttemptStep};

impl Switch {
    pub(super) fn hold(&mut self, now: Now, agent: &AgentId, on: bool) -> Result<(), Problem> {
        let call = self.live_call_mut(agent)?;
        if !call.is_answered() {
            return Err(Problem::new(
                409,
                "not_answered",
                "Nobody to hold",
                "The phone still rings.",
            ));
        }
        if call.third.is_some() {
            return Err(Problem::new(
                409,
                "third_party",
                "There is a third party",
                "Swap between the two, complete the transfer or drop it.",
            ));
        }
        call.progress.hold(on, now.utc);
        let id = call.id;
        let seat = self.desks.get(agent).and_then(|desk| desk.seat.live_leg());
        match seat {
            Some(seat) => self.connect_ears(id, seat),
            None => self.agent_leg_gone(id),
        }
        Ok(())
    }

    /// Puts the agent's leg, new or the same, back where the call's controls say.
    pub(super) fn rejoin(&mut self, id: CallId, seat: LegId) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (leg, volume_db) = (call.leg, call.volume_db);
        let muted = call.progress.is_muted();
        match call.phase {
            Phase::Answered { .. } => {
                self.media(MediaCommand::Mute {
                    leg: seat,
                    on: muted,
                });
                self.media(MediaCommand::Gain {
                    leg,
                    db: volume_db as f32,
                });
                self.connect_ears(id, seat);
                self.record_with(id, Some(seat));
            }
            Phase::Inviting { .. } if call.progress.early_media => {
                self.media(MediaCommand::Listen {
                    leg: seat,
                    to: Source::Leg(leg),
                });
            }
            Phase::Inviting { .. } | Phase::FailingOver { .. } | Phase::Committing { .. } => {
                self.media(MediaCommand::Listen {
                    leg: seat,
                    to: Source::Ringback,
                });
            }
            Phase::Offered => self.media(MediaCommand::Listen {
                leg: seat,
                to: Source::Silence,
            }),
            Phase::Ended { .. } => {}
        }
    }

    fn connect_ears(&mut self, id: CallId, seat: LegId) {
        if self.connect_third(id) {
            return;
        }
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (leg, held) = (call.leg, call.progress.is_held());
        let (customer, agent) = match held {
            true => (Source::Music, Source::Silence),
            false => (Source::Leg(seat), Source::Leg(leg)),
        };
        self.media(MediaCommand::Listen { leg, to: customer });
        self.media(MediaCommand::Listen {
            leg: seat,
            to: agent,
        });
    }

    /// The agent's browser is gone: the customer stays and hears music.
    pub(super) fn agent_leg_gone(&mut self, id: CallId) {
        if self.connect_third(id) {
            return;
        }
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        if call.is_answered() {
            let leg = call.leg;
            self.media(MediaCommand::Listen {
                leg,
                to: Source::Music,
            });
        }
    }

    pub(super) fn start_recording(&mut self, now: Now, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !call.campaign.record {
            return;
        }
        let path = recording_path(&self.config.recordings, now.utc, id);
        call.recording = Recording::Running { path: path.clone() };
        let attempt = call.attempt;
        let path = self.recording_name(&path);
        self.write(
            Write::Step,
            store::Command::RecordingStarted { attempt, path },
        );
    }

    pub(super) fn record_with(&mut self, id: CallId, seat: Option<LegId>) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        if let Recording::Running { path } = &call.recording {
            let (path, customer) = (path.clone(), call.leg);
            self.media(MediaCommand::Record {
                call: id,
                agent: seat,
                customer,
                path,
            });
        }
    }

    pub(super) fn aim(&mut self, leg: LegId, agreed: &Agreed) {
        let srtp = self.srtp_keys(leg, agreed);
        self.media(MediaCommand::AimTrunk {
            leg,
            remote: agreed.remote,
            coding: match agreed.codec {
                Codec::Pcmu => Coding::G711(Law::Mu),
                Codec::Pcma => Coding::G711(Law::A),
                Codec::Opus => Coding::Opus,
            },
            payload_type: agreed.payload_type,
            telephone_event: agreed.telephone_event,
            send: agreed.direction.send(),
            receive: agreed.direction.receive(),
            srtp,
        });
    }

    pub(super) fn step(&mut self, attempt: AttemptId, step: AttemptStep) {
        self.write(Write::Step, store::Command::Step { attempt, step });
    }

    /// The call on the agent's desk while it is not over.
    pub(super) fn live_call(&self, agent: &AgentId) -> Option<&Call> {
        self.call_on_desk(agent)
            .filter(|call| !call.is_ended() && !call.is_handed_over())
    }

    pub(super) fn live_call_mut(&mut self, agent: &AgentId) -> Result<&mut Call, Problem> {
        let call = self
            .desk(agent)
            .and_then(|desk| desk.call)
            .ok_or_else(no_call)?;
        self.calls
            .get_mut(&call)
            .filter(|call| !call.is_ended() && !call.is_handed_over())
            .ok_or_else(no_call)
    }

    pub(super) fn call_on_desk(&self, agent: &AgentId) -> Option<&Call> {
        let call = self.desks.get(agent)?.call?;
        self.calls.get(&call)
    }
}

/// `recordings/YYYY/MM/DD/<call-id>.wav`, by UTC date.
pub(super) fn recording_path(root: &Path, at: UtcMs, call: CallId) -> PathBuf {
    let date = jiff::Timestamp::from_millisecond(at.0)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y/%m/%d")
        .to_string();
    root.join(date).join(format!("{call}.wav"))
}
