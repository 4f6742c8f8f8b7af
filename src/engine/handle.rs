//! What the top floor holds of the engine: commands, desks to watch, SIP sockets to feed.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::id::AgentId;

/// One agent's desk as a page shows it. `seq` grows with every change within an `epoch`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeskUpdate {
    pub epoch: String,
    pub seq: u64,
    pub desk: serde_json::Value,
}

/// What an agent may ask for. `token` is the reservation's fence, `key` names the click.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
pub enum AgentCommand {
    #[serde(alias = "next")]
    Ready,
    NotReady { reason: String },
    Dial { token: u64, key: String, #[serde(default)] phone: Option<u64> },
    Skip { token: u64, key: String, reason: String },
    Cancel { token: u64, key: String },
    Dnc { token: u64, key: String },
    Extend { token: u64 },
    HangUp,
    Mute { on: bool },
    Hold { on: bool },
    Volume { db: f32 },
    Dispose {
        token: u64,
        key: String,
        #[serde(default)]
        disposition: Option<String>,
        #[serde(default)]
        notes: String,
        #[serde(default)]
        callback_at_ms: Option<i64>,
    },
    LogOut,
}

/// Why a command was refused: an HTTP status, a stable rule name and words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub rule: &'static str,
    pub title: String,
    pub detail: String,
}

impl Problem {
    pub fn new(status: u16, rule: &'static str, title: &str, detail: impl Into<String>) -> Problem {
        Problem { status, rule, title: title.to_owned(), detail: detail.into() }
    }

    pub fn overload() -> Problem {
        Problem::new(503, "overload", "The switch is overloaded", "Try again in a moment.")
    }
}

/// The switch's end of one WebSocket that carries SIP.
pub struct SipSocket {
    pub flow: u64,
    pub outgoing: mpsc::Receiver<Vec<u8>>,
}

/// A request to the control loop from the top floor.
pub enum Request {
    Command {
        agent: AgentId,
        command: AgentCommand,
        reply: oneshot::Sender<Result<Arc<DeskUpdate>, Problem>>,
    },
    Desk { agent: AgentId, reply: oneshot::Sender<Option<watch::Receiver<Arc<DeskUpdate>>>> },
    Presence { agent: AgentId, tab: u64, present: bool },
    SipOpen {
        agent: AgentId,
        local: SocketAddr,
        remote: SocketAddr,
        secure: bool,
        reply: oneshot::Sender<SipSocket>,
    },
    SipReceived { flow: u64, bytes: Bytes },
    SipClosed { flow: u64 },
    /// What the CRM said for the card with this fence, or why it could not.
    Crm { agent: AgentId, token: u64, result: Result<serde_json::Value, String> },
    Snapshot { reply: oneshot::Sender<serde_json::Value> },
    Drain,
    Shutdown { reply: oneshot::Sender<()> },
}

/// A cheap, cloneable way to the control loop. Senders wait when its queue is full.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

impl Handle {
    pub fn new(requests: mpsc::Sender<Request>) -> Handle {
        Handle { requests }
    }

    /// Carries out one command of an agent and answers with her desk after it.
    pub async fn command(
        &self,
        agent: AgentId,
        command: AgentCommand,
    ) -> Result<Arc<DeskUpdate>, Problem> {
        let (reply, answer) = oneshot::channel();
        // A full queue refuses new work instead of making clicks wait behind it.
        self.requests
            .try_send(Request::Command { agent, command, reply })
            .map_err(|_| Problem::overload())?;
        answer.await.unwrap_or_else(|_| Err(Problem::overload()))
    }

    /// The agent's desk, now and whenever it changes; `None` for an unknown agent.
    pub async fn desk(&self, agent: &AgentId) -> Option<watch::Receiver<Arc<DeskUpdate>>> {
        self.ask(|reply| Request::Desk { agent: agent.clone(), reply }).await.flatten()
    }

    /// A page of the agent has opened (`present`), or has closed or stopped answering pings.
    pub async fn presence(&self, agent: AgentId, tab: u64, present: bool) {
        self.tell(Request::Presence { agent, tab, present }).await;
    }

    /// Opens a SIP flow for a WebSocket that has been authenticated as `agent`.
    pub async fn sip_open(
        &self,
        agent: AgentId,
        local: SocketAddr,
        remote: SocketAddr,
        secure: bool,
    ) -> Option<SipSocket> {
        self.ask(|reply| Request::SipOpen { agent, local, remote, secure, reply }).await
    }

    pub async fn sip_received(&self, flow: u64, bytes: Bytes) {
        self.tell(Request::SipReceived { flow, bytes }).await;
    }

    pub async fn sip_closed(&self, flow: u64) {
        self.tell(Request::SipClosed { flow }).await;
    }

    pub async fn crm(
        &self,
        agent: AgentId,
        token: u64,
        result: Result<serde_json::Value, String>,
    ) {
        self.tell(Request::Crm { agent, token, result }).await;
    }

    /// Counts and states for people and tests; `null` when the engine has ended.
    pub async fn snapshot(&self) -> serde_json::Value {
        self.ask(|reply| Request::Snapshot { reply }).await.unwrap_or_default()
    }

    /// No new cards and no new dials; calls in progress go on.
    pub async fn drain(&self) {
        self.tell(Request::Drain).await;
    }

    /// Ends every call properly and stops the loop.
    pub async fn shutdown(&self) {
        self.ask(|reply| Request::Shutdown { reply }).await;
    }

    async fn tell(&self, request: Request) {
        // An error means that the loop has ended; there is nobody left to tell.
        let _ = self.requests.send(request).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}
