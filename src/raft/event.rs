//! What happened, typed: one event is one line of the log.

use std::sync::Arc;
use std::time::Duration;

use super::types::{DiskId, EntryId, Index, NodeId, Role, Term, WriteKind};

/// One line of a node's log. `term` and `role` are those after the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened: the time of day, UTC. (A node's clock starts at the time of day of its
    /// start and never jumps; it is printed modulo 24 h.)
    pub at: Duration,
    pub node: NodeId,
    pub term: Term,
    pub role: Role,
    pub fact: Fact,
}

/// The text of an entry, as a line can hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Noop,
    Text(Arc<str>),
    /// A text too long for a line: how it starts, and its length in bytes.
    Long {
        start: String,
        bytes: usize,
    },
    /// Any other command, in the words of [`Command::words`](super::types::Command::words).
    Words(String),
    /// A change of a key that is too long for a line: its kind, its key, how many strings, and the bytes of all.
    LongWrite {
        kind: WriteKind,
        key: Arc<str>,
        values: usize,
        bytes: usize,
    },
}

/// One entry or several in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: EntryId,
    pub last: EntryId,
    /// The text of the first entry and of the last.
    pub opening: Told,
    pub closing: Told,
    /// The running checksum of the log through `last` (see the log); there whenever the line does not
    /// hold every entry in full.
    pub sum: Option<u32>,
}

/// Where an entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The node itself, to open its term.
    OpensTerm,
    Client,
    Leader(NodeId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    Connected,
    Lost,
    Offline,
}

/// What happened. The comment of each is its text in the log, after the TOPIC column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// START `node_1 of 3, election timeout 6-10 s, heartbeat every 2 s`; if the disk was made just now `, new disk`; if
    /// there is a snapshot `, snapshot through 4@2`; if there is anything `, log through 5@2 sum=1f3c09aa`
    Start { size: u64, settings: String, new_disk: bool, snapshot: EntryId, last: EntryId, sum: u32 },
    /// STATE `follower -> pre-candidate: no heartbeat for 7.411 s` (the new role is the event's)
    State { from: Role, why: String },
    /// TERM `t1 -> t3: node_2 is at t3` (the new term is the event's)
    Term { from: Term, why: String },
    /// VOTE `voted for node_1 (itself): 1 of 3`; pre-vote: none
    VotedForItself { votes: usize, size: u64 },
    /// VOTE `granted to node_1`; pre-vote: `pre-vote granted to node_1 for t1`
    Granted { pre: bool, to: NodeId, term: Term },
    /// VOTE `denied to node_1: already voted for node_3`; `pre-vote denied to node_1: …`
    Denied { pre: bool, to: NodeId, why: String },
    /// VOTE `received from node_2: 2 of 3`; `pre-vote received from node_2: 2 of 3`
    Received { pre: bool, from: NodeId, votes: usize, size: u64 },
    /// VOTE `refused by node_2: 1 of 3 so far`; `pre-vote refused by node_2: 1 of 3 so far`
    Refused { pre: bool, by: NodeId, votes: usize, size: u64 },
    /// VOTE `pre-vote asked again: no majority for 1.204 s`
    AskedAgain { why: String },
    /// HEARTBEAT `sent to node_2, node_3`
    HeartbeatSent { to: Vec<NodeId> },
    /// HEARTBEAT `received from leader node_1`
    HeartbeatReceived { from: NodeId },
    /// APPEND `1@1 no-op: opens term 1` · `2@1 "SET 5" from client` · `2@1 "SET 5" from leader node_1` ·
    /// `102@3..165@3 64 entries "first" … "last" sum=1f3c09aa from client`; a no-op inside a span prints as `no-op`; a long
    /// text as `2@1 "how it starts"… 65536 bytes sum=1f3c09aa from client`
    Append { span: Span, source: Source },
    /// REPLICATED `2@1 on node_2: 2 of 3` · `102@3..165@3 on node_2: 2 of 3`
    Replicated { first: EntryId, last: EntryId, on: NodeId, copies: usize, size: u64 },
    /// COMMIT `2@1 "SET 5"` · `1@1 no-op` · a span as in APPEND
    Commit { span: Span },
    /// TRUNCATE `5@2..7@2: leader node_1 has 5@3 there` · `5@2: …`
    Truncate { first: EntryId, last: EntryId, why: String },
    /// PEER `node_2 connected: 10.0.0.3:1234` · `node_2 lost: closed by it` · `node_2 offline: connection refused`
    Peer { peer: NodeId, state: PeerState, why: String },
    /// CLIENT: what a client was told other than "ok", in words
    Client { text: String },
    /// PEER `node_3 readmitted by 12@4 with disk 9f3a01c2d4e5f607: its votes count from t5 on`
    Readmitted { peer: NodeId, by: EntryId, disk: DiskId },
    /// SNAPSHOT `made through 100@3 sum=1f3c09aa: 2345 bytes, 96 entries leave the log`
    Compacted { last: EntryId, sum: u32, bytes: u64, entries: u64 },
    /// SNAPSHOT `installed through 100@3 sum=1f3c09aa from leader node_1: 2345 bytes`
    Installed { last: EntryId, sum: u32, bytes: u64, from: NodeId },
    /// SNAPSHOT, in words
    Snapshot { text: String },
    /// FAULT, in words
    Fault { text: String },
    /// DISK: what was found and mended on the disk, in words
    Disk { text: String },
    /// ERROR: what is wrong, where, and the cure
    Error { text: String },
}

impl Span {
    /// How many entries.
    pub fn count(&self) -> Index {
        self.last.index - self.first.index + 1
    }
}
