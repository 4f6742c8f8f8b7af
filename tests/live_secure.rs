//! The real binary with TLS and SRTP, and baresip as the phone and as the carrier: voice both ways,
//! nothing readable on the wire, a server with another name refused, certificates changed under way.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use support::baresip::{Baresip, Phone, Secure};
use support::daemon::{Home, holds};
use support::ear::amplitude;

/// For phones to register, calls to come up, and files to be finished.
const PATIENCE: Duration = Duration::from_secs(30);
const PHONE: Ipv4Addr = Ipv4Addr::new(127, 0, 34, 2);
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 34, 3);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 34, 4);
const TALK_S: u32 = 8;
const NAME: &str = "sip.carrier.example";

/// An authority made for one test, in a folder of its own.
struct Authority {
    folder: tempfile::TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().expect("a folder");
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let name = rcgen::DnValue::from("Test authority");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let made = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.path().join("ca.pem"), made.pem()).expect("written");
        let issuer = rcgen::Issuer::new(params, key);
        Authority { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// `NAME.pem` and `NAME.key` in this folder, and both in `NAME.both`.
    fn signs(&self, folder: &Path, file: &str, names: &[&str]) -> PathBuf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("names");
        for name in names {
            let san = match (name.parse(), name.starts_with("sip:")) {
                (Ok(ip), _) => rcgen::SanType::IpAddress(ip),
                (_, true) => rcgen::SanType::URI(name.as_str().try_into().expect("ASCII")),
                _ => rcgen::SanType::DnsName(name.as_str().try_into().expect("ASCII")),
            };
            params.subject_alt_names.push(san);
        }
        let made = params.signed_by(&key, &self.issuer).expect("signed");
        let write = |end: &str, text: String| {
            let path = folder.join(format!("{file}.{end}"));
            std::fs::write(&path, text).expect("written");
            path
        };
        write("pem", made.pem());
        write("key", key.serialize_pem());
        write("both", made.pem() + &key.serialize_pem())
    }
}

/// Phones over TLS that must encrypt; +8619… goes to a carrier, +8618… to one that is somebody else.
fn config(ip: Ipv4Addr, ca: &Path, carrier: SocketAddr, stranger: SocketAddr) -> String {
    let ca = ca.display();
    let trunk = |name: &str, server: SocketAddr, more: &str| {
        format!(
            "[[trunk]]\nname = \"{name}\"\nservers = [\"{server}\"]\ncaller_id = \"+861066666666\"\n\
             options_every_s = 0\ntransport = \"tls\"\ncertificate_name = \"{NAME}\"\n{more}"
        )
    };
    format!(
        "[sip]\nlisten = \"{ip}:5060\"\ntls_listen = \"{ip}:5061\"\ncertificate = \"us.pem\"\nkey = \"us.key\"\n\
         ca = \"{ca}\"\n[http]\nlisten = \"{ip}:8080\"\ntls_listen = \"\"\n\
         [media]\nrtp_ports = \"10000-10999\"\nworkers = 1\n{}{}\
         [[phone]]\nusers = \"101..102\"\npassword = \"secret\"\nalgorithms = [\"MD5\"]\nsrtp = \"require\"\n\
         [fraud]\nallowed = [\"+\"]\n\
         [[route]]\nname = \"out\"\nprefix = \"+8619\"\nfrom = [\"phone\"]\ntrunk = [\"far\"]\n\
         [[route]]\nname = \"wrong\"\nprefix = \"+8618\"\nfrom = [\"phone\"]\ntrunk = [\"stranger\"]\n",
        trunk("far", carrier, "srtp = \"require\"\n"),
        trunk("stranger", stranger, ""),
    )
}

fn secure(ca: &Authority, certificate: Option<PathBuf>) -> Option<Secure> {
    Some(Secure {
        ca: ca.ca(),
        certificate,
    })
}

/// Takes every call, over TLS, as a carrier of these names.
fn carrier(authority: &Authority, ip: Ipv4Addr, names: &[&str], tone_hz: f32) -> Baresip {
    let certificate = authority.signs(authority.folder.path(), &ip.to_string(), names);
    // baresip takes calls to its own user only.
    let mut phone = Phone::new("+861900100000");
    (phone.ip, phone.tone_hz) = (ip, tone_hz);
    phone.secure = secure(authority, Some(certificate));
    phone.start().expect("baresip starts")
}

