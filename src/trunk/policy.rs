//! What a carrier's refusal means for the call: another server, another carrier, or the end.
//! A customer's own answer (busy, rejected, no such number) is never asked for twice.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Which final statuses beside silence, refusal of the transport and 503 go to the next server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover(pub Vec<Statuses>);

/// A status or a class of them, within 500 to 699.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(RangeInclusive<u16>);

/// How the SDP on this trunk stands to SRTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Srtp {
    #[default]
    Off,
    Optional,
    Required,
}

/// How an INVITE came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: u16,
    pub q850: Option<u16>,
    pub retry_after: Option<Duration>,
    /// Ours: 408 is silence, 503 a transport that refused.
    pub local: bool,
    /// The customer's phone may have rung.
    pub alerted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Any other server, of this trunk or the next.
    Server,
    /// Another trunk: each server of this one would say the same.
    Trunk,
    /// The call is over.
    Nothing,
}

impl Default for Failover {
    /// All of 5xx.
    fn default() -> Failover {
        Failover(vec![Statuses(500..=599)])
    }
}

impl Statuses {
    /// `5xx`, `6xx` or a status from 500 to 699.
    #[must_use]
    pub fn parse(text: &str) -> Option<Statuses> {
        match text {
            "5xx" => return Some(Statuses(500..=599)),
            "6xx" => return Some(Statuses(600..=699)),
            _ => {}
        }
        let status: u16 = text.parse().ok()?;
        (500..=699)
            .contains(&status)
            .then_some(Statuses(status..=status))
    }
}

impl Failover {
    #[must_use]
    pub fn next(&self, failure: &Failure) -> Next {
        if failure.alerted {
            return Next::Nothing;
        }
        if failure.local {
            return match failure.status {
                408 | 503 => Next::Server,
                _ => Next::Nothing,
            };
        }
        match failure.q850 {
            // The network is full or broken on this way.
            Some(34 | 38 | 41 | 42) => return Next::Server,
            // These say too little; any other names the customer's own state.
            None | Some(16 | 31 | 127) => {}
            Some(1..=31) => return Next::Nothing,
            Some(_) => {}
        }
        match failure.status {
            503 => Next::Server,
            // Our account or our offer: this carrier's other servers share both.
            401 | 402 | 407 | 488 => Next::Trunk,
            status if self.0.iter().any(|it| it.0.contains(&status)) => Next::Server,
            _ => Next::Nothing,
        }
    }
}

impl Failure {
    /// Whether it speaks against the server and not against the call.
    #[must_use]
    pub fn is_miss(&self) -> bool {
        match self.status {
            408 | 503 if self.local => true,
            500 | 502..=504 => !self.alerted && self.q850.is_none_or(|it| matches!(it, 31..=127)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16) -> Failure {
        Failure {
            status,
            q850: None,
            retry_after: None,
            local: false,
            alerted: false,
        }
    }

    fn local(status: u16) -> Failure {
        Failure {
            local: true,
            ..failure(status)
        }
    }

    #[test]
    fn silence_refusal_and_503_always_go_on() {
        let none = Failover(vec![]);
        for one in [local(408), local(503), failure(503)] {
            assert_eq!(none.next(&one), Next::Server, "{one:?}");
        }
        assert_eq!(none.next(&failure(500)), Next::Nothing);
    }

    #[test]
    fn what_the_customer_said_is_never_asked_for_twice() {
        let widest = Failover(
            ["5xx", "6xx"]
                .iter()
                .filter_map(|it| Statuses::parse(it))
                .collect(),
        );
        for status in (400..500).filter(|status| ![401, 402, 407, 488].contains(status)) {
            assert_eq!(widest.next(&failure(status)), Next::Nothing, "{status}");
        }
        let busy = Failure {
            q850: Some(17),
            ..failure(503)
        };
        assert_eq!(
            widest.next(&busy),
            Next::Nothing,
            "busy in the words of ISDN"
        );
        assert!(!busy.is_miss());
    }

    #[test]
    fn once_it_has_rung_nothing_else_is_tried() {
        for status in 300..700 {
            let rung = Failure {
                alerted: true,
                ..failure(status)
            };
            assert_eq!(Failover::default().next(&rung), Next::Nothing);
        }
    }

    #[test]
    fn five_hundreds_go_on_by_default_and_six_hundreds_only_when_asked() {
        let default = Failover::default();
        assert_eq!(default.next(&failure(500)), Next::Server);
        assert_eq!(default.next(&failure(603)), Next::Nothing);
        let asked = Failover(vec![Statuses::parse("603").expect("a status")]);
        assert_eq!(asked.next(&failure(603)), Next::Server);
        assert_eq!(asked.next(&failure(600)), Next::Nothing);
        for text in ["486", "4xx", "3xx", "", "700", "5XX"] {
            assert_eq!(Statuses::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_wrong_password_or_an_unwanted_offer_leaves_the_carrier() {
        for status in [401, 407, 488] {
            assert_eq!(Failover::default().next(&failure(status)), Next::Trunk);
        }
        let full = Failure {
            q850: Some(34),
            ..failure(480)
        };
        assert_eq!(Failover::default().next(&full), Next::Server);
    }
}
