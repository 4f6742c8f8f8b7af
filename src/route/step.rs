//! What is done with a call: one step after the other until somebody answers or a step is final.

use std::fmt;

use crate::id::{AgentId, CampaignId, TrunkId};

/// In place of a phone's user: the phone of the number called.
pub const CALLED: &str = "*";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Out on the first of these that takes the call.
    Trunks(Vec<Outward>),
    /// Every place where this phone is registered, all at once.
    /// Its user; [`CALLED`] is the phone of the number called.
    Phone(String),
    /// An agent at her seat, with the caller's card.
    Seat(Seated),
    Play(Tone),
    /// A fixed peer, by a SIP URI whose host is an address. Without a user it is asked for the
    /// number.
    Uri(String),
    /// A final status.
    Refuse(u16),
}

/// A trunk and the number shown on it, E.164.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outward {
    pub trunk: TrunkId,
    pub caller_id: String,
}

/// Who takes the call, and how callers wait for her.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seated {
    pub who: Who,
    pub waiting: Waiting,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The agent of this campaign who has been READY the longest; the caller waits while none is.
    /// When nobody works for it at all, he does not wait.
    Campaign(CampaignId),
    /// The same, and he waits even then.
    Queue(CampaignId),
    /// This agent, if she is READY.
    Agent(AgentId),
    /// Who called this number last, if she is READY.
    LastAgent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How long a caller waits for somebody to be free, in milliseconds.
    pub wait_ms: u64,
    /// How many callers wait at once.
    pub callers_max: u32,
    /// The call is answered at once and hears music; otherwise it rings until an agent answers.
    pub answer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Music,
    Busy,
}

impl Tone {
    pub fn name(self) -> &'static str {
        match self {
            Tone::Music => "music",
            Tone::Busy => "busy",
        }
    }

    pub fn named(name: &str) -> Option<Tone> {
        [Tone::Music, Tone::Busy]
            .into_iter()
            .find(|tone| tone.name() == name)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Trunks(trunks) => {
                let names: Vec<&str> = trunks.iter().map(|one| one.trunk.as_str()).collect();
                write!(out, "trunk {}", names.join(", then "))
            }
            Step::Phone(user) => write!(out, "phone {user}"),
            Step::Seat(seated) => write!(out, "{seated}"),
            Step::Play(tone) => write!(out, "play {}", tone.name()),
            Step::Uri(uri) => write!(out, "{uri}"),
            Step::Refuse(status) => write!(out, "refuse with {status}"),
        }
    }
}

impl fmt::Display for Seated {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Waiting {
            wait_ms,
            callers_max,
            answer,
        } = self.waiting;
        let (campaign, nobody) = match &self.who {
            Who::Agent(agent) => return write!(out, "agent {agent} if she is READY"),
            Who::LastAgent => {
                return write!(out, "the agent who called this number last if she is READY");
            }
            Who::Campaign(campaign) => (campaign, "nobody waits while none is signed in"),
            Who::Queue(campaign) => (campaign, "also while none is signed in"),
        };
        let wait_s = wait_ms / 1_000;
        let hears = match answer {
            true => "music",
            false => "ringing",
        };
        write!(
            out,
            "the longest READY agent of campaign {campaign} (at most {callers_max} wait up to \
             {wait_s} s with {hears}; {nobody})"
        )
    }
}
