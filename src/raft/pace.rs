//! How fast entries may be told one by one.

use std::time::Duration;

/// Entries a second that get lines of their own, and the burst that may come at once.
const ENTRIES_PER_SECOND: u64 = 100;

/// A bucket that fills with time and that each entry told by itself empties. At a person's pace it
/// is never empty.
#[derive(Debug)]
pub struct Pace {
    allowance: u64,
    filled: Duration,
}

impl Pace {
    pub fn new(now: Duration) -> Pace {
        Pace { allowance: ENTRIES_PER_SECOND, filled: now }
    }

    /// May `count` entries be told one by one? If not, they are told as one span.
    pub fn one_by_one(&mut self, now: Duration, count: u64) -> bool {
        let interval = Duration::from_secs(1) / ENTRIES_PER_SECOND as u32;
        let earned = (now.saturating_sub(self.filled).as_nanos() / interval.as_nanos()) as u64;
        if earned > 0 {
            self.allowance = ENTRIES_PER_SECOND.min(self.allowance.saturating_add(earned));
            self.filled = now;
        }
        let enough = count <= self.allowance;
        if enough {
            self.allowance -= count;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_spans_only_when_pressed() {
        let mut pace = Pace::new(Duration::ZERO);
        assert!(pace.one_by_one(Duration::ZERO, 60));
        assert!(!pace.one_by_one(Duration::ZERO, 60));
        assert!(pace.one_by_one(Duration::ZERO, 40));
        assert!(!pace.one_by_one(Duration::from_millis(9), 1));
        assert!(pace.one_by_one(Duration::from_millis(10), 1));
        assert!(pace.one_by_one(Duration::from_secs(60), 100));
        assert!(!pace.one_by_one(Duration::from_secs(60), 1));
    }
}
