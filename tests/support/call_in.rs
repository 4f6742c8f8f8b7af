//! A customer who calls us, in plain text, over the trunk of a `World`.

use foredial::engine::Input;
use foredial::sip::{Flow, Transport};

use super::world::{SWITCH, TRUNK, World};

/// A call that came in from the trunk.
#[derive(Clone, Debug)]
pub struct CallIn {
    id: String,
    from: String,
    to: String,
}

/// `from` calls `to`.
pub fn call_in(world: &mut World, from: &str, to: &str) -> CallIn {
    let call = CallIn {
        id: format!("in-{from}-{}", world.letters.len()),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let sdp = "v=0\r\no=far 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP 8\r\na=sendrecv\r\n";
    send(world, &call.text("INVITE", 1, "", sdp));
    call
}

impl CallIn {
    /// The last status the caller was told, and 0 before there is any.
    pub fn status(&self, world: &World) -> u16 {
        let last = self.last(world, |letter| letter.contains("CSeq: 1 INVITE"));
        let line = last.and_then(|letter| letter.split(' ').nth(1)?.parse().ok());
        line.unwrap_or(0)
    }

    /// Every status to the INVITE, each once.
    pub fn statuses(&self, world: &World) -> Vec<u16> {
        let ours = |letter: &&String| {
            letter.starts_with("SIP/2.0 ")
                && letter.contains(&self.id)
                && letter.contains("CSeq: 1 INVITE")
        };
        let mut all: Vec<u16> = world
            .letters
            .iter()
            .filter(ours)
            .filter_map(|letter| letter.split(' ').nth(1)?.parse().ok())
            .collect();
        all.dedup();
        all
    }

    pub fn body(&self, world: &World) -> String {
        let last = self.last(world, |letter| letter.contains("CSeq: 1 INVITE"));
        let body = last.and_then(|letter| letter.split_once("\r\n\r\n"));
        body.map_or_else(String::new, |(_, body)| body.to_owned())
    }

    /// Whether the switch has ended the call with a BYE.
    pub fn has_bye(&self, world: &World) -> bool {
        let bye = |letter: &&String| letter.starts_with("BYE ") && letter.contains(&self.id);
        world.letters.iter().any(|letter| bye(&letter))
    }

    pub fn acknowledge(&self, world: &mut World) {
        let tag = self.tag(world);
        send(world, &self.text("ACK", 1, &tag, ""));
    }

    pub fn cancel(&self, world: &mut World) {
        send(world, &self.text("CANCEL", 1, "", ""));
    }

    pub fn hang_up(&self, world: &mut World) {
        let tag = self.tag(world);
        send(world, &self.text("BYE", 2, &tag, ""));
    }

    fn last<'w>(&self, world: &'w World, wanted: impl Fn(&str) -> bool) -> Option<&'w String> {
        world.letters.iter().rev().find(|letter| {
            letter.starts_with("SIP/2.0 ") && letter.contains(&self.id) && wanted(letter)
        })
    }

    fn tag(&self, world: &World) -> String {
        let last = self.last(world, |letter| letter.contains("CSeq: 1 INVITE"));
        let to = last.and_then(|letter| letter.lines().find(|line| line.starts_with("To: ")));
        let tag = to.and_then(|to| to.split(";tag=").nth(1));
        format!(";tag={}", tag.expect("an answer with a tag"))
    }

    fn text(&self, method: &str, cseq: u32, to_tag: &str, sdp: &str) -> String {
        let CallIn { id, from, to } = self;
        // An ACK of a 2xx and a BYE are transactions of their own.
        let branch = match method {
            "INVITE" | "CANCEL" => "1",
            other => other,
        };
        let kind = match sdp {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        format!(
            "{method} sip:{to}@{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {TRUNK};branch=z9hG4bK-{id}-{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{from}@{TRUNK}>;tag=f-{id}\r\nTo: <sip:{to}@{SWITCH}>{to_tag}\r\n\
             Call-ID: {id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{from}@{TRUNK}>\r\n{kind}\
             Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
    }
}

fn send(world: &mut World, text: &str) {
    let local = SWITCH.parse().expect("an address");
    let flow = Flow {
        id: 0,
        transport: Transport::Udp,
        local,
        remote: TRUNK.parse().expect("an address"),
    };
    let bytes = text.as_bytes().to_vec();
    world.input(Input::Sip { flow, bytes });
}
