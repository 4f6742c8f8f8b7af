//! The files of `config/`, and what is said about files that are wrong.

use super::*;
use crate::dialer::disposition::Action;
use crate::dialer::preview::AtLimit;
use crate::trunk::Redirects;

const REFERENCE: &str = include_str!("../../config/foredial.toml");
const DEMO: &str = include_str!("../../config/demo.toml");

fn good(text: &str) -> Config {
    parse("foredial.toml", text, Path::new("")).unwrap_or_else(|errors| panic!("{errors}"))
}

fn wrong(text: &str) -> Vec<String> {
    parse("foredial.toml", text, Path::new(""))
        .expect_err("should be refused")
        .rendered
}

/// The reference with every commented key taken out of its comment.
fn reference_uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        // An empty file name is no file; an empty code is none either.
        Some(code) if !code.is_empty() && !code.starts_with(' ') => format!("{code}\n"),
        _ => format!("{line}\n"),
    };
    REFERENCE.lines().map(line).collect()
}

#[test]
fn the_reference_file_equals_the_defaults() {
    assert_eq!(good(REFERENCE), good(""));
}

#[test]
fn the_reference_file_shows_every_key_and_no_other() {
    // `username` without `password` and empty hashes are fine: "" is none. One key is a choice.
    let text = reference_uncommented().replace("script_file = \"\"\n", "");
    let text = text.replace(
        "username = \"\"\npassword = \"\"\n",
        "username = \"u\"\npassword = \"p\"\n",
    );
    let (_, asked) =
        read("foredial.toml", &text, Path::new("")).unwrap_or_else(|errors| panic!("{errors}"));
    let missing: Vec<&String> = asked
        .iter()
        .filter(|path| {
            let key = path.rsplit('.').next().unwrap();
            let is_table = asked
                .iter()
                .any(|other| other.starts_with(&format!("{path}.")));
            let written = |line: &str| {
                line.trim_start_matches('#')
                    .starts_with(&format!("{key} ="))
            };
            let is_language = matches!(key, "en" | "zh");
            !is_table && !is_language && !REFERENCE.lines().any(written)
        })
        .collect();
    assert!(
        missing.is_empty(),
        "not in config/foredial.toml: {missing:?}"
    );
    assert!(asked.len() > 80, "{}", asked.len());
}

#[test]
fn the_examples_in_the_reference_show_the_defaults_of_their_keys() {
    let text = reference_uncommented().replace("script_file = \"\"\n", "");
    let text = text.replace("username = \"\"\npassword = \"\"\n", "");
    let mut shown = good(&text);
    let needed = "[crm]\nurl = \"https://crm.example.com/customers/{{ external_id }}\"\n\
        [[trunk]]\nname = \"carrier-a\"\nservers = [\"203.0.113.10:5060\"]\ncaller_id = \"+861066666666\"\n\
        [[phone]]\nuser = \"101\"\npassword = \"change me\"\n\
        [[phone]]\nusers = \"201..220\"\npassword = \"change me\"\n[[agent]]\nid = \"li.wei\"\n\
        [[campaign]]\nid = \"autumn\"\ntrunks = [\"carrier-a\"]\n";
    let mut least = good(needed);
    // Lists that are examples by nature.
    shown.crm.as_mut().unwrap().sections.clear();
    shown.routes.clear();
    let campaign = &mut shown.campaigns[0];
    campaign.fields.clear();
    campaign.skip_reasons.clear();
    campaign.dispositions.clear();
    least.campaigns[0].skip_reasons.clear();
    least.campaigns[0].dispositions.clear();
    assert_eq!(shown, least);
}

#[test]
fn what_is_shown_reads_back_the_same() {
    let extra = "[[campaign]]\nid = \"two\"\ntrunks = [\"demo-carrier\"]\nhours = \"08:30-24:00\"\nholidays = [\"2026-12-25\"]\n\
        days = [\"mon\", \"sun\"]\nat_preview_limit = \"dial\"\n[[trunk]]\nname = \"b\"\nservers = [\"[2001:db8::1]:5080\"]\n\
        caller_id = \"+12125550100\"\nnumber_format = \"national\"\ncountry_code = \"86\"\nallow_from = [\"203.0.113.0/24\"]\n";
    for text in ["", REFERENCE, DEMO, &format!("{DEMO}{extra}")] {
        let config = good(text);
        let shown = show(&config).unwrap();
        assert_eq!(good(&shown), config, "{shown}");
        assert_eq!(good(&shown).version(), config.version());
    }
    assert_ne!(
        good("").version(),
        good("[sip]\nlisten = \"127.0.0.1:5061\"").version()
    );
}

