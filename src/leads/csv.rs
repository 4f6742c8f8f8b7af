//! A CSV file of leads: bytes in, rows and complaints out.
//!
//! The encoding is told by a byte order mark, else UTF-8 when the bytes are valid UTF-8, else
//! GB18030, which Chinese spreadsheets write. The delimiter is the one the header has most of.

use encoding_rs::{Encoding, GB18030, UTF_8};

use super::phone::{self, Region};
use super::row::{Complaint, Phone, Row, Weight};
use super::{clean, dedupe};

/// More than this is split before it is imported.
pub const BYTES_MAX: usize = 64 << 20;
pub const ROWS_MAX: usize = 500_000;
const CELL_CHARS_MAX: usize = 4_000;

/// What to assume of rows that do not say.
#[derive(Clone, Debug)]
pub struct Settings {
    pub region: Region,
    pub language: String,
}

/// What a file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    pub rows: Vec<Row>,
    pub complaints: Vec<Complaint>,
    /// The encoding's name (`UTF-8`, `gb18030`, …).
    pub encoding: &'static str,
}

/// Reads a whole file. Rows that cannot be called are left out, with a complaint each.
pub fn read(bytes: &[u8], settings: &Settings) -> Imported {
    if bytes.len() > BYTES_MAX {
        let what = format!("the file has {} bytes, more than {BYTES_MAX}", bytes.len());
        return refused(what, "split it into several files", "unknown");
    }
    let Some((text, encoding)) = decode(bytes) else {
        let what = "the file is neither UTF-8 nor GB18030 text".to_owned();
        return refused(what, "save it as \"CSV UTF-8\"", "unknown");
    };
    read_text(&text, settings, encoding.name())
}

fn refused(what: String, remedy: &str, encoding: &'static str) -> Imported {
    let complaint = complaint(0, "", &what, remedy, Weight::Rejected);
    Imported {
        rows: Vec::new(),
        complaints: vec![complaint],
        encoding,
    }
}

fn complaint(line: u64, column: &str, what: &str, remedy: &str, weight: Weight) -> Complaint {
    Complaint {
        line,
        column: column.to_owned(),
        what: what.to_owned(),
        remedy: remedy.to_owned(),
        weight,
    }
}

fn decode(bytes: &[u8]) -> Option<(std::borrow::Cow<'_, str>, &'static Encoding)> {
    if let Some((encoding, bom_bytes)) = Encoding::for_bom(bytes) {
        let (text, is_bad) = encoding.decode_without_bom_handling(&bytes[bom_bytes..]);
        return (!is_bad).then_some((text, encoding));
    }
    [UTF_8, GB18030].into_iter().find_map(|encoding| {
        let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
        Some((text, encoding))
    })
}

/// What a column is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    ExternalId,
    Name,
    Company,
    Language,
    TimeZone,
    Priority,
    Phone,
    /// Kept under its own name.
    Field(String),
}

fn column_of(header: &str) -> Column {
    let plain: String = header
        .chars()
        .filter(|c| !matches!(c, ' ' | '_' | '-' | '.'))
        .flat_map(char::to_lowercase)
        .collect();
    let unnumbered = plain.trim_end_matches(|c: char| c.is_ascii_digit());
    match unnumbered {
        "phone" | "phonenumber" | "mobile" | "mobilephone" | "cell" | "tel" | "telephone"
        | "电话" | "电话号码" | "手机" | "手机号" | "手机号码" | "联系电话" => {
            return Column::Phone;
        }
        _ => {}
    }
    match plain.as_str() {
        "externalid" | "id" | "customerid" | "编号" | "客户编号" => Column::ExternalId,
        "name" | "fullname" | "contact" | "姓名" | "客户姓名" | "联系人" => Column::Name,
        "company" | "organisation" | "organization" | "公司" | "公司名称" | "单位" => {
            Column::Company
        }
        "language" | "lang" | "语言" => Column::Language,
        "timezone" | "tz" | "时区" => Column::TimeZone,
        "priority" | "优先级" => Column::Priority,
        _ => Column::Field(header.to_owned()),
    }
}

