//! The desk's WebSocket, one a tab: the whole desk down after every change, commands up.

use super::command::CommandBody;
use super::rate::Bucket;
use super::session::SignedIn;
use super::site::Site;
use super::socket::{self, End, Place, Pulse};
use super::{Listener, origin, problem};
use crate::engine::handle::{AgentCommand, DeskUpdate, Problem};
use crate::id::AgentId;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Commands of one tab under way at once.
const COMMANDS_MAX: usize = 16;
/// Clicks and hotkeys: 40 at once, then 20 a second.
const COMMAND_RATE: (f64, Duration) = (40.0, Duration::from_millis(50));

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum FromPage {
    Command { id: u64, command: CommandBody },
}

/// Just the id, to answer a command that cannot be read.
#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

type Answer = (u64, Result<Arc<DeskUpdate>, Problem>);
type Underway = FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>;

pub(super) async fn open(
    State(site): State<Arc<Site>>,
    Extension(listener): Extension<Listener>,
    signed_in: SignedIn,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    origin::of_socket(&site, &headers, listener)?;
    let place = Place::take(&site)?;
    let desk = site
        .handle
        .desk(&signed_in.agent)
        .await
        .ok_or_else(no_desk)?;
    let upgrade = upgrade.max_message_size(socket::MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _place = place;
        run(&site, signed_in, desk, socket).await;
    }))
}

async fn run(
    site: &Site,
    signed_in: SignedIn,
    desk: watch::Receiver<Arc<DeskUpdate>>,
    mut socket: WebSocket,
) {
    let tab = site.next_tab.fetch_add(1, Ordering::Relaxed);
    let agent = signed_in.agent.clone();
    site.handle.presence(agent.clone(), tab, true).await;
    let end = speak(site, &signed_in, desk, &mut socket).await;
    site.handle.presence(agent, tab, false).await;
    if let End::Closed(code, reason) = end {
        socket::close(socket, code, reason).await;
    }
}

async fn speak(
    site: &Site,
    signed_in: &SignedIn,
    mut desk: watch::Receiver<Arc<DeskUpdate>>,
    socket: &mut WebSocket,
) -> End {
    let mut pulse = Pulse::new(site.heartbeat);
    let mut rate = Bucket::new(COMMAND_RATE.0, COMMAND_RATE.1, Instant::now());
    let mut underway = Underway::new();
    desk.mark_changed();
    loop {
        // Commands under way are polled first, so that each is on its way before the next is read.
        let sent = tokio::select! {
            biased;
            Some((id, outcome)) = underway.next(), if !underway.is_empty() => {
                // The desk after the command goes first: a page that goes on at the reply would
                // otherwise go on from the desk before it.
                let shown = match desk.has_changed() {
                    Ok(true) => show(socket, &mut desk).await,
                    _ => Ok(()),
                };
                match shown {
                    Ok(()) => socket::send(socket, Message::text(reply(id, &outcome).to_string())).await,
                    gone => gone,
                }
            }
            alive = pulse.tick() => {
                if !alive {
                    return End::Gone;
                }
                if site.agent_of(&signed_in.token).is_none() {
                    return End::Closed(socket::SIGNED_OUT, "signed out");
                }
                socket::send(socket, Message::Ping(axum::body::Bytes::new())).await
            }
            changed = desk.changed() => {
                if changed.is_err() {
                    return End::Closed(socket::GOING_AWAY, "the switch is stopping");
                }
                show(socket, &mut desk).await
            }
            received = socket.recv() => {
                let Some(Ok(message)) = received else { return End::Gone };
                pulse.hear();
                let Message::Text(text) = message else { continue };
                if rate.take(Instant::now()).is_err() {
                    return End::Closed(socket::POLICY, "too many commands");
                }
                match read(&text, underway.len()) {
                    Ok((id, command)) => {
                        underway.push(carry_out(site, signed_in.agent.clone(), id, command));
                        Ok(())
                    }
                    Err(Unread::Refused(id, problem)) => {
                        socket::send(socket, Message::text(reply(id, &Err(problem)).to_string())).await
                    }
                    Err(Unread::Nonsense) => return End::Closed(socket::POLICY, "not a command"),
                }
            }
        };
        if sent.is_err() {
            return End::Gone;
        }
    }
}

async fn show(
    socket: &mut WebSocket,
    desk: &mut watch::Receiver<Arc<DeskUpdate>>,
) -> Result<(), socket::Gone> {
    let update = Arc::clone(&desk.borrow_and_update());
    socket::send(socket, Message::text(desk_message(&update).to_string())).await
}

fn carry_out(
    site: &Site,
    agent: AgentId,
    id: u64,
    command: AgentCommand,
) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    let handle = site.handle.clone();
    Box::pin(async move { (id, handle.command(agent, command).await) })
}

/// Why a message is no command.
enum Unread {
    Refused(u64, Problem),
    /// Not even an id to answer to: no page of ours.
    Nonsense,
}

fn read(text: &str, underway: usize) -> Result<(u64, AgentCommand), Unread> {
    let message: FromPage =
        serde_json::from_str(text).map_err(|error| {
            match serde_json::from_str::<Numbered>(text) {
                Ok(Numbered { id }) => Unread::Refused(id, problem::bad_body(&error)),
                Err(_) => Unread::Nonsense,
            }
        })?;
    let FromPage::Command { id, command } = message;
    if underway >= COMMANDS_MAX {
        return Err(Unread::Refused(id, too_many()));
    }
    command
        .checked()
        .map(|command| (id, command))
        .map_err(|problem| Unread::Refused(id, problem))
}

fn desk_message(update: &DeskUpdate) -> Value {
    json!({ "type": "desk", "epoch": update.epoch, "seq": update.seq, "desk": update.desk })
}

fn reply(id: u64, outcome: &Result<Arc<DeskUpdate>, Problem>) -> Value {
    match outcome {
        Ok(_) => json!({ "type": "reply", "id": id, "ok": true }),
        Err(refused) => {
            json!({ "type": "reply", "id": id, "ok": false, "problem": problem::body(refused) })
        }
    }
}

fn no_desk() -> Problem {
    let detail = "The switch has no desk for this agent now.";
    problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no_desk",
        "No desk",
        detail,
    )
}

fn too_many() -> Problem {
    let detail = "Earlier commands of this tab are still under way.";
    problem::new(StatusCode::SERVICE_UNAVAILABLE, "overload", "Busy", detail)
}
