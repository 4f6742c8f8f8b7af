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
         [routing]\npermit = [\"{CARRIER}\"]\n\
         [[phone]]\nuser = \"102\"\npassword = \"secret\"\nalgorithms = [\"MD5\"]\n\
         [[route]]\nname = \"desks\"\nnumbers = [\"102\"]\nphone = \"102\"\n"
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
