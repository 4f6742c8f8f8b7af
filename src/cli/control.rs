//! How `ctl` finds a running switch: its address lies in the state folder, beside the admin key.

use super::Failure;
use crate::http::{AdminKey, Server};
use std::io;
use std::path::{Path, PathBuf};

const ADDRESS_FILE: &str = "control.url";

/// Leaves the address for `ctl`. Removed again when dropped, so that none is left of a dead switch
/// that could still tidy up.
pub(super) struct Address(PathBuf);

impl Address {
    /// Before anything is served: who finds the switch ready finds its address, too.
    pub(super) fn leave(folder: &Path, url: &str) -> io::Result<Address> {
        let path = folder.join(ADDRESS_FILE);
        std::fs::write(&path, url)?;
        Ok(Address(path))
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        // Only tidiness: a stale address is told apart by nobody answering.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The address for programs and people on this machine.
pub(super) fn url(server: &Server) -> String {
    let (scheme, address) = match (server.http_addr(), server.https_addr()) {
        (Some(address), _) => ("http", address),
        (None, Some(address)) => ("https", address),
        (None, None) => return String::new(),
    };
    let port = address.port();
    match address.ip() {
        ip if ip.is_unspecified() => format!("{scheme}://127.0.0.1:{port}"),
        std::net::IpAddr::V6(ip) => format!("{scheme}://[{ip}]:{port}"),
        ip => format!("{scheme}://{ip}:{port}"),
    }
}

/// The address and the key of the switch that runs with this state folder.
pub(super) fn find(folder: &Path, given: Option<&str>) -> Result<(String, String), Failure> {
    let absent = |path: &Path, error: &io::Error| {
        let what = format!("no switch has run here: {}: {error}", path.display());
        Failure::new(
            what,
            "start one, or name its folder with --dir or its file with --config",
        )
    };
    let key_path = AdminKey::path(folder);
    let key = std::fs::read_to_string(&key_path).map_err(|error| absent(&key_path, &error))?;
    let url = match given {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let path = folder.join(ADDRESS_FILE);
            std::fs::read_to_string(&path).map_err(|error| absent(&path, &error))?
        }
    };
    Ok((url.trim().to_owned(), key.trim().to_owned()))
}
