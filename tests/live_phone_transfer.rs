//! The real binary, sipp that transfers by REFER, and two baresip phones that end up with each other.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use support::baresip::{Baresip, Phone};
use support::daemon::{Home, holds};
use support::ear::amplitude;
use support::sipp::Scenario;

/// For phones to register, calls to come up, and files to be finished.
const PATIENCE: Duration = Duration::from_secs(20);
/// A telephone system whose calls are taken by its address.
const SYSTEM: Ipv4Addr = Ipv4Addr::new(127, 0, 33, 20);

fn config(ip: Ipv4Addr) -> String {
    let desk = |user| {
        format!("[[route]]\nname = \"desk{user}\"\nnumbers = [\"{user}\"]\nphone = \"{user}\"\n")
    };
    format!(
        "[sip]\nlisten = \"{ip}:5060\"\n[http]\nlisten = \"{ip}:8080\"\ntls_listen = \"\"\n\
         [media]\nrtp_ports = \"10000-10999\"\n\
         [[phone]]\nusers = \"101..103\"\npassword = \"secret\"\nalgorithms = [\"MD5\"]\n\
         [routing]\npermit = [\"{SYSTEM}\"]\n{}{}",
        desk(101),
        desk(103),
    )
}

/// It says BYE after `life_s` seconds.
fn phone(user: &str, home: &Home, tone_hz: f32, life_s: u32) -> Baresip {
    let mut phone = Phone::new(user);
    phone.life_s = life_s;
    phone.registrar = Some((SocketAddr::from((home.ip, 5060)), "secret".to_owned()));
    phone.tone_hz = tone_hz;
    phone.start().expect("baresip starts")
}

fn last_second(phone: &Baresip) -> Vec<i16> {
    let files = phone.heard().expect("its folder is there");
    let read = |file: &Path| {
        let mut wave = hound::WavReader::open(file).expect("a complete file");
        wave.samples::<i16>().filter_map(Result::ok).collect()
    };
    let samples: Vec<i16> = files.first().map(|file| read(file)).unwrap_or_default();
    assert!(
        samples.len() > 24_000,
        "only {} samples: {}",
        samples.len(),
        phone.log()
    );
    samples[samples.len() - 12_000..samples.len() - 4_000].to_vec()
}

#[tokio::test]
async fn a_transfer_by_refer_joins_two_phones_who_hear_each_other() {
    let home = Home::written(config);
    let _daemon = home.start().await;
    let mut anna = phone("101", &home, 400.0, 14);
    let cleo = phone("103", &home, 1_000.0, 60);
    let count = || home.ctl("snapshot")["registrations"].as_u64() == Some(2);
    assert!(holds(PATIENCE, count).await, "{}", home.ctl("snapshot"));

    let switch = SocketAddr::from((home.ip, 5060));
    let scenario = Scenario::transferring("101", switch, "103");
    let scenario = scenario.ip(SYSTEM).talk_ms(2_000);
    let mut system = scenario.start().expect("sipp starts");
    let stats = system.wait(PATIENCE).expect("sipp ends with its only call");
    assert_eq!(
        (stats.successful, stats.failed),
        (1, 0),
        "{}",
        system.errors()
    );
    // The system has left; those it joined talk on until one of them hangs up.
    let calls = home.ctl("snapshot")["through"]["calls"].clone();
    assert_eq!(calls[0]["state"], "talking", "{calls}");
    assert!(holds(PATIENCE, || anna.has_ended()).await, "{}", anna.log());
    let free = || {
        let status = home.ctl("snapshot");
        status["rtp_ports_in_use"] == 0 && status["legs"] == 0
    };
    assert!(holds(PATIENCE, free).await, "{}", home.ctl("snapshot"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        amplitude(&last_second(&anna), 1_000.0) > 6_000.0,
        "101 hears 103"
    );
    assert!(
        amplitude(&last_second(&cleo), 400.0) > 6_000.0,
        "103 hears 101"
    );
}
