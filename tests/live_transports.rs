//! The real binary on real sockets: SIP over UDP, TCP and TLS, IPv4 and IPv6, keep-alives, and
//! what becomes of those who break the framing, say nothing or open too many connections.
//! sipp and `openssl s_client` are the far ends that none of us wrote.

mod support;

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use support::daemon::{Daemon, Home, Wish};
use support::desk::{Shift, text};
use support::sipp::Scenario;

/// Of a single answer on a busy machine, and longer than any limit of the daemon.
const PATIENCE: Duration = Duration::from_secs(30);

/// A home whose `[sip]` is written here; `@ip@` stands for its address.
fn home(sip: &str) -> Arc<Home> {
    let home = Home::new(&Wish::nowhere());
    let ip = home.ip.to_string();
    let text = format!(
        "[sip]\n{}\n[http]\nlisten = \"{ip}:8080\"\ntls_listen = \"\"\n\
         [media]\nworkers = 1\n[[trunk]]\nname = \"far\"\nservers = [\"127.0.0.1:9\"]\n\
         caller_id = \"+861066666666\"\noptions_every_s = 0\n",
        sip.replace("@ip@", &ip)
    );
    std::fs::write(home.path().join("foredial.toml"), text).expect("the folder is ours");
    home
}

async fn started(sip: &str) -> Daemon {
    home(sip).start().await
}

fn sip_of(daemon: &Daemon, port: u16) -> SocketAddr {
    SocketAddr::from((daemon.home.ip, port))
}

