//! Times in the format of zips.

/// The time that every member gets, as zips store it: two-second steps from 1980 to 2107, no time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DosTime {
    pub(super) date: u16,
    pub(super) time: u16,
}

impl DosTime {
    /// 1980-01-01 00:00:00, the first there is.
    pub const FIRST: Self = Self { date: 1 << 5 | 1, time: 0 };

    /// From seconds since 1970, as `SOURCE_DATE_EPOCH` has them, in UTC; nothing outside 1980 to 2107.
    pub fn from_epoch(seconds: i64) -> Option<Self> {
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let year = u16::try_from(year - 1980).ok().filter(|&year| year < 128)?;
        let date = year << 9 | u16::try_from(month).ok()? << 5 | u16::try_from(day).ok()?;
        let time = (second / 3600) << 11 | (second / 60 % 60) << 5 | (second % 60 / 2);
        Some(Self { date, time: u16::try_from(time).ok()? })
    }
}

/// `2026-02-28T12:00:00Z`.
impl std::fmt::Display for DosTime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { date, time } = self;
        let (year, month, day) = (1980 + (date >> 9), date >> 5 & 15, date & 31);
        let (hour, minute, second) = (time >> 11, time >> 5 & 63, (time & 31) * 2);
        write!(formatter, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Year, month, day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that the leap day ends a year; 146,097 days are 400 years.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_zips() {
        assert_eq!(DosTime::from_epoch(315_532_800), Some(DosTime::FIRST));
        assert_eq!(DosTime::from_epoch(315_532_799), None);
        assert_eq!(DosTime::from_epoch(4_354_819_200), None);
        let leap_day = DosTime::from_epoch(951_868_799).unwrap(); // 2000-02-29 23:59:59
        assert_eq!(leap_day, DosTime { date: 20 << 9 | 2 << 5 | 29, time: 23 << 11 | 59 << 5 | 29 });
        assert_eq!(leap_day.to_string(), "2000-02-29T23:59:58Z");
    }
}
