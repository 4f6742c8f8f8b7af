//! What the top floor holds of the engine: bounded channels into the loop, and nothing else.
//!
//! Every function may be called from any task. None of them blocks the loop: it answers through
//! oneshots and watches. When the loop is gone, commands answer 503 and streams end.

use super::kept_phones::PhoneChange;
use super::resolved::EngineConfig;
use super::tap::Listening;
use crate::id::{AgentId, CallId, TrunkId};
use crate::trunk::{Answer, Place};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// The agent's whole desk as JSON, as the page gets it; `seq` grows by one with each change.
#[derive(Clone, Debug, PartialEq)]
pub struct DeskUpdate {
    /// Names this run of the process; `seq` starts anew with a new epoch.
    pub epoch: String,
    pub seq: u64,
    pub desk: serde_json::Value,
}

/// Calls, legs, ports, agents, trunks and queue depths, for people and tests.
pub type EngineSnapshot = serde_json::Value;

/// What an agent asks for. `token` is the reservation's fencing token, `key` the page's UUID for
/// one click, so that a repeated click gets the first answer.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentCommand {
    Ready,
    NotReady {
        reason: String,
    },
    Dial {
        token: u64,
        key: uuid::Uuid,
        phone: Option<u64>,
    },
    Skip {
        token: u64,
        key: uuid::Uuid,
        reason: String,
    },
    Cancel {
        token: u64,
        key: uuid::Uuid,
    },
    Dnc {
        token: u64,
        key: uuid::Uuid,
    },
    Extend {
        token: u64,
    },
    /// Takes the caller who rings.
    Answer,
    /// Will not take the caller who rings; she is NOT_READY then.
    Decline,
    HangUp,
    Mute {
        on: bool,
    },
    Hold {
        on: bool,
    },
    /// A third party is called, and the customer waits. `to` is `phone:<user>` or a number as
    /// dialled.
    Consult {
        to: String,
    },
    /// Of customer and third party, the agent turns to the other.
    Swap,
    /// Customer and third party are joined.
    Complete,
    /// The third party is let go.
    Drop,
    /// The customer is sent there without a word.
    /// Takes a call that waits for somebody, by its id.
    PickUp {
        call: uuid::Uuid,
    },
    Transfer {
        to: String,
    },
    /// How loud the agent hears the customer.
    Volume {
        db: i32,
    },
    Dispose {
        token: u64,
        key: uuid::Uuid,
        disposition: String,
        notes: String,
        callback_at_ms: Option<i64>,
    },
    LogOut,
}

/// Why a command was refused, shaped for RFC 9457. `rule` is stable and machine-readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub rule: &'static str,
    pub title: String,
    pub detail: String,
}

/// One SIP WebSocket as the engine sees it. The stream ending means: close the socket.
#[derive(Debug)]
pub struct SipSocket {
    pub flow: u64,
    pub outgoing: mpsc::Receiver<Vec<u8>>,
}

/// What arrives at the loop from the top floor.
#[derive(Debug)]
pub enum Input {
    Command {
        agent: AgentId,
        command: AgentCommand,
        reply: oneshot::Sender<Result<Arc<DeskUpdate>, Problem>>,
    },
    Desk {
        agent: AgentId,
        reply: oneshot::Sender<Option<watch::Receiver<Arc<DeskUpdate>>>>,
    },
    Presence {
        agent: AgentId,
        tab: u64,
        present: bool,
    },
    SipOpen {
        /// `None` where nobody has to sign in: trusted with nothing.
        agent: Option<AgentId>,
        local: SocketAddr,
        remote: SocketAddr,
        secure: bool,
        reply: oneshot::Sender<SipSocket>,
    },
    SipReceived {
        flow: u64,
        bytes: Bytes,
    },
    SipClosed {
        flow: u64,
    },
    Snapshot {
        reply: oneshot::Sender<EngineSnapshot>,
    },
    TrunkSnapshot {
        reply: oneshot::Sender<EngineSnapshot>,
    },
    /// What the CRM said for the card with this fence, or why it could not.
    Crm {
        agent: AgentId,
        token: u64,
        result: Result<serde_json::Value, String>,
    },
    /// What DNS said of a trunk's name.
    Resolved {
        trunk: TrunkId,
        place: Place,
        answer: Result<Answer, String>,
    },
    Registrations {
        reply: oneshot::Sender<EngineSnapshot>,
    },
    Phones {
        reply: oneshot::Sender<EngineSnapshot>,
    },
    Phone {
        change: PhoneChange,
        reply: oneshot::Sender<Result<(), Problem>>,
    },
    Reload {
        config: Box<EngineConfig>,
        reply: oneshot::Sender<Vec<AgentId>>,
    },
    HangUp {
        call: CallId,
        reply: oneshot::Sender<bool>,
    },
    Trace {
        reply: oneshot::Sender<Listening>,
    },
    Drain,
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

/// The engine's door. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inputs: mpsc::Sender<Input>,
}

