//! `/metrics`, in Prometheus' text format 0.0.4, from the switch's snapshot.
//!
//! Of the snapshot, `counters` and `gauges` (name → number) are shown as they are, and of every
//! list (calls, legs, agents, trunks …) its length: no label ever names a person or a call.

use super::site::Site;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn show(State(site): State<Arc<Site>>) -> Response {
    let snapshot = site.handle.snapshot().await;
    let sockets = site.sockets.load(Ordering::Relaxed);
    (
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        write(&snapshot, sockets),
    )
        .into_response()
}

fn write(snapshot: &Value, sockets: usize) -> String {
    let mut out = String::new();
    one(
        &mut out,
        "up",
        "gauge",
        if snapshot.is_null() { "0" } else { "1" },
    );
    one(&mut out, "web_sockets", "gauge", &sockets.to_string());
    let empty = Map::new();
    for (key, value) in snapshot.as_object().unwrap_or(&empty) {
        match (key.as_str(), value) {
            ("counters", Value::Object(numbers)) => all(&mut out, numbers, "_total", "counter"),
            ("gauges", Value::Object(numbers)) => all(&mut out, numbers, "", "gauge"),
            (_, Value::Array(list)) => one(&mut out, key, "gauge", &list.len().to_string()),
            (_, Value::Number(number)) => one(&mut out, key, "gauge", &number.to_string()),
            (_, Value::Bool(on)) => one(&mut out, key, "gauge", if *on { "1" } else { "0" }),
            (_, Value::Object(numbers)) => {
                for (name, value) in numbers {
                    if let Value::Number(number) = value {
                        one(
                            &mut out,
                            &format!("{key}_{name}"),
                            "gauge",
                            &number.to_string(),
                        );
                    }
                }
            }
            _ => {}
        }
    }
    out
}

fn all(out: &mut String, numbers: &Map<String, Value>, suffix: &str, kind: &str) {
    for (name, value) in numbers {
        match value {
            Value::Number(number) => {
                one(out, &format!("{name}{suffix}"), kind, &number.to_string());
            }
            Value::Object(parts) => labelled(out, name, suffix, kind, parts),
            _ => {}
        }
    }
}

/// A counter in parts, such as calls by result: one series a part, under one label.
fn labelled(out: &mut String, name: &str, suffix: &str, kind: &str, parts: &Map<String, Value>) {
    let label = name.strip_suffix('s').unwrap_or(name);
    let _ = writeln!(out, "# TYPE foredial_{name}{suffix} {kind}");
    for (part, value) in parts {
        if let Value::Number(number) = value {
            let _ = writeln!(
                out,
                "foredial_{name}{suffix}{{{label}=\"{part}\"}} {number}"
            );
        }
    }
}

fn one(out: &mut String, name: &str, kind: &str, value: &str) {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "# TYPE foredial_{name} {kind}\nforedial_{name} {value}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_lengths_are_shown_and_nobody_is_named() {
        let snapshot = json!({
            "counters": { "sip.dropped": 3, "who": "not a number", "results": { "busy": 2 } },
            "legs": 4,
            "sip": { "sessions": 2 },
            "gauges": { "ports_free": 12 },
            "calls": [{ "number": "+8613800138000" }],
            "agents": [],
        });
        let text = write(&snapshot, 2);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "foredial_up 1",
                "foredial_web_sockets 2",
                "foredial_agents 0",
                "foredial_calls 1",
                "foredial_results_total{result=\"busy\"} 2",
                "foredial_sip_dropped_total 3",
                "foredial_ports_free 12",
                "foredial_legs 4",
                "foredial_sip_sessions 2"
            ]
        );
        assert!(text.contains("# TYPE foredial_sip_dropped_total counter\n"));
        assert_eq!(write(&Value::Null, 0).lines().nth(1), Some("foredial_up 0"));
    }
}
