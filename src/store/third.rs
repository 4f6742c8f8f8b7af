//! A third party's leg: the gate's word and the row before its INVITE, its steps, its end; and the
//! attempt that an agent has handed over.

use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::column::int;
use super::command::{Spans, ThirdStep, ThirdTo};
use super::db::Work;
use super::error::StoreError;
use super::event_log;
use super::fact::{Fact, OrphanPhase, ThirdOrphan};
use super::finish;
use crate::dialer::campaign::{Campaign, Route};
use crate::dialer::gate::{Deny, Stage, ThirdQuestion, ThirdVerdict, may_bring_in};
use crate::dialer::hours;
use crate::event::Kind;
use crate::id::{AttemptId, CampaignId, FenceToken, LeadId, ThirdId};

/// How a leg ended that a restart has ended.
const RESTART: &str = "restart";

pub(super) fn begin(
    work: Work,
    third: ThirdId,
    attempt: AttemptId,
    to: &ThirdTo,
    dialog: &str,
) -> Result<Fact, StoreError> {
    let Some(campaign) = campaign_of(work, attempt)? else {
        return Ok(over());
    };
    let (kind, number, evidence, origination) = match to {
        ThirdTo::Phone => ("phone", None, String::new(), None),
        ThirdTo::Number {
            e164,
            trunk,
            caller_id,
        } => {
            let route = Route {
                trunk: trunk.clone(),
                caller_id: caller_id.clone(),
            };
            match ask(work, Stage::Invite, &campaign, e164, route)? {
                ThirdVerdict::Deny(deny) => return Ok(denied(&deny)),
                ThirdVerdict::Allow {
                    origination,
                    evidence,
                } => {
                    let number = (e164, trunk, caller_id);
                    ("number", Some(number), evidence, Some(origination))
                }
            }
        }
    };
    let (e164, trunk, caller_id) = number.map_or((None, None, None), |(e164, trunk, shown)| {
        (Some(e164), Some(trunk), Some(shown))
    });
    work.conn
        .prepare_cached(
            "INSERT INTO third_legs (id, attempt, kind, e164, trunk, caller_id, dialog, evidence,
                created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            third, attempt, kind, e164, trunk, caller_id, dialog, evidence, work.now
        ])?;
    event_log::write(
        work,
        Kind::ThirdBegun,
        &json!({
            "third": third.to_string(), "attempt": attempt.to_string(), "kind": kind,
            "trunk": trunk.map(|it| it.as_str().to_owned()),
        }),
    )?;
    Ok(Fact::ThirdBegun { third, origination })
}

