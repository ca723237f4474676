//! The Raft algorithm, pure: data in, data out.
//!
//! This directory knows no clock, socket, disk, thread or dice (a test guards that). [`Raft::step`]
//! takes a batch of [`Input`]s and the time, and returns a [`Ready`]: what to send, what to write,
//! and what may follow once it is written. It cannot fail and cannot block.
//!
//! Reading order: [`types`], [`message`], [`ready`], this file, `election`, `replication`,
//! `progress`, `log`, `reads`, `snapshot`, `readmit`. "§" is a section of the Raft paper (Ongaro & Ousterhout 2014, extended
//! version), "thesis §" one of Ongaro's dissertation.

pub mod audit;
mod command;
mod election;
pub mod event;
mod event_text;
pub mod log;
pub mod message;
pub mod mutants;
mod pace;
pub mod progress;
mod readmit;
mod reads;
pub mod ready;
mod replication;
pub mod safety;
mod snapshot;
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
use snapshot::Receiving;
use types::{Disk, DiskId, EntryId, Index, NodeId, Persistent, Record, Role, SnapshotMeta, Term};

/// What a node is told at its start and never changes.
#[derive(Clone, Debug)]
pub struct Config {
    pub id: NodeId,
    /// The cluster is `node_1` … `node_<size>`.
    pub size: u64,
    /// The identity of this node's data directory.
    pub disk: DiskId,
    /// It was made just now.
    pub new_disk: bool,
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
    /// The highest commit index that a leader has told.
    leader_commit: Index,
    /// Handed out to be applied, always in order.
    released: Index,
    /// What is in the place of the log through its base.
    snapshot: Option<SnapshotMeta>,
    /// The snapshot that a leader sends.
    receiving: Option<Receiving>,
    state: State,
    /// When a leader was last heard, or this node was last leader or started.
    last_contact: Duration,
    /// The disk with which each node is counted, on this node's disk too; of this node itself only if it
    /// has lost its disk once.
    disks: BTreeMap<NodeId, Disk>,
    /// Peers that came back with another disk: nothing they say is counted.
    refused: BTreeMap<NodeId, DiskId>,
    /// Peers that refuse this node's own disk; each is told once.
    refused_by: BTreeSet<NodeId>,
    /// The disk with which each peer has spoken last: answers are for the node that it was then.
    spoke: BTreeMap<NodeId, DiskId>,
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
    /// The highest commit index that a leader has told; a leader's own.
    pub leader_commit: Index,
    /// The last entry that is in the snapshot, zero without one, and how many entries the log holds
    /// behind it.
    pub snapshot: EntryId,
    pub log_len: usize,
    /// Each peer, and whether there is a connection to it.
    pub peers: Vec<(NodeId, bool)>,
    /// What a leader knows of each peer: `next_index` and `match_index`. Empty at others.
    pub progress: Vec<(NodeId, Index, Index)>,
    /// How long ago this node last heard its leader; as leader, a majority. `None` without one.
    pub heard: Option<Duration>,
}

