//! The real binary seen from outside while a call is up: trace, pcapng, metrics, reload, hang-up.

mod support;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use support::daemon::{Daemon, Home, Wish, holds};
use support::desk::{Shift, text};
use support::sipp::{Scenario, Sipp};

const NUMBER: &str = "+8613812340001";
const PATIENCE: Duration = Duration::from_secs(10);

struct Talk {
    sipp: Sipp,
    home: Arc<Home>,
    daemon: Daemon,
    agent: Shift,
    call: String,
}

async fn talking() -> Talk {
    let sipp = Scenario::named("answer_echo").start().expect("sipp starts");
    let home = Home::new(&Wish::trunk(sipp.address));
    home.lead("Zhang San", NUMBER);
    let daemon = home.start().await;
    let agent = Shift::begin(&daemon, "agent1").await;
    agent.dial().await;
    let desk = agent.desk.until_call("talking").await;
    let call = text(&desk, "/call/id");
    Talk {
        sipp,
        home,
        daemon,
        agent,
        call,
    }
}

impl Talk {
    /// First lines of the call's messages, as the trace has them.
    fn messages(&self) -> Vec<String> {
        let lines = self
            .home
            .good(&["ctl", "trace", "--json", "--call", &self.call]);
        let message = |line: &str| -> String {
            let told: Value = serde_json::from_str(line).expect("JSON");
            let text = told["message"].as_str().expect("text");
            let first = text.lines().next().unwrap_or_default();
            let way = told["way"].as_str().unwrap_or_default();
            format!("{way} {}", first.trim_start_matches("SIP/2.0 "))
        };
        lines.lines().map(message).collect()
    }

    /// Rewrites the file and has it read anew.
    fn reload(&self, change: impl Fn(String) -> String) -> (bool, String) {
        let path = self.home.path().join("foredial.toml");
        let old = std::fs::read_to_string(&path).expect("our file");
        std::fs::write(&path, change(old)).expect("our folder");
        let output = self.home.foredial(&["ctl", "reload"]);
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_under_a_call_changes_the_trunk_and_not_the_call() {
    let mut talk = talking().await;
    let before = talk.messages();
    let names: Vec<&str> = before
        .iter()
        .map(|it| it.split_once("sip:").map_or(&**it, |it| it.0))
        .collect();
    assert_eq!(names[0], "out INVITE ");
    assert_eq!(
        names[names.len() - 2..],
        ["in 200 OK", "out ACK "],
        "{before:#?}"
    );

    let (good, said) = talk.reload(|old| {
        old.replace(
            "caller_id = \"+861066666666\"",
            "caller_id = \"+861066666666\"\nmax_calls = 3",
        ) + "[[phone]]\nuser = \"101\"\npassword = \"hunter2\"\n"
    });
    assert!(good, "{said}");
    assert_eq!(said, "~ trunk far: max_calls 30 → 3\n+ phone 101\n");
    assert_eq!(talk.home.ctl("trunks")[0]["calls_max"], 3);
    assert_eq!(talk.home.ctl("trunks")[0]["calls"], 1);

    // A file with mistakes changes nothing, and all of them are told.
    let (good, said) = talk.reload(|old| {
        old.replace("max_calls = 3", "max_calls = \"x\"")
            .replace("workers = 1", "workers = 1\nwrokers = 2")
    });
    assert!(!good, "{said}");
    assert!(
        said.contains("`max_calls` is a string") && said.contains("did you mean `workers`?"),
        "{said}"
    );
    assert_eq!(talk.home.ctl("trunks")[0]["calls_max"], 3);

    let heard = talk.agent.seat.hear(Duration::from_secs(1)).await;
    assert!(heard.packets > 40, "the call goes on: {}", heard.packets);
    assert_eq!(talk.messages(), before, "no message has left for it");

    // From outside, as if the agent had hung up.
    talk.home.good(&["ctl", "hangup", &talk.call]);
    talk.agent.desk.until_state("wrap_up").await;
    let stats = talk.sipp.wait(PATIENCE).expect("sipp ends");
    assert_eq!((stats.successful, stats.failed), (1, 0));
    let again = talk.home.foredial(&["ctl", "hangup", &talk.call]);
    assert!(!again.status.success(), "there is no such call any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_ladder_for_people_a_file_for_tshark_and_a_figure_for_prometheus() {
    let talk = talking().await;
    // Numbers are known in whatever form a trunk writes them.
    let ladder = talk
        .home
        .good(&["ctl", "trace", "--number", "013812340001"]);
    let sipp = talk.sipp.address.to_string();
    assert!(
        ladder
            .lines()
            .next()
            .is_some_and(|head| head.contains(&sipp)),
        "{ladder}"
    );
    for label in [" INVITE (SDP) ", " 200 OK INVITE (SDP) ", " ACK "] {
        assert!(ladder.contains(label), "{label}: {ladder}");
    }
    talk.home.good(&["ctl", "trace", "--pcap", "call.pcapng"]);
    let tshark = Command::new("tshark")
        .args([
            "-n",
            "-r",
            "call.pcapng",
            "-Y",
            "sip.Method == INVITE && ip.dst",
        ])
        .current_dir(talk.home.path())
        .output();
    if let Ok(tshark) = tshark {
        let shown = String::from_utf8_lossy(&tshark.stdout);
        // The seat's came by WebSocket; the customer's left by UDP.
        assert!(
            shown.contains("Request: INVITE sip:+8613812340001@"),
            "{shown}"
        );
        assert!(shown.contains("Request: INVITE sip:seat@"), "{shown}");
    }
    let url = format!("http://{}/metrics", talk.daemon.host);
    let client = reqwest::Client::builder().no_proxy().build();
    let answer = client.expect("a client").get(url).send().await;
    let metrics = answer.expect("an answer").text().await.expect("text");
    for sample in [
        "foredial_trunk_up{trunk=\"far\"} 1",
        "foredial_trunk_calls{trunk=\"far\"} 1",
        "foredial_sip_requests_total{direction=\"out\",method=\"INVITE\"} 1",
        "foredial_queue_depth{queue=\"datagrams\"} 0",
    ] {
        assert!(
            metrics.lines().any(|line| line == sample),
            "{sample}\n{metrics}"
        );
    }
    assert!(!metrics.contains("1381234"), "nobody is named");

    // What is on the wire never gets to the log.
    let log = talk.home.log();
    assert!(!log.contains("1381234") && !log.contains("Zhang"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_taken_out_of_the_file_ends_the_call_and_is_then_gone() {
    let mut talk = talking().await;
    let (good, said) = talk.reload(|old| {
        old.replace(
            "[[agent]]\nid = \"agent1\"\nname = \"Li Wei\"\n",
            "[[agent]]\nid = \"agent2\"\n",
        )
    });
    assert!(good, "{said}");
    assert_eq!(said, "+ agent agent2\n- agent agent1\n");
    let heard = talk.agent.seat.hear(Duration::from_secs(1)).await;
    assert!(heard.packets > 40, "the call goes on: {}", heard.packets);
    talk.agent.hang_up().await;
    talk.agent.desk.until_state("wrap_up").await;
    talk.agent.dispose("sale").await;
    let gone = || {
        let agents = talk.home.ctl("agents");
        agents
            .as_array()
            .is_some_and(|all| all.len() == 1 && all[0]["id"] == "agent2")
    };
    assert!(holds(PATIENCE, gone).await, "{}", talk.home.ctl("agents"));
    talk.home.good(&["ctl", "sign-in", "agent2"]);
    assert!(talk.daemon.is_running());
}
