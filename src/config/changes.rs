//! What differs between two configurations, in the words of the file. Compared as written out with
//! every default, so that a key written as its default is no change; secrets are compared and
//! never shown.

use super::secret::in_the_clear;
use super::{Config, show};
use std::fmt;
use toml::{Table, Value};

/// Tables of which a running switch takes over one for one; each with the key that names it.
const APPLIED: [(&str, &str); 5] = [
    ("trunk", "name"),
    ("phone", "user"),
    ("agent", "id"),
    ("campaign", "id"),
    ("route", "name"),
];
/// Tables of which there is one, and their keys that a running switch takes over.
const APPLIED_KEYS: [(&str, &[&str]); 5] = [
    (
        "sip",
        &[
            "domain",
            "domains",
            "allow",
            "deny",
            "drop_scanners",
            "certificate",
            "key",
            "client_ca",
            "client_required",
            "ca",
            "verify",
        ],
    ),
    ("http", &["certificate", "key"]),
    (
        "security",
        &[
            "messages_per_s",
            "trunk_messages_per_s",
            "failures_max",
            "lock_s",
            "lock_s_max",
        ],
    ),
    (
        "fraud",
        &[
            "calls_at_once",
            "calls_a_minute",
            "minutes_a_day",
            "calls_at_once_in_all",
            "calls_a_minute_in_all",
            "minutes_a_day_in_all",
            "longest_call_minutes",
            "allowed",
            "denied",
        ],
    ),
    ("routing", &["emergency", "emergency_trunks", "permit"]),
];
/// Keys inside them that are read at the start only.
const AT_START_ONLY: [(&str, &str); 1] = [("campaign", "hold_music")];
/// Keys that name a table of a list: an id before a name, which may be a person's.
const NAMES: [&str; 3] = ["id", "user", "name"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Come,
    Gone,
    Changed,
}

/// One difference: `~ trunk carrier-a: max_calls 30 → 10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub sign: Sign,
    /// `trunk carrier-a`, `[sip]`.
    pub what: String,
    /// `max_calls 30 → 10`; empty for what has come or gone.
    pub detail: String,
    /// Not taken over while the switch runs.
    pub needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Come => '+',
            Sign::Gone => '-',
            Sign::Changed => '~',
        };
        write!(f, "{sign} {}", self.what)?;
        match self.detail.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.detail),
        }
    }
}

/// From `old` to `new`, in the order they are shown in.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let (old, new) = (Pages::of(old), Pages::of(new));
    let mut found = Vec::new();
    let mut keys: Vec<&String> = new.clear.keys().collect();
    keys.extend(old.clear.keys().filter(|key| !new.clear.contains_key(*key)));
    keys.sort_by_key(|key| new.place(key).or(old.place(key)));
    for key in keys {
        let (before, after) = (old.clear.get(key), new.clear.get(key));
        match (before, after) {
            (Some(Value::Array(before)), Some(Value::Array(after))) => {
                tables(&mut found, key, before, after);
            }
            (None, Some(Value::Array(after))) => tables(&mut found, key, &[], after),
            (Some(Value::Array(before)), None) => tables(&mut found, key, before, &[]),
            (Some(before), Some(after)) => {
                for detail in details(before, after) {
                    found.push(Change {
                        sign: Sign::Changed,
                        what: format!("[{key}]"),
                        needs_restart: !is_applied(key, &detail),
                        detail,
                    });
                }
            }
            (before, _) => found.push(Change {
                sign: if before.is_some() {
                    Sign::Gone
                } else {
                    Sign::Come
                },
                what: format!("[{key}]"),
                detail: String::new(),
                needs_restart: true,
            }),
        }
    }
    found
}

/// Whether a running switch takes over the key this detail begins with.
fn is_applied(table: &str, detail: &str) -> bool {
    let key = detail.split(' ').next().unwrap_or_default();
    APPLIED_KEYS
        .iter()
        .any(|(known, keys)| *known == table && keys.contains(&key))
}

struct Pages {
    text: String,
    clear: Table,
}

