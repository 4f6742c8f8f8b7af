//! Figures for people, each a fold of what happened: numbers in, numbers out.

pub mod live;
