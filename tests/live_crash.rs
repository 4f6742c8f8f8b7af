//! `kill -9` at any moment of a dial, on the real binary: after a start on the same folder the far
//! end is told within three seconds, the books say what happened, the recording opens, the card is
//! back. The demo carrier, in this process, is the far end; its journal is the witness.
//!
//! Each test kills `CRASH_ROUNDS` times (3 unless told), spread over its part of a call;
//! `make crash` asks for more.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foredial::demo::carrier::{Behaviour, CallState, Carrier, CarrierConfig, EndedBy, Entry, What};
use support::daemon::{Books, Home, Wave, Wish, files_under, holds};
use support::desk::{Shift, text};

const NUMBER: &str = "+8613812340001";
/// Of the telephone's loss, and of the recording's.
const TOLD_WITHIN: Duration = Duration::from_secs(3);
const MISSING_MAX: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// From what the delay to the kill counts.
#[derive(Clone, Copy, Debug)]
enum Since {
    Click,
    Ringing,
    /// The far end's 200 leaves; the switch may not have seen it.
    Pickup,
    Talking,
}

/// One crash and what was seen around it.
struct Crash {
    home: Arc<Home>,
    carrier: Carrier,
    agent: Shift,
    /// Just before the signal, and when the process was gone.
    killed: Instant,
    gone: Instant,
    /// What the far end knew at the kill.
    state: Option<CallState>,
    /// For messages.
    moment: String,
}

fn rounds() -> u32 {
    let rounds = std::env::var("CRASH_ROUNDS").ok();
    rounds.map_or(3, |rounds| rounds.parse().expect("CRASH_ROUNDS: a number"))
}

/// Kills at `rounds()` moments spread evenly over `span` after `since`, and judges each.
async fn crashes(since: Since, span: Duration) {
    let rounds = rounds();
    for round in 0..rounds {
        let delay = span * round / rounds;
        let crash = crash(since, delay).await;
        let told = crash.judge().await;
        println!("{since:?}+{delay:?}: {told}");
    }
}

async fn crash(since: Since, delay: Duration) -> Crash {
    let behaviour = match since {
        Since::Click | Since::Ringing => Behaviour::RingOut,
        Since::Pickup | Since::Talking => Behaviour::Answer { after_ms: 300 },
    };
    let digits = NUMBER.trim_start_matches('+').to_owned();
    let carrier = Carrier::start(CarrierConfig {
        behaviours: [(digits, behaviour)].into(),
        ..CarrierConfig::default()
    })
    .await
    .expect("a free port");
    let home = Home::new(&Wish::trunk(carrier.local_addr()));
    home.lead("Zhang San", NUMBER);
    let daemon = home.start().await;
    let agent = Shift::begin(&daemon, "agent1").await;
    agent.seat.speak(440);
    agent.next_card().await;
    let answer = agent.click_call();
    let reached = match since {
        Since::Click => true,
        Since::Ringing => holds(PATIENCE, || sent(&carrier, 180).is_some()).await,
        Since::Pickup => holds(PATIENCE, || sent(&carrier, 200).is_some()).await,
        Since::Talking => agent.desk.until_call("talking").await.is_object(),
    };
    assert!(reached, "{since:?} never came: {:#?}", carrier.journal());
    tokio::time::sleep(delay).await;
    let killed = Instant::now();
    daemon.kill();
    let gone = Instant::now();
    drop(answer);
    let state = carrier.calls().first().map(|call| call.state);
    Crash {
        killed,
        gone,
        moment: format!("killed {delay:?} after {since:?}, far end {state:?}"),
        home,
        carrier,
        agent,
        state,
    }
}

/// When the far end first answered an INVITE with this status.
fn sent(carrier: &Carrier, wanted: u16) -> Option<Instant> {
    let is_it = |entry: &Entry| {
        matches!(&entry.what, What::Sent { status, method, .. }
            if *status == wanted && method == "INVITE")
    };
    let journal = carrier.journal();
    journal
        .iter()
        .find(|entry| is_it(entry))
        .map(|entry| entry.at)
}

