//! The far ends that other tests lean on, tried out on their own: sipp with each of our scenarios,
//! baresip as a phone. Only what they do to a plain caller counts here.

#[path = "support/baresip.rs"]
mod baresip;
#[path = "support/caller.rs"]
mod caller;
#[path = "support/sipp.rs"]
mod sipp;

use std::time::Duration;

use baresip::Phone;
use caller::{Caller, amplitude, header};
use sipp::{Scenario, Sipp, Stats};

const PATIENCE: Duration = Duration::from_secs(10);

fn assert_one_success(sipp: &mut Sipp) {
    let stats = sipp.wait(PATIENCE).expect("sipp ends with its only call");
    let wanted = Stats {
        created: 1,
        successful: 1,
        failed: 0,
        ..stats
    };
    assert_eq!(stats, wanted, "{}", sipp.errors());
}

#[tokio::test]
async fn sipp_answers_echoes_and_follows_hold() {
    let mut sipp = Scenario::named("answer_echo").start().expect("sipp starts");
    let mut caller = Caller::talk(sipp.address, "10000").await;
    let echo = caller.say(400.0, 50).await;
    assert!(
        echo.len() > 30 && amplitude(&echo, 400.0) > 0.2,
        "{} packets",
        echo.len()
    );
    for (offered, answered) in [
        ("sendonly", "recvonly"),
        ("sendrecv", "sendrecv"),
        ("inactive", "inactive"),
        ("recvonly", "sendonly"),
    ] {
        let sdp = caller.sdp(offered);
        caller.invite(Some(&sdp)).await;
        let answer = caller.expect(200, "INVITE").await;
        assert!(answer.contains(&format!("a={answered}")), "{answer}");
        caller.ack("").await;
    }
    caller.bye().await;
    assert_one_success(&mut sipp);
}

#[tokio::test]
async fn sipp_refuses_with_the_status_asked_for() {
    for (line, status) in [
        ("486 Busy Here", 486),
        ("603 Decline", 603),
        ("404 Not Found", 404),
        ("503 Service Unavailable", 503),
    ] {
        let mut sipp = Scenario::refusing(line).start().expect("sipp starts");
        let mut caller = Caller::new(sipp.address, "10070")
            .await
            .expect("free ports");
        caller.call().await;
        caller.expect(status, "INVITE").await;
        caller.ack_refusal().await;
        assert_one_success(&mut sipp);
    }
}

#[tokio::test]
async fn sipp_rings_until_it_is_cancelled() {
    let mut sipp = Scenario::named("ring_out").start().expect("sipp starts");
    let mut caller = Caller::new(sipp.address, "10075")
        .await
        .expect("free ports");
    caller.call().await;
    caller.expect(180, "INVITE").await;
    caller.cancel().await;
    caller.expect(200, "CANCEL").await;
    caller.expect(487, "INVITE").await;
    caller.ack_refusal().await;
    assert_one_success(&mut sipp);
}

#[tokio::test]
async fn sipp_hangs_up_after_its_time() {
    let scenario = Scenario::named("answer_hang_up").talk_ms(400);
    let mut sipp = scenario.start().expect("sipp starts");
    let mut caller = Caller::talk(sipp.address, "10095").await;
    let bye = caller.expect_request("BYE").await;
    assert!(header(&bye, "To").ends_with("tag=c1"), "{bye}");
    assert_one_success(&mut sipp);
}

#[tokio::test]
async fn baresip_answers_speaks_and_writes_down_what_it_hears() {
    let phone = Phone::new("desk").start().expect("baresip starts");
    let mut caller = Caller::new(phone.address, "desk")
        .await
        .expect("free ports");
    caller.call().await;
    caller.expect(200, "INVITE").await;
    caller.ack("").await;
    let heard = caller.say(400.0, 100).await;
    assert!(heard.len() > 50, "{} packets; {}", heard.len(), phone.log());
    assert!((amplitude(&heard[20..], 700.0) - 0.25).abs() < 0.05);
    caller.bye().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let files = phone.heard().expect("its folder is there");
    assert_eq!(files.len(), 1, "{}", phone.log());
    let mut wave = hound::WavReader::open(&files[0]).expect("a complete file");
    let loudest = wave
        .samples::<i16>()
        .filter_map(Result::ok)
        .map(i16::unsigned_abs)
        .max();
    assert!(
        loudest.is_some_and(|loudest| (7_000..9_500).contains(&loudest)),
        "{loudest:?}"
    );
}
