//! The next card for an agent: the first lead, in the dialer's order, that the gate lets through.

use rusqlite::{OptionalExtension, params, params_from_iter};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

use super::db::Work;
use super::error::StoreError;
use super::fact::{Fact, NothingToDial};
use super::lead_row::{self, LeadRow};
use super::standing::{self, PhoneRow};
use super::{assign_sql, card, event_log};
use crate::dialer::assign::Class;
use crate::dialer::gate::{Deny, Rule, Stage, Verdict};
use crate::dialer::hours;
use crate::dialer::lead::{CloseReason, LeadState, SuppressReason};
use crate::dialer::reservation::{Life, Phase};
use crate::event::Kind;
use crate::id::{AgentId, CampaignId, FenceToken, LeadId};
use crate::now::UtcMs;

/// How many leads the gate is asked about for one card. Leads outside their hours are told apart
/// before that and do not count.
const GATED_MAX: usize = 20_000;

pub(super) fn reserve_next(
    work: Work,
    agent: &AgentId,
    campaigns: &[CampaignId],
) -> Result<Fact, StoreError> {
    let held: Option<(FenceToken, Phase)> = work
        .conn
        .prepare_cached(
            "SELECT token, phase FROM reservations WHERE agent = ?1 AND ended_at IS NULL",
        )?
        .query_row([agent], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match held {
        Some((token, Phase::Preview)) => {
            Ok(Fact::Reserved(Box::new(card::reservation(work, token)?)))
        }
        Some((_, phase)) => Ok(Fact::Refused {
            rule: "agent_busy",
            detail: format!("this agent's last card is still in {}", phase.name()),
        }),
        None => search(work, agent, campaigns),
    }
}

fn search(work: Work, agent: &AgentId, campaigns: &[CampaignId]) -> Result<Fact, StoreError> {
    let mut tally = Tally::default();
    let mut found = None;
    if !campaigns.is_empty() {
        for class in Class::ORDER {
            found = first_of_class(work, class, agent, campaigns, &mut tally)?;
            if found.is_some() {
                break;
            }
        }
    }
    for (lead, state) in std::mem::take(&mut tally.hopeless) {
        lead_row::settle(work, lead, &state)?;
        event_log::write(
            work,
            Kind::LeadClosed,
            &json!({ "lead": lead.0, "state": state.name() }),
        )?;
    }
    match found {
        Some((lead, class)) => grant(work, &lead, class, agent),
        None => {
            count_waiting(work, campaigns, &mut tally)?;
            Ok(Fact::NothingToDial(tally.report()))
        }
    }
}

fn first_of_class(
    work: Work,
    class: Class,
    agent: &AgentId,
    campaigns: &[CampaignId],
    tally: &mut Tally,
) -> Result<Option<(LeadRow, Class)>, StoreError> {
    let (sql, values) = assign_sql::candidates(class, agent, campaigns, work.now);
    let mut statement = work.conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        // The campaign and the zones alone tell most of those apart that are closed.
        let opens = tally.closed_until(work, text(row, 2)?, text(row, 15)?);
        if let Some(opens) = opens {
            tally.count(Rule::OutsideHours, opens);
            continue;
        }
        let lead = lead_row::from_row(row)?;
        let grace_ms = work.campaign(&lead.campaign).callback_grace_ms;
        if Class::of(&lead.state, agent, work.now, grace_ms) != Some(class) {
            tally.count(Rule::NotBefore, None); // Another agent's callback, still theirs.
            continue;
        }
        if tally.gated >= GATED_MAX {
            break;
        }
        tally.gated += 1;
        if is_callable(work, &lead, agent, tally)? {
            return Ok(Some((lead, class)));
        }
    }
    Ok(None)
}

/// Asks for each phone in turn; counts what speaks against the lead when none may be dialed.
fn is_callable(
    work: Work,
    lead: &LeadRow,
    agent: &AgentId,
    tally: &mut Tally,
) -> Result<bool, StoreError> {
    let route = work.campaign(&lead.campaign).routes.first().cloned();
    let mut denials = Vec::new();
    for phone in standing::phones(work, lead)? {
        match standing::ask(work, Stage::Reservation, lead, &phone, agent, route.clone())? {
            Verdict::Allow(_) => return Ok(true),
            Verdict::Deny(deny) => denials.push((phone, deny)),
        }
    }
    if let Some(state) = hopeless(&denials) {
        tally.hopeless.push((lead.id, state));
    }
    // The phone that is let go first speaks for the lead.
    let earliest = |it: &(PhoneRow, Deny)| it.1.earliest.map_or(i64::MAX, |at| at.0);
    if let Some((_, deny)) = denials.into_iter().min_by_key(earliest) {
        let rule = deny.refusals.first().map_or(Rule::NoRoute, |it| it.rule);
        tally.count(rule, deny.earliest);
    } else {
        tally.count(Rule::PhoneBad, None);
    }
    Ok(false)
}

