//! Every way a dial can end, on the real binary: `foredial run`, sipp at the trunk's far end, an
//! agent with a real WebRTC seat. What the store has of it is read with `foredial explain`.

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use support::baresip::Phone;
use support::daemon::{Books, Daemon, Home, Wave, Wish, holds};
use support::desk::{Shift, text};
use support::ear;
use support::sipp::{Scenario, Sipp};

const NUMBER: &str = "+8613812340001";
const TONE_HZ: u32 = 440;
/// The shortest that may be configured.
const RING_LIMIT: Duration = Duration::from_secs(15);
const SECOND: Duration = Duration::from_secs(1);

/// One lead, one agent at her desk, sipp as the carrier.
struct Story {
    sipp: Sipp,
    home: Arc<Home>,
    daemon: Daemon,
    agent: Shift,
}

impl Story {
    async fn begin(scenario: Scenario) -> Story {
        let sipp = scenario.start().expect("sipp starts");
        let wish = Wish::trunk(sipp.address).campaign("ring_limit_s = 15\nwrap_up_s = 30\n");
        let home = Home::new(&wish);
        home.lead("Zhang San", NUMBER);
        let daemon = home.start().await;
        let agent = Shift::begin(&daemon, "agent1").await;
        agent.seat.speak(TONE_HZ);
        Story {
            sipp,
            home,
            daemon,
            agent,
        }
    }

    /// Wrap-up with this result; tells how long it may take, in seconds.
    async fn wrapped_up(&self, result: &str) -> i64 {
        let limit = RING_LIMIT + Duration::from_secs(10);
        let wrap_up = |desk: &Value| desk["state"]["kind"] == "wrap_up";
        let desk = self.agent.desk.within(limit, "wrap-up", wrap_up).await;
        assert_eq!(text(&desk, "/call/result"), result, "{:#}", desk["call"]);
        let ms = |pointer: &str| desk.pointer(pointer).and_then(Value::as_i64);
        let (deadline, ended) = (ms("/state/deadline_ms"), ms("/call/ended_ms"));
        (deadline.expect("a limit") - ended.expect("an end") + 500) / 1000
    }

    /// The end of a dial that nobody answered: wrap-up passes by itself, the lead waits.
    async fn passes_by_itself(&mut self) -> Books {
        self.agent.desk.until_state("ready").await;
        let books = self.home.lead_books(1);
        assert_eq!(books.state(), "waiting", "{:#}", books.0);
        self.is_clean().await;
        books
    }

    /// sipp saw nothing it did not expect; the switch holds nothing any more.
    async fn is_clean(&mut self) {
        let stats = self.sipp.wait(Duration::from_secs(10)).expect("sipp ends");
        let errors = self.sipp.errors();
        assert_eq!(
            (stats.created, stats.successful, stats.failed),
            (1, 1, 0),
            "{errors}"
        );
        assert_eq!(errors, "", "sipp complained");
        let mut last = Value::Null;
        let free = holds(Duration::from_secs(5), || {
            last = self.home.ctl("snapshot");
            // What is left is the agent's seat.
            last["rtp_ports_in_use"] == 0 && last["legs"] == 1 && last["writes_pending"] == 0
        });
        assert!(free.await, "{last:#}");
    }

    /// The call's recording once it is complete.
    async fn recording(&self) -> Wave {
        let ready = |desk: &Value| desk["call"]["recording_ready"] == true;
        self.agent.desk.until("a recording", ready).await;
        let books = self.home.lead_books(1);
        let attempt = books.attempt();
        assert_eq!(attempt["recording"], "done");
        let path = attempt["recording_path"].as_str().expect("a path");
        Wave::open(&self.home.path().join("recordings").join(path)).expect("a whole WAV")
    }

    /// The agent says what came of it; the lead is done with.
    async fn disposed_of(&mut self) -> Books {
        self.agent.dispose("sale").await;
        self.agent.desk.until_state("ready").await;
        let books = self.home.lead_books(1);
        assert_eq!(
            (books.state(), books.0["lead"][0]["reason"].as_str()),
            ("closed", Some("completed"))
        );
        self.is_clean().await;
        books
    }
}

