//! The Raft algorithm, pure: data in, data out.
//!
//! This directory knows no clock, socket, disk, thread or dice (a test guards that). [`Raft::step`]
//! takes a batch of [`Input`]s and the time, and returns a [`Ready`]: what to send, what to write,
//! and what may follow once it is written. It cannot fail and cannot block.
//!
//! Reading order: [`types`], [`message`], [`ready`], this file, `election`, `replication`,
//! `progress`, `log`. "§" is a section of the Raft paper (Ongaro & Ousterhout 2014, extended
//! version), "thesis §" one of Ongaro's dissertation.

mod election;
pub mod event;
mod event_text;
pub mod log;
pub mod message;
pub mod mutants;
mod pace;
pub mod progress;
pub mod ready;
mod replication;
pub mod safety;
pub mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use election::Tally;
use event::{Event, Fact, PeerState};
use log::Log;
use message::{Body, Message};
use mutants::mutant;
use pace::Pace;
use progress::Window;
use ready::{ElectionTimer, HeartbeatTimer, Input, Ready, Refusal};
use replication::Leader;
use types::{DiskId, EntryId, Index, NodeId, Persistent, Record, Role, Term};

/// What a node is told at its start and never changes.
#[derive(Clone, Debug)]
pub struct Config {
    pub id: NodeId,
    /// The cluster is `node_1` … `node_<size>`.
    pub size: u64,
    /// The identity of this node's data directory.
    pub disk: DiskId,
    /// Pre-vote (thesis §9.6) and check-quorum (thesis §6.2) together; without them this is the
    /// paper's plain protocol. One alone livelocks in partial partitions.
    pub pre_vote: bool,
    /// The election timeout is drawn uniformly from this range (§5.2).
    pub election_timeout: (Duration, Duration),
    pub heartbeat_interval: Duration,
    /// The settings in words, for the START line.
    pub settings: String,
    /// A bug on purpose, for the simulation.
    #[cfg(test)]
    pub mutant: Option<mutants::Mutant>,
}

/// A role and the data that only this role has: a follower cannot touch a `next_index`.
#[derive(Debug)]
enum State {
    Follower { leader: Option<NodeId> },
    PreCandidate(Tally),
    Candidate(Tally),
    Leader(Leader),
}

/// One node's part of the algorithm.
#[derive(Debug)]
pub struct Raft {
    config: Config,
    /// The time of the present step.
    now: Duration,
    current_term: Term,
    voted_for: Option<NodeId>,
    log: Log,
    /// Known to be committed (Figure 2). Not kept on disk: a new leader tells it anew.
    commit_index: Index,
    /// Handed out to be applied, always in order.
    released: Index,
    state: State,
    /// When a leader was last heard, or this node was last leader or started.
    last_contact: Duration,
    /// The disk of each peer, as it was met first, on this node's disk too.
    disks: BTreeMap<NodeId, DiskId>,
    /// Peers that came back with another disk: nothing they say is counted.
    refused: BTreeMap<NodeId, DiskId>,
    /// Peers that refuse this node's own disk; each is told once.
    refused_by: BTreeSet<NodeId>,
    /// What was last heard of the connection to each peer. One of which nothing was heard is written
    /// to, in case it can be reached.
    links: BTreeMap<NodeId, PeerState>,
    last_batch: u64,
    pace: Pace,
    window: Window,
    /// What this step has gathered so far.
    ready: Ready,
}

/// A node's state for people and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub id: NodeId,
    pub role: Role,
    pub current_term: Term,
    pub leader: Option<NodeId>,
    pub last: EntryId,
    pub commit_index: Index,
    /// Each peer, and whether there is a connection to it.
    pub peers: Vec<(NodeId, bool)>,
}

