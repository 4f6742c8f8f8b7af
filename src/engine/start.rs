//! Starting the engine in order: what an earlier run left is mended and taken up before anything
//! new can happen. Ending it in the opposite order, so that nothing is lost.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::driver::{Engine, FetchCrm, Parts, StoreFacts, UDP_FLOW, clock};
use super::handle::Handle;
use super::media_worker::{
    MediaFact, MediaWorker, MediaWorkerHandle, REPORT_EVERY, STALL_AFTER, WorkerConfig,
};
use super::recorder::{Recorder, repair, sha256};
use super::resolved::EngineConfig;
use super::switch::Switch;
use super::tap::Tap;
use crate::id::AttemptId;
use crate::media::music::default_hold;
use crate::media::tone::of_country;
use crate::net::dns::Dns;
use crate::net::udp::SipUdp;
use crate::net::{Home, SipSockets};
use crate::store::fact::Recovered;
use crate::store::{Command, Fact, Store, StoreError, StoreHandle};

/// Ids of the commands of start-up; the switch counts its own from 1.
const STARTUP: u64 = u64::MAX;
/// A WAV header as hound writes it, in bytes, and the bytes of a millisecond after it.
const WAV_HEADER_BYTES: u64 = 44;
const WAV_BYTES_A_MS: u64 = 32;

/// What the engine is started with.
pub struct Start {
    pub config: EngineConfig,
    pub database: PathBuf,
    /// Where RTP sockets bind, and what browsers are told.
    pub media_ip: IpAddr,
    pub advertised: IpAddr,
    pub workers: usize,
    /// Hold music, 8 kHz mono; the built-in one when there is none.
    pub music: Option<Vec<i16>>,
    /// Whose ringback agents hear: an ISO 3166 code.
    pub country: String,
    pub sip: SipSockets,
    /// Whose thread becomes the loop's.
    pub home: Home,
    pub fetch_crm: FetchCrm,
    /// Every SIP message passes it.
    pub tap: Tap,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("[recordings] folder = \"{folder}\": {source}; name a folder this user may write to")]
    Recordings {
        folder: PathBuf,
        source: std::io::Error,
    },
    #[error("media on {ip}: {source}; change [media] address")]
    Media { ip: IpAddr, source: std::io::Error },
    #[error("no thread to run on: {0}")]
    Thread(std::io::Error),
}

/// A running engine with everything below it.
pub struct Started {
    engine: Engine,
    store: Store,
    workers: Vec<MediaWorkerHandle>,
    recorder: Recorder,
}

impl Start {
    /// On a tokio runtime.
    pub async fn start(self) -> Result<Started, StartError> {
        let (sink, mut store_facts) = mpsc::unbounded_channel();
        let mended = self.mend_recordings()?;
        let store = Store::start(&self.database, move |id, fact| {
            // The loop has ended: nobody is left to tell.
            let _ = sink.send((id, fact));
        })?;
        let recovered = self
            .recover(&store.handle(), &mut store_facts, &mended)
            .await?;
        let (facts, media_facts) = mpsc::unbounded_channel();
        let facts: super::media_worker::FactSink = Arc::new(move |fact: MediaFact| {
            // Nobody asks for these yet, and each would wake the loop.
            if !matches!(
                fact,
                MediaFact::Quality { .. } | MediaFact::FirstPacket { .. }
            ) {
                let _ = facts.send(fact);
            }
        });
        let recorder = Recorder::start(facts.clone()).map_err(StartError::Thread)?;
        let workers = self.workers(&recorder, &facts)?;
        let ways = self.config.ways.clone();
        let with_v6 = ways.reach_v6();
        let resolver = Dns::new(&self.config.resolvers, with_v6);
        let mut switch = Switch::new(clock(), self.config, workers.len());
        switch.restore(clock(), recovered);
        let kept = store.handle().reader(Arc::default())?;
        let phones = switch.restore_bindings(clock(), &kept.view(clock().utc).bindings()?);
        switch.restore_phones(kept.view(clock().utc).phones()?);
        drop(kept);
        if phones > 0 {
            tracing::info!(phones, "registrations of an earlier run are in force again");
        }
        switch.watch_flood(self.sip.udp(UDP_FLOW).and_then(SipUdp::flood));
        let parts = Parts {
            switch,
            sip: self.sip,
            ways,
            store: store.handle(),
            store_facts,
            workers: workers.iter().map(MediaWorkerHandle::commander).collect(),
            media_facts,
            fetch_crm: self.fetch_crm,
            resolver: resolver.map_err(|error| error.to_string()),
            tap: self.tap,
            clock,
        };
        let engine = Engine::start(self.home, parts).map_err(StartError::Thread)?;
        Ok(Started {
            engine,
            store,
            workers,
            recorder,
        })
    }

