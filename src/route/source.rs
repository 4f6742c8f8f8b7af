//! Where a call comes from, as far as we know it for certain.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::id::{AgentId, TrunkId};

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A carrier, known by its address.
    Trunk(TrunkId),
    /// A desk phone that has shown its password.
    Phone(String),
    /// An agent's page.
    Agent(AgentId),
    /// An address whose calls are taken without a password.
    Address(IpAddr),
}

/// Whose calls a rule is about: all of a kind (`None`), or one of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    Trunk(Option<TrunkId>),
    Phone(Option<String>),
    Agent(Option<AgentId>),
    Address(Option<IpAddr>),
}

impl Source {
    /// What it is, without a name: for logs and counts.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Trunk(_) => "trunk",
            Source::Phone(_) => "phone",
            Source::Agent(_) => "agent",
            Source::Address(_) => "address",
        }
    }
}

impl From {
    pub fn covers(&self, source: &Source) -> bool {
        match (self, source) {
            (From::Trunk(one), Source::Trunk(id)) => one.as_ref().is_none_or(|one| one == id),
            (From::Phone(one), Source::Phone(user)) => one.as_ref().is_none_or(|one| one == user),
            (From::Agent(one), Source::Agent(id)) => one.as_ref().is_none_or(|one| one == id),
            (From::Address(one), Source::Address(ip)) => one.is_none_or(|one| one == *ip),
            _ => false,
        }
    }
}

/// `trunk:carrier-a`, `phone:101`, `agent:li.wei`, `address:127.0.0.2`.
impl FromStr for Source {
    type Err = ();

    fn from_str(text: &str) -> Result<Source, ()> {
        match text.parse()? {
            From::Trunk(Some(id)) => Ok(Source::Trunk(id)),
            From::Phone(Some(user)) => Ok(Source::Phone(user)),
            From::Agent(Some(id)) => Ok(Source::Agent(id)),
            From::Address(Some(ip)) => Ok(Source::Address(ip)),
            _ => Err(()),
        }
    }
}

/// As a [`Source`], or a kind alone: `trunk`, `phone`, `agent`, `address`.
impl FromStr for From {
    type Err = ();

    fn from_str(text: &str) -> Result<From, ()> {
        let (kind, name) = match text.split_once(':') {
            Some((_, "")) => return Err(()),
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        match kind {
            "trunk" => Ok(From::Trunk(name.map(TrunkId::new))),
            "phone" => Ok(From::Phone(name.map(str::to_owned))),
            "agent" => Ok(From::Agent(name.map(AgentId::new))),
            "address" => {
                let ip = name.map(str::parse).transpose().map_err(|_| ())?;
                Ok(From::Address(ip))
            }
            _ => Err(()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Trunk(id) => write!(out, "trunk:{id}"),
            Source::Phone(user) => write!(out, "phone:{user}"),
            Source::Agent(id) => write!(out, "agent:{id}"),
            Source::Address(ip) => write!(out, "address:{ip}"),
        }
    }
}

impl fmt::Display for From {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            From::Trunk(None) => out.write_str("trunk"),
            From::Phone(None) => out.write_str("phone"),
            From::Agent(None) => out.write_str("agent"),
            From::Address(None) => out.write_str("address"),
            From::Trunk(Some(id)) => write!(out, "trunk:{id}"),
            From::Phone(Some(user)) => write!(out, "phone:{user}"),
            From::Agent(Some(id)) => write!(out, "agent:{id}"),
            From::Address(Some(ip)) => write!(out, "address:{ip}"),
        }
    }
}
