//! `/healthz`: the process answers. `/readyz`: the switch answers and takes work.

use super::site::Site;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A loop that takes longer to answer is not ready.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(site): State<Arc<Site>>) -> (StatusCode, &'static str) {
    match tokio::time::timeout(ANSWER_LIMIT, site.handle.snapshot()).await {
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the switch does not answer\n",
        ),
        Ok(Value::Null) => (StatusCode::SERVICE_UNAVAILABLE, "the switch has stopped\n"),
        Ok(snapshot) if snapshot["draining"] == Value::Bool(true) => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        Ok(_) => (StatusCode::OK, "ready\n"),
    }
}
