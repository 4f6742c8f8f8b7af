//! What goes wrong around the daemon is told in one clear line and exit code 1, or by a running
//! daemon; how it stops; and what it never writes into its log.

mod support;

use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foredial::demo::carrier::{CallState, Carrier, CarrierConfig, EndedBy};
use serde_json::Value;
use support::daemon::{Daemon, Home, Wish, holds};
use support::desk::{Shift, text};

const NUMBER: &str = "+8613812340001";
const PATIENCE: Duration = Duration::from_secs(10);

/// Replaces a line of the configuration.
fn rewrite(home: &Home, from: &str, to: &str) {
    let file = home.path().join("foredial.toml");
    let text = std::fs::read_to_string(&file).expect("it was written");
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).expect("the folder is ours");
}

/// Exit code 1, and this much on stderr.
fn refused(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(output.stdout, b"", "{stderr}");
    stderr
}

fn in_one_line(output: &Output) -> String {
    let said = refused(output);
    let lines: Vec<&str> = said.lines().collect();
    let [line] = lines[..] else {
        panic!("not one line: {said}");
    };
    assert!(line.starts_with("foredial: "), "{line}");
    line.to_owned()
}

/// `foredial run` must end at once and say why.
fn refuses_in_one_line(home: &Home) -> String {
    in_one_line(&home.foredial(&["run"]))
}

#[test]
fn bad_toml_is_told_with_its_line_and_column() {
    let home = Home::new(&Wish::nowhere());
    rewrite(&home, "workers = 1", "workers = ");
    let said = refused(&home.foredial(&["run"]));
    assert!(
        said.contains("foredial.toml:8:") && said.contains("not TOML"),
        "{said}"
    );
    assert!(said.ends_with("foredial.toml: 1 error\n"), "{said}");
}

#[test]
fn a_taken_sip_port_is_told() {
    let home = Home::new(&Wish::nowhere());
    let taken = UdpSocket::bind((home.ip, 0)).expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    rewrite(&home, ":5060", &format!(":{port}"));
    let said = refuses_in_one_line(&home);
    let wanted = format!(
        "[sip] listen = \"{}:{port}\" (UDP): the port is taken",
        home.ip
    );
    assert!(said.contains(&wanted), "{said}");
}

#[test]
fn a_taken_http_port_is_told() {
    let home = Home::new(&Wish::nowhere());
    let taken = TcpListener::bind((home.ip, 0)).expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    rewrite(&home, ":8080", &format!(":{port}"));
    let said = refuses_in_one_line(&home);
    let wanted = format!("[http] listen = \"{}:{port}\": the port is taken", home.ip);
    assert!(said.contains(&wanted), "{said}");
}

#[test]
fn folders_that_cannot_be_used_are_told() {
    for (key, folder) in [
        ("state", "/dev/null/state"),
        ("state", "/proc/state"),
        ("recordings", "/proc/recordings"),
        ("recordings", "foredial.toml"),
    ] {
        let home = Home::new(&Wish::nowhere());
        rewrite(
            &home,
            "[media]",
            &format!("[{key}]\nfolder = \"{folder}\"\n[media]"),
        );
        let said = refuses_in_one_line(&home);
        let wanted = format!("[{key}] folder = \"{folder}\"");
        assert!(said.contains(&wanted), "{said}");
    }
}

#[test]
fn a_folder_its_user_may_not_read_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new(&Wish::nowhere());
    let state = home.path().join("state");
    let allow = |mode| {
        std::fs::set_permissions(&state, PermissionsExt::from_mode(mode)).expect("it is ours");
    };
    std::fs::create_dir(&state).expect("the folder is ours");
    allow(0o000);
    // Without these capabilities even root must obey the folder's mode.
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-dac_override,-dac_read_search"])
        .arg(env!("CARGO_BIN_EXE_foredial"))
        .args(["run", "--config", "foredial.toml"])
        .current_dir(home.path())
        .output()
        .expect("setpriv (util-linux) and the binary run");
    allow(0o700);
    let said = in_one_line(&output);
    assert!(said.contains("state"), "{said}");
}

#[test]
fn a_database_that_is_none_is_told() {
    let home = Home::new(&Wish::nowhere());
    std::fs::create_dir(home.path().join("state")).expect("the folder is ours");
    let database = home.path().join("state/foredial.db");
    std::fs::write(&database, "these are not pages of a database\n".repeat(200))
        .expect("the folder is ours");
    let said = refuses_in_one_line(&home);
    assert!(said.contains("foredial.db"), "{said}");
    let kept = std::fs::read(&database).expect("still there");
    assert!(kept.starts_with(b"these are"), "it is not overwritten");
}

/// A lead, a daemon, an agent in front of a trunk.
async fn at_work(wish: &Wish, log_level: &'static str) -> (Arc<Home>, Daemon, Shift) {
    let home = Home::logging(wish, log_level);
    home.lead("Zhang San", NUMBER);
    let daemon = home.start().await;
    let agent = Shift::begin(&daemon, "agent1").await;
    (home, daemon, agent)
}

