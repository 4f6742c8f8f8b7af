//! How long a click on Call takes to become an INVITE on the wire, with twenty recorded calls up:
//! from the request written to the page's WebSocket to the carrier's receiving it, the attempt's
//! row on disk in between. Beside it, what one fsync costs on the same disk in the same minute.

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use foredial::demo::carrier::{Entry, What};
use serde_json::{Value, json};

use support::browser::Failure;
use support::floor::{Floor, Plan, Sitting};
use support::page::{Page, click};

const BINARY: &str = env!("CARGO_BIN_EXE_foredial");
const CALLS: usize = 20;
const CLICKS: usize = 200;
/// Not counted: the first ones pay for caches and connections.
const WARM_UP: usize = 10;
const PAGE_BYTES: usize = 4_096;
/// The goal: p99 within this and twice the disk's own.
const GOAL_MS: f64 = 5.0;
/// Between two rounds of three commands: a socket may say twenty a second.
const BETWEEN_MS: std::ops::Range<u64> = 150..300;
const STEP_LIMIT: Duration = Duration::from_secs(20);
/// Numbers that answer and stay.
const ENDINGS: [u8; 4] = [0, 1, 2, 3];

fn main() -> Result<(), Failure> {
    // `cargo test --all-targets` starts benches too, and this one needs a minute.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<(), Failure> {
    let mut floor = Floor::open(&Plan {
        binary: BINARY,
        agents: CALLS + 1,
        leads: 1_000,
        endings: &ENDINGS,
        answer_after_ms: 50,
        hang_up_after_ms: 0,
    })
    .await?;
    let mut talking = Vec::new();
    for at in 0..CALLS {
        let sitting = Sitting::sit(&floor.sign_in(at).await?).await?;
        dial(&sitting.page).await?;
        let talks = |desk: &Value| desk["call"]["recording"] == true;
        sitting
            .page
            .until(STEP_LIMIT, "recorded call", talks)
            .await?;
        talking.push(sitting);
    }
    let clicker = Sitting::sit(&floor.sign_in(CALLS).await?).await?;
    let mut clicks_ms = Vec::new();
    let mut fsyncs_ms = Vec::new();
    for round in 0..WARM_UP + CLICKS {
        tokio::time::sleep(Duration::from_millis(rand::random_range(BETWEEN_MS))).await;
        let took = one_click(&floor, &clicker.page).await?;
        // Between the clicks, so that both meet the same disk and the same other work.
        let fsync = fsync(floor.dir.path())?;
        if round >= WARM_UP {
            clicks_ms.push(took.as_secs_f64() * 1_000.0);
            fsyncs_ms.push(fsync.as_secs_f64() * 1_000.0);
        }
    }
    let snapshot = floor.snapshot().await?;
    let up = snapshot["calls"].as_array().map_or(0, |calls| {
        calls
            .iter()
            .filter(|call| call["state"] == "talking")
            .count()
    });
    println!(
        "{up} recorded calls were up; {} clicks, {:?} warm-up",
        clicks_ms.len(),
        WARM_UP
    );
    drop(talking);
    floor.stop().await?;
    if up != CALLS {
        return Err(format!("{up} calls were up at the end instead of {CALLS}").into());
    }
    let (click_p99, fsync_p99) = (
        percentile(&mut clicks_ms, 99),
        percentile(&mut fsyncs_ms, 99),
    );
    let goal = GOAL_MS + 2.0 * fsync_p99;
    println!(
        "click_p50_ms={:.2} click_p99_ms={click_p99:.2} fsync_p50_ms={:.2} fsync_p99_ms={fsync_p99:.2} \
         goal_p99_ms={goal:.2} clicks={}",
        percentile(&mut clicks_ms, 50),
        percentile(&mut fsyncs_ms, 50),
        clicks_ms.len(),
    );
    match click_p99 < goal {
        true => Ok(()),
        false => Err("the goal was missed".into()),
    }
}

/// Ready, card, Call. The card's number and the moment of the click.
async fn dial(page: &Page) -> Result<(String, Instant), Failure> {
    let kind = |desk: &Value| {
        desk["state"]["kind"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    if matches!(kind(&page.desk()).as_str(), "not_ready" | "logged_out") {
        page.carry_out(json!({ "cmd": "ready" })).await?;
    }
    let carded = |desk: &Value| kind(desk) == "previewing";
    let desk = page.until(STEP_LIMIT, "card", carded).await?;
    let number = desk["card"]["phones"][0]["display"]
        .as_str()
        .ok_or("no number")?;
    let number = number.chars().filter(char::is_ascii_digit).collect();
    let dial = json!({ "cmd": "dial", "token": desk["card"]["token"], "key": click() });
    Ok((number, page.carry_out(dial).await?.clicked))
}

async fn one_click(floor: &Floor, page: &Page) -> Result<Duration, Failure> {
    let (number, clicked) = dial(page).await?;
    let invited = |entry: &&Entry| {
        let invite = matches!(&entry.what, What::Received { method, repeated: false, .. } if method == "INVITE");
        invite && entry.number == number && entry.at >= clicked
    };
    // The reply to the click comes after the INVITE has left; it may still be in the socket.
    let latest = Instant::now() + STEP_LIMIT;
    let arrived = loop {
        if let Some(entry) = floor.carrier.journal().iter().rev().find(invited) {
            break entry.at;
        }
        if Instant::now() > latest {
            return Err(format!("no INVITE came; the log says {}", floor.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    page.carry_out(json!({ "cmd": "hang_up" })).await?;
    let over = |desk: &Value| desk["state"]["kind"] == "wrap_up";
    let desk = page.until(STEP_LIMIT, "wrap-up", over).await?;
    let dispositions = desk["card"]["dispositions"]
        .as_array()
        .ok_or("no dispositions")?;
    let plain = |one: &&Value| one["action"] == "final" && one["notes_min"] == 0;
    let key = &dispositions
        .iter()
        .find(plain)
        .ok_or("no final disposition")?["key"];
    let token = &desk["card"]["token"];
    let dispose = json!({ "cmd": "dispose", "token": token, "key": click(), "disposition": key });
    page.carry_out(dispose).await?;
    Ok(arrived.duration_since(clicked))
}

/// Appends a page to a file of its own and waits until the disk has it.
fn fsync(folder: &Path) -> Result<Duration, Failure> {
    let path = folder.join("fsync.probe");
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    let began = Instant::now();
    file.write_all(&[0x5A; PAGE_BYTES])?;
    file.sync_data()?;
    Ok(began.elapsed())
}

fn percentile(values: &mut [f64], share: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    // Nearest rank: the smallest value that `share` percent do not exceed.
    let rank = (values.len() * share).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(f64::NAN)
}
