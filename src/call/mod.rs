//! A customer call as the house sees it: how far it has come and how it ended. Knows neither SIP
//! nor WebRTC.

pub mod progress;
pub mod result;
pub mod transfer;
