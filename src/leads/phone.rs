//! Numbers as people write them → E.164, kind and time zones.
//!
//! Plans come from libphonenumber's tables (`phonenumber`); zones from the tables here: by country,
//! by area code in North America and Australia. A number that may be in several zones has all.

use phonenumber::country::Id;
use phonenumber::metadata::DATABASE;
use phonenumber::{Mode, Type};

use super::clean;
use super::row::{Phone, PhoneKind};

/// The country whose national numbers are meant when a number says none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region(Id);

impl Region {
    /// An ISO 3166 code of two letters.
    pub fn parse(code: &str) -> Option<Region> {
        code.to_ascii_uppercase().parse().ok().map(Region)
    }
}

/// Why a cell is no number to dial, and what its owner can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPhone {
    Scientific,
    Unreadable,
    NotInPlan,
    Premium,
}

impl BadPhone {
    pub fn what(self) -> &'static str {
        match self {
            BadPhone::Scientific => "a spreadsheet has cut digits off this number",
            BadPhone::Unreadable => "this is no phone number",
            BadPhone::NotInPlan => "no such number exists in its country's numbering plan",
            BadPhone::Premium => "this is a premium-rate number",
        }
    }

    pub fn remedy(self) -> &'static str {
        match self {
            BadPhone::Scientific => "format the column as text and export the file again",
            BadPhone::Unreadable => "write it as +<country code><number>",
            BadPhone::NotInPlan => "check the digits, or begin with + and the country code",
            BadPhone::Premium => "leave it out; premium numbers are never dialed",
        }
    }
}

/// An E.164 number as people of its country space it: `+86 138 0013 8000`.
pub fn spaced(e164: &str) -> Option<String> {
    let number = phonenumber::parse(None, e164).ok()?;
    Some(number.format().mode(Mode::International).to_string())
}

/// Reads one number.
pub fn parse(cell: &str, region: Region) -> Result<Phone, BadPhone> {
    let cell = clean::number(cell);
    if clean::is_scientific(&cell) {
        return Err(BadPhone::Scientific);
    }
    let number = phonenumber::parse(Some(region.0), &cell).map_err(|_| BadPhone::Unreadable)?;
    if !phonenumber::is_valid(&number) {
        return Err(BadPhone::NotInPlan);
    }
    let kind = match number.number_type(&DATABASE) {
        Type::PremiumRate => return Err(BadPhone::Premium),
        Type::Mobile => PhoneKind::Mobile,
        Type::FixedLine | Type::FixedLineOrMobile => PhoneKind::Fixed,
        Type::Voip => PhoneKind::Voip,
        Type::TollFree => PhoneKind::TollFree,
        _ => PhoneKind::Other,
    };
    let e164 = number.format().mode(Mode::E164).to_string();
    let zones = match number.country().id() {
        Some(country) if kind != PhoneKind::TollFree => {
            time_zones(country, number.national().value(), kind)
        }
        _ => &[],
    };
    Ok(Phone {
        e164,
        kind,
        time_zones: zones.iter().map(|it| (*it).to_owned()).collect(),
    })
}

const EASTERN: &[&str] = &["America/New_York"];
const CENTRAL: &[&str] = &["America/Chicago"];
const MOUNTAIN: &[&str] = &["America/Denver"];
const PACIFIC: &[&str] = &["America/Los_Angeles"];
const EASTERN_OR_CENTRAL: &[&str] = &["America/New_York", "America/Chicago"];
const CENTRAL_OR_MOUNTAIN: &[&str] = &["America/Chicago", "America/Denver"];
const MOUNTAIN_OR_PACIFIC: &[&str] = &["America/Denver", "America/Los_Angeles"];
const CONTINENTAL: &[&str] = &[
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
];
const CANADIAN: &[&str] = &["America/St_Johns", "America/Toronto", "America/Vancouver"];

fn time_zones(country: Id, national: u64, kind: PhoneKind) -> &'static [&'static str] {
    match country {
        Id::US | Id::CA => north_american(country, national),
        Id::AU => australian(national, kind),
        _ => by_country(country.as_ref()),
    }
}

/// The area code is the first three of ten digits.
fn north_american(country: Id, national: u64) -> &'static [&'static str] {
    let area = national / 10_000_000;
    let unknown = if country == Id::CA {
        CANADIAN
    } else {
        CONTINENTAL
    };
    let known = AREA_CODES
        .iter()
        .find(|(_, codes)| u16::try_from(area).is_ok_and(|area| codes.contains(&area)));
    known.map_or(unknown, |(zones, _)| zones)
}

