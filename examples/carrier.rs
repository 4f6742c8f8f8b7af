//! The demo's carrier and CRM as a process of their own: the far end of `tests/browser/daemon.spec.js`.
//!
//! Prints one JSON line with its addresses, then answers each JSON line on stdin with one on stdout:
//! `{"id":1,"ask":{"ask":"calls"}}` → `{"id":1,"now_ms":…,"answer":…}`. Ends with stdin.
//! Amplitudes are of full scale, times in milliseconds since the carrier started.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use foredial::demo::carrier::{
    Behaviour, CallReport, CallState, Carrier, CarrierConfig, Entry, Heard, Voice, What,
};
use foredial::demo::crm::Crm;
use serde::Deserialize;
use serde_json::{Value, json};

/// What every called party says, and what is listened for besides: the agent's microphone.
#[derive(Deserialize)]
struct Setup {
    voice_hz: f32,
    listen_hz: Vec<f32>,
    answer_after_ms: u64,
    #[serde(default)]
    crm_delay_ms: u64,
}

#[derive(Deserialize)]
struct Question {
    id: u64,
    ask: Ask,
}

#[derive(Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Ask {
    /// Every call to a number: its state and what was heard.
    Calls {
        number: String,
    },
    /// Every message of calls to a number.
    Journal {
        number: String,
    },
    HangUp {
        call_id: String,
    },
    Answer {
        number: String,
        after_ms: u64,
    },
    RingOut {
        number: String,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut lines = std::io::stdin().lock().lines();
    let setup: Setup = serde_json::from_str(&lines.next().ok_or("a line of setup is needed")??)?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let carrier = Carrier::start(CarrierConfig {
        bind: any,
        voice: Voice::Tone(setup.voice_hz),
        listen_hz: setup.listen_hz,
        answer_after_ms: setup.answer_after_ms,
        ..CarrierConfig::default()
    })
    .await?;
    let started = Instant::now();
    let crm = Crm::start(any).await?;
    crm.set_delay_ms(setup.crm_delay_ms);
    say(&json!({ "sip": carrier.local_addr().to_string(), "crm": crm.url_template() }))?;

    // Blocking on stdin leaves the carrier's own tasks to the other threads.
    for line in lines {
        let Question { id, ask } = serde_json::from_str(&line?)?;
        let answer = ask.put_to(&carrier);
        let now_ms = started.elapsed().as_millis() as u64;
        say(&json!({ "id": id, "now_ms": now_ms, "answer": answer }))?;
    }
    carrier.stop().await;
    Ok(())
}

fn say(line: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

impl Ask {
    fn put_to(self, carrier: &Carrier) -> Value {
        match self {
            Ask::Calls { number } => carrier
                .calls()
                .iter()
                .filter(|call| call.number == number)
                .map(call_json)
                .collect(),
            Ask::Journal { number } => carrier
                .journal()
                .iter()
                .filter(|entry| entry.number == number)
                .map(entry_json)
                .collect(),
            Ask::HangUp { call_id } => {
                carrier.hang_up(&call_id);
                Value::Null
            }
            Ask::Answer { number, after_ms } => {
                carrier.set_behaviour(&number, Behaviour::Answer { after_ms });
                Value::Null
            }
            Ask::RingOut { number } => {
                carrier.set_behaviour(&number, Behaviour::RingOut);
                Value::Null
            }
        }
    }
}

fn call_json(call: &CallReport) -> Value {
    let (state, by) = match call.state {
        CallState::Ringing => ("ringing", None),
        CallState::Answered { .. } => ("answered", None),
        CallState::Ended { by } => ("ended", Some(format!("{by:?}"))),
    };
    json!({
        "call_id": call.call_id,
        "state": state,
        "ended_by": by,
        "invited_ms": call.invited_ms,
        "answered_ms": call.answered_ms,
        "ended_ms": call.ended_ms,
        "heard": heard_json(&call.heard),
    })
}

fn heard_json(heard: &Heard) -> Value {
    let levels: Vec<Value> = heard
        .levels
        .iter()
        .map(|level| json!({ "at_ms": level.at_ms, "rms": level.rms, "tones": level.tones }))
        .collect();
    json!({
        "packets": heard.packets,
        "lost": heard.lost,
        "gaps": heard.gaps,
        "longest_gap_ms": heard.longest_gap_ms,
        "foreign": heard.foreign,
        "sources": heard.sources,
        "levels": levels,
    })
}

fn entry_json(entry: &Entry) -> Value {
    let (what, repeated) = match &entry.what {
        What::Received {
            method, repeated, ..
        } => (format!("< {method}"), *repeated),
        What::Response { status, method } => (format!("< {status} {method}"), false),
        What::Sent {
            status,
            method,
            repeated,
        } => (format!("> {status} {method}"), *repeated),
        What::Withheld { status, method } => (format!("x {status} {method}"), false),
        What::Requested { method, repeated } => (format!("> {method}"), *repeated),
        What::Ended(by) => (format!("ended {by:?}"), false),
    };
    json!({ "at_ms": entry.at_ms, "call_id": entry.call_id, "what": what, "repeated": repeated })
}
