//! Runs: many inputs on all cores, what breaks caught, saved and named by the numbers that make
//! it again.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::mutate::{Dice, mutated};
use crate::targets::Target;

/// Inputs are drawn by their number, so each can be made again alone.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub inputs: u64,
    pub threads: u64,
    /// Tell how far it is.
    pub aloud: bool,
}

#[derive(Clone, Debug)]
pub struct Finding {
    pub target: &'static str,
    pub number: u64,
    pub what: String,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub findings: Vec<Finding>,
    /// Of the slowest input: microseconds on a core, its target and its number.
    pub slowest: (u128, &'static str, u64),
    pub took: Duration,
}

/// Findings kept; more of them say nothing new.
const FINDINGS_MAX: usize = 20;
const BATCH: u64 = 256;
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Tries of an input that looked slow, to tell its own time from that of a busy machine.
const TRIES: u32 = 8;

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

pub fn input(target: &Target, seeds: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let name = target
        .name
        .bytes()
        .fold(0_u64, |sum, byte| sum * 31 + u64::from(byte));
    let mut dice = Dice(seed ^ name.rotate_left(32) ^ number.wrapping_mul(0xd134_2543_de82_ef95));
    mutated(&mut dice, seeds)
}

pub fn run(targets: &[Target], plan: Plan) -> Outcome {
    silence_what_is_caught();
    let seeds: Vec<Vec<Vec<u8>>> = targets.iter().map(|target| (target.seeds)()).collect();
    let (next, outcome) = (AtomicU64::new(0), Mutex::new(Outcome::default()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..plan.threads {
            let (next, outcome, seeds) = (&next, &outcome, &seeds);
            scope.spawn(move || {
                CAUGHT.set(true);
                let mut told = begun;
                loop {
                    let from = next.fetch_add(BATCH, Ordering::Relaxed);
                    if from >= plan.inputs || broken(outcome) {
                        return;
                    }
                    for number in from..(from + BATCH).min(plan.inputs) {
                        let place = usize::try_from(number).unwrap_or(0) % targets.len();
                        one(&targets[place], &seeds[place], plan.seed, number, outcome);
                    }
                    if plan.aloud && thread == 0 && told.elapsed() > TOLD_EVERY {
                        told = Instant::now();
                        tell(from, begun, plan.inputs);
                    }
                }
            });
        }
    });
    let mut outcome = outcome.into_inner().expect("no thread died");
    outcome.took = begun.elapsed();
    outcome
}

fn broken(outcome: &Mutex<Outcome>) -> bool {
    outcome.lock().expect("no thread died").findings.len() >= FINDINGS_MAX
}

fn one(target: &Target, seeds: &[Vec<u8>], seed: u64, number: u64, outcome: &Mutex<Outcome>) {
    let bytes = input(target, seeds, seed, number);
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.feed)(&bytes)));
    let took_us = started.elapsed().as_micros();
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "a panic without words".to_owned());
        let finding = Finding {
            target: target.name,
            number,
            what,
            bytes,
        };
        return outcome
            .lock()
            .expect("no thread died")
            .findings
            .push(finding);
    }
    if took_us <= outcome.lock().expect("no thread died").slowest.0 {
        return;
    }
    // The kernel's figure moves by the tick, so several tries are taken together.
    let all = cost_us(|| (0..TRIES).for_each(|_| (target.feed)(&bytes)));
    let least = took_us.min(all / u128::from(TRIES));
    let mut outcome = outcome.lock().expect("no thread died");
    if least > outcome.slowest.0 {
        outcome.slowest = (least, target.name, number);
    }
}

/// Microseconds on a core, where the kernel tells (what other programs take is not ours), else by
/// the clock.
pub fn cost_us(work: impl FnOnce()) -> u128 {
    let started = (on_core_ns(), Instant::now());
    work();
    match (started.0, on_core_ns()) {
        (Some(before), Some(after)) if after > before => (after - before) / 1_000,
        _ => started.1.elapsed().as_micros(),
    }
}

/// The first figure of `/proc/thread-self/schedstat`.
fn on_core_ns() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn tell(done: u64, begun: Instant, all: u64) {
    let rate = done as f64 / begun.elapsed().as_secs_f64().max(0.001);
    eprintln!("{done} of {all} inputs, {rate:.0} a second");
}

/// Panics of our own threads are findings and are told at the end; all others speak as ever.
fn silence_what_is_caught() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                usual(info);
            }
        }));
    });
}

impl Outcome {
    /// Writes each finding's input beside a line that says how to make it again.
    pub fn save(&self, seed: u64) -> Vec<String> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
        std::fs::create_dir_all(&folder).expect("a folder of our own");
        let saved = self.findings.iter().map(|finding| {
            let Finding {
                target,
                number,
                what,
                bytes,
            } = finding;
            let path = folder.join(format!("{target}-{seed}-{number}"));
            std::fs::write(&path, bytes).expect("a folder of our own");
            let what: String = what.chars().take(600).collect();
            format!(
                "{target}, SEED={seed}, input {number}: {what}\n  in {}",
                path.display()
            )
        });
        saved.collect()
    }
}
