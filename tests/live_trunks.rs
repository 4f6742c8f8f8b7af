//! Carriers as they are met: the real binary, Kamailio and sipp as their servers, dnsmasq for their
//! names, a cable that is cut. Calls come from a permitted sipp; each test has addresses of its own.

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::daemon::{Daemon, Home, holds};
use support::desk::{Shift, text};
use support::kamailio::Carrier;
use support::names::{Names, Record};
use support::namespace::Namespace;
use support::sipp::{Scenario, Sipp, Stats, free_port};

const PATIENCE: Duration = Duration::from_secs(20);
const CALLED: &str = "+8613800138000";
/// Where nobody listens: discard(9).
const NOBODY: u16 = 9;

/// Loopback addresses beside the daemon's own, in its own /24.
fn beside(home: Ipv4Addr, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = home.octets();
    Ipv4Addr::new(a, b, c, last)
}

const CALLER: u8 = 202;

fn base(ip: Ipv4Addr) -> String {
    let caller = beside(ip, CALLER);
    format!(
        "[sip]\nlisten = \"{ip}:5060\"\n[http]\nlisten = \"{ip}:8080\"\ntls_listen = \"\"\n\
         [media]\nrtp_ports = \"10000-10999\"\nworkers = 1\n\
         [security]\nmessages_per_s = 0\n\
         [routing]\npermit = [\"{caller}\"]\n"
    )
}

/// With a rule that sends numbers with this beginning there.
fn trunk_for(prefix: &str, name: &str, servers: &[String], more: &str) -> String {
    let rule = format!(
        "[[route]]\nname = \"to-{name}\"\nprefix = \"{prefix}\"\nfrom = [\"address\"]\ntrunk = [\"{name}\"]\n"
    );
    rule + &trunk(name, servers, more)
}

fn trunk(name: &str, servers: &[String], more: &str) -> String {
    format!(
        "[[trunk]]\nname = \"{name}\"\nservers = {servers:?}\ncaller_id = \"+861066666666\"\n{more}\n"
    )
}

/// A carrier's far end that answers.
fn answering(ip: Ipv4Addr) -> Sipp {
    let scenario = Scenario::named("answer_echo").ip(ip).calls(100_000);
    scenario.start().expect("sipp starts")
}

/// `count` calls to a number outside, each through the whole switch.
fn calls(home: &Home, count: u32) -> Scenario {
    let switch = SocketAddr::from((home.ip, 5060));
    let scenario = Scenario::calling(CALLED, switch).ip(beside(home.ip, CALLER));
    scenario.calls(count).rate(count.min(50)).talk_ms(50)
}

fn all_good(sipp: &mut Sipp) -> Stats {
    let stats = sipp.wait(PATIENCE).expect("sipp ends with its last call");
    assert_eq!(stats.failed, 0, "{}", sipp.errors());
    stats
}

fn call_once(home: &Home) -> Stats {
    let mut caller = calls(home, 1).start().expect("sipp starts");
    let stats = all_good(&mut caller);
    assert_eq!(stats.successful, 1, "{}", caller.errors());
    stats
}

fn of_trunk(home: &Home, name: &str) -> Value {
    let trunks = home.ctl("trunks");
    let all = trunks.as_array().expect("a list").clone();
    let found = all.into_iter().find(|trunk| trunk["id"] == name);
    found.unwrap_or_else(|| panic!("no trunk {name}: {trunks:#}"))
}

async fn until_trunk(home: &Arc<Home>, name: &str, what: &str, looks: impl Fn(&Value) -> bool) {
    let seen = holds(PATIENCE, || looks(&of_trunk(home, name))).await;
    assert!(
        seen,
        "never came: {what}: {:#}\n{}",
        of_trunk(home, name),
        home.log()
    );
}

async fn metric(daemon: &Daemon, line: &str) -> bool {
    let url = format!("http://{}/metrics", daemon.host);
    let page = reqwest::get(url).await.expect("metrics");
    let page = page.text().await.expect("text");
    page.lines().any(|found| found == line)
}