fn tls_of(baresip: &Baresip) -> SocketAddr {
    // libre takes the next port for TLS.
    SocketAddr::new(baresip.address.ip(), baresip.address.port() + 1)
}

fn home(authority: &Authority, carrier: SocketAddr, stranger: SocketAddr) -> Arc<Home> {
    let home = Home::written(|ip| config(ip, &authority.ca(), carrier, stranger));
    let ip = home.ip.to_string();
    authority.signs(home.path(), "us", &[&ip, "pbx.example"]);
    home
}

fn caller(authority: &Authority, home: &Home, number: &str) -> Baresip {
    let mut phone = Phone::new("101");
    (phone.ip, phone.tone_hz, phone.life_s) = (PHONE, 500.0, TALK_S);
    phone.registrar = Some((SocketAddr::from((home.ip, 5061)), "secret".to_owned()));
    phone.secure = secure(authority, None);
    phone.calls = Some(number.to_owned());
    phone.start().expect("baresip starts")
}

/// The middle second of the first thing a phone heard.
fn heard(phone: &Baresip) -> Vec<i16> {
    let files = phone.heard().expect("its folder is there");
    let file = files
        .first()
        .unwrap_or_else(|| panic!("it heard nothing: {}", phone.log()));
    let mut wave = hound::WavReader::open(file).expect("a file");
    let samples: Vec<i16> = wave.samples::<i16>().filter_map(Result::ok).collect();
    assert!(
        samples.len() > 16_000,
        "only {} samples: {}",
        samples.len(),
        phone.log()
    );
    let half = samples.len() / 2;
    samples[half - 4_000..half + 4_000].to_vec()
}

/// What passes on the loopback's voice ports.
struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    fn start(home: &Home) -> Capture {
        let file = home.path().join("voice.pcap");
        let filter = format!("udp and host {}", home.ip);
        let child = Command::new("dumpcap")
            .args(["-q", "-i", "lo", "-f", &filter, "-w"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dumpcap is there");
        Capture { child, file }
    }

    /// The payloads of datagrams that look like RTP.
    fn end(mut self) -> Vec<Vec<u8>> {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.child.wait();
        let text = Command::new("tshark")
            .arg("-r")
            .arg(&self.file)
            .args(["-T", "fields", "-e", "udp.payload"])
            .output()
            .expect("tshark is there");
        let hex = |line: &str| -> Vec<u8> {
            (0..line.len() / 2)
                .filter_map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).ok())
                .collect()
        };
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        let packets = text.lines().map(hex);
        packets
            .filter(|packet| {
                packet.len() >= 172 && packet[0] & 0xc0 == 0x80 && packet[1] & 0x7f == 8
            })
            .collect()
    }
}

/// How much of a tone is in the octets behind the RTP head, read as A-law.
fn in_the_clear(packets: &[Vec<u8>], hz: f64) -> f64 {
    let samples: Vec<i16> = packets
        .iter()
        .flat_map(|packet| packet[12..172].iter())
        .map(|octet| support::ear::decode(8, *octet))
        .collect();
    amplitude(&samples, hz)
}

