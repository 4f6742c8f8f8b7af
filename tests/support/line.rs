//! A SIP line over WebSocket (RFC 7118) with one call on it, in the manner of JsSIP: plain message
//! text of its own, so that it shares no mistake with the crate under test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::browser::{Browser, Failure};

/// How to reach the switch as a signed-in agent.
#[derive(Clone, Debug)]
pub struct Access {
    /// `ws://127.0.0.1:8080/sip`
    pub url: String,
    /// The whole `Cookie` header: `session=…`.
    pub cookie: String,
    /// The `Origin` header, as a page of this switch would send it.
    pub origin: String,
}

/// A SIP message, read without fuss.
#[derive(Clone, Debug, Default)]
pub struct Sip {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Sip {
    pub fn parse(text: &str) -> Option<Sip> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers =
            headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        Some(Sip {
            start,
            headers: headers.collect(),
            body: body.to_owned(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self
            .headers
            .iter()
            .find(|header| header.0.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let wanted = self
            .headers
            .iter()
            .filter(move |header| header.0.eq_ignore_ascii_case(name));
        wanted.map(|(_, value)| value.as_str())
    }

    /// Of a response.
    pub fn status(&self) -> Option<u16> {
        self.start
            .strip_prefix("SIP/2.0 ")?
            .split(' ')
            .next()?
            .parse()
            .ok()
    }

    /// Of a request.
    pub fn method(&self) -> Option<&str> {
        let (method, rest) = self.start.split_once(' ')?;
        rest.ends_with("SIP/2.0").then_some(method)
    }

    pub fn cseq(&self) -> (u32, &str) {
        let (number, method) = self
            .header("CSeq")
            .and_then(|it| it.split_once(' '))
            .unwrap_or(("0", ""));
        (number.parse().unwrap_or(0), method.trim())
    }
}

/// What happened on the line, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Response { method: String, status: u16 },
    Request { method: String },
    Closed,
}

/// Dropping it tears the WebSocket away without a BYE.
pub struct Line {
    orders: mpsc::Sender<Order>,
    seen: Arc<Mutex<Vec<(Instant, Seen)>>>,
    over: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

struct Order {
    method: &'static str,
    body: Option<String>,
    answer: oneshot::Sender<Sip>,
}

struct Dialog {
    call_id: String,
    target: String,
    route: Vec<String>,
    local: String,
    remote: String,
    cseq: u32,
}

struct Session {
    socket: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    browser: Arc<Browser>,
    dialog: Dialog,
    /// By CSeq.
    waiting: HashMap<u32, (String, oneshot::Sender<Sip>)>,
    /// We offered in a 200 to an INVITE without a body.
    answer_in_ack: bool,
    seen: Arc<Mutex<Vec<(Instant, Seen)>>>,
    over: watch::Sender<bool>,
}

const CONTACT: &str = "<sip:agent@agent.invalid;transport=ws>";
pub const SEAT: &str = "sip:seat@foredial.invalid";

impl Line {
    pub async fn open(access: &Access, browser: Arc<Browser>) -> Result<Line, Failure> {
        let mut request = access.url.as_str().into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", "sip".parse()?);
        headers.insert("Cookie", access.cookie.parse()?);
        headers.insert("Origin", access.origin.parse()?);
        let (socket, response) =
            connect_async_with_config(request, None, super::page::NO_DELAY).await?;
        let chosen = response.headers().get("Sec-WebSocket-Protocol");
        if chosen.is_none_or(|chosen| chosen != "sip") {
            return Err("the server did not choose the subprotocol sip".into());
        }
        let (orders, inbox) = mpsc::channel(8);
        let (over_tx, over) = watch::channel(false);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let session = Session {
            socket,
            browser,
            dialog: Dialog {
                call_id: token(),
                target: SEAT.to_owned(),
                route: Vec::new(),
                local: format!("<sip:agent@foredial.invalid>;tag={}", token()),
                remote: format!("<{SEAT}>"),
                cseq: 0,
            },
            waiting: HashMap::new(),
            answer_in_ack: false,
            seen: seen.clone(),
            over: over_tx,
        };
        let task = tokio::spawn(session.run(inbox));
        Ok(Line {
            orders,
            seen,
            over,
            task,
        })
    }

    /// Sends a request on the call and waits for its final response. INVITE is acknowledged by the
    /// line itself.
    pub async fn request(
        &self,
        method: &'static str,
        body: Option<String>,
    ) -> Result<Sip, Failure> {
        let (answer, reply) = oneshot::channel();
        self.orders
            .send(Order {
                method,
                body,
                answer,
            })
            .await
            .map_err(|_| "the line is closed")?;
        let reply = tokio::time::timeout(super::browser::PATIENCE, reply).await;
        Ok(reply
            .map_err(|_| "no final response")?
            .map_err(|_| "the line closed")?)
    }

    pub fn seen(&self) -> Vec<(Instant, Seen)> {
        self.seen
            .lock()
            .expect("nothing panics while holding it")
            .clone()
    }

    /// The far side hung up, or the WebSocket closed.
    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    pub async fn over(&self) -> bool {
        let mut over = self.over.clone();
        let over = over.wait_for(|over| *over);
        tokio::time::timeout(super::browser::PATIENCE, over)
            .await
            .is_ok_and(|over| over.is_ok())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        loop {
            let outcome = tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.order(order).await,
                    None => break,
                },
                frame = self.socket.next() => match frame {
                    Some(Ok(Frame::Text(text))) => self.receive(&text).await,
                    Some(Ok(Frame::Binary(bytes))) => self.receive(&String::from_utf8_lossy(&bytes)).await,
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => Ok(()),
                },
            };
            if let Err(error) = outcome {
                eprintln!("agent's line: {error}");
                break;
            }
        }
        self.note(Seen::Closed);
        self.over.send_replace(true);
    }

    fn note(&self, seen: Seen) {
        let mut all = self.seen.lock().expect("nothing panics while holding it");
        all.push((Instant::now(), seen));
    }

    async fn order(&mut self, order: Order) -> Result<(), Failure> {
        self.dialog.cseq += 1;
        let cseq = self.dialog.cseq;
        self.waiting
            .insert(cseq, (order.method.to_owned(), order.answer));
        self.send_request(order.method, cseq, order.body.as_deref())
            .await
    }

    async fn send_request(
        &mut self,
        method: &str,
        cseq: u32,
        body: Option<&str>,
    ) -> Result<(), Failure> {
        let Dialog {
            call_id,
            target,
            route,
            local,
            remote,
            ..
        } = &self.dialog;
        let mut text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/WS agent.invalid;branch=z9hG4bK{}\r\n\
             Max-Forwards: 69\r\nTo: {remote}\r\nFrom: {local}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n",
            token()
        );
        for route in route {
            text += &format!("Route: {route}\r\n");
        }
        if method == "INVITE" {
            text += &format!("Contact: {CONTACT}\r\n");
        }
        text += "Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n\
                 Supported: ice,replaces,outbound\r\nUser-Agent: simulated agent\r\n";
        self.send(text, body).await
    }

