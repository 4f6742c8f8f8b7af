//! The web side over real loopback sockets, with an engine played by channels.

use super::*;
use crate::config::{self, Config};
use crate::engine::handle::{AgentCommand, DeskUpdate, Handle, Input, Problem, SipSocket};
use crate::id::{AgentId, CallId};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

const CALL: &str = "018f4e2a-0000-7000-8000-000000000001";
const KEY: &str = "018f4e2a-0000-7000-8000-0000000000aa";

/// What the engine was told, in short.
type Told = mpsc::UnboundedReceiver<String>;
type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

struct Place {
    folder: tempfile::TempDir,
    http: SocketAddr,
    https: SocketAddr,
    site: Arc<Site>,
    desk: watch::Sender<Arc<DeskUpdate>>,
    to_page: mpsc::Sender<Vec<u8>>,
    told: Told,
    client: Client,
    _serving: Serving,
}

struct Shelf(PathBuf);

impl Archive for Shelf {
    fn recording(&self, agent: &AgentId, call: CallId) -> Option<PathBuf> {
        (agent.as_str() == "ana" && call.to_string() == CALL).then(|| self.0.clone())
    }

    fn calls(&self, agent: &AgentId, cursor: Option<&str>) -> Result<Page, Problem> {
        let next = cursor.is_none().then(|| "2".to_owned());
        Ok(Page {
            items: vec![json!({ "agent": agent.as_str(), "cursor": cursor })],
            next,
        })
    }

    fn leads(&self, _: &AgentId, _: Option<&str>) -> Result<Page, Problem> {
        Err(problem::new(
            StatusCode::CONFLICT,
            "no_leads",
            "No leads",
            "There are none.",
        ))
    }
}

fn desk(seq: u64) -> Arc<DeskUpdate> {
    Arc::new(DeskUpdate {
        epoch: "e1".into(),
        seq,
        desk: json!({ "state": { "kind": "ready" }, "n": seq }),
    })
}

/// Answers like an engine would; notes what it is told.
async fn play_engine(
    mut inputs: mpsc::Receiver<Input>,
    desks: watch::Sender<Arc<DeskUpdate>>,
    outgoing: mpsc::Receiver<Vec<u8>>,
    told: mpsc::UnboundedSender<String>,
) {
    let mut outgoing = Some(outgoing);
    while let Some(input) = inputs.recv().await {
        let note = match input {
            Input::Command {
                agent,
                command,
                reply,
            } => {
                let note = format!("{agent} {command:?}");
                let answer = match command {
                    AgentCommand::Extend { .. } => Err(problem::new(
                        StatusCode::CONFLICT,
                        "stale_token",
                        "Stale",
                        "Another has it.",
                    )),
                    AgentCommand::HangUp => {
                        desks.send_replace(desk(9));
                        Ok(desk(9))
                    }
                    _ => Ok(desk(7)),
                };
                let _ = reply.send(answer);
                note
            }
            Input::Desk { agent, reply } => {
                let _ = reply.send(Some(desks.subscribe()));
                format!("desk {agent}")
            }
            Input::Presence {
                agent,
                tab,
                present,
            } => format!("presence {agent} {tab} {present}"),
            Input::SipOpen {
                agent,
                secure,
                reply,
                ..
            } => {
                if let Some(outgoing) = outgoing.take() {
                    let _ = reply.send(SipSocket { flow: 9, outgoing });
                }
                let agent = agent.map_or_else(|| "nobody".to_owned(), |agent| agent.to_string());
                format!("sip_open {agent} {secure}")
            }
            Input::SipReceived { flow, bytes } => {
                format!("sip {flow} {}", String::from_utf8_lossy(&bytes))
            }
            Input::SipClosed { flow } => format!("sip_closed {flow}"),
            Input::Snapshot { reply } => {
                let _ =
                    reply.send(json!({ "calls": [{ "id": CALL }], "counters": { "dials": 4 } }));
                continue;
            }
            Input::TrunkSnapshot { reply } => {
                let _ = reply.send(json!([{ "name": "a" }]));
                continue;
            }
            Input::Trace { reply } => {
                let message = "OPTIONS sip:101@here SIP/2.0\r\nCall-ID: a+b@c\r\n\r\n";
                let _ = reply.send(crate::engine::tap::played::listening(message));
                continue;
            }
            Input::Drain => "drain".to_owned(),
            Input::Crm { .. }
            | Input::Resolved { .. }
            | Input::Registrations { .. }
            | Input::Reload { .. }
            | Input::HangUp { .. } => continue,
            Input::Shutdown { .. } => return,
        };
        let _ = told.send(note);
    }
}

