//! The recorder's thread: messages in, samples to files.

use super::closer::Closing;
use super::tape::Tape;
use super::{FactSink, Message, Voice, failed};
use crate::id::CallId;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// A killed process loses at most a second.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// While something is recorded, messages are fetched this often instead of each by itself: a
/// sleeping receiver would cost the workers a wake-up a packet.
const FETCH_EVERY: Duration = Duration::from_millis(20);
/// Of one call; more would mean that somebody starts recordings in a loop.
const SUFFIX_MAX: u32 = 1_000;

/// Appended to a recording's name until it is whole.
pub const PART: &str = "part";

pub struct Writer {
    open: HashMap<CallId, Open>,
    closer: Sender<Closing>,
    facts: FactSink,
    flushed: Instant,
}

struct Open {
    tape: Tape<BufWriter<File>>,
    file: File,
    part: PathBuf,
    path: PathBuf,
}

impl Writer {
    pub fn new(closer: Sender<Closing>, facts: FactSink) -> Writer {
        Writer {
            open: HashMap::new(),
            closer,
            facts,
            flushed: Instant::now(),
        }
    }

    /// Until told to stop, or every door is gone.
    pub fn run(mut self, messages: &Receiver<Message>, queued: &AtomicUsize) {
        while self.fetch(messages, queued) {
            let now = Instant::now();
            if now.duration_since(self.flushed) >= FLUSH_EVERY {
                self.flush(now);
            }
            if !self.open.is_empty() {
                std::thread::sleep(FETCH_EVERY);
            }
        }
        let now = Instant::now();
        for call in self.open.keys().copied().collect::<Vec<_>>() {
            self.end(call, now, 0);
        }
    }

    /// Takes what is there, or waits if nothing is recorded. Whether to go on.
    fn fetch(&mut self, messages: &Receiver<Message>, queued: &AtomicUsize) -> bool {
        if self.open.is_empty() {
            match messages.recv() {
                Ok(message) => {
                    if !self.take(message, queued) {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        loop {
            match messages.try_recv() {
                Ok(message) => {
                    if !self.take(message, queued) {
                        return false;
                    }
                }
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Whether to go on.
    fn take(&mut self, message: Message, queued: &AtomicUsize) -> bool {
        match message {
            Message::Voice(voice) => {
                queued.fetch_sub(1, Ordering::Relaxed);
                self.voice(&voice);
            }
            Message::Begin { call, path, at } => self.begin(call, &path, at),
            Message::End { call, at, gap_ms } => self.end(call, at, gap_ms),
            Message::Stop => return false,
        }
        true
    }

    /// A call that is recorded already goes on in its file: it has moved to another worker.
    fn begin(&mut self, call: CallId, path: &Path, at: Instant) {
        if self.open.contains_key(&call) {
            return;
        }
        match Open::create(path, at) {
            Ok(open) => {
                self.open.insert(call, open);
            }
            Err(error) => self.fail(call, &error),
        }
    }

    fn voice(&mut self, voice: &Voice) {
        // A recording that failed has no tape; its call goes on.
        let Some(open) = self.open.get_mut(&voice.call) else {
            return;
        };
        let payload = &voice.bytes[..voice.len];
        let laid = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            super::tests::planted(payload);
            open.tape
                .voice(voice.channel, voice.at, &voice.header, voice.law, payload);
        }));
        if laid.is_err() {
            self.open.remove(&voice.call);
            self.fail(voice.call, &"its step panicked");
        }
    }

    fn end(&mut self, call: CallId, at: Instant, gap_ms: u64) {
        let Some(Open {
            tape,
            file,
            part,
            path,
        }) = self.open.remove(&call)
        else {
            return;
        };
        match tape.finish(at) {
            Ok(duration_ms) => {
                let closing = Closing {
                    call,
                    file,
                    part,
                    path,
                    duration_ms,
                    gap_ms,
                };
                if let Err(unsent) = self.closer.send(closing) {
                    self.fail(unsent.0.call, &"the closer is gone");
                }
            }
            Err(error) => self.fail(call, &error),
        }
    }

    fn flush(&mut self, now: Instant) {
        self.flushed = now;
        let mut broken = vec![];
        for (call, open) in &mut self.open {
            if let Err(error) = open.tape.flush(now) {
                broken.push((*call, error));
            }
        }
        for (call, error) in broken {
            self.open.remove(&call);
            self.fail(call, &error);
        }
    }

    fn fail(&self, call: CallId, error: &impl std::fmt::Display) {
        tracing::error!(%call, %error, "recording failed");
        (self.facts)(failed(call, error));
    }
}

impl Open {
    /// Makes the folder and a file that no other recording has.
    fn create(wanted: &Path, at: Instant) -> Result<Open, hound::Error> {
        if let Some(folder) = wanted.parent() {
            fs::create_dir_all(folder)?;
        }
        let (path, part, file) = fresh(wanted)?;
        let tape = Tape::new(BufWriter::new(file.try_clone()?), at)?;
        Ok(Open {
            tape,
            file,
            part,
            path,
        })
    }
}

/// `wanted`, or `wanted-2` and so on while an earlier recording of the call has that name.
fn fresh(wanted: &Path) -> io::Result<(PathBuf, PathBuf, File)> {
    for number in 1..SUFFIX_MAX {
        let path = numbered(wanted, number);
        let part = part_of(&path);
        if path.exists() {
            continue;
        }
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            Ok(file) => return Ok((path, part, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

pub fn numbered(path: &Path, number: u32) -> PathBuf {
    if number < 2 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{number}.wav"))
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(PART);
    name.into()
}
