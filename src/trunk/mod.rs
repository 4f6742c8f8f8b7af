//! A carrier as a value: which of its servers is tried next, whether it is up, what it may carry
//! and how it wants numbers written. Times are `std::time::Instant`, rates calls per second.

pub mod fraud;
