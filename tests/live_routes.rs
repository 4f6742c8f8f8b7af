//! The real binary between far ends that none of us wrote: two baresip phones, sipp as a carrier in
//! both directions, and a loop. Everything on loopback, each test at an address of its own.

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::baresip::{Baresip, Phone};
use support::daemon::{Home, holds};
use support::ear::amplitude;
use support::sipp::Scenario;

/// For phones to register, calls to come up, and files to be finished.
const PATIENCE: Duration = Duration::from_secs(20);
/// The address of a permitted caller, and of the carrier.
const CALLER: Ipv4Addr = Ipv4Addr::new(127, 0, 26, 2);
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 26, 3);
const TALK_S: u32 = 6;

fn config(ip: Ipv4Addr, carrier: SocketAddr) -> String {
    format!(
        "[sip]\nlisten = \"{ip}:5060\"\n[http]\nlisten = \"{ip}:8080\"\ntls_listen = \"\"\n\
         [media]\nrtp_ports = \"10000-10999\"\n\
         [[trunk]]\nname = \"far\"\nservers = [\"{carrier}\"]\ncaller_id = \"+861066666666\"\noptions_every_s = 0\n\
         [[phone]]\nusers = \"101..102\"\npassword = \"secret\"\nalgorithms = [\"MD5\"]\n\
         [fraud]\nallowed = [\"+861\"]\n\
         [routing]\npermit = [\"{CALLER}\", \"{ip}\"]\n\
         [[route]]\nname = \"desks\"\nregex = \"^10[12]$\"\nphone = \"102\"\nrecord = true\n\
         [[route]]\nname = \"outside\"\nprefix = \"+\"\nfrom = [\"phone\"]\ntrunk = [\"far\"]\n\
         [[route]]\nname = \"round\"\nnumbers = [\"9\"]\nuri = \"sip:9@{ip}:5060\"\n"
    )
}

fn phone(user: &str, home: &Home, tone_hz: f32) -> Phone {
    let mut phone = Phone::new(user);
    phone.registrar = Some((SocketAddr::from((home.ip, 5060)), "secret".to_owned()));
    phone.tone_hz = tone_hz;
    phone
}

/// The first file of what a phone heard, at 8 kHz.
fn heard(phone: &Baresip) -> Vec<i16> {
    let files = phone.heard().expect("its folder is there");
    let file = files
        .first()
        .unwrap_or_else(|| panic!("it heard nothing: {}", phone.log()));
    read(file)
}

fn read(file: &Path) -> Vec<i16> {
    let mut wave = hound::WavReader::open(file).expect("a complete file");
    wave.samples::<i16>().filter_map(Result::ok).collect()
}

/// The middle second: after the set-up, before the end.
fn middle(samples: &[i16]) -> &[i16] {
    let half = samples.len() / 2;
    assert!(samples.len() > 16_000, "only {} samples", samples.len());
    &samples[half - 4_000..half + 4_000]
}

async fn registered(home: &Arc<Home>, phones: u64) {
    let count = || home.ctl("snapshot")["registrations"].as_u64() == Some(phones);
    assert!(holds(PATIENCE, count).await, "{}", home.ctl("snapshot"));
}

/// Every call is over and has given back what it held.
async fn nothing_is_held(home: &Arc<Home>) {
    let free = || {
        let status = home.ctl("snapshot");
        status["rtp_ports_in_use"] == 0 && status["legs"] == 0
    };
    assert!(holds(PATIENCE, free).await, "{}", home.ctl("snapshot"));
}

#[tokio::test]
async fn two_phones_talk_through_the_switch_and_are_recorded() {
    let nowhere = SocketAddr::from((CARRIER, 9));
    let home = Home::written(|ip| config(ip, nowhere));
    let _daemon = home.start().await;
    let called = phone("102", &home, 700.0).start().expect("baresip starts");
    registered(&home, 1).await;
    let mut caller = phone("101", &home, 400.0);
    caller.calls = Some("102".to_owned());
    caller.life_s = TALK_S;
    let mut caller = caller.start().expect("baresip starts");
    assert!(
        holds(PATIENCE, || caller.has_ended()).await,
        "{}",
        caller.log()
    );
    nothing_is_held(&home).await;
    let (near, far) = (heard(&caller), heard(&called));
    assert!(
        amplitude(middle(&near), 700.0) > 6_000.0,
        "{}",
        caller.log()
    );
    assert!(amplitude(middle(&far), 400.0) > 6_000.0, "{}", called.log());
    let recording = || {
        let files = support::daemon::files_under(&home.path().join("recordings"));
        files
            .unwrap_or_default()
            .into_iter()
            .find(|file| file.extension() == Some("wav".as_ref()))
    };
    assert!(
        holds(PATIENCE, || recording().is_some()).await,
        "{}",
        home.log()
    );
    let wave = support::daemon::Wave::open(&recording().expect("just seen")).expect("a recording");
    assert!(
        amplitude(middle(&wave.left), 400.0) > 6_000.0,
        "left is the caller"
    );
    assert!(
        amplitude(middle(&wave.right), 700.0) > 6_000.0,
        "right is the called"
    );
}

