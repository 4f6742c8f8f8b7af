//! Leads with their last result as CSV for spreadsheets: UTF-8 with a byte order mark, and no cell
//! that a spreadsheet would run as a formula.

use crate::id::LeadId;
use crate::now::UtcMs;

/// One exported lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRow {
    pub lead: LeadId,
    pub external_id: String,
    pub name: String,
    pub company: String,
    pub language: String,
    /// E.164, a blank between several.
    pub phones: String,
    pub state: String,
    pub reason: String,
    pub not_before: Option<UtcMs>,
    /// The business counter.
    pub attempts: u32,
    pub result: String,
    pub called_at: Option<UtcMs>,
    pub agent: String,
    pub disposition: String,
    pub notes: String,
    pub fields: Vec<(String, String)>,
}

const COLUMNS: [&str; 15] = [
    "lead",
    "external_id",
    "name",
    "company",
    "language",
    "phone",
    "state",
    "reason",
    "not_before",
    "attempts",
    "last_result",
    "last_call_at",
    "agent",
    "disposition",
    "notes",
];

/// The rows as one file. Free fields stand behind the fixed columns, in the order first seen.
pub fn write(rows: &[ExportRow]) -> Result<Vec<u8>, csv::Error> {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in rows.iter().flat_map(|row| &row.fields) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let mut writer = csv::Writer::from_writer(b"\xEF\xBB\xBF".to_vec());
    let names = COLUMNS.into_iter().chain(keys.iter().copied());
    writer.write_record(names.map(neutral))?;
    for row in rows {
        writer.write_record(cells(row, &keys).iter().map(|cell| neutral(cell)))?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

fn cells(row: &ExportRow, keys: &[&str]) -> Vec<String> {
    let mut cells = vec![
        row.lead.to_string(),
        row.external_id.clone(),
        row.name.clone(),
        row.company.clone(),
        row.language.clone(),
        row.phones.clone(),
        row.state.clone(),
        row.reason.clone(),
        rfc3339(row.not_before),
        row.attempts.to_string(),
        row.result.clone(),
        rfc3339(row.called_at),
        row.agent.clone(),
        row.disposition.clone(),
        row.notes.clone(),
    ];
    for key in keys {
        let value = row.fields.iter().find(|(name, _)| name == key);
        cells.push(value.map(|(_, value)| value.clone()).unwrap_or_default());
    }
    cells
}

fn rfc3339(at: Option<UtcMs>) -> String {
    at.and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok())
        .map(|at| at.to_string())
        .unwrap_or_default()
}

/// OWASP: a cell that begins like a formula gets an apostrophe before it.
fn neutral(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_neutralised_and_the_file_begins_with_a_byte_order_mark() {
        let row = ExportRow {
            lead: LeadId(1),
            external_id: "L0001".to_owned(),
            name: "=HYPERLINK(\"http://evil\")".to_owned(),
            company: "Müller, Söhne".to_owned(),
            language: "zh".to_owned(),
            phones: "+8613800138000".to_owned(),
            state: "waiting".to_owned(),
            reason: String::new(),
            not_before: Some(UtcMs(0)),
            attempts: 2,
            result: "busy".to_owned(),
            called_at: None,
            agent: "agent1".to_owned(),
            disposition: String::new(),
            notes: "-1".to_owned(),
            fields: vec![("产品".to_owned(), "@sum".to_owned())],
        };
        let bytes = write(&[row]).unwrap();
        let text = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap()).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap().iter().next_back(), Some("产品"));
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(&record[2], "'=HYPERLINK(\"http://evil\")");
        assert_eq!(&record[3], "Müller, Söhne");
        assert_eq!(&record[5], "'+8613800138000");
        assert_eq!(&record[8], "1970-01-01T00:00:00Z");
        assert_eq!(&record[14], "'-1");
        assert_eq!(&record[15], "'@sum");
    }
}
