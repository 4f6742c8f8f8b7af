//! `foredial hash-password`: from stdin, so that the password is in no history and no process list.

use super::Failure;
use crate::http::hash_password;
use std::io::BufRead;

pub(super) fn carry_out() -> Result<(), Failure> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::plain(format!("stdin cannot be read: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::new(
            "no password on stdin",
            "type one and press Enter, or pipe it in",
        ));
    }
    println!("{}", hash_password(password));
    Ok(())
}
