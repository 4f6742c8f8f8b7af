//! Cards that are not dialed: extended, skipped, given back, expired, or made do-not-call.

use rusqlite::params;
use serde_json::json;
use std::time::Duration;

use super::db::Work;
use super::error::StoreError;
use super::fact::{Fact, Released};
use super::lead_row::{self, LeadRow, ReservationRow};
use super::{dispose, event_log, idempotency};
use crate::dialer::lead::{LeadState, SuppressReason};
use crate::dialer::reservation::{Life, Phase, ReleaseReason, may_act};
use crate::event::Kind;
use crate::id::{AgentId, FenceToken};
use crate::now::UtcMs;

/// A reservation this very agent holds by this very token, or why not.
pub(super) enum Hold {
    Held {
        lead: Box<LeadRow>,
        reservation: ReservationRow,
    },
    No(Fact),
}

/// Checks the fence: everything a card can be told passes here.
pub(super) fn hold(
    work: Work,
    token: FenceToken,
    agent: &AgentId,
    wanted: Phase,
) -> Result<Hold, StoreError> {
    let Some(reservation) = lead_row::reservation(work, token)? else {
        return Ok(Hold::No(Fact::Stale { owner: None }));
    };
    if !may_act(reservation.holder().as_ref(), token, agent) {
        let owner = lead_row::owner(work, reservation.lead)?;
        return Ok(Hold::No(Fact::Stale { owner }));
    }
    if reservation.phase != wanted {
        let phase = reservation.phase.name();
        return Ok(Hold::No(Fact::Refused {
            rule: "wrong_state",
            detail: format!("the card is in {phase}, not in {}", wanted.name()),
        }));
    }
    let lead = lead_row::load(work, reservation.lead)?
        .ok_or_else(|| StoreError::Row(format!("reservation {token} without its lead")))?;
    Ok(Hold::Held {
        lead: Box::new(lead),
        reservation,
    })
}

pub(super) fn extend(work: Work, token: FenceToken, agent: &AgentId) -> Result<Fact, StoreError> {
    let lead = match hold(work, token, agent, Phase::Preview)? {
        Hold::Held { lead, .. } => lead,
        Hold::No(fact) => return Ok(fact),
    };
    let preview = work.campaign(&lead.campaign).preview;
    let life = work
        .conn
        .prepare_cached(
            "SELECT granted_at, deadline, expires_at, extensions FROM reservations
             WHERE token = ?1",
        )?
        .query_row([token], |row| {
            Ok(Life {
                granted_at: row.get(0)?,
                deadline: row.get(1)?,
                expires_at: row.get(2)?,
                extensions: row.get(3)?,
            })
        })?;
    match life.extend(&preview) {
        Err(refusal) => Ok(Fact::Refused {
            rule: refusal.name(),
            detail: "this card cannot be held any longer".to_owned(),
        }),
        Ok(life) => {
            work.conn
                .prepare_cached(
                    "UPDATE reservations SET deadline = ?2, expires_at = ?3, extensions = ?4
                     WHERE token = ?1",
                )?
                .execute(params![
                    token,
                    life.deadline,
                    life.expires_at,
                    life.extensions
                ])?;
            Ok(Fact::Extended {
                token,
                life,
                extensions_left: life.extensions_left(&preview),
            })
        }
    }
}

pub(super) fn skip(
    work: Work,
    token: FenceToken,
    agent: &AgentId,
    key: &str,
    reason: &str,
) -> Result<Fact, StoreError> {
    idempotency::once(work, agent, key, "skip", || {
        let lead = match hold(work, token, agent, Phase::Preview)? {
            Hold::Held { lead, .. } => lead,
            Hold::No(fact) => return Ok(fact),
        };
        let rules = work.campaign(&lead.campaign).skip;
        let after = |ms| work.now.plus(Duration::from_millis(ms));
        lead_row::give_back(work, lead.id, Some(after(rules.cool_down_ms)))?;
        lead_row::end_reservation(work, token, "skip")?;
        work.conn
            .prepare_cached(
                "INSERT INTO lead_skips (lead, agent, until, reason) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET until = excluded.until, reason = excluded.reason",
            )?
            .execute(params![lead.id, agent, after(rules.same_agent_ms), reason])?;
        event_log::write(
            work,
            Kind::LeadSkipped,
            &json!({ "lead": lead.id.0, "token": token.0, "agent": agent.as_str(),
                     "reason": reason }),
        )?;
        Ok(Fact::Released {
            token,
            lead: lead.id,
        })
    })
}

