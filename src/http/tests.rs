//! The web side over real loopback sockets, with an engine played by channels.

mod admin;
mod archive;
mod desk;
mod serving;
mod signing;
mod sip;

use super::*;
use crate::config::{self, Config};
use crate::engine::handle::{AgentCommand, DeskUpdate, Handle, Input, Problem, SipSocket};
use crate::engine::kept_phones::PhoneChange;
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
            Input::Phones { reply } => {
                let _ = reply.send(json!([{ "user": "101", "from": "file" }]));
                continue;
            }
            Input::Phone { change, reply } => {
                let known = matches!(&change, PhoneChange::Add { user, .. } if user == "101");
                let exists = || Problem::new(409, "phone_exists", "Not possible now", "It exists.");
                let _ = reply.send(if known { Err(exists()) } else { Ok(()) });
                format!("{change:?}")
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
