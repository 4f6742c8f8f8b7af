//! The messages of `tests/torture` and what must be said to each.
#![allow(dead_code, reason = "each test takes what it needs")]

/// The answer to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// An INVITE that is taken and routed: 100, and whatever routing makes of it.
    Call,
    None,
}

/// A row of `answers.tsv` with its message.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub answer: Answer,
    pub over_tcp: Answer,
    /// About where a message ends: for UDP and TCP only.
    pub is_framing: bool,
    pub bytes: Vec<u8>,
}

pub fn folder() -> String {
    format!("{}/tests/torture", env!("CARGO_MANIFEST_DIR"))
}

pub fn message(name: &str) -> Vec<u8> {
    let path = format!("{}/{name}.dat", folder());
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(format!("{}/answers.tsv", folder())).expect("the table");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| {
        let mut cells = line.split('\t');
        let mut cell = || cells.next().unwrap_or_default();
        let name = cell().to_owned();
        let answer = read(cell()).expect("an answer");
        Row {
            answer,
            is_framing: cell() == "framing",
            over_tcp: read(cell()).unwrap_or(answer),
            bytes: message(&name),
            name,
        }
    });
    rows.collect()
}

fn read(cell: &str) -> Option<Answer> {
    match cell {
        "" => None,
        "call" => Some(Answer::Call),
        "none" => Some(Answer::None),
        status => Some(Answer::Status(status.parse().expect("a status"))),
    }
}

/// The status of a response, 0 for anything else.
pub fn status(message: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(message.get(..11).unwrap_or_default()).into_owned();
    let status = text
        .strip_prefix("SIP/2.0 ")
        .and_then(|rest| rest.parse().ok());
    status.unwrap_or(0)
}
