//! The synchronous core: a connection, the rules, and `apply`. No thread and no clock, so that a
//! simulation can hold one in its hand.

use rusqlite::{Connection, TransactionBehavior};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::command::Command;
use super::error::StoreError;
use super::event_log;
use super::fact::Fact;
use super::read::View;
use super::{
    dial, dispose, finish, import, inbound, phone, recording, recover, registration, release,
    reserve, session, take_over, third,
};
use crate::dialer::campaign::{Campaign, Route, Rules};
use crate::event::Kind;
use crate::id::CampaignId;
use crate::now::UtcMs;

mod embedded {
    refinery::embed_migrations!("src/store/migrations");
}

/// How long a statement waits for another process (a backup, `sqlite3`) to let go.
const BUSY_WAIT: Duration = Duration::from_secs(5);
const STATEMENTS_CACHED: usize = 160;
/// A database up to this size is checked page by page when it is opened.
const CHECKED_BYTES_MAX: i64 = 256 << 20;

/// Where a database lives.
#[derive(Clone, Debug)]
pub enum Place {
    File(PathBuf),
    Memory,
}

/// The database with its one writer's connection.
pub struct Db {
    conn: Connection,
    rules: Arc<Rules>,
    path: PathBuf,
    // Held as long as the database: a second process must not write beside us.
    _lock: Option<File>,
}

/// What one command works with.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub conn: &'a Connection,
    pub now: UtcMs,
    pub rules: &'a Rules,
}

impl Work<'_> {
    /// The campaign's rules; one that is configured no more has the defaults and stands still.
    pub fn campaign(&self, id: &CampaignId) -> std::borrow::Cow<'_, Campaign> {
        match self.rules.campaigns.get(id) {
            Some(campaign) => std::borrow::Cow::Borrowed(campaign),
            None => {
                let stopped = Campaign {
                    running: false,
                    ..Campaign::new(id.clone())
                };
                std::borrow::Cow::Owned(stopped)
            }
        }
    }
}

impl Db {
    pub fn open(place: &Place) -> Result<Db, StoreError> {
        match place {
            Place::Memory => {
                let path = PathBuf::from(":memory:");
                Db::prepare(Connection::open_in_memory()?, path, None)
            }
            Place::File(path) => {
                let lock = lock_beside(path)?;
                let conn = Connection::open(path).map_err(|error| StoreError::at(path, error))?;
                Db::prepare(conn, path.clone(), Some(lock))
            }
        }
    }

    fn prepare(mut conn: Connection, path: PathBuf, lock: Option<File>) -> Result<Db, StoreError> {
        configure(&conn).map_err(|error| StoreError::at(&path, error))?;
        let detail = check(&conn).map_err(|error| StoreError::at(&path, error))?;
        if detail != "ok" {
            return Err(StoreError::Corrupt { path, detail });
        }
        embedded::migrations::runner()
            .run(&mut conn)
            .map_err(|error| StoreError::Migration {
                path: path.clone(),
                detail: error.to_string(),
            })?;
        Ok(Db {
            conn,
            rules: Arc::default(),
            path,
            _lock: lock,
        })
    }

    /// One command in a transaction of its own.
    pub fn apply(&mut self, now: UtcMs, command: &Command) -> Result<Fact, StoreError> {
        let mut answers = self.apply_batch(std::iter::once((now, command)))?;
        answers
            .pop()
            .unwrap_or_else(|| Err(StoreError::NotCommitted("no answer".to_owned())))
    }

    /// Many commands in one commit, each on a savepoint of its own: one that fails takes back only
    /// itself. `Err`: nothing of the whole batch has happened.
    pub fn apply_batch<'c>(
        &mut self,
        commands: impl IntoIterator<Item = (UtcMs, &'c Command)>,
    ) -> Result<Vec<Result<Fact, StoreError>>, StoreError> {
        let path = &self.path;
        let not_begun = |error| StoreError::at(path, error);
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(not_begun)?;
        let mut answers = Vec::new();
        for (now, command) in commands {
            if let Command::Configure { rules } = command {
                self.rules = Arc::clone(rules);
            }
            tx.prepare_cached("SAVEPOINT command")?.execute([])?;
            let answer = run(
                Work {
                    conn: &tx,
                    now,
                    rules: &self.rules,
                },
                command,
            );
            if answer.is_err() {
                if tx.is_autocommit() {
                    // SQLite gave up the whole transaction: disk full, I/O error.
                    return Err(answer.err().map_or_else(
                        || StoreError::NotCommitted("transaction lost".to_owned()),
                        |error| error.located(path),
                    ));
                }
                tx.prepare_cached("ROLLBACK TO command")?.execute([])?;
            }
            tx.prepare_cached("RELEASE command")?.execute([])?;
            answers.push(answer.map_err(|error| error.located(path)));
        }
        tx.commit().map_err(|error| StoreError::at(path, error))?;
        Ok(answers)
    }