impl Pages {
    /// With secrets: this never leaves this file.
    fn of(config: &Config) -> Pages {
        let text = in_the_clear(|| show(config).unwrap_or_default());
        Pages {
            clear: text.parse().unwrap_or_default(),
            text,
        }
    }

    /// Where a section stands.
    fn place(&self, key: &str) -> Option<usize> {
        self.text.find(&format!("[{key}]"))
    }
}

fn tables(found: &mut Vec<Change>, key: &str, before: &[Value], after: &[Value]) {
    let applied = APPLIED.iter().any(|(applied, _)| *applied == key);
    let named = |list: &[Value], name: &str| -> Option<Value> {
        let at = list.iter().enumerate();
        at.map(|(at, it)| (name_of(it, at), it))
            .find(|(it, _)| it == name)
            .map(|(_, it)| it.clone())
    };
    for (at, new) in after.iter().enumerate() {
        let name = name_of(new, at);
        let what = format!("{key} {name}");
        let Some(old) = named(before, &name) else {
            found.push(Change {
                sign: Sign::Come,
                what,
                detail: String::new(),
                needs_restart: !applied,
            });
            continue;
        };
        for detail in details(&old, new) {
            let at_start = AT_START_ONLY
                .iter()
                .any(|(table, only)| *table == key && detail.starts_with(only));
            found.push(Change {
                sign: Sign::Changed,
                what: what.clone(),
                detail,
                needs_restart: !applied || at_start,
            });
        }
    }
    for (at, old) in before.iter().enumerate() {
        let name = name_of(old, at);
        if named(after, &name).is_none() {
            found.push(Change {
                sign: Sign::Gone,
                what: format!("{key} {name}"),
                detail: String::new(),
                needs_restart: !applied,
            });
        }
    }
}

/// What it is called, or its place in the list, counted from 1.
fn name_of(table: &Value, at: usize) -> String {
    let name = NAMES.iter().find_map(|key| table.get(key)?.as_str());
    name.map_or_else(|| format!("{}", at + 1), str::to_owned)
}

/// `key old → new` for every key that differs, nested ones with their path.
fn details(before: &Value, after: &Value) -> Vec<String> {
    let (Value::Table(before), Value::Table(after)) = (before, after) else {
        return match before == after {
            true => Vec::new(),
            false => vec![format!("{} → {}", shown(before), shown(after))],
        };
    };
    let mut found = Vec::new();
    let mut keys: Vec<&String> = after.keys().collect();
    keys.extend(before.keys().filter(|key| !after.contains_key(*key)));
    for key in keys {
        match (before.get(key), after.get(key)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(_), Some(_)) if is_secret(key) => found.push(format!("{key} (another one)")),
            (None, Some(_)) if is_secret(key) => found.push(format!("{key} (now given)")),
            (Some(old @ Value::Table(_)), Some(new @ Value::Table(_))) => {
                found.extend(details(old, new).iter().map(|one| format!("{key}.{one}")));
            }
            (Some(old), Some(new)) => found.push(format!("{key} {} → {}", shown(old), shown(new))),
            (None, Some(new)) => found.push(format!("{key} none → {}", shown(new))),
            (Some(_), None) if is_secret(key) => found.push(format!("{key} (now none)")),
            (Some(old), None) => found.push(format!("{key} {} → none", shown(old))),
            (None, None) => {}
        }
    }
    found
}

fn is_secret(key: &str) -> bool {
    ["password", "token", "secret"]
        .iter()
        .any(|word| key.contains(word))
}

