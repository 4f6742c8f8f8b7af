//! The numbered events, written in the transaction of the rows they tell of.

use rusqlite::params;
use serde_json::Value;

use super::db::Work;
use super::error::StoreError;
use crate::event::Kind;

pub(super) fn write(work: Work, kind: Kind, json: &Value) -> Result<(), StoreError> {
    work.conn
        .prepare_cached("INSERT INTO events (at, kind, json) VALUES (?1, ?2, ?3)")?
        .execute(params![work.now, kind.name(), json.to_string()])?;
    Ok(())
}
