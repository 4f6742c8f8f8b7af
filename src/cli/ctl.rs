//! `foredial ctl`: asks and steers a running switch through its admin API.

use super::place::Place;
use super::{Failure, control};
use crate::http::install_crypto_once;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

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
    Trunks,
    /// A one-time link that signs an agent in, good for ten minutes.
    SignIn {
        agent: String,
    },
    /// No new cards and no new dials; calls go on to their end.
    Drain,
}

impl Ctl {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        let folder = self.place.config()?.state.folder;
        let (url, key) = control::find(&folder, self.url.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Failure::plain(format!("no runtime: {error}")))?;
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
        let client = client(folder, url)?;
        let api = format!("{url}/api/v1/admin");
        let request = match self {
            Verb::Snapshot | Verb::Agents | Verb::Calls => client.get(format!("{api}/snapshot")),
            Verb::Trunks => client.get(format!("{api}/trunks")),
            Verb::SignIn { agent } => client
                .post(format!("{api}/sign-in-links"))
                .json(&json!({ "agent": agent })),
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
            let detail = body["detail"].as_str().unwrap_or("no more is said");
            return Err(Failure::plain(format!(
                "the switch at {url} answered {status}: {detail}"
            )));
        }
        Ok(match self {
            Verb::Agents => body["agents"].clone(),
            Verb::Calls => body["calls"].clone(),
            _ => body,
        })
    }

    fn for_people(&self, answer: &Value) -> String {
        match self {
            Verb::SignIn { .. } => format!("{}\n", answer["url"].as_str().unwrap_or("")),
            Verb::Drain => "draining: no new cards and no new dials\n".to_owned(),
            _ => lines(answer),
        }
    }
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
fn client(folder: &Path, url: &str) -> Result<reqwest::Client, Failure> {
    install_crypto_once();
    let failed = |error: reqwest::Error| Failure::plain(format!("no HTTP client: {error}"));
    let mut builder = reqwest::Client::builder().timeout(ANSWER_LIMIT).no_proxy();
    if url.starts_with("https://")
        && let Ok(pem) = std::fs::read(folder.join("certificate.pem"))
    {
        let certificate = reqwest::Certificate::from_pem(&pem).map_err(failed)?;
        builder = builder.tls_certs_only([certificate]);
    }
    builder.build().map_err(failed)
}

fn silent(url: &str) -> Failure {
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
