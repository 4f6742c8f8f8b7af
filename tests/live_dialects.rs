//! What carriers and PBXs say to each other beyond the plain call, in sipp's own words on both
//! sides of the real binary: a caller at a permitted address, and a trunk's far end.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use support::daemon::{Home, holds};
use support::sipp::{Scenario, Sipp};

const PATIENCE: Duration = Duration::from_secs(20);
const NUMBER: &str = "+8613800138000";

fn beside(home: Ipv4Addr, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = home.octets();
    Ipv4Addr::new(a, b, c, last)
}

struct Lab {
    home: Arc<Home>,
    _daemon: support::daemon::Daemon,
}

impl Lab {
    /// Calls of the permitted caller go to these servers, all of one trunk.
    async fn begin(servers: impl FnOnce(Ipv4Addr) -> Vec<SocketAddr>, more: &str) -> Lab {
        let home = Home::written(|ip| {
            let caller = beside(ip, 202);
            let servers: Vec<String> = servers(ip).iter().map(ToString::to_string).collect();
            format!(
                "[sip]\nlisten = \"{ip}:5060\"\n[http]\nlisten = \"{ip}:8080\"\ntls_listen = \"\"\n\
                 [media]\nrtp_ports = \"10000-10999\"\nworkers = 1\n[routing]\npermit = [\"{caller}\"]\n\
                 [[route]]\nname = \"out\"\nprefix = \"+\"\nfrom = [\"address\"]\ntrunk = [\"far\"]\n\
                 [[trunk]]\nname = \"far\"\nservers = {servers:?}\ncaller_id = \"+861066666666\"\n\
                 options_every_s = 0\n{more}\n"
            )
        });
        let daemon = home.start().await;
        Lab {
            home,
            _daemon: daemon,
        }
    }

    /// A caller by `tests/sipp/NAME.xml`.
    fn caller(&self, scenario: Scenario) -> Sipp {
        let at = SocketAddr::from((self.home.ip, 5060));
        let scenario = scenario.to(NUMBER, at).ip(beside(self.home.ip, 202));
        scenario.talk_ms(200).start().expect("sipp starts")
    }

    /// Both sides saw what they expected and nothing else, and nothing is left of the call.
    async fn both_content(&self, mut caller: Sipp, mut far: Sipp) {
        for (side, name) in [(&mut caller, "caller"), (&mut far, "far end")] {
            let stats = side
                .wait(PATIENCE)
                .unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.home.log()));
            let said = (stats.successful, stats.failed, side.errors());
            assert_eq!((said.0, said.1), (1, 0), "{name}: {}", said.2);
        }
        let free = || {
            let status = self.home.ctl("snapshot");
            status["rtp_ports_in_use"] == 0 && status["sip"]["sessions"] == 0
        };
        assert!(
            holds(PATIENCE, free).await,
            "{:#}",
            self.home.ctl("snapshot")
        );
    }
}

/// One call between two scenarios.
async fn between(caller: &str, far: &str) {
    between_on(Scenario::named(caller), Scenario::named(far), "").await;
}

async fn between_on(caller: Scenario, far: Scenario, trunk: &str) {
    let mut started = None;
    let servers = |ip: Ipv4Addr| {
        let sipp = far.ip(beside(ip, 203)).start().expect("sipp starts");
        vec![started.insert(sipp).address]
    };
    let lab = Lab::begin(servers, trunk).await;
    let caller = lab.caller(caller);
    lab.both_content(caller, started.expect("just now")).await;
}

#[tokio::test]
async fn early_media_of_two_forks_is_heard_and_the_one_that_answers_is_talked_to() {
    between("call_early", "far_forks").await;
}

#[tokio::test]
async fn a_second_phone_that_answers_is_acknowledged_and_hung_up() {
    between("call", "far_two_answers").await;
}

#[tokio::test]
async fn an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    between("call_cancels", "far_answers_cancelled").await;
}

