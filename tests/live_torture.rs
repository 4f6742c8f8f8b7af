//! Every torture message at the real binary under `config/torture.toml`, over each transport: what
//! comes back on the wire is what the table states.
//!
//! After each message the same sender asks OPTIONS. SIP is handled in the order of arrival, so
//! what came before that answer is all that the message itself was told.

mod support;
#[path = "support/torture.rs"]
mod torture;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use foredial::sip::{Framed, Framer, Limits};
use futures_util::{SinkExt, StreamExt};
use support::daemon::Home;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use torture::{Answer, Row, rows, status};

const CONFIG: &str = include_str!("../config/torture.toml");
/// For one answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const SIP_PORT: u16 = 5060;
/// The messages' senders: an address each, so that nobody hears a repeated answer to another.
const SENDERS: [u8; 2] = [127, 21];
const PROBE: &str = "the-end-of-it";

fn probe(transport: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1;rport;branch=z9hG4bKp\r\n\
         From: <sip:p@example.com>;tag=p\r\nTo: <sip:127.0.0.1>\r\nCall-ID: {PROBE}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn is_probed(bytes: &[u8]) -> bool {
    bytes
        .windows(PROBE.len())
        .any(|window| window == PROBE.as_bytes())
}

/// Where answers over UDP go: the port of the top Via.
fn via_port(bytes: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(bytes);
    let via = text
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("via:"));
    let sent_by = via
        .and_then(|line| line.split([';', ',']).next())
        .unwrap_or_default();
    let sent_by = sent_by.split_whitespace().last().unwrap_or_default();
    let port = match sent_by.rsplit_once("]:") {
        Some((_, port)) => Some(port),
        None if sent_by.contains('[') => None,
        None => sent_by.rsplit_once(':').map(|(_, port)| port),
    };
    port.and_then(|port| port.parse().ok()).unwrap_or(SIP_PORT)
}

async fn heard_over_udp(home: &Home, number: u8, bytes: &[u8]) -> Vec<Vec<u8>> {
    let [a, b] = SENDERS;
    let from = SocketAddr::from((Ipv4Addr::new(a, b, number, 2), via_port(bytes)));
    let socket = UdpSocket::bind(from).await.expect("an address of our own");
    socket.connect((home.ip, SIP_PORT)).await.expect("loopback");
    socket.send(bytes).await.expect("sent");
    socket.send(&probe("UDP")).await.expect("sent");
    let (mut heard, mut buffer) = (Vec::new(), vec![0; 65_535]);
    loop {
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer))
            .await
            .expect("an answer to OPTIONS")
            .expect("received");
        if is_probed(&buffer[..length]) {
            return heard;
        }
        heard.push(buffer[..length].to_vec());
    }
}

/// A second probe, because octets left over from the message take the first one with them. Ends
/// with the connection when the framing is lost.
async fn heard_over_tcp(home: &Home, row: &Row) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect((home.ip, SIP_PORT))
        .await
        .expect("an open door");
    let waits = row.over_tcp == Answer::None && row.answer != Answer::None;
    let probes = if waits {
        Vec::new()
    } else {
        [probe("TCP"), probe("TCP")].concat()
    };
    let bytes = [&row.bytes[..], &probes].concat();
    stream.write_all(&bytes).await.expect("sent");
    if waits {
        stream.shutdown().await.expect("half closed");
    }
    let (mut framer, mut heard, mut buffer) =
        (Framer::new(Limits::default()), Vec::new(), vec![0; 65_535]);
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        let length = match read.expect("an answer or the end") {
            // A reset is an end too: not all that was sent has been read.
            Ok(0) | Err(_) => return heard,
            Ok(length) => length,
        };
        framer.push(&buffer[..length]);
        while let Some(framed) = framer.poll() {
            match framed {
                Framed::Message(message) if is_probed(&message) => return heard,
                Framed::Message(message) => heard.push(message),
                Framed::Ping => {}
                Framed::Broken(broken) => panic!("{broken:?}"),
            }
        }
    }
}