async fn nothing_is_held(home: &Arc<Home>) {
    let free = || {
        let status = home.ctl("snapshot");
        status["rtp_ports_in_use"] == 0 && status["through"]["calls"] == serde_json::json!([])
    };
    assert!(holds(PATIENCE, free).await, "{}", home.ctl("snapshot"));
}

// ── Kamailio by its address

#[tokio::test]
async fn kamailio_carries_calls_and_is_seen_to_go_and_come_back() {
    let home = Home::written(base);
    let far = answering(beside(home.ip, 203));
    let carrier = Carrier::at(beside(home.ip, 204), far.address);
    let kamailio = carrier.start().expect("kamailio starts");
    let servers = [carrier.address.to_string()];
    home.append(&trunk_for("+", "far", &servers, "options_every_s = 1"));
    let daemon = home.start().await;
    call_once(&home);
    let counters = of_trunk(&home, "far")["counters"].clone();
    assert_eq!(
        (&counters["invites"], &counters["answered"]),
        (&1.into(), &1.into())
    );
    assert!(metric(&daemon, "foredial_trunk_up{trunk=\"far\"} 1").await);

    let gone = Instant::now();
    drop(kamailio);
    until_trunk(&home, "far", "down", |trunk| trunk["state"] == "down").await;
    println!("OPTIONS every 1 s: down after {:?}", gone.elapsed());
    assert!(metric(&daemon, "foredial_trunk_up{trunk=\"far\"} 0").await);

    let _kamailio = carrier.start().expect("kamailio starts again");
    until_trunk(&home, "far", "up again", |trunk| trunk["state"] == "up").await;
    assert!(metric(&daemon, "foredial_trunk_up{trunk=\"far\"} 1").await);
    call_once(&home);
    nothing_is_held(&home).await;
}

// ── Kamailio as registrar

#[tokio::test]
async fn we_register_with_digest_call_and_are_called_there_and_leave() {
    let home = Home::written(base);
    let far = answering(beside(home.ip, 203));
    let desk = answering(beside(home.ip, 205));
    let (mut first, mut second) = (
        Carrier::at(beside(home.ip, 204), far.address),
        Carrier::at(beside(home.ip, 206), far.address),
    );
    (first.password, second.password) = (Some("secret"), Some("secret"));
    (first.expires_max_s, second.algorithm) = (5, "SHA-256");
    let kamailio = first.start().expect("kamailio starts");
    let modern = second.start().expect("kamailio starts");
    let account = |password: &str| {
        format!(
            "register = true\nusername = \"account7\"\npassword = \"{password}\"\noptions_every_s = 0"
        )
    };
    let there = [first.address.to_string()];
    home.append(&trunk_for("+861", "far", &there, &account("secret")));
    let there = [second.address.to_string()];
    home.append(&trunk_for("+862", "modern", &there, &account("secret")));
    home.append(&trunk("wrong", &there, &account("guessed")));
    home.append(&format!(
        "[[route]]\nname = \"in\"\nnumbers = [\"+861066666666\"]\nfrom = [\"trunk:far\"]\nuri = \"sip:{}\"\n",
        desk.address
    ));
    let mut daemon = home.start().await;
    for name in ["far", "modern"] {
        until_trunk(&home, name, "registered", |trunk| trunk["state"] == "up").await;
    }
    assert!(metric(&daemon, "foredial_trunk_registered{trunk=\"far\"} 1").await);
    let refused = |trunk: &Value| text(trunk, "/registration/last_failure") == "REGISTER: 401";
    until_trunk(&home, "wrong", "refused", refused).await;
    assert_eq!(of_trunk(&home, "wrong")["state"], "down");
    assert!(metric(&daemon, "foredial_trunk_up{trunk=\"wrong\"} 0").await);
    // Granted 5 s, so the next ones follow by themselves.
    let anew = |trunk: &Value| trunk["counters"]["registrations"].as_u64() >= Some(3);
    until_trunk(&home, "far", "two refreshes", anew).await;

    // Out, challenged by 407; and in, to where we are registered.
    call_once(&home);
    let number = SocketAddr::from((home.ip, 5060));
    let out = Scenario::calling("+8623800138000", number).ip(beside(home.ip, CALLER));
    all_good(&mut out.talk_ms(50).start().expect("sipp starts"));
    let caller = Scenario::calling("account7", first.address).ip(beside(home.ip, 207));
    let mut caller = caller.talk_ms(50).start().expect("sipp starts");
    assert_eq!(all_good(&mut caller).successful, 1, "{}", home.log());
    assert!(holds(PATIENCE, || desk.stats().is_ok_and(|it| it.successful == 1)).await);
    nothing_is_held(&home).await;

    daemon.terminate();
    assert!(daemon.exit(PATIENCE).await.success());
    for carrier in [&kamailio, &modern] {
        assert_eq!(carrier.said("account7 expires 0"), 1, "{}", carrier.log());
    }
}

