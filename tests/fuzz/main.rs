//! Mutated inputs at everything that reads bytes from outside: messages, stream framing, URIs and
//! addresses, SDP, WebSocket frames. `make fuzz` runs ten million of them (`N`), from `SEED`; each
//! test run a short slice. An input's number and the seed make it again.

mod mutate;
mod run;
mod seeds;
mod targets;

use run::{Plan, cost_us, input, run};
use targets::{ALL, Target};

const SLICE_INPUTS: u64 = 15_000;
const FULL_INPUTS: u64 = 10_000_000;
/// Of one input; held to in `make fuzz` only, where nothing else should be running.
const SLOWEST_US: u128 = 10_000;

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty());
    text.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: a number"))
    })
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

#[test]
fn no_seed_breaks_anything_as_it_is() {
    for target in ALL {
        for seed in (target.seeds)() {
            (target.feed)(&seed);
        }
    }
}

#[test]
fn a_slice_of_mutated_inputs_breaks_nothing() {
    let plan = Plan {
        seed: 1,
        inputs: SLICE_INPUTS,
        threads: cores(),
        aloud: false,
    };
    let outcome = run(ALL, plan);
    assert!(
        outcome.findings.is_empty(),
        "{}",
        outcome.save(plan.seed).join("\n")
    );
}

/// A harness that finds nothing may be one that looks at nothing.
#[test]
fn a_planted_panic_is_found_saved_and_made_again() {
    fn planted(bytes: &[u8]) {
        targets::message(bytes);
        let huge = b"Max-Forwards: 4294967296\r\n";
        assert!(
            !bytes.windows(huge.len()).any(|window| window == huge),
            "planted"
        );
    }
    let target = [Target {
        name: "planted",
        seeds: seeds::messages,
        feed: planted,
    }];
    let plan = Plan {
        seed: 1,
        inputs: SLICE_INPUTS,
        threads: cores(),
        aloud: false,
    };
    let outcome = run(&target, plan);
    let found = outcome.findings.first().expect("the planted panic");
    assert_eq!(found.what, "planted");
    assert_eq!(
        input(&target[0], &seeds::messages(), plan.seed, found.number),
        found.bytes
    );
    let told = outcome.save(plan.seed);
    let path = told[0].rsplit_once("in ").expect("a path").1;
    assert_eq!(std::fs::read(path).expect("the saved input"), found.bytes);
}

/// `make fuzz`.
#[test]
#[ignore = "ten million inputs: make fuzz"]
fn ten_million_mutated_inputs_break_nothing_and_none_is_slow() {
    let seed = number("SEED", std::process::id().into());
    let plan = Plan {
        seed,
        inputs: number("N", FULL_INPUTS),
        threads: cores(),
        aloud: true,
    };
    let outcome = run(ALL, plan);
    let rate = plan.inputs as f64 / outcome.took.as_secs_f64();
    let (slowest_us, target, which) = outcome.slowest;
    println!(
        "SEED={seed}: {} inputs in {:.0} s, {rate:.0} a second; slowest {slowest_us} µs ({target}, input {which})",
        plan.inputs,
        outcome.took.as_secs_f64()
    );
    assert!(
        outcome.findings.is_empty(),
        "{}",
        outcome.save(seed).join("\n")
    );
    assert!(
        slowest_us <= SLOWEST_US,
        "{target}, SEED={seed}, input {which}: {slowest_us} µs"
    );
}

/// `SEED=… INPUT=… cargo test --test fuzz -- --ignored --nocapture again`: one input of such a run.
#[test]
#[ignore = "needs SEED and INPUT"]
fn one_input_again() {
    let (seed, which) = (number("SEED", 1), number("INPUT", 0));
    let target = &ALL[usize::try_from(which).expect("a place") % ALL.len()];
    let bytes = input(target, &(target.seeds)(), seed, which);
    println!(
        "{}, {} octets: {}",
        target.name,
        bytes.len(),
        String::from_utf8_lossy(&bytes)
    );
    for _ in 0..3 {
        println!("{} µs", cost_us(|| (target.feed)(&bytes)));
    }
}
