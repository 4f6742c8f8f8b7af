//! The write-ahead log flows back into the database beside the writer, on a thread and a connection
//! of its own: a checkpoint waits for the disk several times, and no commit should wait for that.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use rusqlite::Connection;

use super::db::Db;
use super::error::StoreError;

/// Commits between two checkpoints: some 1,000 pages, as SQLite itself would choose.
const COMMITS_EACH: u64 = 200;
/// Should the thread fail, the writer does it by itself from here on.
const PAGES_AT_MOST: u32 = 20_000;

/// Dropping it ends the thread; the last connection that closes empties the log.
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    commits: u64,
}

impl Checkpointer {
    pub fn start(db: &Db) -> Result<Checkpointer, StoreError> {
        let path = db.path();
        db.checkpoint_at(PAGES_AT_MOST)?;
        let conn = Connection::open(path).map_err(|error| StoreError::at(path, error))?;
        let (wake, wakes) = sync_channel(1);
        std::thread::Builder::new()
            .name("store-wal".to_owned())
            .spawn(move || run(&conn, &wakes))
            .map_err(StoreError::Thread)?;
        Ok(Checkpointer { wake, commits: 0 })
    }

    pub fn committed(&mut self) {
        self.commits += 1;
        if !self.commits.is_multiple_of(COMMITS_EACH) {
            return;
        }
        match self.wake.try_send(()) {
            // One that has not begun yet takes these commits along.
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                tracing::warn!("the checkpoint thread has ended; commits will wait for it");
            }
        }
    }
}

fn run(conn: &Connection, wakes: &Receiver<()>) {
    while wakes.recv().is_ok() {
        // Passive: takes what no reader needs and never makes the writer wait.
        let done = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = done {
            tracing::warn!(%error, "checkpoint");
        }
    }
}
