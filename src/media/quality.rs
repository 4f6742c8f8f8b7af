//! What a leg receives, counted: loss and jitter as RFC 3550 appendix A has them, and an E-model
//! score (ITU-T G.107 with G.113 appendix I's values for G.711).

use super::frame::{RATE_HZ, samples_in};
use super::packet::RtpHeader;
use std::time::Duration;

/// RFC 3550 A.1: a jump further than this starts a new count.
const DROPOUT_MAX: i64 = 3_000;
const MISORDER_MAX: i64 = 100;

/// One received stream.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    stream: Option<Stream>,
    received: u64,
    /// Loss of streams that have ended.
    lost_before: u64,
    interval: Interval,
    jitter_samples: f64,
}

#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    first: i64,
    /// Extended by the count of wraps.
    highest: i64,
    received: u64,
    transit: i64,
    previous_timestamp: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Interval {
    expected: u64,
    received: u64,
}

impl Reception {
    /// Counts a packet that arrived `at`.
    pub fn packet(&mut self, at: Duration, header: &RtpHeader) {
        self.received += 1;
        let arrival = samples_in(at);
        let known = self
            .stream
            .as_mut()
            .filter(|stream| stream.ssrc == header.ssrc);
        let Some(stream) = known.filter(|stream| stream.belongs(header.sequence)) else {
            self.begin(arrival, header);
            return;
        };
        stream.received += 1;
        stream.highest = stream.highest.max(stream.extend(header.sequence));
        // RFC 3550 A.8: in timestamp units, and modulo 2^32 like the timestamps.
        let transit = i64::from((arrival as u32).wrapping_sub(header.timestamp));
        let difference = i64::from((transit as u32).wrapping_sub(stream.transit as u32) as i32);
        stream.transit = transit;
        // Packets of one talk spurt only: an event repeats its timestamp.
        if header.timestamp != stream.previous_timestamp {
            self.jitter_samples += (difference.abs() as f64 - self.jitter_samples) / 16.0;
        }
        stream.previous_timestamp = header.timestamp;
    }

    fn begin(&mut self, arrival: i64, header: &RtpHeader) {
        self.lost_before = self.lost();
        let sequence = i64::from(header.sequence);
        self.stream = Some(Stream {
            ssrc: header.ssrc,
            first: sequence,
            highest: sequence,
            received: 1,
            transit: i64::from((arrival as u32).wrapping_sub(header.timestamp)),
            previous_timestamp: header.timestamp,
        });
    }

    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Expected and not come; duplicates never make it negative.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let now = self
            .stream
            .as_ref()
            .map_or(0, |s| s.expected().saturating_sub(s.received));
        self.lost_before + now
    }

    #[must_use]
    pub fn jitter_samples(&self) -> u32 {
        self.jitter_samples as u32
    }

    #[must_use]
    pub fn jitter_ms(&self) -> f32 {
        (self.jitter_samples * 1_000.0 / f64::from(RATE_HZ)) as f32
    }

    /// The SSRC and the extended highest sequence number for a receiver report.
    #[must_use]
    pub fn stream(&self) -> Option<(u32, u32)> {
        self.stream
            .as_ref()
            .map(|stream| (stream.ssrc, stream.highest as u32))
    }

    /// The part lost since the last call, 0 to 1.
    pub fn lost_fraction_since(&mut self) -> f32 {
        let now = Interval {
            expected: self.received + self.lost(),
            received: self.received,
        };
        let then = std::mem::replace(&mut self.interval, now);
        let expected = now.expected.saturating_sub(then.expected);
        let received = now.received.saturating_sub(then.received);
        if expected == 0 {
            return 0.0;
        }
        expected.saturating_sub(received) as f32 / expected as f32
    }
}

impl Stream {
    fn expected(&self) -> u64 {
        (self.highest - self.first + 1).max(0) as u64
    }

    /// The sequence number nearest to the highest one, with its wraps.
    fn extend(&self, sequence: u16) -> i64 {
        self.highest + i64::from(sequence.wrapping_sub(self.highest as u16) as i16)
    }

    fn belongs(&self, sequence: u16) -> bool {
        (-MISORDER_MAX..DROPOUT_MAX).contains(&(self.extend(sequence) - self.highest))
    }
}

/// The E-model's mean opinion score for G.711 with the given loss (0 to 1) and mouth-to-ear delay.
#[must_use]
pub fn mos(lost_fraction: f32, delay_ms: f32) -> f32 {
    // G.107 (simplified by Cole & Rosenbluth): the delay bites beyond 177.3 ms.
    let late = (delay_ms - 177.3).max(0.0);
    let delay_impairment = 0.024 * delay_ms + 0.11 * late;
    // G.113 appendix I, G.711 with concealment: Ie 0, Bpl 25.1.
    let loss_percent = lost_fraction.clamp(0.0, 1.0) * 100.0;
    let loss_impairment = 95.0 * loss_percent / (loss_percent + 25.1);
    let rating = (93.2 - delay_impairment - loss_impairment).clamp(0.0, 100.0);
    1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7.0e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            payload_type: 0,
            marker: false,
            sequence,
            timestamp,
            ssrc: 7,
        }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn loss_is_counted_across_the_wrap() {
        let mut reception = Reception::default();
        for index in 0..100_u16 {
            if index % 10 != 5 {
                let sequence = index.wrapping_add(65_500);
                reception.packet(
                    at(u64::from(index) * 20),
                    &header(sequence, u32::from(index) * 160),
                );
            }
        }
        assert_eq!((reception.received(), reception.lost()), (90, 10));
        assert!((reception.lost_fraction_since() - 0.1).abs() < 0.001);
        assert!(reception.lost_fraction_since().abs() < f32::EPSILON);
        assert_eq!(reception.stream(), Some((7, 65_536 + 63)));
    }

    #[test]
    fn reordered_and_doubled_packets_are_not_lost() {
        let mut reception = Reception::default();
        for sequence in [1_u16, 3, 2, 4, 4, 5] {
            reception.packet(at(0), &header(sequence, u32::from(sequence) * 160));
        }
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn a_new_source_keeps_the_old_ones_loss() {
        let mut reception = Reception::default();
        reception.packet(at(0), &header(1, 160));
        reception.packet(at(40), &header(3, 480));
        reception.packet(
            at(60),
            &RtpHeader {
                ssrc: 8,
                ..header(40_000, 9)
            },
        );
        assert_eq!((reception.received(), reception.lost()), (3, 1));
    }

    #[test]
    fn jitter_settles_at_the_mean_deviation() {
        let mut even = Reception::default();
        let mut uneven = Reception::default();
        for index in 0..500_u16 {
            let time = u64::from(index) * 20;
            let wrapping = u32::from(index)
                .wrapping_mul(160)
                .wrapping_add(u32::MAX - 8_000);
            even.packet(at(time), &header(index, wrapping));
            uneven.packet(
                at(time + u64::from(index % 2) * 10),
                &header(index, wrapping),
            );
        }
        assert!(even.jitter_ms() < 0.1, "{}", even.jitter_ms());
        assert!(
            (uneven.jitter_ms() - 10.0).abs() < 0.5,
            "{}",
            uneven.jitter_ms()
        );
    }

    #[test]
    fn a_clean_line_scores_high_and_loss_brings_it_down() {
        assert!(mos(0.0, 20.0) > 4.3);
        assert!(mos(0.05, 20.0) < mos(0.01, 20.0));
        assert!(mos(0.3, 300.0) < 2.5);
        assert!((mos(1.0, 5_000.0) - 1.0).abs() < 0.01);
    }
}
