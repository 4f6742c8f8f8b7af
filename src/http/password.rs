//! Passwords as argon2id hashes. A wrong name costs the same time as a wrong password.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use std::sync::OnceLock;

/// Longer ones are refused before hashing.
pub(super) const PASSWORD_BYTES_MAX: usize = 1_024;

/// The hash for `password_hash` in the configuration.
#[must_use]
pub fn hash(password: &str) -> String {
    let hashed = Argon2::default().hash_password(password.as_bytes());
    // The default parameters are valid and the salt is the library's own.
    hashed
        .expect("argon2 with its default parameters")
        .to_string()
}

/// Whether `password` is right. Blocks for some 50 ms, with a hash or without.
pub(super) fn verify(stored: Option<&str>, password: &str) -> bool {
    let stand_in = stand_in();
    let parsed = PasswordHash::new(stored.unwrap_or(stand_in));
    let matches = parsed.is_ok_and(|parsed| {
        Argon2::default()
            .verify_password(password.as_bytes(), &parsed)
            .is_ok()
    });
    matches && stored.is_some()
}

/// What unknown names are compared with.
fn stand_in() -> &'static str {
    static STAND_IN: OnceLock<String> = OnceLock::new();
    STAND_IN.get_or_init(|| hash(&super::sessions::new_token()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_a_known_name_passes() {
        let hashed = hash("correct horse");
        assert!(hashed.starts_with("$argon2id$"), "{hashed}");
        assert!(verify(Some(&hashed), "correct horse"));
        assert!(!verify(Some(&hashed), "correct mule"));
        assert!(!verify(None, "correct horse"));
        assert!(!verify(Some("not a hash"), "not a hash"));
        assert_ne!(hashed, hash("correct horse"), "two hashes share a salt");
    }
}
