//! When to fetch again.
//!
//! Inside: the pause after a success and after a failure, and what a server asks for. Kept out: waiting.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// The pause after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// The longest pause between failures where `refresh` is shorter.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// A server that asks to be left alone for longer is asked again after this all the same.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// The pause after a success, with jitter: `random` is below 1. Never longer than `refresh`.
pub(super) fn after_success(refresh: Duration, random: f64) -> Duration {
    refresh.mul_f64(1.0 - 0.1 * random)
}

/// The pause after so many failures in a row, with jitter: it doubles up to `refresh`, or to five minutes where that is
/// shorter, and is at least what the server asked for.
pub(super) fn after_failure(refresh: Duration, failures: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let pause = doubled.min(refresh.max(LONGEST_RETRY)).mul_f64(1.0 - 0.5 * random);
    pause.max(retry_after.unwrap_or_default())
}

/// What `Retry-After` asks for (RFC 9110 section 10.2.3): seconds, or a date. A day at most.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits are too many seconds.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let date = rfc2822::parse(value).ok()?.timestamp();
    let left = Duration::try_from(now.duration_until(date)).unwrap_or_default();
    Some(left.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn retry_after_is_seconds_or_a_date_and_a_day_at_most() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().expect("a moment");
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 2094 08:00:00 GMT", None),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            // 2094 has another weekday: a date that contradicts itself is none.
            assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn failures_are_retried_ever_less_often_up_to_the_refresh() {
        let pause = |failures| after_failure(HOUR, failures, None, 0.0).as_secs();
        assert_eq!([1, 2, 3, 4, 10, 11, 500].map(pause), [5, 10, 20, 40, 2_560, 3_600, 3_600]);
        assert_eq!(after_failure(Duration::from_secs(1), 100, None, 0.0), LONGEST_RETRY);
        let asked = Some(Duration::from_secs(600));
        assert_eq!(after_failure(HOUR, 1, asked, 0.0).as_secs(), 600);
        assert_eq!(after_failure(HOUR, 50, asked, 0.0).as_secs(), 3_600);
    }

    proptest! {
        #[test]
        fn pauses_are_never_a_storm_and_never_longer_than_meant(
            refresh in 1..700_000_u64, failures in 1..u32::MAX, random in 0.0..1.0,
        ) {
            let refresh = Duration::from_secs(refresh);
            let good = after_success(refresh, random);
            prop_assert!(good <= refresh && good >= refresh.mul_f64(0.9));
            let bad = after_failure(refresh, failures, None, random);
            prop_assert!(bad >= FIRST_RETRY / 2 && bad <= refresh.max(LONGEST_RETRY));
        }

        #[test]
        fn retry_after_never_panics(value in "\\PC{0,40}", seconds in 0..4_000_000_000_i64) {
            let now = Timestamp::from_second(seconds).expect("a moment");
            prop_assert!(retry_after(&value, now).is_none_or(|pause| pause <= LONGEST_RETRY_AFTER));
        }
    }
}
