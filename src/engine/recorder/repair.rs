//! After a crash: every `.part` file's sizes are set from its length, and it gets its name.

use super::closer::rename;
use super::tape::SPEC;
use super::writer::{PART, numbered};
use crate::media::frame::ms_of;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// `recordings/2026/11/22` and one to spare; links are not followed.
const DEPTH_MAX: usize = 4;
/// What hound writes: RIFF, fmt of 16 bytes, data.
const HEADER_BYTES: u64 = 44;
/// Two channels of 16 bits.
const FRAME_BYTES: u64 = 4;

/// A recording that was cut off and opens again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    pub path: PathBuf,
    pub duration_ms: u64,
}

/// Repairs every cut-off recording below `folder`, before any recorder runs there. A file that
/// cannot be repaired stays as it is, with a warning.
pub fn repair(folder: &Path) -> io::Result<Vec<Repaired>> {
    let mut repaired = vec![];
    if folder.exists() {
        walk(folder, DEPTH_MAX, &mut repaired)?;
    }
    Ok(repaired)
}

fn walk(folder: &Path, depth: usize, repaired: &mut Vec<Repaired>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let path = entry.path();
        if kind.is_dir() && depth > 0 {
            walk(&path, depth - 1, repaired)?;
        } else if kind.is_file() && path.extension().is_some_and(|ending| ending == PART) {
            match repair_one(&path) {
                Ok(one) => repaired.push(one),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "recording not repaired");
                }
            }
        }
    }
    Ok(())
}

fn repair_one(part: &Path) -> io::Result<Repaired> {
    let mut file = OpenOptions::new().read(true).write(true).open(part)?;
    let frames = set_sizes(&mut file)?;
    file.sync_all()?;
    let path = free_name(&part.with_extension(""));
    rename(part, &path)?;
    Ok(Repaired {
        path,
        duration_ms: ms_of(frames),
    })
}

/// Cuts off half a frame and writes both sizes; how many frames there are.
fn set_sizes(file: &mut File) -> io::Result<u64> {
    let mut header = [0; HEADER_BYTES as usize];
    file.read_exact(&mut header)?;
    if &header[..4] != b"RIFF" || &header[8..16] != b"WAVEfmt " || &header[36..40] != b"data" {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a header of ours",
        ));
    }
    let rate = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
    let channels = u16::from_le_bytes([header[22], header[23]]);
    if rate != SPEC.sample_rate || channels != SPEC.channels {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a recording of ours",
        ));
    }
    let frames = (file.metadata()?.len() - HEADER_BYTES) / FRAME_BYTES;
    let data = frames * FRAME_BYTES;
    let size = |bytes| u32::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge);
    file.set_len(HEADER_BYTES + data)?;
    file.seek(SeekFrom::Start(4))?;
    file.write_all(&size(HEADER_BYTES - 8 + data)?.to_le_bytes())?;
    file.seek(SeekFrom::Start(HEADER_BYTES - 4))?;
    file.write_all(&size(data)?.to_le_bytes())?;
    Ok(frames)
}

/// A finished recording of that name is not overwritten.
fn free_name(path: &Path) -> PathBuf {
    (1..)
        .map(|number| numbered(path, number))
        .find(|path| !path.exists())
        .unwrap_or_default()
}
