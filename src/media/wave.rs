//! A recording's timeline: where each packet of two streams belongs among the samples.
//!
//! A stream's RTP timestamps are mapped to the recording's one clock by the running minimum of
//! (arrival - timestamp), since the network only ever delays. A sender's clock that is off by
//! 100 ppm moves that minimum by 0.8 samples a second; the stream follows in small steps, in
//! silence if it can. Positions are samples at 8 kHz since the recording began.

use super::frame::{RATE_HZ, samples_in};
use super::g711::Law;
use super::packet::RtpHeader;
use std::time::Duration;

/// A packet later than this beyond the fastest ones has lost its place. Wider than the network
/// needs, since a busy machine is late as well; together with the recorder's flush every 500 ms it
/// must stay below the second that a kill may cost.
pub const REORDER_MS: u64 = 300;

const REORDER_SAMPLES: i64 = (REORDER_MS * RATE_HZ as u64 / 1_000) as i64;
/// A whole second later than this is not jitter: the stream has moved.
const MOVED_SAMPLES: i64 = 800;
/// What is not yet given out: the reorder window, the longest packet, and room to be early.
const RING_SAMPLES: usize = 16_384;
/// A step smaller than this is not worth taking.
const STEP_MIN: i64 = 8;
/// A step larger than this does not wait for silence: 10 ms.
const STEP_WAITS_MAX: i64 = 80;
/// Below about -42 dBFS a dropped or inserted sample is not heard.
const QUIET_PEAK: i16 = 256;
/// Timestamps further off than this are another stream's.
const JUMP_SAMPLES: i64 = 2 * RATE_HZ as i64;
const BUCKETS: usize = 8;
const BUCKET_SAMPLES: i64 = RATE_HZ as i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The agent.
    Left,
    /// The customer.
    Right,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    Kept,
    /// Its place has been given out already, or lies before the recording.
    Late,
    /// Further ahead than anything can be that arrived in time.
    Early,
}

/// Two tracks and how much of them has been given out.
#[derive(Debug)]
pub struct Timeline {
    left: Track,
    right: Track,
    given: i64,
}

#[derive(Debug)]
struct Track {
    ring: Box<[i16]>,
    clock: Option<Clock>,
}

/// One stream's timestamps on the recording's timeline.
#[derive(Debug)]
struct Clock {
    ssrc: u32,
    newest: u32,
    /// `newest` with its wraps.
    unwrapped: i64,
    /// Timestamp plus this is the position.
    shift: i64,
    /// The same for packets that come in order but too late for `shift`: the sender may have
    /// stopped its clock in a pause, and until the minima know, its voice is not to be lost.
    late_shift: Option<i64>,
    /// The least (arrival - timestamp) of each of the last seconds, oldest first.
    minima: [Option<i64>; BUCKETS],
    bucket: i64,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline {
            left: Track::new(),
            right: Track::new(),
            given: 0,
        }
    }
}

impl Timeline {
    /// Lays a packet that arrived `at` (since the recording began) where it belongs.
    pub fn place(
        &mut self,
        channel: Channel,
        at: Duration,
        header: &RtpHeader,
        law: Law,
        payload: &[u8],
    ) -> Placed {
        let given = self.given;
        let track = match channel {
            Channel::Left => &mut self.left,
            Channel::Right => &mut self.right,
        };
        let quiet = payload
            .iter()
            .all(|byte| law.decode(*byte).saturating_abs() < QUIET_PEAK);
        let gone = given - payload.len() as i64;
        let position = track.position(samples_in(at), header, quiet, gone);
        let end = position + payload.len() as i64;
        if end <= given {
            return Placed::Late;
        }
        if end > given + RING_SAMPLES as i64 {
            return Placed::Early;
        }
        for (offset, byte) in payload.iter().enumerate() {
            let place = position + offset as i64;
            if place >= given {
                track.ring[index(place)] = law.decode(*byte);
            }
        }
        Placed::Kept
    }

