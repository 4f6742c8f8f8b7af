//! Phones at the real binary: what they registered outlives `kill -9`, and phones come and go while
//! it runs. Far ends are baresip and sipp on loopback.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use support::baresip::Phone;
use support::daemon::{Home, holds};
use support::sipp::Scenario;

const PATIENCE: Duration = Duration::from_secs(20);
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 37, 3);

fn config(ip: Ipv4Addr) -> String {
    format!(
        "[sip]\nlisten = \"{ip}:5060\"\n[http]\nlisten = \"{ip}:8080\"\ntls_listen = \"\"\n\
         [media]\nrtp_ports = \"10000-10999\"\n\
         [routing]\npermit = [\"127.0.37.0/29\"]\n\
         [[phone]]\nuser = \"102\"\npassword = \"secret\"\nalgorithms = [\"MD5\"]\n\
         [[route]]\nname = \"desks\"\nprefix = \"1\"\nphone = \"*\"\n"
    )
}

fn phone(user: &str, password: &str, home: &Home) -> Phone {
    let mut phone = Phone::new(user);
    phone.registrar = Some((SocketAddr::from((home.ip, 5060)), password.to_owned()));
    phone
}

async fn registered(home: &Arc<Home>, phones: u64) {
    let count = || home.ctl("snapshot")["registrations"].as_u64() == Some(phones);
    assert!(holds(PATIENCE, count).await, "{}", home.log());
}

/// One call of sipp to this number: answered, or not.
fn is_answered(home: &Home, number: &str) -> bool {
    let switch = SocketAddr::from((home.ip, 5060));
    let scenario = Scenario::calling(number, switch).ip(CARRIER).talk_ms(500);
    let mut carrier = scenario.start().expect("sipp starts");
    let stats = carrier.wait(PATIENCE).expect("sipp ends with its call");
    (stats.successful, stats.failed) == (1, 0)
}

#[tokio::test]
async fn a_phone_is_called_after_kill_9_without_registering_again() {
    let home = Home::written(config);
    let daemon = home.start().await;
    let _phone = phone("102", "secret", &home)
        .start()
        .expect("baresip starts");
    registered(&home, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    daemon.kill();
    let _daemon = home.start().await;
    registered(&home, 1).await;
    assert!(is_answered(&home, "102"), "{}", home.log());
    assert!(home.log().contains("in force again"), "{}", home.log());
}

#[tokio::test]
async fn a_phone_comes_and_goes_without_a_restart() {
    let home = Home::written(config);
    let _daemon = home.start().await;
    let said = home.good(&["ctl", "phone", "add", "104", "--md5"]);
    let password = said
        .lines()
        .next()
        .and_then(|line| line.rsplit_once(' '))
        .map(|(_, password)| password.to_owned())
        .expect("a password");
    let _phone = phone("104", &password, &home)
        .start()
        .expect("baresip starts");
    registered(&home, 1).await;
    let listed = home.good(&["ctl", "phones"]);
    assert!(
        listed.contains("from=file") && listed.contains("from=store"),
        "{listed}"
    );
    assert!(is_answered(&home, "104"), "{}", home.log());
    for (line, told) in [
        (["add", "104"], "already"),
        (["add", "102"], "stands in the configuration file"),
        (["remove", "102"], "stands in the configuration file"),
        (["remove", "109"], "No phone by this name"),
        (["add", "a b"], "letters, digits"),
    ] {
        let output = home.foredial(&["ctl", "phone", line[0], line[1]]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line:?}: {text}");
        assert!(text.contains(told), "{line:?}: {text}");
    }
    home.good(&["ctl", "phone", "remove", "104"]);
    registered(&home, 0).await;
    assert!(!is_answered(&home, "104"));
    assert!(!home.log().contains(&password), "a password in the log");
}

#[tokio::test]
async fn a_call_through_us_is_listed_and_hung_up() {
    let home = Home::written(config);
    let _daemon = home.start().await;
    let _phone = phone("102", "secret", &home)
        .start()
        .expect("baresip starts");
    registered(&home, 1).await;
    let switch = SocketAddr::from((home.ip, 5060));
    let scenario = Scenario::calling("102", switch).ip(CARRIER).talk_ms(60_000);
    let _carrier = scenario.start().expect("sipp starts");
    let talking = || home.ctl("calls")[0]["state"] == "talking";
    assert!(holds(PATIENCE, talking).await, "{}", home.log());
    let call = home.ctl("calls")[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(home.good(&["ctl", "call", &call]).contains("route=desks"));
    home.good(&["ctl", "hangup", &call]);
    let over = || home.ctl("calls").as_array().is_some_and(Vec::is_empty);
    assert!(holds(PATIENCE, over).await, "{}", home.ctl("snapshot"));
}
