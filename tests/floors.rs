//! Holds every file of `src/` to the floor plan in `src/lib.rs`: a room names only the rooms it
//! may know, and the ground floor holds no clock, socket, file or thread.
//!
//! The sources are read as tokens, so that comments and strings do not count while the insides
//! of macros do. A planted violation of each kind must be found; innocent text must not.

#[path = "support/tokens.rs"]
mod tokens;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokens::{Bracket, Token};

/// Crates that bring clocks, sockets, files or threads.
const CRATES_WITH_IO: &[&str] = &[
    "tokio", "reqwest", "axum", "rusqlite", "libc", "rtc", "webrtc",
];
const MODULES_WITH_IO: &[&str] = &["fs", "thread", "process", "os"];
const SOCKETS: &[&str] = &[
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
];

#[derive(Debug, PartialEq)]
struct Room {
    ground: bool,
    name: String,
    may_know: Vec<String>,
}

/// `ground call -> now id`, one a line.
fn read_plan(lib: &str) -> Vec<Room> {
    let rooms = lib.lines().filter_map(|line| {
        let (left, right) = line.strip_prefix("//!")?.split_once("->")?;
        let mut words = left.split_whitespace();
        let floor = words
            .next()
            .filter(|word| ["ground", "middle", "top"].contains(word))?;
        let name = words.next()?.to_owned();
        let may_know = right.split_whitespace().map(str::to_owned).collect();
        Some(Room {
            ground: floor == "ground",
            name,
            may_know,
        })
    });
    rooms.collect()
}

/// What stands in one file.
struct Source<'a> {
    plan: &'a [Room],
    room: &'a Room,
    /// Of the whole file; without `src/`.
    name: &'a str,
    found: Vec<String>,
    /// Module paths declared under `#[cfg(test)]` whose text is in another file.
    test_modules: Vec<Vec<String>>,
    /// Files that `#[path]` makes another module than their name says.
    placed: Vec<(String, Vec<String>)>,
}

/// A file's module path: `sip/mod.rs` and `sip.rs` are `[sip]`, `sip/timer.rs` is `[sip, timer]`.
fn module_path(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut path: Vec<String> = stem.split('/').map(str::to_owned).collect();
    path.pop_if(|last| last == "mod");
    path
}

fn check<'a>(plan: &'a [Room], file: &'a str, text: &str, test_only: bool) -> Source<'a> {
    check_as(plan, file, &module_path(file), text, test_only)
}

fn check_as<'a>(
    plan: &'a [Room],
    file: &'a str,
    module: &[String],
    text: &str,
    test_only: bool,
) -> Source<'a> {
    let room = plan.iter().find(|room| room.name == module[0]);
    let room = room.unwrap_or_else(|| panic!("{file} belongs to no room of the floor plan"));
    let (found, test_modules, placed) = (Vec::new(), Vec::new(), Vec::new());
    let mut source = Source {
        plan,
        room,
        name: file,
        found,
        test_modules,
        placed,
    };
    let tokens = tokens::tokens(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    source.walk(&tokens, module, test_only);
    source
}

