//! What the agent says happened, and what becomes of the lead by it.

use rusqlite::{OptionalExtension, params};
use serde_json::json;
use std::time::Duration;

use super::db::Work;
use super::error::StoreError;
use super::fact::Fact;
use super::lead_row::{self, LeadRow, ReservationRow};
use super::standing::{self, PhoneRow};
use super::{event_log, idempotency};
use crate::call::result::CallResult;
use crate::dialer::disposition::{Action, Disposition, NO_DISPOSITION};
use crate::dialer::gate::PhoneStatus;
use crate::dialer::lead::{CloseReason, LeadState, SuppressReason, WaitKind};
use crate::dialer::reservation::Phase;
use crate::dialer::retry::{Past, PhoneNext, PhoneRecord, after_result};
use crate::event::Kind;
use crate::id::{AgentId, AttemptId, FenceToken, LeadId, PhoneId};
use crate::now::UtcMs;

/// The agent's answer.
pub(super) struct Answer<'a> {
    pub disposition: Option<&'a str>,
    pub notes: &'a str,
    pub callback_at: Option<UtcMs>,
    pub automatic: bool,
}

/// The attempt that is wrapped up.
struct Ended {
    attempt: AttemptId,
    phone: PhoneId,
    result: CallResult,
    is_incoming: bool,
}

/// Why a reservation ended that still lets its agent dispose: nobody has said anything yet.
const UNDISPOSED: &str = NO_DISPOSITION;

pub(super) fn dispose(
    work: Work,
    token: FenceToken,
    agent: &AgentId,
    key: &str,
    answer: &Answer,
) -> Result<Fact, StoreError> {
    idempotency::once(work, agent, key, "dispose", || {
        let Some(reservation) = lead_row::reservation(work, token)? else {
            return Ok(Fact::Stale { owner: None });
        };
        let lead = lead_row::load(work, reservation.lead)?
            .ok_or_else(|| StoreError::Row(format!("reservation {token} without its lead")))?;
        let ended = last_ended(work, token)?;
        match ended {
            Some(ended) if is_theirs(&lead, &reservation, agent) => {
                wrap_up(work, &lead, token, agent, &ended, answer)
            }
            _ if reservation.is_live && reservation.agent == *agent => Ok(Fact::Refused {
                rule: "wrong_state",
                detail: format!(
                    "the card is in {}, not in wrap_up",
                    reservation.phase.name()
                ),
            }),
            ended => {
                // Too late, but somebody typed it: it stays with the lead as a note.
                let attempt = ended.map(|it| it.attempt);
                note(
                    work,
                    lead.id,
                    attempt,
                    token,
                    agent,
                    answer,
                    answer.disposition,
                    true,
                )?;
                Ok(Fact::Stale {
                    owner: lead_row::owner(work, lead.id)?,
                })
            }
        }
    })
}

fn is_theirs(lead: &LeadRow, reservation: &ReservationRow, agent: &AgentId) -> bool {
    let is_open = if reservation.is_live {
        reservation.phase == Phase::WrapUp
    } else {
        reservation.ended_why.as_deref() == Some(UNDISPOSED)
    };
    is_open
        && reservation.agent == *agent
        && lead.token == Some(reservation.token)
        && lead.state == LeadState::WrapUp
}

fn last_ended(work: Work, token: FenceToken) -> Result<Option<Ended>, StoreError> {
    let ended = work
        .conn
        .prepare_cached(
            "SELECT id, phone, coalesce(result, 'connected'), direction = 'in' FROM attempts
             WHERE token = ?1 AND (result IS NOT NULL OR transferred_at IS NOT NULL)
             ORDER BY created_at DESC, id DESC LIMIT 1",
        )?
        .query_row([token], |row| {
            Ok(Ended {
                attempt: row.get(0)?,
                phone: row.get(1)?,
                result: row.get(2)?,
                is_incoming: row.get(3)?,
            })
        })
        .optional()?;
    Ok(ended)
}

