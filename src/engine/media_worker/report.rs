//! Every few seconds: what a leg has seen, to the house; RTCP to the far side.

use super::command::{MediaFact, Quality};
use super::leg::{Leg, Side};
use super::plane::{Moment, Plane};
use super::trunk::Trunk;
use crate::media::frame::RATE_HZ;
use crate::media::quality::mos;
use crate::media::rtcp::{self, Block, Ntp, Report, Sender};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Names no person and no machine (RFC 7022).
const CNAME: &str = "foredial";
/// Two jitter buffers' worth and the phones themselves, for the E-model's delay.
const DEVICES_MS: f32 = 40.0;

impl Plane {
    /// If it is time: the leg's quality, whether it has stalled, and an RTCP report.
    pub fn report(&self, now: Moment, leg: &mut Leg) {
        if now.at < leg.counts.report_due {
            return;
        }
        leg.counts.report_due = now.at + self.config.report_every;
        self.tell(MediaFact::Quality {
            leg: leg.id,
            quality: quality(leg),
        });
        let Side::Trunk(trunk) = &leg.side else {
            return;
        };
        let silent = now.at.saturating_sub(leg.counts.heard);
        if trunk.receives() && silent >= self.config.stall_after {
            let silent_ms = silent.as_millis() as u64; // of a call, not of an aeon
            self.tell(MediaFact::Stalled {
                leg: leg.id,
                silent_ms,
            });
        }
        self.send_report(now, leg, false);
    }

    /// The last report, with a BYE for the stream (RFC 3550 section 6.6): who has sent nothing
    /// must not send one.
    pub fn report_end(&self, now: Moment, leg: &mut Leg) {
        self.tell(MediaFact::Quality {
            leg: leg.id,
            quality: quality(leg),
        });
        if leg.counts.packets_out > 0 || leg.counts.reports_out > 0 {
            self.send_report(now, leg, true);
        }
    }

    fn send_report(&self, now: Moment, leg: &mut Leg, bye: bool) {
        let block = block(now, leg);
        let sender = (leg.counts.packets_out > 0).then(|| Sender {
            at: ntp_now(),
            timestamp: leg.clock().on_wire(leg.out.timestamp_now(now.at)),
            packets: leg.counts.packets_out as u32, // both wrap, RFC 3550 section 6.4.1
            octets: leg.counts.octets_out as u32,
        });
        let report = Report {
            ssrc: leg.out.ssrc(),
            sender,
            block,
            bye,
        };
        let Side::Trunk(trunk) = &mut leg.side else {
            return;
        };
        let Some(to) = trunk.rtcp_target() else {
            return;
        };
        // A report that the kernel does not take is made up for by the next.
        if trunk.send_report(&rtcp::write(&report, CNAME), to) {
            leg.counts.reports_out += 1;
        }
    }
}

/// Takes in what came on the RTCP port, or muxed on the RTP port (RFC 5761).
pub fn take_report(now: Moment, leg: &mut Leg, from: SocketAddr, datagram: &[u8]) {
    let ours = leg.out.ssrc();
    let report = match &mut leg.side {
        Side::Trunk(trunk) if trunk.believes_report(from) => match trunk.srtp() {
            Some(srtp) => srtp
                .unprotect_rtcp(datagram)
                .ok()
                .and_then(|plain| rtcp::read(&plain, ours)),
            None => rtcp::read(datagram, ours),
        },
        _ => None,
    };
    let Some(report) = report else {
        leg.counts.refused += 1;
        return;
    };
    leg.counts.heard = now.at;
    if let Some(sender) = report.sender {
        leg.counts.sender_report = Some((sender.at, now.at));
    }
    if let Some(block) = report.block {
        leg.counts.round_trip = block.round_trip(ntp_now()).or(leg.counts.round_trip);
        leg.counts.lost_far = Some(u64::try_from(block.lost).unwrap_or(0));
    }
}

/// Reads the RTCP port to its end, or to the budget's; whether it is empty.
pub fn read_reports(now: Moment, leg: &mut Leg, buffer: &mut [u8], datagrams_max: usize) -> bool {
    for _ in 0..datagrams_max {
        let Side::Trunk(trunk) = &leg.side else {
            return true;
        };
        let Trunk { sockets, .. } = &**trunk;
        let Some((len, from)) = sockets.rtcp.receive(buffer) else {
            return true;
        };
        take_report(now, leg, from, &buffer[..len]);
    }
    false
}

fn block(now: Moment, leg: &mut Leg) -> Option<Block> {
    let clock = leg.clock();
    let counts = &mut leg.counts;
    let (ssrc, highest_sequence) = counts.reception.stream()?;
    let (lost, received) = (counts.reception.lost(), counts.reception.received());
    let expected = lost + received;
    let (expected_before, received_before) =
        std::mem::replace(&mut counts.reported, (expected, received));
    let interval = expected.saturating_sub(expected_before);
    let gone = interval.saturating_sub(received.saturating_sub(received_before));
    let lost_fraction = gone
        .min(255)
        .saturating_mul(256)
        .checked_div(interval)
        .unwrap_or(0);
    let (last_report, since_last_report) = match counts.sender_report {
        Some((at, came)) => (at.middle(), rtcp::ticks(now.at.saturating_sub(came))),
        None => (0, 0),
    };
    Some(Block {
        ssrc,
        lost_fraction: lost_fraction.min(255) as u8,
        lost: i32::try_from(lost).unwrap_or(i32::MAX),
        highest_sequence,
        jitter: clock.on_wire(counts.reception.jitter_samples()),
        last_report,
        since_last_report,
    })
}

fn quality(leg: &mut Leg) -> Quality {
    let counts = &mut leg.counts;
    let jitter_ms = counts.reception.jitter_ms();
    let round_trip_ms = counts.round_trip.map(|trip| trip.as_secs_f32() * 1_000.0);
    let delay_ms = round_trip_ms.unwrap_or(0.0) / 2.0 + 2.0 * jitter_ms + DEVICES_MS;
    Quality {
        packets_in: counts.reception.received(),
        packets_out: counts.packets_out,
        octets_in: counts.octets_in,
        octets_out: counts.octets_out,
        lost: counts.reception.lost(),
        jitter_ms,
        round_trip_ms,
        lost_far: counts.lost_far,
        refused: counts.refused,
        mos: mos(counts.reception.lost_fraction_since(), delay_ms),
    }
}

fn ntp_now() -> Ntp {
    // A clock before 1970 is set wrong; the reports then say so.
    Ntp::from_unix(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO),
    )
}

const _: () = assert!(
    RATE_HZ == 8_000,
    "the jitter of a report is in units of this clock"
);
