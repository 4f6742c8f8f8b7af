//! A media worker: one thread with its own sockets, legs and deadlines. RTP never leaves it except
//! to the recorder; commands come in by a channel and a bell, facts go out through a sink that must
//! not wait.

mod browser;
mod command;
mod leg;
mod legs;
mod plane;
mod recording;
mod report;
mod trunk;
mod worker;

pub use command::{FactSink, MediaCommand, MediaFact, Quality, Source};

use super::recorder::RecorderDoor;
use crate::media::tone::Country;
use crate::rtpio::{Bell, Reactor};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// See [`MediaFact::Stalled`].
pub const STALL_AFTER: Duration = Duration::from_secs(30);
/// See [`MediaFact::Quality`].
pub const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What a worker is started with.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Trunk sockets and the browser socket bind here.
    pub ip: IpAddr,
    /// What browsers are told; empty means `ip`, which then must be a real address.
    pub advertised: Vec<IpAddr>,
    /// The one port of all browser legs; 0 takes any.
    pub browser_port: u16,
    /// Hold music, 8 kHz mono; see [`crate::media::music::default_hold`].
    pub music: Vec<i16>,
    /// Whose ringback and busy are heard; see [`crate::media::tone::of_country`].
    pub country: &'static Country,
    pub recorder: RecorderDoor,
    pub stall_after: Duration,
    pub report_every: Duration,
    /// For SSRCs and first sequence numbers.
    pub seed: u64,
}

pub struct MediaWorker;

/// The worker from outside. When the last one is dropped the worker ends.
pub struct MediaWorkerHandle {
    commands: MediaCommander,
    thread: JoinHandle<()>,
    browser_address: SocketAddr,
}

/// The way in for commands. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MediaCommander {
    sender: mpsc::Sender<MediaCommand>,
    bell: Bell,
}

impl MediaWorker {
    /// Binds the browser port and starts the thread.
    pub fn start(config: WorkerConfig, facts: FactSink) -> io::Result<MediaWorkerHandle> {
        let (reactor, bell) = Reactor::new()?;
        let (sender, commands) = mpsc::channel();
        let plane = plane::Plane::new(config, facts, reactor)?;
        let browser_address = plane.browsers.local();
        let worker = worker::Worker::new(plane, commands);
        let thread = thread::Builder::new()
            .name("media".into())
            .spawn(move || worker.run())?;
        let commands = MediaCommander { sender, bell };
        Ok(MediaWorkerHandle {
            commands,
            thread,
            browser_address,
        })
    }
}

impl MediaWorkerHandle {
    /// Wakes the worker. Commands are obeyed in the order of sending.
    pub fn send(&self, command: MediaCommand) {
        self.commands.send(command);
    }

    #[must_use]
    pub fn commander(&self) -> MediaCommander {
        self.commands.clone()
    }

    /// Where browsers' packets arrive.
    #[must_use]
    pub fn browser_address(&self) -> SocketAddr {
        self.browser_address
    }

    /// Tells the worker to shut down and waits for it.
    pub fn join(self) {
        self.send(MediaCommand::Shutdown);
        if self.thread.join().is_err() {
            tracing::error!("a media worker panicked");
        }
    }
}

impl MediaCommander {
    pub fn send(&self, command: MediaCommand) {
        self.leave(command);
        self.ring();
    }

    /// Without waking the worker: it obeys at its next [`Self::ring`], and while it has legs at
    /// its next tick.
    pub fn leave(&self, command: MediaCommand) {
        if self.sender.send(command).is_err() {
            tracing::error!("a media worker is gone");
        }
    }

    pub fn ring(&self) {
        if let Err(error) = self.bell.ring() {
            tracing::error!(%error, "a media worker cannot be woken");
        }
    }
}

#[cfg(test)]
mod tests;
