//! One call at the carrier: the INVITE's server transaction, the dialog and what the called
//! party does in it (RFC 3261 12 to 15, 17.2.1; RFC 6026).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::behaviour::{Behaviour, digits};
use super::exchange::{ALLOW, Desk, reply_to, response};
use super::journal::{CallRecord, CallReport, CallState, EndedBy, What};
use super::lock;
use super::media::{Flow, Media, Stream};
use super::message::{
    Draft, Message, Start, parameter, q850_reason, socket_of, split_list, uri_of, user_of,
};
use super::offer::{Agreed, Description, Local};

/// RFC 3261 table 4.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const TRANSACTION: Duration = Duration::from_secs(32);
/// Nobody rings longer.
const RING: Duration = Duration::from_secs(180);

/// What came of a deadline.
pub(super) enum Turned {
    Done,
    /// The answer forked: a second call of the same INVITE.
    Forked(Box<Call>),
    Forget,
}

pub(super) struct Call {
    dialog: Dialog,
    number: String,
    behaviour: Behaviour,
    /// Responses still to be lost.
    to_lose: u32,
    phase: Phase,
    invite: Invite,
    body: Body,
    media: Option<Media>,
}

enum Phase {
    Ringing {
        next: Option<(Instant, Turn)>,
    },
    Answered {
        hang_up_at: Option<Instant>,
    },
    /// Our BYE is on its way.
    Leaving {
        bye: Repeat,
        branch: String,
    },
    Ended {
        forget_at: Instant,
    },
}

#[derive(Clone, Copy)]
enum Turn {
    Answer,
    Refuse(u16),
}

struct Dialog {
    call_id: String,
    tag: String,
    remote: String,
    local: String,
    target: SocketAddr,
    target_uri: String,
    route: Vec<String>,
    remote_cseq: u32,
    local_cseq: u32,
}

/// The INVITE transaction that is, or was last, open.
struct Invite {
    request: Message,
    from: SocketAddr,
    last: Option<(u16, Vec<u8>)>,
    /// The final response, until its ACK.
    unacked: Option<Repeat>,
}

/// Something sent again and again over UDP (timers E, F, G, H).
struct Repeat {
    to: SocketAddr,
    bytes: Vec<u8>,
    at: Instant,
    interval: Duration,
    until: Instant,
}

/// Where the offer and the answer stand.
struct Body {
    local: Local,
    agreed: Option<Agreed>,
    /// What we described last, so that the version grows only with a change.
    last: Option<String>,
}

impl Repeat {
    fn new(now: Instant, to: SocketAddr, bytes: Vec<u8>) -> Self {
        Self {
            to,
            bytes,
            at: now + T1,
            interval: T1,
            until: now + TRANSACTION,
        }
    }

    fn next(&self) -> Instant {
        self.at.min(self.until)
    }

    /// The bytes to send again; `None` once the time is over.
    fn turn(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        if now >= self.until {
            return None;
        }
        self.interval = (self.interval * 2).min(T2);
        self.at = now + self.interval;
        Some((self.to, self.bytes.clone()))
    }
}

impl Body {
    /// The answer to an offer, or an offer of ours when there is none.
    fn describe(&mut self, desk: &Desk, offer: Option<&str>) -> Result<String, u16> {
        let laws = &desk.config.laws;
        let offer = match offer {
            Some(text) => Some(Description::parse(text).ok_or(488u16)?),
            None => None,
        };
        let agreed = match &offer {
            Some(offer) => Some(offer.agree(laws).ok_or(488u16)?),
            None => None,
        };
        let write = |local: &Local| match (&offer, &agreed) {
            (Some(offer), Some(agreed)) => offer.answer(laws, agreed, local),
            _ => local.offer(laws),
        };
        let mut sdp = write(&self.local);
        if self.last.as_ref().is_some_and(|last| *last != sdp) {
            self.local.version += 1;
            sdp = write(&self.local);
        }
        self.last = Some(sdp.clone());
        self.agreed = agreed.or(self.agreed);
        Ok(sdp)
    }
}

