//! A trunk's far end as a value on the virtual clock: message text in, message text out. Shares
//! no code with the switch, so that an error cannot stand on both sides of the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How a number behaves when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// 180, then 200 after this long.
    Answer(Duration),
    /// 180 and nothing more.
    RingOut,
    /// A final answer at once.
    Final(u16, &'static str),
    /// 180, then 200 at the very moment the CANCEL comes.
    AnswerOnCancel,
    /// Nothing at all.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Ringing,
    /// 200 sent, ACK outstanding.
    Answered,
    Confirmed,
    Closed,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub number: String,
    pub phase: Phase,
    pub manner: Manner,
    pub invites: usize,
    pub acks: usize,
    pub byes: usize,
    pub cancels: usize,
    /// Which of the far end's addresses it came to.
    at: SocketAddr,
    invite: Vec<String>,
    answer_at: Option<Instant>,
    /// The 200 again, until its ACK comes (RFC 3261 13.3.1.4).
    again: Option<(Instant, Duration)>,
}

/// The far end. `poll_output` gives whole messages for the switch.
pub struct FarEnd {
    pub manners: BTreeMap<String, Manner>,
    pub otherwise: Manner,
    pub calls: BTreeMap<String, Call>,
    /// Where each message comes from, and the message.
    pub out: Vec<(SocketAddr, String)>,
    /// Addresses where nobody is.
    pub dead: BTreeSet<SocketAddr>,
    /// Addresses that take this long to see a message.
    pub slow: BTreeMap<SocketAddr, Duration>,
    late: BTreeMap<(Instant, usize), (SocketAddr, Vec<u8>)>,
    late_count: usize,
    /// Addresses that refuse every INVITE.
    pub refusing: BTreeMap<SocketAddr, (u16, &'static str)>,
    /// The address that is speaking.
    at: SocketAddr,
    host: String,
    cseq: u32,
}

impl FarEnd {
    pub fn new(host: &str) -> FarEnd {
        FarEnd {
            manners: BTreeMap::new(),
            otherwise: Manner::Answer(Duration::from_secs(2)),
            calls: BTreeMap::new(),
            out: Vec::new(),
            dead: BTreeSet::new(),
            slow: BTreeMap::new(),
            late: BTreeMap::new(),
            late_count: 0,
            refusing: BTreeMap::new(),
            at: host.parse().expect("an address"),
            host: host.to_owned(),
            cseq: 100,
        }
    }

    pub fn receive_at(&mut self, now: Instant, at: SocketAddr, bytes: &[u8]) {
        if self.dead.contains(&at) {
            return;
        }
        if let Some(after) = self.slow.get(&at) {
            self.late_count += 1;
            let key = (now + *after, self.late_count);
            self.late.insert(key, (at, bytes.to_vec()));
            return;
        }
        self.at = at;
        self.receive(now, bytes);
    }

    /// Open calls at one of its addresses.
    pub fn open_at(&self, at: SocketAddr) -> usize {
        let open = |call: &&Call| call.at == at && call.phase != Phase::Closed;
        self.calls.values().filter(open).count()
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let lines: Vec<String> = text
            .split("\r\n")
            .take_while(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        let Some(start) = lines.first().cloned() else {
            return;
        };
        let id = value(&lines, "Call-ID");
        if start.starts_with("SIP/2.0 ") {
            return self.response(&start, &lines, &id);
        }
        match start.split(' ').next().unwrap_or_default() {
            "INVITE" => self.invite(now, &start, lines, id),
            "ACK" => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.acks += 1;
                    call.again = None;
                    if call.phase == Phase::Answered {
                        call.phase = Phase::Confirmed;
                    }
                }
            }
            "CANCEL" => self.cancel(now, lines, &id),
            "BYE" => {
                self.reply(&lines, 200, "OK", None);
                if let Some(call) = self.calls.get_mut(&id) {
                    call.byes += 1;
                    call.again = None;
                    call.phase = Phase::Closed;
                }
            }
            "OPTIONS" => self.reply(&lines, 200, "OK", None),
            _ => self.reply(&lines, 501, "Not Implemented", None),
        }
    }