/// The dial fails for the trunk's sake within five seconds, and the daemon lives on and says so.
async fn trunk_is_dead(wish: &Wish) {
    let (home, mut daemon, agent) = at_work(wish, "info").await;
    agent.next_card().await;
    let clicked = Instant::now();
    let answer = agent.click_call().await.expect("the page lives");
    assert_eq!(answer["ok"], true, "{answer:#}");
    let desk = agent.desk.until_state("wrap_up").await;
    let took = clicked.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(text(&desk, "/call/result"), "trunk_failure", "{desk:#}");
    assert_ne!(text(&desk, "/call/detail"), "", "the page says why");
    let trunks = home.ctl("trunks");
    assert_eq!(trunks[0]["id"], "far");
    assert_eq!(trunks[0]["failures_in_a_row"], 1, "{trunks:#}");
    assert_eq!(
        text(&trunks, "/0/last_failure"),
        text(&desk, "/call/detail")
    );
    assert!(daemon.is_running());
    agent.desk.until_state("ready").await;
    let books = home.lead_books(1);
    assert_eq!((books.counts(), books.retry_min()), ((0, 0), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_says_nothing_fails_in_five_seconds() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    trunk_is_dead(&Wish::trunk(silent.local_addr().expect("bound"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_is_not_there_fails_in_five_seconds() {
    let gone = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = gone.local_addr().expect("bound");
    drop(gone);
    trunk_is_dead(&Wish::trunk(address)).await;
}

async fn carrier() -> Carrier {
    let config = CarrierConfig {
        answer_after_ms: 200,
        ..CarrierConfig::default()
    };
    Carrier::start(config).await.expect("a free port")
}

async fn talking() -> (Carrier, Arc<Home>, Daemon, Shift) {
    let carrier = carrier().await;
    let (home, daemon, agent) = at_work(&Wish::trunk(carrier.local_addr()), "info").await;
    agent.dial().await;
    agent.desk.until_call("talking").await;
    (carrier, home, daemon, agent)
}

fn ended_by(carrier: &Carrier) -> Option<EndedBy> {
    match carrier.calls().first()?.state {
        CallState::Ended { by } => Some(by),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_calls_go_on_and_ends_with_the_last() {
    let (carrier, home, mut daemon, agent) = talking().await;
    daemon.terminate();
    let draining = |desk: &Value| desk["draining"] == true;
    agent.desk.until("the page to say so", draining).await;
    let heard = agent.seat.hear(Duration::from_secs(2)).await;
    assert!(heard.packets > 80, "the call goes on: {}", heard.packets);
    assert!(daemon.is_running());
    assert_eq!(carrier.live_calls(), 1);

    agent.hang_up().await;
    agent.desk.until_state("wrap_up").await;
    agent.dispose("sale").await;
    assert!(daemon.exit(PATIENCE).await.success());
    assert_eq!(ended_by(&carrier), Some(EndedBy::CallerBye));
    let books = home.lead_books(1);
    assert_eq!((books.state(), books.counts()), ("closed", (1, 1)));
    assert_eq!(books.attempt()["recording"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_calls_now() {
    let (carrier, home, mut daemon, agent) = talking().await;
    daemon.terminate();
    let draining = |desk: &Value| desk["draining"] == true;
    agent.desk.until("the page to say so", draining).await;
    assert_eq!(carrier.live_calls(), 1);
    daemon.terminate();
    assert!(daemon.exit(PATIENCE).await.success());
    assert_eq!(ended_by(&carrier), Some(EndedBy::CallerBye));
    let books = home.lead_books(1);
    assert_eq!((books.state(), books.counts()), ("wrap_up", (1, 1)));
    let attempt = books.attempt();
    assert_eq!(attempt["result"], "connected");
    assert_eq!(attempt["recording"], "done", "{attempt:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_switch_gives_no_card() {
    let carrier = carrier().await;
    let (home, mut daemon, agent) = at_work(&Wish::trunk(carrier.local_addr()), "info").await;
    agent.next_card().await;
    home.good(&["ctl", "drain"]);
    let draining = |desk: &Value| desk["draining"] == true;
    agent.desk.until("the page to say so", draining).await;
    let answer = agent.click_call().await.expect("the page lives");
    assert_eq!(answer["problem"]["rule"], "draining", "{answer:#}");
    assert_eq!(carrier.calls(), []);
    daemon.terminate();
    assert!(daemon.exit(PATIENCE).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_whole_story_names_no_customer() {
    const NAME: &str = "Ottoline Przybylski";
    const PHONE: &str = "+8613987654301";
    let carrier = carrier().await;
    let home = Home::logging(&Wish::trunk(carrier.local_addr()), "debug");
    home.lead(NAME, PHONE);
    let daemon = home.start().await;
    let agent = Shift::begin(&daemon, "agent1").await;
    agent.dial().await;
    agent.desk.until_call("talking").await;
    agent.seat.hear(Duration::from_secs(1)).await;
    let card = agent.desk.now()["card"].clone();
    assert_eq!(text(&card, "/name"), NAME, "the page names her");
    daemon_survives_a_crash(daemon, &carrier).await;
    let log = home.log();
    assert!(log.contains("DEBUG") && log.contains("dialing"), "{log}");
    let call = text(&home.lead_books(1).attempt().clone(), "/id");
    assert!(log.contains(&call), "calls are told by their ids");
    for secret in [NAME, "Ottoline", "Przybylski", "13987654301", "987654301"] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "{secret}: {lines:#?}");
    }
}

/// Killed, started again, stopped: those lines count as well.
async fn daemon_survives_a_crash(daemon: Daemon, carrier: &Carrier) {
    let home = Arc::clone(&daemon.home);
    daemon.kill();
    let mut daemon = home.start().await;
    assert!(holds(PATIENCE, || carrier.live_calls() == 0).await);
    daemon.terminate();
    assert!(daemon.exit(PATIENCE).await.success());
}
