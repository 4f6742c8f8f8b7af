//! What a registered phone costs: the process's own pages, counted before and after.

use std::net::SocketAddr;
use std::time::Instant;

use foredial::now::{Now, UtcMs};
use foredial::sip::{Endpoint, EndpointConfig, Flow, Transport};

const PHONES: u32 = 30_000;
const BYTES_MAX: usize = 2_048;

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .expect("VmRSS")
        * 1_024
}

fn register(end: &mut Endpoint, now: Now, n: u32, local: SocketAddr) {
    let remote: SocketAddr = ([127, 1, (n >> 8) as u8, n as u8], 5060).into();
    let flow = Flow {
        id: 0,
        transport: Transport::Udp,
        local,
        remote,
    };
    let text = format!(
        "REGISTER sip:pbx.example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP {remote};rport;branch=z9hG4bK-{n:08x}\r\n\
         From: <sip:user{n}@pbx.example.com>;tag={n}\r\nTo: <sip:user{n}@pbx.example.com>\r\n\
         Call-ID: 7f{n:032x}@{remote}\r\nCSeq: 2 REGISTER\r\nMax-Forwards: 70\r\n\
         Contact: <sip:user{n}@{remote};transport=udp;line=abcdef012345>;reg-id=1;\
         +sip.instance=\"<urn:uuid:00000000-0000-1000-8000-{n:012X}>\"\r\n\
         Supported: path, outbound, gruu\r\nUser-Agent: Desk Phone T46 108.86.0.20\r\n\
         Expires: 3600\r\nContent-Length: 0\r\n\r\n"
    );
    end.handle_received(now, &flow, text.as_bytes());
    while end.poll_output().is_some() {}
}

#[test]
fn a_registered_phone_takes_less_than_2_kib() {
    let local: SocketAddr = "127.0.0.1:5060".parse().unwrap();
    let mut end = Endpoint::new(EndpointConfig::new(local, "foredial.invalid"), 5);
    let now = Now {
        instant: Instant::now(),
        utc: UtcMs(1_700_000_000_000),
    };
    for n in 0..=0xffff_u32 {
        let ip = [127, 1, (n >> 8) as u8, n as u8].into();
        end.permit_source(ip, true);
    }
    // The tables of what is short-lived grow once; they are not what a phone costs.
    for n in 0..PHONES {
        register(&mut end, now, 60_000 + n % 1_000, local);
    }
    let later = now.plus(std::time::Duration::from_secs(60));
    end.handle_timeout(later);
    while end.poll_output().is_some() {}
    let before = resident_bytes();
    for n in 0..PHONES {
        register(&mut end, later, n, local);
        if n % 500 == 0 {
            // Timer J of the transactions.
            let gone = later.plus(std::time::Duration::from_secs(40));
            end.handle_timeout(gone);
            while end.poll_output().is_some() {}
        }
    }
    let bindings = end.snapshot().bindings;
    assert_eq!(bindings, PHONES as usize + 1_000);
    let bytes = resident_bytes().saturating_sub(before) / PHONES as usize;
    println!("a registered phone takes {bytes} bytes");
    assert!(bytes > 200, "nothing was counted: {bytes}");
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}
