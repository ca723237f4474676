//! Log compaction (§7): a snapshot in the place of the log's beginning, and InstallSnapshot.
//!
//! The content of a snapshot never passes through here, only what it is ([`SnapshotMeta`]): the
//! outside makes it, reads a leader's pieces from its file and stores a follower's. A leader sends one
//! piece at a time; the follower says how much it has stored, and from there it goes on. What is lost
//! on the way is sent again with the next heartbeat.

use std::sync::Arc;

use super::event::Fact;
use super::message::Body;
use super::ready::StoreChunk;
use super::types::{Disk, Entry, EntryId, Index, NodeId, Record, SnapshotMeta};
use super::{Raft, State};

/// A snapshot that a leader sends.
#[derive(Debug)]
pub struct Receiving {
    meta: SnapshotMeta,
    /// So many bytes are stored.
    through: u64,
    /// A piece is being stored: the next one is taken after it.
    storing: bool,
}

impl Raft {
    /// Everything that a new file of the log begins with, when what is through `index` is in a
    /// snapshot or will be: term and vote, the disks, and the entries that follow. `index` lies between
    /// the log's base and the commit index.
    pub fn opening(&self, index: Index) -> Vec<Record> {
        let id = self.log.id(index).filter(|_| index <= self.commit_index);
        let id = id.unwrap_or_else(|| panic!("a snapshot through {index}, committed is {}", self.commit_index));
        let mut records = vec![Record::Base { id, sum: self.log.sum(index) }];
        records.push(Record::Vote { term: self.current_term, voted_for: self.voted_for });
        records.extend(self.disks.iter().map(|(node, disk)| Record::Peer { node: *node, disk: *disk }));
        records.extend(self.log.range(index + 1, self.log.last().index).cloned().map(Record::Entry));
        records
    }

    /// What is in the place of the log's beginning.
    pub fn snapshot(&self) -> Option<SnapshotMeta> {
        self.snapshot
    }

    /// Does this leader send a follower a snapshot at the moment? Then a new one had better wait: the
    /// follower would have to begin again.
    pub fn is_sending_snapshot(&self) -> bool {
        let State::Leader(leader) = &self.state else { return false };
        let patience = self.config.election_timeout.0;
        let alive = |last_ack| self.now.saturating_sub(last_ack) < patience;
        leader.progress.values().any(|progress| progress.is_in_transfer() && alive(progress.last_ack))
    }

    pub(super) fn snapshot_made(&mut self, meta: SnapshotMeta) {
        let before = self.log.base().index;
        if meta.last.index <= before {
            return;
        }
        self.ready.gone = self.log.compact(meta.last);
        self.snapshot = Some(meta);
        if let State::Leader(leader) = &mut self.state {
            leader.progress.values_mut().for_each(|progress| progress.compacted(meta.last.index));
        }
        let SnapshotMeta { last, sum, bytes, .. } = meta;
        self.tell(Fact::Compacted { last, sum, bytes, entries: last.index - before });
    }

    /// An AppendEntries that begins before the end of the snapshot: what is in the snapshot is committed,
    /// so it is equal and needs no look. `None` if nothing is left.
    pub(super) fn behind_snapshot(
        &self,
        prev: EntryId,
        mut entries: Vec<Entry>,
    ) -> Result<Option<(EntryId, Vec<Entry>)>, String> {
        let base = self.log.base();
        if prev.index >= base.index {
            return Ok(Some((prev, entries)));
        }
        let known = (base.index - prev.index) as usize;
        if entries.len() <= known {
            return Ok(None);
        }
        let last = entries[known - 1].id;
        if last != base {
            return Err(format!("it has {last} where the snapshot has the committed {base}"));
        }
        Ok(Some((base, entries.split_off(known))))
    }

