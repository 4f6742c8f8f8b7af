//! Keys in a body: `a=crypto` (RFC 4568) with the suites of RFC 4568 6.2 and RFC 7714. Keys come
//! in from the caller; nothing here is drawn at random.

use std::borrow::Cow;
use std::fmt;

/// Keys of one line; lifetimes and MKI of a further key are not kept.
const LINE_BYTES_MAX: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
    AeadAes128Gcm,
}

impl Suite {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Suite> {
        [
            Suite::AesCm128HmacSha1_80,
            Suite::AesCm128HmacSha1_32,
            Suite::AeadAes128Gcm,
        ]
        .into_iter()
        .find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of master key and salt together: 16 + 14, or 16 + 12 with GCM.
    #[must_use]
    pub fn key_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => 30,
            Suite::AeadAes128Gcm => 28,
        }
    }
}

/// Of the longest suite.
pub const KEY_BYTES_MAX: usize = 30;

/// One direction's master key and salt. Its text form shows neither.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub suite: Suite,
    bytes: [u8; KEY_BYTES_MAX],
}

impl Key {
    /// `None` when the length is not the suite's.
    #[must_use]
    pub fn new(suite: Suite, bytes: &[u8]) -> Option<Key> {
        let mut whole = [0; KEY_BYTES_MAX];
        let own = whole.get_mut(..suite.key_bytes())?;
        if own.len() != bytes.len() {
            return None;
        }
        own.copy_from_slice(bytes);
        Some(Key {
            suite,
            bytes: whole,
        })
    }

    /// Master key, then salt.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.suite.key_bytes()]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({})", self.suite.name())
    }
}

/// One `a=crypto` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    pub tag: u32,
    pub key: Key,
}

impl Crypto {
    /// Reads the value of the attribute. `None` for what we cannot or may not use: another suite,
    /// several keys, an MKI, or a session parameter that has to be understood (RFC 4568 6.3).
    #[must_use]
    pub fn parse(value: &str) -> Option<Crypto> {
        if value.len() > LINE_BYTES_MAX {
            return None;
        }
        let mut words = value.split_ascii_whitespace();
        let tag = words.next()?;
        let plain = tag.len() <= 9 && tag.bytes().all(|b| b.is_ascii_digit());
        let tag: u32 = tag.parse().ok().filter(|_| plain)?;
        let suite = Suite::named(words.next()?)?;
        let key = words.next()?;
        // RFC 4568 6.3.7: a parameter may be passed over only if it begins with a minus.
        if words.any(|parameter| !parameter.starts_with('-')) || key.contains(';') {
            return None;
        }
        let (method, inline) = key.split_once(':')?;
        if !method.eq_ignore_ascii_case("inline") {
            return None;
        }
        let mut parts = inline.split('|');
        let bytes = from_base64(parts.next()?)?;
        // A lifetime has no colon, an MKI has one.
        if parts.any(|part| part.contains(':')) {
            return None;
        }
        let key = Key::new(suite, &bytes)?;
        Some(Crypto { tag, key })
    }
}

impl Crypto {
    /// The value of the attribute, key and all.
    pub(super) fn value(&self) -> String {
        let (tag, suite) = (self.tag, self.key.suite.name());
        format!("{tag} {suite} inline:{}", to_base64(self.key.bytes()))
    }
}

/// What both sides encrypt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secured {
    /// What we send with.
    pub ours: Key,
    /// What they send with.
    pub theirs: Key,
}

/// Whether media is encrypted by keys in the body (SDES).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// RTP/AVP only.
    #[default]
    Plain,
    /// RTP/AVP is offered; an offer is answered as it comes. Keys: one a suite, best first.
    Accepted(Vec<Key>),
    /// RTP/SAVP or nothing.
    Required(Vec<Key>),
}

impl Security {
    pub(super) fn keys(&self) -> &[Key] {
        match self {
            Security::Plain => &[],
            Security::Accepted(keys) | Security::Required(keys) => keys,
        }
    }
}

/// A message as people may see it: of the same length, the keys of its `a=crypto` lines struck out.
#[must_use]
pub fn veiled(message: &[u8]) -> Cow<'_, [u8]> {
    const LINE: &[u8] = b"a=crypto:";
    const KEY: &[u8] = b"inline:";
    let mut veiled = Cow::Borrowed(message);
    let mut at = 0;
    for line in message.split(|byte| *byte == b'\n') {
        if line.len() > LINE.len() && line[..LINE.len()].eq_ignore_ascii_case(LINE) {
            let mut word = at;
            for text in line.split(|byte| byte.is_ascii_whitespace() || *byte == b';') {
                let head = text.get(..KEY.len()).unwrap_or_default();
                if head.eq_ignore_ascii_case(KEY) {
                    veiled.to_mut()[word + KEY.len()..word + text.len()].fill(b'*');
                }
                word += text.len() + 1;
            }
        }
        at += line.len() + 1;
    }
    veiled
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            if at > chunk.len() {
                text.push('=');
            } else {
                let six = (bits >> (18 - 6 * at)) & 63;
                text.push(char::from(ALPHABET[six as usize]));
            }
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0u32);
    for byte in text.bytes() {
        let six = ALPHABET.iter().position(|one| *one == byte)?;
        bits = bits << 6 | six as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_rfc_4568_is_read() {
        let line = "1 AES_CM_128_HMAC_SHA1_80 \
                    inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20";
        let crypto = Crypto::parse(line).expect("a good line");
        assert_eq!(
            (crypto.tag, crypto.key.suite),
            (1, Suite::AesCm128HmacSha1_80)
        );
        assert_eq!(crypto.key.bytes().len(), 30);
        assert_eq!(Crypto::parse(&crypto.value()), Some(crypto.clone()));
        assert!(!format!("{crypto:?}").contains("WVN"), "keys are not shown");
    }

    #[test]
    fn what_cannot_be_used_is_passed_over() {
        let key = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
        for line in [
            format!("x AES_CM_128_HMAC_SHA1_80 {key}"),
            format!("1 F8_128_HMAC_SHA1_80 {key}"),
            format!("1 AEAD_AES_128_GCM {key}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {key}|2^20|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {key} UNENCRYPTED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {key};{key}"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:W?Nf".to_owned(),
            "1 AES_CM_128_HMAC_SHA1_80".to_owned(),
        ] {
            assert_eq!(Crypto::parse(&line), None, "{line}");
        }
        let passed = format!("1 AES_CM_128_HMAC_SHA1_32 {key} -X=1");
        assert!(Crypto::parse(&passed).is_some());
    }

    #[test]
    fn every_key_is_struck_out_and_nothing_else_changes() {
        let text = |one: &str, two: &str| {
            format!(
                "INVITE x\r\n\r\nm=audio 1 RTP/SAVP 0\nA=Crypto:1 X inline:{one};INLINE:{two}\r\na=inline:kept\n"
            )
        };
        let open = text("abc/+=", "de|2^31|1:1");
        let veiled = super::veiled(open.as_bytes());
        assert_eq!(veiled, text("******", "***********").as_bytes());
        assert!(matches!(super::veiled(b"OPTIONS x"), Cow::Borrowed(_)));
    }

    #[test]
    fn base64_is_its_own_inverse() {
        for length in 0..40u8 {
            let bytes: Vec<u8> = (0..length).map(|at| at.wrapping_mul(37)).collect();
            assert_eq!(from_base64(&to_base64(&bytes)), Some(bytes));
        }
    }
}
