//! Log lines of several nodes, merged: each is an event, so it can be sorted by its time and coloured by its kind.

use std::time::Duration;

use raft_lab::paint;
use raft_lab::raft::event::Event;
use raft_lab::text::plain;

/// Lines that arrive this close together are put into the order of their times.
pub const GATHER: Duration = Duration::from_millis(30);

/// One line of a node's log.
pub struct Line {
    text: String,
    /// None for what is no event that this program knows: a panic's words, or a newer node's line. It is shown,
    /// but nothing of it is believed.
    event: Option<Event>,
}

impl Line {
    pub fn read(text: &str) -> Line {
        match text.parse() {
            Ok(event) => Line { text: text.to_string(), event: Some(event) },
            Err(_) => Line { text: plain(text), event: None },
        }
    }

    /// As it came, without its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it tells, if it is a line that this program knows.
    pub fn event(&self) -> Option<&Event> {
        self.event.as_ref()
    }

    /// Appends the line with its end.
    pub fn push(&self, out: &mut String, colors: bool) {
        match &self.event {
            Some(event) if colors => paint::push_line(out, event, &self.text),
            _ => {
                out.push_str(&self.text);
                out.push('\n');
            }
        }
    }
}

/// Sorts by time; lines of one node keep their order, since its clock never runs backwards.
pub fn in_order<T>(batch: &mut [T], line: impl Fn(&T) -> &Line) {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let times: Vec<_> = batch.iter().map(|one| line(one).event.as_ref().map(|event| event.at)).collect();
    let near_midnight = |at: &Duration| *at < HOUR || *at > 23 * HOUR;
    // With a line of unknown time, or where the time of day begins anew, the order of arrival stands.
    let sortable = times.iter().all(Option::is_some) && !times.iter().flatten().all(near_midnight);
    if sortable {
        batch.sort_by_key(|one| line(one).event.as_ref().map(|event| event.at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(texts: &[&str]) -> Vec<String> {
        let heartbeat = |time: &&str| format!("{time} node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_1");
        let mut batch: Vec<_> = texts.iter().map(|time| Line::read(&heartbeat(time))).collect();
        in_order(&mut batch, |line| line);
        batch.iter().map(|line| line.text.split(' ').next().unwrap_or_default().to_string()).collect()
    }

    #[test]
    fn lines_are_sorted_by_time_unless_that_is_unknown_or_midnight_passes() {
        assert_eq!(order(&["12:00:00.003", "12:00:00.001", "12:00:00.002"])[0], "12:00:00.001");
        assert_eq!(order(&["12:00:00.003", "so it is", "12:00:00.002"])[0], "12:00:00.003");
        assert_eq!(order(&["23:59:59.999", "00:00:00.000"])[0], "23:59:59.999");
    }

    #[test]
    fn what_is_no_event_cannot_move_the_cursor() {
        let mut out = String::new();
        Line::read("\x1b[2Jhello \"x\"").push(&mut out, true);
        assert_eq!(out, "\\u{1b}[2Jhello \"x\"\n");
    }
}
