//! Offer and answer (RFC 3264) of a leg that speaks G.711 over RTP/AVP.
//!
//! One [`Negotiation`] lives as long as its dialog. It keeps the layout of the body (a section once
//! there stays there, refused ones with port 0), raises the version of `o=` only when the body
//! changed, and remembers what was agreed last: an offer that is refused leaves it standing.

use std::net::{IpAddr, SocketAddr};

use super::description::{Attribute, Origin};
use super::{Codec, Description, Direction, Media, SdpError};

/// The payload type we offer for telephone-event; an answer keeps the offerer's.
const TELEPHONE_EVENT_PT: u8 = 101;
const PTIME_MS_DEFAULT: u32 = 20;
/// What a peer may ask for; outside of it we stay at 20.
const PTIME_MS: std::ops::RangeInclusive<u32> = 10..=60;

/// Our side of the leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address the far side should send to.
    pub address: IpAddr,
    /// Our RTP port; RTCP is the next one.
    pub port: u16,
    /// In order of preference, not empty.
    pub codecs: Vec<Codec>,
    /// Offer and accept RFC 4733 digits.
    pub telephone_event: bool,
}

/// What both sides hold to, told from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Where our RTP goes.
    pub remote: SocketAddr,
    pub codec: Codec,
    /// The number to send the codec with.
    pub payload_type: u8,
    /// The number of RFC 4733 events, if agreed.
    pub telephone_event: Option<u8>,
    /// Whether we send and receive. `Agreed::held` tells hold from it.
    pub direction: Direction,
    /// Milliseconds of audio a packet that the far side wants.
    pub ptime_ms: u32,
}

impl Agreed {
    /// The far side does not want to hear us.
    #[must_use]
    pub fn held(&self) -> bool {
        !self.direction.send()
    }
}

/// Why a body was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("unreadable body: {0}")]
    Unreadable(#[from] SdpError),
    #[error("no audio over RTP/AVP in the body")]
    NoAudio,
    #[error("the far side refused the audio")]
    AudioRefused,
    #[error("no codec in common")]
    NoCommonCodec,
    #[error("audio without an address")]
    NoAddress,
    #[error("an answer without an offer")]
    NothingOffered,
}

impl Refusal {
    /// The SIP status that says it (RFC 3261 21.4.1, 21.4.26).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Unreadable(_) => 400,
            _ => 488,
        }
    }
}

/// The place of one section in the body, the same in every body of the dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Section {
    Ours,
    /// Something we do not do (video, T.38, SRTP): port 0 for ever.
    Refused(Media),
}

/// The offers and answers of one dialog.
#[derive(Clone, Debug)]
pub struct Negotiation {
    local: Local,
    session_id: u64,
    version: u64,
    /// The last body without its origin, to see whether it changed.
    last_body: Option<Description>,
    sections: Vec<Section>,
    offered: bool,
    agreed: Option<Agreed>,
}

impl Negotiation {
    /// `session_id` names the session in `o=`: unique for this house, from a seeded generator.
    #[must_use]
    pub fn new(local: Local, session_id: u64) -> Self {
        Negotiation {
            local,
            session_id,
            version: session_id,
            last_body: None,
            sections: Vec::new(),
            offered: false,
            agreed: None,
        }
    }

    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// An offer: the first, a hold (`SendOnly`, `Inactive`), a resume, or the reply to an INVITE
    /// without a body.
    pub fn offer(&mut self, direction: Direction) -> String {
        if !self.sections.contains(&Section::Ours) {
            self.sections.push(Section::Ours);
        }
        self.offered = true;
        let events = self.local.telephone_event.then_some(
            // Numbers of a dialog do not change their meaning (RFC 3264 8.3.2).
            self.agreed
                .and_then(|agreed| agreed.telephone_event)
                .unwrap_or(TELEPHONE_EVENT_PT),
        );
        let mut codecs: Vec<(u8, Codec)> = Vec::new();
        for codec in &self.local.codecs {
            let known = self.agreed.filter(|agreed| agreed.codec == *codec);
            codecs.push((
                known.map_or(codec.payload_type(), |agreed| agreed.payload_type),
                *codec,
            ));
        }
        self.write(&codecs, events, direction)
    }

    /// The answer to our offer, from a 183, a 200, an ACK. May come several times for one offer
    /// (early media of several forks): the last one holds.
    ///
    /// # Errors
    /// A [`Refusal`]; what was agreed before still holds.
    pub fn read_answer(&mut self, body: &str) -> Result<Agreed, Refusal> {
        if !self.offered {
            return Err(Refusal::NothingOffered);
        }
        let description = Description::parse(body)?;
        let index = self
            .sections
            .iter()
            .position(|section| *section == Section::Ours);
        // `offer` put it there.
        let media = index
            .and_then(|index| description.media.get(index))
            .ok_or(Refusal::NoAudio)?;
        if media.kind != "audio" {
            return Err(Refusal::NoAudio);
        }
        if media.port == 0 {
            return Err(Refusal::AudioRefused);
        }
        // The answerer's first codec that we offered is the one it means.
        let by_their_order = |codec: &Codec| {
            let number = payload_type(media, *codec);
            media
                .formats
                .iter()
                .position(|format| format.parse().ok() == number)
        };
        let codec = self
            .local
            .codecs
            .iter()
            .copied()
            .filter(|codec| payload_type(media, *codec).is_some());
        let codec = codec
            .min_by_key(by_their_order)
            .ok_or(Refusal::NoCommonCodec)?;
        let agreed = self.agree(&description, media, codec, Direction::SendRecv)?;
        self.agreed = Some(agreed);
        Ok(agreed)
    }

