//! Starts baresip as a phone: answers by itself, speaks a tone, writes down what it hears, and is
//! ended by its process id.
#![allow(dead_code)] // Each test file uses its own part of it.

use std::f32::consts::TAU;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// It ends by itself after this, whatever a test forgot.
const LIFE_S: u32 = 120;
const MODULES: &str = "/usr/lib/baresip/modules";

/// How the phone is set up.
pub struct Phone {
    pub user: String,
    pub ip: Ipv4Addr,
    /// What it says, at −12 dB of full scale.
    pub tone_hz: f32,
    /// Where it registers, and its password; without it it takes calls directly.
    pub registrar: Option<(SocketAddr, String)>,
    /// 200 to every INVITE at once; otherwise it rings.
    pub answers: bool,
    /// Whom it calls as soon as it is up.
    pub calls: Option<String>,
    /// It says BYE and ends by itself after this.
    pub life_s: u32,
    /// TLS and SRTP, and nothing else.
    pub secure: Option<Secure>,
}

/// How a phone proves itself, and whom it believes.
#[derive(Clone)]
pub struct Secure {
    pub ca: PathBuf,
    /// Certificate and key; it listens for TLS on the port after its own.
    pub certificate: Option<PathBuf>,
}

impl Phone {
    pub fn new(user: &str) -> Phone {
        let (user, ip) = (user.to_owned(), Ipv4Addr::LOCALHOST);
        Phone {
            user,
            ip,
            tone_hz: 700.0,
            registrar: None,
            answers: true,
            calls: None,
            life_s: LIFE_S,
            secure: None,
        }
    }

    /// # Errors
    /// `NotFound` when there is no baresip: `apt-get install baresip-core`.
    pub fn start(&self) -> io::Result<Baresip> {
        let folder = tempfile::tempdir()?;
        let port = UdpSocket::bind((self.ip, 0))?.local_addr()?.port();
        let address = SocketAddr::new(self.ip.into(), port);
        write_tone(&folder.path().join("tone.wav"), self.tone_hz).map_err(io::Error::other)?;
        std::fs::write(
            folder.path().join("config"),
            config(address, folder.path(), self.secure.as_ref()),
        )?;
        std::fs::write(folder.path().join("accounts"), self.account(address))?;
        std::fs::write(folder.path().join("contacts"), "")?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut command = Command::new("baresip");
        command
            .arg("-4")
            .arg("-f")
            .arg(folder.path())
            .args(["-t", &self.life_s.to_string()]);
        if let Some(number) = &self.calls {
            command.arg("-e").arg(format!("/dial {number}"));
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .current_dir(folder.path())
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("baresip (apt-get install baresip-core): {error}"),
                )
            })?;
        let mut phone = Baresip {
            child,
            address,
            folder,
        };
        phone.wait_until_bound()?;
        Ok(phone)
    }

    fn account(&self, address: SocketAddr) -> String {
        let mode = if self.answers { "auto" } else { "manual" };
        let (transport, more) = match &self.secure {
            Some(_) => ("tls", ";mediaenc=srtp-mand"),
            None => ("udp", ""),
        };
        let codecs = format!("audio_codecs=PCMA/8000/1,PCMU/8000/1{more}");
        match &self.registrar {
            None => format!(
                "<sip:{}@{address}>;regint=0;answermode={mode};{codecs}\n",
                self.user
            ),
            Some((registrar, password)) => format!(
                "<sip:{}@{registrar};transport={transport}>;auth_pass={password};regint=60;\
                 answermode={mode};{codecs}\n",
                self.user
            ),
        }
    }
}

/// A running baresip.
pub struct Baresip {
    child: Child,
    pub address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Baresip {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// What it heard in its calls so far, 16-bit at 8 kHz, oldest call first. A call's file is
    /// complete once the call has ended.
    pub fn heard(&self) -> io::Result<Vec<PathBuf>> {
        let files = std::fs::read_dir(self.folder.path())?.filter_map(Result::ok);
        let mut heard: Vec<PathBuf> = files
            .map(|file| file.path())
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        heard.sort();
        Ok(heard)
    }

    fn wait_until_bound(&mut self) -> io::Result<()> {
        for _ in 0..250 {
            if UdpSocket::bind(self.address).is_err() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let what = format!("baresip ended at once ({status}): {}", self.log());
                return Err(io::Error::other(what));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "baresip never bound its port",
        ))
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(address: SocketAddr, folder: &Path, secure: Option<&Secure>) -> String {
    let folder = folder.display();
    let mut more = String::new();
    if let Some(Secure { ca, certificate }) = secure {
        more = format!("module srtp.so\nsip_cafile {}\n", ca.display());
        if let Some(certificate) = certificate {
            more += &format!("sip_certificate {}\n", certificate.display());
        }
    }
    let text = format!(
        "sip_listen {address}\nmodule_path {MODULES}\naudio_source aufile,{folder}/tone.wav\n\
         audio_player aubridge,ear\naudio_alert aubridge,bell\nausrc_srate 8000\nauplay_srate 8000\n\
         ausrc_channels 1\nauplay_channels 1\nsnd_path {folder}\n\
         module g711.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\n\
         module_app account.so\nmodule_app menu.so\n"
    );
    text + &more
}

/// As long as the phone can live.
fn write_tone(path: &Path, hz: f32) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wave = hound::WavWriter::create(path, spec)?;
    for n in 0..LIFE_S * 8_000 {
        // One turn at a time: the phase of a long tone loses its precision.
        let phase = (f64::from(n) * f64::from(hz) / 8_000.0).fract() as f32;
        wave.write_sample(((TAU * phase).sin() * 8_192.0) as i16)?;
    }
    wave.finalize()
}
