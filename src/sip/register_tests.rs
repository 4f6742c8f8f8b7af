use super::*;

const WANTED_S: u32 = 3_600;

struct Story {
    now: Instant,
    it: Registration,
    servers: Vec<SocketAddr>,
}

fn server(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 5060))
}

fn granted(expires_s: u32) -> RegisterAnswer {
    RegisterAnswer::Granted { expires_s }
}

fn refused(status: u16, retry_after_s: Option<u32>) -> RegisterAnswer {
    RegisterAnswer::Refused {
        status,
        retry_after_s,
    }
}

impl Story {
    fn new(servers: &[u8]) -> Story {
        let now = Instant::now();
        let mut story = Story {
            now,
            it: Registration::new(now, WANTED_S, 7),
            servers: servers.iter().copied().map(server).collect(),
        };
        story.pass();
        story
    }

    fn pass(&mut self) -> Option<Standing> {
        let standing = self.it.handle_timeout(self.now);
        if self.it.is_due(self.now) {
            self.it.begin(self.now, self.servers.clone());
        }
        standing
    }

    /// To the next deadline; how long that took.
    fn wait(&mut self) -> (Duration, Option<Standing>) {
        let (at, _) = self.it.poll_timeout().expect("it waits for something");
        let took = at.saturating_duration_since(self.now);
        self.now = at;
        let standing = self.pass();
        let again = self.it.poll_timeout();
        assert!(again.is_none_or(|(at, _)| at > self.now), "{again:?}");
        (took, standing)
    }

    fn sent(&mut self) -> Due {
        let due = self.it.poll_output().expect("a REGISTER");
        assert_eq!(self.it.poll_output(), None, "one at a time");
        due
    }

    fn answer(&mut self, from: u8, answer: RegisterAnswer) -> Option<Standing> {
        self.it.answered(self.now, server(from), answer)
    }
}

#[test]
fn it_is_refreshed_between_eighty_and_ninety_percent_of_what_was_granted() {
    let mut story = Story::new(&[1]);
    assert_eq!(story.sent().expires_s, WANTED_S);
    assert_eq!(story.answer(1, granted(600)), Some(Standing::Registered));
    for _ in 0..50 {
        let (after, _) = story.wait();
        assert!((480..=540).contains(&after.as_secs()), "{after:?}");
        assert_eq!(story.sent().server, server(1));
        assert_eq!(story.answer(1, granted(600)), None, "told once");
    }
    assert!(story.it.is_registered());
    assert_eq!(story.it.successes(), 51);
}

#[test]
fn a_registrar_that_wants_it_longer_is_obeyed_at_once() {
    let mut story = Story::new(&[1]);
    story.sent();
    let brief = RegisterAnswer::TooBrief {
        min_expires_s: 7_200,
    };
    story.answer(1, brief);
    assert_eq!(story.sent().expires_s, 7_200);
    // One that asks for what it was given would ask for ever.
    story.answer(1, brief);
    assert_eq!(story.it.poll_output(), None);
    assert!(story.wait().0 >= PAUSE_FIRST);
}

#[test]
fn silence_goes_to_the_next_server_and_rounds_grow_apart() {
    let mut story = Story::new(&[1, 2]);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(story.sent().server, server(1));
        assert_eq!(story.wait().0, PATIENCE);
        assert_eq!(story.sent().server, server(2));
        story.answer(2, RegisterAnswer::Unreachable);
        pauses.push(story.wait().0);
    }
    let expected = [30, 60, 120, 240, 480, 960, 1_800, 1_800, 1_800];
    for (pause, expected) in pauses.iter().zip(expected.map(Duration::from_secs)) {
        let most = expected.mul_f64(1.1);
        assert!((expected..=most).contains(pause), "{pauses:?}");
    }
    story.sent();
    assert_eq!(story.answer(1, granted(60)), Some(Standing::Registered));
    assert!(
        story.wait().0 <= Duration::from_secs(54),
        "all is forgotten"
    );
}

#[test]
fn a_wrong_password_is_not_tried_at_every_server() {
    let mut story = Story::new(&[1, 2, 3]);
    story.sent();
    story.answer(1, refused(403, None));
    assert_eq!(story.it.poll_output(), None);
    assert_eq!(story.it.last_failure(), Some("REGISTER: 403"));
    assert!(story.wait().0 >= PAUSE_FIRST);
    assert_eq!(story.sent().server, server(1));
    story.answer(1, refused(503, None));
    assert_eq!(
        story.sent().server,
        server(2),
        "this one is the server's fault"
    );
}

#[test]
fn retry_after_is_honoured_and_bounded() {
    let mut story = Story::new(&[1]);
    story.sent();
    story.answer(1, refused(503, Some(300)));
    let after = story.wait().0.as_secs();
    assert!((300..=330).contains(&after), "{after}");
    story.sent();
    story.answer(1, refused(503, Some(u32::MAX)));
    assert!(story.wait().0 <= PAUSE_MAX.mul_f64(1.1));
}

#[test]
fn what_was_granted_stands_until_it_expires_and_is_told_lost_once() {
    let mut story = Story::new(&[1]);
    story.sent();
    story.answer(1, granted(100));
    let began = story.now;
    let mut lost = Vec::new();
    while story.now < began + Duration::from_secs(400) {
        let (_, standing) = story.wait();
        lost.extend(standing.map(|it| (it, story.now - began)));
        while story.it.poll_output().is_some() {
            story.answer(1, RegisterAnswer::Silent);
        }
    }
    assert_eq!(lost, [(Standing::Lost, Duration::from_secs(100))]);
    assert!(!story.it.is_registered());
}

#[test]
fn a_good_answer_that_comes_late_counts() {
    let mut story = Story::new(&[1, 2]);
    story.sent();
    story.wait();
    assert_eq!(story.sent().server, server(2));
    assert_eq!(story.answer(1, granted(60)), Some(Standing::Registered));
    assert_eq!(story.answer(2, RegisterAnswer::Silent), None);
    assert!(story.wait().0 <= Duration::from_secs(54));
}

#[test]
fn it_is_refreshed_where_it_stands() {
    let mut story = Story::new(&[1, 2]);
    story.sent();
    story.answer(1, refused(503, None));
    story.sent();
    assert_eq!(story.answer(2, granted(60)), Some(Standing::Registered));
    story.wait();
    assert_eq!(story.sent().server, server(2));
    story.answer(2, RegisterAnswer::Unreachable);
    assert_eq!(story.sent().server, server(1), "while that one is there");
}

#[test]
fn leaving_removes_it_and_nothing_follows() {
    let mut story = Story::new(&[1]);
    story.sent();
    story.answer(1, granted(60));
    story.it.leave();
    let last = Due {
        server: server(1),
        expires_s: 0,
    };
    assert_eq!(story.sent(), last);
    assert_eq!(story.answer(1, granted(0)), None);
    assert_eq!(story.it.poll_timeout(), None);
    let mut never = Story::new(&[1]);
    never.sent();
    never.it.leave();
    assert_eq!(never.it.poll_output(), None, "there is nothing to remove");
}

#[test]
fn without_a_server_it_waits_for_dns() {
    let mut story = Story::new(&[]);
    assert_eq!(story.wait().0, LOOK_AGAIN);
    story.servers.push(server(1));
    story.wait();
    assert_eq!(story.sent().server, server(1));
}
