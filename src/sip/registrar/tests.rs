//! REGISTERs written by hand against the registrar alone.

use super::super::message::{Limits, Message, Parsed, parse};
use super::*;
use crate::now::{Now, UtcMs};

const PHONE: &str = "192.0.2.7:5062";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct Bench {
    registrar: Registrar,
    now: Now,
    flow: Flow,
    cseq: u32,
}

impl Bench {
    fn with(limits: RegistrarLimits, domain: Option<&str>) -> Bench {
        Bench {
            registrar: Registrar::new(limits, domain.map(str::to_owned)),
            now: Now {
                instant: Instant::now(),
                utc: UtcMs(1_700_000_000_000),
            },
            flow: Flow {
                id: 0,
                transport: Transport::Udp,
                local: "192.0.2.1:5060".parse().unwrap(),
                remote: PHONE.parse().unwrap(),
            },
            cseq: 0,
        }
    }

    fn new() -> Bench {
        Bench::with(RegistrarLimits::default(), None)
    }

    /// A REGISTER of `ann` with these header lines and the next CSeq.
    fn ask(&mut self, lines: &[&str]) -> Outcome {
        self.cseq += 1;
        let cseq = self.cseq;
        self.ask_as("ann@house", cseq, lines)
    }

    fn ask_as(&mut self, aor: &str, cseq: u32, lines: &[&str]) -> Outcome {
        let via = "Via: SIP/2.0/UDP 10.0.0.9:5062;rport;branch=z9hG4bK1";
        let via = if lines.iter().any(|line| line.starts_with("Via:")) {
            ""
        } else {
            via
        };
        let mut text = format!(
            "REGISTER sip:house SIP/2.0\r\nFrom: <sip:{aor}>;tag=1\r\nTo: <sip:{aor}>\r\n\
             CSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n"
        );
        let call_id = lines.iter().any(|line| line.starts_with("Call-ID:"));
        let usual = if call_id { "" } else { "Call-ID: c1" };
        for line in [via, usual].iter().chain(lines).filter(|it| !it.is_empty()) {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str("Content-Length: 0\r\n\r\n");
        let parsed = parse(text.as_bytes(), &Limits::default());
        let Parsed::Message(Message::Request(request)) = parsed else {
            panic!("{text}: {parsed:?}");
        };
        let aor = Uri::parse(&format!("sip:{aor}")).unwrap();
        self.registrar
            .register(self.now.instant, &aor, &request, self.flow)
    }

    fn bound(&mut self, lines: &[&str]) -> Vec<String> {
        match self.ask(lines) {
            Outcome::Bound { contacts, .. } => contacts,
            other => panic!("{lines:?}: {other:?}"),
        }
    }

    fn reach(&self, aor: &str) -> Vec<Reach> {
        let uri = Uri::parse(&format!("sip:{aor}")).unwrap();
        self.registrar.reach(&uri)
    }

    fn uris(&self) -> Vec<String> {
        let ways = self.reach("ann@house").into_iter();
        ways.map(|way| way.request_uri).collect()
    }

    fn wait(&mut self, s: u64) -> Vec<Change> {
        self.now = self.now.plus(Duration::from_secs(s));
        self.registrar.handle_timeout(self.now.instant)
    }
}

fn refused(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Refused(status, _) => *status,
        Outcome::TooBrief { .. } => 423,
        Outcome::Bound { .. } => 200,
    }
}

#[test]
fn several_contacts_are_tried_by_preference_and_then_the_youngest_first() {
    let mut bench = Bench::new();
    bench.bound(&["Contact: <sip:a@192.0.2.7:5062>;q=0.5, <sip:b@192.0.2.7:5062>;q=0.7"]);
    bench.bound(&["Contact: <sip:c@192.0.2.7:5062>;q=0.5"]);
    bench.bound(&["Contact: <sip:d@192.0.2.7:5062>"]);
    let order = ["d", "b", "c", "a"].map(|user| format!("sip:{user}@192.0.2.7:5062"));
    assert_eq!(bench.uris(), order);
    assert_eq!(bench.reach("ann@house")[1].q_permille, 700);
    for q in ["2", "1.001", "-1", "0.1234", ".", "x"] {
        let line = format!("Contact: <sip:e@192.0.2.7>;q={q}");
        assert_eq!(refused(&bench.ask(&[&line])), 400, "{q}");
    }
    assert_eq!(bench.uris(), order);
}

