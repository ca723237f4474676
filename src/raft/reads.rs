//! Reads that see everything committed before they were asked (ReadIndex, thesis §6.4; §8).
//!
//! A leader may have been replaced without knowing it. So before it serves a read it asks the others
//! whether it still leads: an AppendEntries to all, sent at once, with a number that only answers to
//! it or to later ones repeat. Once a majority has answered, nobody else had been elected when the
//! read came, and what this leader knows as committed is all there was. One round serves all reads
//! that wait. Followers redirect: the leader has to be asked in any case, and a client that comes to
//! it directly saves a hop.

use super::Raft;
use super::State;
use super::mutants::mutant;
use super::ready::Refusal;
use super::replication::Leader;
use super::types::Token;
use std::time::Duration;

/// Reads that may wait for an answer of the majority before a leader says "busy".
pub const MAX_WAITING_READS: usize = 16 * 1024;

impl Leader {
    /// Is there a read that waits for a round which has not begun? Then it begins now.
    pub(super) fn begin_round(&mut self) -> bool {
        let asks = self.reads.back().is_some_and(|(round, _)| *round > self.round);
        self.round += u64::from(asks);
        asks
    }

    /// The latest round that a majority has answered; the leader itself has answered all.
    fn majority_round(&self, majority: usize) -> u64 {
        let mut rounds: Vec<u64> = self.progress.values().map(|progress| progress.round).collect();
        rounds.push(self.round);
        rounds.sort_unstable_by(|a, b| b.cmp(a));
        rounds[majority - 1]
    }
}

impl Raft {
    pub(super) fn read(&mut self, token: Token) {
        let State::Leader(leader) = &mut self.state else {
            let refusal = self.leader().map_or(Refusal::NoLeader, |leader| Refusal::Redirect { leader });
            return self.ready.refusals.push((token, refusal));
        };
        if leader.reads.len() >= MAX_WAITING_READS {
            return self.ready.refusals.push((token, Refusal::Busy));
        }
        let round = leader.round + u64::from(!mutant!(self, LateAckRead));
        leader.reads.push_back((round, token));
    }

    /// Lets the reads go whose round a majority has answered. A new leader first commits an entry of its
    /// own: until then it does not know what is committed (§8).
    pub(super) fn confirm_reads(&mut self) {
        let (majority, knows) = (self.majority(), self.knows_committed() || mutant!(self, ReadBeforeNoop));
        let State::Leader(leader) = &mut self.state else { return };
        if !knows || leader.reads.is_empty() {
            return;
        }
        let answered = leader.majority_round(majority);
        let confirmed = leader.reads.partition_point(|(round, _)| *round <= answered);
        self.ready.reads.extend(leader.reads.drain(..confirmed).map(|(_, token)| token));
    }

    /// How long ago this node last heard its leader; as leader, a majority. `None` without a leader.
    pub(super) fn heard(&self) -> Option<Duration> {
        match &self.state {
            State::Follower { leader: Some(_) } => Some(self.now.saturating_sub(self.last_contact)),
            State::Leader(leader) => Some(self.now.saturating_sub(leader.majority_ack(self.now, self.majority()))),
            _ => None,
        }
    }
}
