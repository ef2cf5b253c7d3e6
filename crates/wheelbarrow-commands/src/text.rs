//! Formats numbers and tables.

/// `1.2 MB`: powers of a thousand, as `ls` and disks have them.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let (mut divisor, mut unit) = (1000, 0);
    while tenths(count, divisor) >= 10_000 && unit + 1 < UNITS.len() {
        (divisor, unit) = (divisor * 1000, unit + 1);
    }
    let tenths = tenths(count, divisor);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// How many tenths of `divisor` a number is, rounded. Without fractions, whose formatting takes 10 kB of every artifact.
fn tenths(number: u64, divisor: u64) -> u64 {
    number / divisor * 10 + (number % divisor * 10 + divisor / 2) / divisor
}

/// `1 wheel`, `3 wheels`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `0.8 s`.
pub fn seconds(milliseconds: u64) -> String {
    let tenths = tenths(milliseconds, 1000);
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// `2026-11-23 04:05:06Z` of seconds since 1970, by the proleptic Gregorian calendar.
pub fn time(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of the year 0, so that the leap day is the last of its year.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

#[derive(Clone, Copy)]
pub enum Align {
    Left,
    Right,
}

/// Characters of a cell that are shown: a line that is much longer is not read, and the formatter has no wider columns than
/// 65,535.
const CELL: usize = 1000;

/// One line of at most [`CELL`] characters.
fn cell(text: &str) -> String {
    let mut characters = text.chars().map(|one| if matches!(one, '\n' | '\t' | '\r') { ' ' } else { one });
    let mut cell: String = characters.by_ref().take(CELL).collect();
    if characters.next().is_some() {
        cell.push_str("...");
    }
    // Escapes take room, so they must be there before the width is counted.
    wheelbarrow_artifact::printable(&cell).into_owned()
}

/// Columns two spaces apart, as wide as they need to be.
pub fn table(align: &[Align], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..align.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).zip(align).map(|((cell, width), align)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_fitting_unit() {
        let sizes = [0, 999, 1000, 1_250_000, 999_960, 5_000_000_000].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.3 MB", "1.0 MB", "5.0 GB"]);
        assert_eq!([999_949, 999_950, u64::MAX].map(bytes), ["999.9 kB", "1.0 MB", "18446744.1 TB"]);
        assert_eq!([0, 49, 50, 1_949, 60_000].map(seconds), ["0.0 s", "0.0 s", "0.1 s", "1.9 s", "60.0 s"]);
    }

    #[test]
    fn times_are_utc() {
        let times = [0, 951_827_696, 1_763_867_106, 4_102_444_800].map(time);
        let right =
            ["1970-01-01 00:00:00Z", "2000-02-29 12:34:56Z", "2025-11-23 03:05:06Z", "2100-01-01 00:00:00Z"];
        assert_eq!(times, right);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["bcd".to_owned(), "5".to_owned()]];
        assert_eq!(table(&[Align::Left, Align::Right], &rows), "a    10\nbcd   5");
    }

    #[test]
    fn no_cell_is_too_long_or_has_control_characters() {
        let rows = [vec!["x".repeat(70_000), "a\nb\x1b[2J".to_owned()], vec!["y".to_owned(), String::new()]];
        let table = table(&[Align::Left, Align::Left], &rows);
        assert!(table.starts_with(&format!("{}...  a b\\x1b[2J\ny", "x".repeat(1000))), "{table}");
    }
}
