//! Cells as people and spreadsheets write them, made plain.

/// Without blanks around, invisible characters and control codes inside; full-width forms (as
/// typed with a Chinese input method) become their plain ones in `plain_number` only.
pub fn text(cell: &str) -> String {
    let kept = cell.chars().filter(|c| !is_invisible(*c)).map(|c| match c {
        '\u{a0}' | '\u{3000}' => ' ',
        c if c.is_control() && c != '\n' => ' ',
        c => c,
    });
    kept.collect::<String>().trim().to_owned()
}

/// A phone number's cell: full-width digits and signs become plain, and what spreadsheets make of
/// a number (`'138…`, `13800138000.0`) is undone.
pub fn number(cell: &str) -> String {
    let plain: String = text(cell)
        .chars()
        .map(|c| match u32::from(c) {
            // U+FF01..U+FF5E mirror U+0021..U+007E.
            code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
            _ => c,
        })
        .collect();
    let plain = plain.trim_start_matches('\'');
    match plain.split_once('.') {
        Some((whole, "0" | "00"))
            if !whole.is_empty() && whole.bytes().all(|b| b.is_ascii_digit()) =>
        {
            whole.to_owned()
        }
        _ => plain.to_owned(),
    }
}

/// `1.38E+10`: a spreadsheet has thrown digits away.
pub fn is_scientific(number: &str) -> bool {
    let number = number.to_ascii_lowercase();
    number.split_once('e').is_some_and(|(mantissa, exponent)| {
        mantissa.parse::<f64>().is_ok() && exponent.parse::<i32>().is_ok()
    })
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_and_odd_blanks_go() {
        assert_eq!(text("\u{feff} 王\u{200b}芳\u{3000}"), "王芳");
        assert_eq!(text("a\tb\u{a0}c"), "a b c");
    }

    #[test]
    fn what_spreadsheets_do_to_numbers_is_undone() {
        assert_eq!(number("１３８００１３８０００"), "13800138000");
        assert_eq!(number("13800138000.0"), "13800138000");
        assert_eq!(number("'+86 138"), "+86 138");
        assert_eq!(number("020.7946.0"), "020.7946.0");
        assert!(is_scientific("1.38E+10"));
        assert!(!is_scientific("13800138000"));
    }
}