fn options(transport: &str, branch: &str) -> String {
    format!(
        "OPTIONS sip:foredial@example.com SIP/2.0\r\n\
         Via: SIP/2.0/{transport} 192.0.2.9:5999;rport;branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:far@example.com>;tag=1\r\nTo: <sip:foredial@example.com>\r\n\
         Call-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream
}

/// Everything up to and with the `ends`-th end of a head.
fn answers(stream: &mut impl Read, ends: usize) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while text.matches("\r\n\r\n").count() < ends {
        let count = stream.read(&mut buffer).expect("an answer in time");
        assert!(count > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

/// One message with its body.
fn message(stream: &mut impl Read) -> String {
    let mut text = answers(stream, 1);
    let body = text.find("\r\n\r\n").expect("a head") + 4;
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.and_then(|it| it.parse().ok()).expect("a length");
    let mut rest = vec![0; (body + length).saturating_sub(text.len())];
    stream.read_exact(&mut rest).expect("a body in time");
    text.push_str(&String::from_utf8_lossy(&rest));
    text
}

/// All that comes until the daemon closes. A reset closes as well.
fn until_closed(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("still open: {error}, {}", String::from_utf8_lossy(&all)),
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn asked_by_udp(from: &str, to: SocketAddr) -> String {
    let socket = UdpSocket::bind(from).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let branch = to.port().to_string();
    socket
        .send_to(options("UDP", &branch).as_bytes(), to)
        .expect("sent");
    let mut buffer = [0; 4_096];
    let (count, source) = socket.recv_from(&mut buffer).expect("an answer");
    assert_eq!(source, to, "answered from where it was asked");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

/// Free at this moment on the IPv6 loopback.
fn free_port_6() -> u16 {
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("IPv6");
    socket.local_addr().expect("bound").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_answered_over_udp_and_tcp_of_both_families_under_the_right_name() {
    let port = free_port_6();
    let listen = format!("listen = [\"@ip@:5060\", \"[::1]:{port}\"]");
    let daemon = started(&listen).await;
    let four = sip_of(&daemon, 5060);
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    for (from, to) in [("127.0.0.1:0", four), ("[::1]:0", six)] {
        let answer = asked_by_udp(from, to);
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert!(
            answer.contains(&format!("Contact: <sip:foredial@{to}>")),
            "{answer}"
        );
        assert!(answer.contains(";received="), "{answer}");
        let mut stream = connect(to);
        let ours = stream.local_addr().expect("connected");
        stream
            .write_all(options("TCP", "tcp").as_bytes())
            .expect("sent");
        let answer = answers(&mut stream, 1);
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        let contact = format!("Contact: <sip:foredial@{to};transport=tcp>");
        assert!(answer.contains(&contact), "{answer}");
        assert!(
            answer.contains(&format!("rport={}", ours.port())),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advertised_address_is_told_to_its_own_family_only() {
    let port = free_port_6();
    let sip = format!("listen = [\"@ip@:5060\", \"[::1]:{port}\"]\nadvertised = \"203.0.113.7\"");
    let daemon = started(&sip).await;
    let answer = asked_by_udp("127.0.0.1:0", sip_of(&daemon, 5060));
    assert!(
        answer.contains("Contact: <sip:foredial@203.0.113.7:5060>"),
        "{answer}"
    );
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let answer = asked_by_udp("[::1]:0", six);
    assert!(
        answer.contains(&format!("Contact: <sip:foredial@{six}>")),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sipp_is_answered_over_one_tcp_connection_and_over_many() {
    let daemon = started("listen = \"@ip@:5060\"").await;
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sipp/options.xml");
    for mode in ["t1", "tn"] {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Command::new("sipp")
            .current_dir(folder.path())
            .args([
                &sip_of(&daemon, 5060).to_string(),
                "-sf",
                scenario,
                "-t",
                mode,
            ])
            .args([
                "-i",
                &daemon.home.ip.to_string(),
                "-m",
                "60",
                "-r",
                "60",
                "-l",
                "20",
            ])
            .args([
                "-max_socket",
                "30",
                "-nostdin",
                "-timeout",
                "30s",
                "-timeout_error",
            ])
            .args(["-trace_err", "-error_file", "errors.log"])
            .stdin(Stdio::null())
            .output()
            .expect("sipp starts: apt-get install sip-tester");
        let errors = std::fs::read_to_string(folder.path().join("errors.log"));
        let errors = errors.unwrap_or_default();
        assert!(
            output.status.success(),
            "{mode}: {:?} {errors}",
            output.status
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_is_answered_over_tls_1_2_and_1_3() {
    let daemon = started("listen = \"@ip@:5060\"\ntls_listen = \"@ip@:5061\"").await;
    let to = sip_of(&daemon, 5061).to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = Command::new("openssl")
            .args(["s_client", "-connect", &to, "-quiet", version])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        let mut input = client.stdin.take().expect("piped");
        let mut output = client.stdout.take().expect("piped");
        input
            .write_all(options("TLS", version).as_bytes())
            .expect("sent");
        let answer = tokio::task::spawn_blocking(move || answers(&mut output, 1));
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        // Both fail only when it has ended by itself.
        let _ = client.kill();
        let _ = client.wait();
        let answer = answer.expect("in time").expect("read");
        assert!(answer.starts_with("SIP/2.0 200 "), "{version}: {answer}");
        let contact = format!("Contact: <sip:foredial@{to};transport=tls>");
        assert!(answer.contains(&contact), "{version}: {answer}");
    }
    let old = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &to,
            "-tls1_1",
            "-cipher",
            "ALL:@SECLEVEL=0",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("openssl starts");
    assert!(!old.status.success(), "TLS 1.1 is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_alives_are_answered_over_tcp_and_by_stun() {
    let daemon = started("listen = \"@ip@:5060\"").await;
    let to = sip_of(&daemon, 5060);
    let mut stream = connect(to);
    stream.write_all(b"\r\n\r\n").expect("sent");
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).expect("a pong");
    assert_eq!(&pong, b"\r\n");
    stream
        .write_all(options("TCP", "after").as_bytes())
        .expect("sent");
    assert!(
        answers(&mut stream, 1).starts_with("SIP/2.0 200 "),
        "nothing but one pong before"
    );

    let socket = UdpSocket::bind("127.0.0.1:0").expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend([7; 12]);
    socket.send_to(&request, to).expect("sent");
    let mut buffer = [0; 128];
    let (count, _) = socket.recv_from(&mut buffer).expect("an answer");
    assert_eq!((count, &buffer[..2]), (32, &[1, 1][..]));
    let port = u16::from_be_bytes([buffer[26], buffer[27]]) ^ 0x2112;
    assert_eq!(port, socket.local_addr().expect("bound").port());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_messages_in_one_segment_are_two_and_a_broken_length_is_refused_and_closed() {
    let daemon = started("listen = \"@ip@:5060\"").await;
    let to = sip_of(&daemon, 5060);
    let mut stream = connect(to);
    let both = options("TCP", "one") + &options("TCP", "two");
    stream.write_all(both.as_bytes()).expect("sent");
    let got = answers(&mut stream, 2);
    assert_eq!(got.matches("SIP/2.0 200 ").count(), 2, "{got}");
    for (length, told) in [
        ("Content-Length: -999\r\n", "400 Bad Content-Length"),
        ("", "400 Missing Content-Length"),
        (
            "Content-Length: 5\r\nl: 13\r\n",
            "400 Several Content-Length",
        ),
        ("Content-Length: 4294967295\r\n", "513 Message Too Large"),
    ] {
        let mut stream = connect(to);
        let text = options("TCP", "broken").replace("Content-Length: 0\r\n", length);
        let text = text + &options("TCP", "smuggled");
        stream.write_all(text.as_bytes()).expect("sent");
        let all = until_closed(&mut stream);
        assert!(
            all.starts_with(&format!("SIP/2.0 {told}\r\n")),
            "{length:?}: {all:?}"
        );
        assert_eq!(all.matches("\r\nCSeq: ").count(), 1, "one answer: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_message_and_silence_are_closed_while_others_are_served() {
    let daemon = started("listen = \"@ip@:5060\"").await;
    let to = sip_of(&daemon, 5060);
    let (mut half, mut silent, mut good) = (connect(to), connect(to), connect(to));
    let text = options("TCP", "half").replace("Content-Length: 0", "Content-Length: 9999");
    half.write_all(text.as_bytes()).expect("sent");
    assert_eq!(until_closed(&mut half), "", "no answer to half a message");
    assert_eq!(until_closed(&mut silent), "");
    // The daemon has more patience with whoever has been whole before; a new one is served anyway.
    drop(good);
    good = connect(to);
    good.write_all(options("TCP", "good").as_bytes())
        .expect("sent");
    assert!(answers(&mut good, 1).starts_with("SIP/2.0 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_an_address_may_have_are_closed_at_once() {
    let daemon = started("listen = \"@ip@:5060\"\nconnections_per_address = 3").await;
    let to = sip_of(&daemon, 5060);
    let mut held: Vec<TcpStream> = (0..3).map(|_| connect(to)).collect();
    for (number, stream) in held.iter_mut().enumerate() {
        let text = options("TCP", &format!("held{number}"));
        stream.write_all(text.as_bytes()).expect("sent");
        assert!(answers(stream, 1).starts_with("SIP/2.0 200 "));
    }
    assert_eq!(until_closed(&mut connect(to)), "");
    let said = held[0].write_all(options("TCP", "still").as_bytes());
    said.expect("sent");
    assert!(
        answers(&mut held[0], 1).starts_with("SIP/2.0 200 "),
        "the others stay"
    );
    let counted = daemon.home.ctl("snapshot");
    let counted = &counted["sip_connections"];
    assert_eq!(
        (&counted["open"], &counted["refused"]),
        (&3.into(), &1.into())
    );
}

#[test]
fn a_taken_tcp_or_tls_port_is_told_with_its_key_and_the_remedy() {
    for (key, transport) in [("tcp_listen", "TCP"), ("tls_listen", "TLS")] {
        let home = home("listen = \"@ip@:5060\"\ntcp_listen = \"\"\n");
        let taken = TcpListener::bind((home.ip, 0)).expect("a free port");
        let address = taken.local_addr().expect("bound");
        let file = home.path().join("foredial.toml");
        let text = std::fs::read_to_string(&file).expect("written");
        let text = text
            .replace("tcp_listen = \"\"\n", "")
            .replace("[http]", &format!("{key} = \"{address}\"\n[http]"));
        std::fs::write(&file, text).expect("the folder is ours");
        let output = home.foredial(&["run"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        let wanted = format!(
            "[sip] {key} = \"{address}\" ({transport}): the port is taken; \
             stop what uses it or change {key}, \"\" for none"
        );
        assert!(said.contains(&wanted), "{said}");
    }
}

const NUMBER: &str = "+8613812340001";

/// An agent at her desk, and a trunk there whose numbers are so long that no INVITE fits a datagram.
async fn large_numbers(trunk: SocketAddr) -> (Daemon, Shift) {
    let home = Home::new(&Wish::trunk(trunk));
    let file = home.path().join("foredial.toml");
    let text = std::fs::read_to_string(&file).expect("written");
    let format = format!(
        "number_format = \"prefix\"\ninternational_prefix = \"{}\"\n[[agent]]",
        "0".repeat(500)
    );
    std::fs::write(&file, text.replacen("[[agent]]", &format, 1)).expect("the folder is ours");
    home.lead("Zhang San", NUMBER);
    let daemon = home.start().await;
    let agent = Shift::begin(&daemon, "agent1").await;
    (daemon, agent)
}

async fn ended_busy(agent: &Shift) {
    let desk = agent.desk.until_state("wrap_up").await;
    assert_eq!(text(&desk, "/call/result"), "busy", "{:#}", desk["call"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_too_large_for_udp_is_sent_refused_and_acknowledged_over_one_tcp_connection() {
    let far = TcpListener::bind("127.0.22.2:0").expect("a free port");
    let address = far.local_addr().expect("bound");
    let carrier = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = far.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let invite = message(&mut stream);
        let kept = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let mut busy = "SIP/2.0 486 Busy Here\r\n".to_owned();
        for line in invite
            .lines()
            .filter(|line| kept.iter().any(|it| line.starts_with(it)))
        {
            let tag = if line.starts_with("To:") {
                ";tag=far"
            } else {
                ""
            };
            busy.push_str(&format!("{line}{tag}\r\n"));
        }
        busy.push_str("Content-Length: 0\r\n\r\n");
        stream.write_all(busy.as_bytes()).expect("sent");
        (invite, message(&mut stream))
    });
    let (_daemon, agent) = large_numbers(address).await;
    agent.dial().await;
    ended_busy(&agent).await;
    let (invite, ack) = carrier.await.expect("the carrier's own end");
    assert!(
        invite.starts_with("INVITE sip:0000") && invite.len() > 1_300,
        "{invite}"
    );
    assert!(invite.contains("\r\nVia: SIP/2.0/TCP "), "{invite}");
    assert!(ack.starts_with("ACK sip:0000"), "{ack}");
    assert!(ack.contains("\r\nVia: SIP/2.0/TCP "), "{ack}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_too_large_for_udp_goes_by_udp_when_tcp_is_refused() {
    let mut sipp = Scenario::refusing("486 Busy Here")
        .start()
        .expect("sipp starts");
    let (_daemon, agent) = large_numbers(sipp.address).await;
    agent.dial().await;
    ended_busy(&agent).await;
    let stats = sipp.wait(PATIENCE).expect("sipp ends with its only call");
    assert_eq!(
        (stats.successful, stats.failed),
        (1, 0),
        "{}",
        sipp.errors()
    );
}
