//! The verdict as a teacher reads it: on one screen.

use std::fmt::Write;
use std::time::Duration;

use raft_lab::logs::{Hole, Judgement, Logs, Verdict};
use raft_lab::raft::event::{Event, Fact};
use raft_lab::raft::safety::Property;
use raft_lab::raft::types::{NodeId, Role};

use super::checklist::Item;

/// Holes that are told one by one; of more only how many.
const MAX_HOLES: usize = 5;
/// Lines that are shown for an item of the checklist: one a node of the largest Compose cluster.
const MAX_EVIDENCE: usize = 5;

/// The property in the words of the lab, and what it is judged by.
fn words(property: Property) -> (&'static str, &'static str) {
    match property {
        Property::OneVote => ("one vote a node a term (§5.2)", "votes"),
        Property::ElectionSafety => ("one leader a term (§5.2)", "elections"),
        Property::ElectedByMajority => ("no leader without a majority of votes (§5.2)", "elections"),
        Property::TermsGrow => ("a node's term never goes back (§5.1)", "lines"),
        Property::LogMatching => ("equal entries stand behind equal logs (§5.3)", "lines of appends"),
        Property::LeaderAppendOnly => ("a leader only appends to its log (§5.3)", "lines of leaders' appends"),
        Property::CommitByMajority => {
            ("commit only after replication on a majority (§5.3, §5.4.2)", "leaders' commits")
        }
        Property::CommitGrows => ("a node's commit index never goes back", "commits"),
        Property::StateMachineSafety => ("committed entries are the same everywhere, for good (§5.4.3)", "commits"),
        Property::LeaderCompleteness => ("a new leader has all committed entries (§5.4)", "elections"),
        Property::KeptOnDisk => ("a restart loses nothing committed (§5.1)", "restarts"),
        Property::Heartbeats => ("a leader sends heartbeats while it leads (§5.2)", "heartbeats"),
    }
}

struct Paper {
    text: String,
    colors: bool,
}

impl Paper {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn mark(&self, word: &str, width: usize, code: &str) -> String {
        let padded = format!("{word:<width$}");
        if self.colors { format!("\x1b[{code}m{padded}\x1b[0m") } else { padded }
    }

    /// A line of the logs, where it stands, behind an indent.
    fn quote(&mut self, logs: &Logs, number: usize) {
        if let Some(line) = logs.lines.get(number) {
            self.line(&format!("        {}  {}", logs.place(line.place), line.event));
        }
    }
}

/// The whole report.
pub fn write(logs: &Logs, judgement: &Judgement, items: &[Item], colors: bool) -> String {
    let mut paper = Paper { text: String::new(), colors };
    paper.line(&header(logs));
    holes(&mut paper, logs);
    stalls(&mut paper, logs, judgement);
    paper.line("");
    for property in Property::ALL {
        if let Some(verdict) = judgement.verdicts.get(&property) {
            judged(&mut paper, logs, property, verdict);
        }
    }
    if !judgement.holds() {
        paper.line("      Each FAIL shows the first contradiction; of the node whose line was wrong, only what it had");
        paper.line("      committed is believed from there on, so that the other properties get their own verdict.");
    }
    paper.line("");
    paper.line("The lab's checklist");
    for item in items {
        let mark = if item.seen { paper.mark("seen", 8, "32") } else { paper.mark("not seen", 8, "33") };
        paper.line(&format!("{mark}  {}: {}", item.what, item.found));
        if item.seen {
            item.evidence.iter().take(MAX_EVIDENCE).for_each(|number| paper.quote(logs, *number));
        }
    }
    let judged = judgement.verdicts.values().filter(|verdict| **verdict != Verdict::NotSeen).count();
    if judgement.holds() && judged > 0 {
        paper.line("");
        paper.line(&format!(
            "{judged} of {} properties could be judged, and nothing contradicts them.",
            Property::ALL.len()
        ));
    }
    paper.text
}