impl Call {
    /// A first INVITE. `Err` holds the status of a refusal outside any call.
    pub(super) fn open(
        desk: &mut Desk,
        now: Instant,
        from: SocketAddr,
        request: &Message,
    ) -> Result<Call, u16> {
        let Start::Request { uri, .. } = &request.start else {
            return Err(400);
        };
        let number = digits(user_of(uri).unwrap_or_default());
        let dialog = Dialog::open(desk, from, request)?;
        let (to_lose, behaviour) = match desk.behaviour(&number) {
            Behaviour::LoseResponses { count, then } => (count, *then),
            other => (0, other),
        };
        let (media, body) = open_body(desk, now, &number, &dialog)?;
        let invite = Invite {
            request: request.clone(),
            from,
            last: None,
            unacked: None,
        };
        let phase = Phase::Ringing { next: None };
        let media = Some(media);
        let mut call = Call {
            dialog,
            number,
            behaviour,
            to_lose,
            phase,
            invite,
            body,
            media,
        };
        call.note_received(desk, now, request, false);
        call.begin(desk, now);
        Ok(call)
    }

    fn begin(&mut self, desk: &mut Desk, now: Instant) {
        self.respond_invite(desk, now, 100, None);
        let in_ms = |after_ms: u64| now + Duration::from_millis(after_ms);
        let next = match self.behaviour {
            Behaviour::Answer { after_ms }
            | Behaviour::AnswerThenHangUp { after_ms, .. }
            | Behaviour::AnswerTwice { after_ms }
            | Behaviour::EarlyMedia { after_ms } => (in_ms(after_ms), Turn::Answer),
            Behaviour::Refuse { status, after_ms } => (in_ms(after_ms), Turn::Refuse(status)),
            _ => (now + RING, Turn::Refuse(480)),
        };
        self.phase = Phase::Ringing { next: Some(next) };
        // Who does not even ring says so at once.
        if matches!(self.behaviour, Behaviour::Refuse { after_ms: 0, .. }) {
            return;
        }
        if matches!(self.behaviour, Behaviour::EarlyMedia { .. }) {
            return self.offer_early_media(desk, now);
        }
        self.respond_invite(desk, now, 180, None);
    }

