//! Snapshots at a simulated node: the loop seals the log and puts snapshots in their place, a thread of
//! its own makes them and stores what a leader sends, and a sender's thread reads the pieces.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::raft::message::{Body, Message};
use crate::raft::ready::{Input, Ready, SendChunk, StoreChunk};
use crate::raft::types::{NodeId, SnapshotMeta};
use crate::snapshot;
use crate::store::Store;

use super::disk::Snapshot;
use super::judge::{Checked, fail};
use super::profile::{MS, Micros, between, chance};
use super::world::{Happening, World};

/// With so many times the bytes that are due, a snapshot is made although a follower gets the one before.
const OVERDUE: u64 = 4;

/// What a node has of snapshots in memory; a crash loses it.
#[derive(Default)]
pub struct Snapshots {
    /// One that is being made, and whether it is ready.
    job: Option<(Snapshot, bool)>,
    /// What has come of a leader's.
    receiving: Option<(SnapshotMeta, String)>,
    /// A leader's, whole and right.
    stored: Option<(SnapshotMeta, Rc<str>, Store)>,
    /// Those that steps have taken over, until their batch is on disk.
    installing: VecDeque<(SnapshotMeta, Store)>,
    /// When the thread that stores has done what it has to do.
    thread_free_at: Micros,
}

impl Snapshots {
    /// The step installs the snapshot that was stored last: its text, for the disk.
    pub fn takes_over(&mut self, node: NodeId, meta: SnapshotMeta) -> Result<Rc<str>, super::judge::Failure> {
        match self.stored.take() {
            Some((stored, text, store)) if stored == meta => {
                self.installing.push_back((meta, store));
                Ok(text)
            }
            other => fail("installs", format!("{node} installs {meta:?}, stored is {:?}", other.map(|other| other.0))),
        }
    }

    /// The state machine of the snapshot that is on disk now.
    pub fn installed(&mut self, meta: SnapshotMeta) -> Option<Store> {
        let (installed, store) = self.installing.pop_front()?;
        (installed == meta).then_some(store)
    }
}

impl World {
    /// Between two turns, with everything on disk: puts a snapshot in its place that is ready, or begins one.
    pub fn keeps_house(&mut self, n: usize) -> Checked {
        let node = &mut self.nodes[n];
        let Some(raft) = node.raft.as_ref().filter(|_| node.is_idle(self.now)) else { return Ok(()) };
        if let Some((made, _)) = node.snapshots.job.take_if(|(_, ready)| *ready) {
            return self.publishes(n, made);
        }
        let disk = &self.disks[n];
        let limit = self.profile.snapshot_bytes.max(disk.snapshot().map_or(0, |snapshot| snapshot.meta.bytes));
        let bytes = disk.log_bytes();
        let spares_follower = raft.is_sending_snapshot() && bytes <= OVERDUE * limit;
        if node.snapshots.job.is_some() || bytes <= limit || spares_follower {
            return Ok(());
        }
        let through = raft.commit_index();
        // After a restart a leader may not have told yet that so much is committed.
        if through <= raft.log().base().index || through < disk.sealed_through() {
            return Ok(());
        }
        let (id, sum, opening) = (raft.log().id(through), raft.log().sum(through), raft.opening(through));
        let Some(id) = id else { return Ok(()) };
        let before = disk.durable.clone();
        self.disks[n].begin_file(opening);
        if self.stopped_here(n) || self.disk_fails(n, "sync a new file") {
            return Ok(());
        }
        self.disks[n].sync()?;
        if self.disks[n].durable != before {
            let why =
                format!("{} opens a file with {:?}, its log is {before:?}", self.nodes[n].id, self.disks[n].durable);
            return fail("openings", why);
        }
        if self.stopped_here(n) {
            return Ok(());
        }
        let made = self.disks[n].make(id, sum)?;
        self.judge.snapshot(self.nodes[n].id, made.meta)?;
        self.nodes[n].snapshots.job = Some((made, false));
        let after = between(&mut self.random, self.profile.snapshot_time);
        let life = self.nodes[n].life;
        self.push(after, Happening::SnapshotMade { node: n, life });
        Ok(())
    }

