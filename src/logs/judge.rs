//! The verdict on each property, with the lines that contradict each other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Line, Logs};
use crate::raft::audit::Audit;
use crate::raft::event::{Event, Fact};
use crate::raft::safety::{Property, Violation};
use crate::raft::types::{EntryId, Index};

/// What there is to say of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing contradicts it; how often there was something to judge it by.
    Holds(u64),
    /// The logs show nothing that it could be judged by.
    NotSeen,
    Broken(Broken),
}

/// The first contradiction. The numbers are those of [`Logs::lines`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub why: String,
    pub line: usize,
    /// The line that it contradicts, if one line alone does not show it.
    pub earlier: Option<usize>,
    /// How many contradictions follow.
    pub more: usize,
}

/// What was judged.
#[derive(Debug)]
pub struct Judgement {
    pub verdicts: BTreeMap<Property, Verdict>,
    /// A leader that told nothing at all for so long that it was stopped: the time of its last line before, and the
    /// number of its next line.
    pub stalls: Vec<(Duration, usize)>,
}

impl Judgement {
    /// Nothing is contradicted.
    pub fn holds(&self) -> bool {
        !self.verdicts.values().any(|verdict| matches!(verdict, Verdict::Broken(_)))
    }
}

/// Feeds all lines to the checker, which goes on after a contradiction.
pub fn judge(logs: &Logs) -> Judgement {
    let mut audit = Audit::new();
    let mut broken: BTreeMap<Property, Broken> = BTreeMap::new();
    let mut stalls = Vec::new();
    for (number, line) in logs.lines.iter().enumerate() {
        if line.after_hole {
            audit.missed(line.event.node);
        }
        for violation in audit.observe(&line.event) {
            let before = &logs.lines[..number];
            broken.entry(violation.property).and_modify(|known| known.more += 1).or_insert_with(|| Broken {
                earlier: earlier(&violation, before),
                why: violation.why,
                line: number,
                more: 0,
            });
        }
        if let Some((since, _)) = audit.stalls().get(stalls.len()) {
            stalls.push((*since, number));
        }
    }
    let verdict = |property| match (broken.remove(&property), audit.judged(property)) {
        (Some(broken), _) => Verdict::Broken(broken),
        (None, 0) => Verdict::NotSeen,
        (None, times) => Verdict::Holds(times),
    };
    let mut verdict = verdict;
    Judgement { verdicts: Property::ALL.into_iter().map(|property| (property, verdict(property))).collect(), stalls }
}

/// The line that is contradicted: the one that the checker names, or else the last line of the same node that told
/// what is not so any more.
fn earlier(violation: &Violation, before: &[Line]) -> Option<usize> {
    let event = &violation.event;
    let same_node = |line: &Line| line.event.node == event.node;
    before.iter().rposition(|line| match (&violation.earlier, violation.property) {
        (Some(earlier), _) => line.event == *earlier,
        (None, Property::TermsGrow) => same_node(line) && line.event.term > event.term,
        (None, Property::KeptOnDisk) => {
            let lost = span(event).map_or(0, |(_, last)| last);
            same_node(line) && tells_committed(&line.event).is_some_and(|index| index > lost)
        }
        (None, Property::CommitGrows) => same_node(line) && tells_committed(&line.event).is_some(),
        (None, _) => same_node(line) && overlaps(&line.event, event),
    })
}

/// Through which index the line tells that its node has committed.
fn tells_committed(event: &Event) -> Option<Index> {
    match &event.fact {
        Fact::Commit { span } => Some(span.last.index),
        Fact::Installed { last, .. } | Fact::Compacted { last, .. } => Some(last.index),
        Fact::Start { snapshot, .. } => Some(snapshot.index).filter(|index| *index > 0),
        _ => None,
    }
}

/// The first and the last index that the line tells something of.
fn span(event: &Event) -> Option<(Index, Index)> {
    let range = |first: EntryId, last: EntryId| Some((first.index, last.index));
    match &event.fact {
        Fact::Append { span, .. } | Fact::Commit { span } => range(span.first, span.last),
        Fact::Truncate { first, last, .. } => range(*first, *last),
        Fact::Start { last, .. } | Fact::Compacted { last, .. } | Fact::Installed { last, .. } => range(*last, *last),
        _ => None,
    }
}

fn overlaps(one: &Event, other: &Event) -> bool {
    matches!((span(one), span(other)), (Some((a, b)), Some((c, d))) if a <= d && c <= b)
}
