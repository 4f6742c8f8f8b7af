//! Starts sipp as the far end of a trunk, reads its statistics, ends it by its process id.
#![allow(dead_code)] // Each test file uses its own part of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// sipp ends by itself after this, whatever a test forgot.
const LIFE_S: u64 = 120;

/// What sipp is to do; built, then started.
pub struct Scenario {
    file: PathBuf,
    ip: Ipv4Addr,
    calls: u32,
    talk_ms: u64,
    /// Calls begun a second.
    rate: u32,
    /// A network namespace to run in, and the port there.
    within: Option<(String, u16)>,
    /// What stands for `@status@` in the file.
    status: Option<String>,
    /// Whom a calling scenario calls: number and address.
    target: Option<(String, SocketAddr)>,
}

/// A running sipp.
pub struct Sipp {
    child: Child,
    pub address: SocketAddr,
    folder: tempfile::TempDir,
}

/// What sipp counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub created: u64,
    pub successful: u64,
    pub failed: u64,
    pub retransmissions: u64,
    /// From the INVITE to the first answer beyond 100, of the last call; 0 where it is not measured.
    pub set_up_ms: u64,
}

impl Scenario {
    /// One of `tests/sipp/*.xml`: `answer_echo`, `answer_hang_up`, `refuse`, `ring_out`.
    pub fn named(name: &str) -> Scenario {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sipp");
        let file = folder.join(name).with_extension("xml");
        Scenario {
            file,
            ip: Ipv4Addr::LOCALHOST,
            calls: 1,
            talk_ms: 5_000,
            rate: 10,
            within: None,
            status: None,
            target: None,
        }
    }

    /// `refuse` with a status line's status and phrase, such as `486 Busy Here`.
    pub fn refusing(status: &str) -> Scenario {
        let mut scenario = Scenario::named("refuse");
        scenario.status = Some(status.to_owned());
        scenario
    }

    /// The number of calls after which sipp ends; 1 unless told.
    pub fn calls(mut self, calls: u32) -> Scenario {
        self.calls = calls;
        self
    }

    /// Calls begun a second by `call`; 10 unless told.
    pub fn rate(mut self, rate: u32) -> Scenario {
        self.rate = rate;
        self
    }

    /// Runs in a network namespace, at this port of its own address.
    pub fn within(mut self, namespace: &str, port: u16) -> Scenario {
        self.within = Some((namespace.to_owned(), port));
        self
    }

    /// How long `answer_hang_up` talks; 5 s unless told.
    pub fn talk_ms(mut self, talk_ms: u64) -> Scenario {
        self.talk_ms = talk_ms;
        self
    }

    /// Calls instead of being called: `call`.
    pub fn calling(number: &str, at: SocketAddr) -> Scenario {
        let mut scenario = Scenario::named("call");
        scenario.target = Some((number.to_owned(), at));
        scenario
    }

    /// Calls one number and then transfers it to another: `refer_blind`.
    pub fn transferring(number: &str, at: SocketAddr, to: &str) -> Scenario {
        let mut scenario = Scenario::named("refer_blind");
        scenario.target = Some((number.to_owned(), at));
        scenario.status = Some(to.to_owned());
        scenario
    }

    /// Whom a calling scenario calls.
    pub fn to(mut self, number: &str, at: SocketAddr) -> Scenario {
        self.target = Some((number.to_owned(), at));
        self
    }

    /// What stands for `@status@` in the file.
    pub fn status(mut self, status: &str) -> Scenario {
        self.status = Some(status.to_owned());
        self
    }

    /// Another address of 127.0.0.0/8.
    pub fn ip(mut self, ip: Ipv4Addr) -> Scenario {
        self.ip = ip;
        self
    }