fn wrap_up(
    work: Work,
    lead: &LeadRow,
    token: FenceToken,
    agent: &AgentId,
    ended: &Ended,
    answer: &Answer,
) -> Result<Fact, StoreError> {
    let campaign = work.campaign(&lead.campaign);
    let chosen = match answer.disposition {
        None => None,
        Some(key) => {
            match campaign
                .dispositions
                .check(key, answer.notes, answer.callback_at, work.now)
            {
                Ok(disposition) => Some(disposition),
                Err(incomplete) => {
                    return Ok(Fact::Refused {
                        rule: incomplete.rule(),
                        detail: format!("{key}: {incomplete:?}"),
                    });
                }
            }
        }
    };
    let is_silent = match chosen {
        // The retry table is about calls of ours.
        None => ended.result.is_answered() || ended.is_incoming,
        Some(disposition) => disposition.action == Action::NoDisposition,
    };
    let key = if is_silent {
        Some(NO_DISPOSITION)
    } else {
        answer.disposition
    };
    note(
        work,
        lead.id,
        Some(ended.attempt),
        token,
        agent,
        answer,
        key,
        false,
    )?;
    let state = match chosen {
        _ if is_silent => LeadState::WrapUp,
        None => accept_result(work, lead, ended.phone)?,
        Some(disposition) => {
            if !ended.result.is_answered() && !ended.is_incoming {
                // What the network said of the number holds, whatever the agent says of the lead.
                accept_result(work, lead, ended.phone)?;
            }
            act(work, lead, ended.phone, agent, disposition, answer)?
        }
    };
    if is_silent {
        lead_row::end_reservation(work, token, UNDISPOSED)?;
    } else {
        lead_row::settle(work, lead.id, &state)?;
        lead_row::end_reservation(work, token, "disposed")?;
    }
    event_log::write(
        work,
        if is_silent {
            Kind::LeadUndisposed
        } else {
            Kind::LeadDisposed
        },
        &json!({
            "lead": lead.id.0, "attempt": ended.attempt.to_string(), "agent": agent.as_str(),
            "disposition": key, "automatic": answer.automatic, "state": state.name(),
        }),
    )?;
    Ok(Fact::Disposed {
        token,
        lead: lead.id,
        state,
    })
}

#[allow(clippy::too_many_arguments)] // A row's columns, each once.
fn note(
    work: Work,
    lead: LeadId,
    attempt: Option<AttemptId>,
    token: FenceToken,
    agent: &AgentId,
    answer: &Answer,
    disposition: Option<&str>,
    is_stale: bool,
) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "INSERT INTO outcomes (lead, attempt, token, agent, disposition, notes, callback_at,
                is_automatic, is_stale, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            lead,
            attempt,
            token,
            agent,
            disposition,
            answer.notes,
            answer.callback_at,
            answer.automatic,
            is_stale,
            work.now
        ])?;
    Ok(())
}

/// Applies the retry table to the phone just dialed; answers with the lead's next state.
pub(super) fn accept_result(
    work: Work,
    lead: &LeadRow,
    dialed: PhoneId,
) -> Result<LeadState, StoreError> {
    let campaign = work.campaign(&lead.campaign);
    let mut records = Vec::new();
    for phone in standing::phones(work, lead)? {
        records.push(PhoneRecord {
            id: phone.id,
            is_usable: phone.is_usable(),
            not_before: phone.not_before,
            past: past(work, lead.id, phone.id)?,
            life: life(work, &phone)?,
            zones: phone.zones(&campaign),
        });
    }
    let next = after_result(&campaign.retry, campaign.caps, &records, dialed, work.now);
    for (phone, change) in &next.phones {
        match change {
            PhoneNext::Wait(at) => set_phone(work, lead.id, *phone, Some(*at), false)?,
            PhoneNext::Done => set_phone(work, lead.id, *phone, None, true)?,
            PhoneNext::Bad => mark_bad(work, *phone)?,
        }
    }
    Ok(next.lead)
}