impl Raft {
    /// A node that starts, as a follower (§5.2), with what its disk held. The [`Ready`] tells the
    /// start and sets the first timer.
    pub fn new(config: Config, mut persistent: Persistent, now: Duration) -> (Raft, Ready) {
        let mut raft = Raft {
            now,
            current_term: persistent.current_term,
            voted_for: persistent.voted_for,
            log: Log::recover(&mut persistent),
            commit_index: 0,
            released: 0,
            state: State::Follower { leader: None },
            last_contact: now,
            disks: persistent.disks,
            refused: BTreeMap::new(),
            refused_by: BTreeSet::new(),
            links: BTreeMap::new(),
            last_batch: 0,
            pace: Pace::new(now),
            window: Window::default(),
            ready: Ready::default(),
            config,
        };
        let last = raft.log.last();
        raft.tell(Fact::Start {
            size: raft.config.size,
            settings: raft.config.settings.clone(),
            last,
            sum: raft.log.sum(last.index),
        });
        raft.reset_election_timer();
        let ready = std::mem::take(&mut raft.ready);
        (raft, ready)
    }

    /// Takes a batch of inputs and then acts once: at most one AppendEntries for each peer, one
    /// batch of records. Messages come before timers, so that a heartbeat that waited behind a
    /// long sync still stops an election.
    pub fn step(&mut self, now: Duration, inputs: Vec<Input>) -> Ready {
        self.now = self.now.max(now);
        let (mut heartbeat_due, mut election_timeout) = (false, false);
        for input in inputs {
            match input {
                Input::Message { from, disk, message } => self.receive(from, disk, message),
                Input::Met { peer, disk } => self.met(peer, disk),
                Input::Propose { token, command } => self.propose(token, command),
                Input::Persisted { batch } => self.log.persisted(batch),
                Input::PeerConnected { peer, detail } => self.peer_changed(peer, PeerState::Connected, detail),
                Input::PeerLost { peer, detail } => self.peer_changed(peer, PeerState::Lost, detail),
                Input::PeerOffline { peer, detail } => self.peer_changed(peer, PeerState::Offline, detail),
                Input::HeartbeatDue => heartbeat_due = true,
                Input::ElectionTimeout => election_timeout = true,
            }
        }
        // A message of this very batch may have moved the deadline: then it has not passed.
        if election_timeout && self.ready.election_timer.is_none() {
            self.election_timeout();
        }
        if heartbeat_due {
            self.heartbeat_due();
        }
        self.finish()
    }

    pub fn status(&self) -> Status {
        Status {
            id: self.config.id,
            role: self.role(),
            current_term: self.current_term,
            leader: self.leader(),
            last: self.log.last(),
            commit_index: self.commit_index,
            peers: self
                .peers()
                .into_iter()
                .map(|peer| (peer, self.links.get(&peer) == Some(&PeerState::Connected)))
                .collect(),
        }
    }

    pub fn current_term(&self) -> Term {
        self.current_term
    }

    pub fn voted_for(&self) -> Option<NodeId> {
        self.voted_for
    }

    pub fn commit_index(&self) -> Index {
        self.commit_index
    }

