//! A customer call as the house sees it: legs, their states and how it ended.
//! Knows neither SIP nor WebRTC.

pub mod result;
