//! A call that comes in for an agent: the caller's lead is hers while her seat rings, and is
//! exactly what it was when she does not answer. Nothing of it counts as a call of ours.

use rusqlite::{OptionalExtension, params, params_from_iter};
use serde_json::json;

use super::column::{ContactId, int};
use super::db::Work;
use super::error::StoreError;
use super::fact::Fact;
use super::{card, event_log, lead_row, release};
use crate::call::result::CallResult;
use crate::dialer::reservation::{Phase, ReleaseReason};
use crate::event::Kind;
use crate::id::{AgentId, AttemptId, CampaignId, FenceToken, LeadId, PhoneId};
use crate::leads::row::Phone;
use crate::now::UtcMs;

/// The list of leads that callers made by calling.
pub const INBOUND: &str = "inbound";

/// A caller for an agent.
#[derive(Clone, Debug)]
pub struct Ring {
    pub attempt: AttemptId,
    pub agent: AgentId,
    /// Where the caller's lead is looked for; a new one is made in the first. Not empty.
    pub campaigns: Vec<CampaignId>,
    /// Whom the caller says he is. A number that is no E.164 is never called.
    pub caller: Phone,
    /// The trunk he came by; empty for a phone or a permitted address.
    pub trunk: String,
    /// The number he called.
    pub called: String,
    /// What ends his leg after a crash: empty while nothing has been answered.
    pub dialog: String,
    pub until: UtcMs,
}

/// Why a seat has stopped ringing without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingEnd {
    Missed,
    Declined,
    /// The caller hung up.
    Abandoned,
    SeatLost,
    /// Whoever asked for her has found another way.
    Withdrawn,
    Restart,
}

impl RingEnd {
    pub fn name(self) -> &'static str {
        match self {
            RingEnd::Missed => "missed",
            RingEnd::Declined => "declined",
            RingEnd::Abandoned => "abandoned",
            RingEnd::SeatLost => "seat_lost",
            RingEnd::Withdrawn => "withdrawn",
            RingEnd::Restart => "restart",
        }
    }

    fn result(self) -> CallResult {
        match self {
            RingEnd::Declined => CallResult::Rejected,
            RingEnd::Missed | RingEnd::Abandoned | RingEnd::Withdrawn => CallResult::NoAnswer,
            RingEnd::SeatLost => CallResult::Unavailable,
            RingEnd::Restart => CallResult::SystemFailure,
        }
    }

    fn ended_by(self) -> &'static str {
        match self {
            RingEnd::Abandoned => "customer",
            RingEnd::Declined => "agent",
            _ => "system",
        }
    }
}

/// The caller's lead on the agent's desk, and the row of his call, in one commit. A card that was
/// on its way to her goes back.
pub(super) fn ring(work: Work, ring: &Ring) -> Result<Fact, StoreError> {
    if let Some(busy) = clear_desk(work, &ring.agent)? {
        return Ok(busy);
    }
    let (lead, phone) = match free_lead(work, ring)? {
        Some(found) => found,
        None => make_lead(work, ring)?,
    };
    work.conn
        .prepare_cached(
            "INSERT INTO reservations (lead, agent, phase, granted_at, deadline, expires_at)
             VALUES (?1, ?2, 'call', ?3, ?4, ?4)",
        )?
        .execute(params![lead, ring.agent, work.now, ring.until])?;
    let token = FenceToken(u64::try_from(work.conn.last_insert_rowid()).unwrap_or(0));
    lead_row::take_for_caller(work, lead, token)?;
    write_attempt(work, ring, lead, phone, token)?;
    let told = json!({
        "attempt": ring.attempt.to_string(), "lead": lead.0, "token": token.0,
        "agent": ring.agent.as_str(), "phone": phone.0, "trunk": ring.trunk,
        "direction": "in", "class": INBOUND,
    });
    for kind in [
        Kind::LeadReserved,
        Kind::AttemptBegun,
        Kind::AttemptAlerting,
    ] {
        event_log::write(work, kind, &told)?;
    }
    Ok(Fact::Rung(Box::new(card::reservation(work, token)?)))
}

