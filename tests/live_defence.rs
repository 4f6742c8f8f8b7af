//! The real daemon against those who want in: sipvicious, callers without a password, a flood; and
//! beside them the phones that must not notice. Attackers and phones are on 127.0.24.x.

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::baresip::Phone;
use support::daemon::{Daemon, Home, Wish, holds};

const PATIENCE: Duration = Duration::from_secs(15);
const PASSWORD: &str = "first-secret";
const SECOND_PASSWORD: &str = "second-secret";

/// A daemon with two phones and a trunk that leads to `sink`.
async fn daemon(sink: &UdpSocket, sip: &str) -> Daemon {
    daemon_with(sink, sip, "").await
}

/// The same with more keys of `[security]` and more tables.
async fn daemon_with(sink: &UdpSocket, sip: &str, more: &str) -> Daemon {
    let home = Home::new(&Wish::trunk(sink.local_addr().expect("bound")));
    let file = home.path().join("foredial.toml");
    let text = std::fs::read_to_string(&file).expect("it was written");
    let text = text.replace("[http]\n", &format!("{sip}\n[http]\n"));
    let phones = format!(
        "[security]\nlog = \"security.log\"\n{more}\n\
         [[phone]]\nuser = \"101\"\npassword = \"{PASSWORD}\"\n\
         [[phone]]\nuser = \"102\"\npassword = \"{SECOND_PASSWORD}\"\nalgorithms = [\"MD5\"]\n"
    );
    std::fs::write(&file, format!("{text}{phones}")).expect("the folder is ours");
    home.start().await
}

fn sip_of(daemon: &Daemon) -> SocketAddr {
    SocketAddr::from((daemon.home.ip, 5060))
}

fn security_log(home: &Home) -> String {
    std::fs::read_to_string(home.path().join("security.log")).unwrap_or_default()
}

fn socket(last: u8) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 24, last), 0)).expect("a free port");
    let wait = Some(Duration::from_millis(500));
    socket.set_read_timeout(wait).expect("a timeout");
    socket
}

fn request(
    method: &str,
    user: &str,
    from: &UdpSocket,
    to: SocketAddr,
    cseq: u32,
    more: &str,
) -> String {
    let local = from.local_addr().expect("bound");
    let uri = match method {
        "INVITE" => format!("sip:+8613800138000@{to}"),
        _ => format!("sip:{}", to.ip()),
    };
    let callee = if method == "INVITE" {
        &uri
    } else {
        &format!("sip:{user}@{}", to.ip())
    };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{cseq:x}{method}\r\n\
         From: <sip:{user}@{}>;tag=t{cseq}\r\nTo: <{callee}>\r\nCall-ID: {cseq}@{local}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:{user}@{local}>\r\nMax-Forwards: 70\r\n\
         {more}Content-Length: 0\r\n\r\n",
        to.ip()
    )
}

/// Sends as RFC 3261 17.1.2 says (T1, doubled) until the final answer to this CSeq comes.
fn transact(socket: &UdpSocket, to: SocketAddr, cseq: u32, text: &str) -> Option<String> {
    let mut buffer = [0; 4_096];
    for _ in 0..6 {
        socket.send_to(text.as_bytes(), to).expect("loopback");
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            let Ok(length) = socket.recv(&mut buffer) else {
                break;
            };
            let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if answer.contains(&format!("CSeq: {cseq} ")) && !answer.starts_with("SIP/2.0 1") {
                return Some(answer);
            }
        }
    }
    None
}

fn status(answer: &str) -> &str {
    answer.get(8..11).unwrap_or(answer)
}

/// Answers the MD5 challenge with arithmetic of our own.
fn digest(challenge: &str, method: &str, uri: &str, user: &str, password: &str) -> String {
    digest_counted(challenge, method, uri, user, password, 1)
}

