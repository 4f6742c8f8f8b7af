//! Registrations and phones that are kept.

use super::super::command::{Bound, Command};
use super::super::db::{Db, Place};
use super::super::fact::Fact;
use super::super::phone::StoredPhone;
use crate::now::UtcMs;

fn db() -> Db {
    Db::open(&Place::Memory).expect("a database in memory")
}

fn bound(user: &str, lines: &[&str], until: i64) -> Bound {
    Bound {
        user: user.to_owned(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        until: UtcMs(until),
    }
}

fn save(db: &mut Db, now: i64, changed: Vec<Bound>) {
    let fact = db.apply(UtcMs(now), &Command::SaveBindings { changed });
    assert!(matches!(fact, Ok(Fact::BindingsSaved)), "{fact:?}");
}

fn rows(db: &Db) -> i64 {
    db.connection()
        .query_row("SELECT count(*) FROM registrations", [], |row| row.get(0))
        .expect("a table of registrations")
}

#[test]
fn a_users_bindings_are_kept_until_they_change_or_run_out() {
    let mut db = db();
    save(
        &mut db,
        0,
        vec![
            bound("ann", &["a\t1", "a\t2"], 60_000),
            bound("bob", &["b\t1"], 30_000),
        ],
    );
    let lines = |db: &Db, now| db.view(UtcMs(now)).bindings().expect("read");
    assert_eq!(lines(&db, 1_000), ["a\t1", "a\t2", "b\t1"]);
    assert_eq!(lines(&db, 30_000), ["a\t1", "a\t2"], "bob's time is over");
    save(&mut db, 30_000, vec![bound("ann", &["a\t3"], 90_000)]);
    assert_eq!(lines(&db, 30_000), ["a\t3"], "rewritten as a whole");
    assert_eq!(rows(&db), 1, "what has run out is forgotten");
    save(&mut db, 30_000, vec![bound("ann", &[], 0)]);
    assert_eq!(rows(&db), 0, "unregistered");
}

#[test]
fn nobody_waits_for_registrations_to_be_written() {
    let changed = vec![bound("ann", &["a"], 1)];
    assert!(Command::SaveBindings { changed }.can_wait());
}

#[test]
fn a_phone_is_kept_once_and_removed_once() {
    let mut db = db();
    let phone = StoredPhone {
        user: "104".to_owned(),
        realm: "foredial".to_owned(),
        ha1_sha256: "s".repeat(64),
        ha1_md5: "m".repeat(32),
        is_md5_only: true,
        added_at: UtcMs(7),
    };
    let add = Command::AddPhone {
        phone: phone.clone(),
    };
    let remove = Command::RemovePhone {
        user: "104".to_owned(),
    };
    let rule = |fact| match fact {
        Ok(Fact::Refused { rule, .. }) => rule,
        other => panic!("{other:?}"),
    };
    assert!(matches!(db.apply(UtcMs(7), &add), Ok(Fact::PhoneKept)));
    assert_eq!(rule(db.apply(UtcMs(8), &add)), "phone_exists");
    assert_eq!(db.view(UtcMs(8)).phones().expect("read"), [phone]);
    assert!(matches!(
        db.apply(UtcMs(9), &remove),
        Ok(Fact::PhoneRemoved)
    ));
    assert_eq!(rule(db.apply(UtcMs(9), &remove)), "no_phone");
    assert_eq!(db.view(UtcMs(9)).phones().expect("read"), []);
}
