//! Logs of nodes, read from files: the lines of one node or of several, as the nodes print them, or as
//! `docker-compose logs`, `docker logs --timestamps` or `client cluster` show them.
//!
//! Prefixes and colours are stripped; what is no line of a node (a client's, Compose's own, a panic's words) is counted
//! and left out. A node that is killed may leave half a line behind: that is no harm. A line that cannot be read in the
//! middle of a node's life is a hole, and so is a log that starts late: [`Logs`] tells where.

mod judge;
mod strip;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};
use std::time::Duration;

use crate::raft::event::{Event, Fact, PeerState};
use crate::raft::types::{EntryId, NodeId};

pub use judge::{Broken, Judgement, Verdict, judge};
use strip::{glued_start, is_torn, strip};

/// The most lines that are kept, of all files: they stay in memory.
pub const MAX_LINES: usize = 2_000_000;
/// The longest line of a file that can be a node's, in bytes; what is longer is skipped in pieces.
pub const MAX_LINE_BYTES: u64 = 64 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far a node's clock may be set back at a restart; further back is the next day.
const SET_BACK: Duration = Duration::from_secs(60);

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of [`Logs::files`].
    pub file: usize,
    /// From 1 on.
    pub line: usize,
}

/// One line of a node's log. The time of its event counts on over midnight; it prints as the time of day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub place: Place,
    pub event: Event,
    /// Lines of this node are missing right before this one.
    pub after_hole: bool,
    /// What the lines are sorted by: its time, but never before that of the node's line before it.
    order: Duration,
}

/// What is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hole {
    /// The first line that is there of this node is not its start.
    StartsLate { node: NodeId, place: Place },
    /// A line that is cut off where the node was killed: nothing else can be missing.
    CutOff { node: NodeId, place: Place },
    /// A line in the middle that cannot be read.
    Unreadable { node: NodeId, place: Place },
    /// Lines are missing before this one, for no node can say it after what it said before. So it is when
    /// docker-compose 1.29 swallows the first lines of a container that starts again.
    Missing { node: NodeId, place: Place },
}

/// What the files held.
#[derive(Debug, Default)]
pub struct Logs {
    pub files: Vec<String>,
    /// In the order of their times, each node's in its own order.
    pub lines: Vec<Line>,
    pub holes: Vec<Hole>,
    /// How many lines were no node's.
    pub skipped: usize,
}

/// Why the files cannot be judged together.
#[derive(Debug)]
pub enum Unreadable {
    Io(String, io::Error),
    /// The line that is read twice, and where it was before.
    Twice(Place, Place),
    /// A part of this node's log comes behind a later part of it.
    Backwards(NodeId, Place, Place),
    TooLong,
}

/// What was read of a node so far.
struct Told {
    place: Place,
    event: Event,
    /// A line that could not be read comes behind it.
    torn: Option<Place>,
    /// The peers to which a connection stands.
    connected: BTreeSet<NodeId>,
    order: Duration,
}

impl Told {
    /// Can this process go on with that line? A role changes with a STATE line alone, and to a peer that is
    /// connected no connection is made.
    fn can_be_before(&self, event: &Event) -> bool {
        match &event.fact {
            Fact::State { from, .. } => *from == self.event.role,
            Fact::Peer { peer, state: PeerState::Connected, .. } if self.connected.contains(peer) => false,
            _ => event.role == self.event.role,
        }
    }
}

/// Reads one file after the other.
#[derive(Default)]
pub struct Reader {
    logs: Logs,
    nodes: BTreeMap<NodeId, Told>,
    /// Where each START line was seen.
    starts: BTreeMap<String, Place>,
    /// The time of the line before, in this file; of the first of all at the beginning of a file.
    clock: Option<Duration>,
}

