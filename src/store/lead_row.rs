//! A lead's row: how its state stands in columns, and the few ways it changes.

use rusqlite::{OptionalExtension, Row, params};

use super::column::ContactId;
use super::db::Work;
use super::error::StoreError;
use crate::dialer::lead::{CloseReason, LeadState, SuppressReason, WaitKind};
use crate::dialer::reservation::{Holder, Phase};
use crate::id::{AgentId, CampaignId, FenceToken, LeadId, ListId};
use crate::now::UtcMs;

pub(super) struct LeadRow {
    pub id: LeadId,
    pub contact: ContactId,
    pub campaign: CampaignId,
    pub list: ListId,
    pub state: LeadState,
    pub prior: Option<LeadState>,
    pub priority: i64,
    pub business_count: u32,
    pub regulatory_count: u32,
    pub cool_until: Option<UtcMs>,
    /// The newest reservation, live or not.
    pub token: Option<FenceToken>,
}

pub(super) const COLUMNS: &str = "l.id, l.contact, l.campaign, l.list, l.state, l.not_before, \
     l.wait_kind, l.owner, l.reason, l.prior_state, l.priority, l.business_count, \
     l.regulatory_count, l.cool_until, l.token";

pub(super) fn from_row(row: &Row) -> Result<LeadRow, StoreError> {
    let columns = StateColumns {
        not_before: row.get(5)?,
        wait_kind: row.get(6)?,
        owner: row.get(7)?,
        reason: row.get(8)?,
    };
    let name: String = row.get(4)?;
    let prior: Option<String> = row.get(9)?;
    Ok(LeadRow {
        id: row.get(0)?,
        contact: row.get(1)?,
        campaign: row.get(2)?,
        list: row.get(3)?,
        state: columns.read(&name)?,
        prior: prior.map(|name| columns.read(&name)).transpose()?,
        priority: row.get(10)?,
        business_count: row.get(11)?,
        regulatory_count: row.get(12)?,
        cool_until: row.get(13)?,
        token: row.get(14)?,
    })
}

pub(super) fn load(work: Work, lead: LeadId) -> Result<Option<LeadRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM leads l WHERE l.id = ?1");
    let mut statement = work.conn.prepare_cached(&sql)?;
    let mut rows = statement.query([lead])?;
    rows.next()?.map(from_row).transpose()
}

/// The columns that carry what a state carries.
pub(super) struct StateColumns {
    pub not_before: Option<UtcMs>,
    pub wait_kind: Option<String>,
    pub owner: Option<AgentId>,
    pub reason: Option<String>,
}

impl StateColumns {
    pub fn of(state: &LeadState) -> StateColumns {
        let mut columns = StateColumns {
            not_before: None,
            wait_kind: None,
            owner: None,
            reason: None,
        };
        match state {
            LeadState::Waiting { not_before, kind } => {
                columns.not_before = Some(*not_before);
                columns.wait_kind = Some(kind.name().to_owned());
                if let WaitKind::CallbackPersonal(owner) = kind {
                    columns.owner = Some(owner.clone());
                }
            }
            LeadState::Closed(reason) => columns.reason = Some(reason.name().to_owned()),
            LeadState::Suppressed(reason) => columns.reason = Some(reason.name().to_owned()),
            _ => {}
        }
        columns
    }

    pub fn read(&self, name: &str) -> Result<LeadState, StoreError> {
        let reason = self.reason.as_deref().unwrap_or_default();
        let state = match name {
            "ready" => Some(LeadState::Ready),
            "waiting" => self.read_waiting(),
            "reserved" => Some(LeadState::Reserved),
            "dialing" => Some(LeadState::Dialing),
            "connected" => Some(LeadState::Connected),
            "wrap_up" => Some(LeadState::WrapUp),
            "closed" => CloseReason::from_name(reason).map(LeadState::Closed),
            "suppressed" => SuppressReason::from_name(reason).map(LeadState::Suppressed),
            "paused" => Some(LeadState::Paused),
            _ => None,
        };
        state.ok_or_else(|| StoreError::Row(format!("lead state {name} {reason}")))
    }

    fn read_waiting(&self) -> Option<LeadState> {
        let kind = match self.wait_kind.as_deref()? {
            "retry" => WaitKind::Retry,
            "callback_any" => WaitKind::CallbackAny,
            "callback_personal" => WaitKind::CallbackPersonal(self.owner.clone()?),
            _ => return None,
        };
        Some(LeadState::Waiting {
            not_before: self.not_before?,
            kind,
        })
    }
}

/// READY or WAITING → RESERVED; what the state carried stays beside `prior_state`.
pub(super) fn take(work: Work, lead: LeadId, token: FenceToken) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "UPDATE leads SET prior_state = state, state = 'reserved', token = ?2, changed_at = ?3
             WHERE id = ?1 AND state IN ('ready', 'waiting')",
        )?
        .execute(params![lead, token, work.now])
        .map_err(StoreError::from)
        .and_then(|changed| one(changed, "take"))
}

/// RESERVED → exactly what it was.
pub(super) fn give_back(
    work: Work,
    lead: LeadId,
    cool_until: Option<UtcMs>,
) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "UPDATE leads SET state = prior_state, prior_state = NULL, changed_at = ?2,
                cool_until = coalesce(?3, cool_until)
             WHERE id = ?1 AND state = 'reserved'",
        )?
        .execute(params![lead, work.now, cool_until])
        .map_err(StoreError::from)
        .and_then(|changed| one(changed, "give back"))
}