    fn offer_early_media(&mut self, desk: &mut Desk, now: Instant) {
        let offer = self.invite.request.sdp().map(str::to_owned);
        match self.body.describe(desk, offer.as_deref()) {
            Ok(sdp) => {
                self.respond_invite(desk, now, 183, Some(&sdp));
                self.set_flow(Flow::Ringing);
            }
            Err(status) => self.refuse(desk, now, status),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.dialog.call_id
    }

    pub(super) fn tag(&self) -> &str {
        &self.dialog.tag
    }

    pub(super) fn was_invited_by(&self, branch: &str) -> bool {
        !branch.is_empty() && self.invite.request.branch() == Some(branch)
    }

    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Ended { forget_at } if forget_at <= now)
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let unacked = self
            .invite
            .unacked
            .as_ref()
            .map(|repeat| (repeat.next(), "no ACK yet"));
        let phase = match &self.phase {
            Phase::Ringing { next } => next.map(|(at, _)| (at, "pick up or not")),
            // RFC 3261 15: no BYE from the callee before the ACK.
            Phase::Answered { hang_up_at } => hang_up_at
                .filter(|_| self.invite.unacked.is_none())
                .map(|at| (at, "put the phone down")),
            Phase::Leaving { bye, .. } => Some((bye.next(), "BYE unanswered")),
            Phase::Ended { forget_at } => Some((*forget_at, "forget")),
        };
        unacked.into_iter().chain(phase).min()
    }

    /// One deadline that has passed.
    pub(super) fn handle_timeout(&mut self, desk: &mut Desk, now: Instant) -> Turned {
        if self
            .invite
            .unacked
            .as_ref()
            .is_some_and(|repeat| repeat.next() <= now)
        {
            self.repeat_final(desk, now);
            return Turned::Done;
        }
        match &mut self.phase {
            Phase::Ringing {
                next: Some((_, Turn::Answer)),
            } => return self.answer(desk, now),
            Phase::Ringing {
                next: Some((_, Turn::Refuse(status))),
            } => {
                let status = *status;
                self.refuse(desk, now, status);
            }
            Phase::Ringing { next: None } => {}
            Phase::Answered { .. } => self.say_bye(desk, now, EndedBy::OurBye),
            Phase::Leaving { bye, .. } => match bye.turn(now) {
                Some((to, bytes)) => {
                    let what = What::Requested {
                        method: "BYE".to_owned(),
                        repeated: true,
                    };
                    desk.note(now, &self.dialog.call_id, &self.number, what);
                    desk.send(to, bytes);
                }
                None => {
                    self.phase = Phase::Ended {
                        forget_at: now + TRANSACTION,
                    }
                }
            },
            Phase::Ended { .. } => return Turned::Forget,
        }
        Turned::Done
    }

    fn repeat_final(&mut self, desk: &mut Desk, now: Instant) {
        let status = self.invite.last.as_ref().map_or(0, |(status, _)| *status);
        match self
            .invite
            .unacked
            .as_mut()
            .and_then(|repeat| repeat.turn(now))
        {
            Some((to, bytes)) => self.deliver(desk, now, "INVITE", status, to, bytes, true),
            None => {
                self.invite.unacked = None;
                // RFC 3261 13.3.1.4: a 2xx without ACK ends in BYE. A refusal is simply over.
                if matches!(self.phase, Phase::Answered { .. }) {
                    self.say_bye(desk, now, EndedBy::NoAck);
                }
            }
        }
    }

    fn answer(&mut self, desk: &mut Desk, now: Instant) -> Turned {
        let offer = self.invite.request.sdp().map(str::to_owned);
        let sdp = match self.body.describe(desk, offer.as_deref()) {
            Ok(sdp) => sdp,
            Err(status) => {
                self.refuse(desk, now, status);
                return Turned::Done;
            }
        };
        self.respond_invite(desk, now, 200, Some(&sdp));
        let talk_ms = match self.behaviour {
            Behaviour::AnswerThenHangUp { talk_ms, .. } => Some(talk_ms),
            _ => None,
        };
        let hang_up_at = talk_ms.map(|talk_ms| now + Duration::from_millis(talk_ms));
        self.phase = Phase::Answered { hang_up_at };
        self.set_flow(Flow::Talking);
        self.report_answered(desk, now, false);
        if matches!(self.behaviour, Behaviour::AnswerTwice { .. }) {
            self.behaviour = Behaviour::Answer { after_ms: 0 };
            return self
                .fork(desk, now)
                .map_or(Turned::Done, |twin| Turned::Forked(Box::new(twin)));
        }
        Turned::Done
    }

    /// The same INVITE, picked up by somebody else as well.
    fn fork(&self, desk: &mut Desk, now: Instant) -> Option<Call> {
        let dialog = Dialog::open(desk, self.invite.from, &self.invite.request).ok()?;
        let (media, body) = open_body(desk, now, &self.number, &dialog).ok()?;
        let mut twin = Call {
            dialog,
            number: self.number.clone(),
            behaviour: self.behaviour.clone(),
            to_lose: 0,
            phase: Phase::Ringing { next: None },
            invite: Invite {
                request: self.invite.request.clone(),
                from: self.invite.from,
                last: None,
                unacked: None,
            },
            body,
            media: Some(media),
        };
        twin.answer(desk, now);
        Some(twin)
    }

    fn refuse(&mut self, desk: &mut Desk, now: Instant, status: u16) {
        self.respond_invite(desk, now, status, None);
        let by = if status == 487 {
            EndedBy::Cancelled
        } else {
            EndedBy::Refused(status)
        };
        self.end(desk, now, by);
        self.phase = Phase::Ended {
            forget_at: now + TRANSACTION,
        };
    }

    /// The called party puts the phone down.
    pub(super) fn hang_up(&mut self, desk: &mut Desk, now: Instant) {
        match &mut self.phase {
            Phase::Ringing { .. } => self.refuse(desk, now, 603),
            Phase::Answered { hang_up_at } if self.invite.unacked.is_some() => {
                *hang_up_at = Some(now);
            }
            Phase::Answered { .. } => self.say_bye(desk, now, EndedBy::OurBye),
            Phase::Leaving { .. } | Phase::Ended { .. } => {}
        }
    }

    fn say_bye(&mut self, desk: &mut Desk, now: Instant, by: EndedBy) {
        let branch = format!("z9hG4bK{}", desk.token());
        let bytes = self.dialog.request("BYE", &branch, desk.local);
        let to = self.dialog.next_hop();
        let what = What::Requested {
            method: "BYE".to_owned(),
            repeated: false,
        };
        desk.note(now, &self.dialog.call_id, &self.number, what);
        desk.send(to, bytes.clone());
        self.end(desk, now, by);
        self.phase = Phase::Leaving {
            bye: Repeat::new(now, to, bytes),
            branch,
        };
    }

    pub(super) fn handle_response(
        &mut self,
        desk: &mut Desk,
        now: Instant,
        branch: &str,
        status: u16,
        response: &Message,
    ) {
        let ours = matches!(&self.phase, Phase::Leaving { branch: sent, .. } if sent == branch);
        if !ours {
            return;
        }
        let method = response
            .cseq()
            .map(|(_, method)| method.to_owned())
            .unwrap_or_default();
        desk.note(
            now,
            &self.dialog.call_id,
            &self.number,
            What::Response { status, method },
        );
        if status >= 200 {
            self.phase = Phase::Ended {
                forget_at: now + TRANSACTION,
            };
        }
    }

    pub(super) fn handle_repeated_invite(
        &mut self,
        desk: &mut Desk,
        now: Instant,
        request: &Message,
    ) {
        self.note_received(desk, now, request, true);
        if let Some((status, bytes)) = self.invite.last.clone() {
            let to = reply_to(&self.invite.request, self.invite.from);
            self.deliver(desk, now, "INVITE", status, to, bytes, true);
        }
    }

    pub(super) fn handle_ack(
        &mut self,
        desk: &mut Desk,
        now: Instant,
        _from: SocketAddr,
        request: &Message,
    ) {
        let cseq = request.cseq().map(|(number, _)| number);
        let fits = cseq == self.invite.request.cseq().map(|(number, _)| number);
        self.note_received(desk, now, request, fits && self.invite.unacked.is_none());
        if !fits || self.invite.unacked.take().is_none() {
            return;
        }
        if !matches!(self.phase, Phase::Answered { .. }) {
            return;
        }
        // An INVITE without an offer is answered in the ACK.
        if self.invite.request.sdp().is_none()
            && let Some(answer) = request.sdp().and_then(Description::parse)
        {
            self.body.agreed = answer.agree(&desk.config.laws).or(self.body.agreed);
            self.set_flow(Flow::Talking);
        }
        self.report_answered(desk, now, true);
    }

    pub(super) fn handle_bye(
        &mut self,
        desk: &mut Desk,
        now: Instant,
        from: SocketAddr,
        request: &Message,
    ) {
        let repeated = !self.is_new(request);
        self.note_received(desk, now, request, repeated);
        match self.phase {
            Phase::Ended { .. } if !repeated => {
                return self.respond(desk, now, from, request, 481, None);
            }
            // RFC 3261 15: BYE within an early dialog; the INVITE still needs its answer.
            Phase::Ringing { .. } => {
                self.respond(desk, now, from, request, 200, None);
                self.respond_invite(desk, now, 487, None);
            }
            _ => self.respond(desk, now, from, request, 200, None),
        }
        if matches!(self.phase, Phase::Ringing { .. } | Phase::Answered { .. }) {
            if !matches!(self.phase, Phase::Ringing { .. }) {
                self.invite.unacked = None;
            }
            self.end(desk, now, EndedBy::CallerBye);
            self.phase = Phase::Ended {
                forget_at: now + TRANSACTION,
            };
        }
    }

    pub(super) fn handle_cancel(
        &mut self,
        desk: &mut Desk,
        now: Instant,
        from: SocketAddr,
        request: &Message,
    ) {
        self.note_received(desk, now, request, false);
        let ringing = matches!(self.phase, Phase::Ringing { .. });
        match self.behaviour {
            Behaviour::Silent => return,
            Behaviour::AnswerOnCancel if ringing => {
                self.answer(desk, now);
                return self.respond(desk, now, from, request, 200, None);
            }
            _ => {}
        }
        self.respond(desk, now, from, request, 200, None);
        // RFC 3261 9.2: a final response that is out stays.
        if ringing {
            self.refuse(desk, now, 487);
        }
    }

    pub(super) fn handle_reinvite(
        &mut self,
        desk: &mut Desk,
        now: Instant,
        from: SocketAddr,
        request: &Message,
    ) {
        if self.was_invited_by(request.branch().unwrap_or_default()) {
            return self.handle_repeated_invite(desk, now, request);
        }
        let fresh = self.is_new(request);
        self.note_received(desk, now, request, false);
        match self.phase {
            Phase::Answered { .. } if fresh => {}
            Phase::Answered { .. } | Phase::Ringing { .. } => {
                return self.respond(desk, now, from, request, 500, None);
            }
            _ => return self.respond(desk, now, from, request, 481, None),
        }
        if let Some((target, uri)) = contact_of(request) {
            (self.dialog.target, self.dialog.target_uri) = (target, uri);
        }
        self.invite = Invite {
            request: request.clone(),
            from,
            last: None,
            unacked: None,
        };
        match self.body.describe(desk, request.sdp()) {
            Ok(sdp) => {
                self.respond_invite(desk, now, 200, Some(&sdp));
                self.set_flow(Flow::Talking);
                self.report_answered(desk, now, false);
            }
            Err(status) => self.respond_invite(desk, now, status, None),
        }
    }

    /// UPDATE (RFC 3311) and INFO.
    pub(super) fn handle_request(
        &mut self,
        desk: &mut Desk,
        now: Instant,
        from: SocketAddr,
        request: &Message,
    ) {
        let fresh = self.is_new(request);
        self.note_received(desk, now, request, !fresh);
        let is_update = request.cseq().is_some_and(|(_, method)| method == "UPDATE");
        match (
            &self.phase,
            request.sdp().filter(|_| is_update).map(str::to_owned),
        ) {
            (Phase::Leaving { .. } | Phase::Ended { .. }, _) => {
                self.respond(desk, now, from, request, 481, None);
            }
            (Phase::Answered { .. }, Some(offer)) => match self.body.describe(desk, Some(&offer)) {
                Ok(sdp) => {
                    self.respond(desk, now, from, request, 200, Some(&sdp));
                    self.set_flow(Flow::Talking);
                    self.report_answered(desk, now, self.invite.unacked.is_none());
                }
                Err(status) => self.respond(desk, now, from, request, status, None),
            },
            (Phase::Ringing { .. }, Some(_)) => {
                self.respond(desk, now, from, request, 500, None);
            }
            _ => self.respond(desk, now, from, request, 200, None),
        }
    }

    /// Whether a request's CSeq goes beyond every earlier one's; remembers it if so.
    fn is_new(&mut self, request: &Message) -> bool {
        let number = request.cseq().map_or(0, |(number, _)| number);
        let fresh = number > self.dialog.remote_cseq;
        self.dialog.remote_cseq = self.dialog.remote_cseq.max(number);
        fresh
    }

    /// A response to the open INVITE. Final ones repeat until the ACK.
    fn respond_invite(&mut self, desk: &mut Desk, now: Instant, status: u16, sdp: Option<&str>) {
        let (request, from) = (&self.invite.request, self.invite.from);
        let mut draft = response(request, from, status, Some(&self.dialog.tag));
        self.dialog.add_to(&mut draft, request, status, desk.local);
        if let Some(reason) = q850_reason(status) {
            draft.header("Reason", reason);
        }
        let (bytes, to) = (draft.finish(sdp), reply_to(request, from));
        self.invite.last = Some((status, bytes.clone()));
        if status >= 200 {
            self.invite.unacked = Some(Repeat::new(now, to, bytes.clone()));
        }
        self.deliver(desk, now, "INVITE", status, to, bytes, false);
    }

    /// A response to anything else within the dialog.
    fn respond(
        &mut self,
        desk: &mut Desk,
        now: Instant,
        from: SocketAddr,
        request: &Message,
        status: u16,
        sdp: Option<&str>,
    ) {
        let mut draft = response(request, from, status, Some(&self.dialog.tag));
        let method = request
            .cseq()
            .map(|(_, method)| method.to_owned())
            .unwrap_or_default();
        if method == "UPDATE" {
            self.dialog.add_to(&mut draft, request, status, desk.local);
        }
        let to = reply_to(request, from);
        self.deliver(desk, now, &method, status, to, draft.finish(sdp), false);
    }

    #[allow(clippy::too_many_arguments)] // One response and where it stands; a struct would only rename them.
    fn deliver(
        &mut self,
        desk: &mut Desk,
        now: Instant,
        method: &str,
        status: u16,
        to: SocketAddr,
        bytes: Vec<u8>,
        repeated: bool,
    ) {
        let method = method.to_owned();
        let lost = self.behaviour == Behaviour::Silent || self.to_lose > 0;
        let what = match lost {
            true => What::Withheld { status, method },
            false => What::Sent {
                status,
                method,
                repeated,
            },
        };
        desk.note(now, &self.dialog.call_id, &self.number, what);
        if lost {
            self.to_lose = self.to_lose.saturating_sub(1);
        } else {
            desk.send(to, bytes);
        }
    }

    fn set_flow(&self, kind: fn(Stream) -> Flow) {
        let (Some(media), Some(agreed)) = (&self.media, &self.body.agreed) else {
            return;
        };
        media.set(kind(Stream {
            to: agreed.remote.filter(|_| agreed.direction.sends()),
            law: agreed.law,
            telephone_event: agreed.telephone_event,
        }));
    }

    fn report_answered(&self, desk: &Desk, now: Instant, acked: bool) {
        let (law, sends) = match &self.body.agreed {
            Some(agreed) => (
                Some(agreed.law),
                agreed.remote.is_some() && agreed.direction.sends(),
            ),
            None => (None, false),
        };
        let mut journal = lock(&desk.journal);
        let at_ms = journal.ms(now);
        journal.change(&self.dialog.tag, |report| {
            report.answered_ms.get_or_insert(at_ms);
            report.law = law;
            report.state = CallState::Answered { acked, sends };
        });
    }

    fn end(&mut self, desk: &Desk, now: Instant, by: EndedBy) {
        self.media = None;
        desk.note(now, &self.dialog.call_id, &self.number, What::Ended(by));
        let mut journal = lock(&desk.journal);
        let at_ms = journal.ms(now);
        journal.change(&self.dialog.tag, |report| {
            report.ended_ms = Some(at_ms);
            report.state = CallState::Ended { by };
        });
    }

    fn note_received(&self, desk: &Desk, now: Instant, request: &Message, repeated: bool) {
        let (cseq, method) = request.cseq().unwrap_or_default();
        let what = What::Received {
            method: method.to_owned(),
            cseq,
            repeated,
        };
        desk.note(now, &self.dialog.call_id, &self.number, what);
    }
}

