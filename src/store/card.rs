//! What a card shows: a lead with its phones, its history and its reservation.

use rusqlite::{OptionalExtension, Row, ToSql, params};

use super::column::{ContactId, length};
use super::db::Work;
use super::error::StoreError;
use super::fact::{AttemptView, LeadView, PhoneView, RecordingState, Reservation};
use super::lead_row::{self, LeadRow};
use super::standing::{self, PhoneRow};
use crate::dialer::gate::{Stage, Verdict};
use crate::dialer::lead::LeadState;
use crate::dialer::reservation::{Life, Phase};
use crate::id::{AgentId, AttemptId, FenceToken, LeadId};
use crate::now::UtcMs;

/// How many past attempts a card shows.
const HISTORY_MAX: u32 = 20;

/// The card of a reservation that exists.
pub(super) fn reservation(work: Work, token: FenceToken) -> Result<Reservation, StoreError> {
    let (lead, agent, phase, life, wrap_up_until): (LeadId, AgentId, Phase, Life, Option<UtcMs>) =
        work.conn
            .prepare_cached(
                "SELECT lead, agent, phase, granted_at, deadline, expires_at, extensions,
                    wrap_up_until
             FROM reservations WHERE token = ?1",
            )?
            .query_row([token], |row| {
                let life = Life {
                    granted_at: row.get(3)?,
                    deadline: row.get(4)?,
                    expires_at: row.get(5)?,
                    extensions: row.get(6)?,
                };
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, life, row.get(7)?))
            })?;
    let row = lead_row::load(work, lead)?
        .ok_or_else(|| StoreError::Row(format!("reservation {token} without its lead")))?;
    let view = lead_view(work, &row, &agent)?;
    let attempt = work
        .conn
        .prepare_cached(
            "SELECT id FROM attempts WHERE token = ?1 ORDER BY created_at DESC, id DESC LIMIT 1",
        )?
        .query_row([token], |row| row.get(0))
        .optional()?;
    Ok(Reservation {
        token,
        agent,
        phase,
        life,
        extensions_left: life.extensions_left(&work.campaign(&row.campaign).preview),
        wrap_up_until,
        attempt: attempt
            .map(|id| attempt_view(work, id))
            .transpose()?
            .flatten(),
        suggested: view
            .phones
            .iter()
            .find(|it| it.refusals.is_empty())
            .map(|it| it.id),
        lead: view,
    })
}

/// The lead as `agent` would see it.
pub(super) fn lead_view(
    work: Work,
    lead: &LeadRow,
    agent: &AgentId,
) -> Result<LeadView, StoreError> {
    let (external_id, name, company, language, fields): (_, _, _, _, String) = work
        .conn
        .prepare_cached(
            "SELECT external_id, name, company, language, fields FROM contacts WHERE id = ?1",
        )?
        .query_row([lead.contact], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        })?;
    let fields = serde_json::from_str(&fields)
        .map_err(|error| StoreError::Row(format!("fields of a contact: {error}")))?;
    let mut phones = Vec::new();
    for phone in standing::phones(work, lead)? {
        phones.push(phone_view(work, lead, phone, agent)?);
    }
    Ok(LeadView {
        lead: lead.id,
        campaign: lead.campaign.clone(),
        list: lead.list.clone(),
        state: lead.state.clone(),
        prior: lead.prior.clone(),
        priority: lead.priority,
        business_count: lead.business_count,
        regulatory_count: lead.regulatory_count,
        external_id,
        name,
        company,
        language,
        fields,
        phones,
        history: history(work, lead.contact)?,
    })
}