#[test]
fn secrets_are_never_shown() {
    let text = "[[phone]]\nuser = \"101\"\npassword = \"hunter2\"\n\
        [[trunk]]\nname = \"a\"\nservers = [\"203.0.113.10:5060\"]\ncaller_id = \"+861066666666\"\nusername = \"u\"\npassword = \"hunter2\"\n";
    let config = good(text);
    assert!(!show(&config).unwrap().contains("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.phones[0].password.reveal(), "hunter2");
}

#[test]
fn an_unknown_key_is_pointed_at_with_what_was_meant() {
    assert_eq!(
        wrong("[sip]\nlisten = \"127.0.0.1:5060\"\nadvertized = \"203.0.113.7\"\n"),
        ["foredial.toml:3:1: unknown key `advertized` in [sip]\n \
          3 | advertized = \"203.0.113.7\"\n   \
            | ^^^^^^^^^^\n   \
            = did you mean `advertised`?"]
    );
    assert_eq!(
        wrong("[radio]\n"),
        ["foredial.toml:1:2: unknown key `radio` at the top\n \
          1 | [radio]\n   \
            |  ^^^^^\n   \
            = known here: sip, http, media, state, store, recordings, trace, hep, security, fraud, crm, dns, trunk, phone, campaign, agent, routing, route"]
    );
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let text = "[sip]\nlisten = 5060\n\n[media]\nrtp_ports = \"20000\"\nworkers = 999\n\n[[trunk]]\nname = \"a\"\n\
        servers = [\"carrier..example\"]\ncaller_id = \"010 6666\"\n\n[[campaign]]\nid = \"c\"\ntrunks = [\"b\"]\nhours = \"9-20\"\n";
    let heads: Vec<String> = wrong(text)
        .iter()
        .map(|one| one.lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(
        heads,
        [
            "foredial.toml:2:10: `listen` is an integer",
            "foredial.toml:5:13: `20000` is not a range of ports",
            "foredial.toml:6:11: `workers` is out of range",
            "foredial.toml:10:12: `carrier..example` is not an address with a port",
            "foredial.toml:11:13: `010 6666` is not an E.164 number",
            "foredial.toml:15:11: there is no trunk `b`",
            "foredial.toml:16:9: `9-20` is not a calling window",
        ]
    );
}

#[test]
fn digest_can_be_turned_off_on_loopback_addresses_only() {
    const TORTURE: &str = include_str!("../../config/torture.toml");
    let sip = good(TORTURE).sip;
    assert!(!sip.digest && sip.recreate_dialogs);
    let heads = |text: &str| -> Vec<String> {
        let errors = wrong(text);
        let head = |one: &String| one.lines().next().unwrap_or_default().to_owned();
        errors.iter().map(head).collect()
    };
    assert_eq!(
        heads("[sip]\ndigest = false\n[http]\n"),
        [
            "foredial.toml:1:1: `digest = false` while listening on 0.0.0.0:5060: anyone could call from here",
            "foredial.toml:3:1: `digest = false` in [sip]: anyone could call from here over WebSocket",
        ]
    );
    assert_eq!(
        heads("[sip]\nrecreate_dialogs = 1\n"),
        ["foredial.toml:2:20: `recreate_dialogs` is an integer"]
    );
}

#[test]
fn a_trace_and_a_capture_server_are_checked_as_all_else_is() {
    let long = "x".repeat(257);
    let text = format!(
        "[trace]\nmemory_kib = -1\nmemory_mib = 4\n[hep]\nserver = \"homer\"\nid = \"x\"\npassword = \"{long}\"\n"
    );
    let heads: Vec<String> = wrong(&text)
        .iter()
        .map(|one| one.lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(
        heads,
        [
            "foredial.toml:2:14: `memory_kib` is out of range",
            "foredial.toml:3:1: unknown key `memory_mib` in [trace]",
            "foredial.toml:5:10: `homer` is not an address with a port",
            "foredial.toml:6:6: `id` is a string",
            "foredial.toml:7:12: `password` is longer than a HEP packet can spare",
        ]
    );
    assert_eq!(good("[trace]\nmemory_kib = 0\n").trace.memory_kib, 0);
}

#[test]
fn a_missing_key_is_told_with_the_line_of_its_table() {
    let errors = wrong("[[trunk]]\nname = \"a\"\n");
    assert_eq!(
        errors[0],
        "foredial.toml:1:1: `servers` is missing in [trunk]\n \
         1 | [[trunk]]\n   \
           | ^^^^^^^^^\n   \
           = give at least one, such as servers = [\"203.0.113.10:5060\"] or [\"sip.carrier.example\"]"
    );
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn broken_toml_is_told_line_by_line_without_guesses_about_the_rest() {
    let errors = wrong("[sip]\nlisten = \"127.0.0.1:5060\n[[trunk]]\nname = a\n[htpt]\n");
    let heads: Vec<&str> = errors
        .iter()
        .map(|one| one.lines().next().unwrap())
        .collect();
    assert!(
        heads[0].starts_with("foredial.toml:2:") && heads[0].contains("not TOML"),
        "{heads:?}"
    );
    assert!(
        heads
            .iter()
            .any(|head| head.starts_with("foredial.toml:4:")),
        "{heads:?}"
    );
    assert!(
        heads.iter().any(|head| head.contains("`htpt`")),
        "{heads:?}"
    );
    assert!(
        !heads.iter().any(|head| head.contains("missing")),
        "{heads:?}"
    );
}

#[test]
fn a_broken_header_or_an_open_quote_brings_no_complaint_about_what_follows() {
    let trunk = "name = \"a\"\nservers = [\"203.0.113.10:5060\"]\ncaller_id = \"+861066666666\"\n";
    let rest =
        "[[campaign]]\nid = \"c\"\ntrunks = [\"a\"]\n[[agent]]\nid = \"x\"\ncampaigns = [\"c\"]\n";
    for (broken, line) in [
        (format!("[sip]\n[[trunk]\n{trunk}{rest}"), 2),
        (
            format!("[sip\nlisten = \"127.0.0.1:5060\"\n[[trunk]]\n{trunk}{rest}"),
            1,
        ),
        (
            format!("[[trunk]]\n{}{rest}", trunk.replace("\"a\"", "\"a")),
            2,
        ),
        (
            format!(
                "[[trunk]]\n{trunk}{}",
                rest.replace("id = \"c\"", "id = c c")
            ),
            6,
        ),
        (
            format!(
                "[[trunk]]\n{trunk}{}",
                rest.replace("[[campaign]]", "[[campaign]")
            ),
            5,
        ),
    ] {
        let errors = wrong(&broken);
        assert_eq!(errors.len(), 1, "{broken}\n{}", errors.join("\n"));
        let place = format!("foredial.toml:{line}:");
        assert!(errors[0].starts_with(&place), "{}", errors[0]);
        assert!(errors[0].contains("not TOML"), "{}", errors[0]);
    }
    // What stands in a sound table is told all the same.
    let errors = wrong("[sip\nlisten = 1\n[media]\nworkers = 999\n[htpt]\n");
    assert_eq!(errors.len(), 3, "{}", errors.join("\n"));
}

#[test]
fn a_line_with_a_secret_is_not_repeated() {
    let errors = wrong("[[phone]]\nuser = \"1\"\npassword = [\"hunter2\"]\n");
    assert!(!errors.concat().contains("hunter2"), "{errors:?}");
    assert!(errors[0].contains("3 | password = …"), "{errors:?}");
}

#[test]
fn carets_stand_under_what_they_mean_after_chinese_text() {
    let errors = wrong(
        "[[campaign]]\nid = \"c\"\ntrunks = []\nname = { en = \"x\", zh = \"秋季\", de = \"y\" }\n",
    );
    let unknown = errors.iter().find(|one| one.contains("`de`")).unwrap();
    let lines: Vec<&str> = unknown.lines().collect();
    assert!(lines[0].starts_with("foredial.toml:4:31:"), "{unknown}");
    // Two ideographic spaces stand for the two characters.
    assert!(
        lines[2].contains('\u{3000}') && lines[2].ends_with("^^"),
        "{unknown}"
    );
}

#[test]
fn names_are_unique_and_references_hold() {
    let trunk = "[[trunk]]\nname = \"carrier\"\nservers = [\"203.0.113.10:5060\"]\ncaller_id = \"+861066666666\"\n";
    let errors = wrong(&format!(
        "{trunk}{trunk}[[campaign]]\nid = \"c\"\ntrunks = [\"carier\"]\n[[agent]]\nid = \"a\"\ncampaigns = [\"d\"]\nlanguage = \"fr\"\n"
    ));
    let text = errors.join("\n");
    assert!(
        text.contains("there is already a trunk `carrier`"),
        "{text}"
    );
    assert!(
        text.contains("there is no trunk `carier`") && text.contains("did you mean `carrier`?"),
        "{text}"
    );
    assert!(text.contains("there is no campaign `d`"), "{text}");
    assert!(text.contains("there are no pages in `fr`"), "{text}");
    assert_eq!(errors.len(), 4);
}

#[test]
fn templates_are_read_at_the_start() {
    let errors = wrong(
        "[crm]\nurl = \"ftp://crm\"\n[[trunk]]\nname = \"a\"\nservers = [\"203.0.113.10:5060\"]\ncaller_id = \"+861066666666\"\n\
         [[campaign]]\nid = \"c\"\ntrunks = [\"a\"]\nscript = \"Hello {{ name\"\n",
    );
    assert!(
        errors[0].contains("`ftp://crm` is not a web address"),
        "{errors:?}"
    );
    assert!(
        errors[1].contains("the template cannot be read in its line 1"),
        "{errors:?}"
    );
}

#[test]
fn a_trunk_is_read_with_all_its_keys() {
    let config = good(
        "[[trunk]]\nname = \"a\"\nservers = [\"203.0.113.10:5060\", \"SIP.carrier.example\", \"b.example:5080\"]\n\
         caller_id = \"+861066666666\"\ndomain = \"carrier.example\"\nidentity = \"pai\"\nfrom_user = \"acct7\"\n\
         trusted = true\nallow_refer = true\ncodecs = [\"pcmu\", \"opus\"]\ncalls_per_s = 5\noptions_every_s = 0\ndown_after = 3\n\
         register_expires_s = 600\nredirects = \"follow\"\n\
         failover_on = [\"503\", \"6xx\"]\nsilence_s = 2\nnumber_format = \"national\"\ncountry_code = \"86\"\n\
         allow_from = [\"198.51.100.64/26\"]\n[dns]\nservers = [\"192.0.2.53:53\"]\n",
    );
    let trunk = &config.trunks[0];
    let places: Vec<String> = trunk.servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        places,
        ["203.0.113.10:5060", "sip.carrier.example", "b.example:5080"]
    );
    assert_eq!(
        trunk.number_format.rule().write("+8613800138000"),
        "013800138000"
    );
    assert_eq!(trunk.codecs, [CodecConfig::Pcmu, CodecConfig::Opus]);
    assert!(trunk.allow_refer);
    assert_eq!(trunk.failover().0.len(), 2);
    assert!(!trunk.register && trunk.register_expires_s == 600);
    assert_eq!(trunk.redirects(), Redirects::Follow);
    let inside = "198.51.100.100".parse().unwrap();
    assert!(trunk.allow_from[0].block().contains(inside));
    assert_eq!(config.dns.servers.len(), 1);
    assert_eq!(good(&show(&config).unwrap()), config);
}

#[test]
fn a_wrong_trunk_is_told_all_its_mistakes_at_once() {
    let errors = wrong(
        "[[trunk]]\nname = \"a\"\nservers = [\"203.0.113.10\", \"carrier..example\", \"c.example:99999\"]\n\
         caller_id = \"+861066666666\"\nidentity = \"loud\"\nfrom_user = \"a@b\"\ndomain = \"sip:x\\r\\ny\"\n\
         codecs = [\"g729\"]\ncalls_per_s = -1\noptions_every_s = 90000\ndown_after = 0\n\
         failover_on = [\"486\"]\nsilence_s = 99\ntrusted = \"yes\"\nallow_refer = 1\n\
         register = true\nregister_expires_s = 5\nredirects = \"maybe\"\n[dns]\nservers = [\"dns.example\"]\n",
    );
    let text = errors.concat();
    for said in [
        "`203.0.113.10` is not an address with a port",
        "carrier..example",
        "c.example:99999",
        "`loud` is no place for a caller ID",
        "`a@b` cannot stand in a SIP address",
        "cannot stand in a SIP address",
        "`g729` is no codec for trunks",
        "calls_per_s",
        "options_every_s",
        "down_after",
        "`486` is no failure of a trunk",
        "silence_s",
        "trusted",
        "`register` is on",
        "register_expires_s",
        "`maybe` says nothing about redirections",
        "allow_refer",
        "`dns.example` is not an address with a port",
    ] {
        assert!(text.contains(said), "{said} is missing in {text}");
    }
    let none =
        "[[trunk]]\nname = \"a\"\nservers = []\ncaller_id = \"+861066666666\"\ncodecs = []\n";
    let text = wrong(none).concat();
    assert!(
        text.contains("codecs") && text.contains("servers"),
        "{text}"
    );
}

#[test]
fn a_campaign_becomes_the_dialers_rules() {
    let config = good(
        "[[trunk]]\nname = \"a\"\nservers = [\"203.0.113.10:5060\"]\ncaller_id = \"+861066666666\"\n\
         [[trunk]]\nname = \"b\"\nservers = [\"203.0.113.11:5060\"]\ncaller_id = \"+861055555555\"\n\
         [[campaign]]\nid = \"c\"\ntrunks = [\"b\", \"a\"]\nhours = \"10:00-18:30\"\npreview_limit_s = 60\nring_limit_s = 20\n\
         calls_a_day_max = 2\nmin_gap_s = 5\nat_preview_limit = \"requeue\"\n\
         [[campaign.dispositions]]\nkey = \"later\"\naction = \"retry\"\nretry_after_min = 90\nretry_max = 2\nnotes_min = 3\n",
    );
    let rules = config.rules();
    let rules = &rules.campaigns[&crate::id::CampaignId::new("c")];
    let routes: Vec<_> = rules
        .routes
        .iter()
        .map(|route| (route.trunk.as_str(), route.caller_id.as_str()))
        .collect();
    assert_eq!(routes, [("b", "+861055555555"), ("a", "+861066666666")]);
    assert_eq!(rules.hours.describe(), "10:00-18:30");
    assert_eq!(
        (rules.preview.limit_ms, rules.preview.at_limit),
        (60_000, AtLimit::Requeue)
    );
    assert_eq!(
        (rules.ring_limit_ms, rules.caps.day, rules.gap_ms_min),
        (20_000, 2, 5_000)
    );
    assert_eq!(rules.dispositions.0.len(), 1);
    assert_eq!(
        rules.dispositions.0[0].action,
        Action::Retry {
            after_ms: 5_400_000,
            max: 2
        }
    );
    assert_eq!(rules.dispositions.0[0].notes_chars_min, 3);
    assert_eq!(rules.config_version, config.version());
}

#[test]
fn a_campaign_without_rules_has_the_dialers_defaults() {
    let config = good(
        "[[trunk]]\nname = \"a\"\nservers = [\"203.0.113.10:5060\"]\ncaller_id = \"+861066666666\"\n\
         [[campaign]]\nid = \"c\"\ntrunks = [\"a\"]\n",
    );
    let rules = &config.rules().campaigns[&crate::id::CampaignId::new("c")];
    let usual = crate::dialer::campaign::Campaign::new(crate::id::CampaignId::new("c"));
    assert_eq!(rules.caps, usual.caps);
    assert_eq!(rules.hours, usual.hours);
    assert_eq!(rules.preview, usual.preview);
    assert_eq!(rules.wrap_up, usual.wrap_up);
    assert_eq!(rules.dispositions, usual.dispositions);
    assert_eq!(
        (rules.gap_ms_min, rules.ring_limit_ms),
        (usual.gap_ms_min, usual.ring_limit_ms)
    );
}

#[test]
fn a_file_that_is_not_there_is_told_with_a_remedy() {
    let errors = load(Path::new("/nonexistent/foredial.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        errors.contains("/nonexistent/foredial.toml: cannot be read"),
        "{errors}"
    );
    assert!(errors.contains("--config"), "{errors}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\[{0,2}(sip|trunk|campaign|crm|秋)\\]{0,2}\n|[a-z_]{1,9} = [\"\\[{0-9a-z秋\\.:, ='}\\]]{0,20}\n){0,12}") {
        if let Err(errors) = parse("f", &text, Path::new("")) {
            proptest::prop_assert!(!errors.rendered.is_empty());
        }
    }
}

#[test]
fn what_is_wrong_with_guards_and_phones_is_said_where_it_stands() {
    let text = "[sip]\nrealm = \"a b\"\ndomain = \"x y\"\nallow = [\"10.0.0.0/33\"]\ndeny = [\"here\"]\n\
        drop_scanners = \"no\"\n[security]\nmessages_per_s = -1\ntrunk_messages_per_s = \"x\"\n\
        failures_max = 99999999\nlock_s = 0\nlock_s_max = 5\nlog = 1\n\
        [fraud]\ncalls_at_once = -1\ncalls_a_minute = -1\nminutes_a_day = -1\n\
        calls_at_once_in_all = -1\ncalls_a_minute_in_all = -1\nminutes_a_day_in_all = -1\n\
        longest_call_minutes = -1\nallowed = [\"86\"]\ndenied = [\"+8x\"]\n\
        [[phone]]\nuser = \"101\"\nha1_md5 = \"hunter2\"\nha1_sha256 = \"hunter2\"\nalgorithms = [\"SHA-1\"]\n";
    let errors = wrong(text);
    let places: Vec<String> = errors
        .iter()
        .map(|error| error.split(':').nth(1).unwrap_or_default().to_owned())
        .collect();
    let lines: Vec<String> = (2..=6)
        .chain(8..=13)
        .chain(15..=23)
        .chain(26..=28)
        .map(|line| line.to_string())
        .collect();
    assert_eq!(places, lines, "{errors:#?}");
    // What is meant as a secret is shown only where the file is.
    let said = |error: &String| error.lines().next().unwrap_or_default().contains("hunter2");
    assert!(!errors.iter().any(said), "{errors:#?}");
}

#[test]
fn a_phone_may_be_known_by_its_ha1_alone() {
    let hash = "0123456789abcdef".repeat(2);
    let text = format!("[[phone]]\nuser = \"101\"\nha1_md5 = \"{hash}\"\nalgorithms = [\"md5\"]\n");
    let config = good(&text);
    let phone = &config.phones[0];
    assert!(phone.password.is_empty() && phone.ha1_sha256.is_none());
    assert_eq!(
        phone.ha1_md5.as_ref().map(|ha1| ha1.reveal()),
        Some(hash.as_str())
    );
    assert_eq!(phone.algorithms, [DigestAlgorithm::Md5]);
    assert!(!show(&config).unwrap().contains(&hash));
}

#[test]
fn an_agents_seat_is_the_page_or_a_phone_that_is_there() {
    let phone = "[[phone]]\nuser = \"201\"\npassword = \"p\"\n";
    let config = good(&format!(
        "{phone}[[agent]]\nid = \"a\"\nseat = \"phone:201\"\n[[agent]]\nid = \"b\"\n"
    ));
    assert_eq!(config.agents[0].seat, SeatConfig::Phone("201".to_owned()));
    assert_eq!(config.agents[1].seat, SeatConfig::Browser);
    assert!(show(&config).unwrap().contains("seat = \"phone:201\""));
    let errors = wrong(&format!(
        "{phone}[[agent]]\nid = \"a\"\nseat = \"phone:2010\"\n[[agent]]\nid = \"b\"\nseat = \"sofa\"\n"
    ));
    let text = errors.join("\n");
    assert!(text.contains("there is no phone `2010`"), "{text}");
    assert!(text.contains("did you mean `201`?"), "{text}");
    assert!(text.contains("`sofa` is no seat"), "{text}");
}
