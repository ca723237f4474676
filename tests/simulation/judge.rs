//! What must hold after every step, judged by an observer who sees everything: what left a node,
//! what its disk holds, what is committed.
//!
//! The judge knows no algorithm. It checks that what a node says follows from what is safe on its
//! disk, and that what it takes for committed is on a true majority of disks. The five properties
//! and what else lines can show are [`Audit`]'s, from the nodes' events alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::raft::audit::Audit;
use crate::raft::event::{Event, Fact};
use crate::raft::message::{Body, Message};
use crate::raft::progress::MAX_APPEND_ENTRIES;
use crate::raft::ready::Ready;
use crate::raft::types::{Command, DiskId, Entry, EntryId, Index, NodeId, Persistent, Role, SnapshotMeta, Term};
use crate::store::{Applied, Store};

use super::disk::SimDisk;
use super::ledger::{Ledger, Snapshots};
use super::profile::Profile;
use super::reads::{Answered, Versions};

/// Which check failed, and how.
#[derive(Clone, Debug)]
pub struct Failure {
    pub check: String,
    pub why: String,
}

pub type Checked = Result<(), Failure>;

pub fn fail<T>(check: &str, why: String) -> Result<T, Failure> {
    Err(Failure { check: check.to_owned(), why })
}

/// The observer.
pub struct Judge {
    /// Off: only events and clients' answers are judged, as a user could.
    pub sees_inside: bool,
    in_order: bool,
    size: u64,
    audit: Audit,
    /// The highest index that a node acknowledged in a term.
    acknowledged: BTreeMap<(NodeId, Term), Index>,
    /// Who sent AppendEntries in a term, and with which disk.
    leaders: BTreeMap<Term, (NodeId, DiskId)>,
    /// What is committed, and what each entry did when it was applied.
    pub committed: Vec<Entry>,
    results: Vec<Applied>,
    store: Store,
    /// Every string that was applied, and where.
    strings: HashMap<Arc<str>, EntryId>,
    versions: Versions,
    pub ledger: Ledger,
    snapshots: Snapshots,
}

/// The strings that a change brings; no two changes bring the same.
fn strings_of(command: &Command) -> &[Arc<str>] {
    match command {
        Command::Append { text, .. } => std::slice::from_ref(text),
        Command::Write { write, .. } => &write.values,
        _ => &[],
    }
}

/// The same change, as if it had no session.
pub fn without_session(command: &Command) -> Command {
    match command {
        Command::Append { text, .. } => Command::Append { session: None, text: text.clone() },
        Command::Write { write, .. } => Command::Write { session: None, write: write.clone() },
        other => other.clone(),
    }
}

impl Judge {
    pub fn new(profile: &Profile, sees_inside: bool) -> Judge {
        Judge {
            sees_inside,
            in_order: profile.in_order,
            size: profile.size,
            audit: Audit::new(),
            acknowledged: BTreeMap::new(),
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            results: Vec::new(),
            store: Store::new(),
            strings: HashMap::new(),
            versions: Versions::default(),
            ledger: Ledger::default(),
            snapshots: Snapshots::default(),
        }
    }

    pub fn majority(&self) -> usize {
        self.size as usize / 2 + 1
    }

    /// The disks with which the nodes start.
    pub fn meets(&mut self, disks: &[SimDisk]) {
        self.ledger.meets(disks);
    }

    pub fn wipe(&mut self, node: NodeId, disk: DiskId, lost: Persistent) {
        self.audit.forget(node);
        self.ledger.wiped(node, disk, lost);
    }

    /// A node has a snapshot with this text.
    pub fn snapshot(&mut self, node: NodeId, meta: SnapshotMeta) -> Checked {
        if self.sees_inside { self.snapshots.check(node, meta, &self.committed) } else { Ok(()) }
    }

