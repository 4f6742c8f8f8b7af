//! `/metrics`, in Prometheus' text format 0.0.4, from the switch's snapshot and its trunks'.
//!
//! Labels are trunks, methods, status classes, results and states: things of which a configuration
//! or an RFC has few. None ever names a person, a number, an address or a call.

use super::exposition::Page;
use super::site::Site;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn show(State(site): State<Arc<Site>>) -> Response {
    let snapshot = site.handle.snapshot().await;
    let trunks = site.handle.trunk_snapshot().await;
    let sockets = site.sockets.load(Ordering::Relaxed);
    (
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        write(&snapshot, &trunks, sockets) + &certificates(&site),
    )
        .into_response()
}

fn certificates(site: &Site) -> String {
    let held = site.steer.get().map(|steer| steer.certificates());
    let samples: Vec<_> = held
        .unwrap_or_default()
        .into_iter()
        .map(|(of, days)| (vec![("certificate", of)], days))
        .collect();
    let mut page = Page::default();
    let help = "Days until the certificate of a TLS listener expires.";
    page.family("certificate_expires_days", "gauge", help, &samples);
    page.text()
}

fn write(snapshot: &Value, trunks: &Value, sockets: usize) -> String {
    let mut page = Page::default();
    let up = if snapshot.is_null() { 0.0 } else { 1.0 };
    page.gauge("up", "Whether the switch answers.", up);
    page.gauge(
        "web_sockets",
        "WebSockets that pages hold open.",
        sockets as f64,
    );
    let empty = Map::new();
    for (key, value) in snapshot.as_object().unwrap_or(&empty) {
        match key.as_str() {
            "counters" => counters(&mut page, value),
            "agents" => agents(&mut page, value),
            "sip_refusals" => refusals(&mut page, value),
            "tap" => tap(&mut page, value),
            "queues" => queues(&mut page, value),
            _ => plain(&mut page, key, value),
        }
    }
    of_trunks(&mut page, trunks);
    page.text()
}

/// A number, a flag, or how long a list is.
fn plain(page: &mut Page, key: &str, value: &Value) {
    match value {
        Value::Array(list) => page.gauge(key, help(key), list.len() as f64),
        Value::Object(numbers) => {
            for (name, value) in numbers {
                if let Some(number) = number(value) {
                    let name = format!("{key}_{name}");
                    page.gauge(&name, help(&name), number);
                }
            }
        }
        value => {
            if let Some(number) = number(value) {
                page.gauge(key, help(key), number);
            }
        }
    }
}

/// Totals; those in parts, such as calls by result, under one label.
fn counters(page: &mut Page, counters: &Value) {
    for (name, value) in counters.as_object().into_iter().flatten() {
        // Prometheus counts in seconds.
        let (shown, unit) = match name.strip_suffix("_ms") {
            Some(stem) => (format!("{stem}_seconds"), 1_000.0),
            None => (name.clone(), 1.0),
        };
        let label = name.strip_suffix('s').unwrap_or(name);
        let samples: Vec<_> = match value {
            Value::Object(parts) => parts
                .iter()
                .filter_map(|(part, value)| Some((vec![(label, part.as_str())], number(value)?)))
                .collect(),
            value => number(value)
                .map(|number| (Vec::new(), number / unit))
                .into_iter()
                .collect(),
        };
        page.family(&format!("{shown}_total"), "counter", help(name), &samples);
    }
}

fn agents(page: &mut Page, agents: &Value) {
    let mut states: BTreeMap<&str, u32> = BTreeMap::new();
    for agent in agents.as_array().into_iter().flatten() {
        *states
            .entry(agent["state"].as_str().unwrap_or("unknown"))
            .or_default() += 1;
    }
    let samples: Vec<_> = states
        .iter()
        .map(|(state, count)| (vec![("state", *state)], f64::from(*count)))
        .collect();
    page.family("agents", "gauge", "Configured agents by state.", &samples);
}

fn refusals(page: &mut Page, refusals: &Value) {
    let samples: Vec<_> = refusals
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(reason, value)| Some((vec![("reason", reason.as_str())], number(value)?)))
        .collect();
    page.family(
        "sip_refused_total",
        "counter",
        "SIP messages that came to nothing, and security events, by reason.",
        &samples,
    );
}

