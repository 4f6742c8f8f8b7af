//! What may take long: making a recording last through a power loss, and giving it its name.

use super::{FactSink, failed};
use crate::engine::media_worker::MediaFact;
use crate::id::CallId;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

/// A recording with all its samples, still under its `.part` name.
pub struct Closing {
    pub call: CallId,
    pub file: File,
    pub part: PathBuf,
    pub path: PathBuf,
    pub duration_ms: u64,
    pub gap_ms: u64,
}

/// Until the writer is gone and everything is closed.
pub fn run(closings: &Receiver<Closing>, facts: &FactSink) {
    for closing in closings {
        let fact = match close(&closing) {
            Ok(bytes) => {
                let Closing {
                    call,
                    path,
                    duration_ms,
                    gap_ms,
                    ..
                } = closing;
                let sha256 = sha256(&path).ok();
                MediaFact::Recorded {
                    call,
                    path,
                    duration_ms,
                    bytes,
                    gap_ms,
                    sha256,
                }
            }
            Err(error) => failed(closing.call, &error),
        };
        facts(fact);
    }
}

fn close(closing: &Closing) -> io::Result<u64> {
    closing.file.sync_all()?;
    let bytes = closing.file.metadata()?.len();
    rename(&closing.part, &closing.path)?;
    Ok(bytes)
}

/// The file's hash, by which a copy can be known years later.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut block = vec![0; 64 * 1024];
    loop {
        match file.read(&mut block)? {
            0 => break,
            length => hash.update(&block[..length]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Renames so that the name lasts as well.
pub fn rename(part: &Path, path: &Path) -> io::Result<()> {
    fs::rename(part, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()), // the working directory, which no configuration names
    }
}
