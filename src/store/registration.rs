//! Where registered phones can be reached, so that a restart loses none (RFC 3261 §10.3). A
//! user's bindings are one row, in the registrar's own lines; the store only keeps them.

use rusqlite::params;

use super::command::Bound;
use super::db::Work;
use super::error::StoreError;
use super::fact::Fact;
use super::read::View;

/// Writes what has changed, and forgets what has run out.
pub(super) fn save(work: Work, changed: &[Bound]) -> Result<Fact, StoreError> {
    let conn = work.conn;
    conn.prepare_cached("DELETE FROM registrations WHERE until <= ?1")?
        .execute([work.now])?;
    let mut put = conn.prepare_cached(
        "INSERT OR REPLACE INTO registrations (user, bindings, until) VALUES (?1, ?2, ?3)",
    )?;
    let mut drop = conn.prepare_cached("DELETE FROM registrations WHERE user = ?1")?;
    for one in changed {
        match one.lines.is_empty() {
            true => drop.execute([&one.user])?,
            false => put.execute(params![one.user, one.lines.join("\n"), one.until])?,
        };
    }
    Ok(Fact::BindingsSaved)
}

impl View<'_> {
    /// Every binding that has not run out, a line each.
    pub fn bindings(&self) -> Result<Vec<String>, StoreError> {
        let mut rows = self
            .0
            .conn
            .prepare_cached("SELECT bindings FROM registrations WHERE until > ?1 ORDER BY user")?;
        let rows = rows.query_map([self.0.now], |row| row.get::<_, String>(0))?;
        let mut lines = Vec::new();
        for row in rows {
            lines.extend(row?.lines().map(str::to_owned));
        }
        Ok(lines)
    }
}
