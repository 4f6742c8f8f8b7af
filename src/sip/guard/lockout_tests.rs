//! Guessers, neighbours and phones that have proved themselves.

use super::*;

fn from(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const GUESSER: &str = "203.0.113.66:5060";
const SECOND: Duration = Duration::from_secs(1);

/// Guesses until something is locked; how many it took, and what.
fn guess(lockout: &mut Lockout, now: Instant, source: &str, user: &str) -> (u32, Vec<Locked>) {
    for n in 1..1_000 {
        let locked = lockout.on_failure(now, from(source), Some(user));
        if !locked.is_empty() {
            return (n, locked);
        }
    }
    panic!("never locked out");
}

#[test]
fn a_guesser_is_locked_out_each_time_twice_as_long() {
    let mut lockout = Lockout::new(LockoutRules::default());
    let mut now = Instant::now();
    let mut times = Vec::new();
    for _ in 0..8 {
        assert!(!lockout.is_address_locked(now, from(GUESSER)));
        let (after, locked) = guess(&mut lockout, now, GUESSER, &format!("u{now:?}"));
        assert_eq!(after, 10);
        let [Locked::Address(time)] = locked[..] else {
            panic!("{locked:?}");
        };
        assert!(lockout.is_address_locked(now, from("203.0.113.66:9")));
        assert!(!lockout.is_address_locked(now, from("203.0.113.67:5060")));
        times.push(time.as_secs());
        now += time;
    }
    assert_eq!(times, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
    now += Duration::from_secs(3_600);
    let (_, locked) = guess(&mut lockout, now, GUESSER, "late");
    assert_eq!(locked, [Locked::Address(60 * SECOND)], "after a quiet hour");
}

#[test]
fn a_phone_with_a_wrong_password_now_and_then_is_left_alone() {
    let mut lockout = Lockout::new(LockoutRules::default());
    let mut now = Instant::now();
    for _ in 0..1_000 {
        let locked = lockout.on_failure(now, from(GUESSER), Some("101"));
        assert_eq!(locked, []);
        now += 31 * SECOND;
    }
}

#[test]
fn guesses_at_one_user_from_many_addresses_lock_the_user_but_not_his_phone() {
    let mut lockout = Lockout::new(LockoutRules::default());
    let now = Instant::now();
    let home = from("192.0.2.7:40000");
    lockout.on_proof(home, "101");
    let mut locked = Vec::new();
    for n in 0..30 {
        let source = from(&format!("203.0.113.{n}:5060"));
        locked.extend(lockout.on_failure(now, source, Some("101")));
    }
    assert_eq!(locked, [Locked::User(60 * SECOND)]);
    let stranger = from("198.51.100.1:5060");
    assert!(lockout.is_user_locked(now, stranger, "101"));
    assert!(!lockout.is_user_locked(now, stranger, "102"));
    assert!(!lockout.is_user_locked(now, from("192.0.2.7:40001"), "101"));
    assert!(!lockout.is_user_locked(now + 60 * SECOND, stranger, "101"));
}

#[test]
fn a_neighbour_behind_the_same_address_keeps_his_line() {
    let mut lockout = Lockout::new(LockoutRules::default());
    let now = Instant::now();
    let (good, bad) = ("203.0.113.66:1000", "203.0.113.66:2000");
    lockout.on_proof(from(good), "101");
    guess(&mut lockout, now, bad, "102");
    assert!(lockout.is_address_locked(now, from(bad)));
    assert!(!lockout.is_address_locked(now, from(good)));
    // A proof is no licence to guess.
    lockout.on_failure(now, from(good), Some("103"));
    assert!(lockout.is_address_locked(now, from(good)));
}

#[test]
fn a_scan_for_users_that_answers_no_challenge_is_locked_out() {
    let mut lockout = Lockout::new(LockoutRules::default());
    let now = Instant::now();
    let asked = (1..).find(|_| lockout.on_challenge(now, from(GUESSER)).is_some());
    assert_eq!(asked, Some(300));
    assert!(lockout.is_address_locked(now, from(GUESSER)));
    // Many phones behind one address that do answer are no scan.
    for n in 0..2_000 {
        let phone = from(&format!("192.0.2.1:{}", 10_000 + n));
        assert_eq!(lockout.on_challenge(now, phone), None);
        lockout.on_proof(phone, &format!("u{n}"));
    }
}

#[test]
fn no_failures_allowed_for_means_never_locked() {
    let rules = LockoutRules {
        failures_max: 0,
        ..LockoutRules::default()
    };
    let mut lockout = Lockout::new(rules);
    let now = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(lockout.on_failure(now, from(GUESSER), Some("101")), []);
        assert_eq!(lockout.on_challenge(now, from(GUESSER)), None);
    }
}

#[test]
fn guesses_from_everywhere_at_everyone_take_bounded_memory() {
    let rules = LockoutRules {
        remembered_max: 100,
        ..LockoutRules::default()
    };
    let mut lockout = Lockout::new(rules);
    let now = Instant::now();
    for n in 0..10_000_u32 {
        let source = SocketAddr::new(std::net::IpAddr::V4(n.into()), 5060);
        lockout.on_failure(now, source, Some(&format!("user{n}")));
        lockout.on_proof(source, &format!("user{n}"));
    }
    assert_eq!(lockout.addresses.len(), 100);
    assert_eq!((lockout.users.len(), lockout.proven.len()), (100, 100));
}
