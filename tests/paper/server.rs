//! One server (node_1) whose messages, disk and timers are in the hands of a test.

use std::time::Duration;

use raft_lab::raft::event::{Event, Fact};
use raft_lab::raft::message::{Body, Message};
use raft_lab::raft::ready::{Input, Ready};
use raft_lab::raft::types::{
    Command, Disk, DiskId, Entry, EntryId, Index, NodeId, Persistent, Record, Role, Session, Term, Token,
};
use raft_lab::raft::{Config, Raft};

pub const ONE: NodeId = NodeId(1);
pub const TWO: NodeId = NodeId(2);
pub const THREE: NodeId = NodeId(3);

pub struct Server {
    pub raft: Raft,
    pub now: Duration,
}

/// What a step made the server do, its disk having done its part.
#[derive(Default)]
pub struct Done {
    pub sent: Vec<(NodeId, Message)>,
    pub ready: Ready,
}

pub fn config(size: u64, pre_vote: bool) -> Config {
    Config {
        id: ONE,
        size,
        disk: DiskId(1),
        new_disk: false,
        pre_vote,
        election_timeout: (Duration::from_secs(6), Duration::from_secs(10)),
        heartbeat_interval: Duration::from_secs(2),
        settings: String::new(),
    }
}

pub fn id(index: Index, term: Term) -> EntryId {
    EntryId::new(index, term)
}

pub fn entry(index: Index, term: Term) -> Entry {
    let text = format!("{index}@{term}").into();
    Entry { id: id(index, term), command: Command::Append { session: None::<Session>, text } }
}

/// A log whose entries have these terms.
pub fn entries(terms: &[Term]) -> Vec<Entry> {
    terms.iter().zip(1..).map(|(term, index)| entry(index, *term)).collect()
}

pub fn append_entries(prev: EntryId, entries: Vec<Entry>, commit: Index) -> Body {
    Body::AppendEntries { prev, commit, heartbeat: false, round: 0, entries }
}

/// The round that an AppendEntries asks in.
pub fn round_of(message: &Message) -> u64 {
    match message.body {
        Body::AppendEntries { round, .. } => round,
        ref other => panic!("AppendEntries expected, found {other:?}"),
    }
}

impl Server {
    /// A follower of the paper's plain protocol, in `term`, whose log has entries of these terms.
    pub fn follower(size: u64, term: Term, terms: &[Term]) -> Server {
        Server::with(config(size, false), term, terms)
    }

    pub fn with(config: Config, term: Term, terms: &[Term]) -> Server {
        // The peers' disks are known already, so that no record but the algorithm's own is written.
        let disks =
            (2..=config.size).map(|node| (NodeId(node), Disk { id: DiskId(node), since: EntryId::ZERO })).collect();
        let persistent = Persistent { current_term: term, entries: entries(terms), disks, ..Persistent::default() };
        Server { raft: Raft::new(config, persistent, None, Duration::ZERO).0, now: Duration::ZERO }
    }

    /// A candidate in `term`.
    pub fn candidate(size: u64, term: Term, terms: &[Term]) -> Server {
        let mut server = Server::follower(size, term - 1, terms);
        server.timeout();
        assert_eq!((server.raft.role(), server.raft.current_term()), (Role::Candidate, term));
        server
    }

    /// A leader in `term`, whose log has one more entry, of `term`. Nothing is acknowledged yet.
    pub fn leader(size: u64, term: Term, terms: &[Term]) -> Server {
        let mut server = Server::candidate(size, term, terms);
        for voter in 2..=size / 2 + 1 {
            server.receive(NodeId(voter), term, Body::RequestVoteReply { granted: true });
        }
        assert_eq!(server.raft.role(), Role::Leader);
        server
    }

    /// The bare step: nothing of it has been carried out.
    pub fn step(&mut self, input: Input) -> Ready {
        self.raft.step(self.now, vec![input])
    }

    /// A step, the sync that it asks for, and the step after that.
    pub fn act(&mut self, input: Input) -> Done {
        self.act_all(vec![input])
    }