/// The agent did not take the call.
pub(super) fn over(work: Work, attempt: AttemptId, why: RingEnd) -> Result<Fact, StoreError> {
    let known: Option<(LeadId, FenceToken, AgentId, UtcMs)> = work
        .conn
        .prepare_cached(
            "SELECT lead, token, agent, created_at FROM attempts
             WHERE id = ?1 AND direction = 'in' AND ended_at IS NULL AND answered_at IS NULL",
        )?
        .query_row([attempt], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((lead, token, agent, since)) = known else {
        return Ok(Fact::Stepped);
    };
    let ring_ms = work.now.ms_since(since);
    work.conn
        .prepare_cached(
            "UPDATE attempts SET ended_at = ?2, ended_by = ?3, result = ?4, ring_ms = ?5
             WHERE id = ?1",
        )?
        .execute(params![
            attempt,
            work.now,
            why.ended_by(),
            why.result(),
            int(ring_ms)
        ])?;
    lead_row::give_back_from_caller(work, lead, token)?;
    lead_row::end_reservation(work, token, why.name())?;
    let told = json!({
        "attempt": attempt.to_string(), "lead": lead.0, "token": token.0,
        "agent": agent.as_str(), "result": why.result().name(), "why": why.name(),
        "ended_by": why.ended_by(), "ring_ms": ring_ms, "direction": "in",
    });
    event_log::write(work, Kind::AttemptEnded, &told)?;
    event_log::write(work, Kind::LeadReleased, &told)?;
    Ok(Fact::Released { token, lead })
}

/// Who called this number last, or talked with it.
pub(super) fn last_agent(work: Work, e164: &str) -> Result<Fact, StoreError> {
    let agent = work
        .conn
        .prepare_cached(
            "SELECT agent FROM attempts
             WHERE e164 = ?1 AND (direction = 'out' OR answered_at IS NOT NULL)
             ORDER BY created_at DESC, id DESC LIMIT 1",
        )?
        .query_row([e164], |row| row.get(0))
        .optional()?;
    Ok(Fact::LastAgent { agent })
}

/// `Some` when she cannot be called: a call or a wrap-up of hers is open.
pub(super) fn clear_desk(work: Work, agent: &AgentId) -> Result<Option<Fact>, StoreError> {
    let held: Option<(FenceToken, Phase)> = work
        .conn
        .prepare_cached(
            "SELECT token, phase FROM reservations WHERE agent = ?1 AND ended_at IS NULL",
        )?
        .query_row([agent], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match held {
        None => Ok(None),
        Some((token, Phase::Preview)) => {
            release::release(work, token, agent, ReleaseReason::Cancel)?;
            Ok(None)
        }
        Some((_, phase)) => Ok(Some(Fact::Refused {
            rule: "agent_busy",
            detail: format!("this agent's last card is still in {}", phase.name()),
        })),
    }
}

/// The newest lead with this number that is on nobody's desk; those that came from a file before
/// those that a call made.
fn free_lead(work: Work, ring: &Ring) -> Result<Option<(LeadId, PhoneId)>, StoreError> {
    let marks = vec!["?"; ring.campaigns.len()].join(", ");
    let sql = format!(
        "SELECT l.id, p.id FROM phones p JOIN leads l ON l.contact = p.contact
         WHERE p.e164 = ? AND l.campaign IN ({marks}) AND NOT EXISTS
            (SELECT 1 FROM reservations r WHERE r.lead = l.id AND r.ended_at IS NULL)
         ORDER BY l.list = '{INBOUND}', l.id DESC LIMIT 1"
    );
    let names = ring.campaigns.iter().map(CampaignId::as_str);
    let values = std::iter::once(ring.caller.e164.as_str()).chain(names);
    let found = work
        .conn
        .prepare_cached(&sql)?
        .query_row(params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(found)
}

/// A lead of somebody we do not know by this number in these campaigns, or whose lead another
/// agent has in hand: then this card knows the number only. It is not called by itself.
fn make_lead(work: Work, ring: &Ring) -> Result<(LeadId, PhoneId), StoreError> {
    let first = ring
        .campaigns
        .first()
        .ok_or_else(|| StoreError::Row("a caller without a campaign".to_owned()))?;
    let (contact, phone) = match known_contact(work, ring)? {
        Some(known) => known,
        None => make_contact(work, &ring.caller)?,
    };
    work.conn
        .prepare_cached(
            "INSERT INTO lists (id, source, created_at) VALUES (?1, ?1, ?2)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![INBOUND, work.now])?;
    let lead = work
        .conn
        .prepare_cached(
            "INSERT INTO leads (contact, campaign, list, state, created_at, changed_at)
             VALUES (?1, ?2, ?3, 'paused', ?4, ?4) RETURNING id",
        )?
        .query_row(params![contact, first, INBOUND, work.now], |row| row.get(0))?;
    Ok((lead, phone))
}

/// A contact with this number and no lead in any of these campaigns.
fn known_contact(work: Work, ring: &Ring) -> Result<Option<(ContactId, PhoneId)>, StoreError> {
    let marks = vec!["?"; ring.campaigns.len()].join(", ");
    let sql = format!(
        "SELECT p.contact, p.id FROM phones p WHERE p.e164 = ? AND p.status = 'ok' AND NOT EXISTS
            (SELECT 1 FROM leads l WHERE l.contact = p.contact AND l.campaign IN ({marks}))
         ORDER BY p.contact DESC LIMIT 1"
    );
    let names = ring.campaigns.iter().map(CampaignId::as_str);
    let values = std::iter::once(ring.caller.e164.as_str()).chain(names);
    let found = work
        .conn
        .prepare_cached(&sql)?
        .query_row(params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(found)
}

fn make_contact(work: Work, caller: &Phone) -> Result<(ContactId, PhoneId), StoreError> {
    let contact: ContactId = work
        .conn
        .prepare_cached(
            "INSERT INTO contacts (name, company, language, fields, created_at)
             VALUES ('', '', '', '[]', ?1) RETURNING id",
        )?
        .query_row([work.now], |row| row.get(0))?;
    let status = match caller.e164.starts_with('+') {
        true => "ok",
        false => "bad",
    };
    let phone = work
        .conn
        .prepare_cached(
            "INSERT INTO phones (contact, position, e164, kind, time_zones, status)
             VALUES (?1, 0, ?2, ?3, ?4, ?5) RETURNING id",
        )?
        .query_row(
            params![
                contact,
                caller.e164,
                caller.kind,
                caller.time_zones.join(","),
                status
            ],
            |row| row.get(0),
        )?;
    Ok((contact, phone))
}

fn write_attempt(
    work: Work,
    ring: &Ring,
    lead: LeadId,
    phone: PhoneId,
    token: FenceToken,
) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "INSERT INTO attempts (id, token, lead, contact, phone, campaign, agent, e164, trunk,
                caller_id, dialog, created_at, alerting_at, direction)
             SELECT ?1, ?2, l.id, l.contact, ?3, l.campaign, ?4, ?5, ?6, ?7, ?8, ?9, ?9, 'in'
             FROM leads l WHERE l.id = ?10",
        )?
        .execute(params![
            ring.attempt,
            token,
            phone,
            ring.agent,
            ring.caller.e164,
            ring.trunk,
            ring.called,
            ring.dialog,
            work.now,
            lead
        ])?;
    Ok(())
}
