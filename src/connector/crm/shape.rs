//! From a CRM's JSON to sections of labelled values: one JSON pointer (RFC 6901) a field.

use serde::Serialize;
use serde_json::Value;

/// Characters of one value that are shown.
const VALUE_CHARS_MAX: usize = 500;
/// Sections of one answer, fields of one section.
const SECTIONS_MAX: usize = 20;
const FIELDS_MAX: usize = 50;

/// A text in both of the page's languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tongues {
    pub en: String,
    pub zh: String,
}

/// What a card shows: the `sections` of its `crm`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CrmSections {
    pub sections: Vec<CrmSection>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrmSection {
    pub title: Tongues,
    pub fields: Vec<CrmField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrmField {
    pub label: Tongues,
    pub value: String,
}

/// How a section is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionMap {
    pub title: Tongues,
    /// When set, the pointer of an array: the fields repeat for its items, and their pointers
    /// start at the item.
    pub each: Option<String>,
    /// The most items of the array shown.
    pub items_max: usize,
    pub fields: Vec<FieldMap>,
}

/// How a field is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMap {
    pub label: Tongues,
    /// `/balance/amount`
    pub pointer: String,
    pub kind: Kind,
}

/// How a value is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Text,
    /// Thousands grouped: `1,280.50`.
    Number,
    /// The same, with the currency that another pointer holds in front: `CNY 1,280.50`.
    Money { currency: String },
    /// The calendar day of an RFC 3339 time or date: `2026-11-22`.
    Date,
}

/// Fields without a value, and sections without a field, are left out.
pub(super) fn shape(answer: &Value, maps: &[SectionMap]) -> CrmSections {
    let sections = maps.iter().map(|map| CrmSection {
        title: map.title.clone(),
        fields: fields_of(answer, map),
    });
    let filled = sections.filter(|section| !section.fields.is_empty());
    CrmSections {
        sections: filled.take(SECTIONS_MAX).collect(),
    }
}

fn fields_of(answer: &Value, map: &SectionMap) -> Vec<CrmField> {
    let items: Vec<&Value> = match &map.each {
        None => vec![answer],
        Some(pointer) => {
            let array = answer.pointer(pointer).and_then(Value::as_array);
            array
                .map_or(&[][..], Vec::as_slice)
                .iter()
                .take(map.items_max)
                .collect()
        }
    };
    let field = |item: &Value, map: &FieldMap| {
        let value = write(item, map)?;
        Some(CrmField {
            label: map.label.clone(),
            value,
        })
    };
    items
        .into_iter()
        .flat_map(|item| map.fields.iter().filter_map(move |map| field(item, map)))
        .take(FIELDS_MAX)
        .collect()
}

fn write(item: &Value, map: &FieldMap) -> Option<String> {
    let raw = plain(item.pointer(&map.pointer)?)?;
    let text = match &map.kind {
        Kind::Text => raw,
        Kind::Number => grouped(&raw),
        Kind::Money { currency } => match item.pointer(currency).and_then(plain) {
            Some(currency) => format!("{currency} {}", grouped(&raw)),
            None => grouped(&raw),
        },
        Kind::Date => day(&raw),
    };
    Some(text)
}

/// One line of printable text, or nothing.
fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Array(items) => items
            .iter()
            .filter_map(plain)
            .collect::<Vec<_>>()
            .join(", "),
        // An object has no reading without a pointer into it.
        Value::Object(_) => return None,
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    let printable = text.split(|c: char| c.is_whitespace() || is_unprintable(c));
    let words: Vec<&str> = printable.filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    let cut: String = line.chars().take(VALUE_CHARS_MAX).collect();
    (!cut.is_empty()).then_some(cut)
}

/// Control characters, and those that turn the direction of the text around them.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `-1234567.5` becomes `-1,234,567.5`; what is no plain decimal stays as it is.
fn grouped(raw: &str) -> String {
    let (sign, unsigned) = raw.strip_prefix('-').map_or(("", raw), |rest| ("-", rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return raw.to_owned();
    }
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text = text + "." + fraction;
    }
    text
}

fn day(raw: &str) -> String {
    let first = raw.get(..10).unwrap_or(raw);
    first
        .parse::<jiff::civil::Date>()
        .map_or_else(|_| raw.to_owned(), |date| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(pointer: &str, kind: Kind) -> FieldMap {
        FieldMap {
            label: Tongues::default(),
            pointer: pointer.to_owned(),
            kind,
        }
    }

    fn values(answer: &Value, each: Option<&str>, fields: Vec<FieldMap>) -> Vec<String> {
        let each = each.map(str::to_owned);
        let map = SectionMap {
            title: Tongues::default(),
            each,
            items_max: 2,
            fields,
        };
        let sections = shape(answer, &[map]).sections;
        sections
            .into_iter()
            .flat_map(|section| section.fields)
            .map(|field| field.value)
            .collect()
    }

    #[test]
    fn values_are_written_for_people() {
        let answer = json!({
            "name": "  王\n芳\u{202e} ", "n": -1234567, "m": {"a": "1280.50", "c": "CNY"},
            "d": "2026-03-04T05:06:07Z", "bad": "soon", "yes": true, "none": null, "blank": " ",
            "list": ["a", "", "b"],
        });
        let money = Kind::Money {
            currency: "/m/c".to_owned(),
        };
        let fields = vec![
            field("/name", Kind::Text),
            field("/n", Kind::Number),
            field("/m/a", money),
            field("/d", Kind::Date),
            field("/bad", Kind::Date),
            field("/yes", Kind::Text),
            field("/none", Kind::Text),
            field("/blank", Kind::Text),
            field("/m", Kind::Text),
            field("/absent", Kind::Text),
            field("/list", Kind::Text),
        ];
        let expected = [
            "王 芳",
            "-1,234,567",
            "CNY 1,280.50",
            "2026-03-04",
            "soon",
            "true",
            "a, b",
        ];
        assert_eq!(values(&answer, None, fields), expected);
    }

    #[test]
    fn items_of_an_array_repeat_the_fields_up_to_the_limit() {
        let answer = json!({"orders": [{"n": 1}, {"n": 2}, {"n": 3}]});
        let fields = vec![field("/n", Kind::Number)];
        assert_eq!(values(&answer, Some("/orders"), fields.clone()), ["1", "2"]);
        assert!(values(&answer, Some("/tickets"), fields).is_empty());
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let answer = json!({"t": "字".repeat(2_000)});
        let shown = values(&answer, None, vec![field("/t", Kind::Text)]);
        assert_eq!(shown[0].chars().count(), VALUE_CHARS_MAX);
    }

    #[test]
    fn the_serial_form_is_the_pages() {
        let tongues = |text: &str| Tongues {
            en: text.to_owned(),
            zh: text.to_owned(),
        };
        let fields = vec![CrmField {
            label: tongues("l"),
            value: "v".to_owned(),
        }];
        let sections = CrmSections {
            sections: vec![CrmSection {
                title: tongues("t"),
                fields,
            }],
        };
        let expected = json!({"sections": [{
            "title": {"en": "t", "zh": "t"},
            "fields": [{"label": {"en": "l", "zh": "l"}, "value": "v"}],
        }]});
        assert_eq!(
            serde_json::to_value(&sections).expect("plain data"),
            expected
        );
    }
}