/// Opens a call's audio and its place in the journal.
fn open_body(
    desk: &mut Desk,
    now: Instant,
    number: &str,
    dialog: &Dialog,
) -> Result<(Media, Body), u16> {
    let sound = desk.sound();
    // Out of ports or descriptors: the carrier has no circuit left.
    let media = desk.open_media(number, sound.clone()).map_err(|_| 503u16)?;
    let mut journal = lock(&desk.journal);
    let report = CallReport {
        call_id: dialog.call_id.clone(),
        tag: dialog.tag.clone(),
        number: number.to_owned(),
        caller: dialog.remote.clone(),
        state: CallState::Ringing,
        invited_ms: journal.ms(now),
        answered_ms: None,
        ended_ms: None,
        law: None,
        spoken_packets: 0,
        heard: super::Heard::default(),
    };
    journal.open(CallRecord { report, sound });
    let session = u32::from(media.local.port()) << 8;
    let local = Local {
        rtp: media.local,
        session,
        version: 1,
    };
    Ok((
        media,
        Body {
            local,
            agreed: None,
            last: None,
        },
    ))
}

fn contact_of(request: &Message) -> Option<(SocketAddr, String)> {
    let uri = uri_of(split_list(request.header("contact")?).first()?);
    Some((socket_of(uri)?, uri.to_owned()))
}

