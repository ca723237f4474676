//! Judging a run by what the nodes have printed, as the lab's grader does: every line must read as an
//! event, and together they must not contradict Raft's properties.

use std::time::Duration;

use raft_lab::raft::audit::Audit;
use raft_lab::raft::event::{Event, Fact};
use raft_lab::raft::types::{NodeId, Role, Term};

use super::Lab;

/// Times of day in the log start again at midnight.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Lab {
    /// A node's log so far as events, of all its lives. Fails the test if a line is none. Only the last
    /// line of a life may be cut off: `kill -9` may come in the middle of a write.
    pub fn events(&self, node: usize) -> Vec<Event> {
        let lines = self.lines(node);
        let mut events = Vec::with_capacity(lines.len());
        for (number, line) in lines.iter().enumerate() {
            match line.parse() {
                Ok(event) => events.push(event),
                Err(_) if lines.get(number + 1).is_none_or(|next| next.contains(" START ")) => {}
                Err(error) => self.fail(&format!("line {} of node {node}: {error}", number + 1)),
            }
        }
        events
    }

    /// How many events of a node satisfy a condition.
    pub fn count(&self, node: usize, is: impl Fn(&Event) -> bool) -> usize {
        self.events(node).iter().filter(|event| is(event)).count()
    }

    /// The events of all nodes in the order of their times, each node's in its own order.
    pub fn all_events(&self) -> Vec<Event> {
        let mut all = Vec::new();
        for node in 1..=self.size() {
            let (mut last, mut midnights) = (Duration::ZERO, Duration::ZERO);
            for event in self.events(node) {
                if event.at + DAY / 2 + midnights < last {
                    midnights += DAY;
                }
                last = last.max(event.at + midnights);
                all.push((last, event));
            }
        }
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, event)| event).collect()
    }

    /// Feeds all that was told to the checker of Raft's properties.
    pub fn judge(&self) {
        self.judge_but_forget(&[]);
    }

    /// The same where these nodes came back with another disk than they had: what they promised is gone
    /// with it, so each of their lives is judged for itself.
    pub fn judge_but_forget(&self, wiped: &[usize]) {
        let mut audit = Audit::new();
        for event in self.all_events() {
            let starts = matches!(event.fact, Fact::Start { .. });
            if starts && wiped.contains(&(event.node.0 as usize)) {
                audit.forget(event.node);
            }
            if let Some(violation) = audit.observe(&event).first() {
                let earlier = violation.earlier.as_ref().map_or(String::new(), |event| format!("\nearlier: {event}"));
                self.fail(&format!("{violation}{earlier}\nline:    {}", violation.event));
            }
        }
    }

    /// Who became leader of which term, in the order of the terms. Fails the test if two did.
    pub fn leaders(&self) -> Vec<(Term, NodeId)> {
        let elected = self.all_events().into_iter().filter(won);
        let mut leaders: Vec<(Term, NodeId)> = elected.map(|event| (event.term, event.node)).collect();
        leaders.sort();
        if let Some(pair) = leaders.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            self.fail(&format!("two leaders of one term: {pair:?}"));
        }
        leaders
    }

    /// The newest term that any node has told.
    pub fn newest_term(&self) -> Term {
        self.all_events().iter().map(|event| event.term).max().unwrap_or(0)
    }
}

/// Did the node become leader with this event?
pub fn won(event: &Event) -> bool {
    event.role == Role::Leader && matches!(event.fact, Fact::State { .. })
}

/// Did the node commit this string with this event? (At a person's pace each has its line.)
pub fn commits(event: &Event, text: &str) -> bool {
    matches!(&event.fact, Fact::Commit { .. }) && event.to_string().contains(&raft_lab::text::quote(text))
}
