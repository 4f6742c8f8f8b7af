//! A live call goes from one agent to another, and its card with it: one commit, so that at every
//! moment one of the two holds the lead, and a crash gives it to that one.

use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::db::Work;
use super::error::StoreError;
use super::fact::Fact;
use super::{card, event_log, inbound, lead_row};
use crate::event::Kind;
use crate::id::{AgentId, AttemptId, FenceToken, LeadId};

/// Why the first agent's reservation has ended. What she still says of it is kept as a note.
const TAKEN_OVER: &str = "taken_over";

/// The first agent's card is closed; the other one's has a token of its own. A card that was on
/// its way to the other one goes back.
pub(super) fn take_over(
    work: Work,
    attempt: AttemptId,
    old: FenceToken,
    agent: &AgentId,
) -> Result<Fact, StoreError> {
    let known: Option<(LeadId, AgentId)> = work
        .conn
        .prepare_cached(
            "SELECT lead, agent FROM attempts
             WHERE id = ?1 AND token = ?2 AND answered_at IS NOT NULL AND ended_at IS NULL
                AND transferred_at IS NULL",
        )?
        .query_row(params![attempt, old], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((lead, first)) = known else {
        return Ok(Fact::Refused {
            rule: "no_call",
            detail: "the call has ended, or is another agent's by now".to_owned(),
        });
    };
    if let Some(busy) = inbound::clear_desk(work, agent)? {
        return Ok(busy);
    }
    lead_row::end_reservation(work, old, TAKEN_OVER)?;
    work.conn
        .prepare_cached(
            "INSERT INTO reservations (lead, agent, phase, granted_at, deadline, expires_at)
             SELECT lead, ?2, 'call', ?3, deadline, expires_at FROM reservations WHERE token = ?1",
        )?
        .execute(params![old, agent, work.now])?;
    let token = FenceToken(u64::try_from(work.conn.last_insert_rowid()).unwrap_or(0));
    lead_row::goes_on_as(work, lead, old, token)?;
    work.conn
        .prepare_cached("UPDATE attempts SET token = ?2, agent = ?3 WHERE id = ?1")?
        .execute(params![attempt, token, agent])?;
    note(work, lead, attempt, old, &first, agent)?;
    event_log::write(
        work,
        Kind::AttemptTakenOver,
        &json!({
            "attempt": attempt.to_string(), "lead": lead.0, "token": token.0,
            "from": first.as_str(), "agent": agent.as_str(),
        }),
    )?;
    Ok(Fact::TakenOver(Box::new(card::reservation(work, token)?)))
}

/// The first agent's part in the call stays with the lead.
fn note(
    work: Work,
    lead: LeadId,
    attempt: AttemptId,
    old: FenceToken,
    first: &AgentId,
    agent: &AgentId,
) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "INSERT INTO outcomes (lead, attempt, token, agent, disposition, notes, callback_at,
                is_automatic, is_stale, at)
             VALUES (?1, ?2, ?3, ?4, NULL, ?5, NULL, 1, 1, ?6)",
        )?
        .execute(params![
            lead,
            attempt,
            old,
            first,
            format!("handed over to {agent}"),
            work.now
        ])?;
    Ok(())
}