/// Area codes by zone. Codes of two zones stand with both.
const AREA_CODES: &[(&[&str], &[u16])] = &[
    (
        EASTERN,
        &[
            201, 202, 203, 207, 212, 215, 216, 220, 223, 227, 229, 231, 234, 239, 240, 248, 252,
            260, 267, 269, 272, 276, 283, 301, 302, 304, 305, 313, 315, 317, 321, 324, 326, 329,
            330, 332, 336, 339, 347, 351, 352, 380, 386, 401, 404, 407, 410, 412, 413, 419, 434,
            440, 443, 445, 463, 470, 472, 475, 478, 484, 502, 508, 513, 516, 517, 518, 540, 551,
            561, 567, 570, 571, 574, 582, 585, 586, 603, 606, 607, 609, 610, 614, 616, 617, 624,
            631, 640, 645, 646, 656, 667, 678, 679, 680, 681, 686, 689, 703, 704, 706, 716, 717,
            718, 724, 727, 728, 732, 734, 740, 743, 754, 757, 762, 765, 770, 771, 772, 774, 781,
            786, 802, 803, 804, 810, 813, 814, 826, 828, 835, 838, 839, 843, 845, 848, 854, 856,
            857, 859, 860, 862, 863, 864, 865, 878, 904, 908, 910, 912, 914, 917, 919, 929, 934,
            937, 941, 943, 947, 948, 954, 959, 973, 978, 980, 984, 989,
        ],
    ),
    (
        EASTERN_OR_CENTRAL,
        &[270, 364, 423, 448, 812, 850, 906, 930],
    ),
    (
        CENTRAL,
        &[
            205, 210, 214, 217, 218, 219, 224, 225, 228, 235, 251, 254, 256, 262, 274, 281, 309,
            312, 314, 316, 318, 319, 320, 325, 331, 334, 337, 346, 353, 361, 402, 405, 409, 414,
            417, 430, 432, 447, 464, 469, 479, 501, 504, 507, 512, 515, 531, 534, 539, 557, 563,
            572, 573, 580, 601, 608, 612, 615, 618, 629, 630, 636, 641, 651, 659, 660, 662, 682,
            708, 712, 713, 715, 726, 730, 731, 737, 763, 769, 773, 779, 806, 815, 816, 817, 830,
            832, 847, 870, 872, 901, 903, 913, 918, 920, 931, 936, 938, 940, 945, 952, 956, 972,
            975, 979, 985,
        ],
    ),
    (CENTRAL_OR_MOUNTAIN, &[308, 605, 620, 701, 785]),
    (
        MOUNTAIN,
        &[
            303, 307, 385, 406, 435, 505, 575, 719, 720, 748, 801, 915, 970, 983,
        ],
    ),
    (&["America/Phoenix"], &[480, 520, 602, 623]),
    (&["America/Phoenix", "America/Denver"], &[928]),
    (MOUNTAIN_OR_PACIFIC, &[208, 458, 541, 775, 986]),
    (
        PACIFIC,
        &[
            206, 209, 213, 253, 279, 310, 323, 341, 350, 357, 360, 369, 408, 415, 424, 425, 442,
            503, 509, 510, 530, 559, 562, 564, 619, 626, 628, 650, 657, 661, 669, 702, 707, 714,
            725, 738, 747, 760, 805, 818, 820, 831, 837, 840, 858, 909, 916, 925, 949, 951, 971,
        ],
    ),
    (&["America/Anchorage", "America/Adak"], &[907]),
    (&["Pacific/Honolulu"], &[808]),
    (
        &["America/Toronto"],
        &[
            226, 249, 263, 289, 343, 354, 365, 367, 382, 416, 418, 437, 438, 450, 468, 514, 519,
            548, 579, 581, 613, 647, 683, 705, 742, 753, 819, 873, 905,
        ],
    ),
    (&["America/Toronto", "America/Winnipeg"], &[807]),
    (&["America/Winnipeg"], &[204, 431, 584]),
    (&["America/Regina"], &[306, 474, 639]),
    (&["America/Edmonton"], &[368, 403, 587, 780, 825]),
    (&["America/Vancouver"], &[604, 672, 778]),
    (&["America/Vancouver", "America/Edmonton"], &[236, 250, 257]),
    (&["America/Halifax"], &[428, 506, 782, 902]),
    (&["America/St_Johns", "America/Halifax"], &[709, 879]),
    (
        &["America/Edmonton", "America/Winnipeg", "America/Iqaluit"],
        &[867],
    ),
];

