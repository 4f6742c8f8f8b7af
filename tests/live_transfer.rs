//! An agent brings a third party into her call, at the real binary: two baresips as far ends, each
//! with a tone of its own, write down what they hear; so does the recording.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use support::baresip::{Baresip, Phone};
use support::daemon::{Daemon, Home, Wave, holds};
use support::desk::{Shift, text};
use support::ear;

const NUMBER: &str = "+8613812340001";
const EXPERT: &str = "+862155550100";
const AGENT_HZ: u32 = 440;
const CUSTOMER_HZ: f32 = 700.0;
const EXPERT_HZ: f32 = 1_200.0;
const SECOND: Duration = Duration::from_secs(1);

/// The first trunk carries one call: the third party's goes over the second.
fn config(ip: Ipv4Addr, customer: SocketAddr, expert: SocketAddr) -> String {
    format!(
        "[sip]\nlisten = \"{ip}:5060\"\n[http]\nlisten = \"{ip}:8080\"\ntls_listen = \"\"\n\
         [media]\nrtp_ports = \"10000-10199\"\nworkers = 1\n[fraud]\nallowed = [\"+86\"]\n\
         [[phone]]\nuser = \"102\"\npassword = \"secret\"\nalgorithms = [\"MD5\"]\n\
         [[trunk]]\nname = \"one\"\nservers = [\"{customer}\"]\nmax_calls = 1\n\
         caller_id = \"+861066666666\"\noptions_every_s = 0\n\
         [[trunk]]\nname = \"two\"\nservers = [\"{expert}\"]\n\
         caller_id = \"+861066666667\"\noptions_every_s = 0\n\
         [[agent]]\nid = \"agent1\"\nname = \"Li Wei\"\n\
         [[campaign]]\nid = \"live\"\ntrunks = [\"one\", \"two\"]\nhours = \"00:00-24:00\"\n\
         time_zones = [\"Asia/Shanghai\"]\nmin_gap_s = 0\nring_limit_s = 15\nwrap_up_s = 30\n\
         [[campaign.dispositions]]\nkey = \"sale\"\nlabel = \"Sale\"\naction = \"final\"\n"
    )
}

struct Story {
    customer: Baresip,
    expert: Baresip,
    home: Arc<Home>,
    daemon: Daemon,
    agent: Shift,
}

impl Story {
    /// The agent and the customer have talked for two seconds.
    async fn talking(expert: impl FnOnce(Ipv4Addr, &mut Phone)) -> Story {
        let speaking = |user: &str, hz: f32| {
            let mut phone = Phone::new(user);
            phone.tone_hz = hz;
            phone
        };
        let customer = speaking(NUMBER, CUSTOMER_HZ).start();
        let customer = customer.expect("baresip starts");
        let mut third = speaking(EXPERT, EXPERT_HZ);
        let reserved = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let nobody = reserved.and_then(|it| it.local_addr()).expect("a port");
        let mut started = None;
        let home = Home::written(|ip| {
            expert(ip, &mut third);
            if third.registrar.is_none() {
                started = Some(third.start().expect("baresip starts"));
            }
            let at = started.as_ref().map_or(nobody, |it| it.address);
            config(ip, customer.address, at)
        });
        home.lead("Zhang San", NUMBER);
        let daemon = home.start().await;
        let expert = started.unwrap_or_else(|| third.start().expect("baresip starts"));
        let agent = Shift::begin(&daemon, "agent1").await;
        agent.seat.speak(AGENT_HZ);
        agent.dial().await;
        agent.desk.until_call("talking").await;
        assert!(agent.seat.hears(f64::from(CUSTOMER_HZ)).await);
        agent.seat.hear(SECOND * 2).await;
        Story {
            customer,
            expert,
            home,
            daemon,
            agent,
        }
    }

    async fn until_third(&self, state: &str) {
        let what = format!("a third party that is {state}");
        let is = |desk: &Value| desk["call"]["transfer"]["state"] == state;
        self.agent.desk.until(&what, is).await;
    }

    /// She hears this tone and not the other.
    async fn hears(&self, this: f32, not: f32) {
        self.agent.seat.listen_anew();
        assert!(self.agent.seat.hears(f64::from(this)).await, "{this} Hz");
        let heard = self.agent.seat.hear(SECOND * 2).await;
        let leak = heard.amplitude(f64::from(not), SECOND);
        assert!(leak < 100.0, "{not} Hz leaks: {leak}");
    }

    /// Ends the call from the command line, as an admin does, and reads the recording.
    async fn ended(&self) -> Wave {
        let call = text(&self.agent.desk.now(), "/call/id");
        self.home.good(&["ctl", "hangup", &call]);
        let ready = |desk: &Value| desk["call"]["recording_ready"] == true;
        self.agent.desk.until("a recording", ready).await;
        let books = self.home.lead_books(1);
        let path = books.attempt()["recording_path"].as_str().expect("a path");
        Wave::open(&self.home.path().join("recordings").join(path)).expect("a whole WAV")
    }

    async fn nothing_is_held(&self) {
        let mut last = Value::Null;
        let free = holds(Duration::from_secs(5), || {
            last = self.home.ctl("snapshot");
            // What is left is the agent's seat.
            last["rtp_ports_in_use"] == 0 && last["legs"] == 1 && last["writes_pending"] == 0
        });
        assert!(free.await, "{last:#}");
    }
}

