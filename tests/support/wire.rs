//! A switch and many far ends on a virtual clock, as plain text: what is sent to an address lies in
//! that address's letter-box until a test looks at it. Media commands are counted, not carried out.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foredial::engine::media_worker::MediaCommand;
use foredial::engine::resolved::EngineConfig;
use foredial::engine::{Input, Output, Switch};
use foredial::net::ACCEPTED_FIRST;
use foredial::now::{Now, UtcMs};
use foredial::sip::{Flow, Transport};
use foredial::store::Command;
use sha2::{Digest, Sha256};

use super::world::SWITCH;

const HOPS: &str = "Max-Forwards: 70\r\n";

pub struct Wire {
    pub now: Now,
    pub switch: Switch,
    pub media: Vec<MediaCommand>,
    /// Connections the switch opened, and whom their peers must prove to be.
    pub connects: Vec<(Flow, Option<String>)>,
    /// Who speaks TLS to the switch.
    pub over_tls: Vec<SocketAddr>,
    /// What the store was told; answers are the test's.
    pub written: Vec<(u64, Command)>,
    boxes: HashMap<SocketAddr, VecDeque<Letter>>,
    next: u32,
}

/// A SIP message as a far end reads it.
#[derive(Clone, Debug)]
pub struct Letter(pub String);

impl Letter {
    pub fn first_line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> String {
        self.headers(name).into_iter().next().unwrap_or_default()
    }

    pub fn headers(&self, name: &str) -> Vec<String> {
        let head = self.0.split("\r\n\r\n").next().unwrap_or_default();
        let named = head.lines().filter_map(|line| line.split_once(':'));
        named
            .filter(|(found, _)| found.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    pub fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The answer to this request.
    pub fn answer(&self, status: &str, tag: &str, at: SocketAddr, sdp: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for value in self.headers(name) {
                let tagged = name == "To" && !value.contains("tag=") && !status.starts_with("100");
                let tag = if tagged {
                    format!(";tag={tag}")
                } else {
                    String::new()
                };
                text += &format!("{name}: {value}{tag}\r\n");
            }
        }
        text + &format!("Contact: <sip:far@{at}>\r\n") + &content(sdp)
    }
}

fn content(sdp: &str) -> String {
    let kind = if sdp.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!("{kind}Content-Length: {}\r\n\r\n{sdp}", sdp.len())
}

/// A body with these payload types and this direction.
pub fn sdp(at: SocketAddr, formats: &str, direction: &str) -> String {
    let ip = at.ip();
    format!(
        "v=0\r\no=far 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP {formats}\r\na={direction}\r\n"
    )
}

/// A call a far end has made.
#[derive(Clone, Debug)]
pub struct Made {
    pub at: SocketAddr,
    pub to: String,
    pub id: String,
    pub branch: String,
    pub cseq: u32,
}

impl Wire {
    pub fn new(config: EngineConfig) -> Wire {
        let now = Now {
            instant: Instant::now(),
            utc: UtcMs(1_794_967_200_000),
        };
        Wire {
            now,
            switch: Switch::new(now, config, 1),
            media: Vec::new(),
            connects: Vec::new(),
            over_tls: Vec::new(),
            written: Vec::new(),
            boxes: HashMap::new(),
            next: 0,
        }
    }

    pub fn send(&mut self, from: SocketAddr, text: &str) {
        let flow = self.flow_of(from);
        let bytes = text.as_bytes().to_vec();
        self.input(Input::Sip { flow, bytes });
    }

    fn flow_of(&self, from: SocketAddr) -> Flow {
        let mut opened = self.connects.iter().map(|(flow, _)| *flow);
        if let Some(flow) = opened.find(|flow| flow.remote == from) {
            return flow;
        }
        let secure = self.over_tls.iter().position(|one| *one == from);
        Flow {
            id: secure.map_or(0, |at| ACCEPTED_FIRST + at as u64),
            transport: secure.map_or(Transport::Udp, |_| Transport::Tls),
            local: SWITCH.parse().expect("an address"),
            remote: from,
        }
    }

    /// A far end whose messages come over TLS from now on.
    pub fn speaks_tls(&mut self, at: SocketAddr) {
        self.over_tls.push(at);
        let flow = self.flow_of(at);
        self.input(Input::SipConnected { flow });
    }

