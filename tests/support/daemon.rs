//! The real binary, run as people run it: a folder with a configuration, `foredial run`, and the
//! other commands beside it. Each folder has a loopback address of its own, so that no test ever
//! meets another one's ports.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// From the start of the process to its readiness, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const SIP_PORT: u16 = 5060;
const HTTP_PORT: u16 = 8080;

/// A folder the daemon runs in; it stays when the daemon dies.
pub struct Home {
    folder: tempfile::TempDir,
    pub ip: Ipv4Addr,
    /// `RUST_LOG` of what is started here.
    pub log_level: &'static str,
}

/// What a configuration says beyond the usual.
#[derive(Clone)]
pub struct Wish {
    /// Where the trunk leads.
    pub trunk: SocketAddr,
    /// Lines of `[[campaign]]`, over those of [`Wish::config`].
    pub campaign: &'static str,
}

impl Wish {
    pub fn trunk(trunk: SocketAddr) -> Wish {
        Wish {
            trunk,
            campaign: "",
        }
    }

    pub fn campaign(mut self, lines: &'static str) -> Wish {
        self.campaign = lines;
        self
    }

    /// The trunk leads to a port where nobody is.
    pub fn nowhere() -> Wish {
        Wish::trunk(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)))
    }

    fn config(&self, ip: Ipv4Addr) -> String {
        let Wish { trunk, campaign } = self;
        format!(
            "[sip]\nlisten = \"{ip}:{SIP_PORT}\"\n\
             [http]\nlisten = \"{ip}:{HTTP_PORT}\"\ntls_listen = \"\"\n\
             [media]\nrtp_ports = \"10000-10199\"\nworkers = 1\n\
             [[trunk]]\nname = \"far\"\nservers = [\"{trunk}\"]\ncaller_id = \"+861066666666\"\noptions_every_s = 0\n\
             [[agent]]\nid = \"agent1\"\nname = \"Li Wei\"\n\
             [[campaign]]\nid = \"live\"\ntrunks = [\"far\"]\nhours = \"00:00-24:00\"\n\
             time_zones = [\"Asia/Shanghai\"]\nmin_gap_s = 0\nwrap_up_unanswered_s = 2\n{campaign}\n\
             [[campaign.dispositions]]\nkey = \"sale\"\nlabel = \"Sale\"\naction = \"final\"\n"
        )
    }
}

impl Home {
    pub fn new(wish: &Wish) -> Arc<Home> {
        Home::logging(wish, "info")
    }

    pub fn logging(wish: &Wish, log_level: &'static str) -> Arc<Home> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ip = own_address();
        std::fs::write(folder.path().join("foredial.toml"), wish.config(ip))
            .expect("the folder is ours");
        Arc::new(Home {
            folder,
            ip,
            log_level,
        })
    }

    /// With a configuration of `config/`, on an address of its own instead of 127.0.0.1.
    pub fn configured(config: &str) -> Arc<Home> {
        Home::written(|ip| config.replace("127.0.0.1", &ip.to_string()))
    }

