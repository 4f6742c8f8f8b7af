//! What is done with a call: one step after the other until somebody answers or a step is final.

use std::fmt;

use crate::id::TrunkId;

/// In place of a phone's user: the phone of the number called.
pub const CALLED: &str = "*";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Out on the first of these that takes the call.
    Trunks(Vec<Outward>),
    /// Every place where this phone is registered, all at once.
    /// Its user; [`CALLED`] is the phone of the number called.
    Phone(String),
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
            Step::Play(tone) => write!(out, "play {}", tone.name()),
            Step::Uri(uri) => write!(out, "{uri}"),
            Step::Refuse(status) => write!(out, "refuse with {status}"),
        }
    }
}
