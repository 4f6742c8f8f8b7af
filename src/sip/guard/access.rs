//! Who may speak to us at all: blocks of addresses (CIDR), refused before anything is read.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address or a block of them, such as `203.0.113.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressBlock {
    address: IpAddr,
    bits: u8,
}

impl AddressBlock {
    #[must_use]
    pub fn one(address: IpAddr) -> AddressBlock {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        AddressBlock { address, bits }
    }

    /// `bits`: leading ones that count, at most 32 for IPv4 and 128 for IPv6.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> AddressBlock {
        let whole = AddressBlock::one(address);
        AddressBlock {
            bits: bits.min(whole.bits),
            ..whole
        }
    }

    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let differing = own.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let differing = own.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

/// The text is neither an address nor a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBlock;

impl FromStr for AddressBlock {
    type Err = NoBlock;

    fn from_str(text: &str) -> Result<AddressBlock, NoBlock> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoBlock)?;
        let whole = AddressBlock::one(address);
        let Some(bits) = bits else {
            return Ok(whole);
        };
        let bits: u8 = bits.parse().map_err(|_| NoBlock)?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        if bits > widest {
            return Err(NoBlock);
        }
        Ok(AddressBlock { address, bits })
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

/// `deny` is asked first; an empty `allow` is everyone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    pub allow: Vec<AddressBlock>,
    pub deny: Vec<AddressBlock>,
}

impl AccessList {
    #[must_use]
    pub fn admits(&self, ip: IpAddr) -> bool {
        let within = |blocks: &[AddressBlock]| blocks.iter().any(|block| block.contains(ip));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> AddressBlock {
        text.parse().unwrap()
    }

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        for (text, ip, inside) in [
            ("203.0.113.0/24", "203.0.113.255", true),
            ("203.0.113.0/24", "203.0.112.1", false),
            ("203.0.113.9", "203.0.113.9", true),
            ("203.0.113.9", "203.0.113.8", false),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
            ("203.0.113.0/24", "::ffff:203.0.113.7", true),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(block(text).contains(ip), inside, "{ip} in {text}");
        }
        for text in [
            "",
            "203.0.113",
            "203.0.113.0/33",
            "::/129",
            "a/8",
            "1.2.3.4/",
        ] {
            assert_eq!(text.parse::<AddressBlock>(), Err(NoBlock), "{text}");
        }
        assert_eq!(block("203.0.113.0/24").to_string(), "203.0.113.0/24");
    }

    #[test]
    fn deny_is_stronger_than_allow_and_no_allow_is_everyone() {
        let list = |allow: &[&str], deny: &[&str]| AccessList {
            allow: allow.iter().map(|text| block(text)).collect(),
            deny: deny.iter().map(|text| block(text)).collect(),
        };
        let ip: IpAddr = "203.0.113.9".parse().unwrap();
        assert!(list(&[], &[]).admits(ip));
        assert!(!list(&[], &["203.0.113.0/24"]).admits(ip));
        assert!(!list(&["203.0.113.0/24"], &["203.0.113.9"]).admits(ip));
        assert!(list(&["203.0.113.0/24"], &[]).admits(ip));
        assert!(!list(&["192.0.2.0/24"], &[]).admits(ip));
    }
}
