//! A call floor: the real daemon as a process of its own, the demo's carrier as its trunk in this
//! one, a campaign that may be dialed at any hour, and as many leads and agents as are asked for.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use foredial::demo::carrier::{Carrier, CarrierConfig, Voice};
use serde_json::{Value, json};

use super::agent::{Agent, follow_link};
use super::browser::Failure;
use super::line::Access;
use super::page::Page;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(50);
/// RTP ports the daemon is given: pairs for 200 calls, live or just over.
const RTP_PORTS: u16 = 400;
/// Below the ports the kernel gives out by itself.
const RTP_PORTS_FROM: u16 = 12_000;
const RTP_PORTS_WINDOWS: u16 = 48;

/// How large a floor.
pub struct Plan<'a> {
    /// The binary: `env!("CARGO_BIN_EXE_foredial")`.
    pub binary: &'a str,
    pub agents: usize,
    pub leads: usize,
    /// The leads' last two digits, in turn: the carrier behaves by them.
    pub endings: &'a [u8],
    pub answer_after_ms: u64,
    pub hang_up_after_ms: u64,
}

pub struct Floor {
    pub carrier: Carrier,
    pub host: String,
    pub dir: tempfile::TempDir,
    child: Option<Child>,
    admin_key: String,
    client: reqwest::Client,
}

/// What /proc says of the daemon.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Both of user and system, since its start.
    pub cpu: Duration,
    pub resident_kb: u64,
    pub files: usize,
    pub threads: usize,
}

