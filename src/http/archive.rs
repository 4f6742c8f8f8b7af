//! What has been: recent calls, leads, recordings. Read from the store through an [`Archive`].

use super::problem;
use super::session::SignedIn;
use super::site::Site;
use crate::engine::handle::Problem;
use crate::id::{AgentId, CallId};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

const CURSOR_BYTES_MAX: usize = 256;

/// The store as the pages read it. Functions may block; they run off the runtime's threads.
pub trait Archive: Send + Sync + 'static {
    /// The finished WAV of a call this agent may hear. The path comes from the call's id alone.
    fn recording(&self, agent: &AgentId, call: CallId) -> Option<PathBuf>;

    /// The agent's recent calls, latest first. `cursor` is what an earlier page gave as `next`.
    fn calls(&self, agent: &AgentId, cursor: Option<&str>) -> Result<Page, Problem>;

    /// Leads the agent may see.
    fn leads(&self, agent: &AgentId, cursor: Option<&str>) -> Result<Page, Problem>;
}

/// One page of a longer list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub items: Vec<Value>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    cursor: Option<String>,
}

pub(super) async fn calls(
    State(site): State<Arc<Site>>,
    signed_in: SignedIn,
    Query(query): Query<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let cursor = query.checked()?;
    page(site, move |archive| {
        archive.calls(&signed_in.agent, cursor.as_deref())
    })
    .await
}

pub(super) async fn leads(
    State(site): State<Arc<Site>>,
    signed_in: SignedIn,
    Query(query): Query<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let cursor = query.checked()?;
    page(site, move |archive| {
        archive.leads(&signed_in.agent, cursor.as_deref())
    })
    .await
}

impl PageQuery {
    fn checked(self) -> Result<Option<String>, Problem> {
        match self.cursor {
            Some(cursor) if cursor.len() > CURSOR_BYTES_MAX => Err(problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad_cursor",
                "Unreadable cursor",
                "Give the `next` of an earlier page.",
            )),
            cursor => Ok(cursor.filter(|cursor| !cursor.is_empty())),
        }
    }
}

async fn page(
    site: Arc<Site>,
    read: impl FnOnce(&dyn Archive) -> Result<Page, Problem> + Send + 'static,
) -> Result<Json<Value>, Problem> {
    let page = off_runtime(site, read).await??;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

/// Runs a read where it may block.
pub(super) async fn off_runtime<T: Send + 'static>(
    site: Arc<Site>,
    read: impl FnOnce(&dyn Archive) -> T + Send + 'static,
) -> Result<T, Problem> {
    let reading = tokio::task::spawn_blocking(move || read(site.archive.as_ref()));
    reading.await.map_err(|_| {
        problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "read_failed",
            "Cannot be read",
            "Reading the store failed.",
        )
    })
}
