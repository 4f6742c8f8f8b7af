//! What `foredial demo` brings along so that a newcomer makes a call within a minute: a carrier
//! to dial and a CRM to ask.
//!
//! Both are far ends. They share no packet, message or signal code with the rooms they test:
//! an error made once must not be made on both sides of the wire.

pub mod carrier;
pub mod crm;
