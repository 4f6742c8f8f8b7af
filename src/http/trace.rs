//! `GET /api/v1/trace`: SIP messages as NDJSON, one object a line, for holders of the admin key.
//! Numbers and names are in it: nothing of it is logged.
//!
//! `call` (a Call-ID, or the id of a call that is up), `number`, `address` choose; `follow=true`
//! goes on with what passes from now on. `{"lost": n}` says that so many messages came faster than
//! they could be sent.

use super::admin::Admin;
use super::problem;
use super::site::Site;
use super::trace_filter::Filter;
use crate::engine::handle::Problem;
use crate::engine::tap::{Heard, Listening};
use crate::net::hep::call_id;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const CONTENT_TYPE: &str = "application/x-ndjson";
/// Lines put into one piece of the answer.
const BATCH_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    call: Option<String>,
    number: Option<String>,
    address: Option<IpAddr>,
    #[serde(default)]
    follow: bool,
}

pub(super) async fn show(
    _: Admin,
    State(site): State<Arc<Site>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = asked.map_err(|error| {
        let detail = error.body_text();
        problem::new(
            StatusCode::BAD_REQUEST,
            "bad_query",
            "Not understood",
            detail,
        )
    })?;
    let call_ids = match &asked.call {
        Some(call) => Some(call_ids_of(&site, call).await),
        None => None,
    };
    let mut filter = Filter::new(call_ids, asked.number.as_deref(), asked.address);
    let mut listening = site.handle.trace().await.ok_or_else(Problem::overload)?;
    filter.learn(&listening.past);
    let feed = Feed {
        past: std::mem::take(&mut listening.past).into(),
        listening: asked.follow.then_some(listening),
        filter,
        told_lost: 0,
    };
    let lines = stream::unfold(feed, |mut feed| async move {
        let lines = feed.next_lines().await?;
        Some((Ok::<Bytes, Infallible>(Bytes::from(lines)), feed))
    });
    Ok((
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        Body::from_stream(lines),
    )
        .into_response())
}

/// The SIP Call-IDs of a call that is up; any other text is taken for a Call-ID.
async fn call_ids_of(site: &Site, call: &str) -> Vec<String> {
    let snapshot = site.handle.snapshot().await;
    let calls = snapshot["calls"].as_array().map(Vec::as_slice);
    let ours = calls
        .unwrap_or_default()
        .iter()
        .find(|known| known["id"] == call);
    let of_ours = ours.and_then(|known| known["sip_call_ids"].as_array());
    match of_ours {
        Some(ids) => ids
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        None => vec![call.to_owned()],
    }
}

struct Feed {
    past: VecDeque<Heard>,
    listening: Option<Listening>,
    filter: Filter,
    told_lost: u64,
}

impl Feed {
    /// The next lines; `None` at the end.
    async fn next_lines(&mut self) -> Option<String> {
        let mut lines = String::new();
        while let Some(heard) = self.past.pop_front() {
            self.write(&mut lines, &heard);
            if lines.len() > BATCH_MAX * 1_024 {
                return Some(lines);
            }
        }
        if !lines.is_empty() {
            return Some(lines);
        }
        while lines.is_empty() {
            let heard = self.listening.as_mut()?.live.recv().await?;
            self.write(&mut lines, &heard);
            for _ in 0..BATCH_MAX {
                let Some(heard) = self
                    .listening
                    .as_mut()
                    .and_then(|it| it.live.try_recv().ok())
                else {
                    break;
                };
                self.write(&mut lines, &heard);
            }
            let lost = self
                .listening
                .as_ref()
                .map_or(0, |it| it.lost.load(Ordering::Relaxed));
            if lost > self.told_lost {
                // Writing to a String cannot fail.
                let _ = writeln!(lines, "{}", json!({ "lost": lost - self.told_lost }));
                self.told_lost = lost;
            }
        }
        Some(lines)
    }

    fn write(&mut self, lines: &mut String, heard: &Heard) {
        if self.filter.wants(heard) {
            let _ = writeln!(lines, "{}", line(heard));
        }
    }
}

/// Text where the message is text, hex where it is not.
fn line(heard: &Heard) -> Value {
    let mut line = json!({
        "number": heard.number,
        "at_ms": heard.at.0,
        "way": heard.way.name(),
        "transport": heard.transport.name(),
        "local": heard.local.to_string(),
        "remote": heard.remote.to_string(),
        "call_id": call_id(&heard.bytes).map(String::from_utf8_lossy),
    });
    match std::str::from_utf8(&heard.bytes) {
        Ok(text) => line["message"] = text.into(),
        Err(_) => {
            let hex: String = heard
                .bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            line["message_hex"] = hex.into();
        }
    }
    line
}