#[tokio::test]
async fn a_phone_calls_out_by_a_trunk() {
    let mut carrier = Scenario::named("answer_echo")
        .ip(CARRIER)
        .start()
        .expect("sipp starts");
    let home = Home::written(|ip| config(ip, carrier.address));
    let _daemon = home.start().await;
    let mut caller = phone("101", &home, 400.0);
    caller.calls = Some("+8613800138000".to_owned());
    caller.life_s = TALK_S;
    let mut caller = caller.start().expect("baresip starts");
    assert!(
        holds(PATIENCE, || caller.has_ended()).await,
        "{}",
        caller.log()
    );
    let stats = carrier
        .wait(PATIENCE)
        .expect("sipp ends with its only call");
    assert_eq!(
        (stats.successful, stats.failed),
        (1, 0),
        "{}",
        carrier.errors()
    );
    assert!(
        amplitude(middle(&heard(&caller)), 400.0) > 6_000.0,
        "its own echo: {}",
        caller.log()
    );
    nothing_is_held(&home).await;
}

#[tokio::test]
async fn a_carrier_calls_a_phone() {
    let home = Home::written(|ip| config(ip, SocketAddr::from((CARRIER, 9))));
    let _daemon = home.start().await;
    let called = phone("102", &home, 700.0).start().expect("baresip starts");
    registered(&home, 1).await;
    let switch = SocketAddr::from((home.ip, 5060));
    let scenario = Scenario::calling("102", switch).ip(CARRIER).talk_ms(2_000);
    let mut carrier = scenario.start().expect("sipp starts");
    let stats = carrier
        .wait(PATIENCE)
        .expect("sipp ends with its only call");
    assert_eq!(
        (stats.successful, stats.failed),
        (1, 0),
        "{}",
        carrier.errors()
    );
    nothing_is_held(&home).await;
    assert!(
        called.log().contains("+8613900000000"),
        "it saw who called: {}",
        called.log()
    );
}

#[tokio::test]
async fn a_loop_is_found_by_its_hops() {
    let home = Home::written(|ip| config(ip, SocketAddr::from((CARRIER, 9))));
    let _daemon = home.start().await;
    let socket = UdpSocket::bind((CALLER, 0)).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a time-out");
    let (own, switch) = (
        socket.local_addr().expect("bound"),
        SocketAddr::from((home.ip, 5060)),
    );
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 {CALLER}\r\ns=-\r\nc=IN IP4 {CALLER}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
    );
    let invite = format!(
        "INVITE sip:9@{switch} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKloop\r\nMax-Forwards: 70\r\n\
         From: <sip:a@{own}>;tag=a\r\nTo: <sip:9@{switch}>\r\nCall-ID: loop@{own}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@{own}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.send_to(invite.as_bytes(), switch).expect("sent");
    let until = Instant::now() + PATIENCE;
    let mut last = String::new();
    let mut buffer = [0; 4_096];
    while Instant::now() < until && (last.is_empty() || last.starts_with("SIP/2.0 1")) {
        if let Ok(length) = socket.recv(&mut buffer) {
            last = String::from_utf8_lossy(&buffer[..length]).into_owned();
        }
    }
    assert!(last.starts_with("SIP/2.0 483"), "{last}\n{}", home.log());
    nothing_is_held(&home).await;
}

#[test]
fn the_plan_explains_itself() {
    let home = Home::written(|ip| config(ip, SocketAddr::from((CARRIER, 9))));
    let asked = home.good(&[
        "explain",
        "route",
        "+8613800138000",
        "--from",
        "phone:101",
        "--at",
        "2026-11-22T10:00+08:00",
    ]);
    let expected = "emergency: does not match: not an emergency number\n\
        desks: does not match: it holds when the number matches ^10[12]$\n\
        outside: matches\n\
        round: does not match: it holds when the number is 9\n\
        => outside: +8613800138000 to trunk far (30 s each)\n";
    assert_eq!(asked, expected);
    let refused = home.foredial(&["explain", "route", "+8613800138000", "--from", "trunk:far"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stdout);
    assert!(
        text.ends_with("=> refused with 404: no rule matches\n"),
        "{text}"
    );
}
