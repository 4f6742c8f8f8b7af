//! The writer thread, files and what is wrong with them.

use super::*;
use crate::store::{Reader, Refused, Store, StoreError};
use std::sync::mpsc;

fn import(line: u64) -> Command {
    Command::Import {
        list: ListId::new("list"),
        campaign: CampaignId::new("demo"),
        rows: vec![row(line, &[&format!("+861380013{line:04}")])],
        source: "test".to_owned(),
    }
}

/// A store on disk, and what it answers.
struct Open {
    folder: tempfile::TempDir,
    path: std::path::PathBuf,
    store: Store,
    facts: mpsc::Receiver<(u64, bool)>,
}

impl Open {
    fn new() -> Open {
        let (release, held) = mpsc::channel();
        release.send(()).unwrap();
        Open::holding("foredial.db", held)
    }

    /// Its writer waits after the first commit until it is told to go on.
    fn holding(name: &str, held: mpsc::Receiver<()>) -> Open {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let (sink, facts) = mpsc::channel();
        let mut held = Some(held);
        let store = Store::start(&path, move |id, fact| {
            if let Some(held) = held.take() {
                held.recv().unwrap();
            }
            sink.send((id, fact.is_ok())).unwrap();
        });
        Open {
            folder,
            path,
            store: store.unwrap(),
            facts,
        }
    }
}

#[test]
fn everything_queued_is_committed_before_it_is_acknowledged_and_in_order() {
    let (release, held) = mpsc::channel();
    let Open {
        folder: _folder,
        path,
        store,
        facts,
    } = Open::holding("new/foredial.db", held);
    let handle = store.handle();
    let rules = Arc::new(Rules::of([demo()]));
    handle
        .submit(
            0,
            morning(),
            Command::Configure {
                rules: Arc::clone(&rules),
            },
        )
        .unwrap();
    for id in 1..=500 {
        handle.submit(id, morning(), import(id)).unwrap();
    }
    release.send(()).unwrap();
    let reader = handle.reader(rules).unwrap();
    for id in 0..=500 {
        assert_eq!(facts.recv().unwrap(), (id, true));
        if id == 250 {
            let events = reader.view(morning()).events_since(0, 1_000).unwrap();
            assert!(events.len() >= 250, "{}", events.len());
        }
    }
    // The first alone, and what queued meanwhile in groups.
    assert!(handle.commits() <= 3, "{}", handle.commits());
    drop(store);
    assert!(matches!(
        handle.submit(9, morning(), import(9)),
        Err(Refused::Stopped(_))
    ));
    let again = Db::open(&Place::File(path)).unwrap();
    let counts = again.view(morning()).state_counts().unwrap();
    assert_eq!(counts[0].leads, 500);
}

#[test]
fn what_nobody_waits_for_is_committed_all_the_same_alone_and_at_the_end() {
    let Open {
        folder: _folder,
        path,
        store,
        facts,
    } = Open::new();
    let state = |name| Command::AgentState {
        agent: AgentId::new("anna"),
        state: name,
        reason: None,
    };
    let handle = store.handle();
    handle.submit(1, morning(), state("ready")).unwrap();
    assert_eq!(facts.recv().unwrap(), (1, true));
    // One that cannot wait takes along what came before it, in order.
    handle.submit(2, morning(), state("previewing")).unwrap();
    handle.submit(3, morning(), import(1)).unwrap();
    handle.submit(4, morning(), state("dialing")).unwrap();
    drop(store);
    assert_eq!(
        facts.iter().collect::<Vec<_>>(),
        [(2, true), (3, true), (4, true)]
    );
    let again = Db::open(&Place::File(path)).unwrap();
    let events = again.view(morning()).events_since(0, 10).unwrap();
    assert_eq!(events.len(), 4, "{events:?}");
}

#[test]
fn the_log_flows_back_into_the_database_while_commands_go_on() {
    let Open {
        folder: _folder,
        path,
        store,
        facts,
    } = Open::new();
    let empty = std::fs::metadata(&path).unwrap().len();
    let configure = Command::Configure {
        rules: Arc::new(Rules::of([demo()])),
    };
    store.handle().submit(0, morning(), configure).unwrap();
    assert_eq!(facts.recv().unwrap(), (0, true));
    // One commit each, until the database itself has grown.
    for id in 1.. {
        store.handle().submit(id, morning(), import(id)).unwrap();
        assert_eq!(facts.recv().unwrap(), (id, true));
        if std::fs::metadata(&path).unwrap().len() > empty {
            break;
        }
        assert!(id < 5_000, "no checkpoint");
    }
}

#[test]
fn a_command_that_fails_takes_back_only_itself() {
    let mut house = House::new(vec![]);
    let bad = Command::Step {
        attempt: AttemptId(uuid::Uuid::from_u128(1)),
        step: AttemptStep::Invited,
    };
    let batch = [
        (house.now, import(1)),
        (house.now, bad),
        (house.now, import(2)),
    ];
    let answers = house
        .db
        .apply_batch(batch.iter().map(|(at, it)| (*at, it)))
        .unwrap();
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(StoreError::NoSuchAttempt(_))));
    assert_eq!(house.count("SELECT count(*) FROM leads"), 2);
}

#[test]
fn commits_are_durable_and_logged_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&Place::File(folder.path().join("foredial.db"))).unwrap();
    let pragma = |name: &str| -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        db.connection()
            .query_row(&sql, [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2", "FULL");
    assert_eq!(pragma("foreign_keys"), "1");
    let loose: i64 = db
        .connection()
        .query_row(
            "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
             AND strict = 0 AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'refinery_%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(loose, 0, "every table of ours is STRICT");
}

#[test]
fn a_database_in_use_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foredial.db");
    let first = Db::open(&Place::File(path.clone())).unwrap();
    let error = one_line(Db::open(&Place::File(path.clone())));
    assert!(error.contains("in use by another foredial"), "{error}");
    drop(first);
    assert!(Db::open(&Place::File(path)).is_ok());
}

#[test]
fn a_file_that_is_no_database_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foredial.db");
    std::fs::write(
        &path,
        "this is a letter to my aunt, and not a database at all".repeat(50),
    )
    .unwrap();
    let error = one_line(Db::open(&Place::File(path.clone())));
    assert!(error.contains("is not a database"), "{error}");
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("this is a letter")
    );
}

#[test]
fn a_damaged_database_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foredial.db");
    drop(Db::open(&Place::File(path.clone())).unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    for byte in bytes.iter_mut().skip(200).take(middle) {
        *byte = 0x5a;
    }
    std::fs::write(&path, bytes).unwrap();
    let error = one_line(Db::open(&Place::File(path)));
    assert!(error.contains("foredial.db"), "{error}");
    assert!(error.contains("restore it from a backup"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = one_line(Db::open(&Place::File(
        folder.path().join("file/foredial.db"),
    )));
    assert!(error.contains("cannot use the folder"), "{error}");
}

#[test]
fn a_reader_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foredial.db");
    assert!(
        Reader::open(&path, Arc::default()).is_err(),
        "nothing there yet"
    );
    let _db = Db::open(&Place::File(path.clone())).unwrap();
    let reader = Reader::open(&path, Arc::default()).unwrap();
    let writing = reader
        .view(morning())
        .0
        .conn
        .execute("DELETE FROM leads", []);
    assert!(writing.is_err());
}

fn one_line<T>(result: Result<T, StoreError>) -> String {
    let error = result.err().expect("an error").to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}