    pub fn timeout(&mut self, now: Instant) {
        while let Some(late) = self.late.first_entry().filter(|it| it.key().0 <= now) {
            let (at, bytes) = late.remove();
            self.at = at;
            self.receive(now, &bytes);
        }
        let due: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, call)| call.answer_at.is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.answer(now, &id);
        }
        let again: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, call)| call.again.is_some_and(|(at, _)| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in again {
            self.send_answer(now, &id);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let answers = self.calls.values().filter_map(|call| call.answer_at);
        let again = self.calls.values().filter_map(|call| Some(call.again?.0));
        let late = self.late.keys().map(|(at, _)| *at);
        answers.chain(again).chain(late).min()
    }

    /// The customer hangs up.
    pub fn hang_up(&mut self, number: &str) {
        let Some((id, call)) = self
            .calls
            .iter_mut()
            .rfind(|(_, call)| call.number == number && call.phase != Phase::Closed)
        else {
            panic!("no call to {number} to hang up");
        };
        call.phase = Phase::Closed;
        self.at = call.at;
        self.cseq += 1;
        let from = value(&call.invite, "From");
        let to = value(&call.invite, "To");
        let target = value(&call.invite, "Contact");
        let target = target
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap_or_default();
        let bye = format!(
            "BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKbye{}\r\nMax-Forwards: 70\r\n\
             From: {to};tag=far-{id}\r\nTo: {from}\r\nCall-ID: {id}\r\nCSeq: {} BYE\r\n\
             Content-Length: 0\r\n\r\n",
            self.host, self.cseq, self.cseq
        );
        self.out.push((self.at, bye));
    }

    /// Calls whose dialog, by this side's books, is neither refused nor ended.
    pub fn open(&self) -> usize {
        self.calls
            .values()
            .filter(|call| call.phase != Phase::Closed)
            .count()
    }

    pub fn to(&self, number: &str) -> Vec<&Call> {
        self.calls
            .values()
            .filter(|call| call.number == number)
            .collect()
    }

    fn invite(&mut self, now: Instant, start: &str, lines: Vec<String>, id: String) {
        let number = start
            .split(' ')
            .nth(1)
            .and_then(|uri| uri.trim_start_matches("sip:").split('@').next())
            .unwrap_or_default()
            .to_owned();
        if let Some(call) = self.calls.get_mut(&id) {
            call.invites += 1;
            return;
        }
        if let Some((status, phrase)) = self.refusing.get(&self.at).copied() {
            return self.reply(&lines, status, phrase, None);
        }
        let manner = self.manners.get(&number).copied().unwrap_or(self.otherwise);
        let mut call = Call {
            number,
            phase: Phase::Ringing,
            manner,
            invites: 1,
            acks: 0,
            byes: 0,
            cancels: 0,
            at: self.at,
            invite: lines.clone(),
            answer_at: None,
            again: None,
        };
        match manner {
            Manner::Silent => {}
            Manner::Final(status, phrase) => {
                call.phase = Phase::Closed;
                self.reply(&lines, status, phrase, None);
            }
            Manner::Answer(after) => {
                call.answer_at = Some(now + after);
                self.reply(&lines, 180, "Ringing", None);
            }
            Manner::RingOut | Manner::AnswerOnCancel => self.reply(&lines, 180, "Ringing", None),
        }
        self.calls.insert(id, call);
    }

    fn cancel(&mut self, now: Instant, lines: Vec<String>, id: &str) {
        self.reply(&lines, 200, "OK", None);
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.cancels += 1;
        call.answer_at = None;
        if call.phase != Phase::Ringing {
            return;
        }
        if call.manner == Manner::AnswerOnCancel {
            return self.answer(now, id);
        }
        call.phase = Phase::Closed;
        let invite = call.invite.clone();
        self.reply(&invite, 487, "Request Terminated", None);
    }

    fn answer(&mut self, now: Instant, id: &str) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.answer_at = None;
        if call.phase != Phase::Ringing {
            return;
        }
        call.phase = Phase::Answered;
        self.send_answer(now, id);
    }

    fn send_answer(&mut self, now: Instant, id: &str) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let pause = call
            .again
            .map_or(Duration::from_millis(500), |(_, pause)| pause * 2);
        call.again = Some((now + pause, pause));
        let invite = call.invite.clone();
        self.at = call.at;
        let sdp = "v=0\r\no=far 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n\
                   a=rtpmap:101 telephone-event/8000\r\n";
        self.reply(&invite, 200, "OK", Some(sdp));
    }

    fn response(&mut self, start: &str, lines: &[String], id: &str) {
        if value(lines, "CSeq").ends_with("BYE")
            && start.contains(" 200 ")
            && let Some(call) = self.calls.get_mut(id)
        {
            call.phase = Phase::Closed;
        }
    }

    fn reply(&mut self, request: &[String], status: u16, phrase: &str, sdp: Option<&str>) {
        let mut text = format!("SIP/2.0 {status} {phrase}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for line in request.iter().filter(|line| named(line, name)) {
                text.push_str(line);
                if name == "To" && !line.contains(";tag=") {
                    text.push_str(&format!(";tag=far-{}", value(request, "Call-ID")));
                }
                text.push_str("\r\n");
            }
        }
        text.push_str(&format!("Contact: <sip:far@{}>\r\n", self.host));
        if sdp.is_some() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        let sdp = sdp.unwrap_or_default();
        text.push_str(&format!("Content-Length: {}\r\n\r\n{sdp}", sdp.len()));
        self.out.push((self.at, text));
    }
}

fn named(line: &str, name: &str) -> bool {
    line.split_once(':')
        .is_some_and(|(found, _)| found.trim().eq_ignore_ascii_case(name))
}

fn value(lines: &[String], name: &str) -> String {
    lines
        .iter()
        .find(|line| named(line, name))
        .and_then(|line| line.split_once(':'))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}