impl Source<'_> {
    fn complain(&mut self, what: &str) {
        self.found.push(format!(
            "src/{}: room `{}` {what}",
            self.name, self.room.name
        ));
    }

    fn walk(&mut self, tokens: &[Token], module: &[String], test: bool) {
        let (mut at, mut tested, mut elsewhere) = (0, test, None);
        while at < tokens.len() {
            let here = &tokens[at..];
            if let Some(attribute) = attribute(here) {
                elsewhere = self.read_attribute(attribute).or(elsewhere);
                tested |= is_cfg_test(attribute);
                at += 2;
            } else if let Some(name) = module_name(here) {
                let mut inner = module.to_vec();
                inner.push(name);
                if let Some(file) = elsewhere.take() {
                    self.placed.push((file, inner.clone()));
                }
                match here.get(2) {
                    Some(Token::Group(_, body)) => self.walk(body, &inner, tested),
                    _ if tested => self.test_modules.push(inner),
                    _ => {}
                }
                (at, tested) = (at + 3, test);
            } else if let Some((paths, length)) = paths_at(here) {
                let reexport = is_reexport(&tokens[..at]);
                let renamed = ident(here.get(length)).is_some_and(|word| word == "as");
                let macro_called = punct(here.get(length)) == Some('!');
                for path in &paths {
                    self.read_path(path, module, reexport, renamed);
                    if self.room.ground && !tested {
                        self.read_ground_path(path, renamed);
                    }
                    if macro_called && path.last().is_some_and(|name| name == "include") {
                        self.complain("includes another file's text");
                    }
                }
                at += length;
            } else {
                if self.room.ground && !tested && is_elapsed(here) {
                    self.complain("reads a clock: .elapsed()");
                }
                if let Token::Group(_, inside) = &tokens[at] {
                    self.walk(inside, module, tested);
                }
                // An attribute ends with the item it stands on.
                let body = matches!(&tokens[at], Token::Group(Bracket::Curly, _));
                if body || punct(tokens.get(at)) == Some(';') {
                    tested = test;
                }
                at += 1;
            }
        }
    }

    /// `#[path = "x.rs"]` may take a file of the same folder, whose full name comes back.
    fn read_attribute(&mut self, attribute: &[Token]) -> Option<String> {
        let [Token::Ident(name), Token::Punct('='), Token::Text(file)] = attribute else {
            return None;
        };
        if name != "path" {
            return None;
        }
        if file.contains(['/', '\\']) {
            self.complain("takes a module from another folder by #[path]");
        }
        let folder = self.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        Some(format!("{folder}/{file}"))
    }

    /// Which room a path names, if any: `crate::x`, `foredial::x`, or `super` up to the root.
    fn read_path(&mut self, path: &[String], module: &[String], reexport: bool, renamed: bool) {
        let path = if path[0] == "self" { &path[1..] } else { path };
        let climbed = path.iter().take_while(|step| *step == "super").count();
        let first = path.first().map(String::as_str);
        let rest = match first {
            Some("crate" | "foredial") => &path[1..],
            Some("super") if climbed >= module.len() => &path[climbed..],
            _ => return,
        };
        let Some(named) = rest.first() else {
            if renamed {
                self.complain("gives the crate's root another name");
            }
            return;
        };
        if *named == self.room.name {
            return;
        }
        let known = self.plan.iter().any(|room| room.name == *named);
        if !known {
            self.complain(&format!("names `{named}`, which is no room"));
        } else if !self.room.may_know.contains(named) {
            self.complain(&format!("may not know `{named}`: {}", path.join("::")));
        } else if reexport {
            // Who may know this room would know the other as well, and the plan would not say so.
            self.complain(&format!("hands on `{named}` by pub use"));
        }
    }

    fn read_ground_path(&mut self, path: &[String], renamed: bool) {
        let steps: Vec<&str> = path.iter().map(String::as_str).collect();
        let shown = path.join("::");
        let outside = match steps[..] {
            ["std"] => renamed,
            ["std", "*"] | ["std", "net", "*"] => true,
            ["std", second, ..] => MODULES_WITH_IO.contains(&second),
            [first, ..] => CRATES_WITH_IO.contains(&first) && (steps.len() > 1 || renamed),
            [] => false,
        };
        if outside || steps.iter().any(|step| SOCKETS.contains(step)) {
            self.complain(&format!("is on the ground floor and names {shown}"));
        }
        if let [.., of, last] = steps[..]
            && of.starts_with(char::is_uppercase)
            && (last == "now" || last.starts_with("now_v"))
        {
            self.complain(&format!("reads a clock: {shown}"));
        }
        if matches!(
            steps[..],
            ["rand", "rng" | "random" | "random_range" | "make_rng", ..]
        ) {
            self.complain(&format!("draws from a generator nobody seeded: {shown}"));
        }
    }
}

fn ident(token: Option<&Token>) -> Option<String> {
    match token {
        Some(Token::Ident(name)) => Some(name.clone()),
        _ => None,
    }
}

fn punct(token: Option<&Token>) -> Option<char> {
    match token {
        Some(Token::Punct(punct)) => Some(*punct),
        _ => None,
    }
}

/// `#[…]`; an inner `#![…]` has its `!` in between and is read as plain tokens.
fn attribute(tokens: &[Token]) -> Option<&[Token]> {
    match (punct(tokens.first()), tokens.get(1)) {
        (Some('#'), Some(Token::Group(Bracket::Square, inside))) => Some(inside),
        _ => None,
    }
}

