//! Methods. What we serve has a variant; what only exists is [`Method::Unserved`] (405) and the
//! rest is [`Method::Unknown`] (501).

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Info,
    /// RFC 3262.
    Prack,
    /// RFC 3311.
    Update,
    /// RFC 3515.
    Refer,
    /// RFC 6665.
    Notify,
    /// Named by an RFC that rsip knows, not served here.
    Unserved(rsip::Method),
    Unknown(String),
}

/// What Allow says.
pub const ALLOW: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, INFO, PRACK, UPDATE, REFER, NOTIFY";

impl Method {
    /// RFC 3261 7.1: methods are case-sensitive, which rsip's own parser forgets.
    #[must_use]
    pub fn parse(text: &str) -> Method {
        match text {
            "INVITE" => Method::Invite,
            "ACK" => Method::Ack,
            "BYE" => Method::Bye,
            "CANCEL" => Method::Cancel,
            "OPTIONS" => Method::Options,
            "REGISTER" => Method::Register,
            "INFO" => Method::Info,
            "PRACK" => Method::Prack,
            "UPDATE" => Method::Update,
            "REFER" => Method::Refer,
            "NOTIFY" => Method::Notify,
            _ => rsip::Method::all()
                .into_iter()
                .find(|known| known.to_string() == text)
                .map_or_else(|| Method::Unknown(text.to_owned()), Method::Unserved),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Invite => out.write_str("INVITE"),
            Method::Ack => out.write_str("ACK"),
            Method::Bye => out.write_str("BYE"),
            Method::Cancel => out.write_str("CANCEL"),
            Method::Options => out.write_str("OPTIONS"),
            Method::Register => out.write_str("REGISTER"),
            Method::Info => out.write_str("INFO"),
            Method::Prack => out.write_str("PRACK"),
            Method::Update => out.write_str("UPDATE"),
            Method::Refer => out.write_str("REFER"),
            Method::Notify => out.write_str("NOTIFY"),
            Method::Unserved(known) => write!(out, "{known}"),
            Method::Unknown(text) => out.write_str(text),
        }
    }
}