impl Handle {
    /// A handle and the end the loop reads. `depth_inputs` bounds what may wait.
    pub fn new(depth_inputs: usize) -> (Handle, mpsc::Receiver<Input>) {
        let (inputs, outputs) = mpsc::channel(depth_inputs);
        (Handle { inputs }, outputs)
    }

    /// How many requests wait for the loop.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inputs.max_capacity() - self.inputs.capacity()
    }

    /// Asks for `command`; a full queue refuses new work at once instead of waiting.
    pub async fn command(
        &self,
        agent: AgentId,
        command: AgentCommand,
    ) -> Result<Arc<DeskUpdate>, Problem> {
        let (reply, answer) = oneshot::channel();
        self.inputs
            .try_send(Input::Command {
                agent,
                command,
                reply,
            })
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Problem::overload(),
                mpsc::error::TrySendError::Closed(_) => Problem::stopped(),
            })?;
        answer.await.unwrap_or_else(|_| Err(Problem::stopped()))
    }

    /// The agent's desk and every later one. `None` when the loop is gone or does not know the agent.
    pub async fn desk(&self, agent: &AgentId) -> Option<watch::Receiver<Arc<DeskUpdate>>> {
        let (reply, answer) = oneshot::channel();
        self.inputs
            .send(Input::Desk {
                agent: agent.clone(),
                reply,
            })
            .await
            .ok()?;
        answer.await.ok().flatten()
    }

    /// A desk socket opened, or closed or stopped answering pings.
    pub async fn presence(&self, agent: AgentId, tab: u64, present: bool) {
        // A loop that is gone has nobody to tell.
        let _ = self
            .inputs
            .send(Input::Presence {
                agent,
                tab,
                present,
            })
            .await;
    }

    /// A SIP WebSocket, of a signed-in agent if there is one. `None` when the loop is gone.
    pub async fn sip_open(
        &self,
        agent: Option<AgentId>,
        local: SocketAddr,
        remote: SocketAddr,
        secure: bool,
    ) -> Option<SipSocket> {
        let (reply, answer) = oneshot::channel();
        self.inputs
            .send(Input::SipOpen {
                agent,
                local,
                remote,
                secure,
                reply,
            })
            .await
            .ok()?;
        answer.await.ok()
    }

    /// One whole SIP message (RFC 7118 section 5: one a frame).
    pub async fn sip_received(&self, flow: u64, bytes: Bytes) {
        let _ = self.inputs.send(Input::SipReceived { flow, bytes }).await;
    }

    pub async fn sip_closed(&self, flow: u64) {
        let _ = self.inputs.send(Input::SipClosed { flow }).await;
    }

    /// `null` when the loop is gone.
    pub async fn snapshot(&self) -> EngineSnapshot {
        let (reply, answer) = oneshot::channel();
        if self.inputs.send(Input::Snapshot { reply }).await.is_err() {
            return EngineSnapshot::Null;
        }
        answer.await.unwrap_or(EngineSnapshot::Null)
    }

    /// `null` when the loop is gone.
    pub async fn trunk_snapshot(&self) -> EngineSnapshot {
        let (reply, answer) = oneshot::channel();
        if self
            .inputs
            .send(Input::TrunkSnapshot { reply })
            .await
            .is_err()
        {
            return EngineSnapshot::Null;
        }
        answer.await.unwrap_or(EngineSnapshot::Null)
    }

    /// What DNS said of a trunk's name.
    pub async fn resolved(&self, trunk: TrunkId, place: Place, answer: Result<Answer, String>) {
        let resolved = Input::Resolved {
            trunk,
            place,
            answer,
        };
        let _ = self.inputs.send(resolved).await;
    }

    /// Which phones are registered where. `null` when the loop is gone.
    pub async fn registrations(&self) -> EngineSnapshot {
        let (reply, answer) = oneshot::channel();
        let asked = self.inputs.send(Input::Registrations { reply }).await;
        match asked {
            Ok(()) => answer.await.unwrap_or(EngineSnapshot::Null),
            Err(_) => EngineSnapshot::Null,
        }
    }

    /// Every phone that may register. `null` when the loop is gone.
    pub async fn phones(&self) -> EngineSnapshot {
        let (reply, answer) = oneshot::channel();
        let asked = self.inputs.send(Input::Phones { reply }).await;
        match asked {
            Ok(()) => answer.await.unwrap_or(EngineSnapshot::Null),
            Err(_) => EngineSnapshot::Null,
        }
    }

    /// Adds or removes a phone that is kept in the store; done when it is on disk.
    ///
    /// # Errors
    /// `phone_in_file`, `phone_exists`, `no_phone`, `phones_full`: nothing was changed.
    pub async fn change_phone(&self, change: PhoneChange) -> Result<(), Problem> {
        let (reply, answer) = oneshot::channel();
        let asked = self.inputs.send(Input::Phone { change, reply }).await;
        asked.map_err(|_| Problem::stopped())?;
        answer.await.unwrap_or_else(|_| Err(Problem::stopped()))
    }

    /// Takes over trunks, phones, agents and campaigns. Answers with the agents who are
    /// configured no more but still have a card or a call; `None` when the loop is gone.
    pub async fn reload(&self, config: EngineConfig) -> Option<Vec<AgentId>> {
        let (reply, answer) = oneshot::channel();
        let config = Box::new(config);
        let reload = Input::Reload { config, reply };
        self.inputs.send(reload).await.ok()?;
        answer.await.ok()
    }

    /// Ends a call. `false` when there is none by this id.
    pub async fn hang_up(&self, call: CallId) -> bool {
        let (reply, answer) = oneshot::channel();
        let asked = self.inputs.send(Input::HangUp { call, reply }).await;
        asked.is_ok() && answer.await.unwrap_or(false)
    }

    /// SIP messages that have passed, and those that will. `None` when the loop is gone.
    pub async fn trace(&self) -> Option<Listening> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Trace { reply }).await.ok()?;
        answer.await.ok()
    }

    /// No new cards and no new dials; calls go on to their end.
    pub async fn drain(&self) {
        let _ = self.inputs.send(Input::Drain).await;
    }

    /// The CRM's answer for one card; a card that is gone by now drops it.
    pub async fn crm(&self, agent: AgentId, token: u64, result: Result<serde_json::Value, String>) {
        let crm = Input::Crm {
            agent,
            token,
            result,
        };
        let _ = self.inputs.send(crm).await;
    }

    /// Ends every call with its outcome, then the loop; returns when that is done.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.inputs.send(Input::Shutdown { reply }).await.is_ok() {
            let _ = done.await;
        }
    }
}

impl Problem {
    pub fn new(status: u16, rule: &'static str, title: &str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            rule,
            title: title.to_owned(),
            detail: detail.into(),
        }
    }

    pub fn overload() -> Problem {
        Problem {
            status: 503,
            rule: "overload",
            title: "Busy".into(),
            detail: "The switch has too much waiting; try again in a second.".into(),
        }
    }

    fn stopped() -> Problem {
        Problem {
            status: 503,
            rule: "stopped",
            title: "Stopped".into(),
            detail: "The switch is stopping or has stopped.".into(),
        }
    }
}
