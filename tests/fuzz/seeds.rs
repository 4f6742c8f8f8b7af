//! What is mutated: the torture messages, the files of `tests/fuzz/seeds`, and for the smaller
//! targets the parts of them.

use std::path::Path;

/// Every file of a folder, in the order of their names, so that a seed means the same everywhere.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(folder);
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("a file"))
        .collect()
}

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

pub fn messages() -> Vec<Vec<u8>> {
    let mut all = files(&format!("{TESTS}/torture"), ".dat");
    all.extend(files(&format!("{TESTS}/fuzz/seeds"), ".sip"));
    all
}

pub fn descriptions() -> Vec<Vec<u8>> {
    let mut all = files(&format!("{TESTS}/fuzz/seeds"), ".sdp");
    all.extend(messages().iter().filter_map(|message| {
        let at = message
            .windows(7)
            .position(|window| window == b"\r\n\r\nv=0")?;
        Some(message[at + 4..].to_vec())
    }));
    all
}

/// Addresses and URIs: a line each in the file, and the values of the messages' headers.
pub fn addresses() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = files(&format!("{TESTS}/fuzz/seeds"), ".uris")
        .iter()
        .flat_map(|file| {
            file.split(|b| *b == b'\n')
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        })
        .collect();
    for message in messages() {
        let lines = message.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
        let values = lines.filter_map(|line| {
            line.iter()
                .position(|b| *b == b':')
                .map(|at| &line[at + 1..])
        });
        all.extend(values.map(|value| value.trim_ascii().to_vec()));
    }
    all.retain(|one| !one.is_empty());
    all
}

/// Several messages in one stream, with keep-alives between them.
pub fn streams() -> Vec<Vec<u8>> {
    let messages = messages();
    let pair = |at: usize| {
        let next = &messages[(at * 7 + 3) % messages.len()];
        [&messages[at][..], b"\r\n\r\n", next].concat()
    };
    let mut all: Vec<Vec<u8>> = (0..messages.len()).map(pair).collect();
    all.extend(messages.iter().cloned());
    all
}

/// Client frames (RFC 6455 §5.2): masked, whole and in fragments, with control frames between.
pub fn frames() -> Vec<Vec<u8>> {
    let messages = messages();
    let one = |message: &Vec<u8>| {
        let (left, right) = message.split_at(message.len() / 2);
        [
            frame(0x82, message),
            frame(0x89, b"ping"),
            [frame(0x01, left), frame(0x80, right)].concat(),
            frame(0x88, &[0x03, 0xe8]),
        ]
        .concat()
    };
    messages.iter().map(one).collect()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut out = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => out.push(0x80 | short),
        _ => {
            out.push(0x80 | 126);
            out.extend(
                u16::try_from(payload.len())
                    .unwrap_or(u16::MAX)
                    .to_be_bytes(),
            );
        }
    }
    out.extend(MASK);
    out.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    out
}
