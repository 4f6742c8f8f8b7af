//! What the admin API steers beside the engine: the configuration file and the log. The command
//! line gives it in, since both are its own.

use super::admin::Admin;
use super::problem;
use super::site::Site;
use crate::engine::handle::Problem;
use crate::id::CallId;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// `~ trunk carrier-a: max_calls 30 → 10`, one each.
    pub applied: Vec<String>,
    /// The same, of what needs a restart.
    pub after_restart: Vec<String>,
}

pub type Reloading<'a> = Pin<Box<dyn Future<Output = Result<Reloaded, String>> + Send + 'a>>;

pub trait Steer: Send + Sync {
    /// Reads the file anew; `Err`: why nothing was changed, as `foredial check` tells it.
    fn reload(&self) -> Reloading<'_>;

    /// Whose certificates there are, and the days until each expires.
    fn certificates(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// Changes what is logged; the answer is the whole filter.
    fn log_level(&self, wanted: &str) -> Result<String, String>;
}

pub(super) async fn reload(
    _: Admin,
    State(site): State<Arc<Site>>,
) -> Result<Json<Value>, Problem> {
    let steer = site.steer.get().ok_or_else(no_file)?;
    let reloaded = steer.reload().await.map_err(|errors| {
        problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad_configuration",
            "Nothing was changed",
            errors,
        )
    })?;
    Ok(Json(json!({
        "applied": reloaded.applied,
        "after_restart": reloaded.after_restart,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogBody {
    filter: String,
}

pub(super) async fn log_level(
    _: Admin,
    State(site): State<Arc<Site>>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let body: LogBody = serde_json::from_slice(&body).map_err(|error| problem::bad_body(&error))?;
    let steer = site.steer.get().ok_or_else(no_file)?;
    let filter = steer.log_level(&body.filter).map_err(|error| {
        problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad_filter",
            "Nothing was changed",
            error,
        )
    })?;
    Ok(Json(json!({ "filter": filter })))
}

pub(super) async fn registrations(_: Admin, State(site): State<Arc<Site>>) -> Json<Value> {
    Json(site.handle.registrations().await)
}

pub(super) async fn call(
    _: Admin,
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let snapshot = site.handle.snapshot().await;
    let lists = [&snapshot["calls"], &snapshot["through"]["calls"]];
    let mut calls = lists.into_iter().filter_map(Value::as_array).flatten();
    let found = calls.find(|call| call["id"] == id.as_str());
    found
        .cloned()
        .map(Json)
        .ok_or_else(|| problem::not_found("call"))
}

pub(super) async fn hang_up(
    _: Admin,
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: CallId = id.parse().map_err(|_| problem::not_found("call"))?;
    match site.handle.hang_up(id).await {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(problem::not_found("call")),
    }
}

fn no_file() -> Problem {
    problem::new(
        StatusCode::CONFLICT,
        "no_file",
        "Nothing to reload",
        "This switch was not started from a file.",
    )
}
