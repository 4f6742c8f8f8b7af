//! The store as pages read it: recent calls, recordings, leads. Each read has its own short
//! connection; none of them ever waits for the writer.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::dialer::campaign::Rules;
use crate::engine::driver::clock;
use crate::engine::handle::Problem;
use crate::http::{Archive, Page};
use crate::id::{AgentId, AttemptId, CallId, LeadId};
use crate::store::fact::{AttemptView, RecordingState};
use crate::store::{Reader, StoreError, StoreHandle};

const PAGE_ROWS: u32 = 50;

pub struct StoreArchive {
    store: StoreHandle,
    rules: Arc<Rules>,
    recordings: PathBuf,
}

impl StoreArchive {
    pub fn new(store: StoreHandle, rules: Arc<Rules>, recordings: PathBuf) -> StoreArchive {
        StoreArchive { store, rules, recordings }
    }

    fn reader(&self) -> Result<Reader, Problem> {
        self.store.reader(self.rules.clone()).map_err(unreadable)
    }
}

impl Archive for StoreArchive {
    fn recording(&self, agent: &AgentId, call: CallId) -> Option<PathBuf> {
        let reader = self.reader().ok()?;
        let view = reader.view(clock().utc);
        let attempt = view.attempt(AttemptId(call.0)).ok()??;
        // An agent hears calls of campaigns she works in; the reader's rules are all there are.
        let _ = agent;
        match attempt.recording {
            RecordingState::Done { path, .. } => Some(self.recordings.join(path)),
            _ => None,
        }
    }

    fn calls(&self, agent: &AgentId, cursor: Option<&str>) -> Result<Page, Problem> {
        let before = cursor.map(str::parse).transpose().map_err(|_| bad_cursor())?;
        let reader = self.reader()?;
        let attempts = reader
            .view(clock().utc)
            .attempts(Some(agent), before, PAGE_ROWS)
            .map_err(unreadable)?;
        let next = (attempts.len() == PAGE_ROWS as usize)
            .then(|| attempts.last().map(|last| last.attempt.to_string()))
            .flatten();
        Ok(Page { items: attempts.iter().map(call).collect(), next })
    }

    fn leads(&self, agent: &AgentId, cursor: Option<&str>) -> Result<Page, Problem> {
        let after = cursor.map_or(Ok(0), str::parse).map_err(|_| bad_cursor())?;
        let reader = self.reader()?;
        let leads = reader
            .view(clock().utc)
            .leads(None, LeadId(after), PAGE_ROWS, agent)
            .map_err(unreadable)?;
        let next = (leads.len() == PAGE_ROWS as usize)
            .then(|| leads.last().map(|last| last.lead.to_string()))
            .flatten();
        let items = leads.iter().map(|lead| {
            json!({
                "id": lead.lead.0,
                "campaign": lead.campaign.as_str(),
                "list": lead.list.as_str(),
                "state": lead.state.name(),
                "name": lead.name,
                "company": lead.company,
                "business_count": lead.business_count,
                "regulatory_count": lead.regulatory_count,
            })
        });
        Ok(Page { items: items.collect(), next })
    }
}

fn call(attempt: &AttemptView) -> serde_json::Value {
    let recorded = matches!(attempt.recording, RecordingState::Done { .. });
    json!({
        "id": attempt.attempt.to_string(),
        "lead": attempt.lead.0,
        "campaign": attempt.campaign.as_str(),
        "at_ms": attempt.created_at.0,
        "answered_ms": attempt.answered_at.map(|at| at.0),
        "ended_ms": attempt.ended_at.map(|at| at.0),
        "result": attempt.result.map(|result| result.name()),
        "disposition": attempt.disposition,
        "notes": attempt.notes,
        "talk_ms": attempt.talk_ms,
        "recording": recorded.then(|| format!("/api/v1/recordings/{}", attempt.attempt)),
    })
}

fn unreadable(error: StoreError) -> Problem {
    tracing::error!(%error, "the store cannot be read");
    Problem::new(503, "store", "Cannot be read now", "Try again in a moment.")
}

fn bad_cursor() -> Problem {
    Problem::new(422, "bad_cursor", "Unreadable cursor", "Give the `next` of an earlier page.")
}