/// Fixed lines: the first digit of the national number names the states.
fn australian(national: u64, kind: PhoneKind) -> &'static [&'static str] {
    match (kind, national / 100_000_000) {
        (PhoneKind::Fixed, 2) => &["Australia/Sydney"],
        (PhoneKind::Fixed, 3) => &["Australia/Melbourne"],
        (PhoneKind::Fixed, 7) => &["Australia/Brisbane"],
        (PhoneKind::Fixed, 8) => &["Australia/Adelaide", "Australia/Darwin", "Australia/Perth"],
        _ => &[
            "Australia/Sydney",
            "Australia/Brisbane",
            "Australia/Adelaide",
            "Australia/Perth",
        ],
    }
}

/// Countries with several zones have the outermost and the most peopled ones. A country that is
/// not here is unknown: its leads need a `time_zone` column, or the campaign a default.
fn by_country(code: &str) -> &'static [&'static str] {
    match code {
        "CN" => &["Asia/Shanghai"],
        "HK" => &["Asia/Hong_Kong"],
        "MO" => &["Asia/Macau"],
        "TW" => &["Asia/Taipei"],
        "JP" => &["Asia/Tokyo"],
        "KR" => &["Asia/Seoul"],
        "SG" => &["Asia/Singapore"],
        "MY" => &["Asia/Kuala_Lumpur"],
        "TH" => &["Asia/Bangkok"],
        "VN" => &["Asia/Ho_Chi_Minh"],
        "PH" => &["Asia/Manila"],
        "ID" => &["Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura"],
        "IN" => &["Asia/Kolkata"],
        "PK" => &["Asia/Karachi"],
        "BD" => &["Asia/Dhaka"],
        "LK" => &["Asia/Colombo"],
        "NP" => &["Asia/Kathmandu"],
        "AE" => &["Asia/Dubai"],
        "SA" => &["Asia/Riyadh"],
        "QA" => &["Asia/Qatar"],
        "KW" => &["Asia/Kuwait"],
        "IL" => &["Asia/Jerusalem"],
        "TR" => &["Europe/Istanbul"],
        "RU" => &[
            "Europe/Kaliningrad",
            "Europe/Moscow",
            "Asia/Yekaterinburg",
            "Asia/Kamchatka",
        ],
        "UA" => &["Europe/Kyiv"],
        "GB" | "GG" | "JE" | "IM" => &["Europe/London"],
        "IE" => &["Europe/Dublin"],
        "FR" => &["Europe/Paris"],
        "DE" => &["Europe/Berlin"],
        "NL" => &["Europe/Amsterdam"],
        "BE" => &["Europe/Brussels"],
        "LU" => &["Europe/Luxembourg"],
        "CH" => &["Europe/Zurich"],
        "AT" => &["Europe/Vienna"],
        "IT" => &["Europe/Rome"],
        "ES" => &["Europe/Madrid", "Atlantic/Canary"],
        "PT" => &["Europe/Lisbon", "Atlantic/Azores"],
        "DK" => &["Europe/Copenhagen"],
        "NO" => &["Europe/Oslo"],
        "SE" => &["Europe/Stockholm"],
        "FI" => &["Europe/Helsinki"],
        "EE" => &["Europe/Tallinn"],
        "LV" => &["Europe/Riga"],
        "LT" => &["Europe/Vilnius"],
        "PL" => &["Europe/Warsaw"],
        "CZ" => &["Europe/Prague"],
        "SK" => &["Europe/Bratislava"],
        "HU" => &["Europe/Budapest"],
        "RO" => &["Europe/Bucharest"],
        "BG" => &["Europe/Sofia"],
        "GR" => &["Europe/Athens"],
        "HR" => &["Europe/Zagreb"],
        "SI" => &["Europe/Ljubljana"],
        "RS" => &["Europe/Belgrade"],
        "ZA" => &["Africa/Johannesburg"],
        "EG" => &["Africa/Cairo"],
        "NG" => &["Africa/Lagos"],
        "KE" => &["Africa/Nairobi"],
        "MA" => &["Africa/Casablanca"],
        "NZ" => &["Pacific/Auckland"],
        "MX" => &["America/Mexico_City", "America/Cancun", "America/Tijuana"],
        "BR" => &["America/Sao_Paulo", "America/Manaus", "America/Rio_Branco"],
        "AR" => &["America/Argentina/Buenos_Aires"],
        "CL" => &["America/Santiago", "America/Punta_Arenas"],
        "CO" => &["America/Bogota"],
        "PE" => &["America/Lima"],
        "PR" => &["America/Puerto_Rico"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZoneDatabase;

    fn china(cell: &str) -> Result<Phone, BadPhone> {
        parse(cell, Region::parse("cn").unwrap())
    }

    #[test]
    fn numbers_are_read_however_they_are_written() {
        for cell in [
            "138 0013 8000",
            "+86 138-0013-8000",
            "１３８００１３８０００",
            "13800138000.0",
        ] {
            let phone = china(cell).unwrap();
            assert_eq!(phone.e164, "+8613800138000", "{cell}");
            assert_eq!(phone.kind, PhoneKind::Mobile);
            assert_eq!(phone.time_zones, ["Asia/Shanghai"]);
        }
        assert_eq!(
            china("+44 20 7946 0958").unwrap().time_zones,
            ["Europe/London"]
        );
    }

    #[test]
    fn numbers_are_spaced_as_their_country_does() {
        let shown = |e164| spaced(e164).expect("a number");
        assert_eq!(shown("+8613800138000"), "+86 138 0013 8000");
        assert_eq!(shown("+442079460958"), "+44 20 7946 0958");
        assert_eq!(shown("+13055550887"), "+1 305-555-0887");
        assert_eq!(spaced("nobody"), None);
    }

    #[test]
    fn north_american_zones_follow_the_area_code() {
        for (cell, zones) in [
            ("+1 212 736 5000", &["America/New_York"][..]),
            ("+1 312 744 5000", &["America/Chicago"]),
            ("+1 602 262 7251", &["America/Phoenix"]),
            ("+1 415 701 2311", &["America/Los_Angeles"]),
            (
                "+1 208 334 2411",
                &["America/Denver", "America/Los_Angeles"],
            ),
            ("+1 416 392 2489", &["America/Toronto"]),
        ] {
            assert_eq!(china(cell).unwrap().time_zones, zones, "{cell}");
        }
    }

    #[test]
    fn an_australian_mobile_may_be_anywhere_in_the_country() {
        assert_eq!(
            china("+61 2 9374 4000").unwrap().time_zones,
            ["Australia/Sydney"]
        );
        assert_eq!(china("+61 412 345 678").unwrap().time_zones.len(), 4);
    }

    #[test]
    fn what_is_no_number_says_why() {
        assert_eq!(china("1.38E+10"), Err(BadPhone::Scientific));
        assert_eq!(china("none"), Err(BadPhone::Unreadable));
        assert_eq!(china(""), Err(BadPhone::Unreadable));
        assert_eq!(china("+86 138 0013"), Err(BadPhone::NotInPlan));
        assert_eq!(china("+44 906 895 1234"), Err(BadPhone::Premium));
    }

    #[test]
    fn every_zone_named_here_exists() {
        let codes = AREA_CODES.iter().flat_map(|(zones, _)| zones.iter());
        let letters = || b'A'..=b'Z';
        let countries = letters().flat_map(|a| letters().map(move |b| [a, b]));
        let by_country =
            countries.flat_map(|code| by_country(std::str::from_utf8(&code).unwrap()).iter());
        let australian =
            [2, 3, 7, 8, 4].map(|first| australian(first * 100_000_000, PhoneKind::Fixed));
        let zones = TimeZoneDatabase::bundled();
        let mut many = 0;
        for name in codes
            .chain(by_country)
            .chain(australian.into_iter().flatten())
        {
            assert!(zones.get(name).is_ok(), "{name}");
            many += 1;
        }
        assert!(many > 90);
    }

    #[test]
    fn no_area_code_stands_in_two_rows() {
        let mut seen = std::collections::BTreeSet::new();
        for code in AREA_CODES.iter().flat_map(|(_, codes)| codes.iter()) {
            assert!(seen.insert(code), "{code}");
        }
    }
}