    /// A node is even with everybody: so must its state be.
    pub fn is_even(&self, node: NodeId, store: &Store) -> Checked {
        match self.sees_inside && *store != self.store {
            true => fail("state machines equal", format!("{node} has {store:?}, not {:?}", self.store)),
            false => Ok(()),
        }
    }

    /// Terms in which somebody led.
    pub fn leaders(&self) -> usize {
        self.leaders.len()
    }

    /// A line of a node's log.
    pub fn told(&mut self, event: &Event) -> Checked {
        if let Fact::Replicated { last, on, .. } = &event.fact
            && self.sees_inside
            && self.acknowledged.get(&(*on, event.term)).is_none_or(|index| *index < last.index)
        {
            return fail("acks truthful", format!("{} counts {last} on {on}, which never said so", event.node));
        }
        // Simulated disks lose nothing that was synced. (Only messages out of order can look so.)
        if let Fact::Error { text } = &event.fact
            && self.in_order
            && text.contains("has lost what was synced")
        {
            return fail("no false alarm", format!("{}: {text}", event.node));
        }
        let wrong = self.audit.observe(event);
        let Some(violation) = wrong.first() else { return Ok(()) };
        let mut why = format!("{violation}\n    event:   {event:?}");
        if let Some(earlier) = &violation.earlier {
            why.push_str(&format!("\n    earlier: {earlier:?}"));
        }
        fail(&violation.property.to_string(), why)
    }

    /// What a step wants done is bounded by what it was given.
    pub fn stepped(&self, node: NodeId, inputs: usize, ready: &Ready) -> Checked {
        if !self.sees_inside {
            return Ok(());
        }
        let mut appends = vec![0; self.size as usize];
        for (to, message) in ready.overtaking.iter().chain(&ready.messages) {
            if matches!(message.body, Body::AppendEntries { .. }) {
                appends[to.0 as usize - 1] += 1;
            }
        }
        if appends.iter().any(|count| *count > 1) {
            return fail("one AppendEntries", format!("{node} sends a peer more than one AppendEntries in a step"));
        }
        let messages = ready.overtaking.len() + ready.messages.len();
        if messages > inputs + 3 * self.size as usize {
            return fail("bounded queues", format!("{node} answers {inputs} inputs with {messages} messages"));
        }
        if ready.records.is_empty() != (ready.batch == 0) {
            return fail("batches", format!("{node}: batch {} of {} records", ready.batch, ready.records.len()));
        }
        Ok(())
    }

    /// The commit index never goes back within a life.
    pub fn commit_index_moved(&self, node: NodeId, before: Index, after: Index) -> Checked {
        if self.sees_inside && after < before {
            return fail("commit index grows", format!("the commit index of {node} falls from {before} to {after}"));
        }
        Ok(())
    }

    /// A message leaves `node`. Does its disk hold what the message says? (The third law.)
    pub fn left(&mut self, node: NodeId, to: NodeId, message: &Message, role: Role, disks: &[SimDisk]) -> Checked {
        if !self.sees_inside {
            return Ok(());
        }
        let disk = &disks[node.0 as usize - 1];
        let durable = &disk.durable;
        if message.term != durable.current_term {
            let why = format!("{node} speaks of t{}, its disk of t{}", message.term, durable.current_term);
            return fail("message before its record", why);
        }
        match &message.body {
            Body::RequestVote { last } => {
                let held = durable.last();
                // Who has heard of a leader in the same step may have another log now, and cannot win any more.
                if *last != held && role == Role::Candidate {
                    let why = format!("{node} asks for votes with {last}, its disk ends at {held}");
                    return fail("message before its record", why);
                }
                self.voted(node, message.term, node, disk)
            }
            Body::RequestVoteReply { granted: true } => self.voted(node, message.term, to, disk),
            Body::AppendEntries { prev, commit, entries, .. } => {
                self.append_left(node, message.term, (*prev, *commit, entries), disks)
            }
            Body::Matched { index, .. } => self.acknowledges(node, to, message.term, *index, disks),
            _ => Ok(()),
        }
    }

