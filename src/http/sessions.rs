//! Who is signed in. The browser holds 256 random bits; we hold only their SHA-256, in memory and
//! through a [`SessionStore`], so that a restart of the daemon signs nobody out.

use crate::id::AgentId;
use crate::now::UtcMs;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// Sign-ins kept at once; the one nearest its end makes room.
const SESSIONS_MAX: usize = 10_000;

/// SHA-256 of a token: what may be stored and compared.
pub(super) type Digest256 = [u8; 32];

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionRow {
    /// SHA-256 of the cookie's value, in hex.
    pub digest: String,
    pub agent: String,
    pub expires_ms: i64,
}

/// Where sign-ins outlive the process.
pub trait SessionStore: Send + Sync {
    fn load(&self) -> io::Result<Vec<SessionRow>>;
    /// Replaces all rows.
    fn save(&self, rows: &[SessionRow]) -> io::Result<()>;
}

/// A JSON file only its owner can read, replaced as a whole.
pub struct JsonFile {
    path: PathBuf,
}

pub struct Sessions {
    store: Box<dyn SessionStore>,
    life: Duration,
    open: Mutex<HashMap<Digest256, Session>>,
}

#[derive(Clone, Debug)]
struct Session {
    agent: AgentId,
    expires: UtcMs,
}

impl Sessions {
    /// All sign-ins of `store` that are still good.
    pub fn open(store: Box<dyn SessionStore>, life: Duration, now: UtcMs) -> io::Result<Sessions> {
        let row = |row: SessionRow| {
            let session = Session {
                agent: AgentId::new(&row.agent),
                expires: UtcMs(row.expires_ms),
            };
            from_hex(&row.digest)
                .filter(|_| session.expires > now)
                .map(|digest| (digest, session))
        };
        let open = store.load()?.into_iter().filter_map(row).collect();
        Ok(Sessions {
            store,
            life,
            open: Mutex::new(open),
        })
    }

    /// Signs `agent` in: the token for the cookie.
    pub fn sign_in(&self, agent: &AgentId, now: UtcMs) -> String {
        let token = new_token();
        let session = Session {
            agent: agent.clone(),
            expires: now.plus(self.life),
        };
        self.change(|open| {
            open.retain(|_, session| session.expires > now);
            if open.len() >= SESSIONS_MAX {
                let oldest = open
                    .iter()
                    .min_by_key(|(_, session)| session.expires)
                    .map(|(digest, _)| *digest);
                oldest.map(|digest| open.remove(&digest));
            }
            open.insert(digest(&token), session);
        });
        token
    }

    /// Whose token it is.
    #[must_use]
    pub fn agent(&self, token: &str, now: UtcMs) -> Option<AgentId> {
        let open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        open.get(&digest(token))
            .filter(|session| session.expires > now)
            .map(|session| session.agent.clone())
    }

    pub fn sign_out(&self, token: &str) {
        self.change(|open| {
            open.remove(&digest(token));
        });
    }

    #[must_use]
    pub fn life(&self) -> Duration {
        self.life
    }

    /// Changes the map and writes it: a few KiB at most each sign-in, so it is done in place.
    fn change(&self, change: impl FnOnce(&mut HashMap<Digest256, Session>)) {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut open);
        let row = |(digest, session): (&Digest256, &Session)| SessionRow {
            digest: hex(digest),
            agent: session.agent.as_str().to_owned(),
            expires_ms: session.expires.0,
        };
        let rows: Vec<SessionRow> = open.iter().map(row).collect();
        if let Err(error) = self.store.save(&rows) {
            tracing::warn!(%error, "sign-ins cannot be saved: a restart will ask for them again");
        }
    }
}

impl JsonFile {
    #[must_use]
    pub fn new(path: PathBuf) -> JsonFile {
        JsonFile { path }
    }
}

impl SessionStore for JsonFile {
    fn load(&self) -> io::Result<Vec<SessionRow>> {
        match std::fs::read(&self.path) {
            // A file that makes no sense only costs a sign-in.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn save(&self, rows: &[SessionRow]) -> io::Result<()> {
        write_private(&self.path, &serde_json::to_vec(rows)?)
    }
}

/// Writes a file with mode 0600 beside its place, then moves it there.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let partial = path.with_extension("new");
    // One left behind may have another mode.
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(bytes)?;
    drop(file);
    std::fs::rename(&partial, path)
}

/// 256 random bits in hex.
pub(super) fn new_token() -> String {
    hex(&rand::random::<[u8; 32]>())
}

pub(super) fn digest(token: &str) -> Digest256 {
    Sha256::digest(token.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Digest256> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(&text[pair * 2..pair * 2 + 2], 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const LIFE: Duration = Duration::from_secs(3_600);

    fn agent() -> AgentId {
        AgentId::new("li.wei")
    }

    #[test]
    fn a_sign_in_survives_a_restart_and_only_its_digest_is_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.json");
        let sessions =
            Sessions::open(Box::new(JsonFile::new(path.clone())), LIFE, UtcMs(0)).unwrap();
        let token = sessions.sign_in(&agent(), UtcMs(1_000));
        assert_eq!(token.len(), 64);
        let on_disk = std::fs::read_to_string(&path).unwrap();
        assert!(
            !on_disk.contains(&token) && on_disk.contains("li.wei"),
            "{on_disk}"
        );
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        let again =
            Sessions::open(Box::new(JsonFile::new(path.clone())), LIFE, UtcMs(2_000)).unwrap();
        assert_eq!(again.agent(&token, UtcMs(2_000)), Some(agent()));
        again.sign_out(&token);
        assert_eq!(again.agent(&token, UtcMs(2_000)), None);
        let after = Sessions::open(Box::new(JsonFile::new(path)), LIFE, UtcMs(2_000)).unwrap();
        assert_eq!(after.agent(&token, UtcMs(2_000)), None);
    }

    #[test]
    fn a_sign_in_ends_with_its_life_and_a_guess_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let file = || Box::new(JsonFile::new(folder.path().join("sessions.json")));
        let sessions = Sessions::open(file(), LIFE, UtcMs(0)).unwrap();
        let token = sessions.sign_in(&agent(), UtcMs(0));
        assert_eq!(sessions.agent(&token, UtcMs(3_599_999)), Some(agent()));
        assert_eq!(sessions.agent(&token, UtcMs(3_600_000)), None);
        assert_eq!(sessions.agent(&new_token(), UtcMs(0)), None);
        let later = Sessions::open(file(), LIFE, UtcMs(3_600_000)).unwrap();
        assert_eq!(
            later.agent(&token, UtcMs(0)),
            None,
            "loaded although it had ended"
        );
    }

    #[test]
    fn a_broken_file_costs_a_sign_in_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.json");
        std::fs::write(&path, b"[{\"digest\":\"x").unwrap();
        let sessions = Sessions::open(Box::new(JsonFile::new(path)), LIFE, UtcMs(0)).unwrap();
        let token = sessions.sign_in(&agent(), UtcMs(0));
        assert_eq!(sessions.agent(&token, UtcMs(1)), Some(agent()));
    }

    #[test]
    fn two_tokens_are_never_alike() {
        assert_ne!(new_token(), new_token());
    }
}
