//! `foredial ctl`: asks and steers a running switch through its admin API. `--config`, `--dir`,
//! `--url` and `--json` may stand before or after the verb.

use super::place::Place;
use super::trace::Trace;
use super::{Failure, control};
use crate::http::install_crypto_once;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// To be connected; a followed trace has no end of its own.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Ctl {
    #[command(flatten)]
    place: Place,
    /// Where the switch answers, when it is not the address it left in its state folder.
    #[arg(long, global = true)]
    url: Option<String>,
    /// JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Everything: calls, legs, agents, trunks, queues, counters.
    Snapshot,
    Agents,
    Calls,
    /// One call that is up.
    Call {
        id: String,
    },
    /// End a call, as if its agent had hung up.
    Hangup {
        id: String,
    },
    Trunks,
    /// Which phones are registered, and where.
    Registrations,
    /// Every phone that may register, and where it is written.
    Phones,
    /// Add or remove a phone, without a restart.
    #[command(subcommand)]
    Phone(PhoneVerb),
    /// SIP messages as a ladder, or as a file for Wireshark.
    Trace(Trace),
    /// A one-time link that signs an agent in, good for ten minutes.
    SignIn {
        agent: String,
    },
    /// Change what is logged: a level, `TARGET=LEVEL,…`, or `usual`.
    Loglevel {
        filter: String,
    },
    /// Read the configuration file anew; calls go on. A file with a mistake changes nothing.
    Reload,
    /// No new cards and no new dials; calls go on to their end.
    Drain,
}

#[derive(Debug, Subcommand)]
enum PhoneVerb {
    /// Make a phone with a password that is shown once and kept nowhere.
    Add {
        user: String,
        /// Ask it for MD5 alone: for an old phone that gives up when it is offered SHA-256 as well.
        #[arg(long)]
        md5: bool,
    },
    /// It may register no more, and where it can be reached is forgotten.
    Remove { user: String },
}

impl Ctl {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        let folder = self.place.state_folder()?;
        let (url, key) = control::find(&folder, self.url.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Failure::plain(format!("no runtime: {error}")))?;
        if let Verb::Trace(trace) = &self.verb {
            let client = client(&folder, &url, None)?;
            return runtime.block_on(trace.show(&client, &url, &key, self.json));
        }
        let asked = runtime.block_on(self.verb.ask(&folder, &url, &key))?;
        if self.json {
            println!("{asked}");
        } else {
            print!("{}", self.verb.for_people(&asked));
        }
        Ok(())
    }
}

impl Verb {
    async fn ask(&self, folder: &Path, url: &str, key: &str) -> Result<Value, Failure> {
        let client = client(folder, url, Some(ANSWER_LIMIT))?;
        let api = format!("{url}/api/v1/admin");
        let request = match self {
            Verb::Snapshot | Verb::Agents | Verb::Calls => client.get(format!("{api}/snapshot")),
            Verb::Call { id } => client.get(format!("{api}/calls/{}", in_path(id))),
            Verb::Hangup { id } => client.delete(format!("{api}/calls/{}", in_path(id))),
            Verb::Trunks => client.get(format!("{api}/trunks")),
            Verb::Phones => client.get(format!("{api}/phones")),
            Verb::Phone(PhoneVerb::Add { user, md5 }) => client
                .post(format!("{api}/phones"))
                .json(&json!({ "user": user, "md5_only": md5 })),
            Verb::Phone(PhoneVerb::Remove { user }) => {
                client.delete(format!("{api}/phones/{}", user_in_path(user)?))
            }
            Verb::Registrations => client.get(format!("{api}/registrations")),
            // Answered in a stream of its own.
            Verb::Trace(_) => client.get(format!("{url}/api/v1/trace")),
            Verb::SignIn { agent } => client
                .post(format!("{api}/sign-in-links"))
                .json(&json!({ "agent": agent })),
            Verb::Loglevel { filter } => client
                .put(format!("{api}/log-level"))
                .json(&json!({ "filter": filter })),
            Verb::Reload => client.post(format!("{api}/reload")),
            Verb::Drain => client.post(format!("{api}/drain")),
        };
        let response = request
            .bearer_auth(key)
            .send()
            .await
            .map_err(|_| silent(url))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|_| silent(url))?;
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if !status.is_success() {
            return Err(refused(url, status, &body));
        }
        Ok(match self {
            Verb::Agents => body["agents"].clone(),
            Verb::Calls => every_call(&body),
            Verb::Hangup { .. } | Verb::Drain | Verb::Phone(PhoneVerb::Remove { .. }) => {
                json!({ "done": true })
            }
            _ => body,
        })
    }

    fn for_people(&self, answer: &Value) -> String {
        match self {
            Verb::SignIn { .. } => format!("{}\n", answer["url"].as_str().unwrap_or("")),
            Verb::Phone(PhoneVerb::Add { user, .. }) => {
                let password = answer["password"].as_str().unwrap_or("");
                format!(
                    "phone {user}, password {password}\nit is shown this once and kept nowhere\n"
                )
            }
            Verb::Phone(PhoneVerb::Remove { user }) => format!("phone {user} is removed\n"),
            Verb::Drain => "draining: no new cards and no new dials\n".to_owned(),
            Verb::Hangup { id } => format!("call {id} is ended\n"),
            Verb::Loglevel { .. } => {
                format!("logging {}\n", answer["filter"].as_str().unwrap_or(""))
            }
            Verb::Reload => reloaded(answer),
            Verb::Call { .. } => format!("{}\n", one_line(answer)),
            _ => lines(answer),
        }
    }
}