#[test]
fn expiry_is_bounded_on_both_sides_and_the_contacts_own_stands_first() {
    let mut bench = Bench::new();
    let brief = bench.ask(&["Contact: <sip:a@h>;expires=59", "Expires: 600"]);
    assert_eq!(brief, Outcome::TooBrief { min_expires_s: 60 });
    let shown = bench.bound(&["Contact: <sip:a@h>;expires=60", "Expires: 600"]);
    assert_eq!(shown, ["<sip:a@h>;expires=60"]);
    assert_eq!(
        bench.bound(&["Contact: <sip:a@h>"]),
        ["<sip:a@h>;expires=3600"]
    );
    let long = bench.bound(&["Contact: <sip:a@h>;expires=4000000000"]);
    assert_eq!(long, ["<sip:a@h>;expires=7200"]);
    let gone = bench.wait(7_200);
    assert!(matches!(&gone[..], [Change::Gone { .. }]), "{gone:?}");
    assert_eq!(
        (bench.registrar.len(), bench.registrar.poll_timeout()),
        (0, None)
    );
}

#[test]
fn a_star_removes_everything_and_only_alone_and_with_expires_0() {
    let mut bench = Bench::new();
    bench.bound(&["Contact: <sip:a@h>, <sip:b@h>"]);
    for lines in [
        &["Contact: *"][..],
        &["Contact: *", "Expires: 60"],
        &["Contact: *, <sip:a@h>", "Expires: 0"],
    ] {
        assert_eq!(refused(&bench.ask(lines)), 400, "{lines:?}");
    }
    assert_eq!(bench.registrar.len(), 2);
    assert!(bench.bound(&["Contact: *", "Expires: 0"]).is_empty());
    assert_eq!(bench.registrar.len(), 0);
}

#[test]
fn an_old_cseq_of_the_same_call_changes_nothing() {
    let mut bench = Bench::new();
    let aor = "ann@house";
    bench.ask_as(aor, 5, &["Contact: <sip:a@h>"]);
    for cseq in [5, 4] {
        let late = bench.ask_as(aor, cseq, &["Contact: <sip:b@h>, <sip:a@h>;expires=0"]);
        assert_eq!(refused(&late), 500);
        let star = bench.ask_as(aor, cseq, &["Contact: *", "Expires: 0"]);
        assert_eq!(refused(&star), 500);
    }
    assert_eq!(bench.uris(), ["sip:a@h"]);
    // Another Call-ID is another count: the phone was restarted.
    bench.ask_as(aor, 1, &["Call-ID: c2", "Contact: <sip:a@h>;expires=0"]);
    assert_eq!(bench.registrar.len(), 0);
}

#[test]
fn contacts_and_addresses_of_record_are_bounded() {
    let limits = RegistrarLimits {
        contacts_per_aor_max: 3,
        aors_max: 2,
        bindings_max: 4,
        ..RegistrarLimits::default()
    };
    let mut bench = Bench::with(limits, None);
    for user in ["a", "b", "c", "d"] {
        bench.bound(&[&format!("Contact: <sip:{user}@h>")]);
    }
    assert_eq!(
        bench.uris(),
        ["sip:d@h", "sip:c@h", "sip:b@h"],
        "a was oldest"
    );
    let four = "Contact: <sip:1@h>, <sip:2@h>, <sip:3@h>, <sip:4@h>";
    assert_eq!(refused(&bench.ask(&[four])), 403);
    let other = bench.ask_as("bob@house", 1, &["Contact: <sip:x@h>"]);
    assert_eq!(refused(&other), 200);
    let second = bench.ask_as("bob@house", 2, &["Contact: <sip:y@h>"]);
    assert_eq!(refused(&second), 503, "bindings in all");
    bench.bound(&["Contact: *", "Expires: 0"]);
    assert_eq!(
        refused(&bench.ask_as("cy@house", 1, &["Contact: <sip:x@h>"])),
        200
    );
    assert_eq!(
        refused(&bench.ask_as("di@house", 1, &["Contact: <sip:x@h>"])),
        503
    );
    assert_eq!(
        refused(&bench.ask_as("di@house", 2, &[])),
        200,
        "a query costs nothing"
    );
    let long = format!("Contact: <sip:{}@h>", "x".repeat(800));
    assert_eq!(refused(&bench.ask_as("bob@house", 3, &[&long])), 400);
    let path = format!("Path: <sip:{}.example;lr>", "p".repeat(600));
    let path = bench.ask_as("bob@house", 4, &["Contact: <sip:x@h>", &path]);
    assert_eq!(refused(&path), 400);
}

#[test]
fn requests_go_to_where_the_phone_was_heard_from() {
    let mut bench = Bench::new();
    bench.bound(&["Contact: <sip:ann@10.0.0.9:5060>"]);
    let way = &bench.reach("ann@house")[0];
    assert_eq!(way.flow.remote, address(PHONE));
    assert_eq!(way.request_uri, "sip:ann@10.0.0.9:5060");
    // No NAT, and the phone sends from another port than it listens on.
    let via = "Via: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK2";
    bench.bound(&["Contact: *", "Expires: 0"]);
    bench.bound(&[via, "Contact: <sip:ann@192.0.2.7:5070>"]);
    let way = &bench.reach("ann@house")[0];
    assert_eq!(way.flow.remote, address("192.0.2.7:5070"));
    bench.bound(&["Contact: <sip:ann@192.0.2.7:5070>"]);
    let way = &bench.reach("ann@house")[0];
    assert_eq!(way.flow.remote, address(PHONE), "it asked for rport");
}

