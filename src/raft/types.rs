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

/// What an entry asks of the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Opens a leader's term, so that entries of earlier terms can be committed (§5.4.2, §8).
    Noop,
    /// Appends a string to the list; at most once for each number of a session.
    Append { session: Option<Session>, text: Arc<str> },
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
    /// The disk with which a peer was met first.
    Peer { node: NodeId, disk: DiskId },
}

/// What a node has after reading its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Persistent {
    pub current_term: Term,
    pub voted_for: Option<NodeId>,
    pub entries: Vec<Entry>,
    pub disks: BTreeMap<NodeId, DiskId>,
}

impl Persistent {
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
                let next = self.entries.len() as Index + 1;
                let term = self.entries.last().map_or(0, |last| last.id.term);
                if entry.id.index != next || entry.id.term < term || entry.id.term > self.current_term {
                    return Err(format!("entry {} where {next}@{term}…{} is due", entry.id, self.current_term));
                }
                self.entries.push(entry);
            }
            Record::Truncate { from } => {
                let last = self.entries.len() as Index;
                if from == 0 || from > last {
                    return Err(format!("cut from {from}, but the log ends at {last}"));
                }
                self.entries.truncate(from as usize - 1);
            }
            Record::Peer { node, disk } => {
                self.disks.insert(node, disk);
            }
        }
        Ok(())
    }
}