/// Whatever it is, as long as it is on nobody's desk → DIALING. Everything it was stays beside.
pub(super) fn take_for_caller(
    work: Work,
    lead: LeadId,
    token: FenceToken,
) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "UPDATE leads SET
                prior_over = CASE WHEN state IN ('closed', 'suppressed', 'wrap_up') THEN state END,
                prior_reason = reason, prior_token = token, reason = NULL,
                prior_state = CASE WHEN state IN ('ready', 'waiting', 'paused') THEN state
                    ELSE coalesce(prior_state, 'paused') END,
                state = 'dialing', token = ?2, changed_at = ?3
             WHERE id = ?1
                AND state IN ('ready', 'waiting', 'paused', 'closed', 'suppressed', 'wrap_up')",
        )?
        .execute(params![lead, token, work.now])
        .map_err(StoreError::from)
        .and_then(|changed| one(changed, "take for a caller"))
}

/// Exactly what it was before the call.
pub(super) fn give_back_from_caller(
    work: Work,
    lead: LeadId,
    token: FenceToken,
) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "UPDATE leads SET state = coalesce(prior_over, prior_state), reason = prior_reason,
                prior_state = CASE WHEN prior_over = 'wrap_up' THEN prior_state END,
                token = prior_token, prior_over = NULL, prior_reason = NULL, prior_token = NULL,
                changed_at = ?3
             WHERE id = ?1 AND token = ?2",
        )?
        .execute(params![lead, token, work.now])
        .map_err(StoreError::from)
        .and_then(|changed| one(changed, "give back from a caller"))
}

/// RESERVED → DIALING → CONNECTED → WRAP_UP.
pub(super) fn advance(work: Work, lead: LeadId, to: &LeadState) -> Result<(), StoreError> {
    work.conn
        .prepare_cached("UPDATE leads SET state = ?2, changed_at = ?3 WHERE id = ?1")?
        .execute(params![lead, to.name(), work.now])
        .map_err(StoreError::from)
        .and_then(|changed| one(changed, "advance"))
}

/// The same call in other hands: the lead's state stays, under another reservation.
pub(super) fn goes_on_as(
    work: Work,
    lead: LeadId,
    old: FenceToken,
    token: FenceToken,
) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "UPDATE leads SET token = ?3, changed_at = ?4 WHERE id = ?1 AND token = ?2
                AND state IN ('dialing', 'connected')",
        )?
        .execute(params![lead, old, token, work.now])
        .map_err(StoreError::from)
        .and_then(|changed| one(changed, "go on"))
}

/// The card is done with: the lead's next state, and nothing of the old one.
pub(super) fn settle(work: Work, lead: LeadId, to: &LeadState) -> Result<(), StoreError> {
    let columns = StateColumns::of(to);
    work.conn
        .prepare_cached(
            "UPDATE leads SET state = ?2, not_before = ?3, wait_kind = ?4, owner = ?5, reason = ?6,
                prior_state = NULL, cool_until = NULL, changed_at = ?7
             WHERE id = ?1",
        )?
        .execute(params![
            lead,
            to.name(),
            columns.not_before,
            columns.wait_kind,
            columns.owner,
            columns.reason,
            work.now
        ])
        .map_err(StoreError::from)
        .and_then(|changed| one(changed, "settle"))
}

fn one(changed: usize, what: &str) -> Result<(), StoreError> {
    match changed {
        1 => Ok(()),
        _ => Err(StoreError::Row(format!(
            "{what}: the lead was in another state"
        ))),
    }
}

/// A reservation's row, live or ended.
pub(super) struct ReservationRow {
    pub token: FenceToken,
    pub lead: LeadId,
    pub agent: AgentId,
    pub phase: Phase,
    pub is_live: bool,
    pub ended_why: Option<String>,
}

impl ReservationRow {
    pub fn holder(&self) -> Option<Holder> {
        self.is_live.then(|| Holder {
            token: self.token,
            agent: self.agent.clone(),
            phase: self.phase,
        })
    }
}

pub(super) fn reservation(
    work: Work,
    token: FenceToken,
) -> Result<Option<ReservationRow>, StoreError> {
    let found = work
        .conn
        .prepare_cached(
            "SELECT token, lead, agent, phase, ended_at IS NULL, ended_why FROM reservations
             WHERE token = ?1",
        )?
        .query_row([token], |row| {
            Ok(ReservationRow {
                token: row.get(0)?,
                lead: row.get(1)?,
                agent: row.get(2)?,
                phase: row.get(3)?,
                is_live: row.get(4)?,
                ended_why: row.get(5)?,
            })
        })
        .optional()?;
    Ok(found)
}

/// Who holds the lead now.
pub(super) fn owner(work: Work, lead: LeadId) -> Result<Option<AgentId>, StoreError> {
    let owner = work
        .conn
        .prepare_cached("SELECT agent FROM reservations WHERE lead = ?1 AND ended_at IS NULL")?
        .query_row([lead], |row| row.get(0))
        .optional()?;
    Ok(owner)
}

pub(super) fn end_reservation(work: Work, token: FenceToken, why: &str) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "UPDATE reservations SET ended_at = ?2, ended_why = ?3
             WHERE token = ?1 AND ended_at IS NULL",
        )?
        .execute(params![token, work.now, why])?;
    Ok(())
}
