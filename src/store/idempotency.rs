//! A repeated key gets the first answer. The key is the agent's own: nobody can ask for another's.

use rusqlite::{OptionalExtension, params};
use serde_json::{Value, json};
use std::time::Duration;

use super::db::Work;
use super::error::StoreError;
use super::fact::Fact;
use super::lead_row::StateColumns;
use crate::dialer::gate::Rule;
use crate::dialer::lead::LeadState;
use crate::id::{AgentId, AttemptId, FenceToken, LeadId};
use crate::now::UtcMs;

/// How long a key is remembered.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Answers from memory, or does the work and remembers its answer. What changed nothing and may
/// be mended by the caller (`Refused`) is not remembered.
pub(super) fn once(
    work: Work,
    agent: &AgentId,
    key: &str,
    command: &'static str,
    act: impl FnOnce() -> Result<Fact, StoreError>,
) -> Result<Fact, StoreError> {
    let known: Option<(String, String)> = work
        .conn
        .prepare_cached("SELECT command, fact FROM idempotency WHERE agent = ?1 AND key = ?2")?
        .query_row(params![agent, key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match known {
        Some((first, fact)) if first == command => read(&fact),
        Some((first, _)) => Ok(Fact::Refused {
            rule: "key_reused",
            detail: format!("this key was used for {first}; make a new one for every intent"),
        }),
        None => {
            let fact = act()?;
            if let Some(text) = write(&fact) {
                work.conn
                    .prepare_cached(
                        "INSERT INTO idempotency (agent, key, command, fact, at)
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![agent, key, command, text, work.now])?;
            }
            Ok(fact)
        }
    }
}

pub(super) fn forget_old(work: Work) -> Result<(), StoreError> {
    let before = UtcMs(
        work.now
            .0
            .saturating_sub(i64::try_from(KEPT.as_millis()).unwrap_or(0)),
    );
    work.conn
        .prepare_cached("DELETE FROM idempotency WHERE at < ?1")?
        .execute([before])?;
    Ok(())
}

fn write(fact: &Fact) -> Option<String> {
    let value = match fact {
        Fact::Released { token, lead } => json!(["released", token.0, lead.0]),
        Fact::Suppressed { token, lead } => json!(["suppressed", token.0, lead.0]),
        Fact::Begun { attempt, lead, .. } | Fact::AlreadyBegun { attempt, lead } => {
            json!(["begun", attempt.to_string(), lead.0])
        }
        Fact::Denied { rules, earliest } => {
            let names: Vec<_> = rules.iter().map(|rule| rule.name()).collect();
            json!(["denied", names, earliest.map(|at| at.0)])
        }
        Fact::Disposed { token, lead, state } => {
            let columns = StateColumns::of(state);
            json!([
                "disposed",
                token.0,
                lead.0,
                state.name(),
                columns.not_before.map(|at| at.0),
                columns.wait_kind,
                columns.owner.map(|it| it.to_string()),
                columns.reason
            ])
        }
        Fact::Stale { owner } => json!(["stale", owner.as_ref().map(AgentId::as_str)]),
        _ => return None,
    };
    Some(value.to_string())
}

fn read(text: &str) -> Result<Fact, StoreError> {
    let unreadable = || StoreError::Row(format!("first answer {text}"));
    let value: Value = serde_json::from_str(text).map_err(|_| unreadable())?;
    read_value(&value).ok_or_else(unreadable)
}

fn read_value(value: &Value) -> Option<Fact> {
    let token = || value[1].as_u64().map(FenceToken);
    let lead = || value[2].as_u64().map(LeadId);
    let fact = match value[0].as_str()? {
        "released" => Fact::Released {
            token: token()?,
            lead: lead()?,
        },
        "suppressed" => Fact::Suppressed {
            token: token()?,
            lead: lead()?,
        },
        "begun" => {
            let attempt: AttemptId = value[1].as_str()?.parse().ok()?;
            Fact::AlreadyBegun {
                attempt,
                lead: lead()?,
            }
        }
        "denied" => {
            let names = value[1].as_array()?.iter();
            let rules = names
                .map(|name| Rule::from_name(name.as_str()?))
                .collect::<Option<_>>()?;
            Fact::Denied {
                rules,
                earliest: value[2].as_i64().map(UtcMs),
            }
        }
        "disposed" => Fact::Disposed {
            token: token()?,
            lead: lead()?,
            state: read_state(value)?,
        },
        "stale" => Fact::Stale {
            owner: value[1].as_str().map(AgentId::new),
        },
        _ => return None,
    };
    Some(fact)
}

fn read_state(value: &Value) -> Option<LeadState> {
    let columns = StateColumns {
        not_before: value[4].as_i64().map(UtcMs),
        wait_kind: value[5].as_str().map(str::to_owned),
        owner: value[6].as_str().map(AgentId::new),
        reason: value[7].as_str().map(str::to_owned),
    };
    columns.read(value[3].as_str()?).ok()
}
