//! A dial: the gate once more, then the attempt's row and the lead in DIALING in one commit, so
//! that no INVITE leaves without a row. After that, the attempt's steps.

use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::command::AttemptStep;
use super::db::Work;
use super::error::StoreError;
use super::fact::Fact;
use super::lead_row::{self, LeadRow};
use super::release::{Hold, hold};
use super::standing;
use super::{event_log, idempotency};
use crate::dialer::campaign::Route;
use crate::dialer::gate::{Allow, Stage, Verdict};
use crate::dialer::lead::LeadState;
use crate::dialer::reservation::Phase;
use crate::event::Kind;
use crate::id::{AgentId, AttemptId, FenceToken, LeadId, PhoneId, TrunkId};

/// The dial asked for.
pub(super) struct Wish<'a> {
    pub attempt: AttemptId,
    pub phone: PhoneId,
    pub trunk: TrunkId,
    pub caller_id: String,
    pub dialog: &'a str,
}

pub(super) fn begin(
    work: Work,
    token: FenceToken,
    agent: &AgentId,
    key: &str,
    wish: &Wish,
) -> Result<Fact, StoreError> {
    idempotency::once(work, agent, key, "dial", || {
        let lead = match hold(work, token, agent, Phase::Preview)? {
            Hold::Held { lead, .. } => lead,
            Hold::No(fact) => return Ok(fact),
        };
        let Some(phone) = standing::phones(work, &lead)?
            .into_iter()
            .find(|it| it.id == wish.phone)
        else {
            return Ok(Fact::Refused {
                rule: "not_this_contact",
                detail: format!("phone {} is none of this contact's", wish.phone),
            });
        };
        let route = Route {
            trunk: wish.trunk.clone(),
            caller_id: wish.caller_id.clone(),
        };
        let route = work
            .campaign(&lead.campaign)
            .routes
            .contains(&route)
            .then_some(route);
        match standing::ask(work, Stage::Invite, &lead, &phone, agent, route)? {
            Verdict::Deny(deny) => Ok(Fact::Denied {
                rules: deny.rules(),
                earliest: deny.earliest,
            }),
            Verdict::Allow(allow) => write_attempt(work, token, agent, &lead, wish, allow),
        }
    })
}

fn write_attempt(
    work: Work,
    token: FenceToken,
    agent: &AgentId,
    lead: &LeadRow,
    wish: &Wish,
    allow: Allow,
) -> Result<Fact, StoreError> {
    work.conn
        .prepare_cached(
            "INSERT INTO attempts (id, token, lead, contact, phone, campaign, agent, e164, trunk,
                caller_id, dialog, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            wish.attempt,
            token,
            lead.id,
            lead.contact,
            wish.phone,
            lead.campaign,
            agent,
            allow.e164,
            wish.trunk,
            wish.caller_id,
            wish.dialog,
            work.now
        ])?;
    work.conn
        .prepare_cached("INSERT INTO evidence (attempt, at, text) VALUES (?1, ?2, ?3)")?
        .execute(params![wish.attempt, work.now, allow.evidence])?;
    work.conn
        .prepare_cached("UPDATE reservations SET phase = 'call' WHERE token = ?1")?
        .execute([token])?;
    lead_row::advance(work, lead.id, &LeadState::Dialing)?;
    event_log::write(
        work,
        Kind::AttemptBegun,
        &json!({
            "attempt": wish.attempt.to_string(), "lead": lead.id.0, "token": token.0,
            "agent": agent.as_str(), "phone": wish.phone.0, "trunk": wish.trunk.as_str(),
            "campaign": lead.campaign.as_str(),
        }),
    )?;
    Ok(Fact::Begun {
        attempt: wish.attempt,
        lead: lead.id,
        origination: allow.originate(),
    })
}

