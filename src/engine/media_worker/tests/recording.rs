//! What is on disk after a call.

use super::*;

#[test]
fn nothing_from_before_the_recording_is_in_it_and_a_new_agent_leg_goes_on() {
    let house = House::with(|config| config.report_every = FRAME * 2);
    let (mut a, mut b) = (house.phone(A, Law::Mu), house.phone(B, Law::A));
    talk(0.5, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
    for spoken in [A, B] {
        house.wait(|fact| match fact {
            MediaFact::Quality { leg, quality } => {
                (leg == spoken && quality.packets_in == 25).then_some(())
            }
            _ => None,
        });
    }
    let recorded = house.record(A, B);
    let before = Instant::now();
    wait_and_listen(Duration::from_millis(500), &mut [&mut a, &mut b]);
    let first = talk(0.6, &mut [(&mut a, 700.0), (&mut b, 1_100.0)]);
    // The agent's page is loaded again: another leg, the same file.
    house.worker.send(MediaCommand::CloseLeg { leg: A });
    let mut again = house.phone(LegId(3), Law::A);
    house.record(LegId(3), B);
    wait_and_listen(FRAME * 5, &mut [&mut b]);
    let second = talk(0.6, &mut [(&mut again, 900.0), (&mut b, 1_100.0)]);
    let (path, _) = house.stop_recording();
    assert_eq!(path, house.path());
    let (left, right) = channels(&path);
    for side in [&left, &right] {
        assert!(level_dbfs(inside(side, recorded, (before, first.0))) < -80.0);
    }
    assert_recorded(inside(&left, recorded, first), 700.0);
    assert_recorded(inside(&left, recorded, second), 900.0);
    assert!(level_at(inside(&left, recorded, second), 700.0) < -40.0);
    assert_recorded(inside(&right, recorded, first), 1_100.0);
    assert_recorded(inside(&right, recorded, second), 1_100.0);
    house.end();
}

#[test]
fn shutdown_finishes_the_recordings() {
    let house = House::new();
    let (mut a, _b) = (house.phone(A, Law::Mu), house.phone(B, Law::Mu));
    house.record(A, B);
    talk(0.3, &mut [(&mut a, 700.0)]);
    let facts = house.end();
    let recorded = facts.iter().find_map(|fact| match fact {
        MediaFact::Recorded {
            duration_ms, bytes, ..
        } => Some((*duration_ms, *bytes)),
        _ => None,
    });
    let (duration_ms, bytes) = recorded.expect("the file is whole");
    assert!(
        duration_ms >= 100 && (bytes - 44) / 32 == duration_ms,
        "{duration_ms} ms, {bytes}"
    );
}