/// Where a lead goes whose every phone is barred for good: nobody need look at it again.
fn hopeless(denials: &[(PhoneRow, Deny)]) -> Option<LeadState> {
    let has = |deny: &Deny, rule| deny.refusals.iter().any(|it| it.rule == rule);
    let barred = [
        Rule::PhoneBad,
        Rule::Suppressed,
        Rule::PhoneDone,
        Rule::CapLife,
    ];
    let is_barred = |deny: &Deny| barred.iter().any(|rule| has(deny, *rule));
    if !denials.iter().all(|(_, deny)| is_barred(deny)) {
        return None;
    }
    let any = |rule| denials.iter().any(|(_, deny)| has(deny, rule));
    Some(if any(Rule::Suppressed) {
        LeadState::Suppressed(SuppressReason::Dnc)
    } else if any(Rule::CapLife) {
        LeadState::Closed(CloseReason::MaxAttempts)
    } else {
        LeadState::Closed(CloseReason::NoCallableNumber)
    })
}

fn grant(work: Work, lead: &LeadRow, class: Class, agent: &AgentId) -> Result<Fact, StoreError> {
    let life = Life::start(&work.campaign(&lead.campaign).preview, work.now);
    work.conn
        .prepare_cached(
            "INSERT INTO reservations (lead, agent, phase, granted_at, deadline, expires_at)
             VALUES (?1, ?2, 'preview', ?3, ?4, ?5)",
        )?
        .execute(params![
            lead.id,
            agent,
            life.granted_at,
            life.deadline,
            life.expires_at
        ])?;
    let token = FenceToken(u64::try_from(work.conn.last_insert_rowid()).unwrap_or(0));
    lead_row::take(work, lead.id, token)?;
    event_log::write(
        work,
        Kind::LeadReserved,
        &json!({
            "lead": lead.id.0, "token": token.0, "agent": agent.as_str(), "class": class.name(),
        }),
    )?;
    Ok(Fact::Reserved(Box::new(card::reservation(work, token)?)))
}

fn count_waiting(
    work: Work,
    campaigns: &[CampaignId],
    tally: &mut Tally,
) -> Result<(), StoreError> {
    for campaign in campaigns {
        let (many, earliest): (i64, Option<UtcMs>) = work
            .conn
            .prepare_cached(
                "SELECT count(*), min(not_before) FROM leads
                 WHERE campaign = ?1 AND state = 'waiting' AND not_before > ?2",
            )?
            .query_row(params![campaign, work.now], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        if many > 0 {
            *tally.counts.entry(Rule::NotBefore).or_default() += super::column::length(many);
            tally.sooner(earliest);
        }
    }
    Ok(())
}

/// What the search saw on its way.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<Rule, u64>,
    earliest: Option<UtcMs>,
    gated: usize,
    hopeless: Vec<(LeadId, LeadState)>,
    /// By campaign and zones: `None` = open now, else when it opens, if ever.
    hours: HashMap<String, HashMap<String, Option<Option<UtcMs>>>>,
}

impl Tally {
    fn count(&mut self, rule: Rule, earliest: Option<UtcMs>) {
        *self.counts.entry(rule).or_default() += 1;
        self.sooner(earliest);
    }

    fn sooner(&mut self, at: Option<UtcMs>) {
        self.earliest = self.earliest.into_iter().chain(at).min();
    }

    /// Whether every phone with these zones is outside its hours, and until when. Thousands of
    /// leads share few zones: this spares the gate's queries for all of them.
    fn closed_until(&mut self, work: Work, campaign: &str, phones: &str) -> Option<Option<UtcMs>> {
        let known = self.hours.get(campaign).and_then(|it| it.get(phones));
        if let Some(known) = known {
            return *known;
        }
        let answer = closed_until(work, &CampaignId::new(campaign), phones);
        let of_campaign = self.hours.entry(campaign.to_owned()).or_default();
        of_campaign.insert(phones.to_owned(), answer);
        answer
    }

    fn report(self) -> NothingToDial {
        let mut counts: Vec<_> = self.counts.into_iter().collect();
        counts.sort_by_key(|(rule, many)| (std::cmp::Reverse(*many), *rule));
        NothingToDial {
            counts,
            earliest: self.earliest,
        }
    }
}

/// A column's text without a copy; empty when it is NULL.
fn text<'r>(row: &'r rusqlite::Row, column: usize) -> Result<&'r str, StoreError> {
    let text = row.get_ref(column)?.as_str_or_null();
    Ok(text
        .map_err(|error| StoreError::Row(error.to_string()))?
        .unwrap_or_default())
}

/// Every phone's zones stand in `phones`, `;` between them.
fn closed_until(work: Work, campaign: &CampaignId, phones: &str) -> Option<Option<UtcMs>> {
    let rules = work.campaign(campaign);
    let mut opens = None;
    for phone in phones.split(';') {
        let zones: Vec<_> = phone.split(',').filter_map(hours::zone).collect();
        if zones.is_empty() || rules.hours.is_open(work.now, &zones) {
            return None;
        }
        let next = rules.hours.next_open(work.now, &zones);
        opens = opens.into_iter().chain(next).min();
    }
    Some(opens)
}
