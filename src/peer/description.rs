//! A browser's offer (RFC 8829, RFC 5763, RFC 8839, RFC 8843) as far as one G.711 leg needs it, and
//! the answer to it.

use std::fmt;
use std::net::SocketAddr;

use super::PeerError;
use crate::media::g711::Law;
use crate::sdp::description::{Attribute, Origin};
use crate::sdp::{Description, Direction, Media};

const ICE_UFRAG_CHARS: std::ops::RangeInclusive<usize> = 4..=256;
const ICE_PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 22..=256;

/// A certificate's SHA-256 (RFC 8122).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) Vec<u8>);

impl Fingerprint {
    fn parse(value: &str) -> Option<Self> {
        let (algorithm, hex) = value.split_once(char::is_whitespace)?;
        if !algorithm.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        let bytes = hex
            .trim()
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16));
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().ok()?;
        (bytes.len() == 32).then_some(Fingerprint(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha-256 ")?;
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// Who sends the ClientHello, told from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Active,
    Passive,
}

/// What the browser offered, reduced to the one audio section we take.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    /// Every section in its place, to be refused but for `index`.
    sections: Vec<Media>,
    index: usize,
    mid: Option<String>,
    /// The section is in a BUNDLE group.
    bundled: bool,
    pub(super) law: Law,
    pub(super) payload_type: u8,
    /// Told from our side.
    pub(super) direction: Direction,
    pub(super) ice_ufrag: String,
    pub(super) ice_password: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) role: Role,
}

/// Our half of the answer.
pub(super) struct Ours<'a> {
    pub(super) session_id: u64,
    pub(super) version: u64,
    pub(super) role: Role,
    pub(super) ice_ufrag: &'a str,
    pub(super) ice_password: &'a str,
    pub(super) fingerprint: &'a Fingerprint,
    /// Not empty.
    pub(super) candidates: &'a [SocketAddr],
    pub(super) ssrc: u32,
}

impl Offer {
    pub(super) fn read(sdp: &str, preferred: Law) -> Result<Self, PeerError> {
        let description = Description::parse(sdp)?;
        let index = description
            .media
            .iter()
            .position(is_secure_audio)
            .ok_or(PeerError::NoAudio)?;
        let media = &description.media[index];
        let (law, payload_type) = law_of(media, preferred).ok_or(PeerError::NoCommonCodec)?;
        if media.attribute("rtcp-mux").is_none() {
            return Err(PeerError::Lacks("rtcp-mux"));
        }
        let text = |name, chars: std::ops::RangeInclusive<usize>| {
            let value = description.attribute_of(media, name)?;
            chars.contains(&value.len()).then(|| value.to_owned())
        };
        let ufrag = text("ice-ufrag", ICE_UFRAG_CHARS).ok_or(PeerError::Lacks("ice-ufrag"))?;
        let password = text("ice-pwd", ICE_PASSWORD_CHARS).ok_or(PeerError::Lacks("ice-pwd"))?;
        let mid = media.attribute("mid").map(str::to_owned);
        Ok(Offer {
            index,
            bundled: mid
                .as_deref()
                .is_some_and(|mid| is_bundled(&description, mid)),
            mid,
            law,
            payload_type,
            direction: description.direction_of(media).reversed(),
            ice_ufrag: ufrag,
            ice_password: password,
            fingerprint: fingerprint_of(&description, media)
                .ok_or(PeerError::Lacks("a sha-256 fingerprint"))?,
            role: role_for(&description, media)?,
            sections: description.media,
        })
    }

    pub(super) fn answer(&self, ours: &Ours<'_>) -> String {
        let first = ours.candidates[0];
        let media = self.sections.iter().enumerate().map(|(index, offered)| {
            if index == self.index {
                self.audio(offered, ours)
            } else {
                refused(offered)
            }
        });
        let mut attributes = vec![Attribute::flag("ice-lite")];
        if let Some(mid) = self.mid.as_ref().filter(|_| self.bundled) {
            attributes.push(Attribute::new("group", format!("BUNDLE {mid}")));
        }
        attributes.push(Attribute::new("msid-semantic", "WMS *"));
        let description = Description {
            origin: Origin {
                username: "foredial".into(),
                session_id: ours.session_id.to_string(),
                version: ours.version,
                address: first.ip().to_string(),
            },
            name: String::new(),
            connection: Some(first.ip().to_string()),
            attributes,
            media: media.collect(),
        };
        description.to_string()
    }