    async fn send(&mut self, mut text: String, body: Option<&str>) -> Result<(), Failure> {
        let body = body.unwrap_or("");
        if !body.is_empty() {
            text += "Content-Type: application/sdp\r\n";
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        Ok(self.socket.send(Frame::text(text)).await?)
    }

    async fn receive(&mut self, text: &str) -> Result<(), Failure> {
        let Some(message) = Sip::parse(text) else {
            // RFC 5626 3.5.1: a keep-alive.
            return if text.trim().is_empty() {
                Ok(())
            } else {
                Err(format!("not SIP: {text:?}").into())
            };
        };
        match message.status() {
            Some(status) => self.response(status, message).await,
            None => self.incoming(message).await,
        }
    }

    async fn response(&mut self, status: u16, message: Sip) -> Result<(), Failure> {
        let (cseq, method) = message.cseq();
        let method = method.to_owned();
        self.note(Seen::Response {
            method: method.clone(),
            status,
        });
        if status < 200 {
            return Ok(());
        }
        if method == "INVITE" {
            if status < 300 {
                self.learn_dialog(&message);
            }
            self.acknowledge(cseq, status, &message).await?;
        }
        if let Some((_, answer)) = self.waiting.remove(&cseq) {
            // Who asked may have given up.
            let _ = answer.send(message);
        }
        if method == "BYE" {
            self.over.send_replace(true);
        }
        Ok(())
    }

    fn learn_dialog(&mut self, message: &Sip) {
        if let Some(to) = message.header("To") {
            self.dialog.remote = to.to_owned();
        }
        if let Some(contact) = message.header("Contact") {
            let uri = contact
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'));
            self.dialog.target = uri.map_or(contact, |(uri, _)| uri).to_owned();
        }
        if self.dialog.route.is_empty() {
            self.dialog.route = message.all("Record-Route").map(str::to_owned).collect();
            self.dialog.route.reverse();
        }
    }

    async fn acknowledge(&mut self, cseq: u32, status: u16, message: &Sip) -> Result<(), Failure> {
        if status < 300 {
            return self.send_request("ACK", cseq, None).await;
        }
        // RFC 3261 17.1.1.3: hop by hop, with the INVITE's own branch.
        let header = |name| message.header(name).unwrap_or_default().to_owned();
        let text = format!(
            "ACK {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 69\r\nTo: {}\r\nFrom: {}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} ACK\r\n",
            self.dialog.target,
            header("Via"),
            header("To"),
            header("From"),
            header("Call-ID"),
        );
        self.send(text, None).await
    }

    async fn incoming(&mut self, request: Sip) -> Result<(), Failure> {
        let method = request
            .method()
            .ok_or("neither request nor response")?
            .to_owned();
        self.note(Seen::Request {
            method: method.clone(),
        });
        let ours = request.header("Call-ID") == Some(self.dialog.call_id.as_str());
        match method.as_str() {
            "ACK" => {
                if std::mem::take(&mut self.answer_in_ack) {
                    self.browser.accept(&request.body).await?;
                }
                Ok(())
            }
            "OPTIONS" => self.respond(&request, "200 OK", None).await,
            _ if !ours => {
                self.respond(&request, "481 Call/Transaction Does Not Exist", None)
                    .await
            }
            "INVITE" => {
                let body = if request.body.is_empty() {
                    self.answer_in_ack = true;
                    self.browser.offer().await?
                } else {
                    self.browser.answer(&request.body).await?
                };
                self.respond(&request, "200 OK", Some(&body)).await
            }
            "BYE" => {
                self.respond(&request, "200 OK", None).await?;
                self.over.send_replace(true);
                Ok(())
            }
            "UPDATE" | "INFO" | "MESSAGE" | "NOTIFY" => {
                self.respond(&request, "200 OK", None).await
            }
            _ => self.respond(&request, "405 Method Not Allowed", None).await,
        }
    }

    async fn respond(
        &mut self,
        request: &Sip,
        status: &str,
        body: Option<&str>,
    ) -> Result<(), Failure> {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
            for value in request.all(name) {
                text += &format!("{name}: {value}\r\n");
            }
        }
        text += &format!("Contact: {CONTACT}\r\nSupported: outbound\r\n");
        self.send(text, body).await
    }
}

fn token() -> String {
    format!("{:016x}", rand::random::<u64>())
}