    /// A folder whose configuration is written for its address.
    pub fn written(config: impl FnOnce(Ipv4Addr) -> String) -> Arc<Home> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ip = own_address();
        std::fs::write(folder.path().join("foredial.toml"), config(ip))
            .expect("the folder is ours");
        Arc::new(Home {
            folder,
            ip,
            log_level: "info",
        })
    }

    /// More lines for the configuration, before the start or a reload.
    pub fn append(&self, lines: &str) {
        let text = self.config() + lines;
        std::fs::write(self.config_path(), text).expect("the folder is ours");
    }

    /// Other words in the configuration, which must have these.
    pub fn replace(&self, from: &str, to: &str) {
        let text = self.config();
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(self.config_path(), text.replace(from, to)).expect("the folder is ours");
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.config_path()).expect("the folder is ours")
    }

    fn config_path(&self) -> PathBuf {
        self.path().join("foredial.toml")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Brings in a lead by `foredial import`.
    pub fn lead(&self, name: &str, number: &str) {
        self.lead_on("live", name, number);
    }

    /// The same for a campaign of this id.
    pub fn lead_on(&self, campaign: &str, name: &str, number: &str) {
        let csv = format!("external_id,name,phone\n{number},{name},{number}\n");
        std::fs::write(self.path().join("leads.csv"), csv).expect("the folder is ours");
        self.good(&["import", "leads.csv", "--list", campaign]);
    }

    /// A command of the binary with this folder's configuration.
    pub fn foredial(&self, line: &[&str]) -> Output {
        let mut command = self.command();
        let (verb, rest) = line.split_first().expect("a verb");
        command
            .arg(verb)
            .args(["--config", "foredial.toml"])
            .args(rest)
            .output()
            .expect("the binary runs")
    }

    /// The same, which must succeed; what it says on stdout.
    pub fn good(&self, line: &[&str]) -> String {
        let output = self.foredial(line);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line:?}: {stderr}{}", self.log());
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    pub fn sign_in_link(&self, agent: &str) -> String {
        self.good(&["ctl", "sign-in", agent]).trim().to_owned()
    }

    /// What `foredial explain` tells of a lead.
    pub fn lead_books(&self, lead: u64) -> Books {
        let text = self.good(&["explain", "lead", &lead.to_string()]);
        Books(serde_json::from_str(&text).expect("JSON"))
    }

    /// `foredial ctl`, as JSON.
    pub fn ctl(&self, verb: &str) -> Value {
        serde_json::from_str(&self.good(&["ctl", "--json", verb])).expect("JSON")
    }

    /// All that every daemon started here has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.path().join("daemon.log")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foredial"));
        command
            .current_dir(self.path())
            .env("RUST_LOG", self.log_level)
            .stdin(Stdio::null());
        command
    }

    /// `foredial run`, ready for work.
    pub async fn start(self: &Arc<Home>) -> Daemon {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the folder is ours");
        let spawned = Instant::now();
        let child = self
            .command()
            .args(["run", "--config", "foredial.toml"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut daemon = Daemon {
            home: Arc::clone(self),
            host: format!("{}:{HTTP_PORT}", self.ip),
            child,
            spawned,
        };
        daemon.until_ready().await;
        daemon
    }
}

/// A running `foredial run`. Dropping it is `kill -9`.
pub struct Daemon {
    pub home: Arc<Home>,
    /// Of the page: address and port.
    pub host: String,
    pub spawned: Instant,
    child: Child,
}

impl Daemon {
    async fn until_ready(&mut self) {
        let url = format!("http://{}/readyz", self.host);
        // Plain HTTP, but the client asks for a provider when it is built; a second is refused.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        while self.spawned.elapsed() < START_LIMIT {
            if let Ok(answer) = client.get(&url).send().await
                && answer.status().is_success()
            {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("our child") {
                panic!("it ended at once, {status}: {}", self.home.log());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        panic!("not ready within {START_LIMIT:?}: {}", self.home.log());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(status.expect("kill(1) is there").success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Its exit, which must come within this time.
    pub async fn exit(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            let log = || self.home.log();
            assert!(Instant::now() < until, "still running: {}", log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn end(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.home.log());
        }
    }
}

/// What the store has of a lead.
#[derive(Clone, Debug)]
pub struct Books(pub Value);

impl Books {
    pub fn state(&self) -> &str {
        self.0["lead"][0]["state"].as_str().unwrap_or_default()
    }

    /// Business and regulatory count.
    pub fn counts(&self) -> (u64, u64) {
        let count = |name: &str| self.0["lead"][0][name].as_u64().unwrap_or(u64::MAX);
        (count("business_count"), count("regulatory_count"))
    }

    pub fn attempts(&self) -> &[Value] {
        self.0["attempts"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The only attempt.
    pub fn attempt(&self) -> &Value {
        assert_eq!(self.attempts().len(), 1, "{:#}", self.0);
        &self.attempts()[0]
    }

    /// Whole minutes from the end of the only attempt to the next possible one.
    pub fn retry_min(&self) -> Option<i64> {
        let due = self.0["lead"][0]["not_before"].as_i64()?;
        let ended = self.attempt()["ended_at"].as_i64()?;
        Some((due - ended + 30_000).div_euclid(60_000))
    }
}

/// Waits until this holds; false when it does not within `limit`.
pub async fn holds(limit: Duration, mut it: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    while !it() {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

/// An address of 127.0.0.0/8 that nobody else in these tests uses: by process, then by number.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(n < 255, "one process has at most 254 folders");
    Ipv4Addr::new(127, 16 + high % 200, low, n)
}

/// A stereo recording: left the agent, right the customer.
pub struct Wave {
    pub left: Vec<i16>,
    pub right: Vec<i16>,
}

impl Wave {
    /// # Errors
    /// What hound says about the file.
    pub fn open(path: &Path) -> Result<Wave, hound::Error> {
        let mut reader = hound::WavReader::open(path)?;
        assert_eq!(reader.spec().channels, 2, "{}", path.display());
        assert_eq!(reader.spec().sample_rate, 8_000, "{}", path.display());
        let samples = reader.samples::<i16>().collect::<Result<Vec<_>, _>>()?;
        let (frames, _) = samples.as_chunks::<2>();
        Ok(Wave {
            left: frames.iter().map(|frame| frame[0]).collect(),
            right: frames.iter().map(|frame| frame[1]).collect(),
        })
    }

    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.left.len() as u64 / 8)
    }
}

/// Every file under a folder.
pub fn files_under(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}
