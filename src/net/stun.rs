//! STUN on the SIP port (RFC 5626 §3.5.2, §8; RFC 5389 §6, §15): a phone behind NAT asks for its
//! own address to keep the binding open. Without authentication, and never with more octets than
//! a small answer.

use std::net::{IpAddr, SocketAddr};

const HEADER_BYTES: usize = 20;
const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// Attributes below this must be understood (RFC 5389 §15).
const OPTIONAL_FIRST: u16 = 0x8000;
/// Understood, or without a meaning where nobody is authenticated: MAPPED-ADDRESS, USERNAME,
/// MESSAGE-INTEGRITY, ERROR-CODE, UNKNOWN-ATTRIBUTES, REALM, NONCE, XOR-MAPPED-ADDRESS.
const UNDERSTOOD: [u16; 8] = [
    0x0001, 0x0006, 0x0008, 0x0009, 0x000A, 0x0014, 0x0015, 0x0020,
];
/// Named in a refusal at most.
const UNKNOWN_MAX: usize = 8;

/// RFC 5389 8: what tells STUN from SIP, whose messages begin with a letter.
pub(super) fn is_stun(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES && bytes[0] < 0x40 && bytes[4..8] == COOKIE
}

/// The answer to a Binding request; nothing else is answered.
pub(super) fn answer(bytes: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let (header, attributes) = bytes.split_at_checked(HEADER_BYTES)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let kind = u16::from_be_bytes([header[0], header[1]]);
    if !is_stun(bytes) || kind != BINDING_REQUEST || length != attributes.len() {
        return None;
    }
    let unknown = unknown(attributes)?;
    let id = &header[8..];
    if unknown.is_empty() {
        return Some(message(
            BINDING_SUCCESS,
            id,
            &[(XOR_MAPPED_ADDRESS, mapped(from, id))],
        ));
    }
    let mut error = vec![0, 0, 4, 20];
    error.extend_from_slice(b"Unknown Attribute");
    let names = unknown.iter().flat_map(|kind| kind.to_be_bytes());
    Some(message(
        BINDING_ERROR,
        id,
        &[(ERROR_CODE, error), (UNKNOWN_ATTRIBUTES, names.collect())],
    ))
}

/// The kinds that must be understood and are not; `None` when the attributes are cut off.
fn unknown(mut attributes: &[u8]) -> Option<Vec<u16>> {
    let mut unknown = Vec::new();
    while !attributes.is_empty() {
        let (head, rest) = attributes.split_at_checked(4)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        attributes = rest.get(length.next_multiple_of(4)..)?;
        let lacking = kind < OPTIONAL_FIRST && !UNDERSTOOD.contains(&kind);
        if lacking && unknown.len() < UNKNOWN_MAX {
            unknown.push(kind);
        }
    }
    Some(unknown)
}

fn mapped(from: SocketAddr, id: &[u8]) -> Vec<u8> {
    let key = [&COOKIE, id].concat();
    let (family, address) = match from.ip().to_canonical() {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let mut value = vec![0, family];
    let port = from.port().to_be_bytes();
    value.extend(port.iter().zip(&key).map(|(octet, key)| octet ^ key));
    value.extend(address.iter().zip(&key).map(|(octet, key)| octet ^ key));
    value
}

fn message(kind: u16, id: &[u8], attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        // Ours are a few dozen octets.
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        body.extend(kind.to_be_bytes());
        body.extend(length.to_be_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut out = kind.to_be_bytes().to_vec();
    out.extend(length.to_be_bytes());
    out.extend(COOKIE);
    out.extend(id);
    out.extend(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: [u8; 12] = [
        0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
    ];

    #[test]
    fn the_answer_carries_the_address_as_in_the_vectors_of_rfc_5769() {
        let request = message(BINDING_REQUEST, &ID, &[]);
        let answer = |from: &str| answer(&request, from.parse().unwrap()).unwrap();
        assert_eq!(
            answer("192.0.2.1:32853")[20..],
            [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]
        );
        assert_eq!(
            answer("[2001:db8:1234:5678:11:2233:4455:6677]:32853")[20..],
            [
                0, 0x20, 0, 20, 0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79,
                0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9
            ]
        );
        assert_eq!(answer("192.0.2.1:32853")[8..20], ID);
    }

    #[test]
    fn an_attribute_nobody_knows_is_refused_by_name() {
        let request = message(
            BINDING_REQUEST,
            &ID,
            &[(0x0003, vec![0; 4]), (0x8022, vec![1])],
        );
        let answer = answer(&request, "192.0.2.1:1".parse().unwrap()).unwrap();
        assert_eq!(answer[..2], BINDING_ERROR.to_be_bytes());
        assert!(answer.windows(4).any(|four| four == [0, 0, 4, 20]));
        assert!(answer.ends_with(&[0, 0x0A, 0, 2, 0, 3, 0, 0]));
    }

    #[test]
    fn indications_and_broken_ones_are_not_answered() {
        let from = "192.0.2.1:1".parse().unwrap();
        assert_eq!(answer(&message(0x0011, &ID, &[]), from), None);
        assert_eq!(answer(&message(BINDING_SUCCESS, &ID, &[]), from), None);
        let mut cut = message(BINDING_REQUEST, &ID, &[(0x8022, vec![1, 2, 3, 4])]);
        cut.truncate(26);
        assert_eq!(answer(&cut, from), None);
        assert!(!is_stun(b"OPTIONS sip:a SIP/2.0\r\n"));
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if bytes.len() >= 8 {
                bytes[4..8].copy_from_slice(&COOKIE);
                bytes[0] = 0;
                bytes[1] = 1;
            }
            let _ = answer(&bytes, "192.0.2.1:1".parse().unwrap());
        }
    }
}
