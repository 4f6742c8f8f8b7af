//! Legs with SDES keys: nothing in the clear goes out, is heard or moves the latch.

use super::*;

const SUITES: [Suite; 3] = [
    Suite::AeadAes128Gcm,
    Suite::AesCm128HmacSha1_80,
    Suite::AesCm128HmacSha1_32,
];

fn keys(suite: Suite) -> SrtpKeys {
    SrtpKeys {
        suite,
        local: vec![1; suite.key_bytes()],
        remote: vec![2; suite.key_bytes()],
    }
}

#[test]
fn a_secured_leg_and_one_in_the_clear_hear_each_other_in_every_suite() {
    for suite in SUITES {
        let house = House::new();
        let mut a = house.phone_with(A, Law::Mu, Some(keys(suite)));
        let mut b = house.phone(B, Law::A);
        house.bridge();
        wait_and_listen(FRAME * 2, &mut [&mut a, &mut b]);
        (a.heard, b.heard) = (vec![], vec![]);
        talk(0.5, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
        for (phone, theirs) in [(&a, 1_100.0), (&b, 700.0)] {
            phone.assert_one_stream();
            assert_level(&phone.sound(), theirs, -12.0, 0.5);
        }
        house.end();
    }
}

#[test]
fn what_is_not_authentic_is_counted_and_neither_heard_nor_followed() {
    let house = House::new();
    let suite = Suite::AesCm128HmacSha1_80;
    let mut a = house.phone_with(A, Law::Mu, Some(keys(suite)));
    let mut b = house.phone(B, Law::Mu);
    house.bridge();
    // Before the true phone has said anything: the latch is still open.
    let mut stranger = Phone {
        socket: UdpSocket::bind((LOOPBACK, 0)).expect("a port"),
        srtp: None,
        ..house.phone(LegId(9), Law::Mu)
    };
    stranger
        .socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("set");
    stranger.to = a.to;
    talk(0.2, &mut [(&mut stranger, 2_000.0), (&mut b, 1_100.0)]);
    assert!(stranger.heard.is_empty(), "the leg followed a stranger");
    let other = SrtpKeys {
        remote: vec![3; suite.key_bytes()],
        ..keys(suite)
    };
    stranger.srtp = Some(theirs(&other));
    talk(0.2, &mut [(&mut stranger, 2_000.0), (&mut b, 1_100.0)]);
    assert!(stranger.heard.is_empty(), "the leg followed a wrong key");
    b.heard.clear();
    talk(0.4, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
    assert_level(&b.sound(), 700.0, -12.0, 0.5);
    assert!(level_at(&b.sound(), 2_000.0) < -50.0);
    let refused = house.end().into_iter().find_map(|fact| match fact {
        MediaFact::Quality { leg: A, quality } => Some(quality.refused),
        _ => None,
    });
    assert_eq!(refused, Some(20));
}

#[test]
fn a_renegotiation_with_the_same_keys_goes_on_where_it_was() {
    let house = House::new();
    let mut a = house.phone_with(A, Law::Mu, Some(keys(Suite::AesCm128HmacSha1_80)));
    let mut b = house.phone(B, Law::Mu);
    house.bridge();
    // The phone's sequence wraps in here: both sides have counted a rollover.
    talk(1.0, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
    assert!(a.sequence < 1_000, "it has wrapped");
    house.aim(&a, true);
    b.heard.clear();
    talk(0.4, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
    assert_level(&b.sound(), 700.0, -12.0, 0.5);
    house.end();
}

#[test]
fn keys_that_do_not_fit_end_the_leg_instead_of_opening_it() {
    let house = House::new();
    let mut bad = keys(Suite::AeadAes128Gcm);
    let mut a = house.phone(A, Law::Mu);
    bad.local.pop();
    a.keys = Some(bad);
    house.aim(&a, true);
    let died = house.wait(|fact| match fact {
        MediaFact::LegDied { leg, .. } => Some(leg),
        _ => None,
    });
    assert_eq!(died, A);
    house.end();
}
