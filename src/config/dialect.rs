//! What is agreed on beside the plain call: session timers (RFC 4028) and reliable provisional
//! responses (RFC 3262). `[sip]` says it for everyone, a `[[trunk]]` for calls to its carrier.

use super::written::{Section, Wrong};
use crate::sip::Reliability;
use serde::Serialize;

const SESSION_EXPIRES_S: u32 = 1_800;
/// RFC 4028 5.
const SESSION_EXPIRES_S_MIN: u32 = 90;
const DAY_S: u32 = 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Dialect {
    /// 0: we ask for no session timer.
    pub session_expires_s: u32,
    pub reliable_provisional: ReliableConfig,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReliableConfig {
    Off,
    Supported,
    Required,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect {
            session_expires_s: SESSION_EXPIRES_S,
            reliable_provisional: ReliableConfig::Supported,
        }
    }
}

impl Dialect {
    /// What is not written is as in `usual`.
    pub(super) fn read(section: &Section<'_>, usual: Dialect) -> Dialect {
        let key = "session_expires_s";
        let session_expires_s = section.count(key, usual.session_expires_s, 0..=DAY_S);
        if (1..SESSION_EXPIRES_S_MIN).contains(&session_expires_s) {
            section.sheet.complain(
                section.span.clone(),
                format!("`{key}` is {session_expires_s}: a session timer has 90 s at least"),
                "write 90 or more, or 0 for none",
            );
        }
        let reliable_provisional = section.parsed("reliable_provisional", reliable);
        Dialect {
            session_expires_s,
            reliable_provisional: reliable_provisional.unwrap_or(usual.reliable_provisional),
        }
    }

    /// Of `[sip]` alone: the shortest session timer we agree to.
    pub(super) fn min_se_s(section: &Section<'_>) -> u32 {
        let range = SESSION_EXPIRES_S_MIN..=DAY_S;
        section.count("min_se_s", SESSION_EXPIRES_S_MIN, range)
    }

    /// As SIP's room knows it.
    #[must_use]
    pub fn reliability(&self) -> Reliability {
        match self.reliable_provisional {
            ReliableConfig::Off => Reliability::Off,
            ReliableConfig::Supported => Reliability::Supported,
            ReliableConfig::Required => Reliability::Required,
        }
    }
}

fn reliable(text: &str) -> Result<ReliableConfig, Wrong> {
    match text {
        "off" => Ok(ReliableConfig::Off),
        "supported" => Ok(ReliableConfig::Supported),
        "required" => Ok(ReliableConfig::Required),
        other => Err(Wrong(
            format!("`{other}` says nothing about reliable provisional responses"),
            "choose \"off\", \"supported\" or \"required\" (RFC 3262)".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse};
    use std::path::Path;

    const TRUNK: &str = "[[trunk]]\nname = \"a\"\nservers = [\"203.0.113.10:5060\"]\ncaller_id = \"+861066666666\"\n";

    fn read(text: &str) -> Result<Config, String> {
        parse("foredial.toml", text, Path::new(".")).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_trunk_speaks_as_the_house_does_unless_it_is_told_otherwise() {
        let house =
            "[sip]\nsession_expires_s = 600\nmin_se_s = 120\nreliable_provisional = \"required\"\n";
        let config = read(&format!("{house}{TRUNK}")).expect("a good file");
        assert_eq!(config.sip.min_se_s, 120);
        assert_eq!(config.trunks[0].dialect, config.sip.dialect);
        assert_eq!(config.sip.dialect.reliability(), Reliability::Required);
        let own = "session_expires_s = 0\nreliable_provisional = \"off\"\n";
        let config = read(&format!("{house}{TRUNK}{own}")).expect("a good file");
        let dialect = config.trunks[0].dialect;
        assert_eq!(
            (dialect.session_expires_s, dialect.reliability()),
            (0, Reliability::Off)
        );
        assert_eq!(config.sip.dialect.session_expires_s, 600);
    }

    #[test]
    fn each_bad_value_is_told_with_its_remedy() {
        for (text, told) in [
            ("[sip]\nsession_expires_s = 30\n", "has 90 s at least"),
            ("[sip]\nsession_expires_s = -1\n", "out of range"),
            ("[sip]\nmin_se_s = 60\n", "`min_se_s` is out of range"),
            ("[sip]\nreliable_provisional = true\n", "is a boolean"),
            (
                "[sip]\nreliable_provisional = \"maybe\"\n",
                "`maybe` says nothing about reliable",
            ),
        ] {
            let errors = read(text).expect_err(text);
            assert!(errors.contains(told), "{text}: {errors}");
        }
        let errors = read(&format!("{TRUNK}session_expires_s = 45\n")).expect_err("too brief");
        assert!(errors.contains("has 90 s at least"), "{errors}");
    }
}
