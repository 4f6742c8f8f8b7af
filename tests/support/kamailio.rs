//! Kamailio as a carrier none of us wrote: it relays calls to a far end, registers accounts with
//! digest, and sends calls for a registered account to where that account is.
#![allow(dead_code)] // Each test file uses its own part of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use std::os::unix::process::CommandExt as _;

use super::sipp::free_port;

/// What it does; built, then started.
pub struct Carrier {
    pub address: SocketAddr,
    /// Where every call goes that is not for an account.
    pub far: SocketAddr,
    /// Every call of ours is challenged, and accounts may register.
    pub password: Option<&'static str>,
    /// `MD5` or `SHA-256`.
    pub algorithm: &'static str,
    /// The longest a registration is granted, in seconds.
    pub expires_max_s: u32,
}

/// A running Kamailio. Dropping it ends it and its children.
pub struct Kamailio {
    child: Child,
    folder: tempfile::TempDir,
    pub address: SocketAddr,
}

impl Carrier {
    pub fn at(ip: Ipv4Addr, far: SocketAddr) -> Carrier {
        let port = free_port(ip).expect("a free port");
        Carrier {
            address: SocketAddr::from((ip, port)),
            far,
            password: None,
            algorithm: "MD5",
            expires_max_s: 3_600,
        }
    }

    /// # Errors
    /// `NotFound` when there is no Kamailio: `apt-get install kamailio`.
    pub fn start(&self) -> io::Result<Kamailio> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("kamailio.cfg");
        std::fs::write(&file, self.config())?;
        let log = std::fs::File::create(folder.path().join("kamailio.log"))?;
        let mut command = Command::new(program());
        let folder_text = folder.path().to_string_lossy().into_owned();
        command
            .args(["-DD", "-E", "-m", "32", "-M", "4", "-Y", &folder_text])
            .args(["-P", &folder.path().join("pid").to_string_lossy()])
            .args(["-l", &format!("udp:{}", self.address)])
            .arg("-f")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command.spawn().map_err(|error| {
            let what = format!("kamailio (apt-get install kamailio): {error}");
            io::Error::new(error.kind(), what)
        })?;
        let mut kamailio = Kamailio {
            child,
            folder,
            address: self.address,
        };
        kamailio.wait_until_bound()?;
        Ok(kamailio)
    }

    fn config(&self) -> String {
        let challenge = match self.password {
            None => String::new(),
            Some(password) => CHALLENGE.replace("@password@", password),
        };
        CONFIG
            .replace("@challenge@", &challenge)
            .replace("@password@", self.password.unwrap_or("none"))
            .replace("@algorithm@", self.algorithm)
            .replace("@expires_max_s@", &self.expires_max_s.to_string())
            .replace("@far@", &self.far.to_string())
    }
}

impl Kamailio {
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("kamailio.log")).unwrap_or_default()
    }

    /// How many lines of its log have this in them.
    pub fn said(&self, what: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(what))
            .count()
    }

    fn wait_until_bound(&mut self) -> io::Result<()> {
        for _ in 0..500 {
            if UdpSocket::bind(self.address).is_err() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let what = format!("kamailio ended at once ({status}): {}", self.log());
                return Err(io::Error::other(what));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let what = format!("kamailio never bound its port: {}", self.log());
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // Its children are in its group, and nobody else is.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- kamailio's log\n{}", self.log());
        }
    }
}

/// Debian keeps it out of a user's path.
fn program() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/kamailio");
    match debian.exists() {
        true => debian,
        false => PathBuf::from("kamailio"),
    }
}

/// A password is asked for every call of ours.
const CHALLENGE: &str = r#"
        if (!pv_proxy_authenticate("$fd", "@password@", "0")) {
            proxy_challenge("$fd", "0");
            exit;
        }
        consume_credentials();
"#;

const CONFIG: &str = r#"
debug=0
log_stderror=yes
fork=yes
children=1
disable_tcp=yes
auto_aliases=no
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
modparam("registrar", "min_expires", 1)
modparam("registrar", "max_expires", @expires_max_s@)
modparam("auth", "algorithm", "@algorithm@")

request_route {
    if (!mf_process_maxfwd_header("70")) exit;
    if (is_method("OPTIONS") && !has_totag()) {
        sl_send_reply("200", "OK");
        exit;
    }
    if (is_method("REGISTER")) {
        if (!pv_www_authenticate("$td", "@password@", "0")) {
            www_challenge("$td", "0");
            exit;
        }
        xlog("L_ALERT", "registers $fU expires $hdr(Expires) contact $ct\n");
        save("location");
        exit;
    }
    if (is_method("CANCEL")) {
        if (t_check_trans()) t_relay();
        exit;
    }
    if (has_totag()) {
        if (loose_route() || t_check_trans()) t_relay();
        exit;
    }
    if (is_method("INVITE")) {
        record_route();
        if ($rU =~ "^account") {
            if (!lookup("location")) {
                sl_send_reply("404", "Not registered");
                exit;
            }
            t_relay();
            exit;
        }
@challenge@
        $du = "sip:@far@";
        t_relay();
        exit;
    }
}
"#;