/// `cfg(test)` or `cfg(all(test, …))`; not what `not` or `any` makes of it.
fn is_cfg_test(attribute: &[Token]) -> bool {
    let inside = |tokens: &[Token], name: &str| match tokens {
        [Token::Ident(word), Token::Group(Bracket::Round, inside)] if word == name => {
            Some(inside.clone())
        }
        _ => None,
    };
    let is_test = |token: Option<&Token>| ident(token).is_some_and(|word| word == "test");
    inside(attribute, "cfg").is_some_and(|condition| {
        let all = inside(&condition, "all");
        all.map_or(condition.len() == 1 && is_test(condition.first()), |all| {
            is_test(all.first())
        })
    })
}

fn module_name(tokens: &[Token]) -> Option<String> {
    let body = matches!(
        tokens.get(2),
        Some(Token::Group(Bracket::Curly, _) | Token::Punct(';'))
    );
    let is_module = ident(tokens.first()).is_some_and(|word| word == "mod") && body;
    ident(tokens.get(1)).filter(|_| is_module)
}

fn is_elapsed(tokens: &[Token]) -> bool {
    let called = matches!(tokens.get(2), Some(Token::Group(_, inside)) if inside.is_empty());
    punct(tokens.first()) == Some('.')
        && ident(tokens.get(1)).is_some_and(|word| word == "elapsed")
        && called
}

/// Whether a path stands right after `pub use` or `pub(crate) use`.
fn is_reexport(before: &[Token]) -> bool {
    // A leading `::` or `$` belongs to the path.
    let end = before
        .iter()
        .rposition(|token| !matches!(token, Token::Punct(':' | '$')));
    let is_use = |end: &usize| ident(before.get(*end)).is_some_and(|word| word == "use");
    match end.filter(is_use).and_then(|end| before[..end].last()) {
        Some(Token::Ident(word)) => word == "pub",
        Some(Token::Group(_, scope)) => ident(scope.first()).is_some_and(|word| word == "crate"),
        _ => false,
    }
}

/// The path that begins here and how many tokens it takes; several where it ends in a group.
fn paths_at(tokens: &[Token]) -> Option<(Vec<Vec<String>>, usize)> {
    let first = ident(tokens.first())?;
    // `use ::x` is a path from the `::` on.
    if [
        "use", "as", "in", "mut", "dyn", "impl", "return", "else", "match", "if",
    ]
    .contains(&&*first)
    {
        return None;
    }
    let mut path = vec![first];
    let mut at = 1;
    while punct(tokens.get(at)) == Some(':') && punct(tokens.get(at + 1)) == Some(':') {
        match tokens.get(at + 2) {
            Some(Token::Group(Bracket::Curly, inside)) => {
                let below = branches(inside);
                let joined = below.into_iter().map(|rest| [path.clone(), rest].concat());
                return Some((joined.collect(), at + 3));
            }
            Some(Token::Punct('*')) => path.push("*".to_owned()),
            Some(Token::Ident(_)) => path.extend(ident(tokens.get(at + 2))),
            // A turbofish: what follows its brackets is a member, not a room.
            _ => break,
        }
        at += 3;
    }
    Some((vec![path], at))
}

/// The paths of a use group: `{a::b, c::{d, e}, self as f, *}`.
fn branches(tokens: &[Token]) -> Vec<Vec<String>> {
    let parts = tokens.split(|token| punct(Some(token)) == Some(','));
    let branch = |part: &[Token]| match paths_at(part) {
        Some((paths, _)) => paths,
        None if punct(part.first()) == Some('*') => vec![vec!["*".to_owned()]],
        None => Vec::new(),
    };
    parts.flat_map(branch).collect()
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every `.rs` below, by its name without `src/`.
fn files_below(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("src/ can be listed") {
        let path = entry.expect("src/ can be listed").path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inside = path
                .strip_prefix(source_folder())
                .expect("walked from there");
            found.push(inside.to_string_lossy().replace('\\', "/"));
        }
    }
}

fn plan() -> Vec<Room> {
    read_plan(&read(&source_folder().join("lib.rs")))
}

#[test]
fn every_room_knows_only_rooms_above_it_in_the_list() {
    let plan = plan();
    assert!(plan.len() >= 20, "the floor plan was not found: {plan:?}");
    let mut above = BTreeSet::new();
    for room in &plan {
        for known in &room.may_know {
            assert!(
                above.contains(known),
                "`{}` is not above `{}`",
                known,
                room.name
            );
        }
        assert!(
            above.insert(room.name.clone()),
            "`{}` stands there twice",
            room.name
        );
        let ground = |name: &String| plan.iter().any(|other| other.ground && other.name == *name);
        assert!(
            !room.ground || room.may_know.iter().all(ground),
            "`{}` reaches up",
            room.name
        );
    }
}

