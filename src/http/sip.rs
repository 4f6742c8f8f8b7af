//! SIP over WebSocket (RFC 7118): one message a frame, text or binary. The agent is who the
//! cookie says, and nobody where `[sip] digest = false`; SIP itself is the engine's.

use super::rate::Bucket;
use super::session::SignedIn;
use super::site::Site;
use super::socket::{self, End, Place, Pulse};
use super::{Listener, origin, problem};
use crate::engine::handle::{Problem, SipSocket};
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SUBPROTOCOL: &str = "sip";
/// A seat says a few messages a call: 200 at once, then 50 a second.
const MESSAGE_RATE: (f64, Duration) = (200.0, Duration::from_millis(20));

pub(super) async fn open(
    State(site): State<Arc<Site>>,
    Extension(listener): Extension<Listener>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    signed_in: Result<SignedIn, Problem>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let signed_in = match signed_in {
        Err(_) if site.open_sip => {
            // No browser, no origin; a browser's page must still be one of ours.
            origin::of_change(&site, &headers, listener)?;
            None
        }
        Err(problem) => return Err(problem),
        Ok(signed_in) => {
            origin::of_socket(&site, &headers, listener)?;
            Some(signed_in)
        }
    };
    if !asks_for_sip(&headers) {
        let detail = "Ask for the WebSocket subprotocol `sip` (RFC 7118).";
        return Err(problem::new(
            StatusCode::BAD_REQUEST,
            "subprotocol",
            "No SIP asked for",
            detail,
        ));
    }
    let place = Place::take(&site)?;
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(socket::MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _place = place;
        run(&site, signed_in, listener, remote, socket).await;
    }))
}

fn asks_for_sip(headers: &HeaderMap) -> bool {
    let offers = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    offers
        .flat_map(|value| value.split(','))
        .any(|offer| offer.trim().eq_ignore_ascii_case(SUBPROTOCOL))
}

async fn run(
    site: &Site,
    signed_in: Option<SignedIn>,
    listener: Listener,
    remote: SocketAddr,
    mut socket: WebSocket,
) {
    let agent = signed_in.as_ref().map(|signed_in| signed_in.agent.clone());
    let Some(mut sip) = site
        .handle
        .sip_open(agent, listener.local, remote, listener.secure)
        .await
    else {
        return socket::close(socket, socket::GOING_AWAY, "the switch is stopping").await;
    };
    let end = speak(site, signed_in.as_ref(), &mut sip, &mut socket).await;
    site.handle.sip_closed(sip.flow).await;
    if let End::Closed(code, reason) = end {
        socket::close(socket, code, reason).await;
    }
}

async fn speak(
    site: &Site,
    signed_in: Option<&SignedIn>,
    sip: &mut SipSocket,
    socket: &mut WebSocket,
) -> End {
    let mut pulse = Pulse::new(site.heartbeat);
    let mut rate = Bucket::new(MESSAGE_RATE.0, MESSAGE_RATE.1, Instant::now());
    loop {
        let sent = tokio::select! {
            outgoing = sip.outgoing.recv() => match outgoing {
                Some(bytes) => socket::send(socket, frame(bytes)).await,
                None => return End::Closed(socket::GOING_AWAY, "closed by the switch"),
            },
            alive = pulse.tick() => {
                if !alive {
                    return End::Gone;
                }
                if signed_in.is_some_and(|who| site.agent_of(&who.token).is_none()) {
                    return End::Closed(socket::SIGNED_OUT, "signed out");
                }
                socket::send(socket, Message::Ping(Bytes::new())).await
            }
            received = socket.recv() => {
                let Some(Ok(message)) = received else { return End::Gone };
                pulse.hear();
                let Some(bytes) = whole_message(message) else { continue };
                if rate.take(Instant::now()).is_err() {
                    return End::Closed(socket::POLICY, "too many messages");
                }
                site.handle.sip_received(sip.flow, bytes).await;
                Ok(())
            }
        };
        if sent.is_err() {
            return End::Gone;
        }
    }
}

/// The bytes of a frame that carries SIP; a keep-alive of line ends carries none.
fn whole_message(message: Message) -> Option<Bytes> {
    let bytes = match message {
        Message::Text(text) => Bytes::from(text),
        Message::Binary(bytes) => bytes,
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return None,
    };
    let carries = bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
    carries.then_some(bytes)
}

/// Text where it is UTF-8: what JsSIP expects.
fn frame(bytes: Vec<u8>) -> Message {
    match String::from_utf8(bytes) {
        Ok(text) => Message::text(text),
        Err(not_text) => Message::binary(not_text.into_bytes()),
    }
}
