//! What goes into the algorithm and what comes out of it, as data.

use std::time::Duration;

use super::event::Event;
use super::message::Message;
use super::types::{Command, DiskId, Entry, EntryId, NodeId, Record, Token};

/// Something that happened outside. [`Raft::step`](super::Raft::step) takes a batch of these;
/// within a batch timers are looked at last, whatever their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A message from `from`, which said at the start of its connection that its disk is `disk`.
    Message { from: NodeId, disk: DiskId, message: Message },
    /// A client wants this in the log.
    Propose { token: Token, command: Command },
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
/// 2. write `records` and sync them;
/// 3. do all the rest, which depends on the records;
/// 4. if there were records, step again with [`Input::Persisted`].
///
/// If step 2 fails the node ends: nothing after it may happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    pub overtaking: Vec<(NodeId, Message)>,
    /// To be written as one batch with the number `batch`. The two are empty and 0 together.
    pub records: Vec<Record>,
    pub batch: u64,
    pub messages: Vec<(NodeId, Message)>,
    pub committed: Vec<Committed>,
    pub refusals: Vec<(Token, Refusal)>,
    pub events: Vec<Event>,
    pub election_timer: Option<ElectionTimer>,
    pub heartbeat_timer: Option<HeartbeatTimer>,
}
