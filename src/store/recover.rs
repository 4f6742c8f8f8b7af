//! The start-up after any end: what was on is ended in the books, and named so that its far leg
//! can be ended on the wire.

use rusqlite::params;
use serde_json::json;
use std::time::Duration;

use super::card;
use super::command::{EndedBy, Spans};
use super::db::Work;
use super::error::StoreError;
use super::event_log;
use super::fact::{Fact, Orphan, OrphanPhase, Recovered, Reservation};
use super::finish::{self, End};
use super::inbound::{self, RingEnd};
use super::{dispose, lead_row, release, third};
use crate::call::result::CallResult;
use crate::dialer::lead::LeadState;
use crate::dialer::reservation::{Phase, ReleaseReason};
use crate::event::Kind;
use crate::id::{AttemptId, FenceToken, PhoneId};
use crate::now::UtcMs;

/// An agent's page comes back within this time, or the card goes back.
const LOST_GRACE: Duration = Duration::from_secs(30);

pub(super) fn recover(work: Work) -> Result<Fact, StoreError> {
    let mut recovered = Recovered {
        recordings: recordings(work)?,
        ..Recovered::default()
    };
    for Found {
        orphan,
        phone,
        is_incoming,
    } in orphans(work)?
    {
        if is_incoming && orphan.phase != OrphanPhase::Answered {
            recovered.orphans.extend(end_ringing(work, orphan)?);
            continue;
        }
        end_orphan(work, &orphan, phone)?;
        recovered.orphans.push(orphan);
    }
    recovered.thirds = third::orphans(work)?;
    let long_gone = UtcMs(
        work.now
            .0
            .saturating_sub(i64::try_from(LOST_GRACE.as_millis()).unwrap_or(0)),
    );
    recovered.released = release::release_expired(work, long_gone, ReleaseReason::Restart)?;
    let back_by = work.now.plus(LOST_GRACE);
    work.conn.execute(
        "UPDATE reservations SET
            expires_at = CASE phase WHEN 'preview' THEN max(expires_at, ?1) ELSE expires_at END,
            wrap_up_until = CASE phase WHEN 'wrap_up' THEN max(wrap_up_until, ?1) END
         WHERE ended_at IS NULL",
        [back_by],
    )?;
    recovered.previews = cards(work, Phase::Preview)?;
    recovered.wrap_ups = cards(work, Phase::WrapUp)?;
    event_log::write(
        work,
        Kind::StoreRecovered,
        &json!({
            "orphans": recovered.orphans.len(), "released": recovered.released.len(),
            "previews": recovered.previews.len(), "wrap_ups": recovered.wrap_ups.len(),
        }),
    )?;
    Ok(Fact::Recovered(Box::new(recovered)))
}

struct Found {
    orphan: Orphan,
    phone: PhoneId,
    is_incoming: bool,
}

fn orphans(work: Work) -> Result<Vec<Found>, StoreError> {
    let mut statement = work.conn.prepare_cached(
        "SELECT id, lead, agent, token, answered_at IS NOT NULL, alerting_at IS NOT NULL, trunk,
                dialog, CASE recording WHEN 'running' THEN recording_path END, phone,
                direction = 'in'
         FROM attempts WHERE ended_at IS NULL ORDER BY created_at, id",
    )?;
    let rows = statement.query_map([], |row| {
        let phase = match (row.get(4)?, row.get(5)?) {
            (true, _) => OrphanPhase::Answered,
            (false, true) => OrphanPhase::Ringing,
            (false, false) => OrphanPhase::Dialing,
        };
        let orphan = Orphan {
            attempt: row.get(0)?,
            lead: row.get(1)?,
            agent: row.get(2)?,
            token: row.get(3)?,
            phase,
            trunk: row.get(6)?,
            dialog: row.get(7)?,
            recording: row.get(8)?,
        };
        Ok(Found {
            orphan,
            phone: row.get(9)?,
            is_incoming: row.get(10)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A seat rang for a caller. His INVITE died with the process, unless a queue had answered it:
/// then there is a dialog to be ended.
fn end_ringing(work: Work, orphan: Orphan) -> Result<Option<Orphan>, StoreError> {
    inbound::over(work, orphan.attempt, RingEnd::Restart)?;
    Ok((!orphan.dialog.is_empty()).then_some(Orphan {
        phase: OrphanPhase::Answered,
        ..orphan
    }))
}

fn end_orphan(work: Work, orphan: &Orphan, phone: PhoneId) -> Result<(), StoreError> {
    let is_answered = orphan.phase == OrphanPhase::Answered;
    let result = if is_answered {
        CallResult::Connected
    } else {
        CallResult::SystemFailure
    };
    let end = End {
        result,
        status: None,
        q850: None,
        ended_by: EndedBy::System,
        spans: Spans::default(),
    };
    finish::finish(work, orphan.attempt, &end)?;
    if is_answered {
        // Nobody knows when the talk broke off.
        work.conn
            .prepare_cached("UPDATE attempts SET talk_ms = NULL WHERE id = ?1")?
            .execute([orphan.attempt])?;
        return Ok(());
    }
    let lead = lead_row::load(work, orphan.lead)?
        .ok_or_else(|| StoreError::Row(format!("attempt {} without its lead", orphan.attempt)))?;
    let state: LeadState = dispose::accept_result(work, &lead, phone)?;
    lead_row::settle(work, lead.id, &state)?;
    lead_row::end_reservation(work, orphan.token, CallResult::SystemFailure.name())
}

fn cards(work: Work, phase: Phase) -> Result<Vec<Reservation>, StoreError> {
    let tokens: Vec<FenceToken> = work
        .conn
        .prepare_cached(
            "SELECT token FROM reservations WHERE ended_at IS NULL AND phase = ?1 ORDER BY token",
        )?
        .query_map(params![phase], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    tokens
        .into_iter()
        .map(|token| card::reservation(work, token))
        .collect()
}

fn recordings(work: Work) -> Result<Vec<(AttemptId, String)>, StoreError> {
    let mut statement = work.conn.prepare_cached(
        "SELECT id, recording_path FROM attempts
         WHERE recording = 'running' AND recording_path IS NOT NULL ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
