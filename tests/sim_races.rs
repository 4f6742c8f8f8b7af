//! Races of RFC 5407 and glare on the virtual clock: two endpoints get random commands over a
//! network that loses, doubles and overtakes. Whatever crosses, both sides come to hold the same
//! view, each session ends once, and nothing stays behind.
//!
//! `SEEDS` says how many interleavings (2,000 unless told), `FIRST_SEED` where to begin.

#[path = "support/pair.rs"]
mod pair;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foredial::sip::{Body, InfoDigit, SessionId, SipEvent, Transport};
use pair::{CALM, Pair, Weather, endings, sdp, text_of};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Commands are given in this time, and afterwards the network is calm.
const BUSY_MS: u64 = 20_000;
/// By now every retransmission and every glare has had its end.
const SETTLED_MS: u64 = 200_000;
/// Seeds between two lines of a long run.
const TOLD_EVERY: u64 = 10_000;
/// Of a thread; more of them say nothing new.
const COMPLAINTS_MAX: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Ring,
    EarlyMedia,
    Accept,
    Acknowledge,
    Reject,
    HangUp,
    Reoffer,
    AskForOffer,
    Update,
    Answer,
    Refuse,
    Prack,
    Refer,
    AnswerRefer,
    NotifyRefer,
    Info,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plant {
    Nothing,
    /// An endpoint that believes it said BYE.
    ByeNeverSent,
    /// A network that answers offers with another one's answer.
    AnswersSwapped,
}

struct Story {
    pair: Pair,
    draw: StdRng,
    plan: BTreeMap<(Instant, u64), (usize, SessionId, Act)>,
    planned: u64,
    sessions: Vec<(usize, SessionId)>,
    /// The offers that wait for an answer, by who is to give it.
    open: BTreeMap<(usize, SessionId), String>,
    forks: BTreeMap<(usize, SessionId), String>,
    offers: u64,
    read_events: usize,
    read_said: usize,
    /// The last offer agreed to, as each side sees it.
    agreed: [Option<String>; 2],
    given: BTreeSet<(usize, String)>,
}

fn storm(seed: u64) -> Weather {
    Weather {
        loss: (seed % 5) as f64 * 0.07,
        doubling: (seed % 3) as f64 * 0.12,
        delay_ms_max: 5 + (seed * 7) % 900,
        transport: if seed % 6 == 5 {
            Transport::Ws
        } else {
            Transport::Udp
        },
    }
}

impl Story {
    fn new(seed: u64) -> Story {
        let mut draw = StdRng::seed_from_u64(seed ^ 0xace5);
        let reliable = [draw.random_bool(0.5), draw.random_bool(0.5)];
        let brief = draw.random_bool(0.3);
        let pair = Pair::new(seed, storm(seed), |who, config| {
            config.reliable_provisionals = reliable[who];
            config.session_expires_s = if brief { 90 } else { 1_800 };
        });
        Story {
            pair,
            draw,
            plan: BTreeMap::new(),
            planned: 0,
            sessions: Vec::new(),
            open: BTreeMap::new(),
            forks: BTreeMap::new(),
            offers: 0,
            read_events: 0,
            read_said: 0,
            agreed: [None, None],
            given: BTreeSet::new(),
        }
    }

    fn plan(&mut self, after_ms: u64, who: usize, session: SessionId, act: Act) {
        self.planned += 1;
        let at = self.pair.now + Duration::from_millis(after_ms);
        self.plan.insert((at, self.planned), (who, session, act));
    }

    fn offer(&mut self) -> Option<Body> {
        self.offers += 1;
        sdp(&format!("offer {}", self.offers))
    }

    fn run_until(&mut self, until: Instant) {
        loop {
            self.read();
            let next = self.plan.keys().next().copied();
            let (at, act) = match next.filter(|(at, _)| *at <= until) {
                Some(key) => (key.0, Some(key)),
                None => (until, None),
            };
            if self.pair.step(at) {
                continue;
            }
            self.pair.now = self.pair.now.max(at);
            let Some(key) = act else { return };
            if let Some((who, session, act)) = self.plan.remove(&key) {
                self.act(who, session, act);
                self.pair.drain();
            }
        }
    }

