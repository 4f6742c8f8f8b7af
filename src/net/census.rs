//! How many connections there are, in all and from one network. IPv6 peers count by their /64:
//! whoever has one address of it has them all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct Census {
    in_all_max: usize,
    from_one_max: usize,
    heads: Mutex<Heads>,
}

#[derive(Debug, Default)]
struct Heads {
    in_all: usize,
    from: HashMap<IpAddr, usize>,
}

/// A place in the census; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    census: Arc<Census>,
    from: Option<IpAddr>,
}

impl Census {
    pub fn new(in_all_max: usize, from_one_max: usize) -> Arc<Census> {
        Arc::new(Census {
            in_all_max,
            from_one_max,
            heads: Mutex::default(),
        })
    }

    /// For a connection from this peer; `None` when a limit is reached.
    pub fn admit(self: &Arc<Census>, peer: IpAddr) -> Option<Place> {
        self.enter(Some(network(peer)))
    }

    /// For a connection of our own, which counts only in all.
    pub fn ours(self: &Arc<Census>) -> Option<Place> {
        self.enter(None)
    }

    pub fn in_all(&self) -> usize {
        self.heads().in_all
    }

    fn enter(self: &Arc<Census>, from: Option<IpAddr>) -> Option<Place> {
        let mut heads = self.heads();
        let there = from.map_or(0, |from| heads.from.get(&from).copied().unwrap_or(0));
        if heads.in_all >= self.in_all_max || there >= self.from_one_max {
            return None;
        }
        heads.in_all += 1;
        if let Some(from) = from {
            heads.from.insert(from, there + 1);
        }
        let census = Arc::clone(self);
        Some(Place { census, from })
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        // Nothing in here can panic between two changes.
        match self.heads.lock() {
            Ok(heads) => heads,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut heads = self.census.heads();
        heads.in_all = heads.in_all.saturating_sub(1);
        if let Some(from) = self.from {
            let left = heads.from.get(&from).map_or(0, |n| n.saturating_sub(1));
            match left {
                0 => drop(heads.from.remove(&from)),
                left => drop(heads.from.insert(from, left)),
            }
        }
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_takes_its_share_and_all_together_the_whole() {
        let census = Census::new(4, 2);
        let peer = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = census.admit(peer("2001:db8::1"));
        let second = census.admit(peer("2001:db8::2"));
        assert!(first.is_some() && second.is_some());
        assert!(
            census.admit(peer("2001:db8::3")).is_none(),
            "the third of a /64"
        );
        let others = [census.admit(peer("192.0.2.1")), census.ours()];
        assert!(others.iter().all(Option::is_some));
        assert!(
            census.admit(peer("192.0.2.2")).is_none(),
            "the fifth in all"
        );
        drop(first);
        assert_eq!(census.in_all(), 3);
        assert!(census.admit(peer("2001:db8::3")).is_some());
    }
}
