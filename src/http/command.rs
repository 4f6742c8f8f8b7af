//! The agent's commands as JSON, for the desk socket and `POST /api/v1/agent/commands` alike.

use super::session::SignedIn;
use super::site::Site;
use super::{Listener, origin, problem};
use crate::engine::handle::{AgentCommand, Problem};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

const REASON_CHARS_MAX: usize = 64;
const TO_CHARS_MAX: usize = 80;
const NOTES_CHARS_MAX: usize = 4_000;
const VOLUME_DB: std::ops::RangeInclusive<i32> = -40..=12;

#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum CommandBody {
    Ready {},
    /// Asks for a card now, which is what being ready does.
    Next {},
    NotReady {
        #[serde(default)]
        reason: String,
    },
    Dial {
        token: u64,
        key: ClickKey,
        phone: Option<u64>,
    },
    Skip {
        token: u64,
        key: ClickKey,
        reason: String,
    },
    Cancel {
        token: u64,
        key: ClickKey,
    },
    Dnc {
        token: u64,
        key: ClickKey,
    },
    Extend {
        token: u64,
    },
    Answer {},
    Decline {},
    HangUp {},
    Mute {
        on: bool,
    },
    Hold {
        on: bool,
    },
    /// `to`: `phone:<user>` or a number as dialled; for `transfer` also `agent:<id>`.
    Consult {
        to: String,
    },
    Transfer {
        to: String,
    },
    /// A call that waits: its agent's seat is lost, or it rings at another agent's.
    PickUp {
        call: ClickKey,
    },
    Swap {},
    Complete {},
    Drop {},
    Volume {
        db: i32,
    },
    Dispose {
        token: u64,
        key: ClickKey,
        disposition: String,
        #[serde(default)]
        notes: String,
        callback_at_ms: Option<i64>,
    },
    LogOut {},
}

/// The page's UUID for one click, or a call's.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ClickKey(Uuid);

impl TryFrom<String> for ClickKey {
    type Error = uuid::Error;

    fn try_from(text: String) -> Result<ClickKey, uuid::Error> {
        Uuid::parse_str(&text).map(ClickKey)
    }
}

impl CommandBody {
    /// The command, if its texts and numbers are within bounds.
    pub(super) fn checked(self) -> Result<AgentCommand, Problem> {
        Ok(match self {
            CommandBody::Ready {} | CommandBody::Next {} => AgentCommand::Ready,
            CommandBody::NotReady { reason } => AgentCommand::NotReady {
                reason: short("reason", reason)?,
            },
            CommandBody::Dial { token, key, phone } => AgentCommand::Dial {
                token,
                key: key.0,
                phone,
            },
            CommandBody::Skip { token, key, reason } => AgentCommand::Skip {
                token,
                key: key.0,
                reason: short("reason", reason)?,
            },
            CommandBody::Cancel { token, key } => AgentCommand::Cancel { token, key: key.0 },
            CommandBody::Dnc { token, key } => AgentCommand::Dnc { token, key: key.0 },
            CommandBody::Extend { token } => AgentCommand::Extend { token },
            CommandBody::Answer {} => AgentCommand::Answer,
            CommandBody::Decline {} => AgentCommand::Decline,
            CommandBody::HangUp {} => AgentCommand::HangUp,
            CommandBody::Mute { on } => AgentCommand::Mute { on },
            CommandBody::Hold { on } => AgentCommand::Hold { on },
            CommandBody::Consult { to } => AgentCommand::Consult {
                to: bounded("to", to, TO_CHARS_MAX)?,
            },
            CommandBody::Transfer { to } => AgentCommand::Transfer {
                to: bounded("to", to, TO_CHARS_MAX)?,
            },
            CommandBody::PickUp { call } => AgentCommand::PickUp { call: call.0 },
            CommandBody::Swap {} => AgentCommand::Swap,
            CommandBody::Complete {} => AgentCommand::Complete,
            CommandBody::Drop {} => AgentCommand::Drop,
            CommandBody::Volume { db } if VOLUME_DB.contains(&db) => AgentCommand::Volume { db },
            CommandBody::Volume { .. } => {
                return Err(out_of_bounds("`db` is from -40 to 12.".into()));
            }
            CommandBody::Dispose {
                token,
                key,
                disposition,
                notes,
                callback_at_ms,
            } => AgentCommand::Dispose {
                token,
                key: key.0,
                disposition: short("disposition", disposition)?,
                notes: bounded("notes", notes, NOTES_CHARS_MAX)?,
                callback_at_ms,
            },
            CommandBody::LogOut {} => AgentCommand::LogOut,
        })
    }
}

pub(super) async fn post(
    State(site): State<Arc<Site>>,
    Extension(listener): Extension<Listener>,
    signed_in: SignedIn,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    origin::of_change(&site, &headers, listener)?;
    let body: CommandBody =
        serde_json::from_slice(&body).map_err(|error| problem::bad_body(&error))?;
    let update = site
        .handle
        .command(signed_in.agent, body.checked()?)
        .await?;
    Ok(Json(json!({ "desk": update.desk })))
}

fn short(name: &str, text: String) -> Result<String, Problem> {
    bounded(name, text, REASON_CHARS_MAX)
}