pub(super) fn cancel(
    work: Work,
    token: FenceToken,
    agent: &AgentId,
    key: &str,
) -> Result<Fact, StoreError> {
    idempotency::once(work, agent, key, "cancel", || {
        release(work, token, agent, ReleaseReason::Cancel)
    })
}

pub(super) fn release(
    work: Work,
    token: FenceToken,
    agent: &AgentId,
    why: ReleaseReason,
) -> Result<Fact, StoreError> {
    match hold(work, token, agent, Phase::Preview)? {
        Hold::No(fact) => Ok(fact),
        Hold::Held { reservation, .. } => {
            let released = let_go(work, &reservation, why)?;
            Ok(Fact::Released {
                token,
                lead: released.lead,
            })
        }
    }
}

/// The prior state comes back exactly; nothing is counted.
fn let_go(
    work: Work,
    reservation: &ReservationRow,
    why: ReleaseReason,
) -> Result<Released, StoreError> {
    let (token, lead) = (reservation.token, reservation.lead);
    lead_row::give_back(work, lead, None)?;
    lead_row::end_reservation(work, token, why.name())?;
    event_log::write(
        work,
        Kind::LeadReleased,
        &json!({ "lead": lead.0, "token": token.0, "agent": reservation.agent.as_str(),
                 "why": why.name() }),
    )?;
    Ok(Released {
        token,
        lead,
        agent: reservation.agent.clone(),
    })
}

pub(super) fn suppress(
    work: Work,
    token: FenceToken,
    agent: &AgentId,
    key: &str,
) -> Result<Fact, StoreError> {
    idempotency::once(work, agent, key, "suppress", || {
        let lead = match hold(work, token, agent, Phase::Preview)? {
            Hold::Held { lead, .. } => lead,
            Hold::No(fact) => return Ok(fact),
        };
        dispose::suppress_contact(work, &lead, agent)?;
        lead_row::settle(work, lead.id, &LeadState::Suppressed(SuppressReason::Dnc))?;
        lead_row::end_reservation(work, token, "suppressed")?;
        event_log::write(
            work,
            Kind::LeadSuppressed,
            &json!({ "lead": lead.id.0, "token": token.0, "agent": agent.as_str() }),
        )?;
        Ok(Fact::Suppressed {
            token,
            lead: lead.id,
        })
    })
}

pub(super) fn expire(work: Work) -> Result<Fact, StoreError> {
    let released = release_expired(work, work.now, ReleaseReason::Expired)?;
    idempotency::forget_old(work)?;
    let next = work
        .conn
        .prepare_cached(
            "SELECT min(expires_at) FROM reservations
             WHERE ended_at IS NULL AND phase = 'preview'",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(Fact::Expired { released, next })
}

/// Gives back every card in preview whose lease ended at `by` or before.
pub(super) fn release_expired(
    work: Work,
    by: UtcMs,
    why: ReleaseReason,
) -> Result<Vec<Released>, StoreError> {
    let tokens: Vec<FenceToken> = work
        .conn
        .prepare_cached(
            "SELECT token FROM reservations
             WHERE ended_at IS NULL AND phase = 'preview' AND expires_at <= ?1 ORDER BY token",
        )?
        .query_map([by], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut released = Vec::new();
    for token in tokens {
        if let Some(reservation) = lead_row::reservation(work, token)? {
            released.push(let_go(work, &reservation, why)?);
        }
    }
    Ok(released)
}
