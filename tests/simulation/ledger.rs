//! Which disks count, what they have voted, and what the lost ones held; and what a snapshot must be.

use std::collections::{BTreeMap, BTreeSet};

use crate::raft::log::chain_entry;
use crate::raft::types::{DiskId, Entry, Index, NodeId, Persistent, SnapshotMeta, Term};
use crate::snapshot;
use crate::store::Store;

use super::disk::SimDisk;
use super::judge::{Checked, fail};

#[derive(Default)]
pub struct Ledger {
    /// Every disk that was ever counted, with the term of the entry that readmitted its node first: its
    /// votes count in later terms.
    admitted: BTreeMap<DiskId, Term>,
    /// The disk with which each node is counted, as the committed log has it.
    counted: BTreeMap<NodeId, DiskId>,
    /// What was on the disk of a node that is not counted: copies that others had counted. They were real,
    /// and nobody can be elected without the other ones as long as the node is not counted again: that
    /// takes an entry on a majority without it, and with the entry all before it.
    lost: BTreeMap<NodeId, (DiskId, Persistent)>,
    /// The votes that left a node, its own for itself included.
    votes: BTreeMap<(Term, NodeId, DiskId), NodeId>,
}

impl Ledger {
    /// The disks with which the nodes start.
    pub fn meets(&mut self, disks: &[SimDisk]) {
        for (disk, node) in disks.iter().zip((1..).map(NodeId)) {
            self.admitted.insert(disk.id, 0);
            self.counted.insert(node, disk.id);
        }
    }

    pub fn wiped(&mut self, node: NodeId, disk: DiskId, lost: Persistent) {
        self.lost.insert(node, (disk, lost));
    }

    /// The entry that readmits the node with this disk is committed.
    pub fn readmitted(&mut self, node: NodeId, disk: DiskId, term: Term) {
        self.admitted.entry(disk).or_insert(term);
        self.counted.insert(node, disk);
        // It may be the same entry once more: two operators have asked for the disk that is lost now.
        if self.lost.get(&node).is_some_and(|(lost, _)| *lost != disk) {
            self.lost.remove(&node);
        }
    }

    /// The nodes whose disk is not the one with which they are counted.
    pub fn not_counted(&self, disks: &[SimDisk]) -> Vec<usize> {
        let counted = |n: &usize| self.counted.get(&NodeId(*n as u64 + 1)) == Some(&disks[*n].id);
        (0..disks.len()).filter(|n| !counted(n)).collect()
    }

    /// Is this a disk with which a node has started the run?
    pub fn is_first(&self, disk: DiskId) -> bool {
        self.admitted.get(&disk) == Some(&0)
    }

    /// Does a vote with this disk count in the term?
    pub fn vote_counts(&self, disk: DiskId, term: Term) -> bool {
        self.admitted.get(&disk).is_some_and(|since| *since < term)
    }

    pub fn voted(&mut self, node: NodeId, disk: DiskId, term: Term, candidate: NodeId) -> Checked {
        let vote = *self.votes.entry((term, node, disk)).or_insert(candidate);
        if vote != candidate {
            return fail("one vote", format!("{node} votes for {vote} and for {candidate} in t{term}"));
        }
        Ok(())
    }

    /// How many others have truly voted for the candidate.
    pub fn votes_for(&self, candidate: NodeId, term: Term) -> usize {
        let none = DiskId(0);
        let all = self.votes.range((term, NodeId(0), none)..(term + 1, NodeId(0), none));
        let true_votes = all.filter(|((_, voter, disk), vote)| {
            **vote == candidate && *voter != candidate && self.vote_counts(*disk, term)
        });
        true_votes.map(|((_, voter, _), _)| *voter).collect::<BTreeSet<_>>().len()
    }

    /// On how many nodes' disks is the entry, or was it when the disk was lost?
    pub fn copies(&self, entry: &Entry, disks: &[SimDisk]) -> usize {
        let held = |log: &Persistent| log.entry(entry.id.index) == Some(entry);
        let node = |(disk, node): (&SimDisk, NodeId)| {
            held(&disk.durable) || self.lost.get(&node).is_some_and(|(_, lost)| held(lost))
        };
        disks.iter().zip((1..).map(NodeId)).filter(|one| node((one.0, one.1))).count()
    }
}

/// What snapshots must be: the state behind a prefix of the committed log, the same on all nodes.
#[derive(Default)]
pub struct Snapshots {
    known: BTreeMap<Index, SnapshotMeta>,
    /// The state behind one prefix, and the running checksum through it.
    store: Store,
    sum: u32,
}

impl Snapshots {
    pub fn check(&mut self, node: NodeId, meta: SnapshotMeta, committed: &[Entry]) -> Checked {
        let index = meta.last.index;
        if committed.get(index as usize - 1).is_none_or(|entry| entry.id != meta.last) {
            return fail("snapshots", format!("{node} has one through {}, which is not committed", meta.last));
        }
        if !self.known.contains_key(&index) {
            if self.store.last_applied() > index {
                (self.store, self.sum) = (Store::new(), 0);
            }
            for entry in &committed[self.store.last_applied() as usize..index as usize] {
                self.store.apply(entry);
                self.sum = chain_entry(self.sum, entry);
            }
            match snapshot::write(&self.store, meta.last, self.sum, &mut std::io::sink()) {
                Ok(right) => self.known.insert(index, right),
                Err(error) => return fail("snapshots", format!("cannot be written: {error}")),
            };
        }
        let right = self.known[&index];
        if right != meta {
            return fail("snapshots", format!("{node} has {meta:?}, the committed log gives {right:?}"));
        }
        Ok(())
    }
}
