//! Raft's properties (Figure 3), judged from the lines of the nodes' logs alone.
//!
//! [`Safety`] is fed the events of all nodes, each node's in its own order. It believes what nodes
//! tell and finds contradictions: two leaders of a term, two votes, a committed entry that goes
//! away. A crash may leave lines out at the end of a node's life, so what was not told is unknown,
//! never wrong. The checksums of spans and of START lines make entries comparable that no line
//! holds in full.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::event::{Event, Fact, Source, Span, Told};
use super::log::{Content, chain};
use super::types::{DiskId, EntryId, Index, NodeId, Role, Term};

/// What is judged. The first five are those of Figure 3; the last three are judged by [`audit`](super::audit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// At most one leader in a term (§5.2).
    ElectionSafety,
    /// A leader never removes or replaces entries of its log, it only appends (§5.3).
    LeaderAppendOnly,
    /// Two logs with an entry of the same index and term are equal through it (§5.3).
    LogMatching,
    /// What is committed in a term is in the logs of all leaders of later terms (§5.4).
    LeaderCompleteness,
    /// No two nodes apply different entries at an index, and each applies in order (§5.4.3).
    StateMachineSafety,
    /// A node votes for at most one candidate in a term, restarts or not (§5.2).
    OneVote,
    /// A node's term never goes back (§5.1).
    TermsGrow,
    /// A restart loses nothing that was told as committed (§5.1, persistent state).
    KeptOnDisk,
    /// A node's commit index never goes back between two starts (Figure 2).
    CommitGrows,
    /// A leader was elected by a majority of the cluster (§5.2).
    ElectedByMajority,
    /// A leader commits what a majority has, and counts only up to an entry of its own term (§5.3, §5.4.2).
    CommitByMajority,
    /// A leader sends heartbeats as long as it leads (§5.2).
    Heartbeats,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Property::ElectionSafety => "Election Safety",
            Property::LeaderAppendOnly => "Leader Append-Only",
            Property::LogMatching => "Log Matching",
            Property::LeaderCompleteness => "Leader Completeness",
            Property::StateMachineSafety => "State Machine Safety",
            Property::OneVote => "One Vote a Term",
            Property::TermsGrow => "Terms Grow",
            Property::KeptOnDisk => "Kept on Disk",
            Property::CommitGrows => "Commit Index Grows",
            Property::ElectedByMajority => "Elected by a Majority",
            Property::CommitByMajority => "Commit by a Majority",
            Property::Heartbeats => "Heartbeats",
        })
    }
}

/// A contradiction: `event`, and the `earlier` one that it contradicts if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub property: Property,
    pub earlier: Option<Event>,
    pub event: Event,
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {}", self.property, self.why)
    }
}

/// One place of a log as far as it was told. An id of term 0 is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    id: EntryId,
    sum: Option<u32>,
}

const UNKNOWN: Slot = Slot { id: EntryId::ZERO, sum: None };

impl Slot {
    fn is_known(self) -> bool {
        self.id.term > 0
    }

    /// Both are known, and they differ.
    fn contradicts(self, other: Slot) -> bool {
        let ids = self.is_known() && other.is_known() && self.id != other.id;
        ids || matches!((self.sum, other.sum), (Some(a), Some(b)) if a != b)
    }
}

/// What a node has told so far.
#[derive(Debug, Default)]
struct Node {
    term: Term,
    log: Vec<Slot>,
    /// There is nothing behind the end of `log`. Not so where lines are missing.
    ends_there: bool,
    /// Told as committed since it started; `None` if its start was not seen.
    committed: Option<Index>,
    /// Told as committed ever.
    committed_ever: Index,
    /// What is behind here may have gone with the installation of a snapshot, or may not.
    unsure_behind: Option<Index>,
}

/// The first line that showed a node as the leader of a term, and its log at its election.
#[derive(Debug)]
struct Leader {
    node: NodeId,
    log: Option<Vec<Slot>>,
    /// It held nothing else.
    ends_there: bool,
    event: Arc<Event>,
}

/// The checker. Its memory grows with the length of the logs.
#[derive(Debug, Default)]
pub struct Safety {
    nodes: BTreeMap<NodeId, Node>,
    votes: BTreeMap<(NodeId, Term), (NodeId, Arc<Event>)>,
    /// The nodes whose disk was replaced.
    replaced: BTreeSet<NodeId>,
    /// What each entry did that readmitted a node, and the line that told it first.
    readmitted: BTreeMap<EntryId, (NodeId, DiskId, Arc<Event>)>,
    leaders: BTreeMap<Term, Leader>,
    /// The running checksum through each entry, as it was told first.
    sums: BTreeMap<EntryId, (u32, Arc<Event>)>,
    /// What is committed, from index 1 on, and the line that told it first.
    committed: Vec<(Slot, Arc<Event>)>,
    /// The highest index that was told as committed by a node in this term.
    committed_in: BTreeMap<Term, Index>,
}