// ── names

const DOMAIN: &str = "carrier.test";
const TTL_S: u32 = 5;

#[tokio::test]
async fn a_carriers_name_spreads_calls_by_weight_and_is_followed_when_it_moves() {
    let home = Home::written(base);
    let name_server = SocketAddr::from((beside(home.ip, 253), 5353));
    let ends = [203, 204, 205].map(|last| answering(beside(home.ip, last)));
    let record = |host, at: usize, weight| Record {
        host,
        at: ends[at].address,
        priority: 10,
        weight,
    };
    let first = [
        record("a.carrier.test", 0, 75),
        record("b.carrier.test", 1, 25),
    ];
    let names = Names::start(name_server, DOMAIN, TTL_S, &first).expect("dnsmasq starts");
    home.append(&format!("[dns]\nservers = [\"{name_server}\"]\n"));
    let more = "options_every_s = 0\nmax_calls = 500";
    home.append(&trunk_for("+", "far", &[DOMAIN.to_owned()], more));
    let _daemon = home.start().await;
    until_trunk(&home, "far", "two servers", |trunk| {
        servers(trunk).len() == 2
    })
    .await;
    let mut caller = calls(&home, 100).start().expect("sipp starts");
    assert_eq!(all_good(&mut caller).successful, 100);
    // sipp tells once a second.
    let created = |at: usize| ends[at].stats().map_or(0, |stats| stats.created);
    assert!(holds(PATIENCE, || created(0) + created(1) == 100).await);
    println!("weights 75 and 25: {} and {} calls", created(0), created(1));
    // Four and a half standard deviations of a binomial with n = 100, p = 0.75.
    assert!(created(0).abs_diff(75) <= 19, "{}", created(0));

    drop(names);
    let moved = Instant::now();
    let second = [record("c.carrier.test", 2, 10)];
    let _names = Names::start(name_server, DOMAIN, TTL_S, &second).expect("dnsmasq starts");
    let there = ends[2].address.to_string();
    until_trunk(&home, "far", "the new server", |trunk| {
        servers(trunk) == [there.clone()]
    })
    .await;
    println!(
        "records held {TTL_S} s: followed after {:?}",
        moved.elapsed()
    );
    call_once(&home);
    assert!(holds(PATIENCE, || created(2) == 1).await, "{}", created(2));
    nothing_is_held(&home).await;
}

fn servers(trunk: &Value) -> Vec<String> {
    let list = trunk["servers"].as_array().cloned().unwrap_or_default();
    list.iter().map(|server| text(server, "/address")).collect()
}

fn state_of(trunk: &Value, server: SocketAddr) -> String {
    let list = trunk["servers"].as_array().cloned().unwrap_or_default();
    let found = list.iter().find(|one| one["address"] == server.to_string());
    found.map_or(String::new(), |one| text(one, "/state"))
}

// ── the next server