fn tap(page: &mut Page, tap: &Value) {
    let ways = ["in", "out"];
    let mut parts: [Vec<_>; 2] = [Vec::new(), Vec::new()];
    for way in ways {
        let sides = [("requests", "method"), ("responses", "class")];
        for ((side, label), samples) in sides.into_iter().zip(&mut parts) {
            let counts = tap["messages"][way][side].as_object();
            for (name, value) in counts.into_iter().flatten() {
                if let Some(number) = number(value) {
                    samples.push((vec![("direction", way), (label, name.as_str())], number));
                }
            }
        }
    }
    let [requests, responses] = &parts;
    let help = "SIP requests on the wire, retransmissions included, by method.";
    page.family("sip_requests_total", "counter", help, requests);
    let help = "SIP responses on the wire, retransmissions included, by status class.";
    page.family("sip_responses_total", "counter", help, responses);
    let unreadable = number(&tap["messages"]["in"]["unreadable"]);
    page.counter(
        "sip_unreadable_total",
        "Arrivals without a SIP request or status line.",
        unreadable,
    );
    page.counter(
        "trace_lost_total",
        "Messages that came faster than a trace could be read.",
        number(&tap["lost"]),
    );
    page.counter(
        "hep_sent_total",
        "Messages mirrored to the HEP server.",
        number(&tap["hep_sent"]),
    );
    page.counter(
        "hep_failed_total",
        "Messages the HEP server could not be sent.",
        number(&tap["hep_failed"]),
    );
    if let Some(bytes) = number(&tap["ring_bytes"]) {
        let help = "Memory that kept SIP messages take.";
        page.gauge("trace_ring_bytes", help, bytes);
    }
}

fn queues(page: &mut Page, queues: &Value) {
    let mut waiting = Vec::new();
    for (name, value) in queues.as_object().into_iter().flatten() {
        let Some(number) = number(value) else {
            continue;
        };
        match name.as_str() {
            "datagrams_dropped" => page.counter(
                "sip_datagrams_dropped_total",
                "Datagrams that found the loop's queue full.",
                Some(number),
            ),
            "sip_sockets" => page.gauge("sip_sockets", "Open SIP connections.", number),
            name => waiting.push((vec![("queue", name)], number)),
        }
    }
    page.family(
        "queue_depth",
        "gauge",
        "What waits for the control loop, by queue.",
        &waiting,
    );
}

/// Every number and flag a trunk tells of itself, one series a trunk; `counters` of it as totals.
fn of_trunks(page: &mut Page, trunks: &Value) {
    let mut families: BTreeMap<(String, &str), Vec<(String, f64)>> = BTreeMap::new();
    for trunk in trunks.as_array().into_iter().flatten() {
        let Some(id) = trunk["id"].as_str() else {
            continue;
        };
        let mut put = |name: String, kind, value| {
            let family = families.entry((name, kind)).or_default();
            family.push((id.to_owned(), value));
        };
        put("trunk_up".to_owned(), "gauge", is_up(trunk));
        for (name, value) in trunk.as_object().into_iter().flatten() {
            match (name.as_str(), value) {
                ("up", _) => {}
                ("counters", Value::Object(counts)) => {
                    for (name, value) in counts {
                        if let Some(number) = number(value) {
                            put(format!("trunk_{name}_total"), "counter", number);
                        }
                    }
                }
                (name, value) => {
                    if let Some(number) = number(value) {
                        put(format!("trunk_{name}"), "gauge", number);
                    }
                }
            }
        }
    }
    for ((name, kind), values) in &families {
        let samples: Vec<_> = values
            .iter()
            .map(|(trunk, value)| (vec![("trunk", trunk.as_str())], *value))
            .collect();
        page.family(name, kind, help(name), &samples);
    }
}

/// As the trunk says; where it says nothing, whether its last dial came through.
fn is_up(trunk: &Value) -> f64 {
    let failed = trunk["failures_in_a_row"].as_u64().unwrap_or(0) > 0;
    let up = match (&trunk["up"], &trunk["state"]) {
        (Value::Bool(up), _) => *up,
        (_, Value::String(state)) => state == "up",
        _ => !failed,
    };
    if up { 1.0 } else { 0.0 }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(on) => Some(if *on { 1.0 } else { 0.0 }),
        value => value.as_f64(),
    }
}

