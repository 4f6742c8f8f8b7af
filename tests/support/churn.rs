//! Churn: agents who work as fast as people never do, and do everything people do: talk, hold,
//! give up, reload the page in mid-call, close the browser while it rings. Afterwards nothing may
//! be left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use foredial::demo::carrier::CallState;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::browser::Failure;
use super::floor::{Floor, Plan, Sitting, Usage};
use super::line::Access;
use super::page::{Page, click};

/// The carrier by its number plan: 8 of 20 answer and stay, 4 hang up, 3 are busy, 2 decline, one
/// each rings out, does not exist and is out of circuits.
const ENDINGS: [u8; 20] = [
    0, 70, 5, 95, 10, 80, 15, 96, 20, 71, 25, 75, 97, 30, 72, 85, 35, 98, 81, 90,
];
/// Any one step of an agent on a loaded machine.
const STEP_LIMIT: Duration = Duration::from_secs(20);
/// A customer who rings out is given up by the daemon after 15 s.
const RING_LIMIT: Duration = Duration::from_secs(30);
/// Transactions stay for 32 s (64 × T1) after the last call; some more for a loaded machine.
const QUIET_LIMIT: Duration = Duration::from_secs(60);
/// The daemon's idle cost is measured over this.
const IDLE_WINDOW: Duration = Duration::from_secs(10);
/// How much a WAV may differ from the time between answer and end.
const DURATION_OFF_MS_MAX: u64 = 1_000;
/// Peaks below this are silence; both sides' tones are near 8,000.
const SILENCE: i16 = 500;

#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub seats: usize,
    pub time: Duration,
    pub seed: u64,
}

/// What the agents did and met.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub cards: u64,
    pub dials: u64,
    pub done: BTreeMap<&'static str, u64>,
    pub refusals: BTreeMap<String, u64>,
    /// In mid-call.
    pub reloads: Vec<Reload>,
    pub failures: Vec<String>,
}

/// From the page's going to the customer's voice in the new one, and what it was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reload {
    pub voice_ms: u64,
    /// Of it, from the seat's INVITE to its 200, and to the end of the DTLS handshake.
    pub answered_ms: u64,
    pub connected_ms: u64,
}

/// What there was at the end.
#[derive(Debug)]
pub struct Report {
    pub size: Size,
    pub tally: Tally,
    pub counters: Value,
    pub results: BTreeMap<String, u64>,
    /// The most calls that were up at once.
    pub peak_calls: usize,
    pub peak_talking: usize,
    pub idle_cpu_percent: f64,
    pub busy_cpu_percent: f64,
    pub before: Usage,
    pub after: Usage,
    pub quiet_after: Option<Duration>,
    pub remains: Remains,
    pub wavs: Wavs,
    pub answered_in_store: u64,
    pub carrier_calls: usize,
    pub carrier_answered: usize,
    pub carrier_live: usize,
    pub errors_logged: Vec<String>,
}

/// What must be nothing.
#[derive(Debug, Default)]
pub struct Remains {
    /// Of the switch: name and count of what is not zero.
    pub switch: BTreeMap<String, u64>,
    pub leads: BTreeMap<String, u64>,
    pub reservations: u64,
    pub attempts: u64,
    pub recordings_running: u64,
    pub recordings_failed: u64,
    pub parts: Vec<PathBuf>,
}

#[derive(Debug, Default)]
pub struct Wavs {
    pub count: u64,
    pub without_row: Vec<String>,
    pub missing: Vec<String>,
    pub broken: Vec<String>,
    /// Whose length is not that of the talk.
    pub off: Vec<String>,
    pub off_ms_max: u64,
    /// Talks of a second or more in which the customer's channel is silent.
    pub customer_silent: Vec<String>,
    /// The same for the agent, whose browser may have been gone.
    pub agent_silent: u64,
}

