//! SDP as the carrier reads and writes it: RFC 8866 as far as one audio stream needs it, and the
//! answerer's side of RFC 3264. On its own, for the same reason as `message`.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::law::Law;

/// Which way audio flows, from the describing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Both,
    SendOnly,
    ReceiveOnly,
    Inactive,
}

impl Direction {
    fn parse(name: &str) -> Option<Direction> {
        Some(match name {
            "sendrecv" => Direction::Both,
            "sendonly" => Direction::SendOnly,
            "recvonly" => Direction::ReceiveOnly,
            "inactive" => Direction::Inactive,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Direction::Both => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::ReceiveOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// The same stream seen from the other side (RFC 3264 6.1).
    fn mirrored(self) -> Direction {
        match self {
            Direction::SendOnly => Direction::ReceiveOnly,
            Direction::ReceiveOnly => Direction::SendOnly,
            other => other,
        }
    }

    pub(super) fn sends(self) -> bool {
        matches!(self, Direction::Both | Direction::SendOnly)
    }
}

/// What the other side described.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    streams: Vec<Stream>,
}

#[derive(Clone, Debug, PartialEq)]
struct Stream {
    /// The m-line's media, port, protocol and formats.
    media: String,
    port: u16,
    protocol: String,
    formats: Vec<String>,
    address: Option<IpAddr>,
    direction: Direction,
    /// `rtpmap` by payload type, in lower case.
    maps: Vec<(u8, String)>,
}

/// What was agreed for the audio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Agreed {
    /// Where to send; `None` while the other side is unreachable (port 0 or c=0.0.0.0).
    pub(super) remote: Option<SocketAddr>,
    pub(super) law: Law,
    pub(super) telephone_event: Option<u8>,
    /// From the carrier's side.
    pub(super) direction: Direction,
}

impl Description {
    /// Lenient: lines it does not know are skipped. `None` without any stream.
    pub(super) fn parse(text: &str) -> Option<Description> {
        let (mut session_address, mut session_direction) = (None, Direction::Both);
        let mut streams: Vec<Stream> = Vec::new();
        for line in text.lines() {
            let Some((kind, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim();
            match (kind, streams.last_mut()) {
                ("m", _) => streams.push(Stream::parse(value, session_address, session_direction)?),
                ("c", None) => session_address = address_of(value),
                ("c", Some(stream)) => stream.address = address_of(value),
                ("a", None) => {
                    session_direction = Direction::parse(value).unwrap_or(session_direction);
                }
                ("a", Some(stream)) => stream.note_attribute(value),
                _ => {}
            }
        }
        (!streams.is_empty()).then_some(Description { streams })
    }

    /// What follows for the audio from an offer, or from the answer to ours. `None`: no stream of
    /// it can be had.
    pub(super) fn agree(&self, laws: &[Law]) -> Option<Agreed> {
        let stream = self.audio(laws)?;
        let address = stream.address.filter(|ip| !ip.is_unspecified());
        Some(Agreed {
            remote: address
                .filter(|_| stream.port != 0)
                .map(|ip| SocketAddr::new(ip, stream.port)),
            law: stream.law(laws)?,
            telephone_event: stream.telephone_event(),
            // c=0.0.0.0 is the hold of RFC 2543: nothing is to be sent.
            direction: match stream.direction.mirrored() {
                mirrored if address.is_some() => mirrored,
                Direction::Both => Direction::ReceiveOnly,
                _ => Direction::Inactive,
            },
        })
    }

    fn audio(&self, laws: &[Law]) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.is_wanted(laws))
    }

    /// The answer: our audio for the stream taken, port 0 for every other.
    pub(super) fn answer(&self, laws: &[Law], agreed: &Agreed, local: &Local) -> String {
        let taken = self.audio(laws).map(std::ptr::from_ref);
        let mut sdp = local.session_lines();
        for stream in &self.streams {
            if Some(std::ptr::from_ref(stream)) == taken {
                sdp += &local.audio_lines(&[agreed.law], agreed.telephone_event, agreed.direction);
            } else {
                let formats = stream.formats.join(" ");
                let _ = write!(
                    sdp,
                    "m={} 0 {} {formats}\r\n",
                    stream.media, stream.protocol
                );
            }
        }
        sdp
    }
}

impl Stream {
    fn parse(value: &str, address: Option<IpAddr>, direction: Direction) -> Option<Stream> {
        let mut words = value.split_ascii_whitespace();
        let media = words.next()?.to_owned();
        let port = words.next()?.split('/').next()?.parse().ok()?;
        let protocol = words.next()?.to_owned();
        let formats = words.map(str::to_owned).collect();
        Some(Stream {
            media,
            port,
            protocol,
            formats,
            address,
            direction,
            maps: Vec::new(),
        })
    }

    fn note_attribute(&mut self, value: &str) {
        if let Some(direction) = Direction::parse(value) {
            self.direction = direction;
        } else if let Some((number, name)) = value
            .strip_prefix("rtpmap:")
            .and_then(|map| map.split_once(' '))
            && let Ok(number) = number.parse()
        {
            self.maps.push((number, name.trim().to_ascii_lowercase()));
        }
    }