    /// What can be read at this moment.
    pub fn view(&self, now: UtcMs) -> View<'_> {
        View(Work {
            conn: &self.conn,
            now,
            rules: &self.rules,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The writer's own checkpoints come only once the log has this many pages.
    pub(super) fn checkpoint_at(&self, pages: u32) -> Result<(), StoreError> {
        self.conn
            .pragma_update(None, "wal_autocheckpoint", pages)
            .map_err(|error| StoreError::at(&self.path, error))
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.conn
    }
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_WAIT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    conn.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on the disk before it is acknowledged; group commit makes that affordable.
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)
}

/// `ok`, or what is wrong with the file. A large one is not read through: the start must be quick.
fn check(conn: &Connection) -> rusqlite::Result<String> {
    let bytes: i64 = conn.query_row(
        "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
        [],
        |row| row.get(0),
    )?;
    if bytes > CHECKED_BYTES_MAX {
        return Ok("ok".to_owned());
    }
    conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

/// The lock is the kernel's: it goes with the process, however that ends.
fn lock_beside(path: &Path) -> Result<File, StoreError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let unusable = |source| StoreError::Folder {
        path: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(name))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: path.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn run(work: Work, command: &Command) -> Result<Fact, StoreError> {
    match command {
        Command::Configure { .. } => Ok(Fact::Configured),
        Command::Import {
            list,
            campaign,
            rows,
            source,
        } => import::import(work, list, campaign, rows, source),
        Command::ReserveNext { agent, campaigns } => reserve::reserve_next(work, agent, campaigns),
        Command::Extend { token, agent } => release::extend(work, *token, agent),
        Command::Skip {
            token,
            agent,
            key,
            reason,
        } => release::skip(work, *token, agent, key, reason),
        Command::Cancel { token, agent, key } => release::cancel(work, *token, agent, key),
        Command::Release { token, agent, why } => release::release(work, *token, agent, *why),
        Command::Suppress { token, agent, key } => release::suppress(work, *token, agent, key),
        Command::BeginAttempt {
            token,
            agent,
            key,
            attempt,
            phone,
            trunk,
            caller_id,
            dialog,
        } => {
            let wish = dial::Wish {
                attempt: *attempt,
                phone: *phone,
                trunk: trunk.clone(),
                caller_id: caller_id.clone(),
                dialog,
            };
            dial::begin(work, *token, agent, key, &wish)
        }
        Command::FailOver {
            attempt,
            trunk,
            caller_id,
            dialog,
        } => {
            let route = Route {
                trunk: trunk.clone(),
                caller_id: caller_id.clone(),
            };
            dial::fail_over(work, *attempt, route, dialog)
        }
        Command::Step { attempt, step } => dial::step(work, *attempt, step),
        Command::Finish {
            attempt,
            result,
            status,
            q850,
            ended_by,
            spans,
        } => {
            let end = finish::End {
                result: *result,
                status: *status,
                q850: *q850,
                ended_by: *ended_by,
                spans: *spans,
            };
            finish::finish(work, *attempt, &end)
        }
        Command::TakeOver {
            attempt,
            from,
            agent,
        } => take_over::take_over(work, *attempt, *from, agent),
        Command::RingInbound(wish) => inbound::ring(work, wish),
        Command::RingOver { attempt, why } => inbound::over(work, *attempt, *why),
        Command::LastAgent { e164 } => inbound::last_agent(work, e164),
        Command::BeginThird {
            third,
            attempt,
            to,
            dialog,
        } => third::begin(work, *third, *attempt, to, dialog),
        Command::FailOverThird {
            third,
            trunk,
            caller_id,
            dialog,
        } => {
            let route = Route {
                trunk: trunk.clone(),
                caller_id: caller_id.clone(),
            };
            third::fail_over(work, *third, route, dialog)
        }
        Command::StepThird { third, step } => third::step(work, *third, step),
        Command::EndThird { third, outcome } => third::end(work, *third, outcome),
        Command::HandOver { attempt, to, spans } => third::hand_over(work, *attempt, to, spans),
        Command::RecordingStarted { attempt, path } => recording::started(work, *attempt, path),
        Command::RecordingDone {
            attempt,
            path,
            duration_ms,
            bytes,
            sha256,
        } => {
            let file = recording::Done {
                path,
                duration_ms: *duration_ms,
                bytes: *bytes,
                sha256: sha256.as_deref(),
            };
            recording::done(work, *attempt, &file)
        }
        Command::RecordingFailed { attempt, why } => recording::failed(work, *attempt, why),
        Command::Dispose {
            token,
            agent,
            key,
            disposition,
            notes,
            callback_at,
            automatic,
        } => {
            let answer = dispose::Answer {
                disposition: disposition.as_deref(),
                notes,
                callback_at: *callback_at,
                automatic: *automatic,
            };
            dispose::dispose(work, *token, agent, key, &answer)
        }
        Command::Recover => recover::recover(work),
        Command::ExpireReservations => release::expire(work),
        Command::AgentState {
            agent,
            state,
            reason,
        } => {
            let told = json!({ "agent": agent.as_str(), "state": state, "reason": reason });
            event_log::write(work, Kind::AgentState, &told)?;
            Ok(Fact::AgentNoted)
        }
        Command::SessionOpen {
            token_hash,
            agent,
            expires_at,
        } => session::open(work, token_hash, agent, *expires_at),
        Command::SessionClose { token_hash } => session::close(work, token_hash),
        Command::SaveBindings { changed } => registration::save(work, changed),
        Command::AddPhone { phone } => phone::add(work, phone),
        Command::RemovePhone { user } => phone::remove(work, user),
    }
}
