//! What the desk and the SIP socket have in common: pings, the dead, and the limits.

use super::problem;
use super::site::{Heartbeat, Site};
use crate::engine::handle::Problem;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior};

/// WebSockets open at once, of both kinds.
const SOCKETS_MAX: usize = 4_000;
/// One message; notes and SIP messages are far smaller.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A peer that does not take a message for so long is gone.
const SEND_LIMIT: Duration = Duration::from_secs(15);

/// Close codes (RFC 6455 section 7.4).
pub(super) const GOING_AWAY: u16 = 1001;
pub(super) const POLICY: u16 = 1008;
/// Ours: sign in again.
pub(super) const SIGNED_OUT: u16 = 4401;

/// One of the sockets allowed at once; gives its place back when dropped.
pub(super) struct Place(Arc<Site>);

impl Place {
    pub(super) fn take(site: &Arc<Site>) -> Result<Place, Problem> {
        let place = Place(Arc::clone(site));
        if site.sockets.fetch_add(1, Ordering::Relaxed) >= SOCKETS_MAX {
            let detail = "Too many pages are open on this switch.";
            return Err(problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overload",
                "Busy",
                detail,
            ));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When to ping and when to give up. A browser answers pings without JavaScript.
pub(super) struct Pulse {
    ticks: Interval,
    dead_after: Duration,
    heard: Instant,
}

impl Pulse {
    pub(super) fn new(heartbeat: Heartbeat) -> Pulse {
        let mut ticks = tokio::time::interval(heartbeat.ping_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Pulse {
            ticks,
            dead_after: heartbeat.dead_after,
            heard: Instant::now(),
        }
    }

    /// Anything at all came from the peer.
    pub(super) fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// Waits for the next ping; false when the peer has been silent for too long.
    pub(super) async fn tick(&mut self) -> bool {
        self.ticks.tick().await;
        self.heard.elapsed() < self.dead_after
    }
}

/// Sends, or says that the peer is gone.
pub(super) async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match tokio::time::timeout(SEND_LIMIT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Gone),
    }
}

/// Says goodbye; a peer that does not listen any more is let go.
pub(super) async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let _ = send(&mut socket, Message::Close(Some(frame))).await;
}

#[derive(Debug)]
pub(super) struct Gone;

/// Why a socket ends.
pub(super) enum End {
    /// The peer closed, vanished or fell silent.
    Gone,
    Closed(u16, &'static str),
}

impl From<Gone> for End {
    fn from(_: Gone) -> End {
        End::Gone
    }
}
