//! Offer and answer (RFC 3264) of a leg that speaks G.711 or Opus over RTP/AVP, or over RTP/SAVP with
//! keys in the body.
//!
//! One [`Negotiation`] lives as long as its dialog. It keeps the layout of the body (a section once
//! there stays there, refused ones with port 0), raises the version of `o=` only when the body
//! changed, and remembers what was agreed last: an offer that is refused leaves it standing.

use std::net::{IpAddr, SocketAddr};

use super::crypto::{Crypto, Secured, Security};
use super::description::{Attribute, Origin};
use super::{Codec, Description, Direction, Media, SdpError};

/// The payload types we offer for telephone-event, by clock; an answer keeps the offerer's.
const TELEPHONE_EVENT_PT: u8 = 101;
const TELEPHONE_EVENT_48K_PT: u8 = 110;
const PTIME_MS_DEFAULT: u32 = 20;
/// What a peer may ask for; outside of it we stay at 20.
const PTIME_MS: std::ops::RangeInclusive<u32> = 10..=60;

const AVP: &str = "RTP/AVP";
const AVPF: &str = "RTP/AVPF";
const SAVP: &str = "RTP/SAVP";
const SAVPF: &str = "RTP/SAVPF";

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
    #[error("no usable crypto line")]
    NoCrypto,
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
    security: Security,
    /// What the last offer or answer agreed on, when the media is encrypted.
    secured: Option<Secured>,
    /// Where the far side hears RTCP (RFC 3605).
    remote_rtcp: Option<SocketAddr>,
    /// The protocol of our section, and its crypto lines.
    protocol: String,
    cryptos: Vec<Crypto>,
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
            security: Security::Plain,
            secured: None,
            remote_rtcp: None,
            protocol: AVP.to_owned(),
            cryptos: Vec::new(),
        }
    }

    /// Whether and with which keys media is encrypted.
    #[must_use]
    pub fn with_security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// The codecs that may be used from now on, best first.
    pub fn allow(&mut self, codecs: Vec<Codec>) {
        self.local.codecs = codecs;
    }

    /// Our media is at another port from the next offer or answer on.
    pub fn move_to(&mut self, port: u16) {
        self.local.port = port;
    }

    /// The keys of both sides, when the media is encrypted.
    #[must_use]
    pub fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    /// Where our RTCP goes: `a=rtcp`, or the port after RTP's.
    #[must_use]
    pub fn remote_rtcp(&self) -> Option<SocketAddr> {
        self.remote_rtcp
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
        // What is encrypted stays so (RFC 4568 7.1.4: with the keys it has).
        let encrypt = matches!(self.security, Security::Required(_)) || self.secured.is_some();
        self.protocol = if encrypt { SAVP } else { AVP }.to_owned();
        self.cryptos = if encrypt {
            let tags = 1..;
            let keys = self.security.keys().iter().cloned();
            tags.zip(keys)
                .map(|(tag, key)| Crypto { tag, key })
                .collect()
        } else {
            Vec::new()
        };
        let mut codecs: Vec<(u8, Codec)> = Vec::new();
        for codec in &self.local.codecs {
            let known = self.agreed.filter(|agreed| agreed.codec == *codec);
            codecs.push((
                known.map_or(codec.payload_type(), |agreed| agreed.payload_type),
                *codec,
            ));
        }
        let events = self.offered_events();
        self.write(&codecs, &events, direction)
    }

    /// One event format for each clock of the codecs (RFC 4733 2.1): number and clock.
    fn offered_events(&self) -> Vec<(u8, u32)> {
        let mut events: Vec<(u8, u32)> = Vec::new();
        for codec in &self.local.codecs {
            let clock_hz = codec.clock_hz();
            if !self.local.telephone_event || events.iter().any(|(_, known)| *known == clock_hz) {
                continue;
            }
            // Numbers of a dialog do not change their meaning (RFC 3264 8.3.2).
            let agreed = self
                .agreed
                .filter(|agreed| agreed.codec.clock_hz() == clock_hz);
            let usual = match codec {
                Codec::Opus => TELEPHONE_EVENT_48K_PT,
                Codec::Pcmu | Codec::Pcma => TELEPHONE_EVENT_PT,
            };
            let number = agreed.and_then(|agreed| agreed.telephone_event);
            events.push((number.unwrap_or(usual), clock_hz));
        }
        events
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
        let secured = self.read_crypto_answer(media)?;
        self.remote_rtcp = Some(rtcp_of(&description, media, agreed.remote));
        self.secured = secured;
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
        let index = self.audio_in(&description).ok_or(Refusal::NoAudio)?;
        let media = &description.media[index];
        let crypto = self.choose_crypto(media)?;
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
        self.remote_rtcp = Some(rtcp_of(&description, media, agreed.remote));
        self.protocol.clone_from(&media.protocol);
        (self.cryptos, self.secured) = match crypto {
            Some((ours, secured)) => (vec![ours], Some(secured)),
            None => (Vec::new(), None),
        };
        self.agreed = Some(agreed);
        let events = agreed.telephone_event.map(|it| (it, codec.clock_hz()));
        let body = self.write(
            &[(agreed.payload_type, codec)],
            events.as_slice(),
            agreed.direction,
        );
        Ok((body, agreed))
    }

    /// The section we answer: encrypted where we can and may, else plain where we may.
    fn audio_in(&self, description: &Description) -> Option<usize> {
        let secure = |media: &Media| speaks(media, &[SAVP, SAVPF]);
        let plain = |media: &Media| speaks(media, &[AVP, AVPF]);
        let sections = &description.media;
        match &self.security {
            Security::Plain => sections.iter().position(plain),
            Security::Accepted(_) => {
                let secured = sections.iter().position(secure);
                secured.or_else(|| sections.iter().position(plain))
            }
            Security::Required(_) => sections.iter().position(secure),
        }
    }

    /// RFC 4568 5.1.2: the first line of the offer whose suite we have a key for; our line bears
    /// its tag.
    fn choose_crypto(&self, media: &Media) -> Result<Option<(Crypto, Secured)>, Refusal> {
        if !speaks(media, &[SAVP, SAVPF]) {
            return Ok(None);
        }
        let keys = self.security.keys();
        let offered = media.attributes_named("crypto").filter_map(Crypto::parse);
        let mut usable = offered.filter_map(|offered| {
            let ours = keys.iter().find(|key| key.suite == offered.key.suite)?;
            let secured = Secured {
                ours: ours.clone(),
                theirs: offered.key,
            };
            let crypto = Crypto {
                tag: offered.tag,
                key: ours.clone(),
            };
            Some((crypto, secured))
        });
        usable.next().map(Some).ok_or(Refusal::NoCrypto)
    }

    /// RFC 4568 5.1.3: one line, with tag and suite of one of ours.
    fn read_crypto_answer(&self, media: &Media) -> Result<Option<Secured>, Refusal> {
        if self.cryptos.is_empty() {
            return if speaks(media, &[AVP, AVPF]) {
                Ok(None)
            } else {
                Err(Refusal::NoCrypto)
            };
        }
        let mut lines = media.attributes_named("crypto").filter_map(Crypto::parse);
        let answer = lines
            .next()
            .filter(|_| speaks(media, &[SAVP, SAVPF]))
            .ok_or(Refusal::NoCrypto)?;
        let ours = self
            .cryptos
            .iter()
            .find(|ours| ours.tag == answer.tag && ours.key.suite == answer.key.suite);
        let ours = ours.ok_or(Refusal::NoCrypto)?;
        Ok(Some(Secured {
            ours: ours.key.clone(),
            theirs: answer.key,
        }))
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
        let events = media.payload_type_of("telephone-event", codec.clock_hz());
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
        events: &[(u8, u32)],
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

    fn audio(&self, codecs: &[(u8, Codec)], events: &[(u8, u32)], direction: Direction) -> Media {
        let mut formats = Vec::new();
        let mut attributes = Vec::new();
        for (number, codec) in codecs {
            formats.push(number.to_string());
            attributes.push(Attribute::new(
                "rtpmap",
                format!("{number} {}", codec.encoding()),
            ));
            if let Some(parameters) = codec.parameters() {
                attributes.push(Attribute::new("fmtp", format!("{number} {parameters}")));
            }
        }
        for (number, clock_hz) in events {
            formats.push(number.to_string());
            attributes.push(Attribute::new(
                "rtpmap",
                format!("{number} telephone-event/{clock_hz}"),
            ));
            attributes.push(Attribute::new("fmtp", format!("{number} 0-16")));
        }
        for crypto in &self.cryptos {
            attributes.push(Attribute::new("crypto", crypto.value()));
        }
        attributes.push(Attribute::new("ptime", PTIME_MS_DEFAULT.to_string()));
        attributes.push(Attribute::flag(direction.name()));
        Media {
            kind: "audio".into(),
            port: self.local.port,
            protocol: self.protocol.clone(),
            formats,
            connection: None,
            attributes,
        }
    }
}

fn payload_type(media: &Media, codec: Codec) -> Option<u8> {
    media.payload_type_of(codec.name(), codec.clock_hz())
}

fn speaks(media: &Media, protocols: &[&str]) -> bool {
    let spoken = protocols
        .iter()
        .any(|name| media.protocol.eq_ignore_ascii_case(name));
    media.kind == "audio" && media.port != 0 && spoken
}

/// RFC 3605 2.1: a port, and an address of its own perhaps.
fn rtcp_of(description: &Description, media: &Media, rtp: SocketAddr) -> SocketAddr {
    let usual = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
    let Some(value) = description.attribute_of(media, "rtcp") else {
        return usual;
    };
    let mut words = value.split_ascii_whitespace();
    let port = words.next().and_then(|port| port.parse().ok());
    let address = words.nth(2).and_then(|address| address.parse().ok());
    SocketAddr::new(address.unwrap_or(usual.ip()), port.unwrap_or(usual.port()))
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