#[tokio::test]
async fn a_silent_server_a_closed_port_and_a_busy_one_are_passed_over() {
    let home = Home::written(base);
    let far = answering(beside(home.ip, 203));
    let silent = UdpSocket::bind((beside(home.ip, 204), 0)).expect("a port");
    let silent_at = silent.local_addr().expect("bound");
    let closed = SocketAddr::from((beside(home.ip, 205), NOBODY));
    let busy = Scenario::refusing("503 Service Unavailable\n      Retry-After: 60");
    let busy = busy.ip(beside(home.ip, 206)).calls(100);
    let busy = busy.start().expect("sipp starts");
    let far_at = far.address;
    for (name, prefix, first) in [
        ("silent", "+861", silent_at),
        ("closed", "+862", closed),
        ("busy", "+863", busy.address),
    ] {
        let servers = [first.to_string(), far_at.to_string()];
        home.append(&trunk_for(prefix, name, &servers, "options_every_s = 0"));
    }
    let _daemon = home.start().await;
    let call = |number: &str| {
        let switch = SocketAddr::from((home.ip, 5060));
        let caller = Scenario::calling(number, switch).ip(beside(home.ip, CALLER));
        let mut caller = caller.talk_ms(50).start().expect("sipp starts");
        let stats = all_good(&mut caller);
        assert_eq!(stats.successful, 1, "{}", caller.errors());
        stats.set_up_ms
    };
    println!("silence: rings after {} ms", call("+8613800138000"));
    println!("closed port: rings after {} ms", call("+8623800138000"));
    println!("503: rings after {} ms", call("+8633800138000"));
    let counters = |name: &str, what: &str| of_trunk(&home, name)["counters"][what].clone();
    assert_eq!(counters("silent", "silent"), 1);
    assert_eq!(counters("closed", "unreachable"), 1, "{}", home.log());
    assert_eq!(counters("busy", "failed_5xx"), 1);
    for name in ["silent", "closed", "busy"] {
        assert_eq!(counters(name, "failovers"), 1, "{name}");
    }
    // Retry-After is honoured: the next call does not ask there.
    assert_eq!(state_of(&of_trunk(&home, "busy"), busy.address), "resting");
    println!("resting: rings after {} ms", call("+8633800138000"));
    assert_eq!(counters("busy", "failed_5xx"), 1, "not asked again");
    nothing_is_held(&home).await;
}

// ── one trunk's trouble

/// Two agents on two trunks and sipp's calls beside them; the cable of one trunk is cut.
#[tokio::test]
async fn a_cut_cable_ends_the_calls_of_its_trunk_and_no_others() {
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(why) => return println!("skipped, no network namespace here: {why}"),
    };
    let own = namespace.address(1);
    let inside = Scenario::named("answer_echo").ip(namespace.far()).calls(10);
    let inside = inside
        .within(&namespace.name, 5060)
        .start()
        .expect("sipp starts");
    let outside = Scenario::named("answer_echo")
        .ip(namespace.address(4))
        .calls(100);
    let outside = outside.start().expect("sipp starts");
    let caller_ip = namespace.address(2);
    let home = Home::written(|ip| {
        format!(
            "[sip]\nlisten = \"{own}:5060\"\n[http]\nlisten = \"{ip}:8080\"\ntls_listen = \"\"\n\
             [media]\nrtp_ports = \"10000-10999\"\nworkers = 1\n\
             [routing]\npermit = [\"{caller_ip}\"]\n\
             [[route]]\nname = \"outside\"\nprefix = \"+\"\nfrom = [\"address\"]\ntrunk = [\"b\"]\n{}{}{}{}",
            trunk("a", &[inside.address.to_string()], "options_every_s = 1"),
            trunk("b", &[outside.address.to_string()], "options_every_s = 1"),
            campaign("on-a", "a", "agent1"),
            campaign("on-b", "b", "agent2"),
        )
    });
    home.lead_on("on-a", "Zhang San", "+8613812340001");
    home.lead_on("on-b", "Li Si", "+8613812340002");
    let daemon = home.start().await;
    let mut agents = Vec::new();
    for agent in ["agent1", "agent2"] {
        let shift = Shift::begin(&daemon, agent).await;
        shift.seat.speak(440);
        shift.dial().await;
        shift.desk.until_call("talking").await;
        agents.push(shift);
    }
    // One call a second by the other trunk, through all of it.
    let switch = SocketAddr::from((own, 5060));
    let beside = Scenario::calling(CALLED, switch).ip(caller_ip);
    let beside = beside.calls(25).rate(1).talk_ms(300);
    let mut beside = beside.start().expect("sipp starts");
    let cut = Instant::now();
    namespace.cut();
    let over = |desk: &Value| desk["state"]["kind"] == "wrap_up";
    let limit = Duration::from_secs(60);
    let desk = agents[0]
        .desk
        .within(limit, "the end of the call on trunk a", over)
        .await;
    println!(
        "cut: the call was over after {:?}: {}",
        cut.elapsed(),
        desk["call"]["detail"]
    );
    assert_eq!(
        text(&desk, "/call/result"),
        "connected",
        "{:#}",
        desk["call"]
    );
    assert!(
        text(&desk, "/call/detail").contains("no media"),
        "{:#}",
        desk["call"]
    );
    let books = home.lead_books(1);
    assert_eq!(books.attempt()["result"], "connected");
    until_trunk(&home, "a", "down", |trunk| trunk["state"] == "down").await;

    assert_eq!(agents[1].desk.now()["call"]["state"], "talking");
    assert_eq!(of_trunk(&home, "b")["state"], "up");
    let stats = beside.wait(PATIENCE).expect("sipp ends");
    assert_eq!(
        (stats.successful, stats.failed),
        (25, 0),
        "{}",
        beside.errors()
    );
    assert_eq!(of_trunk(&home, "b")["calls"], 1, "the second agent's");
    agents[1].hang_up().await;
}

