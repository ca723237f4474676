//! What the other threads bring to the raft loop, and the way of an answer back.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::queue::Queue;
use crate::disk::{Made, Received};
use crate::raft::ready::Input;
use crate::raft::types::{Index, SnapshotMeta};
use crate::store::{KeysPage, ListPage, Page};
use crate::wire::client::{Answer, Request, Seen};

pub enum Item {
    Input(Input),
    Request {
        request: Request,
        reply: ReplyTo,
    },
    /// Something that a caller did wrong, for the log.
    Note(String),
    /// What one of the other threads could not do, for the log.
    Error(String),
    /// The snapshot thread has made a snapshot of the sealed log.
    SnapshotMade(Box<Made>),
    /// The snapshot thread has stored a piece of a leader's snapshot.
    ChunkStored {
        meta: SnapshotMeta,
        received: Box<Received>,
    },
    /// The snapshot thread could not read, write or sync: the node ends.
    DiskFailed(String),
    /// The election thread has woken up.
    ElectionAlarm,
    /// The heartbeat thread has ticked.
    HeartbeatTick,
}

pub type Inbox = Arc<Queue<Item>>;

/// The way of one answer back to its connection thread.
pub struct ReplyTo {
    /// The request's place in its connection's batch.
    pub place: usize,
    /// Never more in it than the batch has requests.
    pub to: Sender<Placed>,
}

/// An answer and the place of its request.
pub type Placed = (usize, Reply);

impl ReplyTo {
    pub fn send(self, reply: Reply) {
        // The connection may be gone; then nobody waits.
        let _ = self.to.send((self.place, reply));
    }
}

/// One answer. Pages become lines in the connection's thread.
pub enum Reply {
    Answer(Answer),
    /// `ok fault`; what was ordered comes when it is told here that this is written.
    LastWord(Sender<()>),
    /// A page of the lab's log, and the commit index.
    Log(Page, Index),
    /// A page of the list of a key.
    Values(ListPage, Seen),
    /// A page of the keys.
    Keys(KeysPage, Seen),
}

impl Reply {
    /// Appends the answer's lines.
    pub fn encode(&self, out: &mut String) {
        let mut line = |answer: Answer| {
            answer.encode(out);
            out.push('\n');
        };
        match self {
            Reply::Answer(answer) => {
                answer.encode(out);
                out.push('\n');
            }
            Reply::LastWord(_) => line(Answer::Faulted),
            Reply::Log(page, commit) => {
                page.strings.iter().for_each(|(id, text)| line(Answer::Entry { id: *id, text: text.clone() }));
                line(Answer::End { next: page.next, commit: *commit });
            }
            Reply::Values(page, seen) => {
                page.values.iter().for_each(|value| line(Answer::Value(value.clone())));
                let ListPage { next, total, changed, .. } = *page;
                line(Answer::EndOfValues { next, total, changed, seen: *seen });
            }
            Reply::Keys(page, seen) => {
                page.keys.iter().for_each(|(key, values)| line(Answer::Key { key: key.clone(), values: *values }));
                line(Answer::EndOfKeys { next: page.next.clone(), seen: *seen });
            }
        }
    }
}
