//! RTCP, as much as a G.711 leg needs (RFC 3550 section 6.4): sender and receiver reports with one
//! report block and a CNAME out; the same read back, everything else stepped over.
//! Our own, since the `rtcp` crate panics on 16 crafted bytes.

use std::time::Duration;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;

const SENDER_PART_BYTES: usize = 20;
const BLOCK_BYTES: usize = 24;
/// Longer names are cut.
pub const CNAME_BYTES_MAX: usize = 64;
/// The largest report [`write`] makes.
pub const REPORT_BYTES_MAX: usize = 160;

/// 64 bits of seconds since 1900 with a binary fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ntp(pub u64);

/// What a sender says of its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    pub at: Ntp,
    pub timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// What a receiver says of another's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub ssrc: u32,
    /// In 256ths, since the last report.
    pub lost_fraction: u8,
    /// 24 bits, signed.
    pub lost: i32,
    pub highest_sequence: u32,
    /// In timestamp units.
    pub jitter: u32,
    /// The middle of the [`Ntp`] of the last sender report, 0 for none.
    pub last_report: u32,
    /// Since that report, in 65536ths of a second.
    pub since_last_report: u32,
}

/// A compound packet's meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub ssrc: u32,
    pub sender: Option<Sender>,
    /// The block about our stream, when read; about theirs, when written.
    pub block: Option<Block>,
    pub bye: bool,
}

impl Ntp {
    /// From the time since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn from_unix(since_1970: Duration) -> Ntp {
        let seconds = (since_1970.as_secs() + 2_208_988_800) & 0xFFFF_FFFF;
        let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
        Ntp((seconds << 32) | fraction)
    }

    /// The middle 32 bits, which receiver reports repeat.
    #[must_use]
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

impl Block {
    /// RFC 3550 section 6.4.1: the round trip, if the block answers a report of ours.
    #[must_use]
    pub fn round_trip(&self, now: Ntp) -> Option<Duration> {
        if self.last_report == 0 {
            return None;
        }
        let ticks = now
            .middle()
            .wrapping_sub(self.last_report)
            .wrapping_sub(self.since_last_report);
        // Nobody waits half a day: a negative trip is a lie or a clock set back.
        (ticks < u32::MAX / 2)
            .then(|| Duration::from_nanos(u64::from(ticks) * 1_000_000_000 / 65_536))
    }
}

