//! Bugs on purpose, for the tests only: a checker that has never caught anything proves nothing.
//!
//! Each is a bug that a real implementation had (`SCENARIOS.md` names them). One at a time is
//! switched on by `Config::mutant`, and the simulation must catch it. In every build but the test
//! build of this library `mutant!` is the constant `false` and nothing of this is left.

/// Whether the bug `$name` is switched on in the node `$raft`, which has a `config`.
#[cfg(test)]
macro_rules! mutant {
    ($raft:expr, $name:ident) => {
        $raft.config.mutant == Some($crate::raft::mutants::Mutant::$name)
    };
}

/// Whether the bug `$name` is switched on in the node `$raft`: never, outside tests.
#[cfg(not(test))]
macro_rules! mutant {
    ($raft:expr, $name:ident) => {
        false
    };
}

pub(crate) use mutant;

#[cfg(test)]
use super::{
    Raft, State,
    election::Tally,
    message::{Body, Message},
    types::{EntryId, Index},
};

/// The bugs. Those marked "driver" sit in the simulated node around the algorithm.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Driver: a vote is written but not synced before it leaves (PySyncObj #84).
    DoubleVoteRestart,
    /// Stepping down within the same term forgets the vote (CCF #8094).
    SameTermKeepsVote,
    /// A grant of an earlier term is counted in this one (xraft #33).
    StaleGrant,
    /// "At least as up-to-date" compares the lengths alone (openraft a48a3282).
    UpToDateByLength,
    /// "At least as up-to-date" wants the term and the length both: no harm, but no leader either.
    UpToDateByBoth,
    /// A delayed, shorter AppendEntries cuts off what follows it without a conflict (openraft 9540c904).
    StaleShortAppend,
    /// A follower acknowledges its own last index, not what the message proved (CCF #6001).
    AckMatchedOnly,
    /// A follower takes the leader's commit index beyond what the message proved (scylla #9965).
    CommitCapped,
    /// The commit index follows every message, backwards too (PySyncObj #166).
    CommitMonotone,
    /// A leader that hears of a newer term sends on with it (camunda #5360).
    DeposedSilent,
    /// Entries of earlier terms are committed by counting (Figure 8, PySyncObj #169).
    Figure8,
    /// The leader counts its own copy before it is synced (etcd #14370).
    UnsyncedSelfAck,
    /// Driver: a failed sync is ignored.
    FsyncErrorEndsNode,
    /// Driver: the session of an append is dropped, so a retry after a failover appends twice.
    FailoverRetry,
    /// A candidate's new round keeps the votes of the round before (raft-rs #83).
    FreshTally,
    /// A granted pre-vote counts as a vote.
    PreVoteIsVote,
    /// Votes are granted to any log, however short.
    AnyLogWins,
    /// A disk that was wiped is counted as the one before it (rethinkdb #5289).
    WipedDiskCounts,
    /// Entries are taken wherever they fit, whatever is before them.
    PrevNotChecked,
    /// An acknowledgement of an earlier term is counted in this one.
    StaleAck,
    /// A leader that nobody answers goes on leading (no check-quorum).
    NoCheckQuorum,
    /// Driver: everything is said before it is written, not a leader's AppendEntries alone.
    SpeaksBeforeSync,
    /// A leader serves reads before it has committed an entry of its term (etcd #7331).
    ReadBeforeNoop,
    /// Answers to messages from before a read confirm it (etcd #20418).
    LateAckRead,
    /// After a snapshot was installed the log's last term is what it was before.
    InstallKeepsTerm,
    /// A snapshot that is installed takes the entries behind it along, which were acknowledged.
    InstallDropsTail,
    /// A leader counts a readmitted disk before the entry that readmits it is committed.
    ReadmittedUncommitted,
}

#[cfg(test)]
impl Mutant {
    pub const ALL: [Mutant; 27] = [
        Mutant::DoubleVoteRestart,
        Mutant::SameTermKeepsVote,
        Mutant::StaleGrant,
        Mutant::UpToDateByLength,
        Mutant::UpToDateByBoth,
        Mutant::StaleShortAppend,
        Mutant::AckMatchedOnly,
        Mutant::CommitCapped,
        Mutant::CommitMonotone,
        Mutant::DeposedSilent,
        Mutant::Figure8,
        Mutant::UnsyncedSelfAck,
        Mutant::FsyncErrorEndsNode,
        Mutant::FailoverRetry,
        Mutant::FreshTally,
        Mutant::PreVoteIsVote,
        Mutant::AnyLogWins,
        Mutant::WipedDiskCounts,
        Mutant::PrevNotChecked,
        Mutant::StaleAck,
        Mutant::NoCheckQuorum,
        Mutant::SpeaksBeforeSync,
        Mutant::ReadBeforeNoop,
        Mutant::LateAckRead,
        Mutant::InstallKeepsTerm,
        Mutant::InstallDropsTail,
        Mutant::ReadmittedUncommitted,
    ];
}

/// The bugs that take more than a condition at their place.
#[cfg(test)]
impl Raft {
    /// After the entries of an AppendEntries were taken: what to acknowledge.
    pub(super) fn bend_append_entries(&mut self, matched: Index, commit: Index) -> Index {
        let last = self.log.last().index;
        match self.config.mutant {
            Some(Mutant::StaleShortAppend) if self.commit_index <= matched && matched < last => {
                let record = self.log.truncate(matched + 1);
                self.ready.records.push(record);
                matched
            }
            Some(Mutant::CommitCapped) => {
                self.commit_index = self.commit_index.max(commit.min(last));
                matched
            }
            Some(Mutant::CommitMonotone) => {
                self.commit_index = commit.min(matched);
                matched
            }
            Some(Mutant::AckMatchedOnly) => last,
            _ => matched,
        }
    }

    /// The last entry of a snapshot that is installed, in the opinion of a mutant.
    pub(super) fn bend_install(&mut self, last: EntryId) -> EntryId {
        match self.config.mutant {
            Some(Mutant::InstallDropsTail) if self.log.id(last.index) == Some(last) && self.log.last() != last => {
                self.log.truncate(last.index + 1);
                last
            }
            Some(Mutant::InstallKeepsTerm) => EntryId { term: self.log.last().term, ..last },
            _ => last,
        }
    }

    /// Takes an answer to an earlier term for one to the present term.
    pub(super) fn bend_term(&self, message: Message) -> Message {
        let stale = match message.body {
            Body::RequestVoteReply { granted: true } => mutant!(self, StaleGrant),
            Body::Matched { .. } => mutant!(self, StaleAck),
            _ => false,
        };
        if stale { Message { term: self.current_term, ..message } } else { message }
    }

    /// Why a log that ends at `last` cannot be voted for, in the opinion of a mutant.
    pub(super) fn bend_up_to_date(&self, last: EntryId) -> Option<Option<String>> {
        let mine = self.log.last();
        let refused = match self.config.mutant? {
            Mutant::UpToDateByLength => last.index < mine.index,
            Mutant::UpToDateByBoth => last.index < mine.index || last.term < mine.term,
            Mutant::AnyLogWins => false,
            _ => return None,
        };
        Some(refused.then(|| "it is not up-to-date".to_owned()))
    }

    /// The tally of a new election.
    pub(super) fn bend_tally(&mut self, mut tally: Tally) -> Tally {
        match &mut self.state {
            State::Candidate(old) if mutant!(self, FreshTally) => tally.answers.append(&mut old.answers),
            State::PreCandidate(old) if mutant!(self, PreVoteIsVote) => tally.answers.append(&mut old.answers),
            _ => {}
        }
        tally
    }
}
