//! Times of day: on the command line, and as the rows tell them.

use std::time::Duration;

use crate::output::Failure;

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `12:00`, `12:00:07` or `12:00:07.416`; `name` is what the error calls it.
pub fn read(name: &str, given: &str) -> Result<Duration, Failure> {
    let wrong =
        || Failure::Usage(format!("{name}: expected a time of day like 12:00:07 or 12:00:07.416, got {given:?}"));
    let (clock, fraction) = given.split_once('.').map_or((given, None), |(clock, rest)| (clock, Some(rest)));
    let parts: Vec<&str> = clock.split(':').collect();
    let (hours, minutes, seconds) = match (&parts[..], fraction) {
        ([hours, minutes], None) => (hours, minutes, &"0"),
        ([hours, minutes, seconds], _) => (hours, minutes, seconds),
        _ => return Err(wrong()),
    };
    let part = |text: &str, below: u64| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &u64| digits && *number < below)
    };
    let millis = match fraction {
        None => Some(0),
        Some(digits) if digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{digits:0<3}").parse().ok()
        }
        Some(_) => None,
    };
    match (part(hours, 24), part(minutes, 60), part(seconds, 60), millis) {
        (Some(hours), Some(minutes), Some(seconds), Some(millis)) => {
            Ok(Duration::from_secs((hours * 60 + minutes) * 60 + seconds) + Duration::from_millis(millis))
        }
        _ => Err(wrong()),
    }
}

/// `12:00:07.416`.
pub fn of_day(at: Duration) -> String {
    let (seconds, millis) = (at.as_secs(), at.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// How often midnight has passed.
pub fn day(at: Duration) -> u64 {
    at.as_secs() / DAY.as_secs()
}

/// The first moment not before `least` that has this time of day and lies before `end`; if there is none, the one that is
/// nearest to what lies between `start` and `end`.
pub fn moment(of_day: Duration, least: Duration, start: Duration, end: Duration) -> Duration {
    let on = |day: u64| DAY * u32::try_from(day).unwrap_or(u32::MAX) + of_day;
    let mut days = (day(start).saturating_sub(1)..=day(end) + 1).map(on);
    let inside = days.clone().find(|at| (least..=end).contains(at));
    let distance = |at: &Duration| start.saturating_sub(*at).max(at.saturating_sub(end));
    inside.or_else(|| days.by_ref().min_by_key(distance)).unwrap_or(of_day)
}

/// `0.4 s`, `12.3 s`, `2 min 5 s`, `3 h 20 min`.
pub fn lasting(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