fn past(work: Work, lead: LeadId, phone: PhoneId) -> Result<Vec<Past>, StoreError> {
    let mut statement = work.conn.prepare_cached(
        "SELECT result, status, trunk, ended_at FROM attempts
         WHERE lead = ?1 AND phone = ?2 AND result IS NOT NULL AND direction = 'out'
         ORDER BY created_at, id",
    )?;
    let rows = statement.query_map(params![lead, phone], |row| {
        Ok(Past {
            result: row.get(0)?,
            status: row.get(1)?,
            trunk: row.get(2)?,
            ended_at: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn life(work: Work, phone: &PhoneRow) -> Result<u32, StoreError> {
    Ok(work
        .conn
        .prepare_cached("SELECT count(*) FROM attempts WHERE e164 = ?1 AND is_regulatory = 1")?
        .query_row([&phone.e164], |row| row.get(0))?)
}

fn set_phone(
    work: Work,
    lead: LeadId,
    phone: PhoneId,
    not_before: Option<UtcMs>,
    is_done: bool,
) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "INSERT INTO lead_phones (lead, phone, not_before, is_done) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET not_before = excluded.not_before,
                is_done = max(is_done, excluded.is_done)",
        )?
        .execute(params![lead, phone, not_before, is_done])?;
    Ok(())
}

/// The number is bad wherever it stands, for every contact that has it.
fn mark_bad(work: Work, phone: PhoneId) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "UPDATE phones SET status = 'bad'
             WHERE e164 = (SELECT e164 FROM phones WHERE id = ?1)",
        )?
        .execute([phone])?;
    event_log::write(work, Kind::PhoneBad, &json!({ "phone": phone.0 }))
}

fn act(
    work: Work,
    lead: &LeadRow,
    dialed: PhoneId,
    agent: &AgentId,
    disposition: &Disposition,
    answer: &Answer,
) -> Result<LeadState, StoreError> {
    let waiting = |not_before, kind| LeadState::Waiting { not_before, kind };
    let due = answer.callback_at.unwrap_or(work.now);
    match disposition.action {
        Action::Final => Ok(LeadState::Closed(CloseReason::Completed)),
        Action::FinalAllCampaigns => {
            settle_others(work, lead, &LeadState::Closed(CloseReason::Completed))?;
            Ok(LeadState::Closed(CloseReason::Completed))
        }
        Action::DncContact => {
            suppress_contact(work, lead, agent)?;
            Ok(LeadState::Suppressed(SuppressReason::Dnc))
        }
        Action::DncNumber => {
            suppress_number(work, lead, dialed, agent)?;
            match other_numbers(work, lead)? {
                LeadState::Closed(_) => Ok(LeadState::Suppressed(SuppressReason::Dnc)),
                state => Ok(state),
            }
        }
        Action::NumberDone => {
            set_phone(work, lead.id, dialed, None, true)?;
            other_numbers(work, lead)
        }
        Action::WrongNumber => {
            mark_bad(work, dialed)?;
            other_numbers(work, lead)
        }
        Action::Retry { after_ms, max } => {
            if times_said(work, lead.id, &disposition.key)? > max {
                return Ok(LeadState::Closed(CloseReason::MaxAttempts));
            }
            rest_together(work, lead.id)?;
            Ok(waiting(
                work.now.plus(Duration::from_millis(after_ms)),
                WaitKind::Retry,
            ))
        }
        Action::CallbackPersonal => {
            rest_together(work, lead.id)?;
            Ok(waiting(due, WaitKind::CallbackPersonal(agent.clone())))
        }
        Action::CallbackAny => {
            rest_together(work, lead.id)?;
            Ok(waiting(due, WaitKind::CallbackAny))
        }
        // Told apart before: the lead stays where it is.
        Action::NoDisposition => Ok(LeadState::WrapUp),
    }
}

/// The lead waits for the first of its numbers that is left, or is closed without one.
fn other_numbers(work: Work, lead: &LeadRow) -> Result<LeadState, StoreError> {
    let phones = standing::phones(work, lead)?;
    let due = phones
        .iter()
        .filter(|it| it.is_usable())
        .map(|it| it.not_before.unwrap_or(work.now).max(work.now))
        .min();
    Ok(match due {
        Some(not_before) => LeadState::Waiting {
            not_before,
            kind: WaitKind::Retry,
        },
        None if phones.iter().any(|it| it.status == PhoneStatus::Suppressed) => {
            LeadState::Suppressed(SuppressReason::Dnc)
        }
        None => LeadState::Closed(CloseReason::NoCallableNumber),
    })
}

/// How often this has been said of the lead, this time included.
fn times_said(work: Work, lead: LeadId, key: &str) -> Result<u32, StoreError> {
    Ok(work
        .conn
        .prepare_cached(
            "SELECT count(*) FROM outcomes
             WHERE lead = ?1 AND disposition = ?2 AND is_stale = 0",
        )?
        .query_row(params![lead, key], |row| row.get(0))?)
}

/// A time agreed with the customer holds for all the numbers: theirs of their own are void.
fn rest_together(work: Work, lead: LeadId) -> Result<(), StoreError> {
    work.conn
        .prepare_cached("UPDATE lead_phones SET not_before = NULL WHERE lead = ?1")?
        .execute([lead])?;
    Ok(())
}

fn suppress_number(
    work: Work,
    lead: &LeadRow,
    phone: PhoneId,
    agent: &AgentId,
) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "INSERT INTO suppressions (e164, reason, agent, lead, at)
             SELECT e164, 'dnc', ?2, ?3, ?4 FROM phones WHERE id = ?1
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![phone, agent, lead.id, work.now])?;
    event_log::write(
        work,
        Kind::NumberSuppressed,
        &json!({ "phone": phone.0, "lead": lead.id.0 }),
    )
}

/// Nobody calls this person any more: every number, and whatever number comes later.
pub(super) fn suppress_contact(
    work: Work,
    lead: &LeadRow,
    agent: &AgentId,
) -> Result<(), StoreError> {
    for phone in standing::phones(work, lead)? {
        suppress_number(work, lead, phone.id, agent)?;
    }
    work.conn
        .prepare_cached(
            "INSERT INTO suppressions (contact, reason, agent, lead, at)
             VALUES (?1, 'dnc', ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute(params![lead.contact, agent, lead.id, work.now])?;
    settle_others(work, lead, &LeadState::Suppressed(SuppressReason::Dnc))
}

/// The contact's leads in other campaigns, unless they are on somebody's screen.
fn settle_others(work: Work, lead: &LeadRow, state: &LeadState) -> Result<(), StoreError> {
    let others: Vec<LeadId> = work
        .conn
        .prepare_cached(
            "SELECT id FROM leads WHERE contact = ?1 AND id <> ?2
             AND state IN ('ready', 'waiting', 'paused')",
        )?
        .query_map(params![lead.contact, lead.id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for other in others {
        lead_row::settle(work, other, state)?;
        event_log::write(
            work,
            Kind::LeadClosed,
            &json!({ "lead": other.0, "state": state.name() }),
        )?;
    }
    Ok(())
}
