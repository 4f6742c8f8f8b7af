//! What legs hear of each other, of music and of nothing.

use super::*;

#[test]
fn a_tone_crosses_the_bridge_in_the_listeners_law() {
    let house = House::new();
    let (mut a, mut b) = (house.phone(A, Law::Mu), house.phone(B, Law::A));
    house.bridge();
    wait_and_listen(FRAME * 2, &mut [&mut a, &mut b]);
    (a.heard, b.heard) = (vec![], vec![]);
    talk(1.0, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
    for (phone, theirs, own) in [(&a, 1_100.0, 700.0), (&b, 700.0, 1_100.0)] {
        assert_eq!(phone.heard.len(), 50);
        assert!(phone.heard[0].marker && !phone.heard[1].marker);
        assert!(
            phone
                .heard
                .iter()
                .all(|packet| packet.payload_type == phone.law.payload_type())
        );
        phone.assert_one_stream();
        assert_level(&phone.sound(), theirs, -12.0, 0.5);
        assert!(level_at(&phone.sound(), own) < -50.0);
    }
    let rest = house.end();
    let lost: u64 = rest
        .iter()
        .filter_map(|fact| match fact {
            MediaFact::Quality { quality, .. } => {
                assert_eq!(quality.packets_in, 50);
                Some(quality.lost)
            }
            _ => None,
        })
        .sum();
    assert_eq!(lost, 0);
    assert_eq!(
        rest.iter()
            .filter(|f| matches!(f, MediaFact::FirstPacket { .. }))
            .count(),
        2
    );
}

#[test]
fn hold_music_comes_without_drift_and_goes_over_into_the_bridge() {
    let house = House::new();
    let (mut a, mut b) = (house.phone(A, Law::A), house.phone(B, Law::A));
    house.worker.send(MediaCommand::Listen {
        leg: B,
        to: Source::Music,
    });
    wait_and_listen(FRAME * 3, &mut [&mut b]);
    b.heard.clear();
    let start = Instant::now();
    wait_and_listen(Duration::from_secs(2), &mut [&mut b]);
    let due = start.elapsed().as_millis() as usize / 20;
    // A worker that was kept from its work for long skips; it never runs ahead.
    let played = b.heard.len();
    assert!(
        (due - due / 10..=due + 2).contains(&played),
        "{played} packets, {due} were due"
    );
    assert_level(&b.sound(), 500.0, -20.0, 0.5);
    // Then the other leg, then silence: still one stream.
    house.bridge();
    talk(0.5, &mut [(&mut a, 700.0)]);
    b.listen();
    house.worker.send(MediaCommand::Listen {
        leg: B,
        to: Source::Silence,
    });
    wait_and_listen(FRAME * 10, &mut [&mut b]);
    b.assert_one_stream();
    assert!(b.heard.iter().filter(|packet| packet.marker).count() >= 2);
    assert!(level_dbfs(&b.sound()[b.sound().len() - 800..]) < -60.0);
    house.end();
}

#[test]
fn mute_silences_one_leg_and_gain_softens_it_for_others_only() {
    let house = House::new();
    let (mut a, mut b) = (house.phone(A, Law::Mu), house.phone(B, Law::Mu));
    house.bridge();
    let recorded = house.record(A, B);
    wait_and_listen(FRAME * 2, &mut [&mut a, &mut b]);
    let mut parts = vec![];
    for (mute, db) in [(false, 0.0), (true, 0.0), (false, -12.0)] {
        house.worker.send(MediaCommand::Mute { leg: A, on: mute });
        house.worker.send(MediaCommand::Gain { leg: A, db });
        wait_and_listen(FRAME * 2, &mut [&mut a, &mut b]);
        (a.heard, b.heard) = (vec![], vec![]);
        let span = talk(1.0, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
        wait_and_listen(FRAME * 5, &mut [&mut a, &mut b]);
        parts.push((a.sound(), b.sound(), span));
    }
    for (heard_by_a, ..) in &parts {
        assert_level(heard_by_a, 1_100.0, -12.0, 0.5);
    }
    assert_level(&parts[0].1, 700.0, -12.0, 0.5);
    assert!(level_dbfs(&parts[1].1) < -70.0);
    assert_level(&parts[2].1, 700.0, -24.0, 1.0);

    let (path, duration_ms) = house.stop_recording();
    let passed = recorded.elapsed().as_millis() as u64;
    assert!(
        (3_000..=passed).contains(&duration_ms),
        "{duration_ms} of {passed} ms"
    );
    let (left, right) = channels(&path);
    let part = |side, n: usize| inside(side, recorded, parts[n].2);
    assert_recorded(part(&left, 0), 700.0);
    assert!(
        level_dbfs(part(&left, 1)) < -70.0,
        "a muted voice is not recorded"
    );
    assert_recorded(part(&left, 2), 700.0);
    for n in 0..3 {
        assert_recorded(part(&right, n), 1_100.0);
        assert!(level_at(part(&right, n), 700.0) < -30.0);
        assert!(level_at(part(&left, n), 1_100.0) < -30.0);
    }
    house.end();
}

#[test]
fn a_stranger_gets_nothing_and_is_not_heard() {
    let house = House::new();
    let (mut a, mut b) = (house.phone(A, Law::Mu), house.phone(B, Law::Mu));
    house.bridge();
    let mut stranger = Phone {
        leg: A,
        socket: UdpSocket::bind((LOOPBACK, 0)).expect("a port"),
        ..house.phone(LegId(9), Law::Mu)
    };
    stranger
        .socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("set");
    talk(0.2, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
    b.heard.clear();
    stranger.to = a.to;
    talk(
        0.4,
        &mut [(&mut a, 700.0), (&mut stranger, 2_000.0), (&mut b, 1_100.0)],
    );
    assert!(stranger.heard.is_empty());
    assert_eq!(b.heard.len(), 20);
    assert!(level_at(&b.sound(), 2_000.0) < -50.0);
    house.end();
}

#[test]
fn a_digit_passes_to_who_knows_events_and_leaves_no_hole_elsewhere() {
    let house = House::new();
    let (mut a, mut b) = (house.phone(A, Law::Mu), house.phone(B, Law::Mu));
    house.bridge();
    wait_and_listen(FRAME * 2, &mut [&mut b]);
    b.heard.clear();
    talk(0.1, &mut [(&mut a, 700.0)]);
    a.send(101, &[5, 0x8A, 3, 32]);
    talk(0.1, &mut [(&mut a, 700.0)]);
    b.listen();
    let digits: Vec<_> = b
        .heard
        .iter()
        .filter(|packet| packet.payload_type == 101)
        .collect();
    assert_eq!(digits.len(), 1);
    assert_eq!(digits[0].payload.as_ref(), [5, 0x8A, 3, 32]);
    assert_eq!(b.heard.len(), 11);
    b.assert_one_stream();
    house.end();
}
