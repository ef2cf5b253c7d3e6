//! Times of allowed signers, `YYYYMMDD[HHMM[SS]][Z]`, in UTC or in the host's time zone.
//!
//! The C library converts them, since a calendar library would add 50 kB to the standalone binary for this
//! one use.

use std::fmt;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = empty();
        // SAFETY: both point to values that live during the call.
        if unsafe { libc::gmtime_r(&self.0, &raw mut fields) }.is_null() {
            return write!(formatter, "{} seconds since 1970", self.0);
        }
        let libc::tm { tm_year, tm_mon, tm_mday, tm_hour, tm_min, tm_sec, .. } = fields;
        let (year, month) = (tm_year + 1900, tm_mon + 1);
        write!(formatter, "{year:04}-{month:02}-{tm_mday:02}T{tm_hour:02}:{tm_min:02}:{tm_sec:02}Z")
    }
}

/// In the host's time zone, unless a Z at the end names UTC.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let invalid = || format!("invalid time {text:?}, expected one like 20261231 or 202612312359Z");
    let (digits, is_utc) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || ![8, 12, 14].contains(&digits.len()) {
        return Err(invalid());
    }
    let number = |range: Range<usize>| digits.get(range).and_then(|part| part.parse().ok()).unwrap_or(0);
    let mut fields = empty();
    fields.tm_year = number(0..4) - 1900;
    fields.tm_mon = number(4..6) - 1;
    fields.tm_mday = number(6..8);
    (fields.tm_hour, fields.tm_min, fields.tm_sec) = (number(8..10), number(10..12), number(12..14));
    // Daylight saving time is to be looked up.
    fields.tm_isdst = -1;
    let date = |fields: &libc::tm| (fields.tm_year, fields.tm_mon, fields.tm_mday);
    let expected = date(&fields);
    let is_clock = fields.tm_hour < 24 && fields.tm_min < 60 && fields.tm_sec < 60;
    // SAFETY: it points to a value that lives during the call.
    let seconds =
        unsafe { if is_utc { libc::timegm(&raw mut fields) } else { libc::mktime(&raw mut fields) } };
    // The 30th of February becomes a day in March; an hour that a clock change skips stays on its day. ssh-keygen has no
    // time before 1970.
    if is_clock && seconds > 0 && date(&fields) == expected { Ok(Timestamp(seconds)) } else { Err(invalid()) }
}

fn empty() -> libc::tm {
    // SAFETY: all its fields are numbers, and a pointer that may be null.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_utc_and_shown_in_it() {
        for (text, shown) in [
            ("20300101Z", "2030-01-01T00:00:00Z"),
            ("203002281259z", "2030-02-28T12:59:00Z"),
            ("20280229235959Z", "2028-02-29T23:59:59Z"),
            ("19700101000001Z", "1970-01-01T00:00:01Z"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in
            ["", "2030", "20301301Z", "20300001", "20300230Z", "203001012400Z", "203001010060", "2030010x"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    /// As ssh-keygen does.
    #[test]
    fn times_before_1970_are_refused() {
        for text in ["19700101Z", "19691231235959Z", "19691201", "00010101"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_hosts_time_zone_counts() {
        let utc = parse("20300701Z").unwrap();
        let here = parse("20300701").unwrap();
        assert!((utc.0 - here.0).abs() <= 14 * 3600);
    }
}
