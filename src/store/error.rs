//! Why the store cannot do its work: one clear line with the place and the remedy.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "cannot use the folder {path}: {source}; create it or give this user the right to write there"
    )]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is in use by another foredial; stop that one or name another [store] path")]
    Locked { path: PathBuf },
    #[error(
        "{path} is not a database foredial can read ({detail}); restore it from a backup or move it away"
    )]
    Corrupt { path: PathBuf, detail: String },
    #[error("cannot bring {path} up to date: {detail}")]
    Migration { path: PathBuf, detail: String },
    #[error("the disk under {path} is full; free some space")]
    Full { path: PathBuf },
    #[error("database: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error("a row cannot be read back: {0}")]
    Row(String),
    #[error("no attempt {0}")]
    NoSuchAttempt(crate::id::AttemptId),
    #[error("cannot start the writer: {0}")]
    Thread(std::io::Error),
    #[error("nothing was saved: {0}")]
    NotCommitted(String),
}

impl StoreError {
    /// The same error with the database's path where SQLite's code calls for one.
    pub(super) fn located(self, path: &std::path::Path) -> StoreError {
        match self {
            StoreError::Sql(error) => StoreError::at(path, error),
            other => other,
        }
    }

    /// Turns SQLite's codes for a damaged, foreign or full database into their own errors.
    pub(super) fn at(path: &std::path::Path, error: rusqlite::Error) -> StoreError {
        use rusqlite::ErrorCode;
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Corrupt {
                path,
                detail: error.to_string(),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Locked { path }
            }
            Some(ErrorCode::DiskFull) => StoreError::Full { path },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                let source = std::io::Error::other(error.to_string());
                StoreError::Folder { path, source }
            }
            _ => StoreError::Sql(error),
        }
    }
}