    fn is_wanted(&self, laws: &[Law]) -> bool {
        self.media == "audio"
            && self.protocol.eq_ignore_ascii_case("RTP/AVP")
            && self.port != 0
            && self.law(laws).is_some()
    }

    /// The offer's first law that we accept. G.711 has static payload types and needs no rtpmap.
    fn law(&self, laws: &[Law]) -> Option<Law> {
        self.formats.iter().find_map(|format| {
            laws.iter()
                .copied()
                .find(|law| law.payload_type().to_string() == *format)
        })
    }

    fn telephone_event(&self) -> Option<u8> {
        let is_event = |name: &str| name.starts_with("telephone-event/8000");
        let listed = |number: &u8| self.formats.contains(&number.to_string());
        self.maps
            .iter()
            .find(|(number, name)| is_event(name) && listed(number))
            .map(|(number, _)| *number)
    }
}

fn address_of(value: &str) -> Option<IpAddr> {
    value
        .split_ascii_whitespace()
        .nth(2)?
        .split('/')
        .next()?
        .parse()
        .ok()
}

/// Our own end of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    pub(super) rtp: SocketAddr,
    pub(super) session: u32,
    /// Grows with every body that differs (RFC 3264 5).
    pub(super) version: u32,
}

impl Local {
    /// An offer of ours, for an INVITE that came without one.
    pub(super) fn offer(&self, laws: &[Law]) -> String {
        self.session_lines() + &self.audio_lines(laws, Some(101), Direction::Both)
    }

    fn session_lines(&self) -> String {
        let (ip, session, version) = (self.rtp.ip(), self.session, self.version);
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        format!(
            "v=0\r\no=carrier {session} {version} IN {family} {ip}\r\ns=call\r\n\
             c=IN {family} {ip}\r\nt=0 0\r\n"
        )
    }

    fn audio_lines(&self, laws: &[Law], event: Option<u8>, direction: Direction) -> String {
        let mut formats = String::new();
        let mut attributes = String::new();
        for law in laws {
            let (number, name) = (law.payload_type(), law.name());
            let _ = write!(formats, " {number}");
            let _ = write!(attributes, "a=rtpmap:{number} {name}/8000\r\n");
        }
        if let Some(number) = event {
            let _ = write!(formats, " {number}");
            let _ = write!(attributes, "a=rtpmap:{number} telephone-event/8000\r\n");
            let _ = write!(attributes, "a=fmtp:{number} 0-15\r\n");
        }
        let (port, direction) = (self.rtp.port(), direction.name());
        format!("m=audio {port} RTP/AVP{formats}\r\n{attributes}a=ptime:20\r\na={direction}\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &[Law] = &[Law::Pcmu, Law::Pcma];
    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n\
        m=image 4000 udptl t38\r\nm=audio 5000 RTP/AVP 9 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n";

    fn local() -> Local {
        Local {
            rtp: ([127, 0, 0, 1], 6000).into(),
            session: 5,
            version: 1,
        }
    }

    #[test]
    fn the_callers_order_decides_and_other_streams_are_refused() {
        let offer = Description::parse(OFFER).expect("has streams");
        let agreed = offer.agree(BOTH).expect("G.711 is there");
        assert_eq!(agreed.law, Law::Pcma);
        assert_eq!(agreed.telephone_event, Some(96));
        assert_eq!(agreed.remote, "127.0.0.9:5000".parse().ok());
        let answer = offer.answer(BOTH, &agreed, &local());
        assert!(
            answer.contains("m=image 0 udptl t38\r\nm=audio 6000 RTP/AVP 8 96\r\n"),
            "{answer}"
        );
        assert_eq!(
            offer.agree(&[Law::Pcmu]).map(|agreed| agreed.law),
            Some(Law::Pcmu)
        );
        assert!(offer.agree(&[]).is_none());
    }

    #[test]
    fn directions_are_mirrored() {
        for (theirs, ours) in [
            ("sendonly", Direction::ReceiveOnly),
            ("recvonly", Direction::SendOnly),
            ("inactive", Direction::Inactive),
            ("sendrecv", Direction::Both),
        ] {
            let offer = Description::parse(&format!("{OFFER}a={theirs}\r\n")).expect("has streams");
            let agreed = offer.agree(BOTH).expect("G.711 is there");
            assert_eq!(agreed.direction, ours);
            let answer = offer.answer(BOTH, &agreed, &local());
            assert!(
                answer.ends_with(&format!("a={}\r\n", ours.name())),
                "{answer}"
            );
        }
    }

    #[test]
    fn an_old_hold_is_not_sent_to() {
        let held = OFFER.replace("127.0.0.9", "0.0.0.0");
        let agreed = Description::parse(&held)
            .and_then(|offer| offer.agree(BOTH))
            .expect("audio");
        assert_eq!(
            (agreed.remote, agreed.direction),
            (None, Direction::ReceiveOnly)
        );
    }
}
