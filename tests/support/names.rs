//! dnsmasq as the name server of a test: NAPTR, SRV and address records of a carrier.
#![allow(dead_code)] // Each test file uses its own part of it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running dnsmasq. Dropping it ends it.
pub struct Names {
    child: Child,
    log: tempfile::TempDir,
}

/// One server of the carrier: name, where it is, priority and weight.
pub struct Record {
    pub host: &'static str,
    pub at: SocketAddr,
    pub priority: u16,
    pub weight: u16,
}

impl Names {
    /// `domain` has a NAPTR record to SRV records that lead to these. Records hold `ttl_s`.
    ///
    /// # Errors
    /// `NotFound` when there is no dnsmasq: `apt-get install dnsmasq-base`.
    pub fn start(
        at: SocketAddr,
        domain: &str,
        ttl_s: u32,
        records: &[Record],
    ) -> io::Result<Names> {
        let folder = tempfile::tempdir()?;
        let service = format!("_sip._udp.{domain}");
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
            ])
            .args(["--no-hosts", "--bind-interfaces", "--except-interface=none"])
            .args(["--log-facility=-", "--pid-file="])
            .arg(format!("--listen-address={}", at.ip()))
            .arg(format!("--port={}", at.port()))
            .arg(format!("--local-ttl={ttl_s}"))
            // No answer from elsewhere: what is not here does not exist.
            .arg("--local=/test/")
            .arg(format!(
                "--naptr-record={domain},10,10,s,SIP+D2U,,{service}"
            ));
        for Record {
            host,
            at,
            priority,
            weight,
        } in records
        {
            let IpAddr::V4(ip) = at.ip() else { continue };
            command.arg(format!("--host-record={host},{ip}"));
            let port = at.port();
            command.arg(format!(
                "--srv-host={service},{host},{port},{priority},{weight}"
            ));
        }
        let log = std::fs::File::create(folder.path().join("dnsmasq.log"))?;
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet.stderr(log).spawn().map_err(|error| {
            let what = format!("dnsmasq (apt-get install dnsmasq-base): {error}");
            io::Error::new(error.kind(), what)
        })?;
        let mut names = Names { child, log: folder };
        names.wait_until_bound(at)?;
        Ok(names)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path().join("dnsmasq.log")).unwrap_or_default()
    }

    fn wait_until_bound(&mut self, at: SocketAddr) -> io::Result<()> {
        for _ in 0..250 {
            if UdpSocket::bind(at).is_err() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let what = format!("dnsmasq ended at once ({status}): {}", self.log());
                return Err(io::Error::other(what));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let what = format!("dnsmasq never bound its port: {}", self.log());
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- dnsmasq's log\n{}", self.log());
        }
    }
}
