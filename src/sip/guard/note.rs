//! What the security log says: one line an event, in a form that fail2ban and people rely on.
//! docs/security-log.md describes it; `from` always stands before anything a sender can choose.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::sip::event::Transport;

/// Characters of a user name that are written.
const USER_CHARS_MAX: usize = 64;

/// Something a guard of the house should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityNote {
    pub event: SecurityEvent,
    pub from: SocketAddr,
    pub transport: Transport,
    /// The account that was claimed, never a number that was called.
    pub user: Option<String>,
    pub reason: &'static str,
    /// How long a lock lasts.
    pub seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityEvent {
    /// A challenge was answered wrongly.
    AuthFailed,
    /// An address is no longer listened to.
    AddressLocked,
    /// A user can no longer sign in, except from where he did before.
    UserLocked,
    /// A known scanner was dropped.
    Scanner,
    /// A stranger without credentials was refused.
    Refused,
    /// A user tried to register another.
    Theft,
    /// More messages than a source may send.
    Flood,
    /// A call outside was refused by `[fraud]`.
    Fraud,
    /// New work was turned away with 503.
    Overload,
}

impl SecurityEvent {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SecurityEvent::AuthFailed => "auth_failed",
            SecurityEvent::AddressLocked => "address_locked",
            SecurityEvent::UserLocked => "user_locked",
            SecurityEvent::Scanner => "scanner",
            SecurityEvent::Refused => "refused",
            SecurityEvent::Theft => "theft",
            SecurityEvent::Flood => "flood",
            SecurityEvent::Fraud => "fraud",
            SecurityEvent::Overload => "overload",
        }
    }
}

impl SecurityNote {
    /// `event=auth_failed from=203.0.113.9 port=5060 transport=udp user=101 reason=wrong_password`.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!(
            "event={} from={} port={} transport={}",
            self.event.name(),
            self.from.ip().to_canonical(),
            self.from.port(),
            self.transport.name().to_ascii_lowercase(),
        );
        if let Some(user) = &self.user {
            let user: String = user.chars().take(USER_CHARS_MAX).map(written).collect();
            let _ = write!(line, " user={user}");
        }
        let _ = write!(line, " reason={}", self.reason);
        if let Some(seconds) = self.seconds {
            let _ = write!(line, " seconds={seconds}");
        }
        line
    }
}

/// A name cannot end its field, its line, or look like another field.
fn written(c: char) -> char {
    if c.is_ascii_alphanumeric() || "._-+@".contains(c) {
        c
    } else {
        '?'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(user: Option<&str>) -> SecurityNote {
        SecurityNote {
            event: SecurityEvent::AuthFailed,
            from: "203.0.113.9:5060".parse().unwrap(),
            transport: Transport::Udp,
            user: user.map(str::to_owned),
            reason: "wrong_password",
            seconds: None,
        }
    }

    #[test]
    fn a_line_is_written_as_documented() {
        let start = "event=auth_failed from=203.0.113.9 port=5060 transport=udp ";
        assert_eq!(
            note(Some("101")).line(),
            format!("{start}user=101 reason=wrong_password")
        );
        assert_eq!(note(None).line(), format!("{start}reason=wrong_password"));
        let locked = SecurityNote {
            event: SecurityEvent::AddressLocked,
            from: "[::ffff:203.0.113.9]:1".parse().unwrap(),
            seconds: Some(60),
            ..note(None)
        };
        assert_eq!(
            locked.line(),
            "event=address_locked from=203.0.113.9 port=1 transport=udp \
             reason=wrong_password seconds=60"
        );
    }

    #[test]
    fn a_user_name_cannot_forge_a_line_or_a_field() {
        let line = note(Some("x\r\nsecurity: event=flood from=192.0.2.1 \u{2028}é")).line();
        assert_eq!(line.matches("from=").count(), 1, "{line}");
        assert!(!line.contains(['\r', '\n', '\u{2028}']), "{line}");
        assert_eq!(line.split(' ').count(), 6, "{line}");
        let long = note(Some(&"a".repeat(10_000))).line();
        assert!(long.len() < 200, "{}", long.len());
    }
}
