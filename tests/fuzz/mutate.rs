//! Changes to valid inputs: of bytes, of numbers, and of the lines that SIP and SDP are made of.

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 when there is nothing to choose from.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % (end.max(1) as u64)).unwrap_or(0)
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

const INPUT_BYTES_MAX: usize = 70_000;
const CHANGES_MAX: usize = 5;

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n ",
    b"\r\n\t",
    b"\r",
    b"\n",
    b"\0",
    b"\"",
    b"\\\"",
    b"<",
    b">",
    b",",
    b";",
    b"=",
    b"?",
    b"@",
    b":",
    b"::",
    b":::",
    b"[",
    b"]",
    b"[::1]",
    b"[2001:db8::9:1]",
    b"%00",
    b"%",
    b"%zz",
    b"%40",
    b"\xff\xfe",
    "\u{a0}".as_bytes(),
    "\u{2028}".as_bytes(),
    "Ж".as_bytes(),
    b"SIP/2.0",
    b"SIP/7.0",
    b"z9hG4bK",
    b";tag=1",
    b";rport",
    b";received=1.2.3.4",
    b";lr",
    b"sip:",
    b"sips:",
    b"tel:+1",
    b"urn:service:sos",
    b"Content-Length: 0\r\n",
    b"l: 5\r\n",
    b"Contact: *\r\n",
    b"Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n",
    b"\r\n\r\n",
    b"From: <sip:a@b>\r\n",
    b"multipart/mixed;boundary=x",
    b"--x",
    b"--x--",
    b"a=rtpmap:0 PCMU/8000\r\n",
    b"m=audio 9 RTP/AVP 0\r\n",
    b"c=IN IP6 ::1\r\n",
    b"a=sendonly\r\n",
    b"c=IN IP4 0.0.0.0\r\n",
    b"Max-Forwards: 0\r\n",
];

const NUMBERS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"1",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"2147483648",
    b"4294967295",
    b"4294967296",
    b"18446744073709551615",
    b"18446744073709551616",
    b"00000000000000000001",
    b"1e9",
    b"9999999999999999999999",
];

const COMPACT: &[(&[u8], &[u8])] = &[
    (b"Via", b"v"),
    (b"From", b"f"),
    (b"To", b"t"),
    (b"Call-ID", b"i"),
    (b"Contact", b"m"),
    (b"Content-Length", b"l"),
    (b"Content-Type", b"c"),
    (b"Subject", b"s"),
    (b"Supported", b"k"),
];

/// A changed copy of one of the seeds.
pub fn mutated(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(CHANGES_MAX) {
        let other = dice.below(seeds.len());
        change(dice, &mut bytes, &seeds[other]);
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(16) {
        0 => flip(dice, bytes),
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..(at + dice.below(20)).min(bytes.len()))),
        3..=5 => insert(bytes, at, dice.one(WORDS)),
        6 | 7 => number(dice, bytes),
        8 => splice(dice, bytes, other),
        9 => repeat(dice, bytes, at),
        10 => compact(dice, bytes),
        _ => lines(dice, bytes, other),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, what: &[u8]) {
    bytes.splice(at..at, what.iter().copied());
}

fn flip(dice: &mut Dice, bytes: &mut [u8]) {
    let at = dice.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
}

/// Puts an extreme in the place of some number.
fn number(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let from = dice.below(bytes.len());
    let Some(at) = bytes[from..].iter().position(u8::is_ascii_digit) else {
        return;
    };
    let start = from + at;
    let length = bytes[start..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    bytes.splice(start..start + length, dice.one(NUMBERS).iter().copied());
}

/// The head of one and the tail of another.
fn splice(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    bytes.truncate(dice.below(bytes.len() + 1));
    bytes.extend_from_slice(&other[dice.below(other.len() + 1)..]);
}

/// The same few octets over and over.
fn repeat(dice: &mut Dice, bytes: &mut Vec<u8>, at: usize) {
    let end = (at + 1 + dice.below(12)).min(bytes.len());
    let piece = bytes[at..end].to_vec();
    let times = match dice.below(40) {
        0 => 4_000,
        1..=4 => 300,
        _ => 3,
    };
    insert(bytes, at, &piece.repeat(times));
}

fn compact(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let (long, short) = COMPACT[dice.below(COMPACT.len())];
    let (from, to) = if dice.below(2) == 0 {
        (long, short)
    } else {
        (short, long)
    };
    let wanted = [b"\r\n", from, b":"].concat();
    if let Some(at) = bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
    {
        bytes.splice(at + 2..at + 2 + from.len(), to.iter().copied());
    }
}

/// Doubles, drops, swaps, moves, folds or borrows whole lines.
fn lines(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    let mut all: Vec<&[u8]> = split(bytes);
    let theirs = split(other);
    let (one, two) = (dice.below(all.len()), dice.below(all.len()));
    let folded;
    match dice.below(7) {
        0 | 1 => all.insert(two, all[one]),
        2 => drop(all.remove(one)),
        3 => all.swap(one, two),
        4 => all[one] = theirs[dice.below(theirs.len())],
        5 => all.insert(one, theirs[dice.below(theirs.len())]),
        _ => {
            let line = all[one];
            let (left, right) = line.split_at(dice.below(line.len() + 1));
            folded = [left, b"\r\n ", right].concat();
            all[one] = &folded;
        }
    }
    *bytes = all.join(&b"\r\n"[..]);
}

fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines
}
