//! The agent's page without a browser: the desk's WebSocket, pictures in, commands out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::browser::Failure;
use super::line::Access;

/// Nothing the switch answers takes longer, even on a busy machine.
/// As browsers do; held-back segments would be measured as our own delay.
pub const NO_DELAY: bool = true;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Dropping it is a tab that is closed or reloaded.
pub struct Page {
    orders: mpsc::Sender<Order>,
    desk: watch::Receiver<Value>,
    task: tokio::task::JoinHandle<()>,
}

struct Order {
    command: Value,
    answer: oneshot::Sender<Answered>,
}

/// A command's answer and its times.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Just before the command was written to the socket.
    pub clicked: Instant,
    pub took: Duration,
    pub outcome: Result<(), Refusal>,
}

/// What the switch would not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u64,
    pub rule: String,
    pub detail: String,
}

impl Page {
    pub async fn open(access: &Access) -> Result<Page, Failure> {
        let url = access.url.replace("/sip", "/api/v1/desk");
        let mut request = url.into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("Cookie", access.cookie.parse()?);
        headers.insert("Origin", access.origin.parse()?);
        let (mut socket, _) = connect_async_with_config(request, None, NO_DELAY).await?;
        let first = first_desk(&mut socket).await?;
        let (orders, inbox) = mpsc::channel(16);
        let (pictures, desk) = watch::channel(first);
        let task = tokio::spawn(serve(socket, inbox, pictures));
        Ok(Page { orders, desk, task })
    }

    /// The newest picture.
    pub fn desk(&self) -> Value {
        self.desk.borrow().clone()
    }

    /// The first picture from now on that fits; `what` is waited for, in words.
    pub async fn until(
        &self,
        limit: Duration,
        what: &str,
        fits: impl FnMut(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let mut desk = self.desk.clone();
        let mut fits = fits;
        let found = tokio::time::timeout(limit, desk.wait_for(|desk| fits(desk))).await;
        match found {
            Ok(Ok(picture)) => Ok(picture.clone()),
            Ok(Err(_)) => Err(format!("the desk's socket closed while waiting for {what}").into()),
            Err(_) => Err(format!("no {what} within {limit:?}: {}", self.desk()).into()),
        }
    }

    /// Sends a command and waits for its answer.
    pub async fn command(&self, command: Value) -> Result<Answered, Failure> {
        let (answer, answered) = oneshot::channel();
        let said = command["cmd"].to_string();
        let gone = |_| Failure::from(format!("the desk's socket closed on {said}"));
        let order = Order { command, answer };
        self.orders.send(order).await.map_err(|_| gone(()))?;
        match tokio::time::timeout(ANSWER_LIMIT, answered).await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(_)) => Err(gone(())),
            Err(_) => Err(format!("no answer to {said} within {ANSWER_LIMIT:?}").into()),
        }
    }

    /// A command that must not be refused.
    pub async fn carry_out(&self, command: Value) -> Result<Answered, Failure> {
        let said = command["cmd"].to_string();
        let answered = self.command(command).await?;
        match &answered.outcome {
            Ok(()) => Ok(answered),
            Err(refusal) => Err(format!("{said} was refused: {refusal:?}").into()),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A fresh id for one click.
pub fn click() -> String {
    uuid::Uuid::now_v7().to_string()
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn first_desk(socket: &mut Socket) -> Result<Value, Failure> {
    let found = async {
        while let Some(frame) = socket.next().await {
            if let Frame::Text(text) = frame? {
                let message: Value = serde_json::from_str(&text)?;
                if message["type"] == "desk" {
                    return Ok(message["desk"].clone());
                }
            }
        }
        Err(Failure::from("the socket closed before it showed a desk"))
    };
    tokio::time::timeout(ANSWER_LIMIT, found).await?
}

async fn serve(
    mut socket: Socket,
    mut inbox: mpsc::Receiver<Order>,
    pictures: watch::Sender<Value>,
) {
    let mut waiting: HashMap<u64, (Instant, oneshot::Sender<Answered>)> = HashMap::new();
    let mut next = 1;
    loop {
        tokio::select! {
            order = inbox.recv() => {
                let Some(Order { command, answer }) = order else { break };
                let text = json!({ "type": "command", "id": next, "command": command }).to_string();
                waiting.insert(next, (Instant::now(), answer));
                next += 1;
                if socket.send(Frame::text(text)).await.is_err() {
                    break;
                }
            }
            frame = socket.next() => match frame {
                Some(Ok(Frame::Text(text))) => receive(&text, &mut waiting, &pictures),
                Some(Ok(Frame::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
}

fn receive(
    text: &str,
    waiting: &mut HashMap<u64, (Instant, oneshot::Sender<Answered>)>,
    pictures: &watch::Sender<Value>,
) {
    let Ok(mut message) = serde_json::from_str::<Value>(text) else {
        return;
    };
    if message["type"] == "desk" {
        pictures.send_replace(message["desk"].take());
        return;
    }
    let id = message["id"].as_u64().unwrap_or(0);
    let Some((clicked, answer)) = waiting.remove(&id) else {
        return;
    };
    let problem = &message["problem"];
    let words = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    let outcome = match message["ok"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(Refusal {
            status: problem["status"].as_u64().unwrap_or(0),
            rule: words("rule"),
            detail: words("detail"),
        }),
    };
    // Who asked may have given up.
    let _ = answer.send(Answered {
        clicked,
        took: clicked.elapsed(),
        outcome,
    });
}
