//! The simulated agent itself, against a switch of thirty lines: what the other tests lean on must
//! stand.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use foredial::id::LegId;
use foredial::media::g711::Law;
use foredial::peer::LinkState;
use support::agent::{Agent, access_with};
use support::bench::Bench;
use support::line::{Seen, Sip};
use webrtc::rtp_transceiver::RTCRtpTransceiverDirection as Direction;

const LEG: LegId = LegId(1);

async fn upgrade(
    State(bench): State<Arc<Bench>>,
    headers: HeaderMap,
    ws: WebSocketUpgrade,
) -> Response {
    if headers
        .get("cookie")
        .is_none_or(|cookie| cookie != "session=agent1")
    {
        return axum::http::StatusCode::UNAUTHORIZED.into_response();
    }
    ws.protocols(["sip"])
        .on_upgrade(move |socket| serve(bench, socket))
}

async fn serve(bench: Arc<Bench>, mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else {
            continue;
        };
        let request = Sip::parse(&text).expect("SIP");
        let replies = match request.method() {
            Some("INVITE") => {
                let answer = bench
                    .offer(LEG, request.body.clone(), Law::Mu)
                    .expect("an answer");
                vec![
                    reply(&request, "100 Trying", ""),
                    reply(&request, "200 OK", &answer),
                ]
            }
            Some("BYE") => vec![reply(&request, "200 OK", "")],
            Some("ACK") => vec![options(&request)],
            _ => vec![],
        };
        for reply in replies {
            if socket.send(Message::text(reply)).await.is_err() {
                return;
            }
        }
    }
}

fn reply(request: &Sip, status: &str, body: &str) -> String {
    let header = |name| request.header(name).unwrap_or_default().to_owned();
    let to = header("To")
        .split(";tag=")
        .next()
        .unwrap_or_default()
        .to_owned();
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to};tag=switch\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:switch@127.0.0.1>\r\nContent-Length: {}\r\n\r\n{body}",
        header("Via"),
        header("From"),
        header("Call-ID"),
        header("CSeq"),
        body.len(),
    )
}

fn options(request: &Sip) -> String {
    let header = |name| request.header(name).unwrap_or_default().to_owned();
    format!(
        "OPTIONS sip:agent@agent.invalid SIP/2.0\r\nVia: SIP/2.0/WS switch.invalid;branch=z9hG4bK1\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        header("To"),
        header("From"),
        header("Call-ID"),
    )
}

async fn switch() -> (Arc<Bench>, String) {
    let bench = Arc::new(Bench::start());
    let router = axum::Router::new()
        .route("/sip", axum::routing::any(upgrade))
        .with_state(bench.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (bench, host)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_takes_the_seat_talks_holds_and_leaves() {
    let (bench, host) = switch().await;
    let agent = Agent::take_seat(&access_with(&host, "session=agent1"))
        .await
        .expect("the seat");
    println!(
        "answered after {:?}, connected after {:?}",
        agent.answered_after, agent.connected_after
    );
    bench.speak(LEG, 1_000.0);
    agent.speak(440);
    assert!(agent.hears(1_000.0).await);
    let window = Duration::from_millis(400);
    assert!(bench.hear(LEG, window).await.amplitude(440.0, window) > 7_000.0);

    agent.redirect(Direction::Inactive).await.expect("held");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(agent.hear(window).await.packets, 0);
    agent.redirect(Direction::Sendrecv).await.expect("resumed");
    agent.listen_anew();
    assert!(agent.hears(1_000.0).await);

    let seen: Vec<Seen> = agent.seen().into_iter().map(|(_, seen)| seen).collect();
    assert!(seen.contains(&Seen::Response {
        method: "INVITE".into(),
        status: 100
    }));
    assert!(seen.contains(&Seen::Request {
        method: "OPTIONS".into()
    }));
    agent.leave().await.expect("a 200 to the BYE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_crashes_goes_silent_and_comes_back() {
    let (bench, host) = switch().await;
    let access = access_with(&host, "session=agent1");
    let agent = Agent::take_seat(&access).await.expect("the seat");
    agent.speak(440);
    drop(agent);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bench.hear(LEG, Duration::from_millis(300)).await.packets, 0);
    assert_eq!(
        bench.link(LEG),
        Some(LinkState::Connected),
        "nobody told us"
    );
    bench.ask(|worker| worker.peers.close(Instant::now(), LEG));
    let agent = Agent::take_seat(&access).await.expect("the seat again");
    agent.speak(700);
    let window = Duration::from_millis(400);
    tokio::time::sleep(window).await;
    assert!(bench.hear(LEG, window).await.amplitude(700.0, window) > 7_000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_a_session_gets_a_line() {
    let (_bench, host) = switch().await;
    assert!(
        Agent::take_seat(&access_with(&host, "session=other"))
            .await
            .is_err()
    );
}
