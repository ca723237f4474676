//! Which disks count.
//!
//! A node that comes back with an empty disk has forgotten its votes and its entries: counted as
//! before, it could give a second vote in a term, or let a majority forget what it had promised. So
//! each node remembers the disk of each other one, and counts nothing that comes from another. The
//! cure is an entry in the log, Readmit, committed by a majority without the lost disk: that majority
//! holds everything that was ever committed, and no leader of an earlier term can come any more with a
//! vote that the lost disk gave. From then on the new disk counts, its votes in later terms only.
//! (Not in Raft; rethinkdb #5289 tells what happens without.)

use super::Raft;
use super::State;
use super::event::Fact;
use super::message::Body;
use super::mutants::mutant;
use super::ready::Refusal;
use super::types::{Command, Disk, DiskId, EntryId, NodeId, Record, Role, Term, Token};

impl Raft {
    /// Is what this peer says counted? The first disk that it comes with is remembered, on disk,
    /// before anything else leaves; with another one it has forgotten its votes and its entries.
    pub(super) fn counts(&mut self, from: NodeId, disk: DiskId) -> bool {
        match self.disks.get(&from).copied() {
            None => {
                self.remember_disk(from, Disk { id: disk, since: EntryId::ZERO });
                true
            }
            Some(known) if known.id == disk => {
                self.refused.remove(&from);
                true
            }
            Some(_) if mutant!(self, WipedDiskCounts) => true,
            Some(known) => {
                if self.refused.insert(from, disk) != Some(disk) {
                    self.error(format!(
                        "{from} came back with disk {disk} instead of {}: it has forgotten its votes and its entries, so \
                         it is not counted; give it its old data directory back, or count it anew: client readmit {from}",
                        known.id
                    ));
                }
                self.send(from, Body::Refused { disk: known.id });
                false
            }
        }
    }

    /// The peer speaks with this disk. What was to be answered to another one is not said any more: a vote
    /// for the node that it was must not elect the node that it is.
    pub(super) fn speaks(&mut self, from: NodeId, disk: DiskId) {
        if self.spoke.insert(from, disk).is_some_and(|before| before != disk) {
            self.ready.messages.retain(|(to, message)| *to != from || !message.body.answers());
        }
    }

    /// The disk of the process that the answers of this step to the peer are for. If the peer has come back
    /// with another one they must not be sent.
    pub fn answers_are_for(&self, peer: NodeId) -> Option<DiskId> {
        self.spoke.get(&peer).copied()
    }

    /// The peer's disk is remembered, or refused, before it has said anything else.
    pub(super) fn met(&mut self, peer: NodeId, disk: DiskId) {
        if self.peers().contains(&peer) {
            self.counts(peer, disk);
        }
    }

    /// Another node remembers this one with another disk. That is remembered in turn: until it is
    /// readmitted, this node votes for nobody, itself included.
    pub(super) fn refused_by(&mut self, from: NodeId, disk: DiskId) {
        let own = self.config.disk;
        let known = self.disks.get(&self.config.id).copied();
        if disk == own || known.is_some_and(|known| known.id == own) {
            return;
        }
        if known.is_none() {
            self.remember_disk(self.config.id, Disk { id: disk, since: EntryId::ZERO });
        }
        if self.refused_by.insert(from) {
            let id = self.config.id;
            self.error(format!(
                "{from} remembers this node with disk {disk}, but this is disk {own}: it is not counted; give it its old \
                 data directory back, or count it anew: client readmit {id}"
            ));
        }
        self.follow_without_votes();
    }

    /// Who stands for election or leads has voted for itself, and just now learns that this vote does not
    /// count.
    fn follow_without_votes(&mut self) {
        if self.role() != Role::Follower
            && let Some(why) = self.lost_votes(self.current_term)
        {
            self.become_follower(None, why);
        }
    }

    fn remember_disk(&mut self, node: NodeId, disk: Disk) {
        self.disks.insert(node, disk);
        self.ready.records.push(Record::Peer { node, disk });
    }

    /// Why this node may vote for nobody in `term`, itself included: it does not know whom it voted for
    /// with the disk that it has lost.
    pub(super) fn lost_votes(&self, term: Term) -> Option<String> {
        let disk = self.disks.get(&self.config.id)?;
        if disk.id != self.config.disk {
            return Some(format!("this node's disk is new, others remember {}", disk.id));
        }
        let since = disk.since.term;
        (term <= since)
            .then(|| format!("this node came back in t{since} with a new disk, it votes in later terms only"))
    }

    /// Does a vote of this peer count in the present term? (Who knows that a disk was readmitted has heard the
    /// leader of that term and stands in later ones only, so this is never the only lock: the mutant that left
    /// it out did no harm. It stands where votes are counted all the same, for whoever changes the rest.)
    pub(super) fn vote_counts(&self, from: NodeId) -> bool {
        let since = self.disks.get(&from).map_or(0, |disk| disk.since.term);
        since < self.current_term
    }

    /// A client wants the node to be counted with the disk that it has come back with.
    pub(super) fn readmit(&mut self, token: Token, node: NodeId) {
        let refused = self.refused.get(&node).copied();
        match (&self.state, refused) {
            (State::Leader(_), None) => self.ready.refusals.push((token, Refusal::NotRefused { node })),
            (_, disk) => {
                // Who does not lead answers with the leader's name, whatever the command.
                let disk = disk.unwrap_or(DiskId(0));
                self.propose(token, Command::Readmit { node, disk });
                if mutant!(self, ReadmittedUncommitted) && self.role() == Role::Leader {
                    self.readmitted(self.log.last(), node, disk);
                }
            }
        }
    }

    /// The entry `by` is committed: the node is counted with this disk.
    pub(super) fn readmitted(&mut self, by: EntryId, node: NodeId, disk: DiskId) {
        if self.adopt_disk(node, Disk { id: disk, since: by }) {
            self.tell(Fact::Readmitted { peer: node, by, disk });
        }
    }

    /// Takes the disk if it is not known already, by this entry or a later one. `false` if it is: after a
    /// restart all entries since the snapshot are committed once more, and two clients may have asked.
    pub(super) fn adopt_disk(&mut self, node: NodeId, disk: Disk) -> bool {
        let again = |known: &Disk| known.id == disk.id && known.since > EntryId::ZERO;
        if self.disks.get(&node).is_some_and(|known| known.since >= disk.since || again(known)) {
            return false;
        }
        self.remember_disk(node, disk);
        self.refused.retain(|refused, with| (*refused, *with) != (node, disk.id));
        if node == self.config.id {
            self.refused_by.clear();
            self.follow_without_votes();
        }
        // It has nothing of what the lost disk had acknowledged.
        let last = self.log.last().index;
        if let State::Leader(leader) = &mut self.state
            && let Some(progress) = leader.progress.get_mut(&node)
        {
            progress.match_index = 0;
            progress.probe(last + 1);
        }
        true
    }
}
