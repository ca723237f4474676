//! The rows: what both ways of showing have in common.

use std::time::Duration;

use raft_lab::logs::{Hole, Line, Logs};
use raft_lab::raft::audit;
use raft_lab::raft::event::Fact;
use raft_lab::raft::types::{NodeId, Role};
use raft_lab::text::plain;

use super::{order, time};

/// How long nobody may say anything before that is told, where no START line tells the heartbeat interval.
const QUIET: Duration = Duration::from_secs(3);
/// Holes that are told one by one; of more only how many.
const MAX_HOLES: usize = 5;

/// Which rows are wanted.
pub struct Choice {
    /// Times of day.
    pub from: Option<Duration>,
    pub to: Option<Duration>,
    pub heartbeats: bool,
}

/// What a row is looked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Heartbeat,
    Start,
    /// On the way to an election.
    Election,
    /// A leader was elected.
    Won,
    Commit,
    /// Ordered by a person.
    Fault,
    /// Entries were taken back, or something is wrong.
    Trouble,
}

/// One line of a node.
pub struct Row<'a> {
    pub line: &'a Line,
    /// Which of [`Table::nodes`].
    pub column: usize,
    pub kind: Kind,
    /// The node says nothing more until it starts again.
    pub ends: bool,
    pub shown: bool,
}

pub struct Table<'a> {
    pub logs: &'a Logs,
    pub nodes: Vec<NodeId>,
    /// All of them: what is not shown changes what the nodes are, too.
    pub rows: Vec<Row<'a>>,
    /// Longer than this nobody says anything: that is worth a row.
    pub quiet: Duration,
}

/// What each node is at a moment: its role, or nothing while it does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lives(pub Vec<Option<Role>>);

impl<'a> Table<'a> {
    pub fn new(logs: &'a Logs, choice: &Choice) -> Table<'a> {
        let nodes = logs.nodes();
        let (from, to) = limits(logs, choice);
        let row = |number: usize| {
            let line = &logs.lines[number];
            let kind = Kind::of(&line.event.fact, line.event.role);
            let shown = (from..=to).contains(&line.event.at) && (choice.heartbeats || kind != Kind::Heartbeat);
            let column = nodes.binary_search(&line.event.node).unwrap_or(0);
            Row { line, column, kind, ends: false, shown }
        };
        let mut rows: Vec<Row> = order::by_cause(&logs.lines).into_iter().map(row).collect();
        let mut starts_next = vec![true; nodes.len()];
        for row in rows.iter_mut().rev() {
            row.ends = std::mem::replace(&mut starts_next[row.column], row.kind == Kind::Start);
        }
        Table { logs, nodes, rows, quiet: quiet(logs) }
    }

    pub fn shown(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(|row| row.shown)
    }

    /// The times of the first row and of the last.
    pub fn span(&self) -> (String, String) {
        let time = |row: Option<&Row>| row.map_or_else(String::new, |row| time::of_day(row.line.event.at));
        (time(self.shown().next()), time(self.rows.iter().rev().find(|row| row.shown)))
    }

    /// What a reader must know to judge what is not there.
    pub fn notes(&self) -> Vec<String> {
        let logs = self.logs;
        let size = logs.lines.iter().find_map(|line| match line.event.fact {
            Fact::Start { size, .. } => Some(size),
            _ => None,
        });
        let missing = (1..=size.unwrap_or(0)).map(NodeId).filter(|node| !self.nodes.contains(node));
        let missing: Vec<String> = missing.map(|node| node.to_string()).collect();
        let mut notes = Vec::new();
        if !missing.is_empty() {
            notes.push(format!("nothing of {} in these logs", missing.join(", ")));
        }
        for hole in logs.holes.iter().take(MAX_HOLES) {
            let place = plain(&logs.place(hole.place()));
            notes.push(match hole {
                Hole::StartsLate { node, .. } => format!("the log of {node} starts late, at {place}"),
                Hole::CutOff { node, .. } => {
                    format!("{node} was cut off in the middle of a line at {place}, as by a kill")
                }
                Hole::Unreadable { node, .. } => format!("a line of {node} at {place} cannot be read"),
                Hole::Missing { node, .. } => format!("lines of {node} are missing before {place}"),
            });
        }
        if logs.holes.len() > MAX_HOLES {
            notes.push(format!("{} more of that kind", logs.holes.len() - MAX_HOLES));
        }
        notes
    }
}

impl Lives {
    pub fn new(table: &Table) -> Lives {
        Lives(vec![None; table.nodes.len()])
    }

    /// What they are after this row.
    pub fn step(&mut self, row: &Row) {
        self.0[row.column] = (!row.ends).then_some(row.line.event.role);
    }
}

impl Kind {
    fn of(fact: &Fact, role: Role) -> Kind {
        match fact {
            Fact::HeartbeatSent { .. } | Fact::HeartbeatReceived { .. } => Kind::Heartbeat,
            Fact::Start { .. } => Kind::Start,
            Fact::State { .. } if role == Role::Leader => Kind::Won,
            Fact::State { .. } if role != Role::Follower => Kind::Election,
            Fact::Commit { .. } => Kind::Commit,
            Fact::Fault { .. } => Kind::Fault,
            Fact::Truncate { .. } | Fact::Error { .. } => Kind::Trouble,
            _ => Kind::Plain,
        }
    }
}

impl Row<'_> {
    /// The TOPIC of the line and its text: what stands behind the first four columns.
    pub fn words(&self) -> (&'static str, String) {
        let line = self.line.event.to_string();
        let mut rest = line.as_str();
        for _ in 0..5 {
            rest = rest.split_once(' ').map_or("", |(_, rest)| rest).trim_start_matches(' ');
        }
        (self.line.event.topic(), rest.to_string())
    }
}

/// The letter of a role, for those who see no colours.
pub fn letter(role: Role) -> char {
    match role {
        Role::Follower => 'F',
        Role::PreCandidate => 'P',
        Role::Candidate => 'C',
        Role::Leader => 'L',
    }
}

fn limits(logs: &Logs, choice: &Choice) -> (Duration, Duration) {
    let times = || logs.lines.iter().map(|line| line.event.at);
    let (start, end) = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
    let from = choice.from.map_or(start, |from| time::moment(from, start, start, end));
    let to = choice.to.map_or(end, |to| time::moment(to, from.max(start), start, end));
    // A line's milliseconds are whole.
    (from, to)
}

/// One and a half heartbeats of the slowest.
fn quiet(logs: &Logs) -> Duration {
    let intervals = logs.lines.iter().filter_map(|line| match &line.event.fact {
        Fact::Start { settings, .. } => Some(audit::times(settings)?.1),
        _ => None,
    });
    intervals.max().map_or(QUIET, |interval| interval * 3 / 2)
}
