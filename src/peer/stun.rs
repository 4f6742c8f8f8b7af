//! Connectivity checks (RFC 8445 7.3, RFC 5389): read, verified, answered. A lite agent sends none.

use std::net::SocketAddr;

use rtc::crypto::RTCCrypto;
use rtc::stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc::stun::error_code::CODE_ROLE_CONFLICT;
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc::stun::xoraddr::XorMappedAddress;

/// A browser's check is about 110 bytes.
const CHECK_BYTES_MAX: usize = 548;

/// A Binding request with a user name. Nothing in it is to be believed before [`Check::verify`].
pub(super) struct Check {
    message: Message,
    /// `ours:theirs`.
    username: String,
}

impl Check {
    pub(super) fn read(bytes: &[u8]) -> Option<Check> {
        if bytes.len() > CHECK_BYTES_MAX {
            return None;
        }
        let mut message = Message {
            raw: bytes.to_vec(),
            ..Message::default()
        };
        message.decode().ok()?;
        if message.typ != BINDING_REQUEST {
            return None;
        }
        let mut check = Check {
            message,
            username: String::new(),
        };
        check.username = String::from_utf8(check.covered(ATTR_USERNAME)?.to_vec()).ok()?;
        Some(check)
    }

    /// The user name's first half: whose leg the sender means.
    pub(super) fn local_ufrag(&self) -> &str {
        self.username.split_once(':').map_or("", |(local, _)| local)
    }

    pub(super) fn remote_ufrag(&self) -> &str {
        self.username
            .split_once(':')
            .map_or("", |(_, remote)| remote)
    }

    /// Whether the sender knows the leg's password.
    pub(super) fn verify(&mut self, password: &str, crypto: &dyn RTCCrypto) -> bool {
        MessageIntegrity::check(&mut self.message, password.as_bytes(), crypto).is_ok()
    }

    pub(super) fn nominates(&self) -> bool {
        self.covered(ATTR_USE_CANDIDATE).is_some()
    }

    pub(super) fn says_controlled(&self) -> bool {
        self.covered(ATTR_ICE_CONTROLLED).is_some()
    }

    pub(super) fn success(
        &self,
        from: SocketAddr,
        password: &str,
        crypto: &dyn RTCCrypto,
    ) -> Option<Vec<u8>> {
        let mapped = XorMappedAddress {
            ip: from.ip(),
            port: from.port(),
        };
        self.reply(
            [Box::new(BINDING_SUCCESS), Box::new(mapped)],
            password,
            crypto,
        )
    }

    pub(super) fn role_conflict(&self, password: &str, crypto: &dyn RTCCrypto) -> Option<Vec<u8>> {
        self.reply(
            [Box::new(BINDING_ERROR), Box::new(CODE_ROLE_CONFLICT)],
            password,
            crypto,
        )
    }

    fn reply(
        &self,
        [kind, content]: [Box<dyn Setter>; 2],
        password: &str,
        crypto: &dyn RTCCrypto,
    ) -> Option<Vec<u8>> {
        let key = password.as_bytes().to_vec();
        let mut reply = Message::new();
        reply
            .build(&[
                Box::new(self.message.transaction_id),
                kind,
                content,
                Box::new(MessageIntegrity::new_raw_integrity_with_provider(
                    key, crypto,
                )),
                Box::new(FINGERPRINT),
            ])
            .ok()?;
        Some(reply.raw)
    }

    /// RFC 5389 15.4: what follows MESSAGE-INTEGRITY is not covered by it and not looked at.
    fn covered(&self, kind: rtc::stun::attributes::AttrType) -> Option<&[u8]> {
        let attributes = self.message.attributes.0.iter();
        attributes
            .take_while(|attribute| attribute.typ != ATTR_MESSAGE_INTEGRITY)
            .find(|attribute| attribute.typ == kind)
            .map(|attribute| attribute.value.as_slice())
    }
}