impl Reader {
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Reads a file through. `name` is what its lines are called by. Several files of one node are read in the order
    /// of time, the oldest first.
    pub fn read(&mut self, name: &str, mut input: impl BufRead) -> Result<(), Unreadable> {
        let file = self.logs.files.len();
        self.logs.files.push(name.to_owned());
        self.clock = self.logs.lines.first().map(|line| line.event.at);
        let mut bytes = Vec::new();
        let mut line = 0;
        let mut whole = true;
        loop {
            bytes.clear();
            let read = (&mut input).take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes);
            if read.map_err(|error| Unreadable::Io(name.to_owned(), error))? == 0 {
                return Ok(());
            }
            line += usize::from(whole);
            whole = bytes.last() == Some(&b'\n');
            self.line(Place { file, line }, &String::from_utf8_lossy(&bytes))?;
        }
    }

    /// The lines in the order of their times.
    pub fn finish(mut self) -> Logs {
        for (node, told) in self.nodes {
            // The last words of a node that was killed, or is read while it runs.
            self.logs.holes.extend(told.torn.map(|place| Hole::CutOff { node, place }));
        }
        self.logs.drop_torn_starts();
        self.logs.lines.sort_by_key(|line| line.order);
        self.logs.holes.sort_by_key(|hole| hole.place());
        self.logs
    }

    fn line(&mut self, place: Place, text: &str) -> Result<(), Unreadable> {
        let text = strip(text);
        // Behind half a line that a kill left, without an end of its own, comes the next start.
        if let Some(at) = glued_start(&text) {
            self.one(place, &text[..at])?;
            return self.one(place, &text[at..]);
        }
        self.one(place, &text)
    }

    /// One line without prefix and colours.
    fn one(&mut self, place: Place, text: &str) -> Result<(), Unreadable> {
        if let Ok(event) = text.parse::<Event>() {
            return self.told(place, event);
        }
        match is_torn(text) {
            Some(node) if self.nodes.contains_key(&node) => {
                self.nodes.entry(node).and_modify(|told| told.torn = told.torn.or(Some(place)));
            }
            Some(node) => self.logs.holes.push(Hole::Unreadable { node, place }),
            None => self.logs.skipped += 1,
        }
        Ok(())
    }

    fn told(&mut self, place: Place, mut event: Event) -> Result<(), Unreadable> {
        if self.logs.lines.len() >= MAX_LINES {
            return Err(Unreadable::TooLong);
        }
        let node = event.node;
        let starts = matches!(event.fact, Fact::Start { .. });
        if starts && let Some(before) = self.starts.insert(event.to_string(), place) {
            return Err(Unreadable::Twice(before, place));
        }
        let before = self.nodes.get(&node);
        event.at = self.unwrap(event.at, before);
        let mut after_hole = false;
        match before {
            Some(before) => {
                let forgets = matches!(event.fact, Fact::Start { new_disk: true, .. });
                if before.place.file != place.file && event.term < before.event.term && !forgets {
                    return Err(Unreadable::Backwards(node, before.place, place));
                }
                if let Some(torn) = before.torn {
                    let hole = if starts {
                        Hole::CutOff { node, place: torn }
                    } else {
                        Hole::Unreadable { node, place: torn }
                    };
                    self.logs.holes.push(hole);
                    after_hole = !starts;
                } else if !starts && !before.can_be_before(&event) {
                    self.logs.holes.push(Hole::Missing { node, place });
                    after_hole = true;
                }
            }
            None if !starts => self.logs.holes.push(Hole::StartsLate { node, place }),
            None => {}
        }
        let order = before.map_or(event.at, |before| event.at.max(before.order));
        let mut connected = match self.nodes.remove(&node) {
            Some(before) if !starts && !after_hole => before.connected,
            _ => BTreeSet::new(),
        };
        match event.fact {
            Fact::Peer { peer, state: PeerState::Connected, .. } => _ = connected.insert(peer),
            Fact::Peer { peer, .. } => _ = connected.remove(&peer),
            _ => {}
        }
        self.clock = Some(event.at);
        self.nodes.insert(node, Told { place, event: event.clone(), torn: None, connected, order });
        self.logs.lines.push(Line { place, event, after_hole, order });
        Ok(())
    }

    /// The time since the midnight before the day before the first line.
    fn unwrap(&self, of_day: Duration, before: Option<&Told>) -> Duration {
        let day = |at: Duration| DAY * u32::try_from(at.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX / 2);
        match (before, self.clock) {
            (Some(before), _) => {
                let at = day(before.event.at) + of_day;
                if at + SET_BACK < before.event.at { at + DAY } else { at }
            }
            // Of another node nothing is known but that it ran at about the same time.
            (None, Some(clock)) => {
                let at = day(clock) + of_day;
                if at + DAY / 2 < clock {
                    at + DAY
                } else if at > clock + DAY / 2 {
                    at.saturating_sub(DAY)
                } else {
                    at
                }
            }
            (None, None) => DAY + of_day,
        }
    }
}

impl Logs {
    /// The nodes that have told something.
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.lines.iter().map(|line| line.event.node).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// The size of the cluster, if a line tells it.
    pub fn size(&self) -> Option<u64> {
        self.lines.iter().find_map(|line| match line.event.fact {
            Fact::Start { size, .. }
            | Fact::VotedForItself { size, .. }
            | Fact::Received { size, .. }
            | Fact::Replicated { size, .. } => Some(size),
            _ => None,
        })
    }

    /// `node_1.log:12`.
    pub fn place(&self, place: Place) -> String {
        format!("{}:{}", self.files.get(place.file).map_or("?", String::as_str), place.line)
    }

    /// A START line that a kill cut off before it told what the log holds reads like that of an empty log. It is the
    /// only line that can be cut and still be read as another one, and nothing of its life follows.
    fn drop_torn_starts(&mut self) {
        let mut next_starts = BTreeMap::new();
        let mut torn = Vec::new();
        for (number, line) in self.lines.iter().enumerate().rev() {
            let starts = matches!(line.event.fact, Fact::Start { .. });
            let ends = next_starts.insert(line.event.node, starts).unwrap_or(true);
            let empty = matches!(line.event.fact, Fact::Start { new_disk: false, last: EntryId::ZERO, .. });
            if empty && ends {
                torn.push(number);
            }
        }
        for number in torn {
            let Line { place, event, .. } = self.lines.remove(number);
            self.holes.push(Hole::CutOff { node: event.node, place });
        }
    }
}

impl Hole {
    pub fn place(&self) -> Place {
        match self {
            Hole::StartsLate { place, .. }
            | Hole::CutOff { place, .. }
            | Hole::Unreadable { place, .. }
            | Hole::Missing { place, .. } => *place,
        }
    }
}

#[cfg(test)]
mod tests;
