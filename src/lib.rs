//! Foredial: a SIP softswitch with an embedded preview dialer.
//!
//! The list below is the floor plan. A room may name only the rooms after its `->`, and those
//! stand above it, so a cycle cannot be written; `tests/floors.rs` reads this list and holds
//! every file to it. Ground-floor rooms hold no clock, socket, file, thread or tokio.
//!
//! ```text
//! ground now        ->
//! ground id         ->
//! ground sip        -> now
//! ground sdp        ->
//! ground media      ->
//! ground call       -> now id
//! ground agent      -> now id
//! ground leads      -> now id
//! ground dialer     -> now id call agent leads
//! ground event      -> now id call agent leads dialer
//! ground stats      -> now id call event
//! ground route      -> now id
//! ground trunk      -> now id sip
//! middle store      -> now id call leads dialer event stats
//! middle net        -> now sip trunk
//! middle rtpio      ->
//! middle peer       -> id sdp media
//! middle engine     -> now id sip sdp media call agent leads dialer event stats route trunk store net rtpio peer
//! middle connector  -> now id leads event store engine
//! top    config     -> id sip sdp media agent leads dialer stats route trunk store net rtpio peer engine connector
//! top    http       -> now id sip call agent leads dialer event stats store net engine connector config
//! top    demo       -> sip sdp media net rtpio config
//! top    cli        -> now id sip media dialer leads route trunk store net engine connector config http demo
//! ```
#![deny(unsafe_code)]

pub mod now;

pub mod id;

pub mod sip;

pub mod sdp;

pub mod media;

pub mod call;

pub mod agent;

pub mod leads;

pub mod dialer;

pub mod event;

pub mod stats;

pub mod route;

pub mod trunk;

pub mod store;

pub mod net;

pub mod rtpio;

pub mod peer;

pub mod engine;

pub mod connector;

pub mod config;

pub mod http;

pub mod demo;

pub mod cli;
