//! Snapshots as the loop sees them (§7): when the log is sealed, and how what the snapshot thread has done comes
//! into force. The loop itself writes one small file, renames and syncs a directory, no more.

use std::sync::Arc;

use super::inbox::Inbox;
use super::raft_loop::RaftLoop;
use super::snapshots::Snapshots;
use crate::disk::{Made, Received, Receiver, SnapshotFile, Stored};
use crate::raft::ready::{Input, SendChunk, StoreChunk};
use crate::raft::types::{Record, SnapshotMeta};

/// A log that is so many times longer than it should be is compacted even if a follower, which gets the present
/// snapshot, must begin again.
const PATIENCE_WITH_FOLLOWERS: u64 = 4;

pub struct Compaction {
    thread: Snapshots,
    /// A log is left alone as long as it has no more bytes.
    log_bytes: u64,
    /// A snapshot is being made.
    making: bool,
    /// The snapshot in place of the log's beginning, for those who lack it.
    file: Option<Arc<SnapshotFile>>,
    /// What leaders have sent, whole, and this turn has heard of: one, or more if leaders came and went while the
    /// thread was busy.
    stored: Vec<Stored>,
}

impl Compaction {
    /// Starts the snapshot thread. `file` is the node's present snapshot.
    pub fn start(
        receiver: Receiver,
        inbox: Inbox,
        log_bytes: u64,
        file: Option<Arc<SnapshotFile>>,
    ) -> std::io::Result<Compaction> {
        Ok(Compaction {
            thread: Snapshots::start(receiver, inbox)?,
            log_bytes,
            making: false,
            file,
            stored: Vec::new(),
        })
    }

    /// Frees something large in the thread.
    pub(super) fn free(&self, what: impl Send + 'static) {
        self.thread.drop(what);
    }
}

impl RaftLoop {
    /// Seals the log if it has grown enough, and lets the thread make a snapshot of it. Only when all is on disk:
    /// the new file of the log begins with the state as it is in memory.
    pub(super) fn seal_if_due(&mut self) {
        let snapshot = self.raft.snapshot();
        let limit = self.compaction.log_bytes.max(snapshot.map_or(0, |meta| meta.bytes));
        let (bytes, committed) = (self.wal.grown_bytes(), self.raft.commit_index());
        let gone = committed - self.raft.log().base().index;
        let mostly_committed = gone > 0 && gone >= self.raft.log().len() as u64 / 2;
        // While most of the log waits to be committed, a snapshot would take little of it away.
        if bytes <= limit || self.compaction.making || !mostly_committed {
            return;
        }
        // It was sealed there before it was started again, and no leader has told it yet that so much is committed.
        if committed < self.wal.sealed_through() {
            return;
        }
        if self.raft.is_sending_snapshot() && bytes <= limit.saturating_mul(PATIENCE_WITH_FOLLOWERS) {
            return;
        }
        match self.wal.seal(&self.raft.opening(committed)) {
            Ok(sealed) => self.compaction.thread.make(sealed),
            Err(error) => self.disk_failed(&error.to_string()),
        }
        self.compaction.making = true;
    }

    /// The snapshot is made: it takes the place of what it was made of, unless a leader's newer one did already.
    pub(super) fn publish(&mut self, made: Made) -> Option<Input> {
        self.compaction.making = false;
        match self.wal.publish(made) {
            Ok(file) => {
                let meta = file.as_ref().map(|file| file.meta())?;
                self.replace_file(file);
                Some(Input::SnapshotMade { meta })
            }
            Err(error) => self.disk_failed(&error.to_string()),
        }
    }

    /// A piece of a leader's snapshot goes to the thread.
    pub(super) fn store_chunk(&mut self, chunk: StoreChunk) {
        let meta = chunk.meta;
        if !self.compaction.thread.store(chunk) {
            let why = "too much waits to be stored".to_string();
            self.later.push(Input::SnapshotBroken { meta, why });
        }
    }

    /// A piece of a leader's snapshot is stored, or it was the last and wrong.
    pub(super) fn chunk_stored(&mut self, meta: SnapshotMeta, received: Received) -> Input {
        match received {
            Received::Through(through) => Input::ChunkStored { meta, through },
            Received::Broken(why) => Input::SnapshotBroken { meta, why },
            Received::Whole(stored) => {
                let readmitted = stored.readmitted();
                self.compaction.stored.push(stored);
                Input::SnapshotStored { meta, readmitted }
            }
        }
    }

    /// A leader's snapshot takes the place of all that was, on disk and in memory.
    pub(super) fn install(&mut self, meta: SnapshotMeta, records: &[Record]) {
        let Some(at) = self.compaction.stored.iter().position(|stored| stored.meta() == meta) else {
            panic!("the snapshot through {} is installed, but was never stored", meta.last)
        };
        let stored = self.compaction.stored.swap_remove(at);
        match self.wal.install(records, stored) {
            Ok((file, store)) => {
                let old = std::mem::replace(&mut self.store, store);
                self.compaction.free(old);
                self.replace_file(Some(file));
            }
            Err(error) => self.disk_failed(&error.to_string()),
        }
    }

    /// What the algorithm did not want of what was stored is freed.
    pub(super) fn forget_stored(&mut self) {
        let stored = std::mem::take(&mut self.compaction.stored);
        if !stored.is_empty() {
            self.compaction.free(stored);
        }
    }

    /// The pieces go to the senders, which read them. One of a snapshot that is no more is not sent: the leader
    /// begins anew with the present one.
    pub(super) fn send_chunks(&self, chunks: Vec<SendChunk>) {
        for chunk in chunks {
            if let Some(link) = self.node.links.get(&chunk.to)
                && let Some(file) = self.compaction.file.as_ref().filter(|file| file.meta() == chunk.meta)
            {
                link.send_chunk(file.clone(), chunk);
            }
        }
    }

    fn replace_file(&mut self, file: Option<Arc<SnapshotFile>>) {
        if let Some(old) = std::mem::replace(&mut self.compaction.file, file) {
            self.compaction.free(old);
        }
    }
}
