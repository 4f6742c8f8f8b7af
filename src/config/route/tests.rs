//! Routes as written, and what is said about wrong ones.

use std::path::Path;

use crate::config::{Config, parse, show};
use crate::route::{Source, Step};

const PEOPLE: &str = "[[trunk]]\nname = \"carrier-a\"\nservers = [\"192.0.2.1:5060\"]\n\
    caller_id = \"+861066666666\"\n[[phone]]\nusers = \"u1..u3\"\npassword = \"p\"\n\
    [[agent]]\nid = \"li.wei\"\n[[campaign]]\nid = \"autumn\"\ntrunks = [\"carrier-a\"]\n";

fn good(routes: &str) -> Config {
    let text = format!("{PEOPLE}{routes}");
    parse("f.toml", &text, Path::new("")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// First lines and remedies of what is wrong.
fn wrong(routes: &str) -> Vec<String> {
    let text = format!("{PEOPLE}{routes}");
    let errors = parse("f.toml", &text, Path::new("")).expect_err("should be refused");
    let line = |one: &String| {
        let head = one.lines().next().unwrap_or_default();
        head.split_once(": ")
            .map_or(head, |(_, what)| what)
            .to_owned()
    };
    errors.rendered.iter().map(line).collect()
}

/// The steps of the rule at this place.
fn steps(config: &Config, rule: usize) -> Vec<Step> {
    config.plan().rules[rule].steps.clone()
}

#[test]
fn routes_become_a_plan_with_their_steps_in_order() {
    let config = good(
        "[routing]\nemergency = [\"110\"]\n[[route]]\nname = \"desk\"\nnumbers = [\"101\"]\nphone = \"u2\"\n\
         then = [\"uri:sip:u@127.0.0.3:5080\", \"refuse:603\"]\n\
         [[route]]\nname = \"out\"\nprefix = \"+\"\nfrom = [\"phone\"]\ntrunk = [\"carrier-a\"]\n",
    );
    let shown: Vec<String> = steps(&config, 0).iter().map(ToString::to_string).collect();
    let expected = ["phone u2", "sip:u@127.0.0.3:5080", "refuse with 603"];
    assert_eq!(shown, expected);
    let out = steps(&config, 1);
    let Some(Step::Trunks(trunks)) = out.first() else {
        panic!("{out:?}");
    };
    assert_eq!(trunks[0].caller_id, "+861066666666", "the trunk's own");
    let plan = config.plan();
    let phone: Source = "phone:u1".parse().expect("a source");
    let trunk: Source = "trunk:carrier-a".parse().expect("a source");
    assert!(plan.rules[1].from[0].covers(&phone) && !plan.rules[1].from[0].covers(&trunk));
    assert_eq!(
        plan.emergency.trunks.len(),
        1,
        "every trunk takes emergency calls"
    );
}

#[test]
fn names_that_are_nowhere_are_pointed_at() {
    let said = wrong(
        "[routing]\nemergency_trunks = [\"x\"]\n[[route]]\nname = \"a\"\nfrom = [\"trunk:b\", \"agent:y\", \"moon\"]\ntrunk = [\"carrier-b\"]\n\
         then = [\"phone:u9\", \"fly:1\", \"play:jazz\", \"refuse:200\", \"uri:sip:host.example\"]\n",
    );
    let expected = [
        "there is no trunk `x`",
        "there is no trunk `b`",
        "there is no agent `y`",
        "`moon` is not a source of calls",
        "there is no trunk `carrier-b`",
        "there is no phone `u9`",
        "`fly` is not a step",
        "`jazz` cannot be played",
        "`200` is not a status to refuse with",
        "`sip:host.example` is not a SIP URI with an address",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_route_to_agents_says_who_and_how_long_callers_wait() {
    let config = good(
        "[[route]]\nname = \"hotline\"\nlast_agent = true\nthen = [\"agent:li.wei\", \"campaign:autumn\", \"queue:autumn\"]\n\
         queue_s = 30\nqueue_max = 3\nanswer = true\n",
    );
    let shown: Vec<String> = steps(&config, 0).iter().map(ToString::to_string).collect();
    let queue = |nobody: &str| {
        format!(
            "the longest READY agent of campaign autumn (at most 3 wait up to 30 s with music; {nobody})"
        )
    };
    let expected = [
        "the agent who called this number last if she is READY".to_owned(),
        "agent li.wei if she is READY".to_owned(),
        queue("nobody waits while none is signed in"),
        queue("also while none is signed in"),
    ];
    assert_eq!(shown, expected);
    let shown = show(&config).expect("TOML");
    let again = parse("f.toml", &shown, Path::new("")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.routes, config.routes, "{shown}");
}

#[test]
fn a_campaign_or_an_agent_that_is_not_there_is_pointed_at() {
    let text = format!("{PEOPLE}[[route]]\nname = \"a\"\ncampaign = \"autum\"\n");
    let errors = parse("f.toml", &text, Path::new("")).expect_err("no such campaign");
    let said = &errors.rendered[0];
    assert!(said.contains("there is no campaign `autum`"), "{said}");
    assert!(said.contains("did you mean `autumn`"), "{said}");
    assert!(said.starts_with("f.toml:15:"), "{said}");
    assert_eq!(
        wrong(
            "[[route]]\nname = \"a\"\nagent = \"li.wie\"\nthen = [\"queue:x\"]\nqueue_max = 1001\n"
        ),
        [
            "there is no agent `li.wie`",
            "there is no campaign `x`",
            "`queue_max` is out of range"
        ]
    );
    assert_eq!(
        wrong("[[route]]\nname = \"a\"\nlast_agent = true\nagent = \"li.wei\"\n"),
        ["a route begins with one step, and here are several"]
    );
}

#[test]
fn a_bad_regex_is_shown_with_a_caret_under_it() {
    let text = format!("{PEOPLE}[[route]]\nname = \"a\"\nregex = \"^(12\"\nphone = \"u1\"\n");
    let errors = parse("f.toml", &text, Path::new("")).expect_err("a bad regex");
    let expected = "f.toml:15:9: `^(12` is not a regular expression: unclosed group\n \
        15 | regex = \"^(12\"\n    \
           |         ^^^^^^";
    assert!(
        errors.rendered[0].starts_with(expected),
        "{}",
        errors.rendered[0]
    );
}

#[test]
fn a_route_has_one_pattern_one_first_step_and_whose_calls_it_sends_out() {
    let route = |lines: &str| wrong(&format!("[[route]]\nname = \"a\"\n{lines}"));
    assert_eq!(route(""), ["`trunk` is missing in [route]"]);
    assert_eq!(
        route("phone = \"u1\"\nplay = \"busy\"\n"),
        ["a route begins with one step, and here are several"]
    );
    assert_eq!(
        route("phone = \"u1\"\nprefix = \"1\"\nnumbers = [\"1\"]\n"),
        ["`numbers`, `prefix` and `regex` cannot stand together"]
    );
    assert_eq!(
        route("trunk = [\"carrier-a\"]\n"),
        ["`from` is missing in [route]"]
    );
    assert_eq!(
        route("phone = \"u1\"\nthen = [\"trunk:carrier-a\"]\n"),
        ["`from` is missing in [route]"]
    );
    assert_eq!(
        route("phone = \"u1\"\nhours = \"09:00-18:00\"\n"),
        ["`time_zone` is missing in [route]"]
    );
    assert_eq!(
        route("phone = \"u1\"\nhours = \"9-18\"\ntime_zone = \"Mars\"\n"),
        [
            "`9-18` is not a window of a day",
            "there is no time zone `Mars`"
        ]
    );
    assert_eq!(
        route("phone = \"u1\"\nrewrite = \"$1\"\n"),
        ["`regex` is missing in [route]"]
    );
    assert_eq!(
        route("refuse = 200\n"),
        ["`trunk` is missing in [route]", "`refuse` is out of range"]
    );
    assert_eq!(
        wrong("[routing]\npermit = [\"host\"]\n"),
        ["`host` is neither an IP address nor a CIDR block"]
    );
}

#[test]
fn a_range_of_phones_is_as_many_phones() {
    let config = good("");
    let users: Vec<&str> = config
        .phones
        .iter()
        .map(|phone| phone.user.as_str())
        .collect();
    assert_eq!(users, ["u1", "u2", "u3"]);
    let said = wrong("[[phone]]\nusers = \"a1..b2\"\npassword = \"p\"\n");
    assert_eq!(said[0], "`a1..b2` is not a range of users");
}

#[test]
fn routes_read_back_as_they_are_shown() {
    let config = good(
        "[routing]\nemergency = [\"110\"]\npermit = [\"127.0.0.2\"]\n\
         [[route]]\nname = \"a\"\nregex = \"^0(.*)$\"\nrewrite = \"+86$1\"\nfrom = [\"phone:u1\"]\ntrunk = [\"carrier-a\"]\n\
         hours = \"22:00-06:00\"\ndays = [\"sat\"]\ntime_zone = \"Asia/Shanghai\"\nrecord = true\nthen = [\"play:busy\"]\n\
         [[route]]\nname = \"b\"\nplay = \"music\"\n[[route]]\nname = \"c\"\nrefuse = 603\n",
    );
    let shown = show(&config).expect("TOML");
    let again = parse("f.toml", &shown, Path::new("")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.routes, config.routes, "{shown}");
    assert_eq!(again.routing, config.routing, "{shown}");
}

#[test]
fn the_switch_to_be_measured_is_a_good_configuration() {
    let text = include_str!("../../../config/bench.toml");
    let config =
        parse("bench.toml", text, Path::new("")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.phones.len(), 20_000);
    let recorded: Vec<bool> = config.plan().rules.iter().map(|rule| rule.record).collect();
    assert_eq!(recorded, [false, true, false]);
}