fn configuration(folder: &std::path::Path) -> Config {
    let hash = hash_password("correct horse");
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\ntls_listen = \"127.0.0.1:0\"\norigins = [\"https://crm.example.com\"]\n\
         [[agent]]\nid = \"ana\"\nname = \"Ana\"\npassword_hash = '{hash}'\n[[agent]]\nid = \"li\"\nlanguage = \"zh\"\n"
    );
    config::parse("test.toml", &text, folder).unwrap_or_else(|errors| panic!("{errors}"))
}

async fn place() -> Place {
    place_with(|_| {}).await
}

async fn place_with(change: impl FnOnce(&mut Site)) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path());
    let recording = folder.path().join("r.wav");
    let bytes: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&recording, bytes).unwrap();
    let (handle, inputs) = Handle::new(64);
    let desk = watch::Sender::new(desk(1));
    let (to_page, outgoing) = mpsc::channel(8);
    let (told, listen) = mpsc::unbounded_channel();
    tokio::spawn(play_engine(inputs, desk.clone(), outgoing, told));
    let mut site = Site::configured(&config, handle, Arc::new(Shelf(recording))).unwrap();
    change(&mut site);
    let site = Arc::new(site);
    let serving = serve(Server::bind(&config).unwrap(), Arc::clone(&site)).unwrap();
    let pem = std::fs::read(folder.path().join("state/certificate.pem")).unwrap();
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let (http, https) = (serving.http.unwrap(), serving.https.unwrap());
    Place {
        folder,
        http,
        https,
        site,
        desk,
        to_page,
        told: listen,
        client,
        _serving: serving,
    }
}

