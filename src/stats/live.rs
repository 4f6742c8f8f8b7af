//! Running totals since the process started. Rates are defined once, here.

use std::collections::BTreeMap;

use crate::call::progress::Progress;
use crate::call::result::CallResult;

/// What ended calls add up to. Counts of calls, and seconds of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub ended: u64,
    /// Alerted or answered: the calls a customer may have noticed.
    pub noticed: u64,
    pub answered: u64,
    pub talk_ms: u64,
    pub hold_ms: u64,
    pub results: BTreeMap<CallResult, u64>,
}

impl Totals {
    pub fn add(&mut self, call: &Progress, result: CallResult) {
        self.ended += 1;
        *self.results.entry(result).or_default() += 1;
        if call.has_alerted() || call.answered_at().is_some() {
            self.noticed += 1;
        }
        if let (Some(answered), Some(ended)) = (call.answered_at(), call.ended_at()) {
            self.answered += 1;
            self.hold_ms += call.hold_ms();
            self.talk_ms += ended.ms_since(answered).saturating_sub(call.hold_ms());
        }
    }

    /// Answered calls among those that alerted or were answered; `None` before the first.
    pub fn connect_rate(&self) -> Option<f64> {
        (self.noticed > 0).then(|| self.answered as f64 / self.noticed as f64)
    }

    /// Average talk time of an answered call, in milliseconds.
    pub fn talk_ms_mean(&self) -> Option<u64> {
        self.talk_ms.checked_div(self.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::UtcMs;

    #[test]
    fn a_busy_tone_without_ringing_is_no_call_to_connect() {
        let mut totals = Totals::default();
        let mut busy = Progress::new(UtcMs(0));
        busy.end(UtcMs(500));
        totals.add(&busy, CallResult::Busy);
        assert_eq!(totals.connect_rate(), None);

        let mut talked = Progress::new(UtcMs(0));
        talked.ring(UtcMs(1_000));
        talked.answer(UtcMs(2_000));
        talked.hold(true, UtcMs(10_000));
        talked.hold(false, UtcMs(14_000));
        talked.end(UtcMs(22_000));
        totals.add(&talked, CallResult::Connected);
        let mut unheard = Progress::new(UtcMs(0));
        unheard.ring(UtcMs(1_000));
        unheard.end(UtcMs(31_000));
        totals.add(&unheard, CallResult::NoAnswer);

        assert_eq!(totals.connect_rate(), Some(0.5));
        assert_eq!(totals.talk_ms_mean(), Some(16_000));
        assert_eq!((totals.ended, totals.hold_ms), (3, 4_000));
        assert_eq!(totals.results[&CallResult::Busy], 1);
    }
}
