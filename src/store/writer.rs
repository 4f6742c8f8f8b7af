//! The one writer: a thread that commits whatever queued during the last fsync as one transaction,
//! and only then acknowledges. No timed wait for what somebody waits for: alone, such a command
//! commits at once. What nobody waits for rides along with the next one that counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::checkpoint::Checkpointer;
use super::command::Command;
use super::db::{Db, Place};
use super::error::StoreError;
use super::fact::Fact;
use super::read::Reader;
use crate::dialer::campaign::Rules;
use crate::now::UtcMs;

/// Commands waiting for the disk. More are refused, and their sender keeps them.
const QUEUE_MAX: usize = 4_096;
/// Commands in one commit, so that the first of them does not wait for ever.
const BATCH_MAX: usize = 256;
/// How long commands that can wait do so for one that cannot.
const RIDE_WAIT: Duration = Duration::from_millis(100);

/// The running store. Dropping it lets the writer finish what is queued, then ends it; handles
/// still about are refused from then on.
pub struct Store {
    handle: StoreHandle,
    writer: Option<JoinHandle<()>>,
}

/// Where commands go in. Cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    queue: SyncSender<Queued>,
    commits: Arc<AtomicU64>,
    path: Arc<PathBuf>,
}

enum Queued {
    Work(Job),
    Stop,
}

struct Job {
    id: u64,
    at: UtcMs,
    command: Command,
}

/// The command comes back to its sender, who must keep it: nothing is dropped.
#[derive(Debug)]
pub enum Refused {
    QueueFull(Box<Command>),
    Stopped(Box<Command>),
}

impl Store {
    /// Opens the database here, so that a bad path is told at once, and starts the writer.
    /// `sink` is called on the writer's thread after COMMIT, in the order of the commands.
    pub fn start(
        path: &Path,
        sink: impl FnMut(u64, Result<Fact, StoreError>) + Send + 'static,
    ) -> Result<Store, StoreError> {
        let db = Db::open(&Place::File(path.to_owned()))?;
        let checkpointer = Checkpointer::start(&db)?;
        let (queue, commands) = sync_channel(QUEUE_MAX);
        let commits = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&commits);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write(db, checkpointer, &commands, &counted, sink))
            .map_err(StoreError::Thread)?;
        let handle = StoreHandle {
            queue,
            commits,
            path: Arc::new(path.to_owned()),
        };
        Ok(Store {
            handle,
            writer: Some(writer),
        })
    }

    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Waits, so that a commit under way is not cut off by the end of the process. Sending fails
        // only when the writer has ended already.
        let _ = self.handle.queue.send(Queued::Stop);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join(); // Its panic has been printed; there is nothing left to end.
        }
    }
}

impl StoreHandle {
    /// Queues a command under a number of the caller's choice. Never waits.
    pub fn submit(&self, id: u64, at: UtcMs, command: Command) -> Result<(), Refused> {
        match self.queue.try_send(Queued::Work(Job { id, at, command })) {
            Err(TrySendError::Full(Queued::Work(job))) => {
                Err(Refused::QueueFull(Box::new(job.command)))
            }
            Err(TrySendError::Disconnected(Queued::Work(job))) => {
                Err(Refused::Stopped(Box::new(job.command)))
            }
            // What comes back is what went in: a job.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Transactions since the start, each of which waited for the disk once.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// A read-only connection for the calling thread.
    pub fn reader(&self, rules: Arc<Rules>) -> Result<Reader, StoreError> {
        Reader::open(&self.path, rules)
    }
}

fn write(
    mut db: Db,
    mut checkpointer: Checkpointer,
    queue: &Receiver<Queued>,
    commits: &AtomicU64,
    mut sink: impl FnMut(u64, Result<Fact, StoreError>),
) {
    let mut is_running = true;
    while is_running {
        let Ok(first) = queue.recv() else { return };
        let batch;
        (batch, is_running) = collect(first, queue);
        commits.fetch_add(1, Ordering::Relaxed);
        commit(&mut db, &batch, &mut sink);
        checkpointer.committed();
    }
}

/// What has queued meanwhile, and whether more may come.
fn collect(first: Queued, queue: &Receiver<Queued>) -> (Vec<Job>, bool) {
    let mut batch = Vec::new();
    let mut urgent = false;
    let latest = Instant::now() + RIDE_WAIT;
    let mut next = Some(first);
    while let Some(queued) = next {
        match queued {
            Queued::Work(job) => {
                urgent |= !job.command.can_wait();
                batch.push(job);
            }
            Queued::Stop => return (batch, false),
        }
        if batch.len() == BATCH_MAX {
            break;
        }
        next = if urgent {
            queue.try_recv().ok()
        } else {
            let rest = latest.saturating_duration_since(Instant::now());
            queue.recv_timeout(rest).ok()
        };
    }
    (batch, true)
}

fn commit(db: &mut Db, batch: &[Job], sink: &mut impl FnMut(u64, Result<Fact, StoreError>)) {
    match db.apply_batch(batch.iter().map(|job| (job.at, &job.command))) {
        Ok(answers) => {
            for (job, answer) in batch.iter().zip(answers) {
                sink(job.id, answer);
            }
        }
        Err(error) => {
            let why = error.to_string();
            for job in batch {
                sink(job.id, Err(StoreError::NotCommitted(why.clone())));
            }
        }
    }
}
