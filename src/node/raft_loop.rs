//! The raft loop: the one owner of the algorithm's state, the disk and the state machine.
//!
//! A turn takes all inputs that wait, steps once, and does what the step asks for in the order of
//! [`Ready`]: the messages that may overtake the disk, one write and one sync, then all that depends
//! on it. While the sync runs the next turn's inputs gather, so a slower disk makes larger batches.
//! The loop waits for nothing but its inbox and its disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::answers::Waiting;
use super::client_lines::ClientLines;
use super::compaction::Compaction;
use super::election_timer::Alarm;
use super::heartbeat::Metronome;
use super::inbox::Item;
use super::{Shared, end};
use crate::disk::Wal;
use crate::raft::Raft;
use crate::raft::event::{Event, Fact};
use crate::raft::message::Message;
use crate::raft::ready::{Input, Ready};
use crate::raft::types::{NodeId, Record, Role, Term, Token};
use crate::store::Store;
use crate::text::random::Random;
use crate::wire::client::Request;

pub struct RaftLoop {
    pub(super) node: Arc<Shared>,
    pub(super) raft: Raft,
    pub(super) wal: Wal,
    pub(super) store: Store,
    pub(super) compaction: Compaction,
    alarm: Alarm,
    metronome: Metronome,
    pub(super) random: Random,
    pub(super) waiting: BTreeMap<Token, Waiting>,
    pub(super) last_token: Token,
    pub(super) told: ClientLines,
    /// When the algorithm was last asked to step.
    pub(super) stepped_at: Duration,
    /// Inputs of this node's own making, for the next step.
    pub(super) later: Vec<Input>,
    /// Term and role as they were when last everything was on disk.
    on_disk: (Term, Role),
}

impl RaftLoop {
    pub fn new(
        node: Arc<Shared>,
        raft: Raft,
        (wal, store, compaction): (Wal, Store, Compaction),
        (alarm, metronome): (Alarm, Metronome),
    ) -> RaftLoop {
        RaftLoop {
            told: ClientLines::new(node.clock.now()),
            stepped_at: node.clock.now(),
            on_disk: (raft.current_term(), raft.role()),
            node,
            raft,
            wal,
            store,
            compaction,
            alarm,
            metronome,
            random: Random::from_os(),
            waiting: BTreeMap::new(),
            last_token: 0,
            later: Vec::new(),
        }
    }

    /// Runs until the inbox is closed, which it never is: a node ends with its process. `first` is
    /// what [`Raft::new`] asked for, `notes` what was mended on the disk, `away` how long the node stayed away
    /// by order.
    pub fn run(mut self, first: Ready, notes: Vec<String>, away: Option<Duration>) {
        self.act(first);
        for text in notes {
            self.tell(Fact::Disk { text });
        }
        if let Some(away) = away {
            self.tell(Fact::Fault {
                text: format!("the crash is over: back from the disk after {:.3} s", away.as_secs_f64()),
            });
        }
        self.alarm.arm();
        let mut items = Vec::new();
        while self.node.inbox.take_all(&mut items, None) {
            self.turn(&mut items);
        }
    }

