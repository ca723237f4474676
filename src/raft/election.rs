//! Leader election (§5.2, §5.4.1), with pre-vote and check-quorum (thesis §9.6, §6.2).

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::Fact;
use super::message::Body;
use super::mutants::mutant;
use super::ready::{ElectionTimer, HeartbeatTimer};
use super::replication::Leader;
use super::types::{EntryId, MAX_NUMBER, NodeId, Role, Term};
use super::{Raft, State, seconds};

/// The answers of one round of votes. A new round starts with a new tally.
#[derive(Debug)]
pub struct Tally {
    pub(super) answers: BTreeMap<NodeId, bool>,
    began: Duration,
}

impl Tally {
    /// A round that this node opens with its own vote.
    fn new(id: NodeId, began: Duration) -> Tally {
        Tally { answers: BTreeMap::from([(id, true)]), began }
    }

    fn votes(&self) -> usize {
        self.answers.values().filter(|granted| **granted).count()
    }

    fn refused(&self) -> bool {
        self.answers.values().any(|granted| !granted)
    }
}

impl Raft {
    /// The deadline has passed without a heartbeat, a majority, or (as leader) enough answers.
    pub(super) fn election_timeout(&mut self) {
        let quiet = seconds(self.now.saturating_sub(self.last_contact));
        if self.role() != Role::Leader && self.lost_votes(self.current_term + 1).is_some() {
            // It may not stand for election; but whom it has not heard it names to clients no longer.
            if let State::Follower { leader } = &mut self.state {
                *leader = None;
            }
            return self.reset_election_timer();
        }
        match &self.state {
            State::Leader(_) => self.check_quorum(),
            State::Follower { .. } if self.config.pre_vote => {
                let tally = Tally::new(self.config.id, self.now);
                self.change_role(State::PreCandidate(tally), format!("no heartbeat for {quiet}"));
                self.ask_for_pre_votes();
            }
            State::Follower { .. } => self.start_election(format!("no heartbeat for {quiet}")),
            State::PreCandidate(tally) => {
                let why = format!("no majority for {}", seconds(self.now.saturating_sub(tally.began)));
                self.state = State::PreCandidate(Tally::new(self.config.id, self.now));
                self.tell(Fact::AskedAgain { why });
                self.ask_for_pre_votes();
            }
            State::Candidate(tally) => {
                let why = format!("no majority for {}", seconds(self.now.saturating_sub(tally.began)));
                if self.config.pre_vote {
                    let tally = Tally::new(self.config.id, self.now);
                    self.change_role(State::PreCandidate(tally), why);
                    self.ask_for_pre_votes();
                } else {
                    self.start_election(why);
                }
            }
        }
    }

    /// Would a majority vote for this node? Asked before the term is touched, so that a node that
    /// cannot win does not depose a leader that others hear (thesis §9.6).
    fn ask_for_pre_votes(&mut self) {
        self.reset_election_timer();
        self.send_to_all(&Body::PreVote { last: self.log.last() });
        self.count_votes();
    }

    /// A new term, a vote for itself, and a request to all others (§5.2).
    fn start_election(&mut self, why: String) {
        if self.current_term >= MAX_NUMBER {
            return self.error(format!("t{} is the last term there is: start a new cluster", self.current_term));
        }
        self.set_term_and_vote(self.current_term + 1, Some(self.config.id));
        let tally = Tally::new(self.config.id, self.now);
        #[cfg(test)]
        let tally = self.bend_tally(tally);
        self.change_role(State::Candidate(tally), why);
        self.tell(Fact::VotedForItself { votes: 1, size: self.config.size });
        self.reset_election_timer();
        self.send_to_all(&Body::RequestVote { last: self.log.last() });
        self.count_votes();
    }

    /// With a majority of votes the round is won.
    fn count_votes(&mut self) {
        let majority = self.majority();
        match &self.state {
            State::PreCandidate(tally) if tally.votes() >= majority => {
                let why = format!("{} of {} would vote for it", tally.votes(), self.config.size);
                self.start_election(why);
            }
            State::Candidate(tally) if tally.votes() >= majority => {
                let why = format!("{} of {} votes", tally.votes(), self.config.size);
                self.become_leader(why);
            }
            _ => {}
        }
    }

    fn become_leader(&mut self, why: String) {
        let leader = Leader::new(self.peers(), self.log.last().index, self.now);
        self.change_role(State::Leader(leader), why);
        self.ready.heartbeat_timer = Some(HeartbeatTimer::Start);
        self.arm_check_quorum(self.config.election_timeout.0);
        self.open_term();
        self.heartbeat_due();
    }