    fn act(&mut self, who: usize, session: SessionId, act: Act) {
        let now = self.pair.at();
        let key = (who, session);
        let reply = match act {
            Act::EarlyMedia | Act::Accept | Act::Answer | Act::Prack | Act::Acknowledge => {
                let open = self.open.get(&key).cloned();
                match open {
                    Some(offer) => sdp(&offer.replace("offer", "answer")),
                    None if matches!(act, Act::Acknowledge | Act::Prack) => None,
                    None => self.offer(),
                }
            }
            Act::Reoffer => self.offer(),
            Act::Update if self.draw.random_bool(0.7) => self.offer(),
            _ => None,
        };
        let end = &mut self.pair.ends[who];
        match act {
            Act::Ring => end.ring(now, session, 180, None),
            Act::EarlyMedia => end.ring(now, session, 183, reply),
            Act::Accept => end.accept(now, session, Vec::new(), reply),
            Act::Acknowledge => end.acknowledge(now, session, reply),
            Act::Reject => end.reject(now, session, 486, None, Vec::new()),
            Act::HangUp => end.hang_up(now, session, Some("Q.850;cause=16")),
            Act::Reoffer | Act::AskForOffer => end.reoffer(now, session, reply),
            Act::Update => end.update(now, session, reply),
            Act::Answer => end.answer_reoffer(now, session, reply),
            Act::Refuse => end.refuse_reoffer(now, session, 488),
            Act::Prack => {
                let tag = self.forks.get(&key).cloned().unwrap_or_default();
                end.prack(now, session, &tag, reply);
            }
            Act::Refer => end.refer(now, session, "sip:carol@127.0.23.3", None, None),
            Act::AnswerRefer => end.answer_refer(now, session, self.draw.random_bool(0.7)),
            Act::NotifyRefer => {
                let status = if self.draw.random_bool(0.5) { 180 } else { 200 };
                end.notify_refer(now, session, status, "Fine");
            }
            Act::Info => {
                let digit = InfoDigit {
                    digit: '5',
                    duration_ms: 100,
                };
                end.info_digit(now, session, digit);
            }
        }
    }

    /// Takes note of what was said and reacts to what happened.
    fn read(&mut self) {
        while let Some((who, text)) = self.pair.said.get(self.read_said).cloned() {
            self.read_said += 1;
            // A repeated 200 answers nothing anew.
            if let Some(answer) = answer_in(&text)
                && self.given.insert((who, answer.clone()))
            {
                self.agreed[who] = Some(answer);
            }
        }
        while let Some((who, event)) = self.pair.events.get(self.read_events).cloned() {
            self.read_events += 1;
            self.on_event(who, event);
        }
    }

    fn on_event(&mut self, who: usize, event: SipEvent) {
        let soon_ms = self.draw.random_range(0..1_500);
        let mut heard = |who: usize, body: &Option<Body>| {
            if let Some(answer) = answer_in(&text_of(body)) {
                self.agreed[who] = Some(answer);
            }
        };
        match event {
            SipEvent::Incoming { session, body, .. } => {
                self.sessions.push((who, session));
                self.note_offer(who, session, &body);
                let acts = [Act::Ring, Act::EarlyMedia, Act::Accept, Act::Reject];
                for (chance, act) in [0.6, 0.5, 0.85, 0.06].into_iter().zip(acts) {
                    if self.draw.random_bool(chance) {
                        let after_ms = self.draw.random_range(0..4_000);
                        self.plan(after_ms, who, session, act);
                    }
                }
            }
            SipEvent::Provisional { body, .. } => heard(who, &body),
            SipEvent::EarlyOffer {
                session,
                to_tag,
                body,
            } => {
                self.forks.insert((who, session), to_tag);
                self.note_offer(who, session, &Some(body));
                self.plan(soon_ms, who, session, Act::Prack);
            }
            SipEvent::EarlyAnswer { body, .. } => heard(who, &Some(body)),
            SipEvent::Answered { session, body, .. } => {
                heard(who, &body);
                self.note_offer(who, session, &body);
                self.plan(soon_ms, who, session, Act::Acknowledge);
            }
            SipEvent::Confirmed { body, .. } => heard(who, &body),
            SipEvent::Reoffer { session, body } => {
                self.note_offer(who, session, &body);
                let act = if self.draw.random_bool(0.8) {
                    Act::Answer
                } else {
                    Act::Refuse
                };
                self.plan(soon_ms, who, session, act);
            }
            SipEvent::ReofferAnswered { session, body, .. } => {
                heard(who, &body);
                self.note_offer(who, session, &body);
                self.plan(soon_ms, who, session, Act::Acknowledge);
            }
            SipEvent::Refer { session, .. } => {
                self.plan(soon_ms, who, session, Act::AnswerRefer);
                self.plan(soon_ms + 1_000, who, session, Act::NotifyRefer);
            }
            _ => {}
        }
    }

    fn note_offer(&mut self, who: usize, session: SessionId, body: &Option<Body>) {
        let text = text_of(body);
        if text.starts_with("offer") {
            self.open.insert((who, session), text);
        } else {
            self.open.remove(&(who, session));
        }
    }
}

/// The offer an answer is to, when a message ends in an answer.
fn answer_in(text: &str) -> Option<String> {
    let (_, number) = text.rsplit_once("answer ")?;
    number
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| number.to_owned())
}

/// `SHOW_SEED=n` prints what was said.
#[test]
fn one_seed_to_look_at() {
    if std::env::var("SHOW_SEED").is_ok() {
        println!("{:?}", play(number("SHOW_SEED", 0), Plant::Nothing));
    }
}