fn read_text(text: &str, settings: &Settings, encoding: &'static str) -> Imported {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .flexible(true)
        .from_reader(text.as_bytes());
    let headers: Vec<String> = match reader.headers() {
        Ok(headers) => headers.iter().map(clean::text).collect(),
        Err(error) => {
            return refused(
                error.to_string(),
                "begin with a line of column names",
                encoding,
            );
        }
    };
    let columns: Vec<Column> = headers.iter().map(|it| column_of(it)).collect();
    if !columns.contains(&Column::Phone) {
        let what = format!(
            "no column is a phone number (columns: {})",
            headers.join(", ")
        );
        return refused(what, "name one column \"phone\"", encoding);
    }
    let mut desk = Desk {
        settings,
        headers,
        columns,
        rows: Vec::new(),
        complaints: Vec::new(),
    };
    for record in reader.records() {
        match record {
            Ok(record) => {
                if desk.rows.len() == ROWS_MAX {
                    let line = record.position().map_or(0, csv::Position::line);
                    let what = format!("more than {ROWS_MAX} rows");
                    let remedy = "import the rest as a second file";
                    desk.complaints
                        .push(complaint(line, "", &what, remedy, Weight::Rejected));
                    break;
                }
                desk.take(&record);
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let what = error.to_string();
                let remedy = "check the quotes on this line";
                desk.complaints
                    .push(complaint(line, "", &what, remedy, Weight::Rejected));
            }
        }
    }
    let (rows, duplicates) = dedupe::dedupe(desk.rows);
    desk.complaints.extend(duplicates);
    desk.complaints.sort_by_key(|it| it.line);
    Imported {
        rows,
        complaints: desk.complaints,
        encoding,
    }
}

fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let many = |mark: u8| header.bytes().filter(|it| *it == mark).count();
    // The comma first: it wins when none is there.
    [b',', b';', b'\t']
        .into_iter()
        .rev()
        .max_by_key(|mark| many(*mark))
        .unwrap_or(b',')
}

/// Where the lines come in.
struct Desk<'a> {
    settings: &'a Settings,
    headers: Vec<String>,
    columns: Vec<Column>,
    rows: Vec<Row>,
    complaints: Vec<Complaint>,
}

