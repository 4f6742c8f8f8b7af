//! Imported rows become contacts, phones and leads.

use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::column::ContactId;
use super::db::Work;
use super::error::StoreError;
use super::event_log;
use super::fact::Fact;
use crate::event::Kind;
use crate::id::{CampaignId, ListId};
use crate::leads::row::Row;

pub(super) fn import(
    work: Work,
    list: &ListId,
    campaign: &CampaignId,
    rows: &[Row],
    source: &str,
) -> Result<Fact, StoreError> {
    work.conn.execute(
        "INSERT INTO lists (id, source, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![list, source, work.now],
    )?;
    let (mut leads, mut contacts, mut duplicates) = (0, 0, 0);
    for row in rows {
        let contact = match find_contact(work, row)? {
            Some(contact) => {
                update_contact(work, contact, row)?;
                contact
            }
            None => {
                contacts += 1;
                insert_contact(work, row)?
            }
        };
        add_phones(work, contact, row)?;
        match insert_lead(work, contact, list, campaign, row.priority)? {
            true => leads += 1,
            false => duplicates += 1,
        }
    }
    event_log::write(
        work,
        Kind::LeadsImported,
        &json!({
            "list": list.as_str(), "campaign": campaign.as_str(), "leads": leads,
            "contacts": contacts, "duplicates": duplicates,
        }),
    )?;
    Ok(Fact::Imported {
        leads,
        contacts,
        duplicates,
    })
}

/// The same person: by the external id when there is one, else by a number of a contact that has
/// no external id either.
fn find_contact(work: Work, row: &Row) -> Result<Option<ContactId>, StoreError> {
    if let Some(external_id) = &row.external_id {
        let found = work
            .conn
            .prepare_cached("SELECT id FROM contacts WHERE external_id = ?1")?
            .query_row([external_id], |it| it.get(0))
            .optional()?;
        return Ok(found);
    }
    for phone in &row.phones {
        let found = work
            .conn
            .prepare_cached(
                "SELECT c.id FROM contacts c JOIN phones p ON p.contact = c.id
                 WHERE p.e164 = ?1 AND c.external_id IS NULL ORDER BY c.id LIMIT 1",
            )?
            .query_row([&phone.e164], |it| it.get(0))
            .optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn fields_text(row: &Row) -> String {
    json!(row.fields).to_string()
}

fn update_contact(work: Work, contact: ContactId, row: &Row) -> Result<(), StoreError> {
    work.conn
        .prepare_cached(
            "UPDATE contacts SET name = ?2, company = ?3, language = ?4, fields = ?5
             WHERE id = ?1",
        )?
        .execute(params![
            contact,
            row.name,
            row.company,
            row.language,
            fields_text(row)
        ])?;
    Ok(())
}

fn insert_contact(work: Work, row: &Row) -> Result<ContactId, StoreError> {
    let contact = work
        .conn
        .prepare_cached(
            "INSERT INTO contacts (external_id, name, company, language, fields, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
        )?
        .query_row(
            params![
                row.external_id,
                row.name,
                row.company,
                row.language,
                fields_text(row),
                work.now
            ],
            |it| it.get(0),
        )?;
    Ok(contact)
}

fn add_phones(work: Work, contact: ContactId, row: &Row) -> Result<(), StoreError> {
    for phone in &row.phones {
        work.conn
            .prepare_cached(
                "INSERT INTO phones (contact, position, e164, kind, time_zones)
                 VALUES (?1, (SELECT count(*) FROM phones WHERE contact = ?1), ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET kind = excluded.kind, time_zones = excluded.time_zones",
            )?
            .execute(params![
                contact,
                phone.e164,
                phone.kind,
                phone.time_zones.join(",")
            ])?;
    }
    Ok(())
}

/// Whether there was no lead of this contact in the campaign yet.
fn insert_lead(
    work: Work,
    contact: ContactId,
    list: &ListId,
    campaign: &CampaignId,
    priority: i64,
) -> Result<bool, StoreError> {
    let inserted = work
        .conn
        .prepare_cached(
            "INSERT INTO leads (contact, campaign, list, state, priority, created_at, changed_at)
             VALUES (?1, ?2, ?3, 'ready', ?4, ?5, ?5) ON CONFLICT DO NOTHING",
        )?
        .execute(params![contact, campaign, list, priority, work.now])?;
    Ok(inserted == 1)
}