fn bounded(name: &str, text: String, chars_max: usize) -> Result<String, Problem> {
    if text.chars().count() <= chars_max {
        return Ok(text);
    }
    Err(out_of_bounds(format!(
        "`{name}` has more than {chars_max} characters."
    )))
}

fn out_of_bounds(detail: String) -> Problem {
    problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "out_of_bounds",
        "Out of bounds",
        detail,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AgentCommand, String> {
        let body: CommandBody = serde_json::from_str(text).map_err(|error| error.to_string())?;
        body.checked().map_err(|problem| problem.detail)
    }

    const KEY: &str = "018f4e2a-0000-7000-8000-000000000001";

    #[test]
    fn every_command_of_the_page_is_understood() {
        let key = Uuid::parse_str(KEY).unwrap();
        let cases = [
            (r#"{"cmd":"ready"}"#.to_owned(), AgentCommand::Ready),
            (r#"{"cmd":"next"}"#.to_owned(), AgentCommand::Ready),
            (
                r#"{"cmd":"not_ready","reason":"break"}"#.into(),
                AgentCommand::NotReady {
                    reason: "break".into(),
                },
            ),
            (
                format!(r#"{{"cmd":"dial","token":7,"key":"{KEY}"}}"#),
                AgentCommand::Dial {
                    token: 7,
                    key,
                    phone: None,
                },
            ),
            (
                format!(r#"{{"cmd":"dial","token":7,"key":"{KEY}","phone":3}}"#),
                AgentCommand::Dial {
                    token: 7,
                    key,
                    phone: Some(3),
                },
            ),
            (
                format!(r#"{{"cmd":"skip","token":7,"key":"{KEY}","reason":"bad_time"}}"#),
                AgentCommand::Skip {
                    token: 7,
                    key,
                    reason: "bad_time".into(),
                },
            ),
            (
                format!(r#"{{"cmd":"cancel","token":7,"key":"{KEY}"}}"#),
                AgentCommand::Cancel { token: 7, key },
            ),
            (
                format!(r#"{{"cmd":"dnc","token":7,"key":"{KEY}"}}"#),
                AgentCommand::Dnc { token: 7, key },
            ),
            (
                r#"{"cmd":"extend","token":7}"#.into(),
                AgentCommand::Extend { token: 7 },
            ),
            (r#"{"cmd":"answer"}"#.into(), AgentCommand::Answer),
            (r#"{"cmd":"decline"}"#.into(), AgentCommand::Decline),
            (r#"{"cmd":"hang_up"}"#.into(), AgentCommand::HangUp),
            (
                r#"{"cmd":"mute","on":true}"#.into(),
                AgentCommand::Mute { on: true },
            ),
            (
                r#"{"cmd":"hold","on":false}"#.into(),
                AgentCommand::Hold { on: false },
            ),
            (
                r#"{"cmd":"consult","to":"phone:front"}"#.into(),
                AgentCommand::Consult {
                    to: "phone:front".into(),
                },
            ),
            (
                r#"{"cmd":"transfer","to":"+862155550100"}"#.into(),
                AgentCommand::Transfer {
                    to: "+862155550100".into(),
                },
            ),
            (
                r#"{"cmd":"transfer","to":"agent:ana"}"#.into(),
                AgentCommand::Transfer {
                    to: "agent:ana".into(),
                },
            ),
            (
                format!(r#"{{"cmd":"pick_up","call":"{KEY}"}}"#),
                AgentCommand::PickUp { call: key },
            ),
            (r#"{"cmd":"swap"}"#.into(), AgentCommand::Swap),
            (r#"{"cmd":"complete"}"#.into(), AgentCommand::Complete),
            (r#"{"cmd":"drop"}"#.into(), AgentCommand::Drop),
            (
                r#"{"cmd":"volume","db":-40}"#.into(),
                AgentCommand::Volume { db: -40 },
            ),
            (
                format!(
                    r#"{{"cmd":"dispose","token":7,"key":"{KEY}","disposition":"interested","notes":"好","callback_at_ms":5}}"#
                ),
                AgentCommand::Dispose {
                    token: 7,
                    key,
                    disposition: "interested".into(),
                    notes: "好".into(),
                    callback_at_ms: Some(5),
                },
            ),
            (r#"{"cmd":"log_out"}"#.into(), AgentCommand::LogOut),
        ];
        for (text, command) in cases {
            assert_eq!(read(&text), Ok(command), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_or_out_of_bounds_is_refused() {
        let long = "x".repeat(4_001);
        for text in [
            r#"{"cmd":"explode"}"#.to_owned(),
            r#"{"cmd":"ready","extra":1}"#.into(),
            r#"{"cmd":"dial","token":7,"key":"not a uuid"}"#.into(),
            r#"{"cmd":"dial","token":-1,"key":"018f4e2a-0000-7000-8000-000000000001"}"#.into(),
            r#"{"cmd":"volume","db":13}"#.into(),
            format!(
                r#"{{"cmd":"dispose","token":7,"key":"{KEY}","disposition":"a","notes":"{long}"}}"#
            ),
        ] {
            assert!(read(&text).is_err(), "{text}");
        }
    }
}