impl Place {
    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.http))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.ask(Method::GET, path)
    }

    /// The cookie of a fresh sign-in.
    fn cookie(&self, agent: &str) -> String {
        format!(
            "foredial={}",
            self.site.sessions.sign_in(&AgentId::new(agent), utc_now())
        )
    }

    async fn heard(&mut self) -> String {
        within(self.told.recv()).await.expect("the engine plays on")
    }

    async fn open(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, StatusCode> {
        let mut request = format!("ws://{}{path}", self.http)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match within(tokio_tungstenite::connect_async(request)).await {
            Ok((socket, _)) => Ok(socket),
            Err(WsError::Http(response)) => {
                Err(StatusCode::from_u16(response.status().as_u16()).unwrap())
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.http)
    }

    async fn open_desk(&self) -> Socket {
        let (cookie, origin) = (self.cookie("ana"), self.origin());
        self.open("/api/v1/desk", &[("cookie", &cookie), ("origin", &origin)])
            .await
            .unwrap()
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("within 10 s")
}

async fn text(socket: &mut Socket) -> Value {
    loop {
        match within(socket.next()).await.expect("open").expect("a frame") {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

async fn problem_of(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], problem::CONTENT_TYPE);
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["status"], status);
    assert_eq!(body["type"], "about:blank");
    for member in ["title", "detail", "rule"] {
        assert!(body[member].is_string(), "{body}");
    }
    (status, body)
}

fn credentials(agent: &str, password: &str) -> String {
    json!({ "agent": agent, "password": password }).to_string()
}

#[tokio::test]
async fn a_password_signs_in_and_signing_out_ends_it() {
    let place = place().await;
    let sign_in = |agent, password| {
        place
            .ask(Method::POST, "/api/v1/session")
            .body(credentials(agent, password))
            .send()
    };
    let response = sign_in("ana", "correct horse").await.unwrap();
    assert_eq!(response.status(), 204);
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Lax")
            && !cookie.contains("Secure"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap();
    let show = || place.get("/api/v1/session").header("cookie", cookie).send();
    let body: Value = show().await.unwrap().json().await.unwrap();
    assert_eq!(
        body,
        json!({ "agent": { "id": "ana", "name": "Ana", "language": "en" } })
    );
    let out = place
        .ask(Method::DELETE, "/api/v1/session")
        .header("cookie", cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(out.status(), 204);
    assert!(
        out.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(
        problem_of(show().await.unwrap()).await.1["rule"],
        "not_signed_in"
    );
}

#[tokio::test]
async fn wrong_names_and_passwords_look_alike_and_guessing_is_slowed() {
    let place = place().await;
    let sign_in = |agent, password| {
        place
            .ask(Method::POST, "/api/v1/session")
            .body(credentials(agent, password))
            .send()
    };
    let wrong_password = problem_of(sign_in("ana", "wrong").await.unwrap()).await;
    let wrong_name = problem_of(sign_in("nobody", "wrong").await.unwrap()).await;
    let by_link_only = problem_of(sign_in("li", "").await.unwrap()).await;
    assert_eq!(wrong_password.0, 401);
    assert_eq!(wrong_password, wrong_name);
    assert_eq!(wrong_password, by_link_only);
    for _ in 0..4 {
        sign_in("ana", "wrong").await.unwrap();
    }
    let response = sign_in("ana", "correct horse").await.unwrap();
    assert!(
        response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    assert_eq!(problem_of(response).await.0, 429);
    let garbage = place
        .ask(Method::POST, "/api/v1/session")
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(garbage).await.0, 422);
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let place = place().await;
    let token = place.site.links.issue(&AgentId::new("li"), utc_now());
    let response = place
        .get(&format!("/signin?token={token}"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (303, &"/".parse().unwrap())
    );
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let body: Value = place
        .get("/api/v1/session")
        .header("cookie", cookie)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(body["agent"]["language"], "zh");
    let again = place
        .get(&format!("/signin?token={token}"))
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(again).await.1["rule"], "link_used");
    assert_eq!(place.get("/signin").send().await.unwrap().status(), 410);
}

#[tokio::test]
async fn https_has_a_certificate_of_its_own_and_a_host_cookie() {
    let place = place().await;
    let url = format!("https://{}/api/v1/session", place.https);
    let response = place
        .client
        .post(url)
        .body(credentials("ana", "correct horse"))
        .send()
        .await
        .unwrap();
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        cookie.starts_with("__Host-foredial=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    let plain = cookie.split(';').next().unwrap();
    // The cookie of one scheme is none of the other's.
    assert_eq!(
        place
            .get("/api/v1/session")
            .header("cookie", plain)
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    use std::os::unix::fs::PermissionsExt;
    for file in ["certificate.key", "admin.key", "sessions.json"] {
        let mode = std::fs::metadata(place.folder.path().join("state").join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn sockets_open_for_our_pages_and_configured_ones_only() {
    let place = place().await;
    let (cookie, own) = (place.cookie("ana"), place.origin());
    let refused = |headers: Vec<(&'static str, String)>| {
        let place = &place;
        async move {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            place
                .open("/api/v1/desk", &headers)
                .await
                .err()
                .map(|status| status.as_u16())
        }
    };
    assert_eq!(refused(vec![("origin", own.clone())]).await, Some(401));
    assert_eq!(
        refused(vec![
            ("cookie", "foredial=guess".into()),
            ("origin", own.clone())
        ])
        .await,
        Some(401)
    );
    assert_eq!(refused(vec![("cookie", cookie.clone())]).await, Some(403));
    for foreign in [
        "http://evil.example",
        "null",
        "https://crm.example.com.evil.example",
    ] {
        assert_eq!(
            refused(vec![("cookie", cookie.clone()), ("origin", foreign.into())]).await,
            Some(403),
            "{foreign}"
        );
    }
    let other_scheme = format!("https://{}", place.http);
    assert_eq!(
        refused(vec![("cookie", cookie.clone()), ("origin", other_scheme)]).await,
        Some(403)
    );
    assert_eq!(
        refused(vec![("cookie", cookie.clone()), ("origin", own)]).await,
        None
    );
    assert_eq!(
        refused(vec![
            ("cookie", cookie),
            ("origin", "https://crm.example.com".into())
        ])
        .await,
        None
    );
}

#[tokio::test]
async fn a_desk_is_shown_and_commands_are_answered() {
    let mut place = place().await;
    let mut socket = place.open_desk().await;
    assert_eq!(place.heard().await, "desk ana");
    assert_eq!(place.heard().await, "presence ana 1 true");
    let first = text(&mut socket).await;
    assert_eq!(
        first,
        json!({ "type": "desk", "epoch": "e1", "seq": 1, "desk": { "state": { "kind": "ready" }, "n": 1 } })
    );
    place.desk.send(desk(2)).unwrap();
    assert_eq!(text(&mut socket).await["seq"], 2);

    let command = |id: u64, command: Value| {
        Message::text(json!({ "type": "command", "id": id, "command": command }).to_string())
    };
    socket
        .send(command(1, json!({ "cmd": "dial", "token": 5, "key": KEY })))
        .await
        .unwrap();
    assert_eq!(
        text(&mut socket).await,
        json!({ "type": "reply", "id": 1, "ok": true })
    );
    assert_eq!(
        place.heard().await,
        format!("ana Dial {{ token: 5, key: {KEY}, phone: None }}")
    );
    socket
        .send(command(2, json!({ "cmd": "extend", "token": 5 })))
        .await
        .unwrap();
    let reply = text(&mut socket).await;
    assert_eq!((&reply["id"], &reply["ok"]), (&json!(2), &json!(false)));
    assert_eq!(
        (&reply["problem"]["status"], &reply["problem"]["rule"]),
        (&json!(409), &json!("stale_token"))
    );
    socket
        .send(command(3, json!({ "cmd": "volume", "db": 99 })))
        .await
        .unwrap();
    assert_eq!(text(&mut socket).await["problem"]["rule"], "out_of_bounds");
    socket
        .send(command(4, json!({ "cmd": "explode" })))
        .await
        .unwrap();
    assert_eq!(text(&mut socket).await["problem"]["rule"], "bad_body");
    assert_eq!(place.heard().await, "ana Extend { token: 5 }");

    socket.close(None).await.unwrap();
    assert_eq!(place.heard().await, "presence ana 1 false");
}

#[tokio::test]
async fn the_desk_after_a_command_comes_before_its_reply() {
    let place = place().await;
    let mut socket = place.open_desk().await;
    assert_eq!(text(&mut socket).await["seq"], 1);
    let click = r#"{"type":"command","id":1,"command":{"cmd":"hang_up"}}"#;
    socket.send(Message::text(click)).await.unwrap();
    assert_eq!(text(&mut socket).await["seq"], 9);
    assert_eq!(text(&mut socket).await["id"], 1);
}

#[tokio::test]
async fn nonsense_closes_a_desk() {
    let mut place = place().await;
    let mut socket = place.open_desk().await;
    socket.send(Message::text("hello")).await.unwrap();
    let frame = loop {
        if let Message::Close(frame) = within(socket.next()).await.unwrap().unwrap() {
            break frame.unwrap();
        }
    };
    assert_eq!(u16::from(frame.code), socket::POLICY);
    assert_eq!(place.heard().await, "desk ana");
    assert_eq!(place.heard().await, "presence ana 1 true");
    assert_eq!(place.heard().await, "presence ana 1 false");
}

#[tokio::test]
async fn a_page_that_answers_no_ping_is_absent_and_one_that_does_stays() {
    let quick = site::Heartbeat {
        ping_every: Duration::from_millis(40),
        dead_after: Duration::from_millis(400),
    };
    let mut place = place_with(|site| site.heartbeat = quick).await;
    let mut lively = place.open_desk().await;
    assert_eq!(place.heard().await, "desk ana");
    assert_eq!(place.heard().await, "presence ana 1 true");
    // Reading is what answers pings.
    let reading = tokio::spawn(async move { while lively.next().await.is_some() {} });
    let silent = place.open_desk().await;
    assert_eq!(place.heard().await, "desk ana");
    assert_eq!(place.heard().await, "presence ana 2 true");
    assert_eq!(place.heard().await, "presence ana 2 false");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(
        place.told.try_recv().is_err(),
        "the lively page was given up"
    );
    drop(silent);
    reading.abort();
}

#[tokio::test]
async fn signing_out_closes_the_desk() {
    let quick = site::Heartbeat {
        ping_every: Duration::from_millis(40),
        dead_after: Duration::from_secs(5),
    };
    let place = place_with(|site| site.heartbeat = quick).await;
    let (cookie, origin) = (place.cookie("ana"), place.origin());
    let mut socket = place
        .open("/api/v1/desk", &[("cookie", &cookie), ("origin", &origin)])
        .await
        .unwrap();
    place
        .ask(Method::DELETE, "/api/v1/session")
        .header("cookie", cookie)
        .send()
        .await
        .unwrap();
    let code = loop {
        if let Message::Close(frame) = within(socket.next()).await.unwrap().unwrap() {
            break u16::from(frame.unwrap().code);
        }
    };
    assert_eq!(code, socket::SIGNED_OUT);
}

#[tokio::test]
async fn sip_goes_both_ways_one_message_a_frame() {
    let mut place = place().await;
    let (cookie, origin) = (place.cookie("ana"), place.origin());
    let plain = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
    assert_eq!(place.open("/sip", &plain).await.unwrap_err(), 400);
    let other = [plain[0], plain[1], ("sec-websocket-protocol", "xmpp")];
    assert_eq!(place.open("/sip", &other).await.unwrap_err(), 400);
    let sip = [plain[0], plain[1], ("sec-websocket-protocol", "sip")];
    let mut socket = place.open("/sip", &sip).await.unwrap();
    assert_eq!(place.heard().await, "sip_open ana false");
    socket.send(Message::text("\r\n\r\n")).await.unwrap();
    socket.send(Message::text("OPTIONS one")).await.unwrap();
    socket
        .send(Message::binary(b"OPTIONS two".to_vec()))
        .await
        .unwrap();
    assert_eq!(place.heard().await, "sip 9 OPTIONS one");
    assert_eq!(place.heard().await, "sip 9 OPTIONS two");
    place
        .to_page
        .send(b"SIP/2.0 200 OK".to_vec())
        .await
        .unwrap();
    place.to_page.send(vec![0xff, 0xfe]).await.unwrap();
    let mut frames = Vec::new();
    while frames.len() < 2 {
        match within(socket.next()).await.unwrap().unwrap() {
            Message::Ping(_) => {}
            frame => frames.push(frame),
        }
    }
    assert_eq!(
        frames,
        [
            Message::text("SIP/2.0 200 OK"),
            Message::binary(vec![0xff, 0xfe])
        ]
    );
    socket.close(None).await.unwrap();
    assert_eq!(place.heard().await, "sip_closed 9");
}

#[tokio::test]
async fn a_sip_flood_or_a_giant_closes_its_socket() {
    for flood in [true, false] {
        let mut place = place().await;
        let (cookie, origin) = (place.cookie("ana"), place.origin());
        let headers = [
            ("cookie", cookie.as_str()),
            ("origin", &origin),
            ("sec-websocket-protocol", "sip"),
        ];
        let mut socket = place.open("/sip", &headers).await.unwrap();
        if flood {
            for _ in 0..600 {
                // Fails once the other side has closed.
                let _ = socket.feed(Message::text("OPTIONS")).await;
            }
            let _ = socket.flush().await;
        } else {
            let _ = socket
                .send(Message::text("x".repeat(socket::MESSAGE_BYTES_MAX + 1)))
                .await;
        }
        while place.heard().await != "sip_closed 9" {}
    }
}

#[tokio::test]
async fn commands_by_rest_answer_with_the_desk_or_a_problem() {
    let mut place = place().await;
    let cookie = place.cookie("ana");
    let post = |body: Value| {
        place
            .ask(Method::POST, "/api/v1/agent/commands")
            .header("cookie", &cookie)
            .body(body.to_string())
    };
    let ready = post(json!({ "cmd": "ready" })).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.headers()["cache-control"], "no-store");
    assert_eq!(ready.json::<Value>().await.unwrap()["desk"]["n"], 7);
    let stale = post(json!({ "cmd": "extend", "token": 1 }))
        .send()
        .await
        .unwrap();
    assert_eq!(
        problem_of(stale).await,
        (
            409,
            json!({
                "type": "about:blank", "title": "Stale", "status": 409, "detail": "Another has it.", "rule": "stale_token",
            })
        )
    );
    let bad = post(json!({ "cmd": "dial", "token": "x" }))
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(bad).await.0, 422);
    let foreign = post(json!({ "cmd": "ready" }))
        .header("origin", "http://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(foreign).await.1["rule"], "origin");
    let nobody = place
        .ask(Method::POST, "/api/v1/agent/commands")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(nobody).await.0, 401);
    assert_eq!(place.heard().await, "ana Ready");
    assert_eq!(place.heard().await, "ana Extend { token: 1 }");
    assert!(
        place.told.try_recv().is_err(),
        "a refused request reached the engine"
    );
}

#[tokio::test]
async fn an_engine_that_is_gone_or_full_is_a_503() {
    let (handle, inputs) = Handle::new(1);
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move {
            handle
                .command(AgentId::new("ana"), AgentCommand::Ready)
                .await
        }
    });
    tokio::task::yield_now().await;
    let full = handle
        .command(AgentId::new("ana"), AgentCommand::Ready)
        .await
        .unwrap_err();
    assert_eq!((full.status, full.rule), (503, "overload"));
    drop(inputs);
    assert_eq!(waiting.await.unwrap().unwrap_err().rule, "stopped");
    assert!(handle.desk(&AgentId::new("ana")).await.is_none());
    assert!(handle.snapshot().await.is_null());
}

#[tokio::test]
async fn recordings_are_played_in_parts_and_only_by_call_id() {
    let place = place().await;
    let path = format!("/api/v1/recordings/{CALL}");
    let cookie = place.cookie("ana");
    let get = |path: &str| place.get(path).header("cookie", &cookie);
    let whole = get(&path).send().await.unwrap();
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["content-type"]),
        (200, &"audio/wav".parse().unwrap())
    );
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let bytes = whole.bytes().await.unwrap();
    assert_eq!(bytes.len(), 200_000);

    let part = get(&path)
        .header("range", "bytes=100000-199999")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            part.status().as_u16(),
            part.headers()["content-range"].to_str().unwrap()
        ),
        (206, "bytes 100000-199999/200000")
    );
    assert_eq!(part.bytes().await.unwrap(), bytes[100_000..]);
    let tail = get(&path).header("range", "bytes=-5").send().await.unwrap();
    assert_eq!(tail.bytes().await.unwrap(), bytes[199_995..]);
    let beyond = get(&path)
        .header("range", "bytes=200000-")
        .send()
        .await
        .unwrap();
    assert_eq!(beyond.headers()["content-range"], "bytes */200000");
    assert_eq!(problem_of(beyond).await.0, 416);

    for wrong in [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "r.wav",
        "018f4e2a-0000-7000-8000-000000000002",
        CALL.replace("01", "..").as_str(),
    ] {
        let response = get(&format!("/api/v1/recordings/{wrong}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 404, "{wrong}");
    }
    let other = place
        .get(&path)
        .header("cookie", place.cookie("li"))
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(other).await.0, 404);
    assert_eq!(place.get(&path).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let place = place().await;
    let cookie = place.cookie("ana");
    let first: Value = place
        .get("/api/v1/calls")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        first,
        json!({ "items": [{ "agent": "ana", "cursor": null }], "next": "2" })
    );
    let second = place
        .get("/api/v1/calls?cursor=2")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(second.json::<Value>().await.unwrap()["next"], Value::Null);
    let refused = place
        .get("/api/v1/leads")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(refused).await.1["rule"], "no_leads");
    let long = format!("/api/v1/calls?cursor={}", "x".repeat(300));
    assert_eq!(
        problem_of(
            place
                .get(&long)
                .header("cookie", &cookie)
                .send()
                .await
                .unwrap()
        )
        .await
        .0,
        422
    );
}

#[tokio::test]
async fn the_admin_api_needs_the_key_of_the_state_folder() {
    let mut place = place().await;
    let key = std::fs::read_to_string(AdminKey::path(&place.folder.path().join("state"))).unwrap();
    let snapshot = |key: &str| place.get("/api/v1/admin/snapshot").bearer_auth(key).send();
    assert_eq!(
        snapshot(&key).await.unwrap().json::<Value>().await.unwrap()["counters"]["dials"],
        4
    );
    assert_eq!(problem_of(snapshot("guess").await.unwrap()).await.0, 401);
    let agent = place
        .get("/api/v1/admin/snapshot")
        .header("cookie", place.cookie("ana"))
        .send()
        .await
        .unwrap();
    assert_eq!(problem_of(agent).await.0, 403);

    let link = |agent: &str| {
        let body = json!({ "agent": agent }).to_string();
        place
            .ask(Method::POST, "/api/v1/admin/sign-in-links")
            .bearer_auth(&key)
            .body(body)
            .send()
    };
    let made: Value = link("li").await.unwrap().json().await.unwrap();
    let url = made["url"].as_str().unwrap();
    assert!(
        url.starts_with(&format!("http://{}/signin?token=", place.http)),
        "{url}"
    );
    assert_eq!(place.client.get(url).send().await.unwrap().status(), 303);
    assert_eq!(problem_of(link("nobody").await.unwrap()).await.0, 404);
    let drain = place
        .ask(Method::POST, "/api/v1/admin/drain")
        .bearer_auth(&key)
        .send()
        .await
        .unwrap();
    assert_eq!(drain.status(), 202);
    assert_eq!(place.heard().await, "drain");
}

#[tokio::test]
async fn a_trace_is_for_the_admin_only_and_shows_what_was_asked_for() {
    let place = place().await;
    assert_eq!(
        place.get("/api/v1/trace").send().await.unwrap().status(),
        401
    );
    let agent = place
        .get("/api/v1/trace")
        .header("cookie", place.cookie("ana"));
    assert_eq!(agent.send().await.unwrap().status(), 403);
    let key = std::fs::read_to_string(place.folder.path().join("state/admin.key")).unwrap();
    let traced = async |query: &str| {
        let path = format!("/api/v1/trace?{query}");
        let answer = place.get(&path).bearer_auth(&key).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    let all = traced("").await;
    assert_eq!(all.lines().count(), 1);
    let line: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(
        (&line["call_id"], &line["way"]),
        (&json!("a+b@c"), &json!("in"))
    );
    assert_eq!(traced("number=101&call=a%2Bb%40c").await, all);
    assert_eq!(traced("number=102").await, "");
    assert_eq!(traced("address=127.0.27.9").await, "");
    let wrong = place.get("/api/v1/trace?adress=1").bearer_auth(&key);
    assert_eq!(problem_of(wrong.send().await.unwrap()).await.0, 400);
}

#[tokio::test]
async fn a_switch_without_a_file_has_nothing_to_reload_and_no_call_of_that_name() {
    let place = place().await;
    let key = std::fs::read_to_string(place.folder.path().join("state/admin.key")).unwrap();
    let ask = |method: Method, path: &str| place.ask(method, path).bearer_auth(&key).send();
    let reload = ask(Method::POST, "/api/v1/admin/reload").await.unwrap();
    assert_eq!(problem_of(reload).await.1["rule"], "no_file");
    let call = ask(Method::GET, &format!("/api/v1/admin/calls/{CALL}"))
        .await
        .unwrap();
    assert_eq!(call.status(), 200);
    let none = ask(Method::GET, "/api/v1/admin/calls/other").await.unwrap();
    assert_eq!(none.status(), 404);
    let nameless = ask(Method::DELETE, "/api/v1/admin/calls/other")
        .await
        .unwrap();
    assert_eq!(nameless.status(), 404);
}

#[tokio::test]
async fn health_and_metrics_speak_of_the_engine() {
    let place = place().await;
    assert_eq!(
        place
            .get("/healthz")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        "ok\n"
    );
    assert_eq!(place.get("/readyz").send().await.unwrap().status(), 200);
    let metrics = place
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("foredial_up 1\n") && metrics.contains("foredial_calls 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("foredial_dials_total 4\n") && !metrics.contains(CALL),
        "{metrics}"
    );
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let place = place().await;
    for path in ["/healthz", "/api/v1/session", "/api/nothing", "/"] {
        let response = place.get(path).send().await.unwrap();
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(
            policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            response.headers()["x-content-type-options"],
            "nosniff",
            "{path}"
        );
    }
    let missing = place.get("/api/nothing").send().await.unwrap();
    assert_eq!(problem_of(missing).await.1["rule"], "not_found");
    let big = place
        .ask(Method::POST, "/api/v1/session")
        .body("x".repeat(BODY_BYTES_MAX + 1))
        .send()
        .await
        .unwrap();
    assert_eq!(big.status(), 413);
}

#[cfg(feature = "pages")]
#[tokio::test]
async fn the_page_answers_every_path_of_the_app() {
    let place = place().await;
    let index = place.get("/").send().await.unwrap();
    assert_eq!(index.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(index.headers()["cache-control"], "no-cache");
    let tag = index.headers()["etag"].to_str().unwrap().to_owned();
    let html = index.text().await.unwrap();
    assert!(html.contains("<html"), "{html}");
    assert_eq!(
        place
            .get("/calls/recent")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        html
    );
    let known = place
        .get("/")
        .header("if-none-match", tag)
        .send()
        .await
        .unwrap();
    assert_eq!(known.status(), 304);
    for missing in ["/assets/gone.js", "/.stamp", "/..%2f..%2fCargo.toml"] {
        assert_eq!(
            place.get(missing).send().await.unwrap().status(),
            404,
            "{missing}"
        );
    }
    // Whatever the page loads is there, of the right type and cached for good.
    let script = html
        .split('"')
        .find(|part| part.starts_with("/assets/") && part.ends_with(".js"));
    if let Some(script) = script {
        let response = place.get(script).send().await.unwrap();
        assert_eq!(
            response.headers()["content-type"],
            "text/javascript; charset=utf-8"
        );
        assert!(
            response.headers()["cache-control"]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
    }
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_key_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = configuration(folder.path());
    config.http.listen = taken.local_addr().ok();
    let message = Server::bind(&config).err().unwrap().to_string();
    let address = taken.local_addr().unwrap();
    assert_eq!(
        message,
        format!(
            "[http] listen = \"{address}\": the port is taken; stop what uses it or change listen"
        )
    );
}