fn campaign(id: &str, trunk: &str, agent: &str) -> String {
    format!(
        "[[agent]]\nid = \"{agent}\"\nname = \"{agent}\"\ncampaigns = [\"{id}\"]\n\
         [[campaign]]\nid = \"{id}\"\ntrunks = [\"{trunk}\"]\nhours = \"00:00-24:00\"\n\
         time_zones = [\"Asia/Shanghai\"]\nmin_gap_s = 0\nwrap_up_s = 60\n\
         [[campaign.dispositions]]\nkey = \"sale\"\nlabel = \"Sale\"\naction = \"final\"\n"
    )
}

#[tokio::test]
async fn changing_one_trunk_with_fifty_calls_up_touches_no_other_call() {
    const CALLS: u32 = 50;
    let home = Home::written(base);
    let far = answering(beside(home.ip, 203));
    let servers = [far.address.to_string()];
    home.append(&trunk_for(
        "+",
        "far",
        &servers,
        "options_every_s = 0\nmax_calls = 60",
    ));
    let port = free_port(beside(home.ip, 204)).expect("a port");
    let other = [SocketAddr::from((beside(home.ip, 204), port)).to_string()];
    home.append(&trunk(
        "other",
        &other,
        "options_every_s = 0\nmax_calls = 7",
    ));
    let _daemon = home.start().await;
    let caller = calls(&home, CALLS).talk_ms(8_000);
    let mut caller = caller.start().expect("sipp starts");
    let up = || {
        home.ctl("snapshot")["through"]["calls"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let talking = || of_trunk(&home, "far")["counters"]["answered"] == CALLS;
    assert!(holds(PATIENCE, talking).await, "{}", home.log());
    let before = home.ctl("snapshot");
    home.replace("max_calls = 7", "max_calls = 9\nidentity = \"pai\"");
    home.replace("max_calls = 60", "max_calls = 40");
    let told = home.good(&["ctl", "reload"]);
    assert!(told.contains("trunk other: max_calls 7 → 9"), "{told}");
    assert!(told.contains("trunk far: max_calls 60 → 40"), "{told}");
    assert_eq!(of_trunk(&home, "other")["calls_max"], 9);
    assert_eq!(up(), CALLS as usize, "{}", home.log());
    let after = home.ctl("snapshot");
    assert_eq!(before["through"]["calls"], after["through"]["calls"]);
    let stats = all_good(&mut caller);
    assert_eq!(stats.successful, u64::from(CALLS));
    // Each of them ended by its BYE on the other side as well.
    assert!(
        holds(PATIENCE, || far
            .stats()
            .is_ok_and(|it| it.successful == u64::from(CALLS)))
        .await
    );
    nothing_is_held(&home).await;
}