    /// Gives out, left and right in turn, what no packet can change any more.
    pub fn advance(&mut self, at: Duration, out: &mut Vec<i16>) {
        self.give(samples_in(at) - REORDER_SAMPLES, out);
    }

    /// Gives out everything up to `at`, the recording's end.
    pub fn finish(&mut self, at: Duration, out: &mut Vec<i16>) {
        self.give(samples_in(at), out);
    }

    /// Sample pairs given out so far.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.given as u64 // grows from 0
    }

    fn give(&mut self, until: i64, out: &mut Vec<i16>) {
        while self.given < until {
            let index = index(self.given);
            out.push(std::mem::take(&mut self.left.ring[index]));
            out.push(std::mem::take(&mut self.right.ring[index]));
            self.given += 1;
        }
    }
}

/// A position's place in the ring. Positions asked for are never negative.
fn index(position: i64) -> usize {
    position as usize % RING_SAMPLES
}

impl Track {
    fn new() -> Track {
        Track {
            ring: vec![0; RING_SAMPLES].into(),
            clock: None,
        }
    }

    fn position(&mut self, arrival: i64, header: &RtpHeader, quiet: bool, gone: i64) -> i64 {
        let known = self
            .clock
            .as_mut()
            .filter(|clock| clock.ssrc == header.ssrc);
        if let Some(clock) = known
            && let Some(position) = clock.position(arrival, header.timestamp, quiet, gone)
        {
            return position;
        }
        self.clock = Some(Clock::new(arrival, header));
        arrival
    }
}

impl Clock {
    fn new(arrival: i64, header: &RtpHeader) -> Clock {
        let unwrapped = i64::from(header.timestamp);
        let mut minima = [None; BUCKETS];
        minima[BUCKETS - 1] = Some(arrival - unwrapped);
        Clock {
            ssrc: header.ssrc,
            newest: header.timestamp,
            unwrapped,
            shift: arrival - unwrapped,
            late_shift: None,
            minima,
            bucket: arrival.div_euclid(BUCKET_SAMPLES),
        }
    }

    /// `None`: the timestamps have jumped, this is another stream. A packet at `gone` or before
    /// would be wholly in what has been given out.
    fn position(&mut self, arrival: i64, timestamp: u32, quiet: bool, gone: i64) -> Option<i64> {
        let step = i64::from(timestamp.wrapping_sub(self.newest) as i32);
        let unwrapped = self.unwrapped + step;
        let difference = arrival - unwrapped;
        if (difference - self.shift).abs() > JUMP_SAMPLES {
            return None;
        }
        if step > 0 {
            self.newest = timestamp;
            self.unwrapped = unwrapped;
        }
        self.observe(arrival, difference);
        self.follow(quiet);
        if step <= 0 {
            return Some(unwrapped + self.shift);
        }
        self.late_shift = (unwrapped + self.shift <= gone).then(|| {
            // After a stall of the network the packets come all at once, each less late.
            let before = self
                .late_shift
                .filter(|late| late - difference <= STEP_WAITS_MAX);
            before.unwrap_or(difference)
        });
        Some(unwrapped + self.late_shift.unwrap_or(self.shift))
    }

    fn observe(&mut self, arrival: i64, difference: i64) {
        let bucket = arrival.div_euclid(BUCKET_SAMPLES);
        while self.bucket < bucket {
            self.forget_if_stalled();
            self.minima.rotate_left(1);
            self.minima[BUCKETS - 1] = None;
            // After a long pause nothing is left of before.
            self.bucket = (self.bucket + 1).max(bucket - BUCKETS as i64);
        }
        let newest = &mut self.minima[BUCKETS - 1];
        *newest = Some(newest.map_or(difference, |least| least.min(difference)));
    }

    /// A sender that stops its timestamps in a pause, or a path that became longer: when a whole
    /// second came late beyond the window, what was before does not count.
    fn forget_if_stalled(&mut self) {
        let least = self.minima.iter().flatten().min();
        if let (Some(newest), Some(least)) = (self.minima[BUCKETS - 1], least)
            && newest > least + MOVED_SAMPLES
        {
            self.minima[..BUCKETS - 1].fill(None);
        }
    }