#[tokio::test]
async fn a_far_end_that_rings_reliably_gets_its_prack() {
    between("call", "far_prack").await;
}

#[tokio::test]
async fn a_caller_that_insists_is_rung_reliably() {
    between("call_prack", "answer_echo").await;
}

#[tokio::test]
async fn an_update_inside_the_call_is_answered() {
    between("call_update", "answer_echo").await;
}

#[tokio::test]
async fn a_session_timer_is_agreed_to_as_either_side_and_a_brief_one_refused() {
    between("call_timer_uac", "answer_echo").await;
    between("call_timer_uas", "answer_echo").await;
    let lab = Lab::begin(|ip| vec![SocketAddr::from((ip, 9))], "").await;
    let mut caller = lab.caller(Scenario::named("call_timer_brief"));
    let stats = caller.wait(PATIENCE).expect("sipp ends");
    assert_eq!(stats.successful, 1, "{}", caller.errors());
}

#[tokio::test]
async fn an_invite_without_an_offer_is_answered_with_ours() {
    between("call_offerless", "answer_echo").await;
}

#[tokio::test]
async fn a_caller_holds_in_both_dialects_and_comes_back() {
    between("call_holds", "answer_echo").await;
}

#[tokio::test]
async fn a_trunk_speaks_its_own_dialect() {
    let own = "session_expires_s = 600\nreliable_provisional = \"required\"";
    let far = Scenario::named("far_insisted_on");
    between_on(Scenario::named("call"), far, own).await;
}

#[tokio::test]
async fn a_reinvite_that_meets_another_comes_again() {
    between("call_glare", "far_holds").await;
}

#[tokio::test]
async fn a_fax_is_refused_and_the_call_goes_on() {
    between("call_t38", "answer_echo").await;
}

#[tokio::test]
async fn a_digit_by_info_reaches_the_other_side() {
    between("call_digit", "far_hears_digit").await;
}

#[tokio::test]
async fn why_a_call_ends_is_told_to_the_other_side() {
    between("call", "far_reasons").await;
    between("call_hears_reason", "answer_hang_up").await;
    between("call_cancels", "far_cancelled").await;
}

#[tokio::test]
async fn why_a_call_is_refused_is_told_to_the_caller() {
    let busy = "486 Busy Here\n      Reason: Q.850;cause=17;text=\"User busy\"";
    let caller = Scenario::named("call_refused").status("486");
    between_on(caller, Scenario::refusing(busy), "").await;
}

#[tokio::test]
async fn a_redirection_is_followed_to_the_carriers_own_server_and_by_policy_only() {
    for follows in [true, false] {
        let mut ends = Vec::new();
        let servers = |ip: Ipv4Addr| {
            let second = Scenario::named("answer_echo").ip(beside(ip, 204));
            let second = second.start().expect("sipp starts");
            let there = format!("sip:{NUMBER}@{}", second.address);
            let first = Scenario::named("redirect").status(&there);
            let first = first.ip(beside(ip, 203)).start().expect("sipp starts");
            let both = vec![first.address, second.address];
            ends = vec![first, second];
            both
        };
        let policy = if follows {
            "redirects = \"follow\""
        } else {
            ""
        };
        let lab = Lab::begin(servers, policy).await;
        let (second, mut first) = (ends.pop().expect("two"), ends.pop().expect("two"));
        match follows {
            true => {
                let caller = lab.caller(Scenario::named("call"));
                lab.both_content(caller, second).await;
            }
            false => {
                let caller = Scenario::named("call_refused_plainly").status("480");
                let mut caller = lab.caller(caller);
                let stats = caller.wait(PATIENCE).expect("sipp ends");
                assert_eq!(stats.successful, 1, "{}", caller.errors());
                assert_eq!(second.stats().map_or(0, |it| it.created), 0);
            }
        }
        let stats = first.wait(PATIENCE).expect("sipp ends");
        assert_eq!(
            (stats.successful, stats.failed),
            (1, 0),
            "{}",
            first.errors()
        );
    }
}