type Judged = Result<(), Box<Violation>>;

impl Safety {
    pub fn new() -> Safety {
        Safety::default()
    }

    /// The node's disk was replaced by an empty one: what it told is forgotten, by it and here. Who counts
    /// a vote of it is not judged any more, since an old one may still arrive. A START line that tells of a
    /// new disk does the same.
    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.votes.retain(|(voter, _), _| *voter != node);
        self.replaced.insert(node);
    }

    /// Lines of the node are missing here, or were not understood: only what it has committed is certain,
    /// until its next line tells more.
    pub fn missed(&mut self, node: NodeId) {
        let Some(node) = self.nodes.get_mut(&node) else { return };
        node.log.truncate(node.committed_ever as usize);
        (node.ends_there, node.committed, node.unsure_behind) = (false, None, None);
    }

    /// Takes the next line. A line with an error is believed in part only: to go on after one, treat it as
    /// [`missed`](Safety::missed).
    pub fn observe(&mut self, event: &Event) -> Judged {
        if event.term == 0 && matches!(event.fact, Fact::Error { .. }) {
            // A node that could not read its disk does not know its term, and ends.
            return Ok(());
        }
        if matches!(event.fact, Fact::Start { new_disk: true, .. }) && self.nodes.contains_key(&event.node) {
            self.forget(event.node);
        }
        let node = self.nodes.entry(event.node).or_default();
        if event.term < node.term {
            let why = format!("{} is at t{} after t{}", event.node, event.term, node.term);
            node.term = event.term;
            return violation(Property::TermsGrow, None, event, why);
        }
        node.term = event.term;
        if event.role == Role::Leader {
            self.leads(event, event.node)?;
        }
        match &event.fact {
            Fact::Start { snapshot, last, sum, .. } => self.start(event, *snapshot, *last, *sum),
            Fact::State { .. } if event.role == Role::Leader => self.elected(event),
            Fact::VotedForItself { .. } => self.vote(event, event.node, event.term, event.node),
            Fact::Granted { pre: false, to, term } => self.vote(event, event.node, *term, *to),
            Fact::Received { pre: false, from, .. } => self.vote_counted(event, *from),
            Fact::HeartbeatReceived { from } => self.leads(event, *from),
            Fact::Append { span, source } => self.append(event, span, *source),
            Fact::Truncate { first, .. } => self.truncate(event, *first),
            Fact::Commit { span } => self.commit(event, span),
            Fact::Compacted { last, sum, .. } => self.compacted(event, *last, *sum),
            Fact::Installed { last, sum, from, .. } => self.installed(event, *last, *sum, *from),
            Fact::Readmitted { peer, by, disk } => self.readmitted(event, *peer, *by, *disk),
            _ => Ok(()),
        }
    }

    /// The line shows `leader` as the leader of its term.
    fn leads(&mut self, event: &Event, leader: NodeId) -> Judged {
        match self.leaders.get(&event.term) {
            Some(known) if known.node == leader => Ok(()),
            Some(known) => {
                let why = format!("{} leads t{}, and so does {leader}", known.node, event.term);
                violation(Property::ElectionSafety, Some(&known.event), event, why)
            }
            None => {
                let event = Arc::new(event.clone());
                self.leaders.insert(event.term, Leader { node: leader, log: None, ends_there: false, event });
                Ok(())
            }
        }
    }

    /// A new leader's log holds everything that was committed in earlier terms.
    fn elected(&mut self, event: &Event) -> Judged {
        let node = self.nodes.entry(event.node).or_default();
        let (log, ends_there) = (node.log.clone(), node.ends_there);
        let earlier = self.committed_in.range(..event.term).map(|(_, index)| *index).max().unwrap_or(0);
        self.complete(event, (&log, ends_there), event.term, earlier)?;
        if let Some(leader) = self.leaders.get_mut(&event.term) {
            (leader.log, leader.ends_there) = (Some(log), ends_there);
        }
        Ok(())
    }

    /// Is what is committed through `index` in `log`, with which `term` was won?
    fn complete(&self, event: &Event, (log, ends_there): (&[Slot], bool), term: Term, index: Index) -> Judged {
        let Some((slot, told)) = index.checked_sub(1).and_then(|at| self.committed.get(at as usize)) else {
            return Ok(());
        };
        match log.get(index as usize - 1) {
            Some(held) if !held.contradicts(*slot) => Ok(()),
            None if !ends_there => Ok(()),
            held => {
                let held =
                    held.map_or_else(|| format!("it ends at {}", log.len()), |held| format!("it has {}", held.id));
                let why = format!("{} is committed, but not in the log of the leader of t{term}: {held}", slot.id);
                violation(Property::LeaderCompleteness, Some(told), event, why)
            }
        }
    }

    fn vote(&mut self, event: &Event, voter: NodeId, term: Term, candidate: NodeId) -> Judged {
        match self.votes.get(&(voter, term)) {
            Some((before, _)) if *before == candidate => Ok(()),
            Some((before, earlier)) => {
                let why = format!("{voter} voted for {before} in t{term}, and then for {candidate}");
                violation(Property::OneVote, Some(earlier), event, why)
            }
            None => {
                self.votes.insert((voter, term), (candidate, Arc::new(event.clone())));
                Ok(())
            }
        }
    }

    /// A candidate may not count a vote that went to another.
    fn vote_counted(&mut self, event: &Event, voter: NodeId) -> Judged {
        match self.votes.get(&(voter, event.term)) {
            _ if self.replaced.contains(&voter) => Ok(()),
            Some((candidate, earlier)) if *candidate != event.node => {
                let why = format!("{} counts the vote of {voter}, which voted for {candidate}", event.node);
                violation(Property::OneVote, Some(earlier), event, why)
            }
            // The voter's own line may be missing, or come later.
            _ => self.vote(event, voter, event.term, event.node),
        }
    }

    /// A node starts with what its disk held. It may have lost lines, but nothing committed.
    fn start(&mut self, event: &Event, snapshot: EntryId, last: EntryId, sum: u32) -> Judged {
        if last.index > 0 {
            self.same_sum(event, Slot { id: last, sum: Some(sum) })?;
        }
        let node = self.nodes.entry(event.node).or_default();
        if last.index < node.committed_ever {
            let why = format!("its log ends at {last}, but it had committed {}", node.committed_ever);
            // What it lost it may get again.
            node.committed_ever = last.index;
            return violation(Property::KeptOnDisk, None, event, why);
        }
        let end = last.index as usize;
        let told = Slot { id: last, sum: Some(sum) };
        if end > 0 && node.log.get(end - 1) != Some(&told) {
            // Lines are missing. Only what is committed is certain to be as it was.
            node.log.truncate(node.committed_ever as usize);
            node.log.resize(end, UNKNOWN);
            node.log[end - 1] = told;
        }
        node.log.truncate(end);
        (node.ends_there, node.unsure_behind) = (true, None);
        // What is in the snapshot is not committed again.
        node.committed = Some(snapshot.index);
        node.committed_ever = node.committed_ever.max(snapshot.index);
        if snapshot.index == 0 {
            return Ok(());
        }
        if snapshot > last {
            let why = format!("its log ends at {last}, before its snapshot through {snapshot}");
            return violation(Property::KeptOnDisk, None, event, why);
        }
        let sum = (snapshot == last).then_some(sum);
        self.snapshot(event, Slot { id: snapshot, sum })
    }

    /// What ends a snapshot is committed, and what the node has there.
    fn snapshot(&mut self, event: &Event, slot: Slot) -> Judged {
        self.same_sum(event, slot)?;
        let index = slot.id.index;
        let node = self.nodes.entry(event.node).or_default();
        if let Some(held) = node.log.get_mut(index as usize - 1) {
            if held.contradicts(slot) {
                let why =
                    format!("{} has a snapshot through {}, but its log has {} there", event.node, slot.id, held.id);
                return violation(Property::StateMachineSafety, None, event, why);
            }
            *held = Slot { id: slot.id, sum: held.sum.or(slot.sum) };
        }
        self.committed_is(&Arc::new(event.clone()), index, slot)?;
        self.committed_at(event, index)
    }

    /// A node makes a snapshot of what it has committed.
    fn compacted(&mut self, event: &Event, last: EntryId, sum: u32) -> Judged {
        let committed = self.nodes.entry(event.node).or_default().committed;
        if committed.is_some_and(|committed| committed < last.index) {
            let why = format!("{} makes a snapshot through {last}, which it has not committed", event.node);
            return violation(Property::StateMachineSafety, None, event, why);
        }
        self.snapshot(event, Slot { id: last, sum: Some(sum) })
    }

    /// An entry readmits the same node with the same disk everywhere.
    fn readmitted(&mut self, event: &Event, peer: NodeId, by: EntryId, disk: DiskId) -> Judged {
        match self.readmitted.get(&by) {
            Some((node, known, _)) if (*node, *known) == (peer, disk) => Ok(()),
            Some((node, known, earlier)) => {
                let why = format!("{by} readmits {peer} with disk {disk}, elsewhere {node} with disk {known}");
                violation(Property::StateMachineSafety, Some(earlier), event, why)
            }
            None => {
                self.readmitted.insert(by, (peer, disk, Arc::new(event.clone())));
                Ok(())
            }
        }
    }

    /// A leader's snapshot takes the place of a node's log through `last`.
    fn installed(&mut self, event: &Event, last: EntryId, sum: u32, from: NodeId) -> Judged {
        self.leads(event, from)?;
        let told = Slot { id: last, sum: Some(sum) };
        let node = self.nodes.entry(event.node).or_default();
        if let Some(committed) = node.committed.filter(|committed| *committed >= last.index) {
            let why = format!("{} installs a snapshot through {last}, but has committed {committed}", event.node);
            return violation(Property::CommitGrows, None, event, why);
        }
        let at = last.index as usize - 1;
        // What follows stays only behind the same entry.
        match node.log.get(at).copied() {
            Some(held) if !held.is_known() => node.unsure_behind = Some(last.index),
            Some(held) if !held.contradicts(told) => {}
            _ => {
                node.log.truncate(node.committed_ever.min(last.index - 1) as usize);
                node.log.resize(at + 1, UNKNOWN);
                node.unsure_behind = None;
            }
        }
        node.log[at] = told;
        node.committed = Some(last.index);
        node.committed_ever = node.committed_ever.max(last.index);
        self.snapshot(event, told)
    }

    fn append(&mut self, event: &Event, span: &Span, source: Source) -> Judged {
        if let Source::Leader(leader) = source {
            self.leads(event, leader)?;
        } else if event.role == Role::Leader && span.first.term != event.term {
            let why = format!("the leader of t{} appends {} of its own", event.term, span.first);
            return violation(Property::LogMatching, None, event, why);
        }
        let node = self.nodes.entry(event.node).or_default();
        let before = span.first.index as usize - 1;
        if node.unsure_behind.is_some_and(|index| index as usize <= before) {
            node.log.truncate(before);
            node.unsure_behind = None;
        }
        if node.log.len() > before {
            let property = match event.role {
                Role::Leader => Property::LeaderAppendOnly,
                _ => Property::LogMatching,
            };
            let why = format!("{} replaces {} without a word", span.first, node.log[before].id);
            return violation(property, None, event, why);
        }
        node.log.resize(before, UNKNOWN);
        node.ends_there = true;
        let sum = span.sum.or_else(|| {
            let start = if before == 0 { Some(0) } else { node.log[before - 1].sum };
            sum_of(start?, span)
        });
        for index in span.first.index..=span.last.index {
            // The terms of a log never fall, so between equal terms there is no other.
            let id = match span.first.term == span.last.term {
                true => EntryId::new(index, span.first.term),
                false if index == span.first.index => span.first,
                false => EntryId::ZERO,
            };
            node.log.push(Slot { id, sum: None });
        }
        let last = Slot { id: span.last, sum };
        node.log[span.last.index as usize - 1] = last;
        self.same_sum(event, last)
    }

    /// The same entry everywhere stands behind the same log.
    fn same_sum(&mut self, event: &Event, slot: Slot) -> Judged {
        let Some(sum) = slot.sum else { return Ok(()) };
        match self.sums.get(&slot.id) {
            Some((known, _)) if *known == sum => Ok(()),
            Some((known, earlier)) => {
                let why = format!("the log through {} has the checksum {sum:08x}, elsewhere {known:08x}", slot.id);
                violation(Property::LogMatching, Some(earlier), event, why)
            }
            None => {
                self.sums.insert(slot.id, (sum, Arc::new(event.clone())));
                Ok(())
            }
        }
    }

    fn truncate(&mut self, event: &Event, first: EntryId) -> Judged {
        let leader = self.leaders.get(&event.term).filter(|leader| leader.node == event.node);
        if event.role == Role::Leader || leader.is_some() {
            let why = format!("the leader of t{} removes {first}", event.term);
            return violation(Property::LeaderAppendOnly, leader.map(|leader| &leader.event), event, why);
        }
        let node = self.nodes.entry(event.node).or_default();
        if first.index <= node.committed_ever {
            let earlier = self.committed.get(first.index as usize - 1).map(|(_, event)| event);
            let why = format!("{first} is removed, but {} had told it as committed", event.node);
            return violation(Property::StateMachineSafety, earlier, event, why);
        }
        // What it removes was there, and now its end is known.
        node.log.resize(first.index as usize - 1, UNKNOWN);
        (node.ends_there, node.unsure_behind) = (true, None);
        Ok(())
    }

    fn commit(&mut self, event: &Event, span: &Span) -> Judged {
        let node = self.nodes.entry(event.node).or_default();
        let (first, last) = (span.first.index, span.last.index);
        if let Some(before) = node.committed
            && first != before + 1
        {
            let why = format!("{} commits {} after {before}", event.node, span.first);
            let property = if first <= before { Property::CommitGrows } else { Property::StateMachineSafety };
            return violation(property, None, event, why);
        }
        node.committed = Some(last);
        node.committed_ever = node.committed_ever.max(last);
        node.unsure_behind = node.unsure_behind.map(|index| index.max(last));
        if node.log.len() < last as usize {
            if node.ends_there {
                let why = format!("{} commits {}, but its log ends at {}", event.node, span.last, node.log.len());
                return violation(Property::StateMachineSafety, None, event, why);
            }
            node.log.resize(last as usize, UNKNOWN);
        }
        for (index, told) in
            [(first, Slot { id: span.first, sum: None }), (last, Slot { id: span.last, sum: span.sum })]
        {
            let held = &mut node.log[index as usize - 1];
            if held.contradicts(told) {
                let why = format!("{} commits {}, but its log has {} there", event.node, told.id, held.id);
                return violation(Property::StateMachineSafety, None, event, why);
            }
            *held = Slot { id: told.id, sum: held.sum.or(told.sum) };
        }
        let slots = node.log[first as usize - 1..last as usize].to_vec();
        let told = Arc::new(event.clone());
        for (index, slot) in (first..).zip(slots) {
            self.committed_is(&told, index, slot)?;
        }
        self.committed_at(event, last)
    }

    /// What is committed at `index` is the same everywhere.
    fn committed_is(&mut self, told: &Arc<Event>, index: Index, slot: Slot) -> Judged {
        let at = index as usize - 1;
        match self.committed.get_mut(at) {
            Some((known, earlier)) if known.contradicts(slot) => {
                let why = format!("{} is committed by {}, and {} by {}", slot.id, told.node, known.id, earlier.node);
                violation(Property::StateMachineSafety, Some(earlier), told, why)
            }
            Some((known, _)) => {
                let id = if known.is_known() { known.id } else { slot.id };
                *known = Slot { id, sum: known.sum.or(slot.sum) };
                Ok(())
            }
            None => {
                self.committed.resize(at, (UNKNOWN, told.clone()));
                self.committed.push((slot, told.clone()));
                Ok(())
            }
        }
    }

    /// Leaders of later terms may have been elected before this line was told.
    fn committed_at(&mut self, event: &Event, last: Index) -> Judged {
        let highest = self.committed_in.entry(event.term).or_default();
        *highest = last.max(*highest);
        for (term, leader) in self.leaders.range(event.term + 1..) {
            if let Some(log) = &leader.log {
                self.complete(event, (log, leader.ends_there), *term, last)?;
            }
        }
        Ok(())
    }
}

fn violation(property: Property, earlier: Option<&Arc<Event>>, event: &Event, why: String) -> Judged {
    let earlier = earlier.map(|event| Event::clone(event));
    Err(Box::new(Violation { property, earlier, event: event.clone(), why }))
}

/// The checksum through a span that holds all its entries in full: one or two.
fn sum_of(start: u32, span: &Span) -> Option<u32> {
    let extend = |sum, id, told: &Told| match told {
        Told::Noop => Some(chain(sum, id, Content::Noop)),
        Told::Text(text) => Some(chain(sum, id, Content::Text(text))),
        Told::Words(words) => Some(chain(sum, id, Content::Words(words))),
        Told::Long { .. } | Told::LongWrite { .. } => None,
    };
    let sum = extend(start, span.first, &span.opening)?;
    match span.count() {
        1 => Some(sum),
        2 => extend(sum, span.last, &span.closing),
        _ => None,
    }
}

#[cfg(test)]
#[path = "safety_tests.rs"]
mod tests;