    /// Cut-off recordings get their sizes and names; whether new ones can be made is seen now.
    fn mend_recordings(&self) -> Result<HashMap<AttemptId, Mended>, StartError> {
        let folder = &self.config.recordings;
        let fails = |source| StartError::Recordings {
            folder: folder.clone(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(fails)?;
        let probe = folder.join(".probe");
        std::fs::write(&probe, b"")
            .and_then(|()| std::fs::remove_file(&probe))
            .map_err(fails)?;
        let repaired = repair(folder).map_err(fails)?;
        Ok(repaired
            .into_iter()
            .filter_map(|one| {
                let attempt = attempt_of(&one.path)?;
                Some((
                    attempt,
                    Mended {
                        path: one.path,
                        duration_ms: one.duration_ms,
                    },
                ))
            })
            .collect())
    }

    async fn recover(
        &self,
        store: &StoreHandle,
        facts: &mut StoreFacts,
        mended: &HashMap<AttemptId, Mended>,
    ) -> Result<Recovered, StartError> {
        let rules = Arc::new(self.config.rules());
        ask(store, facts, Command::Configure { rules }).await?;
        let Fact::Recovered(recovered) = ask(store, facts, Command::Recover).await? else {
            return Ok(Recovered::default());
        };
        for (attempt, path) in &recovered.recordings {
            let whole = self.config.recordings.join(path);
            let mended = mended
                .get(attempt)
                .cloned()
                .or_else(|| Mended::closed(&whole));
            let command = match mended {
                Some(mended) => mended.command(*attempt, &self.config.recordings),
                None => Command::RecordingFailed {
                    attempt: *attempt,
                    why: "nothing was on disk after a restart".to_owned(),
                },
            };
            ask(store, facts, command).await?;
        }
        // Begun on disk, but the process ended before the store knew.
        let known = |attempt| recovered.recordings.iter().any(|it| it.0 == attempt);
        for (attempt, found) in mended.iter().filter(|(attempt, _)| !known(**attempt)) {
            let command = found.clone().command(*attempt, &self.config.recordings);
            ask(store, facts, command).await?;
        }
        Ok(*recovered)
    }

    fn workers(
        &self,
        recorder: &Recorder,
        facts: &super::media_worker::FactSink,
    ) -> Result<Vec<MediaWorkerHandle>, StartError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if self.workers == 0 {
            cores
        } else {
            self.workers
        };
        (0..count)
            .map(|at| {
                let config = WorkerConfig {
                    ip: self.media_ip,
                    advertised: vec![self.advertised],
                    browser_port: 0,
                    music: self.music.clone().unwrap_or_else(default_hold),
                    country: of_country(&self.country),
                    recorder: recorder.door(),
                    stall_after: STALL_AFTER,
                    report_every: REPORT_EVERY,
                    seed: self.config.seed.wrapping_add(at as u64),
                };
                MediaWorker::start(config, facts.clone()).map_err(|source| StartError::Media {
                    ip: self.media_ip,
                    source,
                })
            })
            .collect()
    }
}

impl Started {
    pub fn handle(&self) -> Handle {
        self.engine.handle.clone()
    }

    pub fn store(&self) -> StoreHandle {
        self.store.handle()
    }

    /// Waits for the loop, then ends media, recordings and the store in this order. Blocks.
    pub fn join(self) {
        self.engine.join();
        self.workers.into_iter().for_each(MediaWorkerHandle::join);
        self.recorder.stop();
        drop(self.store);
    }
}

/// A recording found on disk at start.
#[derive(Clone)]
struct Mended {
    path: PathBuf,
    duration_ms: u64,
}

impl Mended {
    /// Closed properly, but the process ended before the store knew.
    fn closed(path: &Path) -> Option<Mended> {
        let bytes = std::fs::metadata(path).ok()?.len();
        let duration_ms = bytes.saturating_sub(WAV_HEADER_BYTES) / WAV_BYTES_A_MS;
        Some(Mended {
            path: path.to_owned(),
            duration_ms,
        })
    }

    fn command(self, attempt: AttemptId, folder: &Path) -> Command {
        let bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        let path = self.path.strip_prefix(folder).unwrap_or(&self.path);
        Command::RecordingDone {
            attempt,
            path: path.to_string_lossy().into_owned(),
            duration_ms: self.duration_ms,
            bytes,
            sha256: sha256(&self.path).ok(),
        }
    }
}

/// A recording carries its call's id, which is its attempt's.
fn attempt_of(path: &Path) -> Option<AttemptId> {
    path.file_stem()?.to_str()?.parse().ok()
}

async fn ask(
    store: &StoreHandle,
    facts: &mut StoreFacts,
    command: Command,
) -> Result<Fact, StartError> {
    let refused = || StoreError::NotCommitted("the writer has stopped".to_owned());
    store
        .submit(STARTUP, clock().utc, command)
        .map_err(|_| refused())?;
    match facts.recv().await {
        Some((_, fact)) => Ok(fact?),
        None => Err(refused().into()),
    }
}