    fn audio(&self, offered: &Media, ours: &Ours<'_>) -> Media {
        let name = match self.law {
            Law::Mu => "PCMU",
            Law::A => "PCMA",
        };
        let number = self.payload_type;
        let mut attributes = vec![Attribute::flag("rtcp-mux")];
        if let Some(mid) = &self.mid {
            attributes.push(Attribute::new("mid", mid));
        }
        attributes.push(Attribute::flag(self.direction.name()));
        attributes.push(Attribute::new("rtpmap", format!("{number} {name}/8000")));
        attributes.push(Attribute::new("ptime", "20"));
        attributes.push(Attribute::new(
            "setup",
            match ours.role {
                Role::Active => "active",
                Role::Passive => "passive",
            },
        ));
        attributes.push(Attribute::new("fingerprint", ours.fingerprint.to_string()));
        attributes.push(Attribute::new("ice-ufrag", ours.ice_ufrag));
        attributes.push(Attribute::new("ice-pwd", ours.ice_password));
        for (index, address) in ours.candidates.iter().enumerate() {
            attributes.push(Attribute::new("candidate", candidate(index, *address)));
        }
        attributes.push(Attribute::flag("end-of-candidates"));
        if self.direction.send() {
            attributes.push(Attribute::new("msid", "foredial audio"));
            attributes.push(Attribute::new(
                "ssrc",
                format!("{} cname:foredial", ours.ssrc),
            ));
        }
        Media {
            kind: "audio".into(),
            port: ours.candidates[0].port(),
            protocol: offered.protocol.clone(),
            formats: vec![number.to_string()],
            connection: None,
            attributes,
        }
    }
}

/// RFC 8839 5.1; priority after RFC 8445 5.1.2.1, the first address preferred.
fn candidate(index: usize, address: SocketAddr) -> String {
    let preference = 65_535 - u32::try_from(index).unwrap_or(0).min(65_535);
    let priority = (126 << 24) | (preference << 8) | 255;
    let foundation = index + 1;
    format!(
        "{foundation} 1 udp {priority} {} {} typ host",
        address.ip(),
        address.port()
    )
}

fn is_secure_audio(media: &Media) -> bool {
    media.kind == "audio"
        && media.port != 0
        && media.protocol.to_ascii_uppercase().contains("RTP/SAVP")
}

fn law_of(media: &Media, preferred: Law) -> Option<(Law, u8)> {
    let other = match preferred {
        Law::Mu => Law::A,
        Law::A => Law::Mu,
    };
    [preferred, other].into_iter().find_map(|law| {
        let name = match law {
            Law::Mu => "PCMU",
            Law::A => "PCMA",
        };
        Some((law, media.payload_type_of(name, 8000)?))
    })
}

fn is_bundled(description: &Description, mid: &str) -> bool {
    description
        .attributes
        .iter()
        .filter(|attribute| attribute.name == "group")
        .filter_map(|attribute| attribute.value.as_deref()?.strip_prefix("BUNDLE"))
        .any(|mids| mids.split_whitespace().any(|other| other == mid))
}

fn fingerprint_of(description: &Description, media: &Media) -> Option<Fingerprint> {
    let session = description
        .attributes
        .iter()
        .filter(|attribute| attribute.name == "fingerprint");
    let session = session.filter_map(|attribute| attribute.value.as_deref());
    media
        .attributes_named("fingerprint")
        .chain(session)
        .find_map(Fingerprint::parse)
}

/// RFC 8842 5.2: `actpass` leaves the choice to us. We let the browser speak first: its ClientHello
/// tells the SRTP profiles, and we can insist on GCM.
fn role_for(description: &Description, media: &Media) -> Result<Role, PeerError> {
    match description.attribute_of(media, "setup") {
        Some("actpass" | "active") => Ok(Role::Passive),
        Some("passive") => Ok(Role::Active),
        _ => Err(PeerError::Lacks("a usable setup")),
    }
}

fn refused(offered: &Media) -> Media {
    let mid = offered
        .attribute("mid")
        .map(|mid| Attribute::new("mid", mid));
    let attributes = mid
        .into_iter()
        .chain([Attribute::flag(Direction::Inactive.name())]);
    Media {
        port: 0,
        connection: None,
        attributes: attributes.collect(),
        ..offered.clone()
    }
}
