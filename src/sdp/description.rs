//! A session description (RFC 8866), read as leniently as carriers write and written exactly.
//!
//! Kept: origin, name, connections, attributes, media sections. Times, bandwidths and lines this
//! house has no use for are read over and not written again.

use std::fmt;
use std::net::IpAddr;

use super::Direction;

/// Bytes of a body; a browser's offer with video is about 8 KiB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Media sections of a body.
pub const MEDIA_MAX: usize = 32;
/// Formats of one section: there are no more payload types (RFC 3551 6).
pub const FORMATS_MAX: usize = 128;
/// Digits of a payload type.
const RTPMAP_NUMBER_CHARS_MAX: usize = 3;
/// Attributes of the session or of one media section.
pub const ATTRIBUTES_MAX: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("no v= line: not a session description")]
    NotSdp,
    #[error("more than {0}")]
    TooMuch(&'static str),
    #[error("unreadable line {0:?}")]
    BadLine(String),
}

/// One `a=` line: `a=name` or `a=name:value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub value: Option<String>,
}

impl Attribute {
    #[must_use]
    pub fn flag(name: &str) -> Self {
        Attribute {
            name: name.to_owned(),
            value: None,
        }
    }

    #[must_use]
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Attribute {
            name: name.to_owned(),
            value: Some(value.into()),
        }
    }
}

/// `o=`: who made the body and which version of it this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub username: String,
    pub session_id: String,
    pub version: u64,
    pub address: String,
}

impl Default for Origin {
    fn default() -> Self {
        Origin {
            username: "-".into(),
            session_id: "0".into(),
            version: 0,
            address: "0.0.0.0".into(),
        }
    }
}

/// One `m=` section.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Media {
    /// audio, video, image, application
    pub kind: String,
    /// 0 refuses the section.
    pub port: u16,
    /// RTP/AVP, UDP/TLS/RTP/SAVPF, udptl
    pub protocol: String,
    /// Payload types in order of preference, or whatever the protocol lists.
    pub formats: Vec<String>,
    /// The section's own `c=` address: a literal or a host name.
    pub connection: Option<String>,
    pub attributes: Vec<Attribute>,
}

impl Media {
    /// The value of the first attribute of this name; `Some("")` for a bare flag.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        value_of(&self.attributes, name)
    }

    /// Every value of an attribute that may repeat.
    pub fn attributes_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes
            .iter()
            .filter(move |attribute| attribute.name.eq_ignore_ascii_case(name))
            .map(|attribute| attribute.value.as_deref().unwrap_or(""))
    }

    /// `encoding/clock` of a payload type: from its rtpmap, else from the static table of RFC 3551
    /// as far as telephones use it.
    #[must_use]
    pub fn encoding_of(&self, payload_type: u8) -> Option<String> {
        let mapped = self.attributes_named("rtpmap").find_map(|value| {
            // Three digits at most, so no further than that: values may be long, and many.
            let mut start = value.char_indices().take(RTPMAP_NUMBER_CHARS_MAX + 1);
            let (at, _) = start.find(|(_, c)| c.is_whitespace())?;
            let (number, encoding) = value.split_at(at);
            (number.parse() == Ok(payload_type)).then(|| encoding.trim().to_owned())
        });
        mapped.or_else(|| {
            let encoding = match payload_type {
                0 => "PCMU/8000",
                8 => "PCMA/8000",
                9 => "G722/8000",
                18 => "G729/8000",
                _ => return None,
            };
            Some(encoding.to_owned())
        })
    }

    /// The first listed payload type with this encoding name and clock rate.
    #[must_use]
    pub fn payload_type_of(&self, name: &str, clock_hz: u32) -> Option<u8> {
        let numbers = self
            .formats
            .iter()
            .filter_map(|format| format.parse::<u8>().ok());
        numbers.filter(|number| *number < 128).find(|number| {
            let Some(encoding) = self.encoding_of(*number) else {
                return false;
            };
            let mut parts = encoding.split('/');
            parts
                .next()
                .is_some_and(|part| part.eq_ignore_ascii_case(name))
                && parts.next().and_then(|part| part.parse().ok()) == Some(clock_hz)
        })
    }
}

/// A whole body.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Description {
    pub origin: Origin,
    /// `s=`; written as `-` when empty, as RFC 8866 5.3 asks.
    pub name: String,
    /// The session's `c=` address, for sections without their own.
    pub connection: Option<String>,
    pub attributes: Vec<Attribute>,
    pub media: Vec<Media>,
}