/// The whole of it: opens a floor, lets `size.seats` agents work, ends the shift, and looks at
/// what remains.
pub async fn run(binary: &str, size: Size) -> Result<Report, Failure> {
    let plan = Plan {
        binary,
        agents: size.seats,
        leads: 4_000,
        endings: &ENDINGS,
        answer_after_ms: 700,
        hang_up_after_ms: 4_000,
    };
    let mut floor = Floor::open(&plan).await?;
    let before = floor.usage()?;
    let mut seated = Vec::new();
    for at in 0..size.seats {
        let access = floor.sign_in(at).await?;
        let sitting = Sitting::sit(&access).await?;
        seated.push((access, sitting));
    }
    let idle_cpu_percent = percent_over(&floor, IDLE_WINDOW).await?;
    println!(
        "{} seats idle: {idle_cpu_percent:.1} % of one CPU",
        size.seats
    );

    let began = (Instant::now(), floor.usage()?);
    let until = Instant::now() + size.time;
    let shifts: Vec<_> = seated
        .into_iter()
        .enumerate()
        .map(|(at, (access, sitting))| {
            let rng = StdRng::seed_from_u64(size.seed.wrapping_add(at as u64));
            tokio::spawn(Shift::new(access, sitting, rng).work(until))
        })
        .collect();
    let floor_watch = watch(&floor, until).await?;
    let busy = floor.usage()?.cpu.saturating_sub(began.1.cpu);
    let busy_cpu_percent = 100.0 * busy.as_secs_f64() / began.0.elapsed().as_secs_f64();
    let mut tally = Tally::default();
    for shift in shifts {
        tally.add(shift.await?);
    }
    let (quiet_after, last) = quiet(&floor).await?;
    let after = floor.usage()?;
    let calls = floor.carrier.calls();
    let errors_logged = floor
        .stop()
        .await?
        .lines()
        .filter(|line| line.contains("ERROR") || line.contains("panicked"))
        .map(str::to_owned)
        .collect();
    let database = floor.database()?;
    Ok(Report {
        size,
        tally,
        counters: last["counters"].clone(),
        results: counts(
            &database,
            "SELECT result, count(*) FROM attempts GROUP BY result",
        )?,
        peak_calls: floor_watch.0,
        peak_talking: floor_watch.1,
        idle_cpu_percent,
        busy_cpu_percent,
        before,
        after,
        quiet_after,
        remains: remains(&floor, &database, &last)?,
        wavs: wavs(&floor.recordings(), &database)?,
        answered_in_store: count(
            &database,
            "SELECT count(*) FROM attempts WHERE answered_at IS NOT NULL",
        )?,
        carrier_calls: calls.len(),
        carrier_answered: calls
            .iter()
            .filter(|call| call.answered_ms.is_some())
            .count(),
        carrier_live: calls
            .iter()
            .filter(|call| !matches!(call.state, CallState::Ended { .. }))
            .count(),
        errors_logged,
    })
}

impl Report {
    /// Everything that is not as it must be, in words.
    pub fn complaints(&self) -> Vec<String> {
        let mut wrong = self.tally.failures.clone();
        let mut must = |fine: bool, what: String| {
            if !fine {
                wrong.push(what);
            }
        };
        let (remains, wavs) = (&self.remains, &self.wavs);
        must(
            self.quiet_after.is_some(),
            format!("the switch did not come to rest: {:?}", remains.switch),
        );
        must(
            remains.leads.is_empty(),
            format!("stuck leads: {:?}", remains.leads),
        );
        must(
            remains.reservations == 0,
            format!("{} reservations are open", remains.reservations),
        );
        must(
            remains.attempts == 0,
            format!("{} attempts have no end", remains.attempts),
        );
        must(
            remains.recordings_running == 0,
            format!("{} recordings have no end", remains.recordings_running),
        );
        must(
            remains.recordings_failed == 0,
            format!("{} recordings failed", remains.recordings_failed),
        );
        must(
            remains.parts.is_empty(),
            format!("unfinished files: {:?}", remains.parts),
        );
        must(
            self.carrier_live == 0,
            format!("the carrier has {} calls open", self.carrier_live),
        );
        let answered = self.counters["answered"].as_u64();
        must(
            answered == Some(self.answered_in_store),
            format!(
                "{answered:?} answered, {} in the store",
                self.answered_in_store
            ),
        );
        must(
            wavs.count == self.answered_in_store,
            format!(
                "{} WAVs of {} answered calls",
                wavs.count, self.answered_in_store
            ),
        );
        for (what, which) in [
            ("WAVs nobody knows of", &wavs.without_row),
            ("WAVs missing", &wavs.missing),
            ("WAVs that do not open", &wavs.broken),
            ("WAVs of a wrong length", &wavs.off),
            ("WAVs without the customer's voice", &wavs.customer_silent),
            ("errors logged", &self.errors_logged),
        ] {
            must(which.is_empty(), format!("{what}: {which:?}"));
        }
        must(
            self.after.files <= self.before.files + FILES_MORE_MAX,
            format!(
                "{} files were open before, {} after",
                self.before.files, self.after.files
            ),
        );
        wrong
    }
}