    pub fn input(&mut self, input: Input) {
        self.switch.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let us: SocketAddr = SWITCH.parse().expect("an address");
        let mut home = Vec::new();
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Sip { flow, bytes } => {
                    let text = String::from_utf8(bytes).expect("text");
                    match flow.remote == us {
                        true => home.push(text),
                        false => self
                            .boxes
                            .entry(flow.remote)
                            .or_default()
                            .push_back(Letter(text)),
                    }
                }
                Output::Media(command) => self.media.push(command),
                Output::SipConnect { flow, server_name } => {
                    self.connects.retain(|(known, _)| known.id != flow.id);
                    self.connects.push((flow, server_name));
                }
                Output::Store { id, command } => self.written.push((id, command)),
                _ => {}
            }
        }
        for text in home {
            self.send(us, &text);
        }
    }

    pub fn run_for(&mut self, span: Duration) {
        let end = self.now.instant + span;
        loop {
            let due = self.switch.poll_timeout(self.now).map(|(at, _)| at);
            let at = due.unwrap_or(end).max(self.now.instant);
            if at > end {
                break;
            }
            self.now = self.now.plus(at - self.now.instant);
            self.switch.handle_timeout(self.now);
            let still = self.switch.poll_timeout(self.now);
            assert!(
                still.is_none_or(|(at, _)| at > self.now.instant),
                "{still:?} is due again"
            );
            self.drain();
        }
        self.now = self.now.plus(end - self.now.instant);
    }

    /// The next letter for `at` that begins with this; earlier others are thrown away.
    pub fn read(&mut self, at: SocketAddr, beginning: &str) -> Letter {
        let waiting = self.boxes.entry(at).or_default();
        let mut seen = Vec::new();
        while let Some(letter) = waiting.pop_front() {
            if letter.0.starts_with(beginning) {
                return letter;
            }
            seen.push(letter.first_line().to_owned());
        }
        panic!("nothing that begins with {beginning:?} for {at}, only {seen:?}");
    }

    /// First lines of all that waits for `at`, thrown away.
    pub fn rest(&mut self, at: SocketAddr) -> Vec<String> {
        let waiting = self.boxes.remove(&at).unwrap_or_default();
        waiting
            .iter()
            .map(|letter| letter.first_line().to_owned())
            .collect()
    }

    /// An INVITE to the switch.
    pub fn invite(&mut self, at: SocketAddr, to: &str, headers: &str, sdp: &str) -> Made {
        self.next += 1;
        let made = Made {
            at,
            to: to.to_owned(),
            id: format!("call-{}@{}", self.next, at.ip()),
            branch: format!("z9hG4bKm{}", self.next),
            cseq: 1,
        };
        let hops = if headers.contains("Max-Forwards") {
            ""
        } else {
            HOPS
        };
        let head = made.request("INVITE", 1, &made.branch, "");
        let text = format!("{head}{hops}{headers}{}", content(sdp));
        self.send(at, &text);
        made
    }

    /// An INVITE of a phone's user, who proves himself when he is asked to.
    pub fn invite_by(&mut self, who: (&str, &str), at: SocketAddr, to: &str, sdp: &str) -> Made {
        self.invite_by_with(who, at, to, "", sdp)
    }

    /// The same with headers of his own.
    pub fn invite_by_with(
        &mut self,
        (user, password): (&str, &str),
        at: SocketAddr,
        to: &str,
        headers: &str,
        sdp: &str,
    ) -> Made {
        let made = self.invite(at, to, headers, sdp);
        let challenge = self.read(at, "SIP/2.0 401").header("WWW-Authenticate");
        let uri = format!("sip:{to}@{SWITCH}");
        let authorization = digest(&challenge, user, password, "INVITE", &uri);
        let made = Made {
            branch: format!("{}again", made.branch),
            cseq: 2,
            ..made
        };
        let head = made.request("INVITE", made.cseq, &made.branch, "");
        let text = format!(
            "{head}{HOPS}{headers}Authorization: {authorization}\r\n{}",
            content(sdp)
        );
        self.send(at, &text);
        made
    }

    /// A request of the caller inside the dialog that `answered` made.
    pub fn inside(
        &mut self,
        made: &Made,
        answered: &Letter,
        method: &str,
        cseq: u32,
        headers: &str,
        sdp: &str,
    ) {
        self.next += 1;
        let branch = format!("z9hG4bKi{}", self.next);
        let to = answered.header("To");
        let tag = to.split_once("tag=").map_or("", |(_, tag)| tag).to_owned();
        let head = made.request(method, cseq, &branch, &tag);
        let text = format!("{head}{HOPS}{headers}{}", content(sdp));
        self.send(made.at, &text);
    }

    pub fn cancel(&mut self, made: &Made, headers: &str) {
        let head = made.request("CANCEL", made.cseq, &made.branch, "");
        let text = format!("{head}{HOPS}{headers}{}", content(""));
        self.send(made.at, &text);
    }

    /// A request of the called inside the dialog of this INVITE, which it answered with `tag`.
    pub fn back(
        &mut self,
        invite: &Letter,
        tag: &str,
        at: SocketAddr,
        method: &str,
        headers: &str,
    ) {
        self.back_with(invite, tag, at, method, headers, "");
    }

    /// The same with a body.
    pub fn back_with(
        &mut self,
        invite: &Letter,
        tag: &str,
        at: SocketAddr,
        method: &str,
        headers: &str,
        sdp: &str,
    ) {
        self.next += 1;
        // An ACK has its INVITE's number, which was the one before.
        let number = self.next - u32::from(method == "ACK");
        let text = of_called(invite, tag, at, (method, number), headers, sdp);
        self.send(at, &text);
    }

    /// Registers a phone by SHA-256 digest (RFC 8760).
    pub fn register(&mut self, user: &str, password: &str, at: SocketAddr) {
        self.send(at, &register_with((user, password), at, None));
        let challenge = self.read(at, "SIP/2.0 401");
        self.send(at, &register_with((user, password), at, Some(&challenge)));
        self.read(at, "SIP/2.0 200");
    }

    pub fn snapshot(&self, name: &str) -> serde_json::Value {
        self.switch.snapshot()[name].clone()
    }

    /// Media legs opened and not closed.
    pub fn open_legs(&self) -> i64 {
        let one = |command: &MediaCommand| match command {
            MediaCommand::OpenTrunk { .. } => 1,
            MediaCommand::CloseLeg { .. } => -1,
            _ => 0,
        };
        self.media.iter().map(one).sum()
    }

    /// No port, leg, session or call is held.
    pub fn assert_nothing_is_held(&mut self) {
        self.run_for(Duration::from_secs(70));
        let snapshot = self.switch.snapshot();
        assert_eq!(snapshot["rtp_ports_in_use"], 0, "ports");
        assert_eq!(snapshot["legs"], 0, "legs");
        assert_eq!(self.open_legs(), 0, "media legs");
        assert_eq!(snapshot["sip"]["sessions"], 0, "sessions: {snapshot}");
        assert_eq!(snapshot["sip"]["transactions"], 0, "transactions");
        let calls = snapshot["through"]["calls"].as_array().map_or(0, Vec::len);
        assert_eq!(calls, 0, "calls");
    }
}