fn phone_view(
    work: Work,
    lead: &LeadRow,
    phone: PhoneRow,
    agent: &AgentId,
) -> Result<PhoneView, StoreError> {
    let stage = match lead.state {
        LeadState::Reserved => Stage::Invite,
        _ => Stage::Reservation,
    };
    let route = work.campaign(&lead.campaign).routes.first().cloned();
    let (refusals, earliest) = match standing::ask(work, stage, lead, &phone, agent, route)? {
        Verdict::Allow(_) => (Vec::new(), None),
        Verdict::Deny(deny) => (deny.rules(), deny.earliest),
    };
    Ok(PhoneView {
        id: phone.id,
        e164: phone.e164,
        kind: phone.kind,
        time_zones: phone.time_zones,
        refusals,
        earliest,
    })
}

fn history(work: Work, contact: ContactId) -> Result<Vec<AttemptView>, StoreError> {
    attempts(
        work,
        "a.contact = ?1 ORDER BY a.created_at DESC, a.id DESC LIMIT ?2",
        params![contact, HISTORY_MAX],
    )
}

pub(super) fn attempt_view(
    work: Work,
    attempt: AttemptId,
) -> Result<Option<AttemptView>, StoreError> {
    Ok(attempts(work, "a.id = ?1", params![attempt])?.pop())
}

/// The attempts that `tail` (everything after WHERE) picks.
pub(super) fn attempts(
    work: Work,
    tail: &str,
    values: &[&dyn ToSql],
) -> Result<Vec<AttemptView>, StoreError> {
    let sql = format!(
        "SELECT a.id, a.lead, a.campaign, a.agent, a.phone, a.e164, a.trunk, a.caller_id,
                a.created_at, a.invited_at, a.alerting_at, a.answered_at, a.bridged_at, a.ended_at,
                a.ended_by, a.result, a.status, a.q850, a.ring_ms, a.talk_ms,
                a.recording, a.recording_path, a.recording_ms, a.recording_bytes,
                a.recording_sha256, a.recording_error, o.disposition, o.notes, a.transferred_to,
                a.direction = 'in'
         FROM attempts a LEFT JOIN outcomes o ON o.id =
              (SELECT max(id) FROM outcomes WHERE attempt = a.id AND is_stale = 0)
         WHERE {tail}"
    );
    let mut statement = work.conn.prepare_cached(&sql)?;
    let rows = statement.query_map(values, attempt_from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn attempt_from_row(row: &Row) -> rusqlite::Result<AttemptView> {
    let span = |at| row.get::<_, Option<i64>>(at).map(|it| it.map(length));
    Ok(AttemptView {
        attempt: row.get(0)?,
        is_incoming: row.get(29)?,
        lead: row.get(1)?,
        campaign: row.get(2)?,
        agent: row.get(3)?,
        phone: row.get(4)?,
        e164: row.get(5)?,
        trunk: row.get(6)?,
        caller_id: row.get(7)?,
        created_at: row.get(8)?,
        invited_at: row.get(9)?,
        alerting_at: row.get(10)?,
        answered_at: row.get(11)?,
        bridged_at: row.get(12)?,
        ended_at: row.get(13)?,
        ended_by: row.get(14)?,
        result: row.get(15)?,
        status: row.get(16)?,
        q850: row.get(17)?,
        ring_ms: span(18)?,
        talk_ms: span(19)?,
        disposition: row.get(26)?,
        notes: row.get(27)?,
        transferred_to: row.get(28)?,
        recording: recording_from_row(row)?,
    })
}

fn recording_from_row(row: &Row) -> rusqlite::Result<RecordingState> {
    let path: Option<String> = row.get(21)?;
    let state: String = row.get(20)?;
    Ok(match (state.as_str(), path) {
        ("running", Some(path)) => RecordingState::Running { path },
        ("done", Some(path)) => RecordingState::Done {
            path,
            duration_ms: length(row.get::<_, Option<i64>>(22)?.unwrap_or(0)),
            bytes: length(row.get::<_, Option<i64>>(23)?.unwrap_or(0)),
            sha256: row.get(24)?,
        },
        ("failed", path) => RecordingState::Failed {
            path,
            why: row.get::<_, Option<String>>(25)?.unwrap_or_default(),
        },
        _ => RecordingState::None,
    })
}