/// A time span in the units of [`Block::since_last_report`].
#[must_use]
pub fn ticks(span: Duration) -> u32 {
    u32::try_from(span.as_nanos() * 65_536 / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Writes a compound packet: the report, then the CNAME (RFC 3550 section 6.1 wants both).
#[must_use]
pub fn write(report: &Report, cname: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(REPORT_BYTES_MAX);
    let kind = if report.sender.is_some() {
        SENDER_REPORT
    } else {
        RECEIVER_REPORT
    };
    let start = begin(&mut out, kind, u8::from(report.block.is_some()));
    out.extend(report.ssrc.to_be_bytes());
    if let Some(sender) = &report.sender {
        out.extend(sender.at.0.to_be_bytes());
        out.extend(sender.timestamp.to_be_bytes());
        out.extend(sender.packets.to_be_bytes());
        out.extend(sender.octets.to_be_bytes());
    }
    if let Some(block) = &report.block {
        write_block(&mut out, block);
    }
    end(&mut out, start);
    write_cname(&mut out, report.ssrc, cname);
    if report.bye {
        let start = begin(&mut out, BYE, 1);
        out.extend(report.ssrc.to_be_bytes());
        end(&mut out, start);
    }
    out
}

/// Reads a compound packet. `about` is our SSRC: of the blocks only the one about it counts.
#[must_use]
pub fn read(datagram: &[u8], about: u32) -> Option<Report> {
    let mut report = Report::default();
    let mut rest = datagram;
    let mut packets = 0;
    while let [first, kind, l0, l1, ..] = *rest {
        let len = 4 + usize::from(u16::from_be_bytes([l0, l1])) * 4;
        let packet = rest.get(..len)?;
        if first >> 6 != 2 {
            return None;
        }
        read_packet(&mut report, kind, first & 31, packet, about)?;
        rest = &rest[len..];
        packets += 1;
    }
    (packets > 0 && rest.is_empty()).then_some(report)
}

fn read_packet(report: &mut Report, kind: u8, count: u8, packet: &[u8], about: u32) -> Option<()> {
    let mut body = &packet[4..];
    match kind {
        SENDER_REPORT | RECEIVER_REPORT => {
            report.ssrc = word(&mut body)?;
            if kind == SENDER_REPORT {
                report.sender = Some(read_sender(&mut body)?);
            }
            for _ in 0..count {
                let block = read_block(&mut body)?;
                if block.ssrc == about {
                    report.block = Some(block);
                }
            }
        }
        BYE => report.bye = true,
        _ => {}
    }
    Some(())
}

fn read_sender(body: &mut &[u8]) -> Option<Sender> {
    let at = Ntp((u64::from(word(body)?) << 32) | u64::from(word(body)?));
    Some(Sender {
        at,
        timestamp: word(body)?,
        packets: word(body)?,
        octets: word(body)?,
    })
}

fn read_block(body: &mut &[u8]) -> Option<Block> {
    let ssrc = word(body)?;
    let loss = word(body)?;
    Some(Block {
        ssrc,
        lost_fraction: (loss >> 24) as u8,
        lost: ((loss << 8) as i32) >> 8,
        highest_sequence: word(body)?,
        jitter: word(body)?,
        last_report: word(body)?,
        since_last_report: word(body)?,
    })
}

fn write_block(out: &mut Vec<u8>, block: &Block) {
    let lost = (block.lost.clamp(-0x80_0000, 0x7F_FFFF) as u32) & 0xFF_FFFF;
    out.extend(block.ssrc.to_be_bytes());
    out.extend(((u32::from(block.lost_fraction) << 24) | lost).to_be_bytes());
    out.extend(block.highest_sequence.to_be_bytes());
    out.extend(block.jitter.to_be_bytes());
    out.extend(block.last_report.to_be_bytes());
    out.extend(block.since_last_report.to_be_bytes());
}

fn write_cname(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let name = &cname.as_bytes()[..cname.len().min(CNAME_BYTES_MAX)];
    let start = begin(out, SOURCE_DESCRIPTION, 1);
    out.extend(ssrc.to_be_bytes());
    out.push(CNAME);
    out.push(name.len() as u8); // at most CNAME_BYTES_MAX
    out.extend(name);
    out.push(0); // the item list's end, then up to the next word
    while !(out.len() - start).is_multiple_of(4) {
        out.push(0);
    }
    end(out, start);
}

fn begin(out: &mut Vec<u8>, kind: u8, count: u8) -> usize {
    let start = out.len();
    out.extend([0x80 | count, kind, 0, 0]);
    start
}

/// Fills in the length: words without the first one.
fn end(out: &mut [u8], start: usize) {
    let words = ((out.len() - start) / 4 - 1) as u16; // at most REPORT_BYTES_MAX
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

fn word(body: &mut &[u8]) -> Option<u32> {
    let (word, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(u32::from_be_bytes(*word))
}

const _: () =
    assert!(REPORT_BYTES_MAX >= 8 + SENDER_PART_BYTES + BLOCK_BYTES + 12 + CNAME_BYTES_MAX + 4 + 8);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report() -> Report {
        Report {
            ssrc: 1,
            sender: Some(Sender {
                at: Ntp::from_unix(Duration::from_millis(1_500)),
                timestamp: 160,
                packets: 3,
                octets: 480,
            }),
            block: Some(Block {
                ssrc: 2,
                lost_fraction: 64,
                lost: -3,
                highest_sequence: 70_000,
                jitter: 8,
                last_report: 0x1234_5678,
                since_last_report: 65_536,
            }),
            bye: false,
        }
    }

    #[test]
    fn a_report_reads_as_it_was_written() {
        let mut receiver_only = report();
        receiver_only.sender = None;
        let mut bye = report();
        bye.bye = true;
        for report in [report(), receiver_only, bye] {
            let datagram = write(&report, "leg@foredial");
            assert!(datagram.len().is_multiple_of(4) && datagram.len() <= REPORT_BYTES_MAX);
            assert_eq!(read(&datagram, 2), Some(report));
            assert_eq!(read(&datagram, 3).expect("well formed").block, None);
        }
    }

    #[test]
    fn ntp_starts_in_1900() {
        let ntp = Ntp::from_unix(Duration::from_millis(500));
        assert_eq!(ntp.0 >> 32, 2_208_988_800);
        assert_eq!(ntp.0 & 0xFFFF_FFFF, 1 << 31);
    }

    #[test]
    fn the_round_trip_is_what_the_far_side_did_not_wait() {
        let sent = Ntp::from_unix(Duration::from_secs(1_000));
        let block = Block {
            last_report: sent.middle(),
            since_last_report: ticks(Duration::from_secs(2)),
            ..report().block.expect("has one")
        };
        let now = Ntp::from_unix(Duration::from_millis(1_002_150));
        let trip = block.round_trip(now).expect("answers a report");
        assert!((trip.as_secs_f64() - 0.150).abs() < 0.001);
        let before = Ntp::from_unix(Duration::from_millis(1_001_000));
        assert_eq!(block.round_trip(before), None);
    }

    #[test]
    fn a_length_past_the_datagram_is_refused() {
        let mut datagram = write(&report(), "x");
        datagram[3] = 200;
        assert_eq!(read(&datagram, 2), None);
        assert_eq!(
            read(&[0x81, 201, 0, 1, 0, 0, 0, 1], 2),
            None,
            "a block that is not there"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_bytes_panic_the_reader(mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
                                     kind in 199u8..206, words in 0u8..30) {
            let _ = read(&bytes, 1);
            if bytes.len() >= 4 {
                bytes[0] = 0x80 | (bytes[0] & 31);
                bytes[1] = kind;
                bytes[2] = 0;
                bytes[3] = words;
                let _ = read(&bytes, 1);
            }
        }
    }
}