/// Connections to the database that readers keep, and the keep-alive of the tests' own client.
const FILES_MORE_MAX: usize = 12;

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tally = &self.tally;
        let mut reloads = tally.reloads.clone();
        reloads.sort_unstable();
        let reload = |share: usize| {
            let at = (reloads.len() * share).div_ceil(100).max(1) - 1;
            reloads.get(at).map_or(0, |reload| reload.voice_ms)
        };
        let slowest = &reloads[reloads.len().saturating_sub(3)..];
        writeln!(
            f,
            "{} seats, {} s of churn",
            self.size.seats,
            self.size.time.as_secs()
        )?;
        writeln!(
            f,
            "  cards {}, dials {}, done {:?}",
            tally.cards, tally.dials, tally.done
        )?;
        writeln!(f, "  refused {:?}", tally.refusals)?;
        writeln!(f, "  results {:?}", self.results)?;
        writeln!(
            f,
            "  at once: {} calls, {} talking",
            self.peak_calls, self.peak_talking
        )?;
        writeln!(
            f,
            "  reload to voice: {} times, p50 {} ms, p95 {} ms, p99 {} ms; slowest {slowest:?}",
            reloads.len(),
            reload(50),
            reload(95),
            reload(99),
        )?;
        writeln!(
            f,
            "  answered {} (store {}, carrier {}), WAVs {} (longest off {} ms, {} with no agent in them)",
            self.counters["answered"],
            self.answered_in_store,
            self.carrier_answered,
            self.wavs.count,
            self.wavs.off_ms_max,
            self.wavs.agent_silent
        )?;
        writeln!(
            f,
            "  carrier: {} calls, {} open",
            self.carrier_calls, self.carrier_live
        )?;
        writeln!(
            f,
            "  at rest after {:?}; remains {:?}",
            self.quiet_after, self.remains
        )?;
        writeln!(
            f,
            "  daemon: {:.1} % of a CPU idle, {:.1} % busy; files {} → {}, threads {} → {}, resident {} → {} MB",
            self.idle_cpu_percent,
            self.busy_cpu_percent,
            self.before.files,
            self.after.files,
            self.before.threads,
            self.after.threads,
            self.before.resident_kb / 1024,
            self.after.resident_kb / 1024
        )?;
        write!(
            f,
            "churn seats={} seconds={} dials={} answered={} wavs={} peak_calls={} peak_talking={} stuck={} idle_cpu_percent={:.1} busy_cpu_percent={:.1} complaints={}",
            self.size.seats,
            self.size.time.as_secs(),
            tally.dials,
            self.answered_in_store,
            self.wavs.count,
            self.peak_calls,
            self.peak_talking,
            self.remains.switch.values().sum::<u64>() + self.remains.leads.values().sum::<u64>(),
            self.idle_cpu_percent,
            self.busy_cpu_percent,
            self.complaints().len()
        )
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.cards += other.cards;
        self.dials += other.dials;
        for (what, count) in other.done {
            *self.done.entry(what).or_default() += count;
        }
        for (what, count) in other.refusals {
            *self.refusals.entry(what).or_default() += count;
        }
        self.reloads.extend(other.reloads);
        self.failures.extend(other.failures);
    }

    fn note(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }
}

