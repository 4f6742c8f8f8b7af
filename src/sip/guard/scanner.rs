//! Programs that do nothing but look for a switch to rob. They name themselves in User-Agent;
//! those that do not are met by the rest of this room.

/// Parts of their names, in small letters.
const SCANNERS: [&str; 12] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sundayddr",
    "sipcli",
    "sip-scan",
    "sipscan",
    "smap",
    "vaxsipuseragent",
    "pplsip",
    "iwar",
    "sivus",
];

pub(in crate::sip) fn is_scanner(user_agent: &str) -> bool {
    let name = user_agent.to_ascii_lowercase();
    SCANNERS.iter().any(|scanner| name.contains(scanner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanners_are_known_by_name_and_phones_are_none() {
        for name in [
            "friendly-scanner",
            "SIPVicious 0.3",
            "sipcli/v1.8",
            "pplsip",
        ] {
            assert!(is_scanner(name), "{name}");
        }
        for name in [
            "Yealink SIP-T46U 108.86.0.20",
            "baresip v1.0.0",
            "snomD385",
            "",
        ] {
            assert!(!is_scanner(name), "{name}");
        }
    }
}