/// What a figure of the snapshot means.
fn help(name: &str) -> &'static str {
    match name {
        "calls" => "Calls on desks, ended ones until their card is done.",
        "legs" => "Media legs.",
        "inbound_waiting" => "Callers who wait for an agent.",
        "inbound_ringing" => "Callers for whom an agent's seat rings.",
        "inbound_rung" => "Rings at agents' seats since the start.",
        "inbound_answered" => "Callers whom an agent answered, since the start.",
        "inbound_missed" => "Rings an agent let ring out, since the start.",
        "inbound_declined" => "Rings an agent declined, since the start.",
        "inbound_abandoned" => "Callers who hung up before an agent answered, since the start.",
        "inbound_unserved" => "Callers for whom no agent was free in time, since the start.",
        "registrations" => "Contacts phones are registered with.",
        "rtp_ports_in_use" => "RTP ports lent to calls.",
        "writes_pending" => "Writes the store has not yet answered.",
        "draining" => "Whether no new work is taken.",
        "sip_sessions" => "SIP sessions of any state.",
        "sip_dialogs" => "SIP dialogs.",
        "sip_transactions" => "SIP transactions.",
        "dials" => "Dials that left.",
        "denied" => "Dials the gate refused.",
        "answered" => "Calls that were answered.",
        "ended" => "Calls that have ended.",
        "talk_ms" => "Time spent talking.",
        "recordings" => "Recordings that are complete.",
        "recordings_failed" => "Recordings that failed.",
        "seats_taken" => "Seats that came up.",
        "seats_lost" => "Seats whose link broke.",
        "writes_failed" => "Writes the store refused.",
        "orphans" => "Far legs of an earlier process that were ended.",
        "srtp_legs" => "Legs toward trunks and phones whose voice was encrypted (SDES).",
        "srtp_refused" => {
            "Calls and changes refused because one side wanted SRTP and the other not."
        }
        "results" => "Ended calls by result.",
        "transfers" => "Third parties in agents' calls, by how their part ended.",
        "transfer_targets" => "Third parties in agents' calls, by what they are.",
        "trunk_up" => "Whether the trunk takes calls.",
        "trunk_calls" => "Calls that are up on the trunk.",
        "trunk_calls_max" => "Calls the trunk may carry at once.",
        "trunk_failures_in_a_row" => "Dials in a row that failed on the trunk.",
        _ => "As `foredial ctl snapshot` or `ctl trunks` shows it.",
    }
}

#[cfg(test)]
mod tests {
    use super::super::exposition::mistakes;
    use super::*;
    use serde_json::json;

    fn snapshot() -> Value {
        json!({
            "counters": { "dials": 3, "talk_ms": 1500, "who": "not a number", "results": { "busy": 2 } },
            "legs": 4,
            "sip": { "sessions": 2 },
            "draining": false,
            "calls": [{ "number": "+8613800138000" }],
            "agents": [{ "id": "li.wei", "state": "ready" }, { "id": "ana", "state": "ready" }],
            "sip_refusals": { "garbage": 7 },
            "queues": { "requests": 1, "datagrams_dropped": 2, "sip_sockets": 3 },
            "tap": { "messages": {
                "in": { "requests": { "INVITE": 5 }, "responses": { "2xx": 6 }, "unreadable": 1 },
                "out": { "requests": { "INVITE": 1 }, "responses": { "4xx": 1 }, "unreadable": 0 } },
                "lost": 0, "ring_bytes": 100, "hep_sent": null, "hep_failed": null },
        })
    }

    fn trunks() -> Value {
        json!([
            { "id": "far \"one\"", "peer": "192.0.2.1:5060", "calls": 2, "calls_max": 30, "failures_in_a_row": 0,
              "counters": { "invites": 9 } },
            { "id": "two", "peer": "192.0.2.2:5060", "calls": 0, "calls_max": 30, "failures_in_a_row": 4,
              "last_failure": "503 from +8613800138000" },
            { "id": "three", "up": false, "failures_in_a_row": 0 },
        ])
    }

    #[test]
    fn every_figure_is_a_sample_and_nobody_is_named() {
        let text = write(&snapshot(), &trunks(), 2);
        for sample in [
            "foredial_up 1",
            "foredial_web_sockets 2",
            "foredial_agents{state=\"ready\"} 2",
            "foredial_calls 1",
            "foredial_dials_total 3",
            "foredial_talk_seconds_total 1.5",
            "foredial_results_total{result=\"busy\"} 2",
            "foredial_draining 0",
            "foredial_legs 4",
            "foredial_sip_sessions 2",
            "foredial_sip_refused_total{reason=\"garbage\"} 7",
            "foredial_sip_requests_total{direction=\"in\",method=\"INVITE\"} 5",
            "foredial_sip_responses_total{direction=\"out\",class=\"4xx\"} 1",
            "foredial_queue_depth{queue=\"requests\"} 1",
            "foredial_sip_datagrams_dropped_total 2",
            "foredial_trunk_up{trunk=\"far \\\"one\\\"\"} 1",
            "foredial_trunk_up{trunk=\"two\"} 0",
            "foredial_trunk_up{trunk=\"three\"} 0",
            "foredial_trunk_calls{trunk=\"far \\\"one\\\"\"} 2",
            "foredial_trunk_invites_total{trunk=\"far \\\"one\\\"\"} 9",
            "foredial_trunk_failures_in_a_row{trunk=\"two\"} 4",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
        }
        for private in ["13800138000", "li.wei", "192.0.2.1"] {
            assert!(!text.contains(private), "{private}");
        }
        assert!(!text.contains("hep_sent"), "nothing is mirrored");
        let gone = write(&Value::Null, &Value::Null, 0);
        assert!(gone.contains("foredial_up 0\n"));
    }

    #[test]
    fn the_page_is_good_exposition_format() {
        assert_eq!(
            mistakes(&write(&snapshot(), &trunks(), 2)),
            Vec::<String>::new()
        );
        assert_eq!(
            mistakes(&write(&Value::Null, &Value::Null, 0)),
            Vec::<String>::new()
        );
    }
}