#[test]
fn the_way_through_proxies_is_kept_and_used() {
    let mut bench = Bench::new();
    bench.bound(&[
        "Contact: <sip:ann@10.0.0.9>",
        "Path: <sip:edge.example;lr>, <sip:near.example;lr>",
        "Supported: path",
    ]);
    let way = &bench.reach("ann@house")[0];
    assert_eq!(
        way.route,
        ["<sip:edge.example;lr>", "<sip:near.example;lr>"]
    );
    assert_eq!(way.flow.remote, address(PHONE));
    assert_eq!(
        refused(&bench.ask(&["Contact: <sip:a@h>", "Path: \"x"])),
        400
    );
}

const INSTANCE: &str = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";

#[test]
fn a_newer_flow_of_a_device_takes_the_place_of_the_older_and_two_stand_side_by_side() {
    let mut bench = Bench::new();
    let contact = |host: &str, reg_id: u32| {
        format!("Contact: <sip:ann@{host};ob>;reg-id={reg_id};{INSTANCE}")
    };
    let supported = "Supported: path, outbound";
    let first = bench.ask(&[&contact("10.0.0.9:1", 1), supported]);
    assert!(
        matches!(first, Outcome::Bound { outbound: true, .. }),
        "{first:?}"
    );
    bench.bound(&[&contact("10.0.0.9:2", 2), supported]);
    assert_eq!(bench.registrar.len(), 2);
    bench.bound(&[&contact("10.0.0.9:3", 1), "Call-ID: c2", supported]);
    assert_eq!(
        bench.uris(),
        ["sip:ann@10.0.0.9:3;ob", "sip:ann@10.0.0.9:2;ob"]
    );
    let ways = bench.reach("ann@house");
    assert!(ways[0].instance.is_some() && ways[0].instance == ways[1].instance);
    let plain = bench.ask(&["Contact: <sip:ann@10.0.0.9:4>", supported]);
    assert!(matches!(
        plain,
        Outcome::Bound {
            outbound: false,
            ..
        }
    ));
    let double = format!(
        "{}, <sip:b@h>;reg-id=2;{INSTANCE}",
        contact("10.0.0.9:3", 1)
    );
    assert_eq!(refused(&bench.ask(&[&double])), 400);
    let zero = contact("10.0.0.9:3", 0);
    assert_eq!(refused(&bench.ask(&[&zero])), 400);
}

#[test]
fn a_first_hop_that_keeps_no_flow_is_told_of() {
    let mut bench = Bench::new();
    let contact = format!("Contact: <sip:ann@10.0.0.9>;reg-id=1;{INSTANCE}");
    let vias = "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1, SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK2";
    let supported = "Supported: path, outbound";
    assert_eq!(refused(&bench.ask(&[vias, &contact, supported])), 439);
    let path = "Path: <sip:far.example;lr>, <sip:edge.example;lr;ob>";
    assert_eq!(refused(&bench.ask(&[vias, &contact, supported, path])), 200);
}

#[test]
fn a_flow_that_fails_takes_its_bindings_and_no_others() {
    let mut bench = Bench::new();
    let outbound = format!("Contact: <sip:ann@10.0.0.9>;reg-id=1;{INSTANCE}");
    bench.bound(&[&outbound, "Supported: outbound"]);
    bench.bound(&["Contact: <sip:plain@10.0.0.9>"]);
    bench.flow = Flow {
        id: 9,
        transport: Transport::Wss,
        ..bench.flow
    };
    bench.bound(&["Contact: <sip:page@x.invalid>"]);
    assert_eq!(bench.registrar.handle_flow_closed(8), []);
    assert_eq!(bench.registrar.handle_flow_closed(9).len(), 1);
    let elsewhere = "192.0.2.8:5062".parse().unwrap();
    assert_eq!(bench.registrar.handle_unreachable(0, elsewhere), []);
    let phone = PHONE.parse().unwrap();
    assert_eq!(bench.registrar.handle_unreachable(0, phone).len(), 1);
    assert_eq!(bench.uris(), ["sip:plain@10.0.0.9"]);
    bench.wait(10_000);
    assert!(bench.registrar.on.is_empty() && bench.registrar.ids.is_empty());
}

