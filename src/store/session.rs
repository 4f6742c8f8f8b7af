//! Sign-ins. Only a token's hash is kept.

use rusqlite::params;

use super::db::Work;
use super::error::StoreError;
use super::fact::Fact;
use crate::id::AgentId;
use crate::now::UtcMs;

pub(super) fn open(
    work: Work,
    token_hash: &[u8],
    agent: &AgentId,
    expires_at: UtcMs,
) -> Result<Fact, StoreError> {
    work.conn
        .execute("DELETE FROM sessions WHERE expires_at <= ?1", [work.now])?;
    work.conn.execute(
        "INSERT OR REPLACE INTO sessions (token_hash, agent, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4)",
        params![token_hash, agent, work.now, expires_at],
    )?;
    Ok(Fact::SessionNoted)
}

pub(super) fn close(work: Work, token_hash: &[u8]) -> Result<Fact, StoreError> {
    work.conn
        .execute("DELETE FROM sessions WHERE token_hash = ?1", [token_hash])?;
    Ok(Fact::SessionNoted)
}
