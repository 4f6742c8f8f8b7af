//! Two endpoints, one registering at the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::now::UtcMs;
use crate::sip::EndpointConfig;
use crate::sip::auth::{Algorithm, Secret};
use crate::sip::event::{Output, Transport};

const OURS: &str = "192.0.2.1:5060";
const THEIRS: &str = "192.0.2.2:5060";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn flow(local: &str, remote: &str) -> Flow {
    Flow {
        id: 0,
        transport: Transport::Udp,
        local: address(local),
        remote: address(remote),
    }
}

struct Pair {
    now: Now,
    ours: Endpoint,
    theirs: Endpoint,
    /// How long our first messages take, and how many those are.
    slow: Duration,
    slow_until: usize,
    sent: Vec<String>,
}

impl Pair {
    /// Their registrar challenges in this order.
    fn new(order: &[Algorithm]) -> Pair {
        let endpoint =
            |at, seed| Endpoint::new(EndpointConfig::new(address(at), "x.invalid"), seed);
        let (ours, mut theirs) = (endpoint(OURS, 1), endpoint(THEIRS, 2));
        let secret = Secret::Password("secret".to_owned());
        theirs.set_phone("account7".to_owned(), secret, order.to_vec());
        Pair {
            now: Now {
                instant: Instant::now(),
                utc: UtcMs(1_800_000_000_000),
            },
            ours,
            theirs,
            slow: Duration::ZERO,
            slow_until: 0,
            sent: Vec::new(),
        }
    }

    fn register(&mut self, expires_s: u32, password: &str) -> RegisterAnswer {
        let plan = RegisterPlan {
            contact_user: "trunk-far".to_owned(),
            request_uri: "sip:192.0.2.2".to_owned(),
            aor: "sip:account7@192.0.2.2".to_owned(),
            expires_s,
            credentials: Some(Credentials {
                username: "account7".to_owned(),
                password: password.to_owned(),
                realm: None,
            }),
        };
        let id = self.ours.register_at(self.now, plan, &flow(OURS, THEIRS));
        self.answer(id)
    }

    fn answer(&mut self, id: RegisterId) -> RegisterAnswer {
        for _ in 0..20 {
            while let Some(output) = self.ours.poll_output() {
                match output {
                    Output::Send { bytes, .. } => {
                        self.sent.push(String::from_utf8_lossy(&bytes).into_owned());
                        if self.sent.len() <= self.slow_until {
                            self.now = self.now.plus(self.slow);
                        }
                        let flow = flow(THEIRS, OURS);
                        self.theirs.handle_received(self.now, &flow, &bytes);
                    }
                    Output::Event(SipEvent::RegisterAnswered { register, answer }) => {
                        assert_eq!(register, id);
                        return answer;
                    }
                    Output::Event(_) => {}
                }
            }
            while let Some(output) = self.theirs.poll_output() {
                if let Output::Send { bytes, .. } = output {
                    let flow = flow(OURS, THEIRS);
                    self.ours.handle_received(self.now, &flow, &bytes);
                }
            }
        }
        panic!("no answer: {:#?}", self.sent);
    }

    fn cseqs(&self) -> Vec<String> {
        let line = |text: &String| {
            let found = text.lines().find(|line| line.starts_with("CSeq:"));
            found.unwrap_or_default().to_owned()
        };
        self.sent.iter().map(line).collect()
    }
}

#[test]
fn a_challenge_is_answered_in_either_algorithm() {
    for order in [[Algorithm::Sha256], [Algorithm::Md5]] {
        let mut pair = Pair::new(&order);
        let answer = pair.register(600, "secret");
        assert_eq!(answer, RegisterAnswer::Granted { expires_s: 600 });
        let bound = pair.theirs.contacts("account7");
        assert_eq!(bound.len(), 1);
        assert_eq!(bound[0].request_uri, "sip:trunk-far@192.0.2.1:5060");
        assert!(pair.sent[1].contains(order[0].name()), "{}", pair.sent[1]);
        assert!(!pair.sent.concat().contains("secret"));
    }
}

#[test]
fn the_next_one_goes_on_in_the_same_row_and_removes_it() {
    let mut pair = Pair::new(&[Algorithm::Sha256]);
    pair.register(600, "secret");
    let removed = pair.register(0, "secret");
    assert!(
        matches!(removed, RegisterAnswer::Granted { .. }),
        "{removed:?}"
    );
    assert!(pair.theirs.contacts("account7").is_empty());
    let expected = [1, 2, 3, 4].map(|number| format!("CSeq: {number} REGISTER"));
    assert_eq!(pair.cseqs(), expected);
    let call_id = |text: &String| {
        let found = text.lines().find(|line| line.starts_with("Call-ID:"));
        found.unwrap_or_default().to_owned()
    };
    assert!(
        pair.sent
            .iter()
            .all(|one| call_id(one) == call_id(&pair.sent[0]))
    );
    assert!(pair.ours.snapshot().transactions.client <= 4);
}

#[test]
fn a_wrong_password_is_said_once() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let refused = pair.register(600, "guessed");
    let expected = RegisterAnswer::Refused {
        status: 401,
        retry_after_s: None,
    };
    assert_eq!(refused, expected);
    assert_eq!(pair.sent.len(), 2, "no second guess");
}

#[test]
fn a_nonce_that_has_grown_old_is_no_wrong_password() {
    let mut pair = Pair::new(&[Algorithm::Sha256]);
    // The answer to the first challenge arrives when its nonce has died; the next one in time.
    pair.slow = Duration::from_secs(301);
    pair.slow_until = 2;
    let answer = pair.register(600, "secret");
    assert_eq!(answer, RegisterAnswer::Granted { expires_s: 600 });
    assert_eq!(pair.sent.len(), 3);
    assert!(pair.sent[2].contains("CSeq: 3 REGISTER"));
}

#[test]
fn too_brief_an_interval_is_told_with_the_least() {
    let mut pair = Pair::new(&[Algorithm::Sha256]);
    let brief = pair.register(10, "secret");
    assert_eq!(brief, RegisterAnswer::TooBrief { min_expires_s: 60 });
}

#[test]
fn silence_and_a_closed_port_are_told() {
    let mut pair = Pair::new(&[Algorithm::Sha256]);
    let plan = RegisterPlan {
        contact_user: "trunk-far".to_owned(),
        request_uri: "sip:192.0.2.2".to_owned(),
        aor: "sip:account7@192.0.2.2".to_owned(),
        expires_s: 600,
        credentials: None,
    };
    let told = |pair: &mut Pair| {
        let outputs = std::iter::from_fn(|| pair.ours.poll_output());
        let answers = outputs.filter_map(|output| match output {
            Output::Event(SipEvent::RegisterAnswered { answer, .. }) => Some(answer),
            _ => None,
        });
        answers.collect::<Vec<_>>()
    };
    let flow = flow(OURS, THEIRS);
    pair.ours.register_at(pair.now, plan.clone(), &flow);
    pair.now = pair.now.plus(Duration::from_secs(33));
    pair.ours.handle_timeout(pair.now);
    assert_eq!(told(&mut pair), [RegisterAnswer::Silent]);
    pair.ours.register_at(pair.now, plan, &flow);
    pair.ours.handle_send_failed(pair.now, 0, address(THEIRS));
    assert_eq!(told(&mut pair), [RegisterAnswer::Unreachable]);
}
