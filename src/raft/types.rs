//! The words of the algorithm: nodes, terms, entries, roles, and what is kept on disk.
//!
//! Names are the Raft paper's (Ongaro & Ousterhout, 2014). Nothing here does anything.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The largest number the protocol accepts for a term, an index or a sequence number: 2^53 - 1, far
/// beyond any run and far from overflow.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;
/// The largest cluster. Raft's cost grows with it and its availability hardly does.
pub const MAX_CLUSTER_SIZE: u64 = 9;
/// The longest string of one entry, in bytes of UTF-8: 64 KiB.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// The longest key, in bytes of UTF-8. No key is empty.
pub const MAX_KEY_BYTES: usize = 256;
/// The most strings of one `put` or `append-to`; key and strings together have at most
/// [`MAX_TEXT_BYTES`].
pub const MAX_VALUES: usize = 1024;
/// The key under which the lab's log of strings is kept. It only grows: nothing is put in its place.
pub const LOG_KEY: &str = "log";

/// A period with at most one leader (§5.1). 0 before the first election.
pub type Term = u64;
/// A place in the log. The first entry has index 1; 0 is the place before it (§5.3).
pub type Index = u64;
/// Names one request of a client inside one process, so that its answer finds the way back.
pub type Token = u64;

/// A member of the cluster: 1 … cluster size, printed `node_1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node_{}", self.0)
    }
}

/// The identity of a data directory, drawn at random when it is made. A node that comes back with
/// another one has lost its votes and its entries. Printed as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(pub u64);

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The identity of an entry, printed `index@term`. Ordered by term first: that order is "at least
/// as up-to-date" of §5.4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    pub term: Term,
    pub index: Index,
}

impl EntryId {
    /// The place before the first entry, where every two logs agree.
    pub const ZERO: EntryId = EntryId { term: 0, index: 0 };

    pub fn new(index: Index, term: Term) -> EntryId {
        EntryId { term, index }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

/// A client's session (thesis §6.3), printed `born-nonce`, for example `17-9f3a01c2d4e5f607`.
///
/// `born` is an index that was already committed when the session was made, so everything the
/// session ever does lies behind it. That is how the store tells a new session from one that it
/// has evicted, without an entry to open it: see `store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    pub born: Index,
    pub nonce: u64,
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.born, self.nonce)
    }
}

/// One numbered request of a session. `seq` counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    pub client: ClientId,
    pub seq: u64,
}

/// What an entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Opens a leader's term, so that entries of earlier terms can be committed (§5.4.2, §8).
    Noop,
    /// Appends a string to the lab's log, the list of [`LOG_KEY`]; at most once for each number of a
    /// session.
    Append { session: Option<Session>, text: Arc<str> },
    /// Changes the list of a key; at most once for each number of a session.
    Write { session: Option<Session>, write: Arc<KeyWrite> },
    /// From here on the node is counted with this disk; what it had before is lost.
    Readmit { node: NodeId, disk: DiskId },
}

/// A change of the list of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyWrite {
    pub kind: WriteKind,
    pub key: Arc<str>,
    pub values: Vec<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// The list is these strings.
    Put,
    /// These strings follow those that are there; on a missing key the same as `Put`.
    Append,
}

/// One place of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: EntryId,
    pub command: Command,
}

/// What a node is at the moment (§5.1; the pre-candidate is thesis §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Follower, Role::PreCandidate, Role::Candidate, Role::Leader];

    /// The word in texts and in `status`.
    pub fn name(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        }
    }

    /// The word in the ROLE column of the log.
    pub fn column(self) -> &'static str {
        match self {
            Role::Follower => "FOLLOWER",
            Role::PreCandidate => "PRE-CAND",
            Role::Candidate => "CANDIDATE",
            Role::Leader => "LEADER",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One change of what a node must not forget (Figure 2, "persistent state"). A node's disk is the
/// list of these; [`Persistent::apply`] is what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Term and vote in one record: a crash between the two would allow a second vote (§5.2).
    Vote { term: Term, voted_for: Option<NodeId> },
    /// The next entry of the log.
    Entry(Entry),
    /// All entries from this index on are gone: they conflicted with the leader's (§5.3).
    Truncate { from: Index },
    /// The disk with which a node is counted: as it was met first (`since` is zero), or as the entry
    /// `since` has readmitted it. Of this node itself: others know it with this disk, which it has lost.
    Peer { node: NodeId, disk: Disk },
    /// Everything through `id` is in a snapshot, and what follows this record is all that follows in
    /// the log. Always the first record of a batch that says everything else anew.
    Base { id: EntryId, sum: u32 },
}

/// The disk with which a node is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub id: DiskId,
    /// The entry that readmitted the node with it, or zero. Its votes count in later terms only: in
    /// that term or before the lost disk may have voted.
    pub since: EntryId,
}

/// What a snapshot is, without its content. Snapshots of the same `last` are the same text on all
/// nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry that is in it (Figure 13: lastIncludedIndex and lastIncludedTerm).
    pub last: EntryId,
    /// The running checksum of the log through `last`.
    pub sum: u32,
    /// Length of its text and the text's CRC-32.
    pub bytes: u64,
    pub crc: u32,
}

