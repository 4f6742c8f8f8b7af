//! What is done with a call: one step after the other until somebody answers or a step is final.

use std::fmt;

use crate::id::{AgentId, CampaignId, TrunkId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Out on the first of these that takes the call.
    Trunks(Vec<Outward>),
    /// Every place where this phone is registered, all at once.
    Phone(String),
    /// An agent's seat, when she is READY.
    Agent(AgentId),
    /// Any READY agent of a campaign, the one who has waited longest first.
    Campaign(CampaignId),
    /// The agent who last called this number, when she is READY.
    LastAgent,
    /// As a campaign, with music until somebody is READY.
    Queue(CampaignId),
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
            Step::Agent(id) => write!(out, "agent {id}"),
            Step::Campaign(id) => write!(out, "a ready agent of campaign {id}"),
            Step::LastAgent => out.write_str("the agent who called this number last"),
            Step::Queue(id) => write!(out, "the queue of campaign {id}"),
            Step::Play(tone) => write!(out, "play {}", tone.name()),
            Step::Uri(uri) => write!(out, "{uri}"),
            Step::Refuse(status) => write!(out, "refuse with {status}"),
        }
    }
}