    fn turn(&mut self, items: &mut Vec<Item>) {
        let emptied = self.node.clock.now();
        let mut inputs = std::mem::take(&mut self.later);
        let mut queries = Vec::new();
        for item in items.drain(..) {
            match item {
                Item::Input(input) => inputs.push(input),
                Item::HeartbeatTick => inputs.push(Input::HeartbeatDue),
                Item::ElectionAlarm => self.alarm.fired(),
                Item::Note(text) => self.tell_client(text),
                Item::Error(text) => self.tell(Fact::Error { text }),
                Item::SnapshotMade(made) => inputs.extend(self.publish(*made)),
                Item::ChunkStored { meta, received } => inputs.push(self.chunk_stored(meta, *received)),
                Item::DiskFailed(text) => self.disk_failed(&text),
                Item::Request { request, reply } => match self.ask(&request) {
                    Some(input) => {
                        self.wait(request, reply);
                        inputs.push(input);
                    }
                    None => queries.push((request, reply)),
                },
            }
        }
        // One large burst must not keep its memory for ever.
        items.shrink_to(1024);
        self.step(inputs);
        // Messages first, then the deadline: behind a long sync a heartbeat may have waited with the
        // alarm, and it has moved the deadline. One that passed during the sync of this very turn waits
        // for the next, with what came meanwhile.
        if self.alarm.passed(emptied) {
            self.step(vec![Input::ElectionTimeout]);
        }
        self.forget_stored();
        self.seal_if_due();
        for (request, reply) in queries {
            match request {
                Request::Fault(fault) => self.fault(&fault, reply),
                question => reply.send(self.answer(&question)),
            }
        }
        if let Some(text) = self.told.left_out(self.node.clock.now()) {
            self.tell(Fact::Client { text });
        }
        self.alarm.arm();
        self.node.log.check();
    }

    pub(super) fn step(&mut self, inputs: Vec<Input>) {
        if !inputs.is_empty() {
            let ready = self.step_core(inputs);
            self.act(ready);
        }
    }

    fn step_core(&mut self, inputs: Vec<Input>) -> Ready {
        self.stepped_at = self.node.clock.now();
        self.raft.step(self.stepped_at, inputs)
    }

    /// Does what a step asks for, and steps again with what is then durable, until nothing is left.
    fn act(&mut self, mut ready: Ready) {
        loop {
            self.send(ready.overtaking);
            match ready.installed {
                Some(meta) => self.install(meta, &ready.records),
                None => self.append(&ready.records),
            }
            if !ready.gone.is_empty() {
                self.compaction.free(ready.gone);
            }
            self.on_disk = (self.raft.current_term(), self.raft.role());
            self.send(ready.messages);
            self.send_chunks(ready.send_chunks);
            if let Some(chunk) = ready.store_chunk {
                self.store_chunk(chunk);
            }
            // Before the answers: one that has a line of its own tells the term to which these lead.
            self.node.log.tell(ready.events);
            for (token, refusal) in ready.refusals {
                self.refuse(token, refusal);
            }
            for committed in ready.committed {
                let applied = self.store.apply(&committed.entry);
                self.applied(committed.token, applied);
            }
            for token in ready.reads {
                self.confirmed(token);
            }
            if let Some(timer) = ready.election_timer {
                self.alarm.set(timer, self.node.clock.now());
            }
            if let Some(timer) = ready.heartbeat_timer {
                self.metronome.set(timer);
            }
            if ready.batch == 0 {
                return;
            }
            ready = self.step_core(vec![Input::Persisted { batch: ready.batch }]);
        }
    }

    fn send(&self, messages: Vec<(NodeId, Message)>) {
        for (to, message) in messages {
            if let Some(link) = self.node.links.get(&to) {
                link.send(message, self.raft.answers_are_for(to));
            }
        }
    }

    fn append(&mut self, records: &[Record]) {
        if !records.is_empty()
            && let Err(error) = self.wal.append(records)
        {
            self.disk_failed(&error.to_string());
        }
    }

    /// A failed write or sync is never retried: nobody knows what is on the disk then.
    pub(super) fn disk_failed(&mut self, text: &str) -> ! {
        // The core is ahead of the disk; a line tells only what the next start will find.
        let (at, (term, role)) = (self.node.clock.now(), self.on_disk);
        let fact = Fact::Error { text: text.to_string() };
        self.node.log.tell(vec![Event { at, node: self.node.own.node, term, role, fact }]);
        self.node.log.flush(Duration::from_secs(1));
        end(text);
    }

    pub(super) fn tell(&self, fact: Fact) {
        let (at, term, role) = (self.node.clock.now(), self.raft.current_term(), self.raft.role());
        self.node.log.tell(vec![Event { at, node: self.node.own.node, term, role, fact }]);
    }
}
