//! One thread's wait for its sockets, its bell and its next deadline.

use super::socket::Socket;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What one wait tells at most; the rest is told by the next.
const EVENTS_MAX: usize = 1_024;
const BELL: Token = Token(usize::MAX);

/// Who is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Somebody rang the [`Bell`].
    Bell,
    /// The socket that was added under this key has something to read.
    Socket(usize),
}

pub struct Reactor {
    poll: Poll,
    events: Events,
}

/// Wakes a reactor from another thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Waker>);

impl Reactor {
    pub fn new() -> io::Result<(Reactor, Bell)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), BELL)?;
        Ok((
            Reactor {
                poll,
                events: Events::with_capacity(EVENTS_MAX),
            },
            Bell(Arc::new(waker)),
        ))
    }

    /// `key` must not be `usize::MAX`. The socket leaves when it is dropped.
    pub fn add(&self, socket: &mut Socket, key: usize) -> io::Result<()> {
        self.poll
            .registry()
            .register(socket.source(), Token(key), Interest::READABLE)
    }

    /// Waits at most `timeout` and appends who is ready. A signal is no error.
    pub fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        ready.extend(self.events.iter().map(|event| match event.token() {
            BELL => Ready::Bell,
            Token(key) => Ready::Socket(key),
        }));
        Ok(())
    }
}

impl Bell {
    pub fn ring(&self) -> io::Result<()> {
        self.0.wake()
    }
}