    /// # Errors
    /// `NotFound` when there is no sipp: `apt-get install sip-tester`.
    pub fn start(&self) -> io::Result<Sipp> {
        let folder = tempfile::tempdir()?;
        let (port, media_port) = match &self.within {
            Some((_, port)) => (*port, port + 2),
            None => (free_port(self.ip)?, free_media_port(self.ip)?),
        };
        let address = SocketAddr::new(IpAddr::V4(self.ip), port);
        let (ip, port) = (self.ip.to_string(), port.to_string());
        let mut command = match &self.within {
            Some((namespace, _)) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, "sipp"]);
                command
            }
            None => Command::new("sipp"),
        };
        let text = std::fs::read_to_string(&self.file)?;
        let status = self.status.as_deref().unwrap_or_default();
        std::fs::write(
            folder.path().join("scenario.xml"),
            text.replace("@status@", status),
        )?;
        command
            .current_dir(folder.path())
            .args(["-sf", "scenario.xml"]);
        command.args([
            "-i",
            &ip,
            "-p",
            &port,
            "-mi",
            &ip,
            "-rtp_echo",
            "-aa",
            "-nostdin",
        ]);
        command.args(["-mp", &media_port.to_string()]);
        command.args(["-r", &self.rate.to_string()]);
        command.args([
            "-m",
            &self.calls.to_string(),
            "-d",
            &self.talk_ms.to_string(),
        ]);
        if let Some((number, at)) = &self.target {
            command.args(["-s", number, &at.to_string()]);
        }
        command.args(["-trace_stat", "-stf", "stats.csv", "-fd", "1"]);
        command.args(["-trace_err", "-error_file", "errors.log"]);
        // A busy machine is no fault of the call.
        command.args(["-watchdog_minor_threshold", "60000"]);
        command.args(["-watchdog_major_threshold", "60000"]);
        command.args(["-timeout", &format!("{LIFE_S}s")]);
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = quiet.spawn().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("sipp (apt-get install sip-tester): {error}"),
            )
        })?;
        let mut sipp = Sipp {
            child,
            address,
            folder,
        };
        match &self.within {
            Some((namespace, _)) => sipp.wait_until_heard(namespace)?,
            None => sipp.wait_until_bound()?,
        }
        Ok(sipp)
    }
}

impl Sipp {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until all its calls are done, then reads the final count.
    ///
    /// # Errors
    /// `TimedOut` when it is still running after `within`.
    pub fn wait(&mut self, within: Duration) -> io::Result<Stats> {
        let until = Instant::now() + within;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                let what = format!(
                    "sipp is still running: {:?}\n{}",
                    self.stats(),
                    self.errors()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.stats()
    }

    /// What it has counted by its last report (one a second, one at its end).
    ///
    /// # Errors
    /// `NotFound` before the first report.
    pub fn stats(&self) -> io::Result<Stats> {
        let text = std::fs::read_to_string(self.folder.path().join("stats.csv"))?;
        let mut lines = text.lines().map(|line| line.split(';').collect::<Vec<_>>());
        let names = lines.next().unwrap_or_default();
        let last = lines.next_back().unwrap_or_default();
        let named = |name: &str| {
            let at = names.iter().position(|other| *other == name);
            at.and_then(|at| last.get(at).copied())
        };
        let count = |name: &str| named(name).and_then(|it| it.parse().ok()).unwrap_or(0);
        Ok(Stats {
            created: count("TotalCallCreated"),
            successful: count("SuccessfulCall(C)"),
            failed: count("FailedCall(C)"),
            retransmissions: count("Retransmissions(C)"),
            set_up_ms: named("ResponseTimeset_up(C)").and_then(millis).unwrap_or(0),
        })
    }

    /// What it complained about.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("errors.log")).unwrap_or_default()
    }

    /// The same in another network namespace, where this process cannot bind.
    fn wait_until_heard(&mut self, namespace: &str) -> io::Result<()> {
        let port = format!("sport = :{}", self.address.port());
        for _ in 0..250 {
            let listed = Command::new("ip")
                .args(["netns", "exec", namespace, "ss", "-Huln", &port])
                .output()?;
            if !listed.stdout.is_empty() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let what = format!("sipp ended at once ({status}): {}", self.errors());
                return Err(io::Error::other(what));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn wait_until_bound(&mut self) -> io::Result<()> {
        for _ in 0..250 {
            if UdpSocket::bind(self.address).is_err() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let what = format!("sipp ended at once ({status}): {}", self.errors());
                return Err(io::Error::other(what));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "sipp never bound its port",
        ))
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `00:00:01:234567` as sipp writes a time.
fn millis(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text
        .split(':')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    match parts[..] {
        [hours, minutes, seconds, micros] => {
            Some(((hours * 60 + minutes) * 60 + seconds) * 1_000 + micros / 1_000)
        }
        _ => None,
    }
}

/// Free at this moment; sipp takes no port 0.
pub fn free_port(ip: Ipv4Addr) -> io::Result<u16> {
    Ok(UdpSocket::bind((ip, 0))?.local_addr()?.port())
}

/// sipp echoes on its media port and two above.
fn free_media_port(ip: Ipv4Addr) -> io::Result<u16> {
    for _ in 0..64 {
        let port = free_port(ip)? & !1;
        if [port, port + 2]
            .iter()
            .all(|port| UdpSocket::bind((ip, *port)).is_ok())
        {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
