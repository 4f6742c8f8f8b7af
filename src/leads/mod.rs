//! Imports and exports of leads: bytes in, rows and complaints out. Knows no file and no database.

pub mod clean;
pub mod csv;
pub mod dedupe;
pub mod export;
pub mod phone;
pub mod row;