#[test]
fn the_plan_and_the_modules_are_the_same_rooms() {
    let lib = read(&source_folder().join("lib.rs"));
    let declared = |line: &str| {
        Some(
            line.strip_prefix("pub mod ")?
                .trim_end_matches(';')
                .to_owned(),
        )
    };
    let modules: BTreeSet<String> = lib.lines().filter_map(declared).collect();
    let rooms: BTreeSet<String> = plan().into_iter().map(|room| room.name).collect();
    assert_eq!(modules, rooms);
}

#[test]
fn every_file_keeps_to_the_floor_plan() {
    let plan = plan();
    let mut files = Vec::new();
    files_below(&source_folder(), &mut files);
    // The binary only calls the command line; the library's root only lists the rooms.
    files.retain(|file| !["lib.rs", "main.rs"].contains(&file.as_str()));
    assert!(files.len() >= plan.len());
    let texts: Vec<(String, String)> = files
        .into_iter()
        .map(|file| (file.clone(), read(&source_folder().join(file))))
        .collect();
    let (mut tests, mut placed) = (Vec::new(), Vec::new());
    for (file, text) in &texts {
        let source = check(&plan, file, text, false);
        tests.extend(source.test_modules);
        placed.extend(source.placed);
    }
    let mut found = Vec::new();
    for (file, text) in &texts {
        let named = placed.iter().find(|(other, _)| other == file);
        let module = named.map_or_else(|| module_path(file), |(_, module)| module.clone());
        let test_only = tests.iter().any(|test| module.starts_with(test));
        found.extend(check_as(&plan, file, &module, text, test_only).found);
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// What is found in a text put into a room of the real plan.
fn found_in(file: &str, text: &str) -> Vec<String> {
    check(&plan(), file, text, false).found
}

#[test]
fn a_planted_violation_of_each_kind_is_found() {
    for (file, text) in [
        ("sip/mod.rs", "use crate::engine;"),
        (
            "sip/mod.rs",
            "use crate::{now::Now, sdp::{self, Description}};",
        ),
        ("sip/mod.rs", "use crate::*;"),
        ("sip/mod.rs", "use crate as root;"),
        ("sip/mod.rs", "use crate::{self as root};"),
        ("sip/mod.rs", "fn f() { crate::call::dial(); }"),
        ("sip/mod.rs", "fn f() -> ::foredial::call::Call {}"),
        ("sip/mod.rs", "use foredial::call;"),
        ("sip/mod.rs", "fn f() { let x: r#crate::call::Call; }"),
        ("sip/mod.rs", "use super::media::Law;"),
        ("sip/timer.rs", "use super::super::media::Law;"),
        ("sip/timer.rs", "use super::{super::media, endpoint};"),
        (
            "sip/timer.rs",
            "mod inner { use super::super::super::media; }",
        ),
        ("sip/timer.rs", "use self::super::super::media;"),
        (
            "sip/mod.rs",
            "macro_rules! m { () => { $crate::store::open() } }",
        ),
        (
            "sip/mod.rs",
            "fn f() { assert_eq!(crate::event::LAST, 1); }",
        ),
        ("sip/mod.rs", "pub(in crate::net) fn f() {}"),
        (
            "sip/mod.rs",
            "#[cfg(test)] mod tests { use crate::engine; }",
        ),
        ("sip/mod.rs", "#[path = \"../engine/mod.rs\"] mod e;"),
        ("sip/mod.rs", "include!(\"../engine/mod.rs\");"),
        ("call/mod.rs", "pub use crate::id::CallId;"),
        ("call/mod.rs", "pub(crate) use crate::{id::CallId};"),
        ("store/mod.rs", "pub use ::foredial::id::CallId;"),
        ("http/mod.rs", "use crate::demo::Carrier;"),
        ("http/mod.rs", "use ::foredial::demo::Carrier;"),
        ("sip/mod.rs", "use crate::nowhere;"),
        ("now.rs", "fn f() { std::time::Instant::now(); }"),
        ("now.rs", "fn f() { let clock = Instant::now; clock(); }"),
        ("now.rs", "fn f() { SystemTime::now(); }"),
        ("now.rs", "fn f(i: Instant) { i.elapsed(); }"),
        ("id.rs", "fn f() { uuid::Uuid::now_v7(); }"),
        ("sip/mod.rs", "use std::net::UdpSocket;"),
        (
            "sip/mod.rs",
            "use std::net; fn f() { net::TcpStream::connect(1); }",
        ),
        ("sip/mod.rs", "use std::{io, net::{IpAddr, TcpListener}};"),
        ("sip/mod.rs", "use std::net::*;"),
        ("sip/mod.rs", "use std::*;"),
        ("sip/mod.rs", "use std as s;"),
        ("leads/mod.rs", "use std::fs;"),
        ("leads/mod.rs", "fn f() { std::fs::read(1); }"),
        ("media/mod.rs", "fn f() { std::thread::spawn(|| ()); }"),
        ("media/mod.rs", "use std::{sync::Arc, thread};"),
        (
            "media/mod.rs",
            "async fn f() { tokio::time::sleep(d).await }",
        ),
        ("media/mod.rs", "use tokio as t;"),
        ("media/mod.rs", "fn f() { rand::random() }"),
        (
            "media/mod.rs",
            "#[cfg(test)] fn f() {} fn g() { std::fs::read(1); }",
        ),
        (
            "media/mod.rs",
            "#[cfg(test)] use x::{y}; fn g() { std::fs::read(1); }",
        ),
        (
            "media/mod.rs",
            "#[cfg(not(test))] fn f() { std::fs::read(1); }",
        ),
    ] {
        assert!(
            !found_in(file, text).is_empty(),
            "not found in {file}: {text}"
        );
    }
}

#[test]
fn innocent_text_is_left_alone() {
    for (file, text) in [
        (
            "sip/mod.rs",
            "use crate::now::{Now, UtcMs}; use crate::sip::timer::T1;",
        ),
        (
            "sip/mod.rs",
            "// use crate::engine;\n/* crate::call /* nested */ */ fn f() {}",
        ),
        (
            "sip/mod.rs",
            "/// See [`crate::engine`].\nfn f() -> &'static str { \"crate::engine\" }",
        ),
        (
            "sip/mod.rs",
            "fn f() { let x = r##\"use crate::engine; \"# \"##; let c = '\"'; }",
        ),
        (
            "sip/timer.rs",
            "use super::media; use super::super::now::Now;",
        ),
        ("sip/timer.rs", "mod inner { use super::super::endpoint; }"),
        (
            "sip/mod.rs",
            "pub(crate) fn f(engine: u8) { engine::call(); }",
        ),
        (
            "sip/mod.rs",
            "pub use timer::T1; pub use self::message::Message; pub(super) use x::y;",
        ),
        (
            "call/mod.rs",
            "use crate::id::CallId; use std::net::{IpAddr, SocketAddr};",
        ),
        (
            "media/mod.rs",
            "use std::io::{Read, Write}; fn f(now: Now) { self.now(); now.instant; }",
        ),
        (
            "media/mod.rs",
            "#[cfg(test)] mod tests { fn f() { std::time::Instant::now(); } }",
        ),
        (
            "media/mod.rs",
            "#[test] #[cfg(test)] fn f() { std::fs::read(1); }",
        ),
        (
            "store/mod.rs",
            "use std::fs; fn f() { Instant::now(); std::thread::spawn(|| ()); }",
        ),
        ("http/mod.rs", "use crate::engine::handle::Handle;"),
    ] {
        assert_eq!(found_in(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}

#[test]
fn a_test_module_in_a_file_of_its_own_is_known_as_one() {
    let plan = plan();
    let parent = check(&plan, "sip/timer.rs", "#[cfg(test)]\nmod tests;", false);
    assert_eq!(
        parent.test_modules,
        [["sip", "timer", "tests"].map(str::to_owned)]
    );
    let parent = check(
        &plan,
        "sip/timer.rs",
        "#[path = \"timer_tests.rs\"] mod tests;",
        false,
    );
    assert_eq!(parent.found, Vec::<String>::new());
    assert_eq!(parent.placed[0].0, "sip/timer_tests.rs");
    assert_eq!(parent.placed[0].1, ["sip", "timer", "tests"]);
    let text = "fn f() { std::time::Instant::now(); }";
    assert!(
        check(&plan, "sip/timer/tests.rs", text, true)
            .found
            .is_empty()
    );
    assert!(
        !check(&plan, "sip/timer/tests.rs", text, false)
            .found
            .is_empty()
    );
}