/// Whose logs these are, from when to when.
fn header(logs: &Logs) -> String {
    let count = |is: fn(&Event) -> bool| logs.lines.iter().filter(|line| is(&line.event)).count();
    let starts = count(|event| matches!(event.fact, Fact::Start { .. }));
    let leaders = count(|event| event.role == Role::Leader && matches!(event.fact, Fact::State { .. }));
    let time = |event: &Event| event.to_string().split(' ').next().unwrap_or_default().to_owned();
    let nodes: Vec<String> = logs.nodes().iter().map(NodeId::to_string).collect();
    let mut text = match (logs.lines.first(), logs.lines.last()) {
        (Some(first), Some(last)) => {
            let (from, to) = (time(&first.event), time(&last.event));
            let lines = logs.lines.len();
            format!("{lines} lines of {}, {from} to {to}; starts: {starts}, elections: {leaders}", nodes.join(", "))
        }
        _ => "no line of a node's log".to_owned(),
    };
    if logs.skipped > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, "; lines of other programs, skipped: {}", logs.skipped);
    }
    text
}

fn holes(paper: &mut Paper, logs: &Logs) {
    let nodes = logs.nodes();
    let missing = (1..=logs.size().unwrap_or(0)).map(NodeId).filter(|node| !nodes.contains(node));
    let missing: Vec<String> = missing.map(|node| node.to_string()).collect();
    if !missing.is_empty() {
        paper.line(&format!("hole  nothing of {}: only what the others tell of it is judged", missing.join(", ")));
    }
    for hole in logs.holes.iter().take(MAX_HOLES) {
        let place = logs.place(hole.place());
        paper.line(&match hole {
            Hole::StartsLate { node, .. } => {
                format!("hole  the log of {node} starts late, at {place}: what it did before is not judged")
            }
            Hole::CutOff { node, .. } => {
                format!("hole  {node} was cut off in the middle of a line at {place}, as by a kill: no harm")
            }
            Hole::Unreadable { node, .. } => format!(
                "hole  a line of {node} at {place} cannot be read: from there on only what it had committed is believed"
            ),
            Hole::Missing { node, .. } => format!(
                "hole  lines of {node} are missing before {place}, perhaps a restart (docker logs {node} has them all): from there \
                 on only what it had committed is believed"
            ),
        });
    }
    let more = logs.holes.len().saturating_sub(MAX_HOLES);
    if more > 0 {
        paper.line(&format!("hole  {more} more of that kind"));
    }
}

/// Leaders that told nothing for long: stopped, or on a machine that was; it would not be fair to call that a FAIL.
fn stalls(paper: &mut Paper, logs: &Logs, judgement: &Judgement) {
    let Some((since, number)) = judgement.stalls.first() else { return };
    let Some(line) = logs.lines.get(*number) else { return };
    let (event, place) = (&line.event, logs.place(line.place));
    let quiet: Duration = event.at.saturating_sub(*since);
    let more = match judgement.stalls.len() {
        1 => String::new(),
        times => format!(" ({times} times in all)"),
    };
    paper.line(&format!(
        "note  {}, leader of t{}, told nothing at all for {:.1} s before {place}{more}: paused, or a very slow machine",
        event.node,
        event.term,
        quiet.as_secs_f64()
    ));
}

fn judged(paper: &mut Paper, logs: &Logs, property: Property, verdict: &Verdict) {
    let (name, by) = words(property);
    match verdict {
        Verdict::Holds(times) => {
            let mark = paper.mark("PASS", 4, "32");
            paper.line(&format!("{mark}  {name:<64} {by}: {times}"));
        }
        Verdict::NotSeen => {
            let mark = paper.mark("----", 4, "2");
            paper.line(&format!("{mark}  {name:<64} not judged: no {by} in these logs"));
        }
        Verdict::Broken(broken) => {
            let mark = paper.mark("FAIL", 4, "31");
            let more = match broken.more {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            paper.line(&format!("{mark}  {name}: {}{more}", broken.why));
            if let Some(earlier) = broken.earlier {
                paper.quote(logs, earlier);
            }
            paper.quote(logs, broken.line);
        }
    }
}