    fn follow(&mut self, quiet: bool) {
        let Some(least) = self.minima.iter().flatten().min() else {
            return;
        };
        let step = (least - self.shift).abs();
        if step > STEP_WAITS_MAX || (quiet && step >= STEP_MIN) {
            self.shift = *least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            payload_type: 8,
            marker: false,
            sequence,
            timestamp,
            ssrc: 1,
        }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A packet whose every sample tells which one it is.
    fn packet(number: u32) -> [u8; 160] {
        [Law::A.encode(1_000 + number as i16 * 1_000); 160]
    }

    fn left(out: &[i16]) -> Vec<i16> {
        out.iter().step_by(2).copied().collect()
    }

    #[test]
    fn packets_within_the_window_are_put_in_order() {
        let mut timeline = Timeline::default();
        let mut out = vec![];
        for (arrival_ms, number) in [(0, 0), (40, 2), (60, 3), (80, 4), (95, 1), (100, 5)] {
            let header = header(number as u16, 1_600_u32.wrapping_add(number * 160));
            let placed = timeline.place(
                Channel::Left,
                at(arrival_ms),
                &header,
                Law::A,
                &packet(number),
            );
            assert_eq!(placed, Placed::Kept, "{number}");
            timeline.advance(at(arrival_ms), &mut out);
        }
        timeline.finish(at(120), &mut out);
        let left = left(&out);
        assert_eq!(left.len(), 960);
        for number in 0..6 {
            let expected = Law::A.decode(packet(number)[0]);
            assert!(
                left[number as usize * 160..][..160]
                    .iter()
                    .all(|s| *s == expected),
                "{number}"
            );
        }
        assert!(
            out.iter().skip(1).step_by(2).all(|sample| *sample == 0),
            "the other side is mute"
        );
    }

    #[test]
    fn a_packet_whose_place_is_gone_is_dropped() {
        let mut timeline = Timeline::default();
        let mut out = vec![];
        for number in [0, 15] {
            let header = header(number, u32::from(number) * 160);
            let now = at(u64::from(number) * 20);
            timeline.place(Channel::Right, now, &header, Law::A, &packet(0));
        }
        timeline.advance(at(350), &mut out);
        assert_eq!(timeline.given(), 400);
        let late = timeline.place(Channel::Right, at(350), &header(2, 320), Law::A, &packet(2));
        assert_eq!(late, Placed::Kept, "its end lies inside the window still");
        timeline.advance(at(400), &mut out);
        let late = timeline.place(Channel::Right, at(400), &header(4, 640), Law::A, &packet(2));
        assert_eq!(late, Placed::Late);
    }

    #[test]
    fn loss_and_pauses_are_silence_of_their_own_length() {
        let mut timeline = Timeline::default();
        let mut out = vec![];
        timeline.place(
            Channel::Left,
            at(0),
            &header(0, u32::MAX - 79),
            Law::A,
            &packet(0),
        );
        timeline.place(
            Channel::Left,
            at(500),
            &header(1, 3_920),
            Law::A,
            &packet(1),
        );
        timeline.finish(at(600), &mut out);
        let left = left(&out);
        assert!(left[160..4_000].iter().all(|sample| *sample == 0));
        assert!(left[4_000..4_160].iter().all(|sample| *sample > 1_500));
    }

    #[test]
    fn a_new_stream_goes_on_at_its_own_arrival() {
        let mut timeline = Timeline::default();
        let mut out = vec![];
        timeline.place(Channel::Left, at(0), &header(0, 7), Law::A, &packet(0));
        let other = RtpHeader {
            ssrc: 2,
            ..header(9, 4_000_000)
        };
        timeline.place(Channel::Left, at(100), &other, Law::A, &packet(3));
        timeline.finish(at(140), &mut out);
        let left = left(&out);
        assert!(left[160..800].iter().all(|sample| *sample == 0));
        assert!(left[800..960].iter().all(|sample| *sample > 3_000));
    }

    #[test]
    fn a_sender_that_stops_its_clock_in_a_pause_loses_nothing() {
        let mut timeline = Timeline::default();
        let mut out = vec![];
        for number in 0..300_u32 {
            let pause_ms = if number < 100 { 0 } else { 700 };
            let now = at(u64::from(number) * 20 + pause_ms);
            timeline.advance(now, &mut out);
            let header = header(number as u16, number * 160);
            let placed = timeline.place(Channel::Left, now, &header, Law::A, &packet(1));
            assert_eq!(placed, Placed::Kept, "{number}");
        }
        timeline.finish(at(300 * 20 + 700), &mut out);
        let silent: Vec<usize> = (0..)
            .zip(left(&out))
            .filter(|(_, s)| *s == 0)
            .map(|(i, _)| i)
            .collect();
        assert_eq!(
            (silent.len(), silent[0]),
            (5_600, 16_000),
            "700 ms after two seconds"
        );
    }

    #[test]
    fn after_a_stall_of_the_network_the_places_are_the_old_ones() {
        let mut timeline = Timeline::default();
        let mut out = vec![];
        for number in 0..200_u32 {
            // From 2.0 to 2.6 s nothing arrives; then everything at once.
            let sent_ms = u64::from(number) * 20;
            let now = at(if (2_000..2_600).contains(&sent_ms) {
                2_600
            } else {
                sent_ms
            });
            timeline.advance(now, &mut out);
            let spoken = if number % 2 == 0 {
                packet(1)
            } else {
                packet(3)
            };
            let header = header(number as u16, number * 160);
            timeline.place(Channel::Left, now, &header, Law::A, &spoken);
        }
        timeline.finish(at(4_000), &mut out);
        let left = left(&out);
        // Half of the stall lies beyond the window; all else is where it was spoken.
        for number in (0..100).chain(131..200) {
            let expected = Law::A.decode(packet(if number % 2 == 0 { 1 } else { 3 })[0]);
            assert!(
                left[number * 160..][..160].iter().all(|s| *s == expected),
                "{number}"
            );
        }
    }

    /// The mapping itself, for an hour: senders 100 ppm fast and slow, jitter up to 30 ms, and
    /// speech that is never quiet.
    #[test]
    fn an_hour_with_wrong_clocks_and_jitter_stays_within_20_ms() {
        for ppm in [-100.0, 100.0] {
            let mut clock: Option<Clock> = None;
            let mut random = 12_345_u64;
            let mut worst = 0;
            for index in 0..180_000_i64 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let jitter = ((random >> 33) % 240) as i64;
                // The sender's 160 samples take this much of our time.
                let spoken = (index as f64 * 160.0 * (1.0 - ppm / 1.0e6)) as i64;
                let header = header(
                    index as u16,
                    (index as u32).wrapping_mul(160).wrapping_sub(9),
                );
                let position = match clock.as_mut() {
                    None => {
                        clock = Some(Clock::new(spoken + jitter, &header));
                        spoken + jitter
                    }
                    Some(clock) => clock
                        .position(spoken + jitter, header.timestamp, false, i64::MIN)
                        .expect("one stream"),
                };
                if index > 100 {
                    worst = worst.max((position - spoken).abs());
                }
            }
            assert!(worst <= 160, "{ppm} ppm: {worst} samples");
        }
    }

    #[test]
    fn small_drift_waits_for_quiet() {
        let mut clock = Clock::new(0, &header(0, 0));
        let position = |clock: &mut Clock, frame: i64, quiet| {
            clock
                .position(frame * 160 - 20, frame as u32 * 160, quiet, i64::MIN)
                .map(|p| p - frame * 160)
        };
        assert_eq!(position(&mut clock, 1, false), Some(0));
        assert_eq!(position(&mut clock, 2, true), Some(-20));
    }
}
