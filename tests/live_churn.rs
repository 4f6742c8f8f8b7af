//! Twenty seats at once on the real daemon, with everything agents and customers do to a call;
//! then everybody goes home and nothing may be left.

mod support;

use std::time::Duration;

use support::churn::{Size, prove};

const BINARY: &str = env!("CARGO_BIN_EXE_foredial");
const SEATS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_twenty_seats_leaves_nothing_behind() {
    let size = Size {
        seats: SEATS,
        time: Duration::from_secs(60),
        seed: 1,
    };
    prove(BINARY, size).await;
}

/// `make soak`; `SOAK_MINUTES` (10) and `SOAK_SEED`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes: make soak"]
async fn ten_minutes_of_twenty_seats_leave_nothing_behind() {
    let number = |name: &str, usual: u64| match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => usual,
    };
    let size = Size {
        seats: SEATS,
        time: Duration::from_secs(60 * number("SOAK_MINUTES", 10)),
        seed: number("SOAK_SEED", 1),
    };
    prove(BINARY, size).await;
}