impl Desk<'_> {
    fn take(&mut self, record: &csv::StringRecord) {
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(|cell| clean::text(cell).is_empty()) {
            return;
        }
        if record.len() > self.headers.len() {
            let what = format!(
                "{} cells under {} columns",
                record.len(),
                self.headers.len()
            );
            let remedy = "put cells with a comma inside into quotes";
            self.complaints
                .push(complaint(line, "", &what, remedy, Weight::Rejected));
            return;
        }
        let mut row = Row {
            line,
            language: self.settings.language.clone(),
            ..Row::default()
        };
        let mut zone = None;
        let mut bad_phones = Vec::new();
        for (at, cell) in record.iter().enumerate() {
            let cell = clean::text(cell);
            if cell.is_empty() {
                continue;
            }
            let cell = self.shortened(line, at, cell);
            match &self.columns[at] {
                Column::ExternalId => row.external_id = Some(cell),
                Column::Name => row.name = cell,
                Column::Company => row.company = cell,
                Column::Language => row.language = cell.to_lowercase(),
                Column::Priority => row.priority = self.priority(line, at, &cell),
                Column::TimeZone => zone = self.zone(line, at, cell),
                Column::Field(name) => row.fields.push((name.clone(), cell)),
                Column::Phone => match phone::parse(&cell, self.settings.region) {
                    Ok(phone) => add(&mut row.phones, phone),
                    Err(bad) => bad_phones.push((at, bad)),
                },
            }
        }
        if let Some(zone) = zone {
            for phone in &mut row.phones {
                phone.time_zones = vec![zone.clone()];
            }
        }
        self.finish(row, &bad_phones);
    }

    /// A row without a number to dial is rejected; one with another number only warned about.
    fn finish(&mut self, row: Row, bad_phones: &[(usize, phone::BadPhone)]) {
        let is_callable = !row.phones.is_empty();
        let weight = if is_callable {
            Weight::Warning
        } else {
            Weight::Rejected
        };
        for (at, bad) in bad_phones {
            let column = &self.headers[*at];
            self.complaints.push(complaint(
                row.line,
                column,
                bad.what(),
                bad.remedy(),
                weight,
            ));
        }
        if is_callable {
            self.rows.push(row);
        } else if bad_phones.is_empty() {
            let what = "no phone number";
            self.complaints
                .push(complaint(row.line, "phone", what, "add one", weight));
        }
    }

    fn shortened(&mut self, line: u64, at: usize, cell: String) -> String {
        if cell.chars().count() <= CELL_CHARS_MAX {
            return cell;
        }
        let what = format!("more than {CELL_CHARS_MAX} characters");
        let remedy = "the rest was left out";
        let column = &self.headers[at];
        self.complaints
            .push(complaint(line, column, &what, remedy, Weight::Warning));
        cell.chars().take(CELL_CHARS_MAX).collect()
    }

    fn priority(&mut self, line: u64, at: usize, cell: &str) -> i64 {
        cell.parse().unwrap_or_else(|_| {
            let what = "the priority is no whole number";
            let remedy = "write 0, or a larger number for more urgent leads";
            let column = &self.headers[at];
            self.complaints
                .push(complaint(line, column, what, remedy, Weight::Warning));
            0
        })
    }

    fn zone(&mut self, line: u64, at: usize, cell: String) -> Option<String> {
        let found = jiff::tz::TimeZoneDatabase::bundled()
            .get(&cell)
            .ok()
            .and_then(|zone| zone.iana_name().map(str::to_owned));
        if found.is_none() {
            let what = format!("there is no time zone {cell:?}");
            let remedy = "write an IANA name such as Asia/Shanghai; the number's own was taken";
            let column = &self.headers[at];
            self.complaints
                .push(complaint(line, column, &what, remedy, Weight::Warning));
        }
        found
    }
}

