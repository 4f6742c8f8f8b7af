//! The signalling of the carrier: which call a message belongs to, and everything outside calls.
//! A machine without sockets of its own for SIP; each call opens its audio when it is invited.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::behaviour::{Behaviour, Timing, digits};
use super::call::{Call, Turned};
use super::ear::Ear;
use super::journal::{Journal, Sound, What};
use super::media::Media;
use super::message::{Draft, Message, Start, parameter, phrase, split_list};
use super::{CarrierConfig, Command, lock};

/// Calls that have not been forgotten; more are refused with 503.
const CALLS_MAX: usize = 2_000;
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO";

/// A datagram to send.
pub(super) struct Output {
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// What every call needs of the carrier around it.
pub(super) struct Desk {
    pub(super) config: CarrierConfig,
    pub(super) local: SocketAddr,
    rtp_ip: IpAddr,
    pub(super) journal: Arc<Mutex<Journal>>,
    random: StdRng,
    outputs: VecDeque<Output>,
}

pub(super) struct Exchange {
    desk: Desk,
    /// By our tag.
    calls: HashMap<String, Call>,
    /// The tag of the call that an INVITE of this branch opened.
    by_branch: HashMap<String, String>,
}

impl Desk {
    pub(super) fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.outputs.push_back(Output { to, bytes });
    }

    pub(super) fn note(&self, now: Instant, call_id: &str, number: &str, what: What) {
        lock(&self.journal).note(now, call_id, number, what);
    }

    pub(super) fn token(&mut self) -> String {
        format!("{:016x}", self.random.next_u64())
    }

    pub(super) fn sound(&self) -> Arc<Mutex<Sound>> {
        let ear = Ear::new(self.config.listen_hz.clone());
        Arc::new(Mutex::new(Sound {
            ear,
            spoken_packets: 0,
        }))
    }

    pub(super) fn open_media(
        &mut self,
        number: &str,
        sound: Arc<Mutex<Sound>>,
    ) -> std::io::Result<Media> {
        let voice = self
            .config
            .voices
            .get(number)
            .copied()
            .unwrap_or(self.config.voice);
        let started = lock(&self.journal).started();
        Media::open(self.rtp_ip, voice, self.random.next_u64(), started, sound)
    }

    pub(super) fn behaviour(&self, number: &str) -> Behaviour {
        let timing = Timing {
            answer_after_ms: self.config.answer_after_ms,
            hang_up_after_ms: self.config.hang_up_after_ms,
        };
        let asked = self.config.behaviours.get(number).cloned();
        asked.unwrap_or_else(|| Behaviour::of_number(number, timing))
    }

    /// A response without a call: to whatever cannot be, or needs not be, part of one.
    fn respond_alone(&mut self, now: Instant, from: SocketAddr, request: &Message, status: u16) {
        let tag = self.token();
        let mut draft = response(request, from, status, Some(&tag));
        if matches!(status, 200 | 405 | 501) {
            draft.header("Allow", ALLOW);
            draft.header("Accept", "application/sdp");
        }
        if status == 420 {
            draft.header("Unsupported", request.header("require").unwrap_or_default());
        }
        let what = What::Sent {
            status,
            method: method_of(request),
            repeated: false,
        };
        self.note(now, request.header("call-id").unwrap_or_default(), "", what);
        self.send(reply_to(request, from), draft.finish(None));
    }
}

