//! One line of an import, cleaned, and what was wrong with the lines that are not.

/// A contact as imported. Columns we do not know are kept as fields, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Row {
    /// The line in the file, 1 = the header.
    pub line: u64,
    pub external_id: Option<String>,
    pub name: String,
    pub company: String,
    /// BCP 47, lower case (`zh`, `en`); empty when unknown.
    pub language: String,
    pub phones: Vec<Phone>,
    pub fields: Vec<(String, String)>,
    pub priority: i64,
}

/// A number that can be dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phone {
    pub e164: String,
    pub kind: PhoneKind,
    /// IANA names; several when the number may be in any of them, none when nothing is known.
    pub time_zones: Vec<String>,
}

/// What kind of line a number is, as far as its digits tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PhoneKind {
    Mobile,
    Fixed,
    Voip,
    TollFree,
    Other,
}

impl PhoneKind {
    pub const ALL: [PhoneKind; 5] = [
        PhoneKind::Mobile,
        PhoneKind::Fixed,
        PhoneKind::Voip,
        PhoneKind::TollFree,
        PhoneKind::Other,
    ];

    pub fn name(self) -> &'static str {
        match self {
            PhoneKind::Mobile => "mobile",
            PhoneKind::Fixed => "fixed",
            PhoneKind::Voip => "voip",
            PhoneKind::TollFree => "toll_free",
            PhoneKind::Other => "other",
        }
    }

    pub fn from_name(name: &str) -> Option<PhoneKind> {
        PhoneKind::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// Something wrong with a line, said so that its owner can mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The line in the file, 1 = the header; 0 = the file as a whole.
    pub line: u64,
    /// The column's name as the file has it; empty = the line as a whole.
    pub column: String,
    pub what: String,
    pub remedy: String,
    pub weight: Weight,
}

/// Whether the line was imported in spite of the complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Imported, without the part complained about.
    Warning,
    /// Not imported.
    Rejected,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}", self.line)?;
        if !self.column.is_empty() {
            write!(f, ", column {}", self.column)?;
        }
        write!(f, ": {}; {}", self.what, self.remedy)
    }
}