/// What a far end heard in its one call, in stretches of at least half a second.
async fn heard(far: &Baresip) -> String {
    let complete = || {
        let files = far.heard();
        matches!(files.as_deref(), Ok([file]) if hound::WavReader::open(file).is_ok_and(|wave| wave.duration() > 8_000))
    };
    assert!(
        holds(Duration::from_secs(5), complete).await,
        "{}",
        far.log()
    );
    let files = far.heard().expect("its folder is there");
    pieces(&samples(&files[0]))
}

fn samples(path: &Path) -> Vec<i16> {
    let mut wave = hound::WavReader::open(path).expect("a complete file");
    wave.samples::<i16>().filter_map(Result::ok).collect()
}

/// 100 ms at a time: who is heard.
fn pieces(samples: &[i16]) -> String {
    let voices = [
        ("agent", f64::from(AGENT_HZ)),
        ("customer", f64::from(CUSTOMER_HZ)),
        ("expert", f64::from(EXPERT_HZ)),
    ];
    let kind = |piece: &[i16]| {
        let loud = |hz: f64| ear::amplitude(piece, hz) > 4_000.0;
        let voice = voices.iter().find(|(_, hz)| loud(*hz));
        match (voice, ear::rms(piece)) {
            (Some((name, _)), _) => *name,
            (None, rms) if rms < 30.0 => "silence",
            (None, _) => "music",
        }
    };
    let mut stretches: Vec<(&str, usize)> = Vec::new();
    for piece in samples.chunks_exact(800).map(kind) {
        match stretches.last_mut() {
            Some((last, length)) if *last == piece => *length += 1,
            _ => stretches.push((piece, 1)),
        }
    }
    stretches.retain(|(_, length)| *length >= 5);
    let mut order: Vec<&str> = stretches.iter().map(|(kind, _)| *kind).collect();
    order.dedup();
    // Before the first word both are still connecting.
    let spoken = order
        .iter()
        .position(|kind| *kind != "silence")
        .unwrap_or(0);
    order[spoken..].join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consultation_is_swapped_and_completed() {
    let story = Story::talking(|_, _| ()).await;
    let desk = &story.agent.desk;
    desk.ask(json!({ "cmd": "consult", "to": EXPERT })).await;
    story.until_third("consulting").await;
    story.hears(EXPERT_HZ, CUSTOMER_HZ).await;
    desk.ask(json!({ "cmd": "swap" })).await;
    story.hears(CUSTOMER_HZ, EXPERT_HZ).await;
    desk.ask(json!({ "cmd": "swap" })).await;
    story.hears(EXPERT_HZ, CUSTOMER_HZ).await;
    desk.ask(json!({ "cmd": "complete" })).await;
    desk.until_state("wrap_up").await;
    let silent = story.agent.seat.hear(SECOND * 3).await;
    assert!(silent.rms(SECOND) < 30.0, "she is out of it");
    let wave = story.ended().await;

    let customer = heard(&story.customer).await;
    assert_eq!(customer, "agent music agent music expert");
    let expert = heard(&story.expert).await;
    assert_eq!(expert, "agent music agent customer");
    // Left our side, right the customer, who is heard on hold as well.
    assert_eq!(pieces(&wave.left), "agent expert");
    assert_eq!(pieces(&wave.right), "customer");
    let books = story.home.lead_books(1);
    assert_eq!(books.attempt()["transferred_to"], "number");
    let log = story.home.log();
    assert!(!log.contains("2155550100"), "no number in the log: {log}");
    story.nothing_is_held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blind_transfer_reaches_a_phone_of_the_house() {
    let story = Story::talking(|ip, phone| {
        phone.user = "102".to_owned();
        phone.registrar = Some((SocketAddr::from((ip, 5060)), "secret".to_owned()));
    })
    .await;
    let registered = || story.home.ctl("snapshot")["registrations"] == 1;
    assert!(holds(SECOND * 20, registered).await, "{}", story.home.log());
    let desk = &story.agent.desk;
    desk.ask(json!({ "cmd": "transfer", "to": "phone:102" }))
        .await;
    desk.until_state("wrap_up").await;
    tokio::time::sleep(SECOND * 3).await;
    let wave = story.ended().await;
    assert_eq!(heard(&story.customer).await, "agent expert");
    assert_eq!(heard(&story.expert).await, "customer");
    assert_eq!(pieces(&wave.left), "agent expert");
    assert_eq!(pieces(&wave.right), "customer");
    assert_eq!(
        story.home.lead_books(1).attempt()["transferred_to"],
        "phone"
    );
    story.nothing_is_held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_a_consultation_ends_both_far_legs() {
    let story = Story::talking(|_, _| ()).await;
    let consult = json!({ "cmd": "consult", "to": EXPERT });
    story.agent.desk.ask(consult).await;
    story.until_third("consulting").await;
    story.agent.seat.hear(SECOND).await;
    let Story {
        customer,
        expert,
        home,
        daemon,
        agent,
    } = story;
    drop(agent);
    daemon.kill();
    let _daemon = home.start().await;
    // A baresip that is hung up on completes its file.
    assert_eq!(heard(&customer).await, "agent music");
    assert_eq!(heard(&expert).await, "agent");
    assert_eq!(home.lead_books(1).attempt()["result"], "connected");
}