impl Made {
    fn request(&self, method: &str, cseq: u32, branch: &str, to_tag: &str) -> String {
        let Made { at, to, id, .. } = self;
        let tag = if to_tag.is_empty() {
            String::new()
        } else {
            format!(";tag={to_tag}")
        };
        let target = if to_tag.is_empty() {
            to.as_str()
        } else {
            "foredial"
        };
        format!(
            "{method} sip:{target}@{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch={branch}\r\n\
             From: \"Caller\" <sip:+8613900000000@{at}>;tag=c\r\nTo: <sip:{to}@{SWITCH}>{tag}\r\n\
             Call-ID: {id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:caller@{at}>\r\n"
        )
    }
}

/// A REGISTER of a phone, the second time with the answer to the challenge.
pub fn register_with(
    (user, password): (&str, &str),
    at: SocketAddr,
    challenge: Option<&Letter>,
) -> String {
    let (cseq, extra) = match challenge {
        None => (1, String::new()),
        Some(challenge) => {
            let challenge = challenge.header("WWW-Authenticate");
            let uri = format!("sip:{SWITCH}");
            let value = digest(&challenge, user, password, "REGISTER", &uri);
            (2, format!("Authorization: {value}\r\n"))
        }
    };
    format!(
        "REGISTER sip:{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKr{user}{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@127.0.0.1>;tag=r\r\nTo: <sip:{user}@127.0.0.1>\r\n\
         Call-ID: reg-{at}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{at}>\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

/// A request of the called inside the dialog of this INVITE, which it answered with `tag`.
pub fn of_called(
    invite: &Letter,
    tag: &str,
    at: SocketAddr,
    (method, number): (&str, u32),
    headers: &str,
    sdp: &str,
) -> String {
    let contact = invite.header("Contact");
    let target = contact.trim_start_matches('<');
    let target = target.split('>').next().unwrap_or_default();
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKb{method}{number}\r\nMax-Forwards: 70\r\n\
         From: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\n{headers}{}",
        invite.header("To"),
        invite.header("From"),
        invite.header("Call-ID"),
        100 + number,
        content(sdp)
    )
}

fn digest(challenge: &str, user: &str, password: &str, method: &str, uri: &str) -> String {
    let value = |name: &str| {
        let at = challenge
            .find(&format!("{name}=\""))
            .expect("in the challenge")
            + name.len()
            + 2;
        challenge[at..]
            .split('"')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let hash = |text: String| -> String {
        Sha256::digest(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let (realm, nonce) = (value("realm"), value("nonce"));
    let one = hash(format!("{user}:{realm}:{password}"));
    let two = hash(format!("{method}:{uri}"));
    let response = hash(format!("{one}:{nonce}:00000001:abc:auth:{two}"));
    format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm=SHA-256, \
         qop=auth, nc=00000001, cnonce=\"abc\", response=\"{response}\""
    )
}