/// Plays one seed. The complaint, if there is one.
fn play(seed: u64, plant: Plant) -> Result<(), String> {
    let mut story = Story::new(seed);
    if plant == Plant::ByeNeverSent {
        story.pair.lose = Some(Box::new(|from, text| from == 0 && text.starts_with("BYE")));
    }
    let body = if story.draw.random_bool(0.75) {
        story.offer()
    } else {
        None
    };
    let required = [("Require", "100rel")];
    let headers = if story.draw.random_bool(0.3) {
        &required[..]
    } else {
        &[]
    };
    let start = story.pair.start;
    let caller = story.pair.call(0, headers, body);
    story.sessions.push((0, caller));
    for _ in 0..story.draw.random_range(0..8) {
        let acts = [
            Act::HangUp,
            Act::Reoffer,
            Act::Reoffer,
            Act::Update,
            Act::Update,
            Act::AskForOffer,
            Act::Refer,
            Act::Info,
            Act::Ring,
            Act::EarlyMedia,
        ];
        let act = acts[story.draw.random_range(0..acts.len())];
        let who = story.draw.random_range(0..2);
        let after_ms = story.draw.random_range(0..BUSY_MS / 2);
        // The called side's first session is its only one.
        story.plan(after_ms, who, SessionId(1), act);
    }
    story.run_until(start + Duration::from_millis(BUSY_MS));
    if plant == Plant::AnswersSwapped {
        story.agreed.swap(0, 1);
        story.agreed[0] = story.agreed[0].take().map(|answer| format!("{answer}0"));
    }
    story.pair.weather = Weather {
        transport: story.pair.weather.transport,
        ..CALM
    };
    story.run_until(start + Duration::from_millis(SETTLED_MS));
    if std::env::var("SHOW_SEED").is_ok() {
        for (who, text) in &story.pair.said {
            let first = text.lines().next().unwrap_or_default();
            let named = |name: &str| {
                text.lines()
                    .find(|line| line.starts_with(name))
                    .unwrap_or_default()
                    .to_owned()
            };
            let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
            println!(
                "{who} {first} | {} {} {} | {body}",
                named("CSeq"),
                named("RSeq"),
                named("RAck")
            );
        }
        println!("{:#?}", story.pair.events);
    }
    let lives = |story: &Story, who: usize| story.pair.ends[who].snapshot().sessions;
    let alive = [lives(&story, 0), lives(&story, 1)];
    if alive[0] != alive[1] {
        return Err(format!("seed {seed}: {alive:?} sessions are left"));
    }
    let answered =
        |(who, event): &(usize, SipEvent)| *who == 0 && matches!(event, SipEvent::Answered { .. });
    let answered = story.pair.events.iter().any(answered);
    if answered && alive[0] == 1 && story.agreed[0] != story.agreed[1] {
        return Err(format!("seed {seed}: agreed on {:?}", story.agreed));
    }
    for (who, session) in story.sessions.clone() {
        story.plan(0, who, session, Act::HangUp);
    }
    story.run_until(start + Duration::from_secs(2_000));
    for (who, end) in story.pair.ends.iter().enumerate() {
        let snapshot = end.snapshot();
        if !snapshot.is_idle() {
            return Err(format!("seed {seed}: endpoint {who} keeps {snapshot:?}"));
        }
    }
    for (who, session) in &story.sessions {
        let ended = endings(&story.pair.events, *who, *session);
        if ended != 1 {
            return Err(format!(
                "seed {seed}: {session} of {who} ended {ended} times"
            ));
        }
    }
    Ok(())
}

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
fn whatever_crosses_both_sides_agree_and_nothing_stays_behind() {
    let (first, count) = (number("FIRST_SEED", 0), number("SEEDS", 2_000));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let (begun, done) = (Instant::now(), AtomicU64::new(0));
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..threads)
            .map(|lane| {
                let done = &done;
                scope.spawn(move || {
                    let seeds = (first + lane..first + count).step_by(threads as usize);
                    let failed = seeds.filter_map(|seed| {
                        let complaint = play(seed, Plant::Nothing).err();
                        let so_far = done.fetch_add(1, Ordering::Relaxed) + 1;
                        if so_far.is_multiple_of(TOLD_EVERY) {
                            let rate = so_far as f64 / begun.elapsed().as_secs_f64();
                            eprintln!("{so_far} of {count} seeds, {rate:.0} a second");
                        }
                        complaint
                    });
                    failed.take(COMPLAINTS_MAX).collect::<Vec<String>>()
                })
            })
            .collect();
        let done = lanes.into_iter().map(|lane| lane.join().expect("a lane"));
        done.flatten().collect()
    });
    println!(
        "{} of {count} seeds run, from {first} on, in {:.0} s: {} complaints",
        done.into_inner(),
        begun.elapsed().as_secs_f64(),
        complaints.len()
    );
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn planted_bugs_are_caught() {
    for plant in [Plant::ByeNeverSent, Plant::AnswersSwapped] {
        let caught = (0..200).filter(|seed| play(*seed, plant).is_err()).count();
        assert!(caught > 0, "a planted bug went unseen");
    }
}