impl Exchange {
    pub(super) fn new(
        mut config: CarrierConfig,
        local: SocketAddr,
        rtp_ip: IpAddr,
        journal: Arc<Mutex<Journal>>,
    ) -> Self {
        config.behaviours = config
            .behaviours
            .drain()
            .map(|(k, v)| (digits(&k), v))
            .collect();
        config.voices = config
            .voices
            .drain()
            .map(|(k, v)| (digits(&k), v))
            .collect();
        let random = StdRng::seed_from_u64(config.seed.unwrap_or_else(rand::random));
        let desk = Desk {
            config,
            local,
            rtp_ip,
            journal,
            random,
            outputs: VecDeque::new(),
        };
        Self {
            desk,
            calls: HashMap::new(),
            by_branch: HashMap::new(),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.desk.outputs.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.calls.values().filter_map(Call::poll_timeout).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let mut twins = Vec::new();
        for call in self.calls.values_mut() {
            while call.poll_timeout().is_some_and(|(at, _)| at <= now) {
                match call.handle_timeout(&mut self.desk, now) {
                    Turned::Done => {}
                    Turned::Forked(twin) => twins.push(*twin),
                    Turned::Forget => break,
                }
            }
        }
        for twin in twins {
            self.calls.insert(twin.tag().to_owned(), twin);
        }
        self.calls.retain(|_, call| !call.is_forgotten(now));
        let calls = &self.calls;
        self.by_branch.retain(|_, tag| calls.contains_key(tag));
    }

    pub(super) fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::HangUp { call_id } => {
                for call in self.calls.values_mut().filter(|call| call.id() == call_id) {
                    call.hang_up(&mut self.desk, now);
                }
            }
            Command::SetBehaviour { number, behaviour } => {
                self.desk
                    .config
                    .behaviours
                    .insert(digits(&number), behaviour);
            }
            Command::SetVoice { number, voice } => {
                self.desk.config.voices.insert(digits(&number), voice);
            }
        }
    }

    /// Anything that is not SIP, or lacks what RFC 3261 8.1.1 demands, is dropped.
    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(message) = Message::parse(bytes) else {
            return;
        };
        let demanded = ["via", "from", "to", "call-id", "cseq"];
        if demanded.iter().any(|name| message.header(name).is_none()) || message.cseq().is_none() {
            return;
        }
        match &message.start {
            Start::Response { status } => self.handle_response(now, *status, &message),
            Start::Request { method, .. } => match method.as_str() {
                "INVITE" => self.handle_invite(now, from, &message),
                "ACK" => self.within_dialog(now, from, &message, Call::handle_ack),
                "BYE" => self.within_dialog(now, from, &message, Call::handle_bye),
                "UPDATE" | "INFO" => self.within_dialog(now, from, &message, Call::handle_request),
                "CANCEL" => self.handle_cancel(now, from, &message),
                "OPTIONS" => {
                    self.note_received(now, &message);
                    self.desk.respond_alone(now, from, &message, 200);
                }
                _ => {
                    self.note_received(now, &message);
                    self.desk.respond_alone(now, from, &message, 501);
                }
            },
        }
    }

    fn handle_response(&mut self, now: Instant, status: u16, response: &Message) {
        let branch = response.branch().unwrap_or_default();
        for call in self.calls.values_mut() {
            call.handle_response(&mut self.desk, now, branch, status, response);
        }
    }

    fn handle_invite(&mut self, now: Instant, from: SocketAddr, request: &Message) {
        if to_tag(request).is_some() {
            return self.within_dialog(now, from, request, Call::handle_reinvite);
        }
        let branch = request.branch().unwrap_or_default().to_owned();
        if let Some(call) = self
            .by_branch
            .get(&branch)
            .and_then(|tag| self.calls.get_mut(tag))
        {
            return call.handle_repeated_invite(&mut self.desk, now, request);
        }
        if request.header("require").is_some() {
            self.note_received(now, request);
            return self.desk.respond_alone(now, from, request, 420);
        }
        if self.calls.len() >= CALLS_MAX {
            self.note_received(now, request);
            return self.desk.respond_alone(now, from, request, 503);
        }
        match Call::open(&mut self.desk, now, from, request) {
            Ok(call) => {
                self.by_branch.insert(branch, call.tag().to_owned());
                self.calls.insert(call.tag().to_owned(), call);
            }
            Err(status) => {
                self.note_received(now, request);
                self.desk.respond_alone(now, from, request, status);
            }
        }
    }

    fn handle_cancel(&mut self, now: Instant, from: SocketAddr, request: &Message) {
        let branch = request.branch().unwrap_or_default();
        match self
            .calls
            .values_mut()
            .find(|call| call.was_invited_by(branch))
        {
            Some(call) => call.handle_cancel(&mut self.desk, now, from, request),
            None => {
                self.note_received(now, request);
                self.desk.respond_alone(now, from, request, 481);
            }
        }
    }

    fn within_dialog(
        &mut self,
        now: Instant,
        from: SocketAddr,
        request: &Message,
        handle: fn(&mut Call, &mut Desk, Instant, SocketAddr, &Message),
    ) {
        let call = to_tag(request).and_then(|tag| self.calls.get_mut(tag));
        match call.filter(|call| Some(call.id()) == request.header("call-id")) {
            Some(call) => handle(call, &mut self.desk, now, from, request),
            None => {
                self.note_received(now, request);
                if method_of(request) != "ACK" {
                    self.desk.respond_alone(now, from, request, 481);
                }
            }
        }
    }

    fn note_received(&self, now: Instant, request: &Message) {
        let (cseq, method) = request.cseq().unwrap_or_default();
        let what = What::Received {
            method: method.to_owned(),
            cseq,
            repeated: false,
        };
        self.desk
            .note(now, request.header("call-id").unwrap_or_default(), "", what);
    }
}

