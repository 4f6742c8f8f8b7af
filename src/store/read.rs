//! What can be read: [`View`] over any connection, [`Reader`] a read-only connection of its own
//! (one a thread). A view sees one moment per call; nothing here writes.

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::card;
use super::column::length;
use super::db::Work;
use super::error::StoreError;
use super::fact::{AttemptView, LeadView, Reservation};
use super::lead_row;
use crate::dialer::campaign::Rules;
use crate::id::{AgentId, AttemptId, CampaignId, FenceToken, LeadId};
use crate::leads::export::ExportRow;
use crate::now::UtcMs;

const BUSY_WAIT: Duration = Duration::from_secs(2);

/// A read-only connection. Open one per thread.
pub struct Reader {
    conn: Connection,
    rules: Arc<Rules>,
}

impl Reader {
    /// `rules` are those the gate's part of a view is asked with.
    pub fn open(path: &Path, rules: Arc<Rules>) -> Result<Reader, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let conn = Connection::open_with_flags(path, flags)?;
            conn.busy_timeout(BUSY_WAIT)?;
            conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(conn)
        };
        let conn = open().map_err(|error| StoreError::at(path, error))?;
        Ok(Reader { conn, rules })
    }

    pub fn view(&self, now: UtcMs) -> View<'_> {
        View(Work {
            conn: &self.conn,
            now,
            rules: &self.rules,
        })
    }
}

/// How many leads stand in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCount {
    pub campaign: CampaignId,
    pub state: String,
    pub leads: u64,
}

/// A numbered event as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    pub seq: u64,
    pub at: UtcMs,
    pub kind: String,
    pub json: String,
}

/// The store at one moment.
#[derive(Clone, Copy)]
pub struct View<'a>(pub(super) Work<'a>);