    /// A leader that a majority has not answered for the lower bound of the election timeout may
    /// have been replaced without hearing of it, so it stops leading (thesis §6.2).
    fn check_quorum(&mut self) {
        let State::Leader(leader) = &self.state else { return };
        if !self.config.pre_vote || mutant!(self, NoCheckQuorum) {
            return;
        }
        let patience = self.config.election_timeout.0;
        let quiet = self.now.saturating_sub(leader.majority_ack(self.now, self.majority()));
        if quiet >= patience {
            let why = format!("no majority has answered for {}", seconds(quiet));
            self.become_follower(None, why);
        } else {
            self.arm_check_quorum(patience - quiet);
        }
    }

    /// As leader, the election timer watches the majority's answers.
    fn arm_check_quorum(&mut self, wait: Duration) {
        self.ready.election_timer = Some(ElectionTimer { min: wait, max: wait });
    }

    /// Pre-vote asked of this node. Refused while a leader is heard, which a real RequestVote is
    /// not: a majority that has lost its leader must be able to elect another.
    pub(super) fn on_pre_vote(&mut self, from: NodeId, last: EntryId) {
        let quiet = self.now.saturating_sub(self.last_contact);
        let refusal = match &self.state {
            State::Leader(_) => Some(format!("{} leads t{}", self.config.id, self.current_term)),
            State::Follower { leader: Some(leader) } if quiet < 2 * self.config.heartbeat_interval => {
                Some(format!("leader {leader} was heard {} ago", seconds(quiet)))
            }
            _ => self.log_refusal(last, self.current_term + 1),
        };
        let granted = refusal.is_none();
        self.tell(match refusal {
            None => Fact::Granted { pre: true, to: from, term: self.current_term + 1 },
            Some(why) => Fact::Denied { pre: true, to: from, why },
        });
        self.send(from, Body::PreVoteReply { granted });
    }

    /// RequestVote (§5.2, §5.4.1): one vote a term, first come first served, and only for a log
    /// that is at least as up-to-date.
    pub(super) fn on_request_vote(&mut self, from: NodeId, last: EntryId) {
        let refusal = match self.voted_for {
            Some(other) if other == from => None,
            Some(other) if other == self.config.id => Some(format!("already voted for {other} (itself)")),
            Some(other) => Some(format!("already voted for {other}")),
            None => self.log_refusal(last, self.current_term),
        };
        let granted = refusal.is_none();
        if let Some(why) = refusal {
            self.tell(Fact::Denied { pre: false, to: from, why });
        } else if self.voted_for.is_none() {
            self.set_term_and_vote(self.current_term, Some(from));
            self.tell(Fact::Granted { pre: false, to: from, term: self.current_term });
            self.reset_election_timer();
        }
        self.send(from, Body::RequestVoteReply { granted });
    }

    /// Why a candidate of `term` whose log ends at `last` cannot be voted for: the later last term wins,
    /// then the longer log (§5.4.1).
    fn log_refusal(&self, last: EntryId, term: Term) -> Option<String> {
        if let Some(lost) = self.lost_votes(term) {
            return Some(lost);
        }
        let mine = self.log.last();
        #[cfg(test)]
        if let Some(bent) = self.bend_up_to_date(last) {
            return bent;
        }
        (last < mine).then(|| format!("its log ends at {last}, mine at {mine}"))
    }

    /// A pre-vote was refused. Who refused may hear the leader no longer in a moment, or has told the
    /// newer term that the next round needs: ask again within a heartbeat, not a whole timeout later.
    pub(super) fn ask_again_soon(&mut self) {
        let max = self.config.heartbeat_interval;
        self.ready.election_timer = Some(ElectionTimer { min: max / 4, max });
    }

    pub(super) fn on_vote_reply(&mut self, from: NodeId, granted: bool, pre: bool) {
        if !pre && !self.vote_counts(from) {
            return;
        }
        let tally = match &mut self.state {
            State::PreCandidate(tally) if pre => tally,
            State::Candidate(tally) if !pre => tally,
            _ => return,
        };
        let first_refusal = !granted && !tally.refused();
        if tally.answers.insert(from, granted) == Some(granted) {
            return;
        }
        let (votes, size) = (tally.votes(), self.config.size);
        self.tell(match granted {
            true => Fact::Received { pre, from, votes, size },
            false => Fact::Refused { pre, by: from, votes, size },
        });
        if pre && first_refusal {
            self.ask_again_soon();
        }
        self.count_votes();
    }
}
