//! SDP: what a body says (RFC 8866) and what two sides agree on (RFC 3264).
//!
//! `description` reads leniently and writes exactly; `negotiate` makes and answers the offers of
//! trunk and phone legs (G.711, Opus and telephone-event over RTP/AVP, or RTP/SAVP with keys from `crypto`). It knows no sockets and no audio:
//! a [`Codec`] here is a name in a body.

pub mod crypto;
pub mod description;
pub mod direction;
pub mod negotiate;

pub use crypto::{Crypto, Key, Secured, Security, Suite};
pub use description::{Attribute, Description, Media, SdpError};
pub use direction::Direction;
pub use negotiate::{Agreed, Local, Negotiation, Refusal};

/// The codecs a trunk leg can speak: G.711 (RFC 3551 6) and Opus (RFC 7587).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    Pcmu,
    Pcma,
    Opus,
}

impl Codec {
    /// The static payload type of RFC 3551, or the one we offer a dynamic one with.
    #[must_use]
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::Opus => 111,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::Opus => "opus",
        }
    }

    /// The RTP clock, which events beside it are counted by as well.
    #[must_use]
    pub fn clock_hz(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma => 8_000,
            Codec::Opus => 48_000,
        }
    }

    /// As `a=rtpmap` has it.
    fn encoding(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU/8000",
            Codec::Pcma => "PCMA/8000",
            Codec::Opus => "opus/48000/2",
        }
    }

    /// As `a=fmtp` has it (RFC 7587 6.1): a telephone's band is all we hear.
    fn parameters(self) -> Option<&'static str> {
        match self {
            Codec::Pcmu | Codec::Pcma => None,
            Codec::Opus => {
                Some("maxplaybackrate=8000;sprop-maxcapturerate=8000;useinbandfec=1;stereo=0")
            }
        }
    }
}

#[cfg(test)]
mod tests;
