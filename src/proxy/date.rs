//! The value of `Date` (RFC 9110 section 6.6.1), written anew when its second has passed.
//!
//! Inside: the IMF-fixdate of an instant, kept for the next response. Kept out: what time it is, which the caller says, and
//! the field.

use std::cell::RefCell;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::notice::wire::DATE_BYTES;

static PRINTER: DateTimePrinter = DateTimePrinter::new();

/// One worker's date.
#[derive(Debug)]
pub struct DateCell {
    kept: RefCell<Kept>,
}

#[derive(Debug)]
struct Kept {
    second: u64,
    date: [u8; DATE_BYTES],
    /// Where a date is written at first; it is kept so that nothing is allocated.
    written: String,
}

impl DateCell {
    /// The date of an instant in seconds since 1970, in the form that is sent (RFC 9110 section 5.6.7: IMF-fixdate).
    /// Within one second, in whatever order they come, it is not written again.
    pub fn at(&self, second: u64) -> [u8; DATE_BYTES] {
        let mut kept = self.kept.borrow_mut();
        if kept.second != second {
            kept.write(second);
        }
        kept.date
    }
}

impl Default for DateCell {
    fn default() -> Self {
        let date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        Self { kept: RefCell::new(Kept { second: 0, date, written: String::with_capacity(2 * DATE_BYTES) }) }
    }
}

impl Kept {
    /// A date past the year 9999 has no form and leaves the last one.
    fn write(&mut self, second: u64) {
        self.second = second;
        self.written.clear();
        let instant = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
        let printed = instant.map(|instant| PRINTER.print_timestamp_rfc9110(&instant, &mut self.written));
        if let (Some(Ok(())), Ok(date)) = (printed, self.written.as_bytes().try_into()) {
            self.date = date;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    /// 9999-12-30 22:00:00 UTC, the last instant that `jiff` has.
    const LAST: u64 = 253_402_207_200;

    fn expected(second: u64) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second))
    }

    fn expect_date(dates: &DateCell, second: u64) {
        assert_eq!(dates.at(second).escape_ascii().to_string(), expected(second), "{second}");
    }

    #[test]
    fn dates_are_those_of_the_rfc() {
        let dates = DateCell::default();
        for (second, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1, "Thu, 01 Jan 1970 00:00:01 GMT"),
            // RFC 9110 section 5.6.7.
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (2_147_483_647, "Tue, 19 Jan 2038 03:14:07 GMT"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (4_294_967_296, "Sun, 07 Feb 2106 06:28:16 GMT"),
        ] {
            assert_eq!(dates.at(second).escape_ascii().to_string(), date);
            assert_eq!(expected(second), date);
        }
    }

    #[test]
    fn every_day_of_five_centuries_begins_and_ends_right() {
        let dates = DateCell::default();
        for day in 0..500 * 366 {
            expect_date(&dates, day * 86_400);
            expect_date(&dates, day * 86_400 + 86_399);
        }
    }

    #[test]
    fn the_same_second_has_the_same_date_and_an_earlier_one_its_own() {
        let dates = DateCell::default();
        for second in [0, 0, 5, 5, 4, 6, 6, 0, LAST, LAST, 1] {
            expect_date(&dates, second);
        }
    }

    #[test]
    fn instant_that_has_no_date_leaves_the_last_one() {
        for second in [LAST + 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
            let dates = DateCell::default();
            let last = dates.at(1_000);
            assert_eq!(dates.at(second), last, "{second}");
            expect_date(&dates, 2_000);
        }
    }

    proptest! {
        #[test]
        fn any_instants_in_any_order_have_their_dates(seconds in prop::collection::vec(0..=LAST, 1..20)) {
            let dates = DateCell::default();
            for second in seconds {
                prop_assert_eq!(dates.at(second).escape_ascii().to_string(), expected(second));
            }
        }
    }
}
