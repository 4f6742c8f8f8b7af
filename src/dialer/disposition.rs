//! What an agent may say happened, and what follows from it.

use super::campaign::Label;
use super::lead::named;

/// What a disposition does to the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Done in this campaign.
    Final,
    /// Done in every campaign the contact is in.
    FinalAllCampaigns,
    /// The dialed number is never called again.
    DncNumber,
    /// No number of this contact is called again.
    DncContact,
    /// This number is done for this lead; the contact's others are not.
    NumberDone,
    Retry {
        after_ms: u64,
        /// Retries by this disposition on one lead.
        max: u32,
    },
    CallbackPersonal,
    CallbackAny,
    /// The number belongs to somebody else: it becomes `bad`.
    WrongNumber,
    /// Nobody said anything: stays in the agent's list, undialed.
    NoDisposition,
}

impl Action {
    /// The coarse word the pages use.
    pub fn name(self) -> &'static str {
        match self {
            Action::Final | Action::FinalAllCampaigns | Action::NumberDone => "final",
            Action::DncNumber | Action::DncContact => "dnc",
            Action::Retry { .. } => "retry",
            Action::CallbackPersonal | Action::CallbackAny => "callback",
            Action::WrongNumber => "wrong_number",
            Action::NoDisposition => "none",
        }
    }

    pub fn needs_callback_time(self) -> bool {
        matches!(self, Action::CallbackPersonal | Action::CallbackAny)
    }
}

named! {
    /// What a disposition tells the reports.
    Flag {
        Human = "human",
        RightParty = "right_party",
        Success = "success",
        Negative = "negative",
        Unworkable = "unworkable",
    }
}

/// One answer an agent may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    pub key: String,
    pub label: Label,
    pub action: Action,
    pub flags: Vec<Flag>,
    pub notes_chars_min: usize,
}

/// The key kept when an answered call's wrap-up ran out.
pub const NO_DISPOSITION: &str = "no_disposition";

/// A campaign's answers, in the order shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispositions(pub Vec<Disposition>);

/// Why an answer cannot be taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    Unknown,
    NotesTooShort { chars_min: usize },
    CallbackTimeMissing,
    CallbackTimePast,
}

impl Incomplete {
    pub fn rule(self) -> &'static str {
        match self {
            Incomplete::Unknown => "unknown_disposition",
            Incomplete::NotesTooShort { .. } => "notes_too_short",
            Incomplete::CallbackTimeMissing => "callback_time_missing",
            Incomplete::CallbackTimePast => "callback_time_past",
        }
    }
}

impl Dispositions {
    pub fn find(&self, key: &str) -> Option<&Disposition> {
        self.0.iter().find(|it| it.key == key)
    }

    /// The named answer, when everything it requires is there.
    pub fn check(
        &self,
        key: &str,
        notes: &str,
        callback_at: Option<crate::now::UtcMs>,
        now: crate::now::UtcMs,
    ) -> Result<&Disposition, Incomplete> {
        let found = self.find(key).ok_or(Incomplete::Unknown)?;
        if notes.trim().chars().count() < found.notes_chars_min {
            return Err(Incomplete::NotesTooShort {
                chars_min: found.notes_chars_min,
            });
        }
        if found.action.needs_callback_time() {
            match callback_at {
                None => return Err(Incomplete::CallbackTimeMissing),
                Some(at) if at <= now => return Err(Incomplete::CallbackTimePast),
                Some(_) => {}
            }
        }
        Ok(found)
    }
}

impl Default for Dispositions {
    fn default() -> Self {
        use Flag::{Human, Negative, RightParty, Success, Unworkable};
        let one = |key: &str, en: &str, zh: &str, action, flags: &[Flag]| Disposition {
            key: key.to_owned(),
            label: Label::new(en, zh),
            action,
            flags: flags.to_vec(),
            notes_chars_min: 0,
        };
        let retry = |minutes: u64, max| Action::Retry {
            after_ms: minutes * 60_000,
            max,
        };
        Dispositions(vec![
            one(
                "sale",
                "Sale",
                "成交",
                Action::Final,
                &[Human, RightParty, Success],
            ),
            one(
                "interested",
                "Interested",
                "有意向",
                retry(24 * 60, 3),
                &[Human, RightParty],
            ),
            one(
                "not_interested",
                "Not interested",
                "无意向",
                Action::Final,
                &[Human, RightParty, Negative],
            ),
            one(
                "callback",
                "Call back (me)",
                "我来回拨",
                Action::CallbackPersonal,
                &[Human, RightParty],
            ),
            one(
                "callback_any",
                "Call back (anyone)",
                "任意坐席回拨",
                Action::CallbackAny,
                &[Human],
            ),
            one("not_now", "Bad moment", "不方便", retry(120, 3), &[Human]),
            one(
                "machine",
                "Answering machine",
                "语音信箱",
                retry(240, 2),
                &[],
            ),
            one(
                "wrong_number",
                "Wrong number",
                "号码错误",
                Action::WrongNumber,
                &[Human, Unworkable],
            ),
            one(
                "number_done",
                "Drop this number",
                "停用此号码",
                Action::NumberDone,
                &[Unworkable],
            ),
            one(
                "dnc_number",
                "Do not call this number",
                "勿再拨打此号码",
                Action::DncNumber,
                &[Human, Negative],
            ),
            one(
                "dnc",
                "Do not call",
                "勿再联系",
                Action::DncContact,
                &[Human, Negative],
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::UtcMs;

    #[test]
    fn a_callback_needs_a_time_to_come() {
        let set = Dispositions::default();
        let check = |at| {
            set.check("callback", "", at, UtcMs(1_000))
                .map(|it| it.action)
        };
        assert_eq!(check(None), Err(Incomplete::CallbackTimeMissing));
        assert_eq!(check(Some(UtcMs(1_000))), Err(Incomplete::CallbackTimePast));
        assert_eq!(check(Some(UtcMs(1_001))), Ok(Action::CallbackPersonal));
    }

    #[test]
    fn notes_are_counted_in_characters_without_the_blanks_around() {
        let mut set = Dispositions::default();
        set.0[0].notes_chars_min = 3;
        assert!(set.check("sale", " 三个字 ", None, UtcMs(0)).is_ok());
        assert_eq!(
            set.check("sale", " ab ", None, UtcMs(0)),
            Err(Incomplete::NotesTooShort { chars_min: 3 })
        );
        assert_eq!(
            set.check("nonsense", "", None, UtcMs(0)),
            Err(Incomplete::Unknown)
        );
    }
}
