//! What is known of recordings.

use rusqlite::params;
use serde_json::json;

use super::column::int;
use super::db::Work;
use super::error::StoreError;
use super::event_log;
use super::fact::Fact;
use crate::event::Kind;
use crate::id::AttemptId;

pub(super) struct Done<'a> {
    pub path: &'a str,
    pub duration_ms: u64,
    pub bytes: u64,
    pub sha256: Option<&'a str>,
}

pub(super) fn started(work: Work, attempt: AttemptId, path: &str) -> Result<Fact, StoreError> {
    let changed = work
        .conn
        .prepare_cached(
            "UPDATE attempts SET recording = 'running', recording_path = ?2
             WHERE id = ?1 AND recording = 'none'",
        )?
        .execute(params![attempt, path])?;
    noted(work, attempt, changed, Kind::RecordingStarted)
}

pub(super) fn done(work: Work, attempt: AttemptId, file: &Done) -> Result<Fact, StoreError> {
    let changed = work
        .conn
        .prepare_cached(
            "UPDATE attempts SET recording = 'done', recording_path = ?2, recording_ms = ?3,
                recording_bytes = ?4, recording_sha256 = ?5, recording_error = NULL
             WHERE id = ?1",
        )?
        .execute(params![
            attempt,
            file.path,
            int(file.duration_ms),
            int(file.bytes),
            file.sha256
        ])?;
    noted(work, attempt, changed, Kind::RecordingDone)
}

pub(super) fn failed(work: Work, attempt: AttemptId, why: &str) -> Result<Fact, StoreError> {
    let changed = work
        .conn
        .prepare_cached(
            "UPDATE attempts SET recording = 'failed', recording_error = ?2
             WHERE id = ?1 AND recording <> 'done'",
        )?
        .execute(params![attempt, why])?;
    noted(work, attempt, changed, Kind::RecordingFailed)
}

fn noted(work: Work, attempt: AttemptId, changed: usize, kind: Kind) -> Result<Fact, StoreError> {
    if changed == 1 {
        event_log::write(work, kind, &json!({ "attempt": attempt.to_string() }))?;
    }
    Ok(Fact::RecordingNoted)
}