impl Description {
    /// Reads a body. Line ends may be LF or CRLF, order is not insisted on, unknown lines are
    /// passed over.
    ///
    /// # Errors
    /// No `v=` at all, a limit exceeded, or an `m=` line without a port.
    pub fn parse(body: &str) -> Result<Self, SdpError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(SdpError::TooMuch("64 KiB"));
        }
        let mut description = Description::default();
        let mut seen_version = false;
        for line in body.split(['\r', '\n']) {
            let Some((kind, value)) = line.trim().split_once('=') else {
                continue;
            };
            let value = value.trim();
            match kind.trim_end() {
                "v" => seen_version = true,
                "o" => description.origin = origin_of(value),
                "s" if description.media.is_empty() => description.name = name_of(value),
                "c" => description.read_connection(value),
                "m" => description.read_media(value)?,
                "a" => description.read_attribute(value)?,
                _ => {}
            }
        }
        if seen_version {
            Ok(description)
        } else {
            Err(SdpError::NotSdp)
        }
    }

    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        value_of(&self.attributes, name)
    }

    /// A media attribute, or else the session's.
    #[must_use]
    pub fn attribute_of<'a>(&'a self, media: &'a Media, name: &str) -> Option<&'a str> {
        media.attribute(name).or_else(|| self.attribute(name))
    }

    /// Where this section's media goes. None for a host name or no `c=` at all: RTP is not sent to
    /// names here.
    #[must_use]
    pub fn address_of(&self, media: &Media) -> Option<IpAddr> {
        media
            .connection
            .as_ref()
            .or(self.connection.as_ref())?
            .parse()
            .ok()
    }

    /// The direction as the writer of the body sees it; `sendrecv` if it does not say.
    #[must_use]
    pub fn direction_of(&self, media: &Media) -> Direction {
        let named = |attributes: &[Attribute]| {
            attributes
                .iter()
                .filter(|attribute| attribute.value.is_none())
                .find_map(|attribute| Direction::named(&attribute.name))
        };
        named(&media.attributes)
            .or_else(|| named(&self.attributes))
            .unwrap_or(Direction::SendRecv)
    }

    fn read_connection(&mut self, value: &str) {
        // c=IN IP4 203.0.113.1/127 : the time to live of multicast is dropped.
        let Some(address) = value.split_whitespace().nth(2) else {
            return;
        };
        let address = address.split('/').next().unwrap_or(address);
        if address.is_empty() {
            return;
        }
        let place = match self.media.last_mut() {
            Some(media) => &mut media.connection,
            None => &mut self.connection,
        };
        *place = Some(address.to_owned());
    }

    fn read_media(&mut self, value: &str) -> Result<(), SdpError> {
        if self.media.len() == MEDIA_MAX {
            return Err(SdpError::TooMuch("32 media sections"));
        }
        let bad = || SdpError::BadLine(format!("m={}", value.chars().take(80).collect::<String>()));
        let mut words = value.split_whitespace();
        let kind = words.next().ok_or_else(bad)?.to_ascii_lowercase();
        let port = words.next().ok_or_else(bad)?;
        let port = port
            .split('/')
            .next()
            .unwrap_or(port)
            .parse()
            .map_err(|_| bad())?;
        let protocol = words.next().ok_or_else(bad)?.to_owned();
        let formats: Vec<String> = words.take(FORMATS_MAX + 1).map(str::to_owned).collect();
        if formats.len() > FORMATS_MAX {
            return Err(SdpError::TooMuch("128 formats in a media section"));
        }
        self.media.push(Media {
            kind,
            port,
            protocol,
            formats,
            ..Media::default()
        });
        Ok(())
    }

    fn read_attribute(&mut self, value: &str) -> Result<(), SdpError> {
        let attributes = match self.media.last_mut() {
            Some(media) => &mut media.attributes,
            None => &mut self.attributes,
        };
        if attributes.len() == ATTRIBUTES_MAX {
            return Err(SdpError::TooMuch("512 attributes"));
        }
        let attribute = match value.split_once(':') {
            Some((name, value)) => Attribute::new(name.trim(), value.trim()),
            None => Attribute::flag(value),
        };
        if !attribute.name.is_empty() {
            attributes.push(attribute);
        }
        Ok(())
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin {
            username,
            session_id,
            version,
            address,
        } = &self.origin;
        let name = if self.name.is_empty() {
            "-"
        } else {
            &self.name
        };
        write!(
            f,
            "v=0\r\no={username} {session_id} {version} IN {} {address}\r\n",
            family(address)
        )?;
        write!(f, "s={name}\r\n")?;
        write_connection(f, self.connection.as_deref())?;
        f.write_str("t=0 0\r\n")?;
        write_attributes(f, &self.attributes)?;
        for media in &self.media {
            write!(f, "m={} {} {}", media.kind, media.port, media.protocol)?;
            for format in &media.formats {
                write!(f, " {format}")?;
            }
            f.write_str("\r\n")?;
            write_connection(f, media.connection.as_deref())?;
            write_attributes(f, &media.attributes)?;
        }
        Ok(())
    }
}

fn write_connection(f: &mut fmt::Formatter<'_>, address: Option<&str>) -> fmt::Result {
    match address {
        Some(address) => write!(f, "c=IN {} {address}\r\n", family(address)),
        None => Ok(()),
    }
}

fn write_attributes(f: &mut fmt::Formatter<'_>, attributes: &[Attribute]) -> fmt::Result {
    for Attribute { name, value } in attributes {
        match value {
            Some(value) => write!(f, "a={name}:{value}\r\n")?,
            None => write!(f, "a={name}\r\n")?,
        }
    }
    Ok(())
}

fn family(address: &str) -> &'static str {
    if address.contains(':') { "IP6" } else { "IP4" }
}

fn name_of(value: &str) -> String {
    if value == "-" {
        String::new()
    } else {
        value.to_owned()
    }
}

fn value_of<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
        .map(|attribute| attribute.value.as_deref().unwrap_or(""))
}

/// An unreadable origin is no reason to refuse a call: what is missing is filled in.
fn origin_of(value: &str) -> Origin {
    let words: Vec<&str> = value.split_whitespace().collect();
    let word = |index: usize| words.get(index).map(|word| (*word).to_owned());
    let otherwise = Origin::default();
    Origin {
        username: word(0).unwrap_or(otherwise.username),
        session_id: word(1).unwrap_or(otherwise.session_id),
        version: word(2)
            .and_then(|version| version.parse().ok())
            .unwrap_or(0),
        address: word(5).unwrap_or(otherwise.address),
    }
}
