//! The end of an attempt: its result, the two counters, and the lead in WRAP_UP.

use rusqlite::{OptionalExtension, params};
use serde_json::json;
use std::time::Duration;

use super::column::int;
use super::command::{EndedBy, Spans};
use super::db::Work;
use super::error::StoreError;
use super::event_log;
use super::fact::{Fact, Finished};
use super::lead_row;
use crate::call::result::CallResult;
use crate::dialer::lead::LeadState;
use crate::dialer::retry::{is_business, is_regulatory};
use crate::event::Kind;
use crate::id::{AgentId, AttemptId, FenceToken, LeadId, PhoneId};
use crate::now::UtcMs;

pub(super) struct End {
    pub result: CallResult,
    pub status: Option<u16>,
    pub q850: Option<u16>,
    pub ended_by: EndedBy,
    pub spans: Spans,
}

/// What `finish` needs of an attempt's row.
struct AttemptRow {
    lead: LeadId,
    phone: PhoneId,
    token: FenceToken,
    agent: AgentId,
    invited_at: Option<UtcMs>,
    alerting_at: Option<UtcMs>,
    answered_at: Option<UtcMs>,
    result: Option<CallResult>,
    is_incoming: bool,
    /// Lead and card are in wrap-up, or further, already.
    is_handed_over: bool,
}

pub(super) fn finish(work: Work, attempt: AttemptId, end: &End) -> Result<Fact, StoreError> {
    let row = load(work, attempt)?.ok_or(StoreError::NoSuchAttempt(attempt))?;
    if row.result.is_none() {
        write_end(work, attempt, &row, end)?;
    }
    let result = row.result.unwrap_or(end.result);
    let wrap_up_until = work
        .conn
        .prepare_cached("SELECT wrap_up_until FROM reservations WHERE token = ?1")?
        .query_row([row.token], |it| it.get(0))?;
    Ok(Fact::Finished(Finished {
        attempt,
        lead: row.lead,
        token: row.token,
        agent: row.agent,
        result,
        is_answered: result.is_answered(),
        wrap_up_until,
    }))
}

fn load(work: Work, attempt: AttemptId) -> Result<Option<AttemptRow>, StoreError> {
    let row = work
        .conn
        .prepare_cached(
            "SELECT lead, phone, token, agent, invited_at, alerting_at, answered_at, result,
                direction = 'in', transferred_at IS NOT NULL
             FROM attempts WHERE id = ?1",
        )?
        .query_row([attempt], |row| {
            Ok(AttemptRow {
                lead: row.get(0)?,
                phone: row.get(1)?,
                token: row.get(2)?,
                agent: row.get(3)?,
                invited_at: row.get(4)?,
                alerting_at: row.get(5)?,
                answered_at: row.get(6)?,
                result: row.get(7)?,
                is_incoming: row.get(8)?,
                is_handed_over: row.get(9)?,
            })
        })
        .optional()?;
    Ok(row)
}

fn write_end(
    work: Work,
    attempt: AttemptId,
    row: &AttemptRow,
    end: &End,
) -> Result<(), StoreError> {
    let lead = lead_row::load(work, row.lead)?
        .ok_or_else(|| StoreError::Row(format!("attempt {attempt} without its lead")))?;
    let campaign = work.campaign(&lead.campaign);
    let counts = count(work, row, end, &campaign.retry)?;
    let ring_ms = row
        .alerting_at
        .map(|at| row.answered_at.unwrap_or(work.now).ms_since(at));
    let talk_ms = row.answered_at.map(|at| work.now.ms_since(at));
    work.conn
        .prepare_cached(
            "UPDATE attempts SET ended_at = ?2, ended_by = ?3, result = ?4, status = ?5, q850 = ?6,
                ring_ms = ?7, talk_ms = ?8, hold_ms = ?9, mute_ms = ?10, early_media = ?11,
                is_regulatory = ?12, is_business = ?13
             WHERE id = ?1",
        )?
        .execute(params![
            attempt,
            work.now,
            end.ended_by.name(),
            end.result,
            end.status,
            end.q850,
            ring_ms.map(int),
            talk_ms.map(int),
            int(end.spans.hold_ms),
            int(end.spans.mute_ms),
            end.spans.early_media,
            counts.is_regulatory,
            counts.is_business
        ])?;
    work.conn
        .prepare_cached(
            "UPDATE leads SET business_count = business_count + ?2,
                regulatory_count = regulatory_count + ?3 WHERE id = ?1",
        )?
        .execute(params![row.lead, counts.is_business, counts.is_regulatory])?;
    if !row.is_handed_over {
        wrap_up(work, row.lead, row.token, end.result.is_answered())?;
    }
    event_log::write(
        work,
        Kind::AttemptEnded,
        &json!({
            "attempt": attempt.to_string(), "lead": row.lead.0, "agent": row.agent.as_str(),
            "result": end.result.name(), "status": end.status, "q850": end.q850,
            "ended_by": end.ended_by.name(), "ring_ms": ring_ms, "talk_ms": talk_ms,
        }),
    )
}

/// The card and its lead go to WRAP_UP.
pub(super) fn wrap_up(
    work: Work,
    lead: LeadId,
    token: FenceToken,
    is_answered: bool,
) -> Result<(), StoreError> {
    let campaign = lead_row::load(work, lead)?
        .ok_or_else(|| StoreError::Row(format!("reservation {token} without its lead")))?
        .campaign;
    let limits = work.campaign(&campaign).wrap_up;
    let wrap_up_ms = if is_answered {
        limits.answered_ms
    } else {
        limits.unanswered_ms
    };
    work.conn
        .prepare_cached(
            "UPDATE reservations SET phase = 'wrap_up', wrap_up_until = ?2
             WHERE token = ?1 AND ended_at IS NULL",
        )?
        .execute(params![
            token,
            work.now.plus(Duration::from_millis(wrap_up_ms))
        ])?;
    lead_row::advance(work, lead, &LeadState::WrapUp)
}

struct Counts {
    is_regulatory: bool,
    is_business: bool,
}

fn count(
    work: Work,
    row: &AttemptRow,
    end: &End,
    rules: &crate::dialer::retry::RetryRules,
) -> Result<Counts, StoreError> {
    if row.is_incoming {
        return Ok(Counts {
            is_regulatory: false,
            is_business: false,
        });
    }
    let alerted = row.alerting_at.is_some() || row.answered_at.is_some();
    // A crash may have come between the INVITE and the note of it.
    let may_have_left = row.invited_at.is_some() || end.result == CallResult::SystemFailure;
    let mut statement = work.conn.prepare_cached(
        "SELECT result FROM attempts WHERE lead = ?1 AND phone = ?2 AND result IS NOT NULL
            AND direction = 'out'
         ORDER BY created_at DESC, id DESC",
    )?;
    let mut earlier = statement.query(params![row.lead, row.phone])?;
    let mut run = 1;
    while let Some(it) = earlier.next()? {
        if it.get::<_, CallResult>(0)? != end.result {
            break;
        }
        run += 1;
    }
    Ok(Counts {
        is_regulatory: alerted || (may_have_left && is_regulatory(end.result, false)),
        is_business: is_business(rules, end.result, run),
    })
}
