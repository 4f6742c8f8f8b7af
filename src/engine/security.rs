//! The security log (docs/security-log.md): to the log target `security`, and to a file of its own
//! when one is named. The control loop never waits for that file's disk.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::switch::Switch;
use crate::net::flood::Flood;
use crate::now::Now;
use crate::sip::{Flow, SecurityEvent, SecurityNote};
use crate::trunk::fraud::{Ticket, Verdict};

/// Lines that may wait for the disk; those that find no place are in the other log.
const LINES_MAX: usize = 4_096;

static FILE: OnceLock<SyncSender<String>> = OnceLock::new();

/// Writes one event.
pub fn log(note: &SecurityNote) {
    let line = note.line();
    tracing::info!(target: "security", "{line}");
    if let Some(file) = FILE.get() {
        let stamp = jiff::Timestamp::now();
        // A full queue costs the line its place in the file; it stands in the other log.
        let _ = file.try_send(format!("{stamp:.3} security: {line}\n"));
    }
}

/// From now on lines also go to this file. It is opened anew for every burst, so that it may be
/// rotated at any time.
///
/// # Errors
/// The file cannot be opened, or no thread can be had.
pub fn log_to(path: &Path) -> std::io::Result<()> {
    append(path, "")?;
    let (sender, lines) = sync_channel(LINES_MAX);
    let path = path.to_owned();
    std::thread::Builder::new()
        .name("security-log".to_owned())
        .spawn(move || write(&path, &lines))?;
    // A second one in one process (tests) keeps the first.
    let _ = FILE.set(sender);
    Ok(())
}

impl Switch {
    /// Whether `who` (a phone's user) may call this number outside now; a refusal is told to the
    /// security log. `flow` is where the call came from. An allowed call ends with
    /// [`Switch::outside_call_ended`], at the latest after its `longest`.
    pub fn may_call_outside(&mut self, now: Now, who: &str, flow: &Flow, e164: &str) -> Verdict {
        let verdict = self.fraud.ask(now, who, e164);
        if let Verdict::Refused(refusal) = verdict {
            self.fraud_refused += 1;
            log(&SecurityNote {
                event: SecurityEvent::Fraud,
                from: flow.remote,
                transport: flow.transport,
                user: Some(who.to_owned()),
                reason: refusal.name(),
                seconds: None,
            });
        }
        verdict
    }

    pub fn outside_call_ended(&mut self, now: Now, ticket: Ticket, talked: Duration) {
        self.fraud.ended(now, ticket, talked);
    }

    /// For `/metrics`: what defence has done since the start.
    pub(super) fn security_counters(&self) -> serde_json::Value {
        let sip = self.sip.snapshot().counters;
        let flood = self.flood.as_deref();
        let turned_away = flood.map(Flood::turned_away).unwrap_or_default();
        serde_json::json!({
            "challenged": sip.unauthorised,
            "auth_failed": sip.auth_failed,
            "lockouts": sip.lockouts,
            "dropped_locked_out": sip.locked_out,
            "dropped_scanners": sip.scanners,
            "dropped_denied": turned_away.denied,
            "dropped_flooding": turned_away.flooding,
            "dropped_crowded_out": turned_away.crowded_out,
            "refused_overload": sip.overload,
            "refused_fraud": self.fraud_refused,
            "garbage": sip.garbage,
            "malformed": sip.malformed,
        })
    }
}

fn write(path: &Path, lines: &Receiver<String>) {
    while let Ok(first) = lines.recv() {
        let burst: String = std::iter::once(first).chain(lines.try_iter()).collect();
        if let Err(error) = append(path, &burst) {
            tracing::warn!(%error, "[security] log: the file cannot be written");
        }
    }
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())
}
