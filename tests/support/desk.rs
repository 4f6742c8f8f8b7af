//! An agent's page without the page: the desk's WebSocket, read and written as the browser does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::agent::{Agent, follow_link};
use super::browser::{Failure, PATIENCE};
use super::daemon::Daemon;
use super::line::Access;

/// Dropping it closes the page without a word.
pub struct Desk {
    orders: mpsc::UnboundedSender<Order>,
    shown: watch::Receiver<Value>,
    task: tokio::task::JoinHandle<()>,
    next: AtomicU64,
}

struct Order {
    id: u64,
    command: Value,
    reply: oneshot::Sender<Value>,
}

impl Desk {
    pub async fn open(access: &Access) -> Result<Desk, Failure> {
        let url = access.url.replace("/sip", "/api/v1/desk");
        let mut request = url.into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("Cookie", access.cookie.parse()?);
        headers.insert("Origin", access.origin.parse()?);
        let (mut socket, _) =
            connect_async_with_config(request, None, super::page::NO_DELAY).await?;
        let (orders, mut inbox) = mpsc::unbounded_channel::<Order>();
        let (show, shown) = watch::channel(Value::Null);
        let task = tokio::spawn(async move {
            let mut waiting = std::collections::HashMap::new();
            loop {
                tokio::select! {
                    order = inbox.recv() => {
                        let Some(Order { id, command, reply }) = order else { return };
                        waiting.insert(id, reply);
                        let text = json!({ "type": "command", "id": id, "command": command });
                        if socket.send(Frame::text(text.to_string())).await.is_err() {
                            return;
                        }
                    }
                    frame = socket.next() => {
                        let Some(Ok(frame)) = frame else { return };
                        let Frame::Text(text) = frame else { continue };
                        let message: Value = serde_json::from_str(&text).expect("JSON");
                        if message["type"] == "desk" {
                            show.send_replace(message["desk"].clone());
                        } else if let Some(id) = message["id"].as_u64()
                            && let Some(reply) = waiting.remove(&id)
                        {
                            // Who asked may have given up.
                            let _ = reply.send(message);
                        }
                    }
                }
            }
        });
        let desk = Desk {
            orders,
            shown,
            task,
            next: AtomicU64::new(1),
        };
        desk.until("the first picture", |desk| desk.is_object())
            .await;
        Ok(desk)
    }

    /// As last shown.
    pub fn now(&self) -> Value {
        self.shown.borrow().clone()
    }

    pub fn state(&self) -> String {
        text(&self.now(), "/state/kind")
    }

    /// Waits until the desk looks like this; says what was awaited when it never does.
    pub async fn until(&self, what: &str, looks: impl Fn(&Value) -> bool) -> Value {
        self.within(PATIENCE, what, looks).await
    }

    pub async fn within(
        &self,
        limit: Duration,
        what: &str,
        looks: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut shown = self.shown.clone();
        let seen = tokio::time::timeout(limit, shown.wait_for(|desk| looks(desk))).await;
        match seen {
            Ok(Ok(desk)) => desk.clone(),
            Ok(Err(_)) => panic!(
                "the page was closed while waiting for {what}: {:#}",
                self.now()
            ),
            Err(_) => panic!("never came: {what}; the desk shows {:#}", self.now()),
        }
    }

    pub async fn until_state(&self, kind: &str) -> Value {
        self.until(kind, |desk| desk["state"]["kind"] == kind).await
    }

    pub async fn until_call(&self, state: &str) -> Value {
        self.until(&format!("a call that is {state}"), |desk| {
            desk["call"]["state"] == state
        })
        .await
    }

    /// A click: sent at once; the answer may be awaited or not.
    pub fn click(&self, command: Value) -> oneshot::Receiver<Value> {
        let (reply, answer) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        // A closed page answers nobody; the receiver says so.
        let _ = self.orders.send(Order { id, command, reply });
        answer
    }

    /// A click that must succeed.
    pub async fn ask(&self, command: Value) {
        let shown = command.to_string();
        let answer = tokio::time::timeout(PATIENCE, self.click(command)).await;
        let answer = answer.expect("an answer in time").expect("the page lives");
        assert_eq!(answer["ok"], true, "{shown}: {answer:#}");
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An agent in front of her page, in her seat.
pub struct Shift {
    pub access: Access,
    pub desk: Desk,
    pub seat: Agent,
}

impl Shift {
    /// By a one-time link from `foredial ctl`.
    pub async fn begin(daemon: &Daemon, agent: &str) -> Shift {
        let link = daemon.home.sign_in_link(agent);
        let access = follow_link(&daemon.host, &link).await.expect("a cookie");
        Shift::with(access).await
    }

    /// Signed in already: a page that is opened again.
    pub async fn with(access: Access) -> Shift {
        let desk = Desk::open(&access).await.expect("the desk's WebSocket");
        let seat = Agent::take_seat(&access).await.expect("the seat");
        desk.until("a live seat", |desk| desk["seat"]["status"] == "live")
            .await;
        Shift { access, desk, seat }
    }

    /// Asks for a card and tells its fencing token.
    pub async fn next_card(&self) -> u64 {
        self.desk.ask(json!({ "cmd": "ready" })).await;
        let desk = self.desk.until_state("previewing").await;
        desk["card"]["token"].as_u64().expect("a card's token")
    }

    /// Clicks on Call on the card that is shown, without waiting for anything.
    pub fn click_call(&self) -> oneshot::Receiver<Value> {
        let token = &self.desk.now()["card"]["token"];
        let key = uuid::Uuid::now_v7().to_string();
        self.desk
            .click(json!({ "cmd": "dial", "token": token, "key": key }))
    }

    pub async fn dial(&self) {
        self.next_card().await;
        let answer = self.click_call().await.expect("the page lives");
        assert_eq!(answer["ok"], true, "{answer:#}");
    }

    pub async fn hang_up(&self) {
        self.desk.ask(json!({ "cmd": "hang_up" })).await;
    }

    pub async fn dispose(&self, disposition: &str) {
        let token = &self.desk.now()["card"]["token"];
        let key = uuid::Uuid::now_v7().to_string();
        let command = json!({ "cmd": "dispose", "token": token, "key": key,
            "disposition": disposition, "notes": "" });
        self.desk.ask(command).await;
    }
}

/// A text in a JSON value, empty where there is none.
pub fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}