fn to_tag(request: &Message) -> Option<&str> {
    parameter(request.header("to")?, "tag")
}

fn method_of(request: &Message) -> String {
    request
        .cseq()
        .map(|(_, method)| method.to_owned())
        .unwrap_or_default()
}

/// RFC 3261 18.2.2 and RFC 3581 4: back to the source, to the port it named unless it asked for
/// the one it sent from.
pub(super) fn reply_to(request: &Message, from: SocketAddr) -> SocketAddr {
    let via = request.top_via().unwrap_or_default();
    if parameter(via, "rport").is_some() {
        return from;
    }
    let sent_by = via
        .split(';')
        .next()
        .and_then(|head| head.split_ascii_whitespace().nth(1));
    let port = sent_by.and_then(|host| match host.parse::<SocketAddr>() {
        Ok(address) => Some(address.port()),
        // A name, perhaps with a port.
        Err(_) => host
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok()),
    });
    SocketAddr::new(from.ip(), port.unwrap_or(5060))
}

/// A response with everything that RFC 3261 8.2.6 copies out of the request.
pub(super) fn response(
    request: &Message,
    from: SocketAddr,
    status: u16,
    tag: Option<&str>,
) -> Draft {
    let mut draft = Draft::new(&format!("SIP/2.0 {status} {}", phrase(status)));
    for (index, line) in request.all("via").enumerate() {
        if index > 0 {
            draft.header("Via", line);
            continue;
        }
        let mut vias = split_list(line).into_iter();
        let top = vias.next().unwrap_or_default();
        draft.header("Via", &stamped(top, from));
        vias.for_each(|via| draft.header("Via", via));
    }
    draft.header("From", request.header("from").unwrap_or_default());
    let to = request.header("to").unwrap_or_default();
    match tag.filter(|_| parameter(to, "tag").is_none() && status != 100) {
        Some(tag) => draft.header("To", &format!("{to};tag={tag}")),
        None => draft.header("To", to),
    }
    draft.header("Call-ID", request.header("call-id").unwrap_or_default());
    draft.header("CSeq", request.header("cseq").unwrap_or_default());
    draft
}

/// The topmost Via with where the request really came from.
fn stamped(via: &str, from: SocketAddr) -> String {
    let mut parts: Vec<String> = via.split(';').map(|part| part.trim().to_owned()).collect();
    for part in &mut parts {
        if part.eq_ignore_ascii_case("rport") {
            *part = format!("rport={}", from.port());
        }
    }
    if parameter(via, "received").is_none() {
        parts.push(format!("received={}", from.ip()));
    }
    parts.join(";")
}