/// One agent's day.
struct Shift {
    access: Access,
    sitting: Option<Sitting>,
    rng: StdRng,
    tally: Tally,
}

/// What an agent sees on her desk.
fn kind(desk: &Value) -> &str {
    desk["state"]["kind"].as_str().unwrap_or_default()
}

fn call_state(desk: &Value) -> &str {
    desk["call"]["state"].as_str().unwrap_or_default()
}

impl Shift {
    fn new(access: Access, sitting: Sitting, rng: StdRng) -> Shift {
        Shift {
            access,
            sitting: Some(sitting),
            rng,
            tally: Tally::default(),
        }
    }

    async fn work(mut self, until: Instant) -> Tally {
        let agent = self
            .page()
            .map(|page| page.desk()["agent"]["id"].to_string());
        let agent = agent.unwrap_or_default();
        while Instant::now() < until {
            if let Err(why) = self.step().await {
                self.tally.failures.push(format!("{agent}: {why}"));
                break;
            }
        }
        if let Err(why) = self.go_home().await {
            self.tally
                .failures
                .push(format!("{agent} going home: {why}"));
        }
        self.tally
    }

    fn page(&self) -> Result<&Page, Failure> {
        Ok(&self.sitting.as_ref().ok_or("nobody is sitting")?.page)
    }

    /// Does what the desk asks for.
    async fn step(&mut self) -> Result<(), Failure> {
        let desk = self.page()?.desk();
        match kind(&desk) {
            "logged_out" | "not_ready" => {
                self.page()?.carry_out(json!({ "cmd": "ready" })).await?;
            }
            "ready" => {
                let carded = |desk: &Value| kind(desk) != "ready";
                self.page()?.until(STEP_LIMIT, "card", carded).await?;
            }
            "previewing" => self.card(&desk).await?,
            // Back from a closed browser: whatever is up is ended.
            "dialing" | "talking" => self.hang_up().await?,
            "wrap_up" => self.wrap_up().await?,
            other => return Err(format!("an unknown state: {other}").into()),
        }
        Ok(())
    }

    async fn card(&mut self, desk: &Value) -> Result<(), Failure> {
        self.tally.cards += 1;
        let token = desk["card"]["token"].clone();
        self.pause(0, 300).await;
        if self.rng.random_bool(0.04) {
            self.tally.note("skip");
            let reason = desk["card"]["skip_reasons"][0]["key"].clone();
            let skip = json!({ "cmd": "skip", "token": token, "key": click(), "reason": reason });
            return self.ask(skip).await.map(|_| ());
        }
        let dial = json!({ "cmd": "dial", "token": token, "key": click() });
        if !self.ask(dial).await? {
            return Ok(());
        }
        self.tally.dials += 1;
        match self.rng.random_range(0..100) {
            0..5 => {
                self.pause(0, 300).await;
                self.tally.note("give up at once");
                self.hang_up().await
            }
            5..12 => self.close_browser().await,
            _ => self.listen().await,
        }
    }

    /// Listens to it ringing until something happens.
    async fn listen(&mut self) -> Result<(), Failure> {
        let patience = match self.rng.random_bool(0.7) {
            true => Duration::from_millis(self.rng.random_range(3_000..6_000)),
            false => RING_LIMIT,
        };
        let over = |desk: &Value| kind(desk) != "dialing";
        match self.page()?.until(patience, "end of ringing", over).await {
            Ok(desk) if kind(&desk) == "talking" => self.talk().await,
            Ok(_) => Ok(()),
            Err(why) if patience == RING_LIMIT => Err(why),
            Err(_) => {
                self.tally.note("give up ringing");
                self.hang_up().await
            }
        }
    }

