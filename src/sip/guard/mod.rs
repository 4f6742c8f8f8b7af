//! Defence before and around authentication: who may speak at all, how fast, who is locked out,
//! and when new work is turned away. Everything is pure and bounded: time comes in, tables forget
//! their oldest entry when they are full.

mod access;
mod bounded;
mod bucket;
mod lockout;
mod note;
mod overload;
mod scanner;
mod source;

pub use access::{AccessList, AddressBlock};
pub(super) use bounded::Bounded;
pub use bucket::{Admission, Gate, Lane, Rate};
pub use lockout::LockoutRules;
pub(super) use lockout::{Locked, Lockout};
pub use note::{SecurityEvent, SecurityNote};
pub use overload::Load;
pub(super) use overload::Overload;
pub(super) use scanner::is_scanner;
pub(super) use source::Source;
