//! The same person twice in one file: the first line stays.

use std::collections::HashMap;

use super::row::{Complaint, Row, Weight};

/// Takes out every row whose external id, or any of whose numbers, stood in a line before.
pub fn dedupe(rows: Vec<Row>) -> (Vec<Row>, Vec<Complaint>) {
    let mut ids: HashMap<String, u64> = HashMap::new();
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let (mut kept, mut complaints) = (Vec::new(), Vec::new());
    for row in rows {
        let by_id = row.external_id.as_ref().and_then(|id| ids.get(id));
        let by_number = row.phones.iter().find_map(|phone| numbers.get(&phone.e164));
        if let Some(first) = by_id.or(by_number) {
            let (column, what) = if by_id.is_some() {
                ("external_id", "the same external_id")
            } else {
                ("phone", "the same number")
            };
            complaints.push(Complaint {
                line: row.line,
                column: column.to_owned(),
                what: format!("{what} as line {first}"),
                remedy: "the first line was taken; remove one of the two".to_owned(),
                weight: Weight::Rejected,
            });
            continue;
        }
        if let Some(id) = &row.external_id {
            ids.insert(id.clone(), row.line);
        }
        numbers.extend(
            row.phones
                .iter()
                .map(|phone| (phone.e164.clone(), row.line)),
        );
        kept.push(row);
    }
    (kept, complaints)
}

#[cfg(test)]
mod tests {
    use super::super::row::{Phone, PhoneKind};
    use super::*;

    fn row(line: u64, id: &str, e164: &str) -> Row {
        let phone = Phone {
            e164: e164.to_owned(),
            kind: PhoneKind::Mobile,
            time_zones: Vec::new(),
        };
        let external_id = (!id.is_empty()).then(|| id.to_owned());
        Row {
            line,
            external_id,
            phones: vec![phone],
            ..Row::default()
        }
    }

    #[test]
    fn the_first_of_two_lines_stays() {
        let rows = vec![
            row(2, "A", "+1"),
            row(3, "A", "+2"),
            row(4, "B", "+1"),
            row(5, "", "+3"),
        ];
        let (kept, complaints) = dedupe(rows);
        assert_eq!(kept.iter().map(|it| it.line).collect::<Vec<_>>(), [2, 5]);
        let said: Vec<_> = complaints
            .iter()
            .map(|it| (it.line, it.column.as_str()))
            .collect();
        assert_eq!(said, [(3, "external_id"), (4, "phone")]);
        assert!(complaints[0].what.ends_with("line 2"));
    }
}
