//! CLIENT lines come at a person's pace: beyond, they are counted and told as one.

use std::time::Duration;

use super::limits::CLIENT_EVENTS_PER_SECOND;

/// How many CLIENT lines the present second has had.
pub struct ClientLines {
    second: Duration,
    lines: u32,
    left_out: u64,
}

impl ClientLines {
    pub fn new(now: Duration) -> ClientLines {
        ClientLines { second: now, lines: 0, left_out: 0 }
    }

    /// May one more line be told now? If not, it is counted.
    pub fn one_more(&mut self, now: Duration) -> bool {
        if self.left_out == 0 && now.saturating_sub(self.second) >= Duration::from_secs(1) {
            (self.second, self.lines) = (now, 0);
        }
        let told = self.left_out == 0 && self.lines < CLIENT_EVENTS_PER_SECOND;
        if told {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        told
    }

    /// What was left out, in words, once its second is over.
    pub fn left_out(&mut self, now: Duration) -> Option<String> {
        if self.left_out == 0 || now.saturating_sub(self.second) < Duration::from_secs(1) {
            return None;
        }
        let text = format!("{} more answers like these, not told one by one", self.left_out);
        (self.second, self.lines, self.left_out) = (now, 0, 0);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_lines_come_at_a_persons_pace() {
        let mut told = ClientLines::new(Duration::ZERO);
        for _ in 0..CLIENT_EVENTS_PER_SECOND {
            assert!(told.one_more(Duration::from_millis(10)));
        }
        assert!(!told.one_more(Duration::from_millis(20)) && !told.one_more(Duration::from_millis(1020)));
        assert_eq!(told.left_out(Duration::from_millis(900)), None);
        let text = told.left_out(Duration::from_millis(1020));
        assert_eq!(text.as_deref(), Some("2 more answers like these, not told one by one"));
        assert_eq!(told.left_out(Duration::from_secs(5)), None);
        assert!(told.one_more(Duration::from_secs(5)));
    }
}
