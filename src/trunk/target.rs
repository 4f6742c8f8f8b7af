//! Where a carrier's servers are, and in which order one call tries them (RFC 3263 §4, RFC 2782).

use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// One line of `servers`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    At(SocketAddr),
    /// A name. With a port only its addresses are asked for, without one its NAPTR and SRV too.
    Name {
        host: String,
        port: Option<u16>,
    },
}

/// One server as DNS or the list gives it: the lowest priority first, then by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: SocketAddr,
    pub priority: u16,
    pub weight: u16,
}

/// What a name stood for, and how long that may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub targets: Vec<Target>,
    pub ttl: Duration,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::At(address) => address.fmt(f),
            Place::Name {
                host,
                port: Some(port),
            } => write!(f, "{host}:{port}"),
            Place::Name { host, port: None } => f.write_str(host),
        }
    }
}

/// The order for one call: by priority, and within one priority drawn by weight (RFC 2782: those
/// of weight 0 first in the line, so that they have a small chance and never none).
#[must_use]
pub fn order(targets: &[Target], random: &mut StdRng) -> Vec<SocketAddr> {
    let mut left = targets.to_vec();
    left.sort_by_key(|target| (target.priority, target.weight != 0));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let same = left
            .iter()
            .take_while(|target| target.priority == first.priority)
            .count();
        let sum: u32 = left[..same].iter().map(|one| u32::from(one.weight)).sum();
        let drawn = random.random_range(0..=sum);
        let mut running = 0;
        let chosen = left[..same].iter().position(|one| {
            running += u32::from(one.weight);
            running >= drawn
        });
        ordered.push(left.remove(chosen.unwrap_or(0)).address);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn target(last: u8, priority: u16, weight: u16) -> Target {
        Target {
            address: SocketAddr::from(([192, 0, 2, last], 5060)),
            priority,
            weight,
        }
    }

    #[test]
    fn a_lower_priority_is_always_tried_first_and_everyone_once() {
        let targets = [target(3, 20, 100), target(1, 10, 1), target(2, 10, 0)];
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..1_000 {
            let ordered = order(&targets, &mut random);
            assert_eq!(ordered.len(), 3);
            assert_eq!(ordered[2], targets[0].address);
        }
    }

    #[test]
    fn weights_share_the_calls_in_proportion() {
        let targets = [target(1, 10, 60), target(2, 10, 30), target(3, 10, 10)];
        let mut random = StdRng::seed_from_u64(2);
        let mut first = [0_u32; 3];
        for _ in 0..10_000 {
            let one = order(&targets, &mut random)[0];
            let at = targets.iter().position(|target| target.address == one);
            first[at.expect("one of them")] += 1;
        }
        for (count, expected) in first.iter().zip([6_000, 3_000, 1_000_u32]) {
            assert!(count.abs_diff(expected) < 300, "{first:?}");
        }
    }

    #[test]
    fn weight_nought_is_seldom_first_but_not_never() {
        let mut random = StdRng::seed_from_u64(3);
        let seldom = [target(1, 10, 0), target(2, 10, 99)];
        let count = (0..10_000)
            .filter(|_| order(&seldom, &mut random)[0] == seldom[0].address)
            .count();
        assert!((20..400).contains(&count), "{count}");
    }

    #[test]
    fn the_same_seed_gives_the_same_order() {
        let targets = [target(1, 1, 5), target(2, 1, 5), target(3, 1, 5)];
        let mut one = StdRng::seed_from_u64(9);
        let mut other = StdRng::seed_from_u64(9);
        for _ in 0..50 {
            assert_eq!(order(&targets, &mut one), order(&targets, &mut other));
        }
    }
}