impl Floor {
    /// Everything up; nobody signed in yet.
    pub async fn open(plan: &Plan<'_>) -> Result<Floor, Failure> {
        let carrier = Carrier::start(CarrierConfig {
            voice: Voice::Tone(1_000.0),
            answer_after_ms: plan.answer_after_ms,
            hang_up_after_ms: plan.hang_up_after_ms,
            ..CarrierConfig::default()
        })
        .await?;
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        std::fs::write(
            at("foredial.toml"),
            configuration(plan, carrier.local_addr())?,
        )?;
        std::fs::write(at("leads.csv"), leads(plan))?;
        import(plan.binary, dir.path())?;
        let mut child = Command::new(plan.binary)
            .args(["run", "--config", "foredial.toml"])
            .current_dir(dir.path())
            .env(
                "RUST_LOG",
                std::env::var("FLOOR_LOG").unwrap_or("warn".into()),
            )
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(at("stdout.log"))?)
            .stderr(std::fs::File::create(at("stderr.log"))?)
            .spawn()?;
        let found = reached(&mut child, &at("state")).await;
        let (host, admin_key) = match found {
            Ok(found) => found,
            Err(why) => {
                // Whatever it was doing, nobody else will end it.
                let _ = child.kill();
                let _ = child.wait();
                let said = std::fs::read_to_string(at("stderr.log")).unwrap_or_default();
                return Err(format!("{why}; it said: {said}").into());
            }
        };
        Ok(Floor {
            carrier,
            host,
            dir,
            child: Some(child),
            admin_key,
            client: client()?,
        })
    }

    /// A signed-in agent's cookie; `at` counts from 0.
    pub async fn sign_in(&self, at: usize) -> Result<Access, Failure> {
        let request = self
            .client
            .post(self.url("/api/v1/admin/sign-in-links"))
            .bearer_auth(&self.admin_key)
            .header("Content-Type", "application/json")
            .body(json!({ "agent": agent_id(at) }).to_string());
        let body = request.send().await?.error_for_status()?.bytes().await?;
        let link: Value = serde_json::from_slice(&body)?;
        let link = link["url"].as_str().ok_or("no link")?.to_owned();
        follow_link(&self.host, &link).await
    }

    /// Calls, legs, ports, sessions as the switch counts them.
    pub async fn snapshot(&self) -> Result<Value, Failure> {
        let request = self
            .client
            .get(self.url("/api/v1/admin/snapshot"))
            .bearer_auth(&self.admin_key);
        let body = request.send().await?.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&body)?)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    pub fn usage(&self) -> Result<Usage, Failure> {
        let pid = self.child.as_ref().ok_or("it has ended")?.id();
        let of = PathBuf::from(format!("/proc/{pid}"));
        let stat = std::fs::read_to_string(of.join("stat"))?;
        // The name in brackets may hold anything; fields are counted from behind it.
        let fields: Vec<&str> = match stat.rsplit_once(')') {
            Some((_, rest)) => rest.split_whitespace().collect(),
            None => return Err("no stat".into()),
        };
        let field = |at: usize| fields.get(at).and_then(|it| it.parse::<u64>().ok());
        let ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
        let status = std::fs::read_to_string(of.join("status"))?;
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Ok(Usage {
            // USER_HZ is 100 wherever Linux runs.
            cpu: Duration::from_millis(ticks.ok_or("no times")? * 10),
            resident_kb: line("VmRSS:").ok_or("no VmRSS")?,
            files: std::fs::read_dir(of.join("fd"))?.count(),
            threads: usize::try_from(line("Threads:").ok_or("no Threads")?)?,
        })
    }

    /// Ends the daemon with an interrupt and waits; what it wrote to stderr comes back.
    pub async fn stop(&mut self) -> Result<String, Failure> {
        let mut child = self.child.take().ok_or("it has ended")?;
        let pid = child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        let latest = Instant::now() + STOP_LIMIT;
        while Instant::now() < latest {
            if let Some(status) = child.try_wait()? {
                let said = std::fs::read_to_string(self.dir.path().join("stderr.log"))?;
                return match status.success() {
                    true => Ok(said),
                    false => Err(format!("it ended with {status}: {said}").into()),
                };
            }
            tokio::time::sleep(LOOK).await;
        }
        child.kill()?;
        child.wait()?;
        Err("it did not end when told".into())
    }

    /// The store, once the daemon has ended.
    pub fn database(&self) -> Result<rusqlite::Connection, Failure> {
        let path = self.dir.path().join("state/foredial.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        Ok(rusqlite::Connection::open_with_flags(path, flags)?)
    }

    pub fn recordings(&self) -> PathBuf {
        self.dir.path().join("recordings")
    }

    /// What the daemon has written to stderr so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr.log")).unwrap_or_default()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A test that failed: nobody else will end it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An agent at the desk: the page and the seat.
pub struct Sitting {
    pub page: Page,
    pub agent: Agent,
}

impl Sitting {
    /// Opens the page, takes the seat and waits until the desk shows it.
    pub async fn sit(access: &Access) -> Result<Sitting, Failure> {
        let page = Page::open(access).await?;
        let agent = Agent::take_seat(access).await?;
        agent.speak(440);
        let live = |desk: &Value| desk["seat"]["status"] == "live";
        page.until(Duration::from_secs(10), "live seat", live)
            .await?;
        Ok(Sitting { page, agent })
    }

    /// Leaves in good order: the seat's BYE first, then the page.
    pub async fn leave(self) -> Result<(), Failure> {
        self.agent.leave().await
    }
}

pub fn agent_id(at: usize) -> String {
    format!("agent{:02}", at + 1)
}

fn client() -> Result<reqwest::Client, Failure> {
    // Plain HTTP, but the client asks for a provider when it is built; a second install is refused.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

/// Waits until the daemon says where it is and that it takes work.
async fn reached(child: &mut Child, state: &Path) -> Result<(String, String), Failure> {
    let latest = Instant::now() + START_LIMIT;
    let client = client()?;
    while Instant::now() < latest {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the daemon ended with {status}").into());
        }
        if let Ok(url) = std::fs::read_to_string(state.join("control.url"))
            && let Ok(response) = client.get(format!("{}/readyz", url.trim())).send().await
            && response.status().is_success()
        {
            let host = url.trim().trim_start_matches("http://").to_owned();
            let key = std::fs::read_to_string(state.join("admin.key"))?;
            return Ok((host, key.trim().to_owned()));
        }
        tokio::time::sleep(LOOK).await;
    }
    Err("the daemon was not ready in time".into())
}

fn configuration(plan: &Plan<'_>, carrier: SocketAddr) -> Result<String, Failure> {
    let first = free_ports()?;
    let mut text = format!(
        r#"[sip]
listen = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
tls_listen = ""
[media]
address = "127.0.0.1"
rtp_ports = "{first}-{last}"
[state]
folder = "state"
[recordings]
folder = "recordings"
[[trunk]]
name = "carrier"
servers = ["{carrier}"]
caller_id = "+861066666666"
options_every_s = 0
max_calls = 60
[[campaign]]
id = "churn"
name = "Churn"
lists = ["churn"]
trunks = ["carrier"]
time_zones = ["Asia/Shanghai"]
script = "Good day, am I speaking with {{{{ name }}}}?"
hours = "00:00-24:00"
calls_a_day_max = 100
calls_in_7_days_max = 700
calls_in_life_max = 10000
min_gap_s = 0
ring_limit_s = 15
"#,
        last = first + RTP_PORTS - 1,
    );
    for at in 0..plan.agents {
        // Writing to a String cannot fail.
        let _ = write!(text, "[[agent]]\nid = \"{}\"\n", agent_id(at));
    }
    Ok(text)
}

/// A window of ports nobody has now.
fn free_ports() -> Result<u16, Failure> {
    let start = rand::random::<u16>();
    let windows = (0..RTP_PORTS_WINDOWS).map(|at| start.wrapping_add(at) % RTP_PORTS_WINDOWS);
    for window in windows {
        let first = RTP_PORTS_FROM + window * RTP_PORTS;
        let bind = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (first..first + RTP_PORTS).all(bind) {
            return Ok(first);
        }
    }
    Err("no free window of RTP ports".into())
}

fn leads(plan: &Plan<'_>) -> String {
    let mut text = "external_id,name,phone,language,time_zone\n".to_owned();
    for (at, ending) in (0..plan.leads).zip(plan.endings.iter().cycle()) {
        let _ = writeln!(
            text,
            "C{at},Customer {at},+86138{at:06}{ending:02},en,Asia/Shanghai"
        );
    }
    text
}

fn import(binary: &str, dir: &Path) -> Result<(), Failure> {
    let output = Command::new(binary)
        .args(["import", "leads.csv", "--list", "churn"])
        .args(["--config", "foredial.toml"])
        .current_dir(dir)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}