async fn heard_over_websocket(home: &Home, bytes: &[u8]) -> Vec<Vec<u8>> {
    let url = format!("ws://{}:8080/sip", home.ip);
    let mut request = url.into_client_request().expect("a URL");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", "sip".parse().expect("a token"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request)
        .await
        .expect("an open door");
    let sent = [bytes.to_vec(), probe("WS")];
    for message in sent {
        socket.send(Frame::binary(message)).await.expect("sent");
    }
    let mut heard = Vec::new();
    loop {
        let frame = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .expect("an answer");
        let message = match frame.expect("open").expect("a frame") {
            Frame::Text(text) => text.as_bytes().to_vec(),
            Frame::Binary(bytes) => bytes.to_vec(),
            _ => continue,
        };
        if is_probed(&message) {
            return heard;
        }
        heard.push(message);
    }
}

/// RFC 5118 gives several requests one identity, which makes the later ones repetitions of the
/// first while its transaction lives: they get a Call-ID each.
fn with_own_call_id(mut row: Row) -> Row {
    let shared = b"Call-ID: SSG9559905523997077";
    let found = row
        .bytes
        .windows(shared.len())
        .position(|window| window == shared);
    if let Some(at) = found {
        let place = at + b"Call-ID: ".len();
        row.bytes.splice(place..place, row.name.bytes());
    }
    row
}

/// What is wrong with these answers to a message.
fn verdict(row: &Row, heard: &[Vec<u8>]) -> Option<String> {
    let got: Vec<u16> = heard.iter().map(|message| status(message)).collect();
    let right = match row.answer {
        Answer::Status(status) => {
            got.first() == Some(&status) && got.iter().all(|one| *one == status)
        }
        // Nobody is at home, which is normal routing; no complaint about the message is.
        Answer::Call => {
            let normal =
                |status: &u16| matches!(status, 100..=299 | 403 | 404 | 480 | 486 | 488 | 603);
            !got.is_empty() && got.iter().all(normal)
        }
        Answer::None => got.is_empty(),
    };
    let said = || {
        heard
            .iter()
            .map(|m| String::from_utf8_lossy(m).into_owned())
    };
    (!right).then(|| {
        let said: Vec<String> = said().collect();
        format!("{}: {got:?}, not {:?}: {said:?}", row.name, row.answer)
    })
}

#[tokio::test]
async fn every_message_gets_its_answer_over_udp() {
    let home = Home::configured(CONFIG);
    let _daemon = home.start().await;
    let mut wrong = Vec::new();
    for (number, row) in (1..).zip(rows().into_iter().map(with_own_call_id)) {
        let heard = heard_over_udp(&home, number, &row.bytes).await;
        wrong.extend(verdict(&row, &heard));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_message_gets_its_answer_over_tcp() {
    let home = Home::configured(CONFIG);
    let _daemon = home.start().await;
    let mut wrong = Vec::new();
    for row in rows().into_iter().map(with_own_call_id) {
        let mut heard = heard_over_tcp(&home, &row).await;
        if row.name == "dblreq" {
            // On a stream its octets are two requests, and the second one is answered as well.
            assert!(heard.len() > 1, "{heard:?}");
            heard.truncate(1);
        }
        let answer = row.over_tcp;
        wrong.extend(verdict(&Row { answer, ..row }, &heard));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_message_gets_its_answer_over_websocket() {
    let home = Home::configured(CONFIG);
    let _daemon = home.start().await;
    let mut wrong = Vec::new();
    let rows = rows().into_iter().map(with_own_call_id);
    for row in rows.filter(|row| !row.is_framing) {
        let heard = heard_over_websocket(&home, &row.bytes).await;
        wrong.extend(verdict(&row, &heard));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without `digest = false` the door is shut: this is what the key opens.
#[tokio::test]
async fn with_digest_nobody_registers_calls_or_opens_a_websocket_unasked() {
    let config = CONFIG.replace("digest = false", "digest = true");
    let home = Home::configured(&config);
    let _daemon = home.start().await;
    for (number, name) in [(201, "regescrt"), (202, "esc01")] {
        let heard = heard_over_udp(&home, number, &torture::message(name)).await;
        let got: Vec<u16> = heard.iter().map(|message| status(message)).collect();
        assert!(matches!(got[..], [401 | 403]), "{name}: {got:?}");
    }
    let mut request = format!("ws://{}:8080/sip", home.ip)
        .into_client_request()
        .expect("a URL");
    let protocol = "sip".parse().expect("a token");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocol);
    assert!(tokio_tungstenite::connect_async(request).await.is_err());
}