impl Dialog {
    /// RFC 3261 12.1.1.
    fn open(desk: &mut Desk, from: SocketAddr, request: &Message) -> Result<Dialog, u16> {
        let remote = request.header("from").ok_or(400u16)?.to_owned();
        if parameter(&remote, "tag").is_none() {
            return Err(400);
        }
        let tag = desk.token();
        let uri = request
            .header("contact")
            .map_or("", |value| uri_of(value))
            .to_owned();
        if uri.is_empty() {
            return Err(400);
        }
        Ok(Dialog {
            call_id: request.header("call-id").ok_or(400u16)?.to_owned(),
            local: format!("{};tag={tag}", request.header("to").ok_or(400u16)?),
            tag,
            remote,
            // A name in the Contact is not looked up: what sent the INVITE takes the BYE.
            target: socket_of(&uri).unwrap_or(from),
            target_uri: uri,
            route: request
                .all("record-route")
                .flat_map(split_list)
                .map(str::to_owned)
                .collect(),
            remote_cseq: request.cseq().map_or(0, |(number, _)| number),
            local_cseq: 0,
        })
    }

    fn next_hop(&self) -> SocketAddr {
        self.route
            .first()
            .and_then(|route| socket_of(uri_of(route)))
            .unwrap_or(self.target)
    }

