//! Phones added while the switch runs. What is kept proves a password and does not tell it
//! (RFC 7616 §3.4.2: H(user:realm:password), both ways).

use rusqlite::params;

use super::db::Work;
use super::error::StoreError;
use super::fact::Fact;
use super::read::View;
use crate::now::UtcMs;

/// Phones kept at most: each takes a place in memory.
pub const PHONES_MAX: i64 = 100_000;

/// A phone as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPhone {
    pub user: String,
    /// The digests hold for this realm only.
    pub realm: String,
    /// In hexadecimal.
    pub ha1_sha256: String,
    pub ha1_md5: String,
    /// It is challenged with MD5 alone: an old phone stops at a challenge it does not know.
    pub is_md5_only: bool,
    pub added_at: UtcMs,
}

/// → `PhoneKept`, or `Refused` when there is one by this name or no room for more.
pub(super) fn add(work: Work, phone: &StoredPhone) -> Result<Fact, StoreError> {
    let count: i64 = work
        .conn
        .prepare_cached("SELECT count(*) FROM desk_phones")?
        .query_row([], |row| row.get(0))?;
    if count >= PHONES_MAX {
        return Ok(Fact::Refused {
            rule: "phones_full",
            detail: format!("{PHONES_MAX} phones are kept, and no more can be."),
        });
    }
    let added = work
        .conn
        .prepare_cached(
            "INSERT OR IGNORE INTO desk_phones (user, realm, ha1_sha256, ha1_md5, is_md5_only, added_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            phone.user,
            phone.realm,
            phone.ha1_sha256,
            phone.ha1_md5,
            phone.is_md5_only,
            work.now
        ])?;
    Ok(match added {
        0 => Fact::Refused {
            rule: "phone_exists",
            detail: "There is a phone by this name already.".to_owned(),
        },
        _ => Fact::PhoneKept,
    })
}

/// → `PhoneRemoved`, or `Refused` when there is none by this name.
pub(super) fn remove(work: Work, user: &str) -> Result<Fact, StoreError> {
    let removed = work
        .conn
        .prepare_cached("DELETE FROM desk_phones WHERE user = ?1")?
        .execute([user])?;
    Ok(match removed {
        0 => Fact::Refused {
            rule: "no_phone",
            detail: "No phone by this name is kept.".to_owned(),
        },
        _ => Fact::PhoneRemoved,
    })
}

impl View<'_> {
    /// Every phone that is kept, by name.
    pub fn phones(&self) -> Result<Vec<StoredPhone>, StoreError> {
        let mut rows = self.0.conn.prepare_cached(
            "SELECT user, realm, ha1_sha256, ha1_md5, is_md5_only, added_at FROM desk_phones ORDER BY user",
        )?;
        let rows = rows.query_map([], |row| {
            Ok(StoredPhone {
                user: row.get(0)?,
                realm: row.get(1)?,
                ha1_sha256: row.get(2)?,
                ha1_md5: row.get(3)?,
                is_md5_only: row.get(4)?,
                added_at: row.get(5)?,
            })
        })?;
        rows.map(|row| Ok(row?)).collect()
    }
}
