//! The snapshot thread: it makes snapshots of sealed log files and stores the one that a leader sends (§7), and
//! frees what is large. All of that takes as long as the state is large, and the loop waits for none of it.

use std::io;
use std::sync::Arc;
use std::thread;

use super::inbox::{Inbox, Item};
use super::limits::{LARGE_STACK, SNAPSHOT_JOB_BYTES, SNAPSHOT_JOBS};
use super::queue::Queue;
use crate::disk::{Receiver, Sealed};
use crate::raft::ready::StoreChunk;

enum Job {
    Make(Sealed),
    Store(StoreChunk),
    /// Something large, or the last hold on a file that was deleted: to free it takes time.
    Drop(Box<dyn Send>),
}

/// The loop's hold on the thread.
pub struct Snapshots {
    jobs: Arc<Queue<Job>>,
}

impl Snapshots {
    /// Starts the thread `snapshots`.
    pub fn start(receiver: Receiver, inbox: Inbox) -> io::Result<Snapshots> {
        let jobs = Arc::new(Queue::new(SNAPSHOT_JOBS, SNAPSHOT_JOB_BYTES));
        let taken = jobs.clone();
        thread::Builder::new()
            .name("snapshots".to_string())
            .stack_size(LARGE_STACK)
            .spawn(move || work(&taken, receiver, &inbox))?;
        Ok(Snapshots { jobs })
    }

    /// What comes of it is an [`Item::SnapshotMade`]. No second one before that.
    pub fn make(&self, sealed: Sealed) {
        self.jobs.force_push(Job::Make(sealed));
    }

    /// What comes of it is an [`Item::ChunkStored`]. False: too much waits, the piece is thrown away.
    pub fn store(&self, chunk: StoreChunk) -> bool {
        let weight = chunk.data.len();
        self.jobs.try_push(Job::Store(chunk), weight)
    }

    /// Frees it in the thread, or here if too much waits there.
    pub fn drop(&self, what: impl Send + 'static) {
        self.jobs.try_push(Job::Drop(Box::new(what)), 0);
    }
}

fn work(jobs: &Queue<Job>, mut receiver: Receiver, inbox: &Inbox) {
    let mut waiting = Vec::new();
    while jobs.take_all(&mut waiting, None) {
        for job in waiting.drain(..) {
            let done = match job {
                Job::Make(sealed) => sealed.make().map(|made| Item::SnapshotMade(Box::new(made))),
                Job::Store(chunk) => {
                    let stored = receiver.store(&chunk);
                    stored.map(|received| Item::ChunkStored { meta: chunk.meta, received: Box::new(received) })
                }
                Job::Drop(what) => {
                    drop(what);
                    continue;
                }
            };
            // The loop alone knows how to end the node, and as what.
            inbox.push(done.unwrap_or_else(|error| Item::DiskFailed(error.to_string())), 0);
        }
    }
}