    /// What makes a response one that opens or keeps a dialog.
    fn add_to(&self, draft: &mut Draft, request: &Message, status: u16, local: SocketAddr) {
        if !(101..300).contains(&status) {
            return;
        }
        request
            .all("record-route")
            .for_each(|line| draft.header("Record-Route", line));
        draft.header("Contact", &format!("<sip:carrier@{local}>"));
        draft.header("Allow", ALLOW);
    }

    /// RFC 3261 12.2.1.1. Routes here are loose ones.
    fn request(&mut self, method: &str, branch: &str, local: SocketAddr) -> Vec<u8> {
        self.local_cseq += 1;
        let mut draft = Draft::new(&format!("{method} {} SIP/2.0", self.target_uri));
        draft.header("Via", &format!("SIP/2.0/UDP {local};branch={branch};rport"));
        draft.header("Max-Forwards", "70");
        self.route
            .iter()
            .for_each(|route| draft.header("Route", route));
        draft.header("From", &self.local);
        draft.header("To", &self.remote);
        draft.header("Call-ID", &self.call_id);
        draft.header("CSeq", &format!("{} {method}", self.local_cseq));
        if method == "BYE" {
            draft.header("Reason", "Q.850;cause=16;text=\"Normal call clearing\"");
        }
        draft.finish(None)
    }
}
