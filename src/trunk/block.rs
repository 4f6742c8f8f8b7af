//! A block of addresses: those whose leading bits are the same.

use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub address: IpAddr,
    /// Leading bits that count: at most 32 for IPv4, 128 for IPv6.
    pub bits: u8,
}

impl Block {
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let ignored = width - u32::from(self.bits);
        own.checked_shr(ignored).unwrap_or(0) == other.checked_shr(ignored).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(address: &str, bits: u8) -> Block {
        let address = address.parse().expect("an address");
        Block { address, bits }
    }

    #[test]
    fn a_block_holds_its_own_and_no_neighbour() {
        let quarter = block("198.51.100.64", 26);
        for (address, inside) in [
            ("198.51.100.63", false),
            ("198.51.100.64", true),
            ("198.51.100.127", true),
            ("198.51.100.128", false),
            ("::ffff:198.51.100.64", true),
            ("2001:db8::1", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(quarter.contains(address), inside, "{address}");
        }
        let v6 = block("2001:db8::", 32);
        assert!(v6.contains("2001:db8:ffff::1".parse().expect("an address")));
        assert!(!v6.contains("2001:db9::1".parse().expect("an address")));
        assert!(block("0.0.0.0", 0).contains("8.8.8.8".parse().expect("an address")));
    }
}