async fn refused(status: &str, result: &str) -> Books {
    let mut story = Story::begin(Scenario::refusing(status)).await;
    story.agent.dial().await;
    assert_eq!(story.wrapped_up(result).await, 2);
    assert_eq!(text(&story.agent.desk.now(), "/call/detail"), status);
    let books = story.passes_by_itself().await;
    assert_eq!(books.attempt()["result"], result);
    let code: i64 = status[..3].parse().expect("a status");
    assert_eq!(books.attempt()["status"], code);
    assert_eq!(books.attempt()["recording"], "none");
    books
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_waits_ten_minutes() {
    let books = refused("486 Busy Here", "busy").await;
    // One for the whole series of three; without 18x nobody was alerted.
    assert_eq!((books.counts(), books.retry_min()), ((1, 0), Some(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_waits_a_day() {
    let books = refused("603 Decline", "rejected").await;
    assert_eq!((books.counts(), books.retry_min()), ((1, 1), Some(24 * 60)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_does_not_exist_waits_a_day_uncharged() {
    let books = refused("404 Not Found", "invalid_number").await;
    assert_eq!((books.counts().0, books.retry_min()), (0, Some(24 * 60)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_trunk_waits_two_minutes_uncharged() {
    let books = refused("503 Service Unavailable", "trunk_failure").await;
    assert_eq!((books.counts(), books.retry_min()), ((0, 0), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_rings_to_the_limit_and_counts() {
    let mut story = Story::begin(Scenario::named("ring_out")).await;
    story.agent.dial().await;
    story.agent.desk.until_call("ringing").await;
    assert_eq!(story.wrapped_up("no_answer").await, 2);
    let books = story.passes_by_itself().await;
    assert_eq!(books.counts(), (1, 1));
    let ring_ms = books.attempt()["ring_ms"].as_u64().expect("it rang");
    assert!((14_500..17_000).contains(&ring_ms), "rang {ring_ms} ms");
    assert!(books.retry_min() >= Some(60), "{:?}", books.retry_min());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_gives_up_while_it_rings() {
    let mut story = Story::begin(Scenario::named("ring_out")).await;
    story.agent.dial().await;
    story.agent.desk.until_call("ringing").await;
    // China's ringback: 450 Hz, one second in five.
    let heard = story.agent.seat.hear(SECOND * 6).await;
    let loudest = heard.samples.chunks_exact(1_600);
    let loudest = loudest.map(|piece| ear::amplitude(piece, 450.0));
    let loudest = loudest.fold(0.0, f64::max);
    assert!(loudest > 3_000.0, "ringback at {loudest}");
    story.agent.hang_up().await;
    assert_eq!(story.wrapped_up("agent_cancelled").await, 2);
    let books = story.passes_by_itself().await;
    assert_eq!((books.counts(), books.retry_min()), ((0, 1), Some(15)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_gone_while_it_rings_gives_the_dial_up() {
    let story = Story::begin(Scenario::named("ring_out")).await;
    let Story {
        mut sipp,
        home,
        daemon: _daemon,
        agent,
    } = story;
    agent.dial().await;
    agent.desk.until_call("ringing").await;
    drop(agent);
    let stats = sipp.wait(Duration::from_secs(12)).expect("a CANCEL");
    assert_eq!((stats.successful, stats.failed), (1, 0));
    assert_eq!(sipp.errors(), "");
    let waits = || home.lead_books(1).state() == "waiting";
    assert!(holds(Duration::from_secs(10), waits).await);
    let books = home.lead_books(1);
    assert_eq!(books.attempt()["result"], "agent_cancelled");
    assert_eq!((books.counts(), books.retry_min()), ((0, 1), Some(15)));
    let ring_ms = books.attempt()["ring_ms"].as_u64().expect("it rang");
    assert!(ring_ms >= 4_000, "she may come back: {ring_ms} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_hangs_up() {
    let scenario = Scenario::named("answer_hang_up").talk_ms(2_000);
    let mut story = Story::begin(scenario).await;
    story.agent.dial().await;
    assert_eq!(story.wrapped_up("connected").await, 30);
    let wave = story.recording().await;
    let duration = wave.duration();
    assert!(
        (SECOND..SECOND * 3).contains(&duration),
        "{duration:?} recorded"
    );
    let books = story.disposed_of().await;
    assert_eq!(books.counts(), (1, 1));
    assert_eq!(books.attempt()["ended_by"], "customer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_call_talks_is_recorded_and_ends() {
    let mut story = Story::begin(Scenario::named("answer_echo")).await;
    story.agent.dial().await;
    story.agent.desk.until_call("talking").await;
    story.agent.seat.listen_anew();
    assert!(
        story.agent.seat.hears(f64::from(TONE_HZ)).await,
        "sipp echoes what she says"
    );
    story.agent.seat.hear(SECOND * 2).await;
    story.agent.hang_up().await;
    assert_eq!(story.wrapped_up("connected").await, 30);
    let wave = story.recording().await;
    assert!(wave.duration() >= SECOND * 2, "{:?}", wave.duration());
    for (side, samples) in [("agent", &wave.left), ("customer", &wave.right)] {
        let last = &samples[samples.len().saturating_sub(8_000)..];
        let loudness = ear::amplitude(last, f64::from(TONE_HZ));
        assert!(loudness > 4_000.0, "{side}: {loudness}");
    }
    let books = story.disposed_of().await;
    assert_eq!(books.counts(), (1, 1));
    assert_eq!(books.attempt()["ended_by"], "agent");
    assert_eq!(books.0["outcomes"][0]["disposition"], "sale");
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_flows_both_ways_with_baresip() {
    const FAR_HZ: f64 = 700.0;
    let near_hz = f64::from(TONE_HZ);
    let phone = Phone::new(NUMBER).start().expect("baresip starts");
    let home = Home::new(&Wish::trunk(phone.address));
    home.lead("Zhang San", NUMBER);
    let daemon = home.start().await;
    let agent = Shift::begin(&daemon, "agent1").await;
    agent.seat.speak(TONE_HZ);
    agent.dial().await;
    agent.desk.until_call("talking").await;
    assert!(agent.seat.hears(FAR_HZ).await, "{}", phone.log());
    agent.seat.hear(SECOND * 2).await;

    agent.desk.ask(json!({ "cmd": "mute", "on": true })).await;
    let muted = agent.seat.hear(SECOND * 2).await;
    assert!(
        muted.amplitude(FAR_HZ, SECOND) > 4_000.0,
        "mute silences one way only"
    );
    agent.desk.ask(json!({ "cmd": "mute", "on": false })).await;
    agent.seat.hear(SECOND).await;

    agent.desk.ask(json!({ "cmd": "hold", "on": true })).await;
    agent.desk.until_call("held").await;
    let held = agent.seat.hear(SECOND * 2).await;
    let leak = held.amplitude(FAR_HZ, SECOND);
    assert!(leak < 100.0, "she hears the customer on hold: {leak}");
    agent.desk.ask(json!({ "cmd": "hold", "on": false })).await;
    agent.seat.listen_anew();
    assert!(agent.seat.hears(FAR_HZ).await, "back from hold");
    agent.seat.hear(SECOND).await;

    agent.hang_up().await;
    let desk = agent.desk.until_state("wrap_up").await;
    assert_eq!(text(&desk, "/call/result"), "connected");
    let ready = |desk: &Value| desk["call"]["recording_ready"] == true;
    agent.desk.until("a recording", ready).await;

    // What the customer heard: her tone, silence, her tone, music, her tone.
    let complete = || matches!(phone.heard().as_deref(), Ok([file]) if hound::WavReader::open(file).is_ok_and(|wave| wave.duration() > 8_000));
    assert!(
        holds(Duration::from_secs(5), complete).await,
        "{}",
        phone.log()
    );
    let files = phone.heard().expect("its folder is there");
    let mut wave = hound::WavReader::open(&files[0]).expect("a complete file");
    let samples: Vec<i16> = wave.samples::<i16>().filter_map(Result::ok).collect();
    let heard = pieces(&samples, near_hz);
    assert_eq!(heard, "tone silence tone music tone", "{}", samples.len());

    // The same on record; the agent's side is hers alone.
    let books = home.lead_books(1);
    let path = books.attempt()["recording_path"].as_str().expect("a path");
    let wave = Wave::open(&home.path().join("recordings").join(path)).expect("a whole WAV");
    let middle = |side: &[i16]| side[8_000..16_000].to_vec();
    let (left, right) = (middle(&wave.left), middle(&wave.right));
    assert!(ear::amplitude(&left, near_hz) > 4_000.0);
    assert!(ear::amplitude(&left, FAR_HZ) < 100.0);
    assert!(ear::amplitude(&right, FAR_HZ) > 4_000.0);
    assert!(ear::amplitude(&right, near_hz) < 100.0);
    let ms = |name: &str| books.attempt()[name].as_u64().unwrap_or(0);
    assert!((1_500..3_500).contains(&ms("hold_ms")), "{}", ms("hold_ms"));
    assert!((1_500..3_500).contains(&ms("mute_ms")), "{}", ms("mute_ms"));
}

/// The order of what was heard in stretches of at least half a second, 100 ms at a time.
fn pieces(samples: &[i16], hz: f64) -> String {
    let kind = |piece: &[i16]| match (ear::amplitude(piece, hz), ear::rms(piece)) {
        (tone, _) if tone > 4_000.0 => "tone",
        (_, rms) if rms < 30.0 => "silence",
        _ => "music",
    };
    let mut stretches: Vec<(&str, usize)> = Vec::new();
    for piece in samples.chunks_exact(800).map(kind) {
        match stretches.last_mut() {
            Some((last, length)) if *last == piece => *length += 1,
            _ => stretches.push((piece, 1)),
        }
    }
    let mut order: Vec<&str> = stretches
        .iter()
        .filter(|(_, length)| *length >= 5)
        .map(|(kind, _)| *kind)
        .collect();
    order.dedup();
    // Before the first word both are still connecting.
    let spoken = order.iter().position(|kind| *kind == "tone").unwrap_or(0);
    order[spoken..].join(" ")
}
