//! Logging to stderr, by `RUST_LOG` or quietly. Phone numbers and names are never logged.
//! `foredial ctl loglevel` changes what is logged while the switch runs.

use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// `rtc_dtls` warns of each extension of TLS that a browser offers and it does not know.
const USUAL: &str = "warn,foredial=info,security=info,rtc_dtls=error";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

pub(super) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter_reloading();
    let filter = builder.reload_handle();
    // Somebody else's subscriber, as in tests, is as good.
    if builder.try_init().is_ok() {
        let change = move |new| filter.reload(new).map_err(|error| error.to_string());
        // Set once, here.
        let _ = CHANGE.set(Box::new(change));
    }
}

/// What is logged from now on. A level alone is ours and leaves other crates quiet: they know
/// nothing of our rule about numbers.
pub(super) fn change(wanted: &str) -> Result<String, String> {
    let filter = full(wanted)?;
    let new = EnvFilter::try_new(&filter).map_err(|error| error.to_string())?;
    let change = CHANGE.get().ok_or("this process does not log by itself")?;
    change(new)?;
    tracing::info!(%filter, "what is logged was changed");
    Ok(filter)
}

fn full(wanted: &str) -> Result<String, String> {
    if wanted == "usual" {
        return Ok(USUAL.to_owned());
    }
    if LEVELS.contains(&wanted) {
        return Ok(format!(
            "warn,foredial={wanted},security=info,rtc_dtls=error"
        ));
    }
    let lone = wanted.split(',').find(|part| {
        let level = part.rsplit('=').next().unwrap_or_default();
        !LEVELS.contains(&level)
    });
    match lone {
        Some(part) => Err(format!(
            "`{part}` is neither a level nor TARGET=LEVEL; levels are {}, or `usual`",
            LEVELS.join(", ")
        )),
        None => Ok(wanted.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_ours_and_a_misspelt_one_is_told() {
        assert!(full("debug").unwrap().contains("foredial=debug"));
        assert!(full("debug").unwrap().starts_with("warn,"));
        assert_eq!(
            full("warn,foredial::sip=trace").unwrap(),
            "warn,foredial::sip=trace"
        );
        assert!(full("debgu").unwrap_err().contains("`debgu`"));
        assert!(full("foredial=loud").is_err());
    }
}
