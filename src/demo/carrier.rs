//! The built-in carrier: a SIP and RTP user agent on its own loopback port.
//!
//! What it does with a call follows from the called number (see [`Behaviour::of_number`]). It
//! writes a journal of what it saw and sent and measures the audio it hears, so that a test can
//! look at a call from the far end. RFC 3261 as a user agent server over UDP, RFC 3264 answers,
//! RFC 3551 PCMU and PCMA at 20 ms, RFC 4733 digits received. It asks for no credentials.

mod behaviour;
mod call;
mod ear;
mod exchange;
mod journal;
mod law;
mod media;
mod message;
mod offer;
mod voice;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use behaviour::{Behaviour, Timing};
pub use ear::{Heard, Level};
pub use journal::{CallReport, CallState, EndedBy, Entry, What};
pub use law::Law;
pub use voice::Voice;

use exchange::{Exchange, Output};
use journal::Journal;

/// The largest datagram UDP can carry.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// How the carrier is set up; [`CarrierConfig::default`] is the demo's.
#[derive(Clone, Debug)]
pub struct CarrierConfig {
    /// Where it listens for SIP. Loopback only; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where its RTP sockets are bound; the address of `bind` when absent.
    pub rtp_ip: Option<IpAddr>,
    /// What the called party says.
    pub voice: Voice,
    /// What the called party says at particular numbers.
    pub voices: HashMap<String, Voice>,
    /// How long it rings before it answers.
    pub answer_after_ms: u64,
    /// How long after the answer the numbers 95–99 hang up.
    pub hang_up_after_ms: u64,
    /// Numbers that behave otherwise than their last two digits say.
    pub behaviours: HashMap<String, Behaviour>,
    /// The frequencies whose level is measured in what is heard.
    pub listen_hz: Vec<f32>,
    /// The laws it accepts. The caller's order decides among them.
    pub laws: Vec<Law>,
    /// Seed of tags, branches and media identifiers; a fresh one when absent.
    pub seed: Option<u64>,
}

impl Default for CarrierConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            rtp_ip: None,
            voice: Voice::Melody,
            voices: HashMap::new(),
            answer_after_ms: 2_000,
            hang_up_after_ms: 5_000,
            behaviours: HashMap::new(),
            listen_hz: vec![400.0, 1_000.0],
            laws: vec![Law::Pcma, Law::Pcmu],
            seed: None,
        }
    }
}

/// What a test or the demo asks of the running carrier.
pub(crate) enum Command {
    HangUp {
        call_id: String,
    },
    SetBehaviour {
        number: String,
        behaviour: Behaviour,
    },
    SetVoice {
        number: String,
        voice: Voice,
    },
}

/// A running carrier. Dropping it stops it at once; [`Carrier::stop`] waits for that.
pub struct Carrier {
    local: SocketAddr,
    journal: Arc<Mutex<Journal>>,
    commands: mpsc::UnboundedSender<Command>,
    task: Option<JoinHandle<()>>,
}

impl Carrier {
    /// Binds and begins to serve on the current tokio runtime.
    ///
    /// # Errors
    /// `InvalidInput` when `bind` or `rtp_ip` is not a loopback address: this carrier serves
    /// anybody. Otherwise what binding the socket says.
    pub async fn start(config: CarrierConfig) -> io::Result<Carrier> {
        let rtp_ip = config.rtp_ip.unwrap_or(config.bind.ip());
        if !config.bind.ip().is_loopback() || !rtp_ip.is_loopback() {
            let why = "the demo carrier asks nobody who they are, so it serves loopback only";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let socket = UdpSocket::bind(config.bind).await?;
        let local = socket.local_addr()?;
        let journal = Arc::new(Mutex::new(Journal::new(Instant::now())));
        let (commands, inbox) = mpsc::unbounded_channel();
        let exchange = Exchange::new(config, local, rtp_ip, Arc::clone(&journal));
        let task = Some(tokio::spawn(serve(socket, exchange, inbox)));
        Ok(Carrier {
            local,
            journal,
            commands,
            task,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Everything received and sent so far, oldest first.
    pub fn journal(&self) -> Vec<Entry> {
        lock(&self.journal).entries()
    }

    /// Every call so far, oldest first. A forked answer is a call of its own.
    pub fn calls(&self) -> Vec<CallReport> {
        lock(&self.journal).calls()
    }

    /// How many calls have not ended.
    pub fn live_calls(&self) -> usize {
        self.calls()
            .iter()
            .filter(|call| !matches!(call.state, CallState::Ended { .. }))
            .count()
    }

    /// The called party puts the phone down: BYE when answered, 603 while it rings.
    pub fn hang_up(&self, call_id: &str) {
        self.tell(Command::HangUp {
            call_id: call_id.to_owned(),
        });
    }

    /// From the next call on, `number` behaves like this.
    pub fn set_behaviour(&self, number: &str, behaviour: Behaviour) {
        self.tell(Command::SetBehaviour {
            number: number.to_owned(),
            behaviour,
        });
    }

    /// From the next call on, `number` speaks like this.
    pub fn set_voice(&self, number: &str, voice: Voice) {
        self.tell(Command::SetVoice {
            number: number.to_owned(),
            voice,
        });
    }

    /// Stops without a word to anybody, as a carrier that loses power does.
    pub async fn stop(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // The only error is the cancellation just asked for.
            let _ = task.await;
        }
    }

    fn tell(&self, command: Command) {
        // Fails only once the task is gone, and then there is nobody left to tell.
        let _ = self.commands.send(command);
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A panic elsewhere must not hide what was written down before it.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    socket: UdpSocket,
    mut exchange: Exchange,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        while let Some(Output { to, bytes }) = exchange.poll_output() {
            // An unreachable caller is found by the retransmissions running out.
            let _ = socket.send_to(&bytes, to).await;
        }
        let wake_at = exchange.poll_timeout().map(|(at, _)| at);
        tokio::select! {
            received = socket.recv_from(&mut datagram) => {
                // An error here is an ICMP complaint about something sent earlier.
                if let Ok((length, from)) = received {
                    exchange.handle_datagram(Instant::now(), from, &datagram[..length]);
                }
            }
            Some(command) = inbox.recv() => exchange.handle_command(Instant::now(), command),
            () = sleep_until(wake_at) => exchange.handle_timeout(Instant::now()),
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