/// One line, and not a long one.
fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    let holds_tables = match value {
        Value::Table(_) => true,
        Value::Array(list) => list.iter().any(|it| it.is_table() || it.is_array()),
        _ => false,
    };
    if holds_tables {
        return "…".to_owned();
    }
    let text = value.to_string().replace('\n', " ");
    match text.chars().count() > CHARS_MAX {
        true => text.chars().take(CHARS_MAX).chain(['…']).collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const OLD: &str = "[[trunk]]\nname = \"a\"\nservers = [\"203.0.113.10:5060\"]\ncaller_id = \"+861066666666\"\n\
        username = \"u\"\npassword = \"hunter1\"\n\
        [[phone]]\nuser = \"101\"\npassword = \"hunter2\"\n[[phone]]\nuser = \"102\"\npassword = \"hunter3\"\n\
        [[campaign]]\nid = \"c\"\ntrunks = [\"a\"]\nhours = \"09:00-20:00\"\n";

    fn told(old: &str, new: &str) -> Vec<String> {
        let read = |text: &str| {
            super::super::parse("f.toml", text, Path::new("")).unwrap_or_else(|e| panic!("{e}"))
        };
        changes(&read(old), &read(new))
            .iter()
            .map(|change| {
                let restart = if change.needs_restart {
                    " (restart)"
                } else {
                    ""
                };
                format!("{change}{restart}")
            })
            .collect()
    }

    #[test]
    fn every_difference_is_told_once_and_secrets_never() {
        let new = OLD
            .replace("hunter1", "other")
            .replace("caller_id", "max_calls = 5\ncaller_id")
            .replace("09:00", "10:00")
            .replace("user = \"102\"", "user = \"103\"");
        let new = format!("[sip]\nlisten = \"127.0.27.1:5061\"\n{new}");
        let told = told(OLD, &new);
        assert_eq!(
            told,
            [
                "~ [sip]: listen [\"0.0.0.0:5060\"] → [\"127.0.27.1:5061\"] (restart)",
                // TCP follows where nothing else is said.
                "~ [sip]: tcp_listen [\"0.0.0.0:5060\"] → [\"127.0.27.1:5061\"] (restart)",
                "~ trunk a: max_calls 30 → 5",
                "~ trunk a: password (another one)",
                "+ phone 103",
                "- phone 102",
                "~ campaign c: hours \"09:00-20:00\" → \"10:00-20:00\"",
            ]
        );
        assert!(!told.concat().contains("other\""));
    }

    #[test]
    fn certificates_and_those_who_sign_them_need_no_restart() {
        let new = format!("[sip]\nverify = \"off\"\ndigest = true\nconnections = 5\n{OLD}");
        assert_eq!(
            told(OLD, &new),
            [
                "~ [sip]: connections 2000 → 5 (restart)",
                "~ [sip]: verify \"on\" → \"off\"",
            ]
        );
    }

    #[test]
    fn who_may_speak_and_what_calls_may_cost_need_no_restart() {
        let new = format!(
            "[sip]\ndomains = [\"a.example\"]\nrealm = \"other\"\n[routing]\npermit = [\"192.0.2.0/28\"]\n\
             [security]\nmessages_per_s = 50\nlog = \"s.log\"\n[fraud]\nallowed = [\"+86\"]\n{OLD}"
        );
        let told = told(OLD, &new);
        let restart: Vec<&str> = told
            .iter()
            .filter(|it| it.ends_with("(restart)"))
            .map(|it| it.split(' ').nth(2).unwrap_or_default())
            .collect();
        assert_eq!(restart, ["realm", "log"], "{told:?}");
        assert_eq!(told.len(), 6, "{told:?}");
    }

    #[test]
    fn the_same_settings_written_otherwise_are_no_change() {
        let new = format!("# more words\n[http]\nsession_hours = 16\n{OLD}");
        assert_eq!(told(OLD, &new), Vec::<String>::new());
    }

    #[test]
    fn a_table_that_comes_or_goes_whole_is_told_as_one() {
        let crm = "[crm]\nurl = \"https://crm.example.com/x\"\n";
        let agent = "[[agent]]\nid = \"li\"\nname = \"Li Wei\"\n";
        assert_eq!(told("", agent), ["+ agent li"], "by id, not by name");
        assert_eq!(told("", crm), ["+ [crm] (restart)"]);
        assert_eq!(told(crm, ""), ["- [crm] (restart)"]);
        assert_eq!(
            told("", "[[phone]]\nuser = \"1\"\npassword = \"p\"\n"),
            ["+ phone 1"]
        );
    }
}