    /// Answers an offer: an incoming call, a hold, a resume, a new address. `want` is what we would
    /// do if the far side allows it, told from our side.
    ///
    /// # Errors
    /// A [`Refusal`] with the status to refuse the request with; what was agreed before holds on.
    pub fn answer(&mut self, body: &str, want: Direction) -> Result<(String, Agreed), Refusal> {
        let description = Description::parse(body)?;
        let index = description
            .media
            .iter()
            .position(is_plain_audio)
            .ok_or(Refusal::NoAudio)?;
        let media = &description.media[index];
        let speaks = |codec: &Codec| payload_type(media, *codec).is_some();
        let current = self
            .agreed
            .map(|agreed| agreed.codec)
            .filter(|codec| self.local.codecs.contains(codec));
        let codec = current
            .filter(speaks)
            .or_else(|| self.local.codecs.iter().copied().find(speaks))
            .ok_or(Refusal::NoCommonCodec)?;
        let agreed = self.agree(&description, media, codec, want)?;
        self.sections = description
            .media
            .iter()
            .map(|media| Section::Refused(refused(media)))
            .collect();
        self.sections[index] = Section::Ours;
        self.offered = false;
        self.agreed = Some(agreed);
        let body = self.write(
            &[(agreed.payload_type, codec)],
            agreed.telephone_event,
            agreed.direction,
        );
        Ok((body, agreed))
    }

    fn agree(
        &self,
        description: &Description,
        media: &Media,
        codec: Codec,
        want: Direction,
    ) -> Result<Agreed, Refusal> {
        let address = description.address_of(media).ok_or(Refusal::NoAddress)?;
        let mut theirs = description.direction_of(media);
        let mut remote = SocketAddr::new(address, media.port);
        // RFC 2543's hold: nothing can be sent to the unspecified address.
        if address.is_unspecified() {
            theirs = theirs.and(Direction::SendOnly);
            remote = self.agreed.map_or(remote, |agreed| agreed.remote);
        }
        let events = media.payload_type_of("telephone-event", 8000);
        Ok(Agreed {
            remote,
            codec,
            payload_type: payload_type(media, codec).ok_or(Refusal::NoCommonCodec)?,
            telephone_event: events.filter(|_| self.local.telephone_event),
            direction: theirs.reversed().and(want),
            ptime_ms: ptime_ms(description, media),
        })
    }

    fn write(
        &mut self,
        codecs: &[(u8, Codec)],
        events: Option<u8>,
        direction: Direction,
    ) -> String {
        let ours = self.audio(codecs, events, direction);
        let media = self.sections.iter().map(|section| match section {
            Section::Ours => ours.clone(),
            Section::Refused(media) => media.clone(),
        });
        let mut description = Description {
            origin: Origin::default(),
            name: String::new(),
            connection: Some(self.local.address.to_string()),
            attributes: Vec::new(),
            media: media.collect(),
        };
        if self.last_body.as_ref() != Some(&description) {
            if self.last_body.is_some() {
                self.version += 1;
            }
            self.last_body = Some(description.clone());
        }
        description.origin = Origin {
            username: "foredial".into(),
            session_id: self.session_id.to_string(),
            version: self.version,
            address: self.local.address.to_string(),
        };
        description.to_string()
    }

    fn audio(&self, codecs: &[(u8, Codec)], events: Option<u8>, direction: Direction) -> Media {
        let mut formats = Vec::new();
        let mut attributes = Vec::new();
        for (number, codec) in codecs {
            formats.push(number.to_string());
            attributes.push(Attribute::new(
                "rtpmap",
                format!("{number} {}/8000", codec.name()),
            ));
        }
        if let Some(number) = events {
            formats.push(number.to_string());
            attributes.push(Attribute::new(
                "rtpmap",
                format!("{number} telephone-event/8000"),
            ));
            attributes.push(Attribute::new("fmtp", format!("{number} 0-16")));
        }
        attributes.push(Attribute::new("ptime", PTIME_MS_DEFAULT.to_string()));
        attributes.push(Attribute::flag(direction.name()));
        Media {
            kind: "audio".into(),
            port: self.local.port,
            protocol: "RTP/AVP".into(),
            formats,
            connection: None,
            attributes,
        }
    }
}

fn payload_type(media: &Media, codec: Codec) -> Option<u8> {
    media.payload_type_of(codec.name(), 8000)
}

fn is_plain_audio(media: &Media) -> bool {
    let plain = ["RTP/AVP", "RTP/AVPF"]
        .iter()
        .any(|name| media.protocol.eq_ignore_ascii_case(name));
    media.kind == "audio" && media.port != 0 && plain
}

/// RFC 3264 6: port 0, and at least one format is listed though none is meant.
fn refused(media: &Media) -> Media {
    Media {
        port: 0,
        connection: None,
        attributes: Vec::new(),
        ..media.clone()
    }
}

fn ptime_ms(description: &Description, media: &Media) -> u32 {
    let number = |name| description.attribute_of(media, name)?.parse::<u32>().ok();
    let wanted = number("ptime").unwrap_or(PTIME_MS_DEFAULT);
    let longest = number("maxptime").unwrap_or(u32::MAX);
    let wanted = wanted.min(longest);
    if PTIME_MS.contains(&wanted) && wanted % 10 == 0 {
        wanted
    } else {
        PTIME_MS_DEFAULT
    }
}