/// Notes how far the attempt has come. The first time of each step stays; steps of an attempt that
/// has ended come too late to change anything.
pub(super) fn step(work: Work, attempt: AttemptId, step: &AttemptStep) -> Result<Fact, StoreError> {
    let known: Option<(LeadId, FenceToken, bool)> = work
        .conn
        .prepare_cached("SELECT lead, token, ended_at IS NULL FROM attempts WHERE id = ?1")?
        .query_row([attempt], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((lead, token, is_live)) = known else {
        return Err(StoreError::NoSuchAttempt(attempt));
    };
    if !is_live {
        return Ok(Fact::Stepped);
    }
    let kind = match step {
        AttemptStep::Invited => stamp(work, attempt, "invited_at", None)?,
        AttemptStep::Trying => stamp(work, attempt, "trying_at", None)?,
        AttemptStep::Alerting { dialog } => stamp(work, attempt, "alerting_at", Some(dialog))?,
        AttemptStep::Bridged => stamp(work, attempt, "bridged_at", None)?,
        AttemptStep::Answered { dialog } => {
            connect(work, lead, token)?;
            stamp(work, attempt, "answered_at", Some(dialog))?
        }
    };
    event_log::write(
        work,
        kind,
        &json!({ "attempt": attempt.to_string(), "lead": lead.0 }),
    )?;
    Ok(Fact::Stepped)
}

/// The next trunk: the same question to the gate, and the attempt's row before the INVITE.
pub(super) fn fail_over(
    work: Work,
    attempt: AttemptId,
    route: Route,
    dialog: &str,
) -> Result<Fact, StoreError> {
    let known: Option<(LeadId, PhoneId, AgentId, bool)> = work
        .conn
        .prepare_cached("SELECT lead, phone, agent, ended_at IS NULL FROM attempts WHERE id = ?1")?
        .query_row([attempt], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let (lead, phone, agent) = match known {
        None => return Err(StoreError::NoSuchAttempt(attempt)),
        Some((.., false)) => return Ok(Fact::Stepped),
        Some((lead, phone, agent, true)) => (lead, phone, agent),
    };
    let missing = || StoreError::Row(format!("attempt {attempt} without its lead or phone"));
    let lead = lead_row::load(work, lead)?.ok_or_else(missing)?;
    let phones = standing::phones(work, &lead)?;
    let phone = phones
        .into_iter()
        .find(|it| it.id == phone)
        .ok_or_else(missing)?;
    let route = work
        .campaign(&lead.campaign)
        .routes
        .contains(&route)
        .then_some(route);
    let allow = match standing::ask(work, Stage::Failover, &lead, &phone, &agent, route)? {
        Verdict::Allow(allow) => allow,
        Verdict::Deny(deny) => {
            return Ok(Fact::Denied {
                rules: deny.rules(),
                earliest: deny.earliest,
            });
        }
    };
    work.conn
        .prepare_cached(
            "UPDATE attempts SET trunk = ?2, caller_id = ?3, dialog = ?4 WHERE id = ?1",
        )?
        .execute(params![
            attempt,
            allow.route.trunk,
            allow.route.caller_id,
            dialog
        ])?;
    work.conn
        .prepare_cached("UPDATE evidence SET text = text || ?2 WHERE attempt = ?1")?
        .execute(params![attempt, allow.evidence])?;
    event_log::write(
        work,
        Kind::AttemptFailover,
        &json!({
            "attempt": attempt.to_string(), "lead": lead.id.0,
            "trunk": allow.route.trunk.as_str(),
        }),
    )?;
    Ok(Fact::FailedOver {
        attempt,
        origination: allow.originate(),
    })
}

fn connect(work: Work, lead: LeadId, token: FenceToken) -> Result<(), StoreError> {
    let row = lead_row::load(work, lead)?;
    match row {
        Some(row) if row.state == LeadState::Dialing && row.token == Some(token) => {
            lead_row::advance(work, lead, &LeadState::Connected)
        }
        _ => Ok(()),
    }
}

fn stamp(
    work: Work,
    attempt: AttemptId,
    column: &'static str,
    dialog: Option<&String>,
) -> Result<Kind, StoreError> {
    let sql = format!(
        "UPDATE attempts SET {column} = coalesce({column}, ?2), dialog = coalesce(?3, dialog)
         WHERE id = ?1"
    );
    work.conn
        .prepare_cached(&sql)?
        .execute(params![attempt, work.now, dialog])?;
    Ok(match column {
        "invited_at" => Kind::AttemptInvited,
        "trying_at" => Kind::AttemptTrying,
        "alerting_at" => Kind::AttemptAlerting,
        "answered_at" => Kind::AttemptAnswered,
        _ => Kind::AttemptBridged,
    })
}
