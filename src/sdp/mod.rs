//! SDP: what a body says (RFC 8866) and what two sides agree on (RFC 3264).
//!
//! `description` reads leniently and writes exactly; `negotiate` makes and answers the offers of
//! trunk and phone legs (G.711 and telephone-event over RTP/AVP, or RTP/SAVP with keys from `crypto`). It knows no sockets and no audio:
//! a [`Codec`] here is a name in a body.

pub mod crypto;
pub mod description;
pub mod direction;
pub mod negotiate;

pub use crypto::{Crypto, Key, Secured, Security, Suite};
pub use description::{Attribute, Description, Media, SdpError};
pub use direction::Direction;
pub use negotiate::{Agreed, Local, Negotiation, Refusal};

/// The codecs a trunk leg can speak, both at 8 kHz (RFC 3551 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    Pcmu,
    Pcma,
}

impl Codec {
    /// The static payload type of RFC 3551.
    #[must_use]
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }
}

#[cfg(test)]
mod tests;
