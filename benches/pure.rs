//! The hot paths that are pure, each beside what the crate below it costs alone: reading and
//! writing an INVITE, passing it by the trace's tap, passing an RTP packet through, asking the gate. The last line is the ratios,
//! ours to theirs.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use foredial::dialer::campaign::{Campaign, Route};
use foredial::dialer::gate::{
    History, LeadStanding, PhoneStanding, PhoneStatus, Question, Stage, Verdict, may_dial,
};
use foredial::dialer::lead::LeadState;
use foredial::engine::tap::{Tap, Way};
use foredial::id::{CampaignId, PhoneId, TrunkId};
use foredial::media::bridge::Outgoing;
use foredial::media::packet::{self, RtpHeader};
use foredial::now::{Now, UtcMs};
use foredial::sip::message::{Message, Parsed, parse};
use foredial::sip::{Flow, Limits, Transport};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use webrtc_util::marshal::{Marshal, Unmarshal};

const OURS: &str = "foredial";
const THEIRS: &str = "below";
const GROUPS: [&str; 4] = ["invite", "tap", "rtp", "gate"];
/// As `[trace]` has it.
const RING_BYTES: usize = 4 << 20;
const SAMPLES: usize = 160;
const DATAGRAM_BYTES_MAX: usize = 1_500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let mut criterion = Criterion::default()
        .output_directory(&folder)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    invite(&mut criterion);
    tap(&mut criterion);
    rtp(&mut criterion);
    gate(&mut criterion);
    criterion.final_summary();
    // `cargo test --all-targets` runs each once and measures nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let mut line = String::from("pure");
    for group in GROUPS {
        let (ours, theirs) = (
            median(&folder, group, OURS)?,
            median(&folder, group, THEIRS)?,
        );
        line += &format!(
            " {group}_ns={ours:.0} {group}_below_ns={theirs:.0} {group}_ratio={:.2}",
            ours / theirs
        );
    }
    println!("{line}");
    Ok(())
}

/// What a carrier's INVITE looks like, SDP included.
fn invite_text() -> String {
    let body = "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
                m=audio 54400 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
                a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
    format!(
        "INVITE sip:+8613800138000@203.0.113.9:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK74bf9;rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"Foredial\" <sip:+861066666666@203.0.113.1>;tag=9fxced76sl\r\n\
         To: <sip:+8613800138000@203.0.113.9>\r\n\
         Call-ID: 3848276298220188511@203.0.113.1\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:foredial@203.0.113.1:5060>\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, REFER, NOTIFY\r\n\
         Supported: timer, replaces\r\n\
         Session-Expires: 1800\r\n\
         User-Agent: Foredial\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn invite(criterion: &mut Criterion) {
    let text = invite_text().into_bytes();
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("invite");
    group.bench_function(OURS, |bench| {
        bench.iter(|| match parse(black_box(&text), &limits) {
            Parsed::Message(Message::Request(request)) => request.to_bytes(),
            other => panic!("a good INVITE was not read: {other:?}"),
        });
    });
    group.bench_function(THEIRS, |bench| {
        bench.iter(|| {
            let message = rsip::SipMessage::try_from(black_box(&text[..]));
            let bytes: Vec<u8> = message.expect("a good INVITE").into();
            bytes
        });
    });
    group.finish();
}

/// A full ring and nobody listening; below: the one copy of the message it must cost.
fn tap(criterion: &mut Criterion) {
    let text = invite_text().into_bytes();
    let here = std::net::SocketAddr::from(([203, 0, 113, 9], 5060));
    let flow = Flow {
        id: 0,
        transport: Transport::Udp,
        local: here,
        remote: here,
    };
    let now = Now {
        instant: std::time::Instant::now(),
        utc: UtcMs(0),
    };
    let mut group = criterion.benchmark_group("tap");
    group.bench_function(OURS, |bench| {
        let mut tap = Tap::new(RING_BYTES, None);
        bench.iter(|| tap.message(now, Way::In, &flow, black_box(&text)));
    });
    group.bench_function(THEIRS, |bench| {
        bench.iter(|| Bytes::copy_from_slice(black_box(&text)));
    });
    group.finish();
}

/// A datagram in, another stream's datagram out: read, stamp, write.
fn rtp(criterion: &mut Criterion) {
    let header = RtpHeader {
        payload_type: 8,
        marker: false,
        sequence: 4_711,
        timestamp: 160_000,
        ssrc: 0x1234_5678,
    };
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    let len = packet::write(&header, &[0xD5; SAMPLES], &mut datagram).expect("it fits");
    let datagram = &datagram[..len];
    let mut out = [0; DATAGRAM_BYTES_MAX];
    let mut group = criterion.benchmark_group("rtp");
    group.bench_function(OURS, |bench| {
        let mut outgoing = Outgoing::new(1, 2, 3);
        let at = Duration::from_secs(1);
        bench.iter(|| {
            let (header, payload) = packet::read(black_box(datagram)).expect("good RTP");
            let stamp = outgoing.forwarded(at, &header, payload.len() as u32);
            let stamp = stamp.expect("the same packet is not older than itself");
            let header = RtpHeader {
                payload_type: 8,
                marker: stamp.marker,
                sequence: stamp.sequence,
                timestamp: stamp.timestamp,
                ssrc: outgoing.ssrc(),
            };
            packet::write(&header, payload, &mut out)
        });
    });
    group.bench_function(THEIRS, |bench| {
        bench.iter(|| {
            let mut bytes = Bytes::copy_from_slice(black_box(datagram));
            let mut packet = rtp::packet::Packet::unmarshal(&mut bytes).expect("good RTP");
            packet.header.ssrc = 1;
            packet.header.sequence_number = packet.header.sequence_number.wrapping_add(2);
            packet.header.timestamp = packet.header.timestamp.wrapping_add(3);
            packet.marshal_to(&mut out).expect("it fits")
        });
    });
    group.finish();
}

/// All rules against what cannot be done without: the clock on the customer's wall.
fn gate(criterion: &mut Criterion) {
    let zone = TimeZone::get("Asia/Shanghai").expect("the zones are bundled");
    let at: Timestamp = "2026-11-23T03:00:00Z".parse().expect("a time");
    let campaign = Campaign::new(CampaignId::new("demo"));
    let question = Question {
        now: UtcMs(at.as_millisecond()),
        stage: Stage::Reservation,
        campaign: &campaign,
        list_is_active: true,
        lead: LeadStanding {
            state: LeadState::Ready,
            cool_until: None,
            kept_from_agent_until: None,
        },
        phone: PhoneStanding {
            id: PhoneId(7),
            e164: "+8613800138000".to_owned(),
            status: PhoneStatus::Ok,
            is_done: false,
            not_before: None,
            zones: vec![zone.clone()],
        },
        history: History::default(),
        route: Some(Route {
            trunk: TrunkId::new("carrier"),
            caller_id: "+861066666666".to_owned(),
        }),
    };
    let mut group = criterion.benchmark_group("gate");
    group.bench_function(OURS, |bench| {
        bench.iter(|| match may_dial(black_box(&question)) {
            Verdict::Allow(allow) => allow,
            Verdict::Deny(deny) => panic!("denied: {deny:?}"),
        });
    });
    group.bench_function(THEIRS, |bench| {
        bench.iter(|| black_box(at).to_zoned(zone.clone()).time());
    });
    group.finish();
}

/// Of the run just made, in nanoseconds.
fn median(folder: &Path, group: &str, name: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let path = folder.join(group).join(name).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let median = estimates["median"]["point_estimate"].as_f64();
    Ok(median.ok_or("criterion wrote no median")?)
}
