//! Logging to stderr, by `RUST_LOG` or quietly. Phone numbers and names are never logged.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// `rtc_dtls` warns of each extension of TLS that a browser offers and it does not know.
const USUAL: &str = "warn,foredial=info,security=info,rtc_dtls=error";

pub(super) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    // Somebody else's subscriber, as in tests, is as good.
    drop(started);
}