impl Crash {
    /// Starts again on the same folder and looks at everything; tells what became of it.
    async fn judge(self) -> String {
        let begun = Instant::now();
        let daemon = self.home.start().await;
        let silent = || self.carrier.live_calls() == 0;
        let left = TOLD_WITHIN.saturating_sub(begun.elapsed());
        assert!(
            holds(left, silent).await,
            "{}: not told in {TOLD_WITHIN:?}: {:#?}\n{}",
            self.moment,
            self.carrier.journal(),
            self.home.log()
        );
        let told_after = begun.elapsed();
        self.is_told_as_it_should().await;
        let books = self.home.lead_books(1);
        let result = match books.attempts() {
            [] => self.was_never_begun(&books),
            _ => self.attempt_has_ended(&books),
        };
        let access = self.agent.access.clone();
        let crashed = Instant::now() - self.killed;
        drop(self.agent);
        let agent = Shift::with(access).await;
        match result.as_str() {
            "" => {
                agent.desk.until_state("previewing").await;
            }
            "connected" => {
                let desk = agent.desk.until_state("wrap_up").await;
                assert_eq!(text(&desk, "/call/result"), "connected", "{desk:#}");
                assert_eq!(text(&desk, "/card/name"), "Zhang San");
                agent.dispose("sale").await;
                let closed = || self.home.lead_books(1).state() == "closed";
                assert!(holds(PATIENCE, closed).await, "{}", self.moment);
            }
            _ => {
                let card = &agent.desk.now()["card"];
                assert!(card.is_null(), "{}: {card:#}", self.moment);
            }
        }
        // One click is one INVITE, whatever happens in between.
        assert!(
            self.carrier.calls().len() <= 1,
            "{:#?}",
            self.carrier.calls()
        );
        let snapshot = self.home.ctl("snapshot");
        assert_eq!(snapshot["rtp_ports_in_use"], 0, "{snapshot:#}");
        drop(daemon);
        let result = if result.is_empty() {
            "no attempt"
        } else {
            &result
        };
        format!("{result}, far end told {told_after:?} after the start, judged {crashed:?} later")
    }

    /// CANCEL for a phone that rings, ACK and BYE for one that was picked up.
    async fn is_told_as_it_should(&self) {
        let calls = self.carrier.calls();
        let Some(call) = calls.first() else { return };
        let CallState::Ended { by } = call.state else {
            panic!("{}: {:?}", self.moment, call.state);
        };
        let answered = call.answered_ms.is_some();
        let right = match by {
            EndedBy::Cancelled => !answered,
            EndedBy::CallerBye => answered,
            _ => false,
        };
        assert!(
            right,
            "{}: {by:?}, {:#?}",
            self.moment,
            self.carrier.journal()
        );
        // A 200 and a 487 alike are acknowledged; the ACK may be a moment behind.
        let is_ack =
            |entry: &Entry| matches!(&entry.what, What::Received { method, .. } if method == "ACK");
        let acked = || self.carrier.journal().iter().any(is_ack);
        assert!(
            holds(TOLD_WITHIN, acked).await,
            "{}: {:#?}",
            self.moment,
            self.carrier.journal()
        );
    }

    /// The click was lost with the process: nothing may have rung.
    fn was_never_begun(&self, books: &Books) -> String {
        assert_eq!(self.carrier.calls(), [], "{}", self.moment);
        assert_eq!(books.state(), "reserved", "{}", self.moment);
        String::new()
    }

    fn attempt_has_ended(&self, books: &Books) -> String {
        let moment = &self.moment;
        let attempt = books.attempt();
        let result = attempt["result"].as_str().unwrap_or_default();
        assert_eq!(attempt["ended_by"], "system", "{moment}");
        match result {
            "connected" => {
                assert!(
                    matches!(self.state, Some(CallState::Answered { .. })),
                    "{moment}"
                );
                assert_eq!((books.state(), books.counts()), ("wrap_up", (1, 1)));
                self.recording_opens(books);
            }
            "system_failure" => {
                // The ACK leaves when the answer is on disk.
                let acked = Some(CallState::Answered {
                    acked: true,
                    sends: true,
                });
                assert_ne!(self.state, acked, "{moment}");
                assert_eq!((books.state(), books.counts()), ("waiting", (0, 1)));
                assert_eq!(books.retry_min(), Some(2), "{moment}");
                assert!(attempt["answered_at"].is_null(), "{moment}");
            }
            other => panic!("{moment}: {other}"),
        }
        result.to_owned()
    }

    fn recording_opens(&self, books: &Books) {
        let attempt = books.attempt();
        let picked_up = sent(&self.carrier, 200).expect("it was answered");
        let talked = self.killed.saturating_duration_since(picked_up);
        let folder = self.home.path().join("recordings");
        if attempt["recording"] != "done" {
            // Killed before the recorder had made its file.
            assert!(talked <= MISSING_MAX, "{}: {attempt:#}", self.moment);
            assert_eq!(files_under(&folder).expect("a folder"), [] as [PathBuf; 0]);
            return;
        }
        let path = attempt["recording_path"].as_str().expect("a path");
        let recorded = Wave::open(&folder.join(path))
            .expect("a WAV that opens")
            .duration();
        assert!(
            recorded + MISSING_MAX >= talked && recorded <= self.gone - picked_up + MISSING_MAX,
            "{}: {recorded:?} of {talked:?}",
            self.moment
        );
        let files = files_under(&folder).expect("the folder is there");
        assert_eq!(files.len(), 1, "{}: {files:?}", self.moment);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_first_moments_after_the_click() {
    crashes(Since::Click, Duration::from_millis(45)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_rings() {
    crashes(Since::Ringing, Duration::from_millis(1_500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_as_the_customer_picks_up() {
    crashes(Since::Pickup, Duration::from_millis(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_mid_call() {
    crashes(Since::Talking, Duration::from_millis(4_500)).await;
}
