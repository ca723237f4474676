//! What goes into the algorithm and what comes out of it, as data.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::message::Message;
use super::types::{Command, Disk, DiskId, Entry, EntryId, NodeId, Record, SnapshotMeta, Term, Token};

/// Something that happened outside. [`Raft::step`](super::Raft::step) takes a batch of these;
/// within a batch timers are looked at last, whatever their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A message from `from`, which said at the start of its connection that its disk is `disk`.
    Message { from: NodeId, disk: DiskId, message: Message },
    /// A client wants this in the log.
    Propose { token: Token, command: Command },
    /// A client wants to read what is committed by now: linearizable (thesis §6.4).
    Read { token: Token },
    /// A client wants the node counted again with the disk that it has now.
    Readmit { token: Token, node: NodeId },
    /// Everything up to this batch of records is on disk.
    Persisted { batch: u64 },
    /// A connection with the peer was opened, by either side, and its hello named this disk. Without it
    /// a node would learn a peer's disk from its first message only, and two followers need never
    /// exchange one: then a wiped disk would go unnoticed.
    Met { peer: NodeId, disk: DiskId },
    /// A connection to the peer was made (`detail`: to which address).
    PeerConnected { peer: NodeId, detail: String },
    /// The connection to the peer has ended (`detail`: why).
    PeerLost { peer: NodeId, detail: String },
    /// The peer cannot be reached; said once for each time that it goes away.
    PeerOffline { peer: NodeId, detail: String },
    /// A snapshot of what this node has committed is on its disk, in place of the log through `last`.
    SnapshotMade { meta: SnapshotMeta },
    /// Of a snapshot that a leader sends, this much is stored (see [`Ready::store_chunk`]), the last
    /// byte not among it.
    ChunkStored { meta: SnapshotMeta, through: u64 },
    /// A snapshot that a leader has sent is stored whole, synced, and proven right; `readmitted` is
    /// what it says of nodes that were readmitted. It can be installed.
    SnapshotStored { meta: SnapshotMeta, readmitted: Vec<(NodeId, Disk)> },
    /// A snapshot that a leader has sent is not what it should be: it is thrown away.
    SnapshotBroken { meta: SnapshotMeta, why: String },
    /// The heartbeat timer ticked.
    HeartbeatDue,
    /// The election timer's deadline has passed.
    ElectionTimeout,
}

/// An answer to a client's request that the algorithm itself gives; the store gives the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another node leads.
    Redirect { leader: NodeId },
    /// No leader is known; an election may be on its way.
    NoLeader,
    /// Too much waits to be committed already. The command was not taken.
    Busy,
    /// Leadership was lost while the entry waited: it may still be committed, or never.
    Unknown { id: EntryId },
    /// The node to be readmitted is counted: there is nothing to do.
    NotRefused { node: NodeId },
}

/// A piece of the snapshot that a leader owes to a follower. Whoever has the file completes it to an
/// InstallSnapshot of this term, with at most `bytes` bytes from `offset` on, whole characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendChunk {
    pub to: NodeId,
    pub term: Term,
    pub meta: SnapshotMeta,
    pub offset: u64,
    pub bytes: usize,
}

/// A piece of a snapshot that has come from a leader. It is to be stored behind what is there of the same
/// snapshot (`offset` 0 starts anew), and then told: [`Input::ChunkStored`], or if it was the last,
/// [`Input::SnapshotStored`] or [`Input::SnapshotBroken`]. None of this need hold up the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreChunk {
    pub meta: SnapshotMeta,
    pub offset: u64,
    pub data: Arc<str>,
}

/// An entry to apply to the state machine, and the request that waits for its result, if it came
/// through this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub entry: Entry,
    pub token: Option<Token>,
}

/// Draw a duration uniformly from `min..=max` and wake the node with
/// [`Input::ElectionTimeout`] once it has passed. Replaces the deadline before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionTimer {
    pub min: Duration,
    pub max: Duration,
}

/// What the heartbeat timer shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatTimer {
    /// Tick every interval, counted from now.
    Start,
    Stop,
}

/// What the outside must do after a step, in this order:
///
/// 1. send `overtaking`, a leader's AppendEntries that need not wait for its own disk
///    (thesis §10.2.1);
/// 2. write `records` and sync them (if the first is a [`Record::Base`], in a new file, and with it the
///    snapshot `installed`, if there is one, takes the place of all that was);
/// 3. do all the rest, which depends on the records: first put the content of `installed` in the place
///    of the state machine, then apply `committed`, then answer `reads`;
/// 4. if there were records, step again with [`Input::Persisted`].
///
/// If step 2 fails the node ends: nothing after it may happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    pub overtaking: Vec<(NodeId, Message)>,
    /// To be written as one batch with the number `batch`. The two are empty and 0 together.
    pub records: Vec<Record>,
    pub batch: u64,
    /// The snapshot that was stored last, which this step takes over.
    pub installed: Option<SnapshotMeta>,
    /// The entries that left the log for a snapshot, perhaps very many: to be freed where that holds up nobody.
    pub gone: VecDeque<Entry>,
    pub messages: Vec<(NodeId, Message)>,
    pub send_chunks: Vec<SendChunk>,
    pub store_chunk: Option<StoreChunk>,
    pub committed: Vec<Committed>,
    /// Reads that may be served once `committed` is applied.
    pub reads: Vec<Token>,
    pub refusals: Vec<(Token, Refusal)>,
    pub events: Vec<Event>,
    pub election_timer: Option<ElectionTimer>,
    pub heartbeat_timer: Option<HeartbeatTimer>,
}