/// The next trunk or server: the same question, and the row before the INVITE.
pub(super) fn fail_over(
    work: Work,
    third: ThirdId,
    route: Route,
    dialog: &str,
) -> Result<Fact, StoreError> {
    let known: Option<(AttemptId, String)> = work
        .conn
        .prepare_cached(
            "SELECT attempt, e164 FROM third_legs
             WHERE id = ?1 AND ended_at IS NULL AND e164 IS NOT NULL",
        )?
        .query_row([third], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((attempt, e164)) = known else {
        return Ok(over());
    };
    let Some(campaign) = campaign_of(work, attempt)? else {
        return Ok(over());
    };
    let (origination, evidence) = match ask(work, Stage::Failover, &campaign, &e164, route)? {
        ThirdVerdict::Deny(deny) => return Ok(denied(&deny)),
        ThirdVerdict::Allow {
            origination,
            evidence,
        } => (origination, evidence),
    };
    let route = origination.route();
    work.conn
        .prepare_cached(
            "UPDATE third_legs SET trunk = ?2, caller_id = ?3, dialog = ?4,
                evidence = evidence || ?5 WHERE id = ?1",
        )?
        .execute(params![
            third,
            route.trunk,
            route.caller_id,
            dialog,
            evidence
        ])?;
    event_log::write(
        work,
        Kind::ThirdFailover,
        &json!({
            "third": third.to_string(), "attempt": attempt.to_string(),
            "trunk": route.trunk.as_str(),
        }),
    )?;
    Ok(Fact::ThirdBegun {
        third,
        origination: Some(origination),
    })
}

/// Notes how far the leg has come. The first time of each step stays; steps of a leg that has
/// ended come too late to change anything.
pub(super) fn step(work: Work, third: ThirdId, step: &ThirdStep) -> Result<Fact, StoreError> {
    let (sql, kind, dialog) = match step {
        ThirdStep::Alerting { dialog } => (
            "UPDATE third_legs SET alerting_at = coalesce(alerting_at, ?2), dialog = ?3
             WHERE id = ?1 AND ended_at IS NULL",
            Kind::ThirdAlerting,
            dialog,
        ),
        ThirdStep::Answered { dialog } => (
            "UPDATE third_legs SET answered_at = coalesce(answered_at, ?2), dialog = ?3
             WHERE id = ?1 AND ended_at IS NULL",
            Kind::ThirdAnswered,
            dialog,
        ),
    };
    let changed = work
        .conn
        .prepare_cached(sql)?
        .execute(params![third, work.now, dialog])?;
    if changed > 0 {
        event_log::write(work, kind, &json!({ "third": third.to_string() }))?;
    }
    Ok(Fact::Stepped)
}

pub(super) fn end(work: Work, third: ThirdId, outcome: &str) -> Result<Fact, StoreError> {
    let changed = work
        .conn
        .prepare_cached(
            "UPDATE third_legs SET ended_at = ?2, outcome = ?3 WHERE id = ?1 AND ended_at IS NULL",
        )?
        .execute(params![third, work.now, outcome])?;
    if changed > 0 {
        let told = json!({ "third": third.to_string(), "outcome": outcome });
        event_log::write(work, Kind::ThirdEnded, &told)?;
    }
    Ok(Fact::Stepped)
}

pub(super) fn hand_over(
    work: Work,
    attempt: AttemptId,
    to: &str,
    spans: &Spans,
) -> Result<Fact, StoreError> {
    let known: Option<(LeadId, FenceToken, bool)> = work
        .conn
        .prepare_cached(
            "SELECT lead, token, ended_at IS NULL AND transferred_at IS NULL
             FROM attempts WHERE id = ?1",
        )?
        .query_row([attempt], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((lead, token, is_hers)) = known else {
        return Err(StoreError::NoSuchAttempt(attempt));
    };
    if is_hers {
        work.conn
            .prepare_cached(
                "UPDATE attempts SET transferred_to = ?2, transferred_at = ?3, hold_ms = ?4,
                    mute_ms = ?5 WHERE id = ?1",
            )?
            .execute(params![
                attempt,
                to,
                work.now,
                int(spans.hold_ms),
                int(spans.mute_ms)
            ])?;
        finish::wrap_up(work, lead, token, true)?;
        event_log::write(
            work,
            Kind::AttemptTransferred,
            &json!({ "attempt": attempt.to_string(), "lead": lead.0, "to": to }),
        )?;
    }
    Ok(Fact::HandedOver { attempt })
}

/// Legs that an earlier process left, now ended in the books.
pub(super) fn orphans(work: Work) -> Result<Vec<ThirdOrphan>, StoreError> {
    let mut statement = work.conn.prepare_cached(
        "SELECT id, attempt, answered_at IS NOT NULL, alerting_at IS NOT NULL, dialog
         FROM third_legs WHERE ended_at IS NULL ORDER BY created_at, id",
    )?;
    let rows = statement.query_map([], |row| {
        let phase = match (row.get(2)?, row.get(3)?) {
            (true, _) => OrphanPhase::Answered,
            (false, true) => OrphanPhase::Ringing,
            (false, false) => OrphanPhase::Dialing,
        };
        Ok(ThirdOrphan {
            third: row.get(0)?,
            attempt: row.get(1)?,
            phase,
            dialog: row.get(4)?,
        })
    })?;
    let orphans: Vec<ThirdOrphan> = rows.collect::<Result<_, _>>()?;
    for orphan in &orphans {
        end(work, orphan.third, RESTART)?;
    }
    Ok(orphans)
}

fn ask(
    work: Work,
    stage: Stage,
    campaign: &Campaign,
    e164: &str,
    route: Route,
) -> Result<ThirdVerdict, StoreError> {
    let exists = |sql: &str| -> Result<bool, StoreError> {
        let mut statement = work.conn.prepare_cached(sql)?;
        Ok(statement.query_row([e164], |row| row.get(0))?)
    };
    let is_suppressed = exists(
        "SELECT EXISTS (SELECT 1 FROM suppressions WHERE e164 = ?1)
             OR EXISTS (SELECT 1 FROM suppressions s JOIN phones p ON p.contact = s.contact
                        WHERE p.e164 = ?1)",
    )?;
    let is_live = exists(
        "SELECT EXISTS (SELECT 1 FROM attempts WHERE ended_at IS NULL AND e164 = ?1)
             OR EXISTS (SELECT 1 FROM third_legs WHERE ended_at IS NULL AND e164 = ?1)",
    )?;
    let route = campaign.routes.contains(&route).then_some(route);
    Ok(may_bring_in(&ThirdQuestion {
        now: work.now,
        stage,
        campaign,
        e164,
        is_suppressed,
        is_live,
        contact_zones: contact_zones(work, campaign, e164)?,
        route,
    }))
}

/// Every zone that any contact's phone of this number may lie in.
fn contact_zones(
    work: Work,
    campaign: &Campaign,
    e164: &str,
) -> Result<Option<Vec<jiff::tz::TimeZone>>, StoreError> {
    let mut statement = work
        .conn
        .prepare_cached("SELECT time_zones FROM phones WHERE e164 = ?1")?;
    let rows = statement.query_map([e164], |row| row.get(0))?;
    let written: Vec<String> = rows.collect::<Result<_, _>>()?;
    if written.is_empty() {
        return Ok(None);
    }
    let named = |text: &String| -> Vec<String> {
        let names = text.split(',').filter(|it| !it.is_empty());
        names.map(str::to_owned).collect()
    };
    let mut names: Vec<String> = written.iter().flat_map(named).collect();
    if names.is_empty() {
        names.clone_from(&campaign.time_zones_default);
    }
    names.sort_unstable();
    names.dedup();
    let zones = names.iter().filter_map(|name| hours::zone(name));
    Ok(Some(zones.collect()))
}

/// The rules of a live attempt's campaign.
fn campaign_of(work: Work, attempt: AttemptId) -> Result<Option<Campaign>, StoreError> {
    let id: Option<CampaignId> = work
        .conn
        .prepare_cached("SELECT campaign FROM attempts WHERE id = ?1 AND ended_at IS NULL")?
        .query_row([attempt], |row| row.get(0))
        .optional()?;
    Ok(id.map(|id| work.campaign(&id).into_owned()))
}

fn over() -> Fact {
    Fact::Refused {
        rule: "no_call",
        detail: "the call has ended".to_owned(),
    }
}

fn denied(deny: &Deny) -> Fact {
    Fact::Denied {
        rules: deny.rules(),
        earliest: deny.earliest,
    }
}