    fn voted(&mut self, node: NodeId, term: Term, candidate: NodeId, disk: &SimDisk) -> Checked {
        if disk.durable.voted_for != Some(candidate) {
            let why = format!("{node} votes for {candidate} in t{term}, its disk says {:?}", disk.durable.voted_for);
            return fail("message before its record", why);
        }
        self.ledger.voted(node, disk.id, term, candidate)
    }

    /// Only who was elected by a true majority sends AppendEntries, and only of its own log.
    fn append_left(
        &mut self,
        node: NodeId,
        term: Term,
        (prev, commit, entries): (EntryId, Index, &[Entry]),
        disks: &[SimDisk],
    ) -> Checked {
        let disk = &disks[node.0 as usize - 1];
        if !self.leaders.contains_key(&term) {
            let own = disk.durable.voted_for == Some(node) && self.ledger.vote_counts(disk.id, term);
            let votes = usize::from(own) + self.ledger.votes_for(node, term);
            if votes < self.majority() {
                return fail("elected by a majority", format!("{node} leads t{term} with {votes} true votes"));
            }
            self.leaders.insert(term, (node, disk.id));
        }
        if self.leaders[&term] != (node, disk.id) {
            return fail(
                "elected by a majority",
                format!("{node} leads t{term}, and so does {:?}", self.leaders[&term]),
            );
        }
        if entries.len() > MAX_APPEND_ENTRIES {
            return fail("bounded queues", format!("{node} sends {} entries at once", entries.len()));
        }
        let held = |index: Index| disk.entry(index);
        if !disk.has(prev) || !entries.iter().all(|entry| held(entry.id.index) == Some(entry)) {
            return fail("sends its own log", format!("{node} sends entries after {prev} that it does not have"));
        }
        let known = self.committed.len() as Index;
        if commit > known {
            let newly: Option<Vec<Entry>> = (known + 1..=commit).map(|index| held(index).cloned()).collect();
            let Some(newly) = newly else {
                return fail("commit by majority", format!("{node} tells commit {commit}, behind its log"));
            };
            self.leader_commits(node, term, &newly)?;
            newly.iter().try_for_each(|entry| self.commit(node, entry, disks))?;
        }
        Ok(())
    }

    /// A leader commits by counting only up to an entry of its own term (§5.4.2).
    fn leader_commits(&self, node: NodeId, term: Term, newly: &[Entry]) -> Checked {
        match newly.last() {
            Some(last) if last.id.term != term => {
                fail("commit rule 5.4.2", format!("{node}, leader of t{term}, commits by counting {}", last.id))
            }
            _ => Ok(()),
        }
    }

    /// An acknowledgement: the log on disk equals the leader's through `index`.
    fn acknowledges(&mut self, node: NodeId, to: NodeId, term: Term, index: Index, disks: &[SimDisk]) -> Checked {
        let durable = &disks[node.0 as usize - 1].durable;
        if index > durable.last().index {
            let why = format!("{node} acknowledges {index}, its disk ends at {}", durable.last());
            return fail("message before its record", why);
        }
        let highest = self.acknowledged.entry((node, term)).or_default();
        *highest = index.max(*highest);
        let Some(mine) = durable.entry(index) else { return Ok(()) };
        let leader = &disks[to.0 as usize - 1];
        if leader.durable.current_term == term && self.leaders.get(&term) == Some(&(to, leader.id)) {
            // The leader may have lost unsynced entries in a crash; then it leads no more, in this term.
            let theirs = leader.entry(index);
            if theirs.is_some_and(|theirs| theirs != mine) {
                return fail("acks truthful", format!("{node} acknowledges {}, {to} has another entry there", mine.id));
            }
        }
        Ok(())
    }