    /// InstallSnapshot at a follower (Figure 13).
    pub(super) fn on_install_snapshot(&mut self, from: NodeId, meta: SnapshotMeta, offset: u64, data: Arc<str>) {
        if meta.last.index <= self.commit_index {
            // All of it is here. Through a committed index all logs are equal.
            return self.send_matched(from, meta.last.index, 0);
        }
        if meta.last.term > self.current_term || offset.saturating_add(data.len() as u64) > meta.bytes {
            return self
                .error(format!("install-snapshot from {from}: a piece that cannot be of {}; ignored", meta.last));
        }
        let known = self.receiving.as_ref().is_some_and(|receiving| receiving.meta == meta);
        if !known && offset == 0 && !data.is_empty() {
            let text = format!("receiving through {} from leader {from}: {} bytes", meta.last, meta.bytes);
            self.tell(Fact::Snapshot { text });
            self.receiving = Some(Receiving { meta, through: 0, storing: false });
        }
        let (last, crc) = (meta.last, meta.crc);
        match &mut self.receiving {
            Some(receiving) if receiving.meta == meta => {
                let through = receiving.through;
                if receiving.storing || self.ready.store_chunk.is_some() {
                    // The answer comes when the piece before is stored.
                } else if offset == through && !data.is_empty() {
                    receiving.storing = true;
                    self.ready.store_chunk = Some(StoreChunk { meta, offset, data });
                } else {
                    self.send(from, Body::SnapshotTaken { last, crc, through });
                }
            }
            _ => self.send(from, Body::SnapshotTaken { last, crc, through: 0 }),
        }
    }

    pub(super) fn on_snapshot_taken(&mut self, from: NodeId, last: EntryId, crc: u32, through: u64) {
        let State::Leader(leader) = &mut self.state else { return };
        let Some(progress) = leader.progress.get_mut(&from) else { return };
        progress.last_ack = self.now;
        progress.taken(last, crc, through);
    }

    pub(super) fn chunk_stored(&mut self, meta: SnapshotMeta, stored: u64) {
        let Some(receiving) = self.receiving.as_mut().filter(|receiving| receiving.meta == meta) else { return };
        receiving.through = stored;
        receiving.storing = false;
        self.tell_taken(meta, stored);
    }

    fn tell_taken(&mut self, meta: SnapshotMeta, through: u64) {
        if let State::Follower { leader: Some(leader) } = self.state {
            self.send(leader, Body::SnapshotTaken { last: meta.last, crc: meta.crc, through });
        }
    }

    pub(super) fn snapshot_broken(&mut self, meta: SnapshotMeta, why: String) {
        if self.receiving.take_if(|receiving| receiving.meta == meta).is_some() {
            self.error(format!("the snapshot through {} is thrown away: {why}; it is asked for again", meta.last));
            self.tell_taken(meta, 0);
        }
    }

    /// The snapshot is whole: it takes the place of everything through its last entry, term and vote stay
    /// (Figure 13, steps 6 to 8).
    pub(super) fn snapshot_stored(&mut self, meta: SnapshotMeta, readmitted: Vec<(NodeId, Disk)>) {
        if self.receiving.take_if(|receiving| receiving.meta == meta).is_none() {
            return;
        }
        // Who knows no leader has other worries; the next one will send it again.
        let State::Follower { leader: Some(from) } = self.state else { return };
        if meta.last.index <= self.commit_index {
            return self.send_matched(from, meta.last.index, 0);
        }
        let SnapshotMeta { last, sum, bytes, .. } = meta;
        #[cfg(test)]
        let last = self.bend_install(last);
        self.ready.gone = self.log.install(last, sum);
        self.commit_index = last.index;
        self.leader_commit = self.leader_commit.max(last.index);
        self.released = last.index;
        self.snapshot = Some(meta);
        self.ready.installed = Some(meta);
        self.tell(Fact::Installed { last, sum, bytes, from });
        for (node, disk) in readmitted {
            self.readmitted(disk.since, node, disk.id);
        }
        self.send_matched(from, last.index, 0);
    }
}
