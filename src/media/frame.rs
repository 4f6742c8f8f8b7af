//! Units of telephone audio: 8 kHz, 20 ms a frame.

/// Samples a second, and the RTP clock of G.711 (RFC 3551 section 4.5.14).
pub const RATE_HZ: u32 = 8_000;

/// What one packet carries when nobody asked for anything else.
pub const FRAME_MS: u64 = 20;
pub const FRAME_SAMPLES: usize = 160;

/// Whole samples that pass in `time`.
#[must_use]
pub fn samples_in(time: std::time::Duration) -> i64 {
    // Below 2^63 for 3.6 million years of call.
    (time.as_micros() as i128 * i128::from(RATE_HZ) / 1_000_000) as i64
}

/// Whole milliseconds that `samples` take.
#[must_use]
pub fn ms_of(samples: u64) -> u64 {
    samples * 1_000 / u64::from(RATE_HZ)
}
