//! A simulated disk: the bytes of a real write-ahead log, of which only a part is safe.

use std::collections::VecDeque;

use crate::disk::Identity;
use crate::disk::wal;
use crate::raft::types::{DiskId, Entry, Index, NodeId, Persistent, Record};
use crate::text::random::Random;

use super::judge::{Failure, fail};

/// Bytes written, the first `synced` of which survive everything. Beside them the same content as
/// the records say it, for the checks: what a node says must follow from `durable`.
#[derive(Debug)]
pub struct SimDisk {
    node: NodeId,
    pub id: DiskId,
    bytes: Vec<u8>,
    synced: usize,
    next_batch: u64,
    pub durable: Persistent,
    /// The records of the batch that is written and not yet synced.
    pending: Vec<Record>,
    /// The batches that are yet to be written, in order.
    planned: VecDeque<Vec<Record>>,
    text: String,
}

impl SimDisk {
    /// A new data directory, its first record synced.
    pub fn new(node: NodeId, size: u64, id: DiskId) -> SimDisk {
        let mut text = String::new();
        wal::encode_header(&Identity { node, size, disk: id }, &mut text);
        SimDisk {
            node,
            id,
            synced: text.len(),
            bytes: text.into_bytes(),
            next_batch: 2,
            durable: Persistent::default(),
            pending: Vec::new(),
            planned: VecDeque::new(),
            text: String::new(),
        }
    }

    /// A batch to be written. It is in memory now, and not yet on disk.
    pub fn plan(&mut self, records: Vec<Record>) {
        self.planned.push_back(records);
    }

    /// Is more than entries on the way? That, nothing may overtake.
    pub fn must_not_be_overtaken(&self) -> bool {
        let mut records = self.pending.iter().chain(self.planned.iter().flatten());
        records.any(|record| !matches!(record, Record::Entry(_)))
    }

    /// Is all that was written and not synced votes?
    pub fn only_votes_pending(&self) -> bool {
        self.pending.iter().all(|record| matches!(record, Record::Vote { .. }))
    }

    /// Writes the next batch.
    pub fn write(&mut self) {
        let Some(mut records) = self.planned.pop_front() else { return };
        self.text.clear();
        wal::encode_batch(self.next_batch, &records, &mut self.text);
        self.next_batch += 1;
        self.bytes.extend_from_slice(self.text.as_bytes());
        self.pending.append(&mut records);
    }

    /// The entry at `index` as it is in the memory of a leader: on disk, or on the way there.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        let at = index.checked_sub(1)? as usize;
        self.durable.entries.get(at).or_else(|| {
            self.pending.iter().chain(self.planned.iter().flatten()).find_map(|record| match record {
                Record::Entry(entry) if entry.id.index == index => Some(entry),
                _ => None,
            })
        })
    }

    /// What was written is safe.
    pub fn sync(&mut self) -> Result<(), Failure> {
        self.synced = self.bytes.len();
        for record in self.pending.drain(..) {
            if let Err(why) = self.durable.apply(record) {
                return fail("records in order", format!("{} writes a record that cannot follow: {why}", self.node));
            }
        }
        Ok(())
    }

    /// What a crash leaves: all that was synced, and of the rest nothing, everything (a killed
    /// process), any prefix, or a prefix with garbled bytes.
    pub fn crash(&mut self, random: &mut Random) {
        let unsynced = (self.bytes.len() - self.synced) as u64;
        let kept = match random.below(4) {
            0 => 0,
            1 => unsynced,
            _ => random.below(unsynced + 1),
        } as usize;
        self.bytes.truncate(self.synced + kept);
        if kept > 0 && random.below(3) == 0 {
            for _ in 0..=random.below(3) {
                let at = self.synced + random.below(kept as u64) as usize;
                self.bytes[at] = if random.below(2) == 0 { 0 } else { self.bytes[at] ^ (1 << random.below(8)) };
            }
        }
    }

    /// Boots from what is left with the real recovery. What comes back must be what was synced,
    /// and possibly some of the records that were under way.
    pub fn recover(&mut self) -> Result<Persistent, Failure> {
        let scanned = match wal::scan(&self.bytes) {
            Ok(scanned) => scanned,
            Err(corruption) => {
                return fail("recovery", format!("{}: a torn log is taken for a corrupt one: {corruption}", self.node));
            }
        };
        let found = scanned.persistent;
        self.bytes.truncate(scanned.valid_len);
        if self.bytes.len() < self.synced {
            return fail("recovery", format!("{}: recovery cut off what was synced", self.node));
        }
        // The batch under way is there as a whole or not at all.
        if self.bytes.len() > self.synced {
            self.sync()?;
        }
        self.pending.clear();
        self.planned.clear();
        if found != self.durable {
            return fail("recovery", format!("{}: its log reads as {found:?}, not {:?}", self.node, self.durable));
        }
        self.synced = self.bytes.len();
        self.next_batch = scanned.last_batch + 1;
        Ok(found)
    }
}