    /// A new leader learns what was committed before its term by committing an entry of its own; until
    /// then its commit index may lie behind what clients were told (§8).
    pub fn knows_committed(&self) -> bool {
        self.log.id(self.commit_index).is_some_and(|id| id.term == self.current_term)
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The leader of the current term, if it is known.
    pub fn leader(&self) -> Option<NodeId> {
        match self.state {
            State::Follower { leader } => leader,
            State::Leader(_) => Some(self.config.id),
            State::PreCandidate(_) | State::Candidate(_) => None,
        }
    }

    pub fn role(&self) -> Role {
        match self.state {
            State::Follower { .. } => Role::Follower,
            State::PreCandidate(_) => Role::PreCandidate,
            State::Candidate(_) => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }

    /// Tests narrow the window to each follower.
    #[cfg(test)]
    pub(crate) fn narrow(&mut self, window: Window) {
        self.window = window;
    }

    fn receive(&mut self, from: NodeId, disk: DiskId, message: Message) {
        if from == self.config.id || from.0 == 0 || from.0 > self.config.size {
            return self.error(format!("message from {from}, which is no other member of this cluster: ignored"));
        }
        if let Body::Refused { disk } = message.body {
            return self.refused_by(from, disk);
        }
        if !self.counts(from, disk) {
            return;
        }
        // Terms are compared here and nowhere else (§5.1).
        if message.term > self.current_term {
            let pre_vote_refused =
                matches!((&self.state, &message.body), (State::PreCandidate(_), Body::PreVoteReply { .. }));
            self.adopt_term(message.term, format!("{from} is at t{}", message.term));
            if pre_vote_refused {
                self.ask_again_soon();
            }
        }
        #[cfg(test)]
        let message = self.bend_term(message);
        if message.term < self.current_term {
            return self.answer_stale(from, message);
        }
        match message.body {
            Body::PreVote { last } => self.on_pre_vote(from, last),
            Body::PreVoteReply { granted } => self.on_vote_reply(from, granted, true),
            Body::RequestVote { last } => self.on_request_vote(from, last),
            Body::RequestVoteReply { granted } => self.on_vote_reply(from, granted, false),
            Body::AppendEntries { prev, commit, heartbeat, entries } => {
                self.on_append_entries(from, prev, commit, heartbeat, entries);
            }
            Body::Matched { index } => self.on_matched(from, index),
            Body::Rejected { prev, conflict } => self.on_rejected(from, prev, conflict),
            Body::Refused { .. } => {}
        }
    }

    /// A request from an older term is refused with the current one, which deposes its sender
    /// (§5.1); an old answer answers nothing any more.
    fn answer_stale(&mut self, from: NodeId, message: Message) {
        let why = || format!("t{} is over, this is t{}", message.term, self.current_term);
        match message.body {
            Body::PreVote { .. } => {
                self.tell(Fact::Denied { pre: true, to: from, why: why() });
                self.send(from, Body::PreVoteReply { granted: false });
            }
            Body::RequestVote { .. } => {
                self.tell(Fact::Denied { pre: false, to: from, why: why() });
                self.send(from, Body::RequestVoteReply { granted: false });
            }
            Body::AppendEntries { prev, .. } => {
                let conflict = EntryId::new(self.log.last().index + 1, 0);
                self.send(from, Body::Rejected { prev, conflict });
            }
            _ => {}
        }
    }

    /// Is what this peer says counted? The first disk that it comes with is remembered, on disk,
    /// before anything else leaves; with another one it has forgotten its votes and its entries.
    fn counts(&mut self, from: NodeId, disk: DiskId) -> bool {
        match self.disks.get(&from).copied() {
            None => {
                self.disks.insert(from, disk);
                self.ready.records.push(Record::Peer { node: from, disk });
                true
            }
            Some(known) if known == disk => {
                self.refused.remove(&from);
                true
            }
            Some(_) if mutant!(self, WipedDiskCounts) => true,
            Some(known) => {
                if self.refused.insert(from, disk) != Some(disk) {
                    self.error(format!(
                        "{from} came back with disk {disk} instead of {known}: it has forgotten its votes and its \
                         entries, so it is not counted; stop it, give it its old data directory back and start it"
                    ));
                }
                self.send(from, Body::Refused { disk: known });
                false
            }
        }
    }

    /// The peer's disk is remembered, or refused, before it has said anything else.
    fn met(&mut self, peer: NodeId, disk: DiskId) {
        if self.peers().contains(&peer) {
            self.counts(peer, disk);
        }
    }

    fn refused_by(&mut self, from: NodeId, disk: DiskId) {
        if disk != self.config.disk && self.refused_by.insert(from) {
            self.error(format!(
                "{from} remembers this node with disk {disk}, but this is disk {}: it is not counted; stop it, \
                 give it its old data directory back and start it",
                self.config.disk
            ));
        }
    }

    fn peer_changed(&mut self, peer: NodeId, state: PeerState, why: String) {
        self.links.insert(peer, state);
        // What was under way on the old connection is lost: look for the match again.
        if state == PeerState::Connected
            && let State::Leader(leader) = &mut self.state
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            let never_matched = progress.match_index == 0;
            progress.probe(if never_matched { self.log.last().index } else { progress.match_index } + 1);
        }
        self.tell(Fact::Peer { peer, state, why });
    }

    /// Ends the step: tells, commits, replicates, and closes the batch for the disk.
    fn finish(&mut self) -> Ready {
        self.tell_appended();
        self.advance_commit_index();
        self.release_committed();
        self.replicate();
        let mut ready = std::mem::take(&mut self.ready);
        if !ready.records.is_empty() {
            self.last_batch += 1;
            ready.batch = self.last_batch;
            self.log.writing(ready.batch);
            // Entries alone may be overtaken; whatever else must be remembered goes to disk first.
            if !ready.records.iter().all(|record| matches!(record, Record::Entry(_))) {
                ready.messages.append(&mut ready.overtaking);
            }
        }
        ready
    }

    /// Changes term and vote: in memory and on disk, in one record.
    fn set_term_and_vote(&mut self, term: Term, voted_for: Option<NodeId>) {
        assert!(term > self.current_term || (term == self.current_term && self.voted_for.is_none()));
        self.current_term = term;
        self.voted_for = voted_for;
        self.ready.records.push(Record::Vote { term, voted_for });
        // What was to be said in the older term is not said any more.
        self.ready.messages.retain(|(_, message)| message.term == term);
    }

    /// Another node is at a newer term: follow it there (§5.1).
    fn adopt_term(&mut self, term: Term, why: String) {
        self.tell_appended();
        let from = self.current_term;
        self.set_term_and_vote(term, None);
        if mutant!(self, DeposedSilent) && self.role() == Role::Leader {
            return;
        }
        self.become_follower(None, why.clone());
        self.tell(Fact::Term { from, why });
    }

    /// Every change of role that ends in following passes here. The term stays, and with it the vote.
    fn become_follower(&mut self, leader: Option<NodeId>, why: String) {
        self.tell_appended();
        if mutant!(self, SameTermKeepsVote) {
            self.voted_for = None;
        }
        let from = self.role();
        let before = std::mem::replace(&mut self.state, State::Follower { leader });
        if let State::Leader(leader) = before {
            for (index, token) in leader.waiting {
                let id = self.log.id(index).unwrap_or_default();
                self.ready.refusals.push((token, Refusal::Unknown { id }));
            }
            self.ready.heartbeat_timer = Some(HeartbeatTimer::Stop);
            self.last_contact = self.now;
            self.reset_election_timer();
        }
        if from != Role::Follower {
            self.tell(Fact::State { from, why });
        }
    }

    /// Every other change of role passes here.
    fn change_role(&mut self, state: State, why: String) {
        let from = self.role();
        self.state = state;
        self.tell(Fact::State { from, why });
    }

    fn reset_election_timer(&mut self) {
        let (min, max) = self.config.election_timeout;
        self.ready.election_timer = Some(ElectionTimer { min, max });
    }

    fn tell(&mut self, fact: Fact) {
        let (at, node, term) = (self.now, self.config.id, self.current_term);
        self.ready.events.push(Event { at, node, term, role: self.role(), fact });
    }

    fn error(&mut self, text: String) {
        self.tell(Fact::Error { text });
    }

    fn send(&mut self, to: NodeId, body: Body) {
        self.ready.messages.push((to, Message { term: self.current_term, body }));
    }

    fn send_to_all(&mut self, body: &Body) {
        for peer in self.peers() {
            self.send(peer, body.clone());
        }
    }

    fn peers(&self) -> Vec<NodeId> {
        (1..=self.config.size).map(NodeId).filter(|id| *id != self.config.id).collect()
    }

    /// More than half of the cluster, this node included.
    fn majority(&self) -> usize {
        self.config.size as usize / 2 + 1
    }
}

/// A duration as people read it: `7.411 s`.
fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}
