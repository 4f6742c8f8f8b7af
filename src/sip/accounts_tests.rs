//! Our own answers against our own challenges, and what a guesser learns from them: nothing.

use std::time::Duration;

use super::super::auth::{Challenge, Credentials};
use super::super::nonce::NONCE_LIFE;
use super::*;

const NOW: UtcMs = UtcMs(1_700_000_000_000);
const HERE: &str = "192.0.2.7";
const URI: &str = "sip:b@house";

fn accounts() -> Accounts {
    let mut accounts = Accounts::new("house".into(), [7; 32]);
    let secret = Secret::Password("secret".into());
    accounts.set("ann".into(), &secret, &USUAL_ORDER);
    accounts
}

fn who(password: &str) -> Credentials {
    Credentials {
        username: "ann".into(),
        password: password.into(),
        realm: None,
    }
}

fn answer(accounts: &Accounts, password: &str, order: usize) -> String {
    let challenges = accounts.challenges(NOW, Some("ann"), HERE, "salt", false);
    let challenge = Challenge::choose(&challenges[order..], &who(password)).unwrap();
    challenge.answer(&who(password), "INVITE", URI, "cn")
}

fn stale() -> Verdict {
    Verdict::Stale("ann".into())
}

fn wrong(reason: &'static str) -> Verdict {
    Verdict::Wrong {
        user: Some("ann".into()),
        reason,
    }
}

#[test]
fn our_own_answers_pass_with_both_algorithms_and_only_once() {
    for order in [0, 1] {
        let mut accounts = accounts();
        let values = [answer(&accounts, "secret", order)];
        let mut check = |now| accounts.check(now, "INVITE", URI, HERE, &values);
        assert_eq!(check(NOW), Verdict::Known("ann".into()));
        assert_eq!(check(NOW), stale(), "a replay");
    }
}

#[test]
fn wrong_secret_method_uri_user_or_nonce_proves_nothing() {
    let mut accounts = accounts();
    let good = [answer(&accounts, "secret", 0)];
    let guess = [answer(&accounts, "guess", 0)];
    let mut check = |method, uri, values: &[String]| accounts.check(NOW, method, uri, HERE, values);
    assert_eq!(check("INVITE", URI, &guess), wrong("wrong_password"));
    assert_eq!(check("REGISTER", URI, &good), wrong("wrong_password"));
    assert_eq!(check("INVITE", "sip:evil@house", &good), wrong("other_uri"));
    let other = [good[0].replace("username=\"ann\"", "username=\"bob\"")];
    assert_eq!(
        check("INVITE", URI, &other),
        Verdict::Wrong {
            user: Some("bob".into()),
            reason: "unknown_user"
        }
    );
    let forged = [good[0].replace("nonce=\"1", "nonce=\"2")];
    assert_ne!(forged, good);
    assert_eq!(check("INVITE", URI, &forged), wrong("wrong_password"));
    assert_eq!(check("INVITE", URI, &[]), Verdict::Unanswered);
    let garbled = [good[0].replace("nc=00000001", "nc=zz")];
    assert_eq!(check("INVITE", URI, &garbled), wrong("malformed"));
    let whole = [good[0].replace("qop=auth", "qop=auth-int")];
    assert_eq!(check("INVITE", URI, &whole), wrong("malformed"));
}

#[test]
fn a_right_answer_to_an_old_or_foreign_nonce_is_stale_and_no_failure() {
    let mut accounts = accounts();
    let values = [answer(&accounts, "secret", 0)];
    let later = NOW.plus(NONCE_LIFE + Duration::from_secs(1));
    let mut check = |now, source| accounts.check(now, "INVITE", URI, source, &values);
    assert_eq!(check(later, HERE), stale());
    assert_eq!(check(NOW, "192.0.2.8"), stale(), "stolen on the way");
    assert_eq!(check(NOW, HERE), Verdict::Known("ann".into()));
}

#[test]
fn a_client_that_counts_nothing_is_served_once_a_nonce() {
    let mut accounts = accounts();
    let challenges = accounts.challenges(NOW, Some("ann"), HERE, "salt", false);
    let plain = [challenges[1].replace(", qop=\"auth\"", "")];
    let challenge = Challenge::choose(&plain, &who("secret")).unwrap();
    let values = [challenge.answer(&who("secret"), "REGISTER", URI, "cn")];
    assert!(!values[0].contains("qop"));
    let mut check = || accounts.check(NOW, "REGISTER", URI, HERE, &values);
    assert_eq!(check(), Verdict::Known("ann".into()));
    assert_eq!(check(), stale());
}

#[test]
fn an_account_may_be_given_as_ha1_of_one_algorithm() {
    let mut accounts = accounts();
    let md5 = Secret::Password("secret".into()).ha1(Algorithm::Md5, "ann", "house");
    let secret = Secret::Ha1 { md5, sha256: None };
    accounts.set("ann".into(), &secret, &USUAL_ORDER);
    let challenges = accounts.challenges(NOW, Some("ann"), HERE, "salt", false);
    assert_eq!(challenges.len(), 1);
    let values = [answer(&accounts, "secret", 0)];
    assert!(values[0].contains("algorithm=MD5"));
    let verdict = accounts.check(NOW, "INVITE", URI, HERE, &values);
    assert_eq!(verdict, Verdict::Known("ann".into()));
    // The other algorithm, asked for by nobody, opens nothing.
    let strong = [challenges[0].replace("MD5", "SHA-256")];
    let challenge = Challenge::choose(&strong, &who("secret")).unwrap();
    let values = [challenge.answer(&who("secret"), "INVITE", URI, "cn")];
    let verdict = accounts.check(NOW, "INVITE", URI, HERE, &values);
    assert_eq!(verdict, wrong("wrong_password"));
}

#[test]
fn the_uri_of_the_digest_may_leave_out_what_clients_leave_out() {
    for (named, uri, fine) in [
        ("sip:house:5060", "sip:house", true),
        ("sip:house", "sip:b@house;transport=tcp", true),
        ("sip:b@house", "sip:b@HOUSE:5060", true),
        ("sip:c@house", "sip:b@house", false),
        ("sip:other", "sip:house", false),
        ("tel:+123", "sip:house", false),
    ] {
        assert_eq!(is_for(named, uri), fine, "{named} for {uri}");
    }
}

#[test]
fn the_challenge_of_an_unknown_user_looks_like_that_of_a_known_one() {
    let mut accounts = accounts();
    let secret = Secret::Password("secret".into());
    for n in 0..50 {
        accounts.set(format!("old{n}"), &secret, &[Algorithm::Md5]);
    }
    let shape = |user: &str| {
        let values = accounts.challenges(NOW, Some(user), HERE, "salt", false);
        values.iter().filter(|it| it.contains("SHA-256")).count()
    };
    let strong: usize = (0..1_000).map(|n| shape(&format!("nobody{n}"))).sum();
    assert!((1..100).contains(&strong), "one account in 51: {strong}");
    assert_eq!(shape("nobody5"), shape("nobody5"));
    // All accounts alike, and strangers are too.
    for n in 0..50 {
        accounts.remove(&format!("old{n}"));
    }
    let values = accounts.challenges(NOW, Some("nobody"), HERE, "salt", false);
    let known = accounts.challenges(NOW, Some("ann"), HERE, "salt", false);
    assert_eq!(values, known);
}