/// The same for the nonce's nth use.
fn digest_counted(
    challenge: &str,
    method: &str,
    uri: &str,
    user: &str,
    password: &str,
    count: u32,
) -> String {
    use md5::{Digest, Md5};
    let md5 = |text: String| -> String {
        let hash = Md5::digest(text.as_bytes());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let nonce = challenge.split("nonce=\"").nth(1).unwrap_or_default();
    let nonce = nonce.split('"').next().unwrap_or_default();
    let ha1 = md5(format!("{user}:foredial:{password}"));
    let ha2 = md5(format!("{method}:{uri}"));
    let response = md5(format!("{ha1}:{nonce}:{count:08x}:c:auth:{ha2}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"foredial\", nonce=\"{nonce}\", \
         uri=\"{uri}\", response=\"{response}\", algorithm=MD5, qop=auth, nc={count:08x}, cnonce=\"c\"\r\n"
    )
}

/// Registers: the final status, after the challenge was answered.
fn register(
    socket: &UdpSocket,
    to: SocketAddr,
    cseq: u32,
    password: &str,
    expires: u32,
) -> Option<String> {
    let more = format!("Expires: {expires}\r\n");
    let text = request("REGISTER", "101", socket, to, cseq, &more);
    let asked = transact(socket, to, cseq, &text)?;
    assert_eq!(status(&asked), "401", "{asked}");
    let uri = format!("sip:{}", to.ip());
    let answer = digest(&asked, "REGISTER", &uri, "101", password);
    let text = request(
        "REGISTER",
        "101",
        socket,
        to,
        cseq + 1,
        &format!("{more}{answer}"),
    );
    transact(socket, to, cseq + 1, &text)
}

/// Runs a program of sipvicious; all it says.
fn sipvicious(program: &str, line: &[&str]) -> String {
    let output = Command::new("timeout")
        .arg("60")
        .arg(program)
        .args(line)
        .output()
        .expect("apt-get install sipvicious");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn sipvicious_finds_no_user_and_cracks_none() {
    let sink = socket(1);
    let daemon = daemon(&sink, "drop_scanners = false").await;
    // sipvicious sends from 127.0.0.1, whatever it is told to bind.
    let target = daemon.home.ip.to_string();
    for method in ["REGISTER", "INVITE"] {
        let line = [
            "-p", "5060", "-e", "98-110", "--force", "-m", method, &target,
        ];
        let found = sipvicious("svwar", &line);
        assert!(found.contains("found nothing"), "{found}");
        assert!(
            found.contains("SIP/2.0 401"),
            "it was not answered: {found}"
        );
    }
    let words: String = (0..60).map(|n| format!("guess{n}\n")).collect();
    let dictionary = daemon.home.path().join("words");
    std::fs::write(&dictionary, format!("{words}{SECOND_PASSWORD}\n")).expect("our folder");
    let dictionary = dictionary.to_string_lossy().into_owned();
    // It knows only MD5, which this phone is asked for.
    let line = [
        "-p",
        "5060",
        "-u",
        "102",
        "-d",
        &dictionary,
        "--maximumtime=4",
        &target,
    ];
    let cracked = sipvicious("svcrack", &line);
    assert!(!cracked.contains(SECOND_PASSWORD), "{cracked}");
    let log = security_log(&daemon.home);
    let locked = "event=address_locked from=127.0.0.1 ";
    assert!(log.contains(locked), "{log}{cracked}");
    let guesses = log.matches("event=auth_failed from=127.0.0.1 ").count();
    assert!((10..20).contains(&guesses), "{guesses}: {log}");
    assert!(
        daemon.home.log().contains(locked),
        "in the other log as well"
    );
    // The phone whose name was guessed at signs in all the same.
    let answer = register(&socket(7), sip_of(&daemon), 1, PASSWORD, 600);
    assert_eq!(answer.as_deref().map(status), Some("200"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_that_names_itself_hears_nothing_at_all() {
    let sink = socket(1);
    let daemon = daemon(&sink, "").await;
    let (to, scanner) = (sip_of(&daemon), socket(68));
    let text = request(
        "OPTIONS",
        "100",
        &scanner,
        to,
        1,
        "User-Agent: friendly-scanner\r\n",
    );
    scanner.send_to(text.as_bytes(), to).expect("loopback");
    assert!(scanner.recv(&mut [0; 2_048]).is_err(), "no answer");
    let text = request("OPTIONS", "100", &scanner, to, 2, "");
    let answer = transact(&scanner, to, 2, &text).expect("an answer");
    assert_eq!(status(&answer), "200");
    let log = security_log(&daemon.home);
    assert!(log.contains("event=scanner from=127.0.24.68 "), "{log}");
    // What fail2ban makes of these lines, if it is there.
    let filter = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/fail2ban/filter.d/foredial.conf"
    );
    let file = daemon.home.path().join("security.log");
    let asked = Command::new("fail2ban-regex")
        .arg(&file)
        .arg(filter)
        .output();
    if let Ok(output) = asked {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = log.lines().count();
        assert!(
            said.contains(&format!("{lines} matched, 0 missed")),
            "{said}{log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_10000_calls_without_the_right_none_reaches_the_trunk() {
    let sink = socket(1);
    sink.set_nonblocking(true).expect("a flag");
    let daemon = daemon(&sink, "").await;
    let to = sip_of(&daemon);
    let attackers: Vec<UdpSocket> = (100..150).map(socket).collect();
    let mut sent = 0;
    for round in 0..200_u32 {
        for attacker in &attackers {
            let user = if round % 2 == 0 { "101" } else { "nobody" };
            let more = match round % 4 {
                0 | 1 => String::new(),
                _ => digest("nonce=\"stolen\"", "INVITE", "sip:x", user, "guess"),
            };
            let text = request("INVITE", user, attacker, to, round + 1, &more);
            attacker.send_to(text.as_bytes(), to).expect("loopback");
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sent, 10_000);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut answers = std::collections::BTreeMap::<String, u64>::new();
    for attacker in &attackers {
        attacker.set_nonblocking(true).expect("a flag");
        let mut buffer = [0; 4_096];
        while let Ok(length) = attacker.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            *answers.entry(status(&text).to_owned()).or_default() += 1;
        }
    }
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["401"], "{answers:?}");
    let mut buffer = [0; 4_096];
    while let Ok(length) = sink.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(text.starts_with("OPTIONS "), "at the trunk: {text}");
    }
    let locked = security_log(&daemon.home)
        .matches("event=address_locked")
        .count();
    assert!(locked >= attackers.len(), "{locked} locked");
    assert!(
        !daemon.home.log().contains("13800138000"),
        "a number in the log"
    );
    assert!(!security_log(&daemon.home).contains("13800138000"));
}

/// One call of the phone's is up at the trunk, where it rings for ever; it may have no second one.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_beyond_the_limit_reach_nobody() {
    const TRIES: u32 = 10_000;
    const AT_ONCE: u32 = 50;
    let sink = socket(1);
    let more = "messages_per_s = 0\n[fraud]\nallowed = [\"+86\"]\ncalls_at_once = 1\ncalls_a_minute = 0\n\
        [[route]]\nname = \"outside\"\nprefix = \"+\"\nfrom = [\"phone\"]\nring_s = 600\ntrunk = [\"far\"]\n";
    let daemon = daemon_with(&sink, "", more).await;
    let (to, phone) = (sip_of(&daemon), socket(7));
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.24.7\r\ns=-\r\nc=IN IP4 127.0.24.7\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 8\r\n";
    let invite = |cseq: u32, more: &str| {
        let text = request("INVITE", "101", &phone, to, cseq, more);
        let end = format!(
            "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        text.replace("Content-Length: 0\r\n\r\n", &end)
    };
    let uri = format!("sip:+8613800138000@{to}");
    let challenge = transact(&phone, to, 1, &invite(1, "")).expect("an answer");
    assert_eq!(status(&challenge), "401", "{challenge}");
    // The same nonce serves them all; only its count grows (RFC 7616 3.4).
    let proof = |count: u32| digest_counted(&challenge, "INVITE", &uri, "101", PASSWORD, count);
    phone
        .send_to(invite(2, &proof(1)).as_bytes(), to)
        .expect("loopback");
    let mut buffer = [0; 4_096];
    let invited = loop {
        let (length, from) = sink.recv_from(&mut buffer).expect("an INVITE at the trunk");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.starts_with("INVITE ") {
            sink.send_to(ringing(&text).as_bytes(), from)
                .expect("loopback");
            break text;
        }
    };
    let mut answers = std::collections::BTreeMap::<String, u32>::new();
    for first in (0..TRIES).step_by(AT_ONCE as usize) {
        for nth in first..first + AT_ONCE {
            let text = invite(10 + nth, &proof(2 + nth));
            phone.send_to(text.as_bytes(), to).expect("loopback");
        }
        let mut finals = 0;
        while finals < AT_ONCE {
            let length = phone.recv(&mut buffer).expect("an answer to each");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let old = text.contains("CSeq: 2 INVITE") || text.starts_with("SIP/2.0 1");
            if old || !text.starts_with("SIP/2.0 ") {
                continue;
            }
            phone
                .send_to(ack(&text, &uri).as_bytes(), to)
                .expect("loopback");
            *answers.entry(status(&text).to_owned()).or_default() += 1;
            finals += 1;
        }
    }
    println!("{answers:?}");
    assert_eq!(answers.values().sum::<u32>(), TRIES);
    assert!(
        !answers.contains_key("200") && !answers.contains_key("401"),
        "{answers:?}"
    );
    while let Ok(length) = sink.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let is_first = text.starts_with("INVITE ") && call_id(&text) == call_id(&invited);
        assert!(
            is_first || text.starts_with("OPTIONS "),
            "at the trunk: {text}"
        );
    }
    let log = security_log(&daemon.home);
    let refused = log.matches("event=fraud from=127.0.24.7 ").count();
    // Their media ports rest a while, so most are refused for want of one.
    assert!(refused >= 100, "{refused} told");
    assert!(log.contains("user=101 reason=calls_at_once"), "{refused}");
    assert!(!log.contains("13800138000"), "a number in the log");
}

fn call_id(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("Call-ID:"));
    line.unwrap_or_default().to_owned()
}

/// The lines of a message by which its answer or ACK is known.
fn names(text: &str) -> Vec<&str> {
    let named = |line: &&str| {
        ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    text.lines().filter(named).collect()
}

fn ringing(invite: &str) -> String {
    let lines = names(invite).join("\r\n");
    let lines = lines.replacen("\r\nCall-ID", ";tag=sink\r\nCall-ID", 1);
    let lines = match lines.contains(";tag=sink") {
        true => lines,
        false => lines.replacen("\r\nCSeq", ";tag=sink\r\nCSeq", 1),
    };
    format!("SIP/2.0 180 Ringing\r\n{lines}\r\nContent-Length: 0\r\n\r\n")
}

/// The ACK of a refusal (RFC 3261 17.1.1.3).
fn ack(refusal: &str, uri: &str) -> String {
    let lines = names(refusal).join("\r\n").replace(" INVITE", " ACK");
    format!("ACK {uri} SIP/2.0\r\n{lines}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n")
}

/// Sends 20,000 messages a second until told to stop.
fn flood(from: UdpSocket, to: SocketAddr, stop: &AtomicBool, sent: &AtomicU64) {
    let texts = [
        request("INVITE", "101", &from, to, 1, ""),
        request("REGISTER", "101", &from, to, 2, ""),
        request("OPTIONS", "101", &from, to, 3, ""),
        "\0garbage".repeat(40),
    ];
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let due = start.elapsed().as_micros() as u64 / 50;
        let mut done = sent.load(Ordering::Relaxed);
        while done < due {
            let text = &texts[(done % 4) as usize];
            // A full queue of the kernel is no reason to be slower.
            let _ = from.send_to(text.as_bytes(), to);
            done += 1;
        }
        sent.store(done, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(500));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_20000_messages_a_second_costs_the_others_nothing() {
    let sink = socket(1);
    let daemon = daemon(&sink, "").await;
    let to = sip_of(&daemon);
    let (stop, sent) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let flooding = {
        let (stop, sent, from) = (Arc::clone(&stop), Arc::clone(&sent), socket(66));
        std::thread::spawn(move || flood(from, to, &stop, &sent))
    };
    let phone = socket(7);
    let start = Instant::now();
    let (mut tried, mut good) = (0_u32, 0_u32);
    let mut cseq = 1;
    while start.elapsed() < Duration::from_secs(6) || tried < 200 {
        let text = request("OPTIONS", "101", &phone, to, cseq, "");
        let answer = transact(&phone, to, cseq, &text);
        good += u32::from(answer.as_deref().map(status) == Some("200"));
        let answer = register(&phone, to, cseq + 1, PASSWORD, 600);
        good += u32::from(answer.as_deref().map(status) == Some("200"));
        tried += 2;
        cseq += 3;
        std::thread::sleep(Duration::from_millis(20));
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{good} of {tried}"
        );
    }
    stop.store(true, Ordering::Relaxed);
    flooding.join().expect("the flood ends");
    let sent = sent.load(Ordering::Relaxed);
    println!(
        "{good} of {tried} beside {sent} messages in {:?}",
        start.elapsed()
    );
    assert!(sent > 60_000, "no flood: {sent}");
    assert!(
        u64::from(good) * 1_000 >= u64::from(tried) * 999,
        "{good} of {tried}"
    );
    let log = security_log(&daemon.home);
    assert_eq!(
        log.matches("event=flood from=127.0.24.66 ").count(),
        1,
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_of_others_register_are_refused_when_brief_and_leave() {
    let sink = socket(1);
    let daemon = daemon(&sink, "").await;
    let (to, phone) = (sip_of(&daemon), socket(7));
    let brief = register(&phone, to, 1, PASSWORD, 5).expect("an answer");
    assert_eq!(status(&brief), "423", "{brief}");
    assert!(brief.contains("Min-Expires: 60\r\n"), "{brief}");
    let wrong = register(&phone, to, 3, "guess", 600).expect("an answer");
    assert_eq!(status(&wrong), "401", "{wrong}");
    let bound = register(&phone, to, 5, PASSWORD, 600).expect("an answer");
    assert!(bound.contains(";expires=600\r\n"), "{bound}");
    let registered = || daemon.home.log().matches("a phone registered").count();
    assert_eq!(registered(), 1, "{}", daemon.home.log());
    let baresip = Phone {
        ip: Ipv4Addr::new(127, 0, 24, 9),
        // Like sipp it knows only MD5.
        registrar: Some((to, SECOND_PASSWORD.to_owned())),
        ..Phone::new("102")
    };
    let baresip = baresip.start().expect("baresip starts");
    let came = holds(PATIENCE, || registered() == 2).await;
    assert!(came, "{}{}", baresip.log(), daemon.home.log());
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sipp/register.xml");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = socket(10).local_addr().expect("bound").port().to_string();
    let sipp = Command::new("sipp")
        .current_dir(folder.path())
        .args([
            &to.to_string(),
            "-sf",
            scenario,
            "-i",
            "127.0.24.10",
            "-p",
            &port,
        ])
        .args(["-m", "1", "-timeout", "20s", "-timeout_error", "-nostdin"])
        .args(["-trace_err", "-error_file", "errors.log"])
        .output()
        .expect("apt-get install sip-tester");
    let errors = std::fs::read_to_string(folder.path().join("errors.log")).unwrap_or_default();
    assert!(
        sipp.status.success(),
        "{errors}{}",
        security_log(&daemon.home)
    );
    assert_eq!(registered(), 3);
    let left = register(&phone, to, 7, PASSWORD, 0).expect("an answer");
    assert!(
        status(&left) == "200" && !left.contains("\r\nContact: "),
        "{left}"
    );
}
