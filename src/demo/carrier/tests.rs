//! The signalling machine on a clock of its own.

use std::time::Duration;

use super::*;

const INVITE: &str = "INVITE sip:10000@127.0.0.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:5999;branch=z9hG4bK1\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\n\
    To: <sip:10000@127.0.0.1>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.1:5999>\r\n\
    Content-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\n";

struct Bench {
    exchange: Exchange,
    journal: Arc<Mutex<Journal>>,
    now: Instant,
    peer: SocketAddr,
}

impl Bench {
    fn new(config: CarrierConfig) -> Bench {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 5998));
        let now = Instant::now();
        let journal = Arc::new(Mutex::new(Journal::new(now)));
        let config = CarrierConfig {
            seed: Some(1),
            ..config
        };
        let exchange = Exchange::new(config, local, local.ip(), Arc::clone(&journal));
        Bench {
            exchange,
            journal,
            now,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 5999)),
        }
    }

    fn receive(&mut self, text: &str) {
        self.exchange
            .handle_datagram(self.now, self.peer, text.as_bytes());
    }

    /// Lets time pass to a moment, from deadline to deadline; what left meanwhile, and when.
    fn pass(&mut self, by: Duration) -> Vec<(Duration, String)> {
        let (start, end) = (self.now, self.now + by);
        let mut sent = Vec::new();
        loop {
            while let Some(output) = self.exchange.poll_output() {
                let text = String::from_utf8_lossy(&output.bytes);
                sent.push((
                    self.now - start,
                    text.lines().next().unwrap_or_default().to_owned(),
                ));
            }
            let Some((at, _)) = self.exchange.poll_timeout().filter(|(at, _)| *at <= end) else {
                break;
            };
            self.now = at.max(self.now);
            self.exchange.handle_timeout(self.now);
            let next = self.exchange.poll_timeout();
            assert!(
                next.is_none_or(|(at, _)| at > self.now),
                "a deadline stayed behind"
            );
        }
        self.now = end;
        sent
    }
}

fn times(sent: &[(Duration, String)], start: &str) -> Vec<u128> {
    let fits = sent.iter().filter(|(_, line)| line.starts_with(start));
    fits.map(|(at, _)| at.as_millis()).collect()
}

#[tokio::test]
async fn an_answer_nobody_acknowledges_ends_in_bye_after_32_seconds() {
    let mut bench = Bench::new(CarrierConfig {
        answer_after_ms: 1_000,
        ..CarrierConfig::default()
    });
    bench.receive(INVITE);
    let sent = bench.pass(Duration::from_secs(34));
    assert_eq!(times(&sent, "SIP/2.0 180"), [0]);
    let repeated = [
        1_000, 1_500, 2_500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500, 32_500,
    ];
    assert_eq!(times(&sent, "SIP/2.0 200"), repeated);
    assert_eq!(times(&sent, "BYE"), [33_000, 33_500]);
    assert_eq!(
        lock(&bench.journal).calls()[0].state,
        CallState::Ended { by: EndedBy::NoAck }
    );
}

#[tokio::test]
async fn every_call_is_forgotten_in_the_end() {
    for last_two in 0..100 {
        let mut bench = Bench::new(CarrierConfig::default());
        bench.receive(&INVITE.replace("10000", &format!("100{last_two:02}")));
        bench.pass(Duration::from_secs(400));
        assert_eq!(bench.exchange.poll_timeout(), None, "{last_two:02}");
        let state = lock(&bench.journal).calls()[0].state;
        assert!(
            matches!(state, CallState::Ended { .. }),
            "{last_two:02}: {state:?}"
        );
    }
}

#[test]
fn the_number_plan_covers_every_ending() {
    let timing = behaviour::Timing {
        answer_after_ms: 2_000,
        hang_up_after_ms: 5_000,
    };
    let status = |number: &str| match Behaviour::of_number(number, timing) {
        Behaviour::Refuse { status, .. } => status,
        Behaviour::Answer { after_ms: 2_000 } => 200,
        Behaviour::AnswerThenHangUp {
            after_ms: 2_000,
            talk_ms: 5_000,
        } => 299,
        Behaviour::RingOut => 180,
        other => panic!("{number}: {other:?}"),
    };
    let plan = [
        (0, 200),
        (69, 200),
        (70, 486),
        (74, 486),
        (75, 180),
        (79, 180),
        (80, 603),
    ];
    let plan = plan.iter().chain(&[
        (84, 603),
        (85, 404),
        (89, 404),
        (90, 503),
        (94, 503),
        (95, 299),
    ]);
    for (last_two, expected) in plan {
        assert_eq!(
            status(&format!("+86 138 0013 80{last_two:02}")),
            *expected,
            "{last_two}"
        );
    }
    assert_eq!(status("5"), 200);
    assert_eq!(status(""), 200);
}