/// What a node has after reading its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Persistent {
    pub current_term: Term,
    pub voted_for: Option<NodeId>,
    /// Everything through here is in the snapshot, and the running checksum of the log through it.
    pub base: EntryId,
    pub base_sum: u32,
    /// What follows `base`.
    pub entries: Vec<Entry>,
    pub disks: BTreeMap<NodeId, Disk>,
}

impl Persistent {
    /// The last entry's id.
    pub fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base, |entry| entry.id)
    }

    /// The entry at `index`, if it is in the log still.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(index.checked_sub(self.base.index + 1)? as usize)
    }

    /// Is `id` in the log, or the last that the snapshot holds?
    pub fn has(&self, id: EntryId) -> bool {
        id == self.base || self.entry(id.index).is_some_and(|entry| entry.id == id)
    }

    /// A snapshot holds everything through `id` now.
    pub fn compact(&mut self, id: EntryId, sum: u32) {
        assert!(self.has(id), "a snapshot through {id} of a log {}..{}", self.base, self.last());
        self.entries.drain(..(id.index - self.base.index) as usize);
        (self.base, self.base_sum) = (id, sum);
    }

    /// Applies one record. The error says why the record cannot follow the ones before it.
    pub fn apply(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Vote { term, voted_for } => {
                if term < self.current_term {
                    return Err(format!("term {term} after term {}", self.current_term));
                }
                if term == self.current_term && self.voted_for.is_some() && voted_for != self.voted_for {
                    return Err(format!("a second vote in term {term}"));
                }
                self.current_term = term;
                self.voted_for = voted_for;
            }
            Record::Entry(entry) => {
                let last = self.last();
                let next = last.index + 1;
                if entry.id.index != next || entry.id.term < last.term || entry.id.term > self.current_term {
                    return Err(format!("entry {} where {next}@{}…{} is due", entry.id, last.term, self.current_term));
                }
                self.entries.push(entry);
            }
            Record::Truncate { from } => {
                let (base, last) = (self.base.index, self.last().index);
                if from <= base || from > last {
                    return Err(format!("cut from {from}, but the log goes from {base} to {last}"));
                }
                self.entries.truncate((from - base) as usize - 1);
            }
            Record::Peer { node, disk } => {
                self.disks.insert(node, disk);
            }
            // What was there through `id` stays until its snapshot is: a crash may come before.
            Record::Base { id, .. } if self.has(id) => self.entries.truncate((id.index - self.base.index) as usize),
            Record::Base { id, sum } => {
                if id.index <= self.base.index {
                    return Err(format!("a log that begins behind {id}, after one that began behind {}", self.base));
                }
                self.entries.clear();
                (self.base, self.base_sum) = (id, sum);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: Index, term: Term) -> Record {
        Record::Entry(Entry { id: EntryId::new(index, term), command: Command::Noop })
    }

    fn base(index: Index, term: Term) -> Record {
        Record::Base { id: EntryId::new(index, term), sum: 7 }
    }

    /// Term 2, the log 1@1 2@2 3@2.
    fn persistent() -> Persistent {
        let mut persistent = Persistent::default();
        for record in [Record::Vote { term: 2, voted_for: None }, entry(1, 1), entry(2, 2), entry(3, 2)] {
            assert_eq!(persistent.apply(record), Ok(()));
        }
        persistent
    }

    /// What is there stays until the snapshot is: a crash may come before.
    #[test]
    fn a_base_that_is_in_the_log_takes_nothing_before_it_away() {
        let mut read = persistent();
        assert_eq!(read.apply(base(2, 2)), Ok(()));
        assert_eq!((read.base, read.last(), read.entries.len()), (EntryId::ZERO, EntryId::new(2, 2), 2));
        assert_eq!(read.apply(entry(3, 2)), Ok(()), "what follows is said anew");
        read.compact(EntryId::new(2, 2), 7);
        assert_eq!((read.base, read.base_sum, read.last()), (EntryId::new(2, 2), 7, EntryId::new(3, 2)));
        assert!(read.has(read.base) && read.entry(2).is_none() && read.entry(3).is_some());
    }

    #[test]
    fn a_base_that_is_not_in_the_log_replaces_it() {
        for (index, term) in [(9, 2), (2, 1)] {
            let mut read = persistent();
            assert_eq!(read.apply(base(index, term)), Ok(()));
            let id = EntryId::new(index, term);
            assert_eq!((read.base, read.base_sum, read.last(), read.current_term), (id, 7, id, 2));
        }
    }

    #[test]
    fn what_cannot_follow_is_an_error() {
        let mut read = persistent();
        assert_eq!(read.apply(base(5, 2)), Ok(()));
        let vote = |term, node| Record::Vote { term, voted_for: Some(NodeId(node)) };
        for wrong in [
            // Snapshots only grow, and what is in one is committed.
            base(4, 2),
            base(5, 1),
            entry(5, 2),
            entry(7, 2),
            entry(6, 1),
            entry(6, 3),
            Record::Truncate { from: 5 },
            Record::Truncate { from: 6 },
            vote(1, 1),
        ] {
            let mut persistent = read.clone();
            assert!(persistent.apply(wrong.clone()).is_err(), "{wrong:?}");
            assert_eq!(persistent, read);
        }
        assert_eq!(read.apply(vote(2, 1)), Ok(()));
        assert!(read.apply(vote(2, 3)).is_err());
        assert_eq!(read.apply(base(5, 2)), Ok(()), "the same snapshot may be named again");
    }
}
