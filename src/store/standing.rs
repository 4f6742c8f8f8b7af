//! Brings the rows the gate wants to see, and asks it.

use jiff::tz::TimeZone;
use rusqlite::{OptionalExtension, params};

use super::column::ContactId;
use super::db::Work;
use super::error::StoreError;
use super::lead_row::LeadRow;
use crate::dialer::campaign::{Campaign, Route};
use crate::dialer::gate::{self, LOOK_BACK, Question, Stage, Verdict};
use crate::dialer::gate::{History, LeadStanding, PhoneStanding, PhoneStatus};
use crate::dialer::hours;
use crate::id::{AgentId, ListId, PhoneId};
use crate::leads::row::PhoneKind;
use crate::now::UtcMs;

/// A phone of a contact as one lead knows it.
pub(super) struct PhoneRow {
    pub id: PhoneId,
    pub e164: String,
    pub kind: PhoneKind,
    pub time_zones: Vec<String>,
    pub status: PhoneStatus,
    pub is_done: bool,
    pub not_before: Option<UtcMs>,
}

impl PhoneRow {
    pub fn zones(&self, campaign: &Campaign) -> Vec<TimeZone> {
        let names = if self.time_zones.is_empty() {
            &campaign.time_zones_default
        } else {
            &self.time_zones
        };
        names.iter().filter_map(|name| hours::zone(name)).collect()
    }

    pub fn is_usable(&self) -> bool {
        self.status == PhoneStatus::Ok && !self.is_done
    }
}

/// The lead's phones, the one to dial next first: the one longest due, then by position.
pub(super) fn phones(work: Work, lead: &LeadRow) -> Result<Vec<PhoneRow>, StoreError> {
    let mut statement = work.conn.prepare_cached(
        "SELECT p.id, p.e164, p.kind, p.time_zones, p.status, coalesce(lp.is_done, 0),
                lp.not_before,
                EXISTS (SELECT 1 FROM suppressions s WHERE s.e164 = p.e164)
                OR EXISTS (SELECT 1 FROM suppressions s WHERE s.contact = p.contact)
         FROM phones p LEFT JOIN lead_phones lp ON lp.phone = p.id AND lp.lead = ?1
         WHERE p.contact = ?2
         ORDER BY coalesce(lp.not_before, 0), p.position",
    )?;
    let rows = statement.query_map(params![lead.id, lead.contact], |row| {
        let zones: String = row.get(3)?;
        let status: String = row.get(4)?;
        let is_suppressed: bool = row.get(7)?;
        Ok(PhoneRow {
            id: row.get(0)?,
            e164: row.get(1)?,
            kind: row.get(2)?,
            time_zones: zones
                .split(',')
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect(),
            status: match status.as_str() {
                _ if is_suppressed => PhoneStatus::Suppressed,
                "ok" => PhoneStatus::Ok,
                _ => PhoneStatus::Bad,
            },
            is_done: row.get(5)?,
            not_before: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The gate's verdict on this phone of this lead.
pub(super) fn ask(
    work: Work,
    stage: Stage,
    lead: &LeadRow,
    phone: &PhoneRow,
    agent: &AgentId,
    route: Option<Route>,
) -> Result<Verdict, StoreError> {
    let campaign = work.campaign(&lead.campaign);
    let question = Question {
        now: work.now,
        stage,
        list_is_active: list_is_active(work, &lead.list)?,
        lead: LeadStanding {
            state: lead.state.clone(),
            cool_until: lead.cool_until,
            kept_from_agent_until: kept_until(work, lead, agent)?,
        },
        phone: PhoneStanding {
            id: phone.id,
            e164: phone.e164.clone(),
            status: phone.status,
            is_done: phone.is_done,
            not_before: phone.not_before,
            zones: phone.zones(&campaign),
        },
        history: history(work, &phone.e164, lead.contact)?,
        route,
        campaign: &campaign,
    };
    Ok(gate::may_dial(&question))
}

fn list_is_active(work: Work, list: &ListId) -> Result<bool, StoreError> {
    let active = work
        .conn
        .prepare_cached(
            "SELECT is_active = 1 AND (expires_at IS NULL OR expires_at > ?2)
             FROM lists WHERE id = ?1",
        )?
        .query_row(params![list, work.now], |row| row.get(0))
        .optional()?;
    Ok(active.unwrap_or(false))
}

fn kept_until(work: Work, lead: &LeadRow, agent: &AgentId) -> Result<Option<UtcMs>, StoreError> {
    // One's own callback is not kept from one for having skipped it.
    if let crate::dialer::lead::LeadState::Waiting {
        kind: crate::dialer::lead::WaitKind::CallbackPersonal(owner),
        ..
    } = &lead.state
        && owner == agent
    {
        return Ok(None);
    }
    let until = work
        .conn
        .prepare_cached("SELECT until FROM lead_skips WHERE lead = ?1 AND agent = ?2")?
        .query_row(params![lead.id, agent], |row| row.get(0))
        .optional()?;
    Ok(until)
}

fn history(work: Work, e164: &str, contact: ContactId) -> Result<History, StoreError> {
    let times = |sql: &str, key: &dyn rusqlite::ToSql| -> Result<Vec<UtcMs>, StoreError> {
        let mut statement = work.conn.prepare_cached(sql)?;
        let rows = statement.query_map(params![key, LOOK_BACK], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let one = |sql: &str, key: &dyn rusqlite::ToSql| -> Result<u32, StoreError> {
        Ok(work
            .conn
            .prepare_cached(sql)?
            .query_row([key], |row| row.get(0))?)
    };
    let number_last = work
        .conn
        .prepare_cached(
            "SELECT max(created_at) FROM attempts WHERE e164 = ?1 AND direction = 'out'",
        )?
        .query_row([e164], |row| row.get(0))?;
    let is_live: bool = work
        .conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM attempts
                            WHERE ended_at IS NULL AND (e164 = ?1 OR contact = ?2))
                 OR EXISTS (SELECT 1 FROM third_legs WHERE ended_at IS NULL AND e164 = ?1)",
        )?
        .query_row(params![e164, contact], |row| row.get(0))?;
    Ok(History {
        number: times(
            "SELECT created_at FROM attempts WHERE e164 = ?1 AND is_regulatory = 1
             ORDER BY created_at DESC LIMIT ?2",
            &e164,
        )?,
        contact: times(
            "SELECT created_at FROM attempts WHERE contact = ?1 AND is_regulatory = 1
             ORDER BY created_at DESC LIMIT ?2",
            &contact,
        )?,
        number_life: one(
            "SELECT count(*) FROM attempts WHERE e164 = ?1 AND is_regulatory = 1",
            &e164,
        )?,
        contact_life: one(
            "SELECT count(*) FROM attempts WHERE contact = ?1 AND is_regulatory = 1",
            &contact,
        )?,
        number_last,
        is_live,
    })
}