#[test]
fn a_phone_that_knows_gruu_is_given_one_and_found_by_it() {
    let mut bench = Bench::new();
    let contact = format!("Contact: <sip:ann@10.0.0.9>;{INSTANCE};pub-gruu=\"sip:evil@x\"");
    let shown = bench.bound(&[&contact, "Supported: gruu"]);
    let gruu = "sip:ann@house;gr=urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF";
    assert!(
        shown[0].contains(&format!(";pub-gruu=\"{gruu}\";")),
        "{shown:?}"
    );
    assert!(!shown[0].contains("evil"));
    bench.bound(&["Contact: <sip:other@10.0.0.8>"]);
    let ways = bench.reach(gruu.strip_prefix("sip:").unwrap());
    assert_eq!(ways.len(), 1);
    assert_eq!(ways[0].request_uri, "sip:ann@10.0.0.9");
    assert!(bench.reach("ann@house;gr=urn:uuid:else").is_empty());
    let plain = bench.bound(&[]);
    assert!(plain.iter().all(|one| !one.contains("gruu")), "{plain:?}");
}

#[test]
fn a_domain_of_ones_own_makes_other_domains_unknown() {
    let mut bench = Bench::with(RegistrarLimits::default(), Some("house"));
    let contact = ["Contact: <sip:a@h>"];
    assert_eq!(refused(&bench.ask_as("ann@else.example", 1, &contact)), 404);
    assert_eq!(refused(&bench.ask_as("ann@HOUSE", 2, &contact)), 200);
    assert_eq!(refused(&bench.ask_as("ann@192.0.2.1", 3, &contact)), 200);
    assert_eq!(bench.registrar.len(), 1, "one address of record");
    assert_eq!(bench.reach("ann@house").len(), 1);
}

#[test]
fn a_domain_is_one_host_and_a_star_every_host_below() {
    for (domain, host, ours) in [
        ("example.com", "Example.COM", true),
        ("example.com", "example.com.", true),
        ("example.com", "sip.example.com", false),
        ("*.example.com", "sip.example.com", true),
        ("*.example.com", "a.b.EXAMPLE.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "badexample.com", false),
        ("*.example.com", ".example.com", false),
        ("*.example.com", "com", false),
    ] {
        assert_eq!(covers(domain, host), ours, "{host} in {domain}");
    }
    let mut bench = Bench::with(RegistrarLimits::default(), Some("house"));
    let more = vec!["*.example.com".to_owned()];
    bench.registrar.set_domains(Some("house".to_owned()), more);
    let contact = ["Contact: <sip:a@h>"];
    let asked = bench.ask_as("ann@sip.example.com", 1, &contact);
    assert_eq!(refused(&asked), 200);
    assert_eq!(bench.reach("ann@house").len(), 1, "the same user");
    assert_eq!(refused(&bench.ask_as("ann@example.net", 2, &contact)), 404);
}

#[test]
fn bindings_outlive_the_process_as_text() {
    let mut bench = Bench::new();
    let contact = format!("Contact: <sip:ann@10.0.0.9>;q=0.3;reg-id=1;{INSTANCE};expires=600");
    bench.bound(&[
        &contact,
        "Path: <sip:p1;lr>, <sip:p2;lr;ob>",
        "Supported: outbound",
    ]);
    bench.bound(&["Contact: <sip:b@10.0.0.9>;expires=60"]);
    bench.flow.transport = Transport::Wss;
    bench.bound(&["Contact: <sip:page@x.invalid>"]);
    let saved = bench.registrar.saved(bench.now);
    assert_eq!(saved.len(), 2, "a connection does not outlive the process");
    let texts: Vec<String> = saved.iter().map(SavedBinding::to_text).collect();
    let read: Vec<SavedBinding> = texts
        .iter()
        .map(|text| SavedBinding::from_text(text).expect(text))
        .collect();
    assert_eq!(read, saved);
    let mut later = Bench::new();
    later.now = later.now.plus(Duration::from_secs(100));
    assert_eq!(
        later.registrar.restore(later.now, read),
        1,
        "one has run out"
    );
    let (old, new) = (bench.reach("ann@house"), later.reach("ann@house"));
    assert_eq!(
        new,
        old.into_iter()
            .filter(|it| !it.route.is_empty())
            .collect::<Vec<_>>()
    );
    later.cseq = 9;
    let shown = later.bound(&[]);
    assert!(shown[0].ends_with(";expires=500"), "{shown:?}");
    assert_eq!(later.wait(500).len(), 1);
    for text in [
        "",
        "a\tb",
        &texts[0].replace("UDP", "SCTP"),
        &format!("{}\tx", texts[0]),
    ] {
        assert_eq!(SavedBinding::from_text(text), None, "{text}");
    }
}

#[test]
fn a_binding_is_small_in_itself() {
    assert!(size_of::<Binding>() <= 320, "{}", size_of::<Binding>());
}