    /// A node takes entries for committed and applies them. `before` is what it had applied.
    pub fn released(&mut self, node: NodeId, role: Role, before: Index, ready: &Ready, disks: &[SimDisk]) -> Checked {
        let disk = &disks[node.0 as usize - 1];
        for (committed, index) in ready.committed.iter().zip(before + 1..) {
            let entry = &committed.entry;
            if entry.id.index != index {
                return fail("applies in order", format!("{node} applies {} where {index} is due", entry.id));
            }
            if self.sees_inside && index > disk.durable.base.index && disk.durable.entry(index) != Some(entry) {
                return fail("message before its record", format!("{node} applies {}, not on its disk", entry.id));
            }
        }
        let known = (self.committed.len() as Index).saturating_sub(before) as usize;
        if role == Role::Leader && self.sees_inside && known < ready.committed.len() {
            let newly: Vec<Entry> = ready.committed.iter().skip(known).map(|one| one.entry.clone()).collect();
            self.leader_commits(node, disk.durable.current_term, &newly)?;
        }
        ready.committed.iter().try_for_each(|one| self.commit(node, &one.entry, disks))
    }

    /// An entry is committed: the same for all, and new ones only on a true majority of disks.
    fn commit(&mut self, node: NodeId, entry: &Entry, disks: &[SimDisk]) -> Checked {
        let at = entry.id.index as usize - 1;
        if let Some(known) = self.committed.get(at) {
            return match known == entry || !self.sees_inside {
                true => Ok(()),
                false => fail("one history", format!("{node} commits {}, but {} is committed", entry.id, known.id)),
            };
        }
        if self.sees_inside {
            let copies = self.ledger.copies(entry, disks);
            if copies < self.majority() {
                let why = format!("{node} commits {}, which {copies} of {} disks hold", entry.id, self.size);
                return fail("commit by majority", why);
            }
        }
        self.committed.push(entry.clone());
        if let Command::Readmit { node, disk } = entry.command {
            self.ledger.readmitted(node, disk, entry.id.term);
        }
        let result = self.store.apply(entry);
        if let Applied::Ok(id) = result {
            self.versions.wrote(entry);
            for text in strings_of(&entry.command) {
                if let Some(first) = self.strings.insert(text.clone(), id) {
                    return fail("exactly once", format!("{text:?} is written twice: {first} and {id}"));
                }
            }
        }
        self.results.push(result);
        Ok(())
    }

    /// A client was told that its change is done, by this entry.
    pub fn was_done(&self, id: EntryId, command: &Command) -> Checked {
        let at = id.index as usize - 1;
        let entry = self.committed.get(at).filter(|entry| entry.id == id);
        let same = entry.is_some_and(|entry| without_session(&entry.command) == without_session(command));
        match same && self.results[at] == Applied::Ok(id) {
            true => Ok(()),
            false => fail("acknowledged", format!("{} is answered ok {id}, there is {entry:?}", command.words())),
        }
    }

    /// A read was answered that must have seen everything through `prefix`. Was that the state there?
    /// Gives the prefix.
    pub fn prefix_of(&self, key: &str, from: Index, prefix: Index, answered: &Answered) -> Result<Index, Failure> {
        let right = match answered {
            _ if !self.sees_inside => true,
            Answered::List(list) => self.versions.is_state(key, prefix, list.as_ref()),
            Answered::Log(strings) => {
                let all = self.store.strings();
                let start = all.partition_point(|(id, _)| id.index < from);
                let end = all.partition_point(|(id, _)| id.index <= prefix);
                all[start..end] == **strings
            }
        };
        match right {
            true => Ok(prefix),
            false => fail("linearizable", format!("a read of {key:?} that knew {prefix} gives {answered:?}")),
        }
    }

    /// A node's state machine did the same as all others with the entry.
    pub fn applied(&self, node: NodeId, entry: &Entry, result: &Applied) -> Checked {
        let expected = &self.results[entry.id.index as usize - 1];
        if self.sees_inside && expected != result {
            return fail("state machines equal", format!("{node}: {} gives {result:?}, not {expected:?}", entry.id));
        }
        Ok(())
    }
}