    /// The thread has made the snapshot.
    pub fn snapshot_made(&mut self, n: usize, life: u64) -> Checked {
        if self.nodes[n].life != life {
            return Ok(());
        }
        self.nodes[n].snapshots.job.iter_mut().for_each(|(_, ready)| *ready = true);
        self.attend(n)
    }

    fn publishes(&mut self, n: usize, made: Snapshot) -> Checked {
        let meta = made.meta;
        if !self.disks[n].rename_made(made) || self.stopped_here(n) {
            return Ok(());
        }
        self.disks[n].sync_directory(&mut self.random)?;
        if self.stopped_here(n) {
            return Ok(());
        }
        self.note(format!("{} has made a snapshot through {}", self.nodes[n].id, meta.last));
        self.nodes[n].inbox.push(Input::SnapshotMade { meta });
        self.attend(n)
    }

    /// What a step says of pieces of snapshots, after its records are safe.
    pub fn chunks(&mut self, n: usize, ready: &mut Ready) {
        let life = self.nodes[n].life;
        for send in std::mem::take(&mut ready.send_chunks) {
            // Some get lost before they are sent: the connection is not there, or its queue is full.
            if !chance(&mut self.random, self.profile.chunk_loss) {
                let after = between(&mut self.random, (0, self.profile.chunk_delay));
                self.push(after, Happening::SendsChunk { node: n, life, send });
            }
        }
        if let Some(chunk) = ready.store_chunk.take() {
            let takes = between(&mut self.random, (0, self.profile.chunk_delay));
            let snapshots = &mut self.nodes[n].snapshots;
            snapshots.thread_free_at = snapshots.thread_free_at.max(self.now) + takes;
            let after = snapshots.thread_free_at - self.now;
            self.push(after, Happening::StoresChunk { node: n, life, chunk });
        }
    }

    /// A sender's thread reads a piece from the file, if that is there still, and sends it.
    pub fn sends_chunk(&mut self, n: usize, life: u64, send: SendChunk) -> Checked {
        let SendChunk { to, term, meta, offset, bytes } = send;
        let file = self.disks[n].snapshot().filter(|snapshot| snapshot.meta == meta);
        let Some(text) = file.filter(|_| self.nodes[n].life == life).map(|file| file.text.clone()) else {
            return Ok(());
        };
        if offset > meta.bytes {
            return fail("chunks", format!("{} sends from byte {offset} of {meta:?}", self.nodes[n].id));
        }
        let mut end = text.len().min(offset as usize + bytes);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let data = text[offset as usize..end].into();
        self.carry(n, to, &Message { term, body: Body::InstallSnapshot { meta, offset, data } }, None)
    }

    /// The thread stores a piece, and with the last one proves the whole.
    pub fn stores_chunk(&mut self, n: usize, life: u64, chunk: StoreChunk) -> Checked {
        let StoreChunk { meta, offset, data } = chunk;
        let node = &mut self.nodes[n];
        if node.life != life {
            return Ok(());
        }
        if offset == 0 {
            node.snapshots.receiving = Some((meta, String::new()));
        }
        let broken = |why: &str| Input::SnapshotBroken { meta, why: why.to_owned() };
        let input = match node.snapshots.receiving.take() {
            Some((of, mut text)) if of == meta && text.len() as u64 == offset => {
                text.push_str(&data);
                let through = text.len() as u64;
                if through < meta.bytes {
                    node.snapshots.receiving = Some((meta, text));
                    Input::ChunkStored { meta, through }
                } else if chance(&mut self.random, self.profile.broken_snapshot) {
                    broken("simulated")
                } else {
                    self.judge.snapshot(node.id, meta)?;
                    match snapshot::read(&mut text.as_bytes()) {
                        Ok((found, store)) if found == meta => {
                            let readmitted = store.readmitted().iter().map(|(node, disk)| (*node, *disk)).collect();
                            node.snapshots.stored = Some((meta, text.into(), store));
                            Input::SnapshotStored { meta, readmitted }
                        }
                        other => return fail("chunks", format!("{} has put together {other:?}", node.id)),
                    }
                }
            }
            _ => broken("a piece that does not follow"),
        };
        node.inbox.push(input);
        self.attend(n)
    }
}

/// A snapshot takes between these times to be made.
pub const SNAPSHOT_TIMES: [(Micros, Micros); 3] = [(0, 0), (MS, 5 * MS), (20 * MS, 300 * MS)];
