//! Texts for times and numbers.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Returns a duration in its two most significant units: `42s`, `4m10s`, `3h5m`, `2d4h`.
pub fn duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{large}{unit}")
        } else {
            format!("{large}{unit}{small}{small_unit}")
        }
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => two(minutes, "m", seconds % 60, "s"),
        3600..86400 => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// Returns why an operation ended, to append to how it ended. Drops "canceled", which is said there already.
pub fn why_it_ended(message: &str) -> String {
    let why = message.strip_prefix("canceled").unwrap_or(message);
    match why.trim_start_matches(": ") {
        "" => String::new(),
        why => format!(": {why}"),
    }
}

/// Returns how long ago a time was.
pub fn since(time: Option<&Time>, now: Timestamp) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| duration(now.duration_since(time.0)),
    )
}

/// Returns only the time of day if the time is less than 20 hours ago, otherwise the date as well.
pub fn at(time: &Time, now: Timestamp) -> String {
    if now.duration_since(time.0).as_hours() < 20 {
        time.0.strftime("%H:%M:%S UTC").to_string()
    } else {
        minute(time.0)
    }
}

/// Returns the date and the time of day to the minute.
pub fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `1 node`, `2 nodes`.
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Joins names: `a`, `a and b`, `a, b and c`. Of many names, only the first few.
pub fn list(names: &[&str]) -> String {
    const MOST: usize = 4;
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        many if many.len() > MOST + 1 => {
            let more = many.len() - MOST;
            format!("{} and {more} more", many[..MOST].join(", "))
        }
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_its_two_largest_units() {
        for (seconds, expected) in [
            (-3, "0s"),
            (42, "42s"),
            (60, "1m"),
            (250, "4m10s"),
            (3600 * 3 + 300, "3h5m"),
            (86400 * 2, "2d"),
        ] {
            assert_eq!(duration(SignedDuration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_long_list_shows_the_first_names_and_a_count() {
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(
            list(&["a", "b", "c", "d", "e", "f"]),
            "a, b, c, d and 2 more"
        );
    }
}