    async fn talk(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_millis(self.rng.random_range(3_000..10_000));
        self.tally.note("talk");
        match self.rng.random_range(0..100) {
            0..20 => self.reload().await?,
            20..35 => {
                self.tally.note("hold and mute");
                for cmd in ["mute", "hold"] {
                    self.ask(json!({ "cmd": cmd, "on": true })).await?;
                    self.pause(200, 1_000).await;
                    self.ask(json!({ "cmd": cmd, "on": false })).await?;
                }
                self.ask(json!({ "cmd": "volume", "db": -6 })).await?;
            }
            _ => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        let over = |desk: &Value| kind(desk) != "talking";
        match self.page()?.until(left, "end of the talk", over).await {
            Ok(_) => {
                self.tally.note("customer hung up");
                Ok(())
            }
            Err(_) => self.hang_up().await,
        }
    }

    /// F5 in mid-call.
    async fn reload(&mut self) -> Result<(), Failure> {
        self.pause(500, 2_000).await;
        self.tally.note("reload in mid-call");
        self.sitting = None;
        let began = Instant::now();
        let sitting = Sitting::sit(&self.access).await?;
        let still = call_state(&sitting.page.desk()) == "talking";
        if still && sitting.agent.hears(1_000.0).await {
            let seat = &sitting.agent;
            self.tally.reloads.push(Reload {
                voice_ms: began.elapsed().as_millis() as u64,
                answered_ms: seat.answered_after.as_millis() as u64,
                connected_ms: seat.connected_after.as_millis() as u64,
            });
        } else if call_state(&sitting.page.desk()) == "talking" {
            return Err("no voice after a reload in mid-call".into());
        }
        self.sitting = Some(sitting);
        Ok(())
    }

    /// The browser is closed while it rings, and opened again, sooner or later.
    async fn close_browser(&mut self) -> Result<(), Failure> {
        let rings = |desk: &Value| kind(desk) != "dialing" || call_state(desk) == "ringing";
        self.page()?.until(STEP_LIMIT, "ringing", rings).await?;
        self.tally.note("close browser ringing");
        self.sitting = None;
        self.pause(200, 8_000).await;
        self.sitting = Some(Sitting::sit(&self.access).await?);
        Ok(())
    }

    async fn hang_up(&mut self) -> Result<(), Failure> {
        self.ask(json!({ "cmd": "hang_up" })).await?;
        let over = |desk: &Value| !matches!(kind(desk), "dialing" | "talking");
        self.page()?
            .until(STEP_LIMIT, "end of the call", over)
            .await?;
        Ok(())
    }

    async fn wrap_up(&mut self) -> Result<(), Failure> {
        self.pause(0, 500).await;
        let desk = self.page()?.desk();
        if kind(&desk) != "wrap_up" {
            return Ok(());
        }
        let keys: Vec<&Value> = desk["card"]["dispositions"]
            .as_array()
            .ok_or("no dispositions")?
            .iter()
            .filter(|one| one["needs_callback_time"] != true && one["notes_min"] == 0)
            .map(|one| &one["key"])
            .collect();
        let key = keys.get(self.rng.random_range(0..keys.len().max(1)));
        let dispose = json!({
            "cmd": "dispose", "token": desk["card"]["token"], "key": click(),
            "disposition": key.ok_or("no disposition")?, "notes": "",
        });
        self.ask(dispose).await?;
        let token = desk["card"]["token"].clone();
        let gone = |desk: &Value| desk["card"]["token"] != token;
        self.page()?
            .until(STEP_LIMIT, "end of wrap-up", gone)
            .await?;
        Ok(())
    }

    /// Sends a command. False when it was refused because something else came first, which is as
    /// it should be; the next look at the desk tells.
    async fn ask(&mut self, command: Value) -> Result<bool, Failure> {
        let cmd = command["cmd"].as_str().unwrap_or_default().to_owned();
        let refusal = match self.page()?.command(command).await?.outcome {
            Ok(()) => return Ok(true),
            Err(refusal) => refusal,
        };
        let name = format!("{cmd}: {} {}", refusal.status, refusal.rule);
        *self.tally.refusals.entry(name).or_default() += 1;
        match refusal.rule.as_str() {
            // Nobody else takes a card she looks at: her page showed an older desk.
            "stale_token" if cmd == "dial" => Err(format!("{cmd} was refused: {refusal:?}").into()),
            "no_call" | "stale_token" | "wrong_state" | "not_answered" => Ok(false),
            _ => Err(format!("{cmd} was refused: {refusal:?}").into()),
        }
    }

    /// The last card is given back or disposed of, and the agent leaves in good order.
    async fn go_home(&mut self) -> Result<(), Failure> {
        if self.sitting.is_none() {
            self.sitting = Some(Sitting::sit(&self.access).await?);
        }
        for _ in 0..20 {
            let desk = self.page()?.desk();
            match kind(&desk) {
                "logged_out" | "not_ready" if desk["card"].is_null() => break,
                "ready" => {
                    self.ask(json!({ "cmd": "not_ready", "reason": "home" }))
                        .await?;
                }
                "previewing" => {
                    let token = &desk["card"]["token"];
                    self.ask(json!({ "cmd": "cancel", "token": token, "key": click() }))
                        .await?;
                }
                "dialing" | "talking" => self.hang_up().await?,
                _ => {
                    self.ask(json!({ "cmd": "not_ready", "reason": "home" }))
                        .await?;
                    self.wrap_up().await?;
                }
            }
            self.pause(50, 100).await;
        }
        let idle = |desk: &Value| matches!(kind(desk), "logged_out" | "not_ready");
        self.page()?
            .until(STEP_LIMIT, "end of the shift", idle)
            .await?;
        let sitting = self.sitting.take().ok_or("nobody is sitting")?;
        sitting.leave().await
    }

    async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        let pause_ms = self.rng.random_range(from_ms..to_ms);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// Looks at the switch every second until `until`; the most calls, and the most talking, at once.
async fn watch(floor: &Floor, until: Instant) -> Result<(usize, usize), Failure> {
    let mut most = (0, 0);
    let mut told = Instant::now();
    while Instant::now() < until {
        let snapshot = floor.snapshot().await?;
        let calls = snapshot["calls"].as_array().ok_or("no calls")?;
        let live = calls.iter().filter(|call| call["state"] != "ended").count();
        let talks = |call: &&Value| call["state"] == "talking" || call["state"] == "held";
        let talking = calls.iter().filter(talks).count();
        most = (most.0.max(live), most.1.max(talking));
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            let usage = floor.usage()?;
            println!(
                "{live} calls, {talking} talking, {}; {usage:?}",
                snapshot["counters"]
            );
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(most)
}

async fn percent_over(floor: &Floor, window: Duration) -> Result<f64, Failure> {
    let (before, began) = (floor.usage()?, Instant::now());
    tokio::time::sleep(window).await;
    let spent = floor.usage()?.cpu.saturating_sub(before.cpu);
    Ok(100.0 * spent.as_secs_f64() / began.elapsed().as_secs_f64())
}

/// Waits until the switch holds nothing any more: how long that took, and its last picture.
async fn quiet(floor: &Floor) -> Result<(Option<Duration>, Value), Failure> {
    let began = Instant::now();
    loop {
        let snapshot = floor.snapshot().await?;
        if held(&snapshot).is_empty() {
            return Ok((Some(began.elapsed()), snapshot));
        }
        if began.elapsed() > QUIET_LIMIT {
            return Ok((None, snapshot));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// What the switch still holds.
fn held(snapshot: &Value) -> BTreeMap<String, u64> {
    let calls = snapshot["calls"].as_array().map_or(1, Vec::len) as u64;
    let counts = [
        ("calls", Some(calls)),
        ("legs", snapshot["legs"].as_u64()),
        ("rtp ports", snapshot["rtp_ports_in_use"].as_u64()),
        ("sip sessions", snapshot["sip"]["sessions"].as_u64()),
        ("sip dialogs", snapshot["sip"]["dialogs"].as_u64()),
        ("sip transactions", snapshot["sip"]["transactions"].as_u64()),
        ("writes", snapshot["writes_pending"].as_u64()),
    ];
    // A count that is not there is a test that would see nothing.
    let counts = counts.map(|(name, count)| (name.to_owned(), count.unwrap_or(u64::MAX / 8)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn remains(
    floor: &Floor,
    database: &rusqlite::Connection,
    last: &Value,
) -> Result<Remains, Failure> {
    let leads = "SELECT state, count(*) FROM leads WHERE state IN ('reserved', 'dialing', 'connected', 'wrap_up') GROUP BY state";
    let count = |sql: &str| count(database, sql);
    Ok(Remains {
        switch: held(last),
        leads: counts(database, leads)?,
        reservations: count("SELECT count(*) FROM reservations WHERE ended_at IS NULL")?,
        attempts: count("SELECT count(*) FROM attempts WHERE ended_at IS NULL")?,
        recordings_running: count("SELECT count(*) FROM attempts WHERE recording = 'running'")?,
        recordings_failed: count("SELECT count(*) FROM attempts WHERE recording = 'failed'")?,
        parts: files(&floor.recordings())?
            .into_iter()
            .filter(|path| path.extension().is_none_or(|ending| ending != "wav"))
            .collect(),
    })
}

fn count(database: &rusqlite::Connection, sql: &str) -> Result<u64, Failure> {
    Ok(database.query_row(sql, [], |row| row.get::<_, i64>(0))? as u64)
}

fn counts(database: &rusqlite::Connection, sql: &str) -> Result<BTreeMap<String, u64>, Failure> {
    let mut statement = database.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let name: Option<String> = row.get(0)?;
        Ok((
            name.unwrap_or("none".to_owned()),
            row.get::<_, i64>(1)? as u64,
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

/// Every WAV against its attempt's row.
fn wavs(folder: &Path, database: &rusqlite::Connection) -> Result<Wavs, Failure> {
    let mut wavs = Wavs::default();
    let mut on_disk: BTreeSet<PathBuf> = files(folder)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "wav"))
        .collect();
    wavs.count = on_disk.len() as u64;
    let mut statement = database.prepare(
        "SELECT id, recording_path, ended_at - answered_at FROM attempts WHERE answered_at IS NOT NULL",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, path): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let talk_ms = row.get::<_, Option<i64>>(2)?.unwrap_or(0).max(0) as u64;
        let path = path.map(|path| folder.join(path));
        match path.filter(|path| on_disk.remove(path)) {
            Some(path) => wavs.judge(&id, &path, talk_ms),
            None => wavs.missing.push(format!("{id} ({talk_ms} ms)")),
        }
    }
    let name = |path: &PathBuf| path.display().to_string();
    wavs.without_row = on_disk.iter().map(name).collect();
    Ok(wavs)
}

impl Wavs {
    fn judge(&mut self, id: &str, path: &Path, talk_ms: u64) {
        let reader = match hound::WavReader::open(path) {
            Ok(reader) => reader,
            Err(why) => return self.broken.push(format!("{id}: {why}")),
        };
        let spec = reader.spec();
        if (spec.channels, spec.sample_rate, spec.bits_per_sample) != (2, 8_000, 16) {
            return self.broken.push(format!("{id}: {spec:?}"));
        }
        let long_ms = u64::from(reader.duration()) / 8;
        let samples: Result<Vec<i16>, _> = reader.into_samples().collect();
        let samples = match samples {
            Ok(samples) => samples,
            Err(why) => return self.broken.push(format!("{id}: {why}")),
        };
        self.off_ms_max = self.off_ms_max.max(long_ms.abs_diff(talk_ms));
        if long_ms.abs_diff(talk_ms) > DURATION_OFF_MS_MAX {
            self.off.push(format!("{id}: {long_ms} ms of {talk_ms} ms"));
        }
        let peak = |channel: usize| {
            let of = samples.iter().skip(channel).step_by(2);
            of.map(|sample| sample.saturating_abs()).max().unwrap_or(0)
        };
        if talk_ms >= 1_000 {
            if peak(1) < SILENCE {
                self.customer_silent.push(format!("{id} ({talk_ms} ms)"));
            }
            self.agent_silent += u64::from(peak(0) < SILENCE);
        }
    }
}

/// For tests: runs and prints, and complains by panicking.
pub async fn prove(binary: &str, size: Size) {
    let report = run(binary, size).await.expect("the floor stands");
    println!("{report}");
    let complaints = report.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(
        report.peak_talking * 2 > size.seats,
        "too few talked at once to prove anything: {}",
        report.peak_talking
    );
}