/// What changed, a line each.
fn reloaded(answer: &Value) -> String {
    let list = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    let (applied, after_restart) = (list("applied"), list("after_restart"));
    let mut text: String = applied
        .iter()
        .filter_map(|it| Some(format!("{}\n", it.as_str()?)))
        .collect();
    if !after_restart.is_empty() {
        text += "not in force before a restart:\n";
        for one in after_restart.iter().filter_map(Value::as_str) {
            text += &format!("  {one}\n");
        }
    }
    match text.is_empty() {
        true => "nothing has changed\n".to_owned(),
        false => text,
    }
}

/// Agents' calls, and those that go through without an agent.
fn every_call(snapshot: &Value) -> Value {
    let lists = [&snapshot["calls"], &snapshot["through"]["calls"]];
    let calls = lists.into_iter().filter_map(Value::as_array).flatten();
    calls.cloned().collect()
}

/// What the switch takes as a phone's name may stand in a path as it is.
fn user_in_path(user: &str) -> Result<&str, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    match !user.is_empty() && user.chars().all(plain) {
        true => Ok(user),
        false => Err(Failure::new(
            format!("`{user}` is not a phone's name"),
            "use letters, digits and - _ . + only",
        )),
    }
}

/// What may stand in a path as it is; ids are of nothing else.
fn in_path(id: &str) -> String {
    id.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

/// One line a row for lists, indented JSON for the rest.
fn lines(answer: &Value) -> String {
    match answer {
        Value::Array(rows) if rows.is_empty() => "none\n".to_owned(),
        Value::Array(rows) => rows
            .iter()
            .map(|row| format!("{}\n", one_line(row)))
            .collect(),
        other => format!("{other:#}\n"),
    }
}

fn one_line(row: &Value) -> String {
    let Value::Object(cells) = row else {
        return row.to_string();
    };
    let cell = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    };
    cells.iter().map(cell).collect::<Vec<_>>().join("  ")
}

/// Over HTTPS it trusts the certificate the switch made for itself.
fn client(folder: &Path, url: &str, limit: Option<Duration>) -> Result<reqwest::Client, Failure> {
    install_crypto_once();
    let failed = |error: reqwest::Error| Failure::plain(format!("no HTTP client: {error}"));
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .no_proxy();
    if let Some(limit) = limit {
        builder = builder.timeout(limit);
    }
    if url.starts_with("https://")
        && let Ok(pem) = std::fs::read(folder.join("certificate.pem"))
    {
        let certificate = reqwest::Certificate::from_pem(&pem).map_err(failed)?;
        builder = builder.tls_certs_only([certificate]);
    }
    builder.build().map_err(failed)
}

pub(super) fn refused(url: &str, status: reqwest::StatusCode, body: &Value) -> Failure {
    let detail = body["detail"].as_str().unwrap_or("no more is said");
    // A wrong configuration is shown as `foredial check` shows it.
    if body["rule"] == "bad_configuration" {
        return Failure::plain(format!("nothing was changed\n\n{detail}"));
    }
    Failure::plain(format!("the switch at {url} answered {status}: {detail}"))
}

pub(super) fn silent(url: &str) -> Failure {
    Failure::new(
        format!("no switch answers at {url}"),
        "start it, or name its address with --url",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_a_line_each_for_people() {
        let answer =
            json!([{ "id": "agent1", "state": "ready" }, { "id": "agent2", "since_ms": 5 }]);
        assert_eq!(
            lines(&answer),
            "id=agent1  state=ready\nid=agent2  since_ms=5\n"
        );
        assert_eq!(lines(&json!([])), "none\n");
    }
}