#[tokio::test]
async fn a_phone_and_a_carrier_talk_over_tls_and_srtp_and_the_wire_shows_nothing() {
    let authority = Authority::new();
    let far = carrier(
        &authority,
        CARRIER,
        &["sip:sip.carrier.example", "www.carrier.example"],
        900.0,
    );
    let home = home(&authority, tls_of(&far), SocketAddr::from((STRANGER, 9)));
    let daemon = home.start().await;
    let capture = Capture::start(&home);
    let mut phone = caller(&authority, &home, "+861900100000");
    let talking = || home.ctl("snapshot")["through"]["calls"][0]["state"] == "talking";
    assert!(
        holds(PATIENCE, talking).await,
        "{}\n{}\n{}",
        home.log(),
        phone.log(),
        far.log()
    );
    let snapshot = home.ctl("snapshot");
    let secured = &snapshot["through"]["calls"][0]["secured"];
    assert_eq!(
        (&secured["caller"], &secured["callee"]),
        (&true.into(), &true.into())
    );
    let trace = home.good(&["ctl", "trace", "--verbose"]);
    assert!(
        trace.contains("RTP/SAVP") && trace.contains("inline:****"),
        "{trace}"
    );
    let shown = trace.lines().filter(|line| line.contains("inline:"));
    assert!(
        shown.into_iter().all(|line| line.contains("inline:****")),
        "{trace}"
    );
    assert!(holds(PATIENCE, || phone.has_ended()).await);
    assert!(holds(PATIENCE, || home.ctl("snapshot")["legs"] == 0).await);
    let packets = capture.end();
    let (at_phone, at_carrier) = (heard(&phone), heard(&far));
    let figures = format!(
        "phone hears 900 Hz {:.0}, carrier hears 500 Hz {:.0}, {} packets, clear 900 Hz {:.0}, clear 500 Hz {:.0}",
        amplitude(&at_phone, 900.0),
        amplitude(&at_carrier, 500.0),
        packets.len(),
        in_the_clear(&packets, 900.0),
        in_the_clear(&packets, 500.0),
    );
    println!("{figures}");
    assert!(amplitude(&at_phone, 900.0) > 4_000.0, "{figures}");
    assert!(amplitude(&at_carrier, 500.0) > 4_000.0, "{figures}");
    assert!(packets.len() > 400, "{figures}");
    assert!(
        in_the_clear(&packets, 900.0) < 400.0 && in_the_clear(&packets, 500.0) < 400.0,
        "{figures}"
    );
    assert!(
        packets.iter().all(|packet| packet.len() > 172),
        "each has its tag"
    );
    drop(daemon);
}

#[tokio::test]
async fn a_carrier_with_another_name_is_not_spoken_to_and_the_log_says_whose_certificate_it_is() {
    let authority = Authority::new();
    let far = carrier(&authority, STRANGER, &["sip.stranger.example"], 900.0);
    let home = home(&authority, SocketAddr::from((CARRIER, 9)), tls_of(&far));
    let _daemon = home.start().await;
    let phone = caller(&authority, &home, "+861800100000");
    let said = "the certificate is for sip.stranger.example and not for sip.carrier.example";
    assert!(
        holds(PATIENCE, || home.log().contains(said)).await,
        "{}\n{}",
        home.log(),
        phone.log()
    );
    assert!(far.heard().expect("its folder").is_empty());
    let unreachable = || home.ctl("trunks")[1]["counters"]["unreachable"].as_u64() > Some(0);
    assert!(holds(PATIENCE, unreachable).await, "{}", home.ctl("trunks"));
}

/// Whom the listener says it is, by openssl.
fn shown_to_openssl(home: &Home) -> String {
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "openssl s_client -connect {}:5061 </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName",
            home.ip
        ))
        .output()
        .expect("openssl is there");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn certificates_are_changed_without_a_restart_and_a_broken_one_changes_nothing() {
    let authority = Authority::new();
    let nobody = SocketAddr::from((CARRIER, 9));
    let home = home(&authority, nobody, nobody);
    let _daemon = home.start().await;
    assert!(shown_to_openssl(&home).contains("pbx.example"));
    authority.signs(home.path(), "us", &["new.pbx.example"]);
    home.good(&["ctl", "reload"]);
    assert!(shown_to_openssl(&home).contains("new.pbx.example"));
    std::fs::write(home.path().join("us.pem"), "no certificate").expect("the folder is ours");
    let refused = home.foredial(&["ctl", "reload"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && told.contains("us.pem"),
        "{told}"
    );
    assert!(
        shown_to_openssl(&home).contains("new.pbx.example"),
        "the old one serves on"
    );
    let metrics = reqwest::get(format!("http://{}:8080/metrics", home.ip)).await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    assert!(
        metrics.contains("foredial_certificate_expires_days{certificate=\"sip\"}"),
        "{metrics}"
    );
}
