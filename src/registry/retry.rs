//! When to try again: exponential back-off with jitter, and what a server asks for with `Retry-After`.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// The longest wait between two tries, whatever the server asks for.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Counts the tries of one operation.
#[derive(Debug)]
pub(crate) struct Backoff {
    left: u32,
    next: Duration,
}

impl Backoff {
    /// `retries` tries after the first; `base` is the first wait, before jitter.
    pub(crate) fn new(retries: u32, base: Duration) -> Self {
        Self {
            left: retries,
            next: base,
        }
    }

    /// How many tries are left.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// How long to wait before the next try, or `None` if there is none.
    pub(crate) fn wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let own = self.next.mul_f64(0.5 + random_fraction());
        self.next = (self.next * 2).min(LONGEST_WAIT);
        Some(asked.unwrap_or(own).min(LONGEST_WAIT))
    }
}

/// A number in `0.0..1.0`, different in each call and process; for jitter only.
fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// The wait that a `Retry-After` header asks for: seconds, or a date (RFC 9110, section 10.2.3). A date in the past is
/// no wait at all.
pub(crate) fn retry_after(value: &str, now_unix_seconds: i64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let seconds = http_date(value)?.saturating_sub(now_unix_seconds);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Unix seconds of an IMF-fixdate such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7; its two obsolete
/// forms are not read).
fn http_date(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: i64 = digits(parts.next()?, 2)?;
    let month = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    .iter()
    .position(|name| Some(*name) == rest.get(3..6))? as i64
        + 1;
    parts.next()?;
    let year = digits(parts.next()?, 4)?;
    let mut time = parts.next()?.split(':');
    let hour = digits(time.next()?, 2)?;
    let minute = digits(time.next()?, 2)?;
    let second = digits(time.next()?, 2)?;
    if time.next().is_some() || parts.next() != Some("GMT") || parts.next().is_some() {
        return None;
    }
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970-01-01, counted in years that start in March, so that the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    if text.len() != count || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000)),
            ("Fri, 31 Dec 2100 23:59:59 GMT", Some(4_133_980_799)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("", None),
            (", ", None),
            ("Sun, 06 \u{e9}\u{e9} 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(http_date(text), expected, "{text}");
        }
    }

    #[test]
    fn what_retry_after_asks_for() {
        let now = 784_111_777;
        for (text, expected) in [
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("soon", None),
            ("-3", None),
            ("", None),
        ] {
            assert_eq!(
                retry_after(text, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
    }

    #[test]
    fn waits_grow_are_bounded_and_end() {
        let mut backoff = Backoff::new(3, Duration::from_millis(100));
        for base in [100, 200, 400] {
            let wait = backoff.wait(None).expect("three retries").as_millis();
            assert!((base / 2..base * 3 / 2).contains(&wait), "{wait} of {base}");
        }
        assert_eq!(backoff.wait(None), None);
        let mut backoff = Backoff::new(1, Duration::from_millis(100));
        assert_eq!(
            backoff.wait(Some(Duration::from_secs(86_400))),
            Some(LONGEST_WAIT)
        );
    }
}