fn add(phones: &mut Vec<Phone>, phone: Phone) {
    if !phones.iter().any(|it| it.e164 == phone.e164) {
        phones.push(phone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            region: Region::parse("CN").unwrap(),
            language: "zh".to_owned(),
        }
    }

    fn complaints(imported: &Imported) -> Vec<(u64, &str, Weight)> {
        imported
            .complaints
            .iter()
            .map(|it| (it.line, it.column.as_str(), it.weight))
            .collect()
    }

    #[test]
    fn known_columns_are_taken_and_the_others_kept_as_fields() {
        let file = "External ID,Name,Company,Phone,phone2,Language,time_zone,product\n\
                    L1,王芳,\"云海, 科技\",13800138000,+1 212 736 5000,ZH,,空调\n\
                    L2,John Smith,,+44 20 7946 0958,,en,Europe/London,boiler\n";
        let imported = read(file.as_bytes(), &settings());
        assert_eq!(imported.encoding, "UTF-8");
        assert!(imported.complaints.is_empty(), "{:?}", imported.complaints);
        let first = &imported.rows[0];
        assert_eq!(first.line, 2);
        assert_eq!(first.external_id.as_deref(), Some("L1"));
        assert_eq!(
            (first.name.as_str(), first.company.as_str()),
            ("王芳", "云海, 科技")
        );
        assert_eq!(first.language, "zh");
        let e164: Vec<_> = first.phones.iter().map(|it| it.e164.as_str()).collect();
        assert_eq!(e164, ["+8613800138000", "+12127365000"]);
        assert_eq!(first.fields, [("product".to_owned(), "空调".to_owned())]);
        assert_eq!(imported.rows[1].language, "en");
    }

    #[test]
    fn gb18030_and_byte_order_marks_are_told_apart() {
        let file = "姓名,手机号,产品\n王芳,13800138000,空调\n";
        let (gb, _, _) = GB18030.encode(file);
        let with_mark = [b"\xEF\xBB\xBF", file.as_bytes()].concat();
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(file.encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        for (bytes, encoding) in [
            (&gb[..], "gb18030"),
            (&with_mark[..], "UTF-8"),
            (&utf16[..], "UTF-16LE"),
        ] {
            let imported = read(bytes, &settings());
            assert_eq!(imported.encoding, encoding);
            assert_eq!(imported.rows[0].name, "王芳", "{encoding}");
            assert_eq!(imported.rows[0].fields[0].1, "空调");
        }
    }

    #[test]
    fn bad_cells_are_complained_about_with_line_column_and_remedy() {
        let file = "name;phone;mobile;time_zone;priority\n\
                    A;oops;13800138000;Mars/Base;high\n\
                    B;1.38E+10;;;\n\
                    C;;;;\n\
                    ;;;;\n\
                    D;13800138000;;;5\n\
                    E;13800138001;;;5;too;many\n\
                    F;13800138002;;;7\n";
        let imported = read(file.as_bytes(), &settings());
        assert_eq!(
            complaints(&imported),
            [
                (2, "time_zone", Weight::Warning),
                (2, "priority", Weight::Warning),
                (2, "phone", Weight::Warning),
                (3, "phone", Weight::Rejected),
                (4, "phone", Weight::Rejected),
                (6, "phone", Weight::Rejected),
                (7, "", Weight::Rejected),
            ]
        );
        assert!(imported.complaints.iter().all(|it| !it.remedy.is_empty()));
        let names: Vec<_> = imported.rows.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["A", "F"]);
        assert_eq!(imported.rows[1].priority, 7);
        let said = imported.complaints[3].to_string();
        assert!(
            said.starts_with("line 3, column phone: a spreadsheet"),
            "{said}"
        );
    }

    #[test]
    fn a_file_without_phones_or_of_another_kind_is_refused_whole() {
        let imported = read(b"name,company\nA,B\n", &settings());
        assert!(imported.complaints[0].what.contains("name, company"));
        assert!(imported.rows.is_empty());
        let noise = read(&[0x80, 0xff, 0xff, 0x00, 0x81], &settings());
        assert!(noise.rows.is_empty());
        assert_eq!(noise.complaints.len(), 1);
        assert_eq!(read(b"", &settings()).complaints.len(), 1);
    }

    #[test]
    fn the_demonstration_list_is_imported_without_a_complaint() {
        let imported = read(include_bytes!("../../config/demo/leads.csv"), &settings());
        assert_eq!(imported.complaints, []);
        assert_eq!(imported.rows.len(), 200);
        let ends = |from: u64, until: u64| {
            let last_two = |row: &&Row| {
                let e164 = &row.phones[0].e164;
                let end: u64 = e164[e164.len() - 2..].parse().unwrap();
                (from..=until).contains(&end)
            };
            imported.rows.iter().filter(last_two).count()
        };
        let spread = [
            (0, 69),
            (70, 74),
            (75, 79),
            (80, 84),
            (85, 89),
            (90, 94),
            (95, 99),
        ];
        assert_eq!(
            spread.map(|(from, until)| ends(from, until)),
            [140, 10, 10, 10, 10, 10, 10]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_rows_or_complaints_but_no_panic(bytes: Vec<u8>) {
            let mut file = b"name,phone\n".to_vec();
            file.extend(bytes);
            let imported = read(&file, &settings());
            for row in imported.rows {
                proptest::prop_assert!(!row.phones.is_empty());
            }
        }
    }
}