impl View<'_> {
    /// The lead as this agent would see it; its phones' refusals are the gate's explanation.
    pub fn lead(&self, lead: LeadId, agent: &AgentId) -> Result<Option<LeadView>, StoreError> {
        match lead_row::load(self.0, lead)? {
            Some(row) => card::lead_view(self.0, &row, agent).map(Some),
            None => Ok(None),
        }
    }

    /// The card of a reservation, live or ended.
    pub fn reservation(&self, token: FenceToken) -> Result<Option<Reservation>, StoreError> {
        match lead_row::reservation(self.0, token)? {
            Some(_) => card::reservation(self.0, token).map(Some),
            None => Ok(None),
        }
    }

    /// The agent's live card, in whatever phase.
    pub fn card_of(&self, agent: &AgentId) -> Result<Option<Reservation>, StoreError> {
        let token = self
            .0
            .conn
            .prepare_cached("SELECT token FROM reservations WHERE agent = ?1 AND ended_at IS NULL")?
            .query_row([agent], |row| row.get(0))
            .optional()?;
        token
            .map(|token| card::reservation(self.0, token))
            .transpose()
    }

    /// Everything this agent still has to dispose: the card in wrap-up, and the calls whose
    /// wrap-up ran out without a word.
    pub fn wrap_ups(&self, agent: &AgentId) -> Result<Vec<Reservation>, StoreError> {
        let tokens: Vec<FenceToken> = self
            .0
            .conn
            .prepare_cached(
                "SELECT r.token FROM leads l JOIN reservations r ON r.token = l.token
                 WHERE l.state = 'wrap_up' AND r.agent = ?1 ORDER BY r.token",
            )?
            .query_map([agent], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        tokens
            .into_iter()
            .map(|token| card::reservation(self.0, token))
            .collect()
    }

    pub fn attempt(&self, attempt: AttemptId) -> Result<Option<AttemptView>, StoreError> {
        card::attempt_view(self.0, attempt)
    }

    /// Recent attempts, newest first; the next page starts `before` the last one's time and id.
    pub fn attempts(
        &self,
        agent: Option<&AgentId>,
        before: Option<(UtcMs, AttemptId)>,
        limit: u32,
    ) -> Result<Vec<AttemptView>, StoreError> {
        let (at, id) = match before {
            Some((at, id)) => (at, id.to_string()),
            None => (UtcMs(i64::MAX), String::new()),
        };
        card::attempts(
            self.0,
            "(?1 IS NULL OR a.agent = ?1) AND (a.created_at, a.id) < (?2, ?3)
             ORDER BY a.created_at DESC, a.id DESC LIMIT ?4",
            params![agent, at, id, limit],
        )
    }

    /// Where the recording of an attempt lies, finished or not.
    pub fn recording_path(&self, attempt: AttemptId) -> Result<Option<String>, StoreError> {
        let path: Option<Option<String>> = self
            .0
            .conn
            .prepare_cached("SELECT recording_path FROM attempts WHERE id = ?1")?
            .query_row([attempt], |row| row.get(0))
            .optional()?;
        Ok(path.flatten())
    }

    /// The gate's evidence for an attempt.
    pub fn evidence(&self, attempt: AttemptId) -> Result<Option<String>, StoreError> {
        let text = self
            .0
            .conn
            .prepare_cached("SELECT text FROM evidence WHERE attempt = ?1")?
            .query_row([attempt], |row| row.get(0))
            .optional()?;
        Ok(text)
    }

    pub fn state_counts(&self) -> Result<Vec<StateCount>, StoreError> {
        let mut statement = self.0.conn.prepare_cached(
            "SELECT campaign, state, count(*) FROM leads GROUP BY 1, 2 ORDER BY 1, 2",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(StateCount {
                campaign: row.get(0)?,
                state: row.get(1)?,
                leads: length(row.get(2)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Leads of a campaign by id, a page at a time.
    pub fn leads(
        &self,
        campaign: Option<&CampaignId>,
        after: LeadId,
        limit: u32,
        agent: &AgentId,
    ) -> Result<Vec<LeadView>, StoreError> {
        let ids: Vec<LeadId> = self
            .0
            .conn
            .prepare_cached(
                "SELECT id FROM leads WHERE (?1 IS NULL OR campaign = ?1) AND id > ?2
                 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![campaign, after, limit], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut leads = Vec::new();
        for id in ids {
            leads.extend(self.lead(id, agent)?);
        }
        Ok(leads)
    }

    pub fn events_since(&self, seq: u64, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        let mut statement = self.0.conn.prepare_cached(
            "SELECT seq, at, kind, json FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let rows = statement.query_map(params![super::column::int(seq), limit], |row| {
            Ok(EventRow {
                seq: length(row.get(0)?),
                at: row.get(1)?,
                kind: row.get(2)?,
                json: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Who is signed in by this token's hash.
    pub fn session(&self, token_hash: &[u8]) -> Result<Option<AgentId>, StoreError> {
        let agent = self
            .0
            .conn
            .prepare_cached("SELECT agent FROM sessions WHERE token_hash = ?1 AND expires_at > ?2")?
            .query_row(params![token_hash, self.0.now], |row| row.get(0))
            .optional()?;
        Ok(agent)
    }

    /// Every lead of a campaign with its last result, for `leads::export`.
    pub fn export(&self, campaign: &CampaignId) -> Result<Vec<ExportRow>, StoreError> {
        let mut statement = self.0.conn.prepare_cached(
            "SELECT l.id, c.external_id, c.name, c.company, c.language,
                    (SELECT group_concat(e164, ' ')
                     FROM (SELECT e164 FROM phones WHERE contact = c.id ORDER BY position)),
                    l.state, l.reason, l.not_before, l.business_count,
                    a.result, a.ended_at, a.agent, o.disposition, o.notes, c.fields
             FROM leads l JOIN contacts c ON c.id = l.contact
             LEFT JOIN attempts a ON a.id = (SELECT id FROM attempts WHERE lead = l.id
                  AND result IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT 1)
             LEFT JOIN outcomes o ON o.id = (SELECT max(id) FROM outcomes WHERE attempt = a.id
                  AND is_stale = 0)
             WHERE l.campaign = ?1 ORDER BY l.id",
        )?;
        let rows = statement.query_map([campaign], |row| {
            let text = |at| {
                row.get::<_, Option<String>>(at)
                    .map(Option::unwrap_or_default)
            };
            let fields: String = row.get(15)?;
            Ok(ExportRow {
                lead: row.get(0)?,
                external_id: text(1)?,
                name: text(2)?,
                company: text(3)?,
                language: text(4)?,
                phones: text(5)?,
                state: text(6)?,
                reason: text(7)?,
                not_before: row.get(8)?,
                attempts: row.get(9)?,
                result: text(10)?,
                called_at: row.get(11)?,
                agent: text(12)?,
                disposition: text(13)?,
                notes: text(14)?,
                fields: serde_json::from_str(&fields).unwrap_or_default(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One lead with everything about it, as JSON for tests and `ctl`.
    pub fn dump(&self, lead: LeadId) -> Result<Option<Value>, StoreError> {
        if lead_row::load(self.0, lead)?.is_none() {
            return Ok(None);
        }
        let table = |sql: &str| rows_as_json(self.0.conn, sql, lead);
        Ok(Some(json!({
            "lead": table("SELECT * FROM leads WHERE id = ?1")?,
            "third_parties": table(
                "SELECT t.* FROM third_legs t JOIN attempts a ON a.id = t.attempt
                 WHERE a.lead = ?1 ORDER BY t.created_at, t.id",
            )?,
            "phones": table(
                "SELECT p.*, lp.not_before AS lead_not_before, lp.is_done FROM phones p
                 LEFT JOIN lead_phones lp ON lp.phone = p.id AND lp.lead = ?1
                 WHERE p.contact = (SELECT contact FROM leads WHERE id = ?1)")?,
            "reservations": table("SELECT * FROM reservations WHERE lead = ?1 ORDER BY token")?,
            "attempts": table("SELECT * FROM attempts WHERE lead = ?1 ORDER BY created_at, id")?,
            "outcomes": table("SELECT * FROM outcomes WHERE lead = ?1 ORDER BY id")?,
        })))
    }
}

fn rows_as_json(conn: &Connection, sql: &str, lead: LeadId) -> Result<Value, StoreError> {
    use rusqlite::types::ValueRef;
    let mut statement = conn.prepare_cached(sql)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([lead])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut object = serde_json::Map::new();
        for (at, name) in names.iter().enumerate() {
            let value = match row.get_ref(at)? {
                ValueRef::Integer(number) => json!(number),
                ValueRef::Real(number) => json!(number),
                ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
                ValueRef::Null | ValueRef::Blob(_) => Value::Null,
            };
            object.insert(name.clone(), value);
        }
        all.push(Value::Object(object));
    }
    Ok(Value::Array(all))
}
