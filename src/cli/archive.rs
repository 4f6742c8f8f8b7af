//! The store as pages read it: recent calls, recordings, leads. Each read has its own short
//! connection; none of them ever waits for the writer.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::json;

use crate::dialer::campaign::Rules;
use crate::engine::card::shown_number;
use crate::engine::driver::clock;
use crate::engine::handle::Problem;
use crate::http::{Archive, Page};
use crate::id::{AgentId, AttemptId, CallId, CampaignId, LeadId};
use crate::now::UtcMs;
use crate::store::fact::{AttemptView, LeadView, RecordingState};
use crate::store::{Reader, StoreError, StoreHandle};

const PAGE_ROWS: u32 = 50;

pub struct StoreArchive {
    store: StoreHandle,
    recordings: PathBuf,
    /// Changed by a reload only.
    shown: RwLock<Shown>,
}

/// By which campaigns lists are shown.
#[derive(Clone)]
pub(super) struct Shown {
    pub rules: Arc<Rules>,
    /// Campaigns whose agents see no whole number.
    pub masked: Vec<CampaignId>,
}

impl StoreArchive {
    pub(super) fn new(store: StoreHandle, recordings: PathBuf, shown: Shown) -> StoreArchive {
        StoreArchive {
            store,
            recordings,
            shown: RwLock::new(shown),
        }
    }

    fn reader(&self) -> Result<Reader, Problem> {
        self.store.reader(self.shown().rules).map_err(unreadable)
    }

    fn shown(&self) -> Shown {
        let shown = self.shown.read();
        shown.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn reload(&self, new: Shown) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = new;
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
        let before = cursor.map(read_cursor).transpose()?;
        let reader = self.reader()?;
        let view = reader.view(clock().utc);
        let attempts = view
            .attempts(Some(agent), before, PAGE_ROWS)
            .map_err(unreadable)?;
        let last = attempts
            .last()
            .filter(|_| attempts.len() == PAGE_ROWS as usize);
        let next = last.map(|last| format!("{}.{}", last.created_at.0, last.attempt));
        let mut items = Vec::with_capacity(attempts.len());
        for attempt in &attempts {
            let lead = view.lead(attempt.lead, agent).map_err(unreadable)?;
            items.push(self.call(attempt, lead.as_ref()));
        }
        Ok(Page { items, next })
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
        Ok(Page {
            items: items.collect(),
            next,
        })
    }
}

impl StoreArchive {
    fn call(&self, attempt: &AttemptView, lead: Option<&LeadView>) -> serde_json::Value {
        let recorded = matches!(attempt.recording, RecordingState::Done { .. });
        let masked = self.shown().masked.contains(&attempt.campaign);
        json!({
            "id": attempt.attempt.to_string(),
            "lead": attempt.lead.0,
            "campaign": attempt.campaign.as_str(),
            "started_ms": attempt.created_at.0,
            "name": lead.map_or("", |lead| lead.name.as_str()),
            "company": lead.map_or("", |lead| lead.company.as_str()),
            "number": shown_number(&attempt.e164, masked),
            "detail": attempt.status.map(|status| status.to_string()),
            "answered_ms": attempt.answered_at.map(|at| at.0),
            "ended_ms": attempt.ended_at.map(|at| at.0),
            "result": attempt.result.map(|result| result.name()),
            "disposition": attempt.disposition,
            "notes": attempt.notes,
            "talk_ms": attempt.talk_ms.unwrap_or(0),
            "recording": recorded.then(|| format!("/api/v1/recordings/{}", attempt.attempt)),
        })
    }
}

/// `<created_at in ms>.<attempt>`, as [`Archive::calls`] gave it.
fn read_cursor(cursor: &str) -> Result<(UtcMs, AttemptId), Problem> {
    let (at, id) = cursor.split_once('.').ok_or_else(bad_cursor)?;
    let at = at.parse().map_err(|_| bad_cursor())?;
    Ok((UtcMs(at), id.parse().map_err(|_| bad_cursor())?))
}

fn unreadable(error: StoreError) -> Problem {
    tracing::error!(%error, "the store cannot be read");
    Problem::new(503, "store", "Cannot be read now", "Try again in a moment.")
}

fn bad_cursor() -> Problem {
    Problem::new(
        422,
        "bad_cursor",
        "Unreadable cursor",
        "Give the `next` of an earlier page.",
    )
}
