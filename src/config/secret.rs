//! What must not be shown: passwords, tokens, hashes.

use serde::{Serialize, Serializer};
use std::cell::Cell;
use std::fmt;

/// Something that is never printed, unless a person on a terminal asks for it by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

thread_local! {
    static CLEAR: Cell<bool> = const { Cell::new(false) };
}

/// Secrets that are written out inside `write` are written as they are.
pub(super) fn in_the_clear<T>(write: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            CLEAR.set(self.0);
        }
    }
    let _back = Back(CLEAR.replace(true));
    write()
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = if CLEAR.get() { &self.0 } else { "…" };
        serializer.serialize_str(shown)
    }
}