    /// The same with several inputs in one step.
    pub fn act_all(&mut self, mut inputs: Vec<Input>) -> Done {
        let mut done = Done::default();
        while !inputs.is_empty() {
            let mut ready = self.raft.step(self.now, std::mem::take(&mut inputs));
            if ready.batch > 0 {
                inputs.push(Input::Persisted { batch: ready.batch });
            }
            done.sent.append(&mut ready.overtaking);
            done.sent.append(&mut ready.messages);
            done.ready.records.append(&mut ready.records);
            done.ready.committed.append(&mut ready.committed);
            done.ready.reads.append(&mut ready.reads);
            done.ready.send_chunks.append(&mut ready.send_chunks);
            done.ready.store_chunk = ready.store_chunk.or(done.ready.store_chunk.take());
            done.ready.installed = ready.installed.or(done.ready.installed);
            done.ready.refusals.append(&mut ready.refusals);
            done.ready.events.append(&mut ready.events);
            done.ready.election_timer = ready.election_timer.or(done.ready.election_timer);
            done.ready.heartbeat_timer = ready.heartbeat_timer.or(done.ready.heartbeat_timer);
        }
        done
    }

    pub fn message(from: NodeId, term: Term, body: Body) -> Input {
        Input::Message { from, disk: DiskId(from.0), message: Server::body(term, body) }
    }

    pub fn body(term: Term, body: Body) -> Message {
        Message { term, body }
    }

    pub fn receive(&mut self, from: NodeId, term: Term, body: Body) -> Done {
        self.act(Server::message(from, term, body))
    }

    pub fn timeout(&mut self) -> Done {
        self.act(Input::ElectionTimeout)
    }

    pub fn heartbeat(&mut self) -> Done {
        self.act(Input::HeartbeatDue)
    }

    pub fn proposal(token: Token) -> Input {
        Input::Propose { token, command: Command::Append { session: None, text: "x".into() } }
    }

    pub fn propose(&mut self, token: Token) -> Done {
        self.act(Server::proposal(token))
    }

    pub fn read(&mut self, token: Token) -> Done {
        self.act(Input::Read { token })
    }

    pub fn ids(&self) -> Vec<EntryId> {
        let log = self.raft.log();
        log.range(log.base().index + 1, log.last().index).map(|entry| entry.id).collect()
    }

    pub fn terms(&self) -> Vec<Term> {
        self.ids().into_iter().map(|id| id.term).collect()
    }
}

impl Done {
    /// The one message to `peer`.
    pub fn to(&self, peer: NodeId) -> Message {
        let all: Vec<&Message> = self.sent.iter().filter(|(to, _)| *to == peer).map(|(_, message)| message).collect();
        assert_eq!(all.len(), 1, "one message to {peer} expected, found {all:?}");
        all[0].clone()
    }

    /// The one AppendEntries to `peer`: what precedes its entries, and these.
    pub fn append_to(&self, peer: NodeId) -> (EntryId, Vec<EntryId>) {
        match self.to(peer).body {
            Body::AppendEntries { prev, entries, .. } => (prev, entries.iter().map(|entry| entry.id).collect()),
            other => panic!("AppendEntries to {peer} expected, found {other:?}"),
        }
    }

    pub fn committed(&self) -> Vec<Index> {
        self.ready.committed.iter().map(|committed| committed.entry.id.index).collect()
    }

    /// Was a vote granted to the one that asked?
    pub fn granted(&self, peer: NodeId) -> bool {
        match self.to(peer).body {
            Body::RequestVoteReply { granted } | Body::PreVoteReply { granted } => granted,
            other => panic!("an answer to a vote request expected, found {other:?}"),
        }
    }

    /// The texts of its ERROR lines.
    pub fn errors(&self) -> Vec<&str> {
        fn error(event: &Event) -> Option<&str> {
            match &event.fact {
                Fact::Error { text } => Some(text),
                _ => None,
            }
        }
        self.ready.events.iter().filter_map(error).collect()
    }

    pub fn votes_on_disk(&self) -> Vec<(Term, Option<NodeId>)> {
        let vote = |record: &Record| match record {
            Record::Vote { term, voted_for } => Some((*term, *voted_for)),
            _ => None,
        };
        self.ready.records.iter().filter_map(vote).collect()
    }
}
