//! The node's clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time of day, UTC, counted on from the node's start by a clock that never jumps: setting
/// the machine's clock must neither start an election nor stop one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// The time of day at the start.
    time_of_day: Duration,
}

impl Clock {
    pub fn start() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let day = 24 * 60 * 60;
        let time_of_day = Duration::new(since_epoch.as_secs() % day, since_epoch.subsec_nanos());
        Clock { started: Instant::now(), time_of_day }
    }

    /// Since midnight UTC of the day of the start; grows beyond 24 hours.
    pub fn now(&self) -> Duration {
        self.time_of_day + self.started.elapsed()
    }

    /// When [`now`](Clock::now) will be, or was, `time`, for what sleeps.
    pub fn instant(&self, time: Duration) -> Instant {
        self.started + time.saturating_sub(self.time_of_day)
    }

    /// Since the node's start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_within_a_day_and_goes_on() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(now < Duration::from_secs(24 * 60 * 60 + 10));
        assert!(clock.now() >= now && clock.uptime() < Duration::from_secs(10));
        assert!(clock.instant(now) <= Instant::now());
        assert_eq!(clock.instant(now + Duration::from_secs(1)), clock.instant(now) + Duration::from_secs(1));
    }
}
