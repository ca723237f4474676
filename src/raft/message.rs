//! What nodes say to each other (Figure 2; pre-vote is thesis §9.6).

use std::sync::Arc;

use super::types::{DiskId, Entry, EntryId, Index, SnapshotMeta, Term};

/// One message from one node to another. Every message carries its sender's current term, the
/// pre-vote too: terms are compared in one place, before anything else is looked at (§5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub term: Term,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// "Would you vote for me in the term after mine?" It changes nothing at either side.
    PreVote {
        last: EntryId,
    },
    PreVoteReply {
        granted: bool,
    },
    /// RequestVote (§5.2): `last` is the candidate's last entry.
    RequestVote {
        last: EntryId,
    },
    RequestVoteReply {
        granted: bool,
    },
    /// AppendEntries (§5.3): `prev` precedes `entries`; `commit` is the leader's commit index.
    /// `heartbeat` marks the one that the heartbeat timer asked for: receivers log it. `round` counts
    /// the leader's rounds of asking whether it still leads; the answer repeats it, so that no answer
    /// to an older message can confirm a read (thesis §6.4).
    AppendEntries {
        prev: EntryId,
        commit: Index,
        heartbeat: bool,
        round: u64,
        entries: Vec<Entry>,
    },
    /// The follower's log equals the leader's through `index`, on the follower's disk.
    Matched {
        index: Index,
        round: u64,
    },
    /// The follower has no entry `prev`. `conflict` is where its entries of the conflicting term
    /// begin, or (term 0) the first index that it lacks (§5.3, the accelerated backing up).
    Rejected {
        prev: EntryId,
        conflict: EntryId,
        round: u64,
    },
    /// InstallSnapshot (§7): a piece of the snapshot's text, from byte `offset` on.
    InstallSnapshot {
        meta: SnapshotMeta,
        offset: u64,
        data: Arc<str>,
    },
    /// The follower holds the first `through` bytes of that snapshot.
    SnapshotTaken {
        last: EntryId,
        crc: u32,
        through: u64,
    },
    /// The sender remembers another disk of the receiver, and counts nothing that it says.
    Refused {
        disk: DiskId,
    },
}

impl Body {
    /// Is this an answer to what the receiver has asked?
    pub fn answers(&self) -> bool {
        use Body::*;
        match self {
            PreVote { .. } | RequestVote { .. } | AppendEntries { .. } | InstallSnapshot { .. } | Refused { .. } => {
                false
            }
            PreVoteReply { .. } | RequestVoteReply { .. } | Matched { .. } | Rejected { .. } | SnapshotTaken { .. } => {
                true
            }
        }
    }
}