impl Raft {
    /// A node that starts, as a follower (§5.2), with what its disk held: `snapshot` is what is in the
    /// place of the log through its base, and its content is in the state machine already. The
    /// [`Ready`] tells the start and sets the first timer.
    pub fn new(
        config: Config,
        mut persistent: Persistent,
        snapshot: Option<SnapshotMeta>,
        now: Duration,
    ) -> (Raft, Ready) {
        let base = persistent.base;
        assert_eq!(snapshot.map_or(EntryId::ZERO, |meta| meta.last), base, "the log begins where the snapshot ends");
        let mut raft = Raft {
            now,
            current_term: persistent.current_term,
            voted_for: persistent.voted_for,
            log: Log::recover(&mut persistent),
            commit_index: base.index,
            leader_commit: base.index,
            released: base.index,
            snapshot,
            receiving: None,
            state: State::Follower { leader: None },
            last_contact: now,
            disks: persistent.disks,
            refused: BTreeMap::new(),
            refused_by: BTreeSet::new(),
            spoke: BTreeMap::new(),
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
            new_disk: raft.config.new_disk,
            snapshot: base,
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
                Input::Read { token } => self.read(token),
                Input::Readmit { token, node } => self.readmit(token, node),
                Input::Persisted { batch } => self.log.persisted(batch),
                Input::PeerConnected { peer, detail } => self.peer_changed(peer, PeerState::Connected, detail),
                Input::PeerLost { peer, detail } => self.peer_changed(peer, PeerState::Lost, detail),
                Input::PeerOffline { peer, detail } => self.peer_changed(peer, PeerState::Offline, detail),
                Input::SnapshotMade { meta } => self.snapshot_made(meta),
                Input::ChunkStored { meta, through } => self.chunk_stored(meta, through),
                Input::SnapshotStored { meta, readmitted } => self.snapshot_stored(meta, readmitted),
                Input::SnapshotBroken { meta, why } => self.snapshot_broken(meta, why),
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

    /// The node's state at the time of its last step.
    pub fn status(&self) -> Status {
        Status {
            id: self.config.id,
            role: self.role(),
            current_term: self.current_term,
            leader: self.leader(),
            last: self.log.last(),
            commit_index: self.commit_index,
            leader_commit: self.leader_commit.max(self.commit_index),
            snapshot: self.log.base(),
            log_len: self.log.len(),
            progress: match &self.state {
                State::Leader(leader) => leader.progress(),
                _ => Vec::new(),
            },
            heard: self.heard(),
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
        // Only who was elected by nodes that count its disk sends these. The entry that readmitted it may be
        // the very thing that this node lacks, so they are taken from any disk (as §4.1 of the thesis takes
        // them from servers that are not in the configuration).
        let leads = matches!(message.body, Body::AppendEntries { .. } | Body::InstallSnapshot { .. });
        let other = self.disks.get(&from).is_some_and(|known| known.id != disk);
        let taken = (leads && other) || self.counts(from, disk);
        if !taken {
            return;
        }
        self.speaks(from, disk);
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
            Body::AppendEntries { prev, commit, heartbeat, round, entries } => {
                if self.hears_leader(from) {
                    self.on_append_entries(from, prev, (commit, heartbeat, round), entries);
                }
            }
            Body::Matched { index, round } => self.on_matched(from, index, round),
            Body::Rejected { prev, conflict, round } => self.on_rejected(from, prev, conflict, round),
            Body::InstallSnapshot { meta, offset, data } => {
                if self.hears_leader(from) {
                    self.on_install_snapshot(from, meta, offset, data);
                }
            }
            Body::SnapshotTaken { last, crc, through } => self.on_snapshot_taken(from, last, crc, through),
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
            Body::AppendEntries { prev, round, .. } => {
                let conflict = EntryId::new(self.log.last().index + 1, 0);
                self.send(from, Body::Rejected { prev, conflict, round });
            }
            Body::InstallSnapshot { meta, .. } => {
                self.send(from, Body::SnapshotTaken { last: meta.last, crc: meta.crc, through: 0 });
            }
            _ => {}
        }
    }

    fn peer_changed(&mut self, peer: NodeId, state: PeerState, why: String) {
        self.links.insert(peer, state);
        // What was under way on the old connection is lost: look for the match again.
        if state == PeerState::Connected
            && let State::Leader(leader) = &mut self.state
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            let match_index = progress.match_index;
            let last = if match_index == 0 { self.log.last().index } else { match_index };
            progress.probe(last.max(self.log.base().index) + 1);
        }
        self.tell(Fact::Peer { peer, state, why });
    }

    /// Ends the step: tells, commits, replicates, and closes the batch for the disk.
    fn finish(&mut self) -> Ready {
        self.tell_appended();
        self.advance_commit_index();
        self.release_committed();
        self.replicate();
        self.confirm_reads();
        if self.ready.installed.is_some() {
            // Said anew, in a file of its own; what was to be written before is in it.
            self.ready.records = self.opening(self.log.base().index);
        }
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
            // A read changes nothing: whoever asked may ask again.
            self.ready.refusals.extend(leader.reads.into_iter().map(|(_, token)| (token, Refusal::NoLeader)));
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
