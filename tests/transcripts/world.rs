//! A cluster of real `Raft` cores, with stores and the text of the wire between them, that a transcript
//! drives by hand: nothing moves unless a command moves it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raft_lab::raft::event::Event;
use raft_lab::raft::ready::{HeartbeatTimer, Input, Ready};
use raft_lab::raft::safety::Safety;
use raft_lab::raft::types::{DiskId, NodeId, Persistent, Token};
use raft_lab::raft::{Config, Raft};
use raft_lab::store::Store;

#[path = "clients.rs"]
mod clients;
#[path = "disks.rs"]
mod disks;
#[path = "show.rs"]
mod show;
#[path = "ways.rs"]
mod ways;

use clients::Request;
use disks::{Installable, Snapshot};
use show::{record_text, shortened};
use ways::MAX_DELIVERIES;

/// One way between two nodes.
pub type Link = (NodeId, NodeId);

/// A message under way, as text.
#[derive(Clone, Debug)]
struct Parcel {
    link: Link,
    /// The disk that the sender named when it connected.
    disk: DiskId,
    line: String,
    number: u64,
}

#[derive(Debug)]
struct Node {
    config: Config,
    /// `None` while it is down.
    raft: Option<Raft>,
    store: Store,
    /// What is on disk and synced.
    synced: Persistent,
    /// What is on disk in the place of the log's beginning.
    snapshot: Option<Snapshot>,
    /// The pieces so far of a snapshot that a leader sends.
    received: Option<Snapshot>,
    /// One that has come whole, and its content.
    installable: Option<Installable>,
    /// The thread that stores pieces is slow: what it has to tell waits.
    pieces_held: bool,
    pieces: Vec<Input>,
    /// Every batch waits for `sync`.
    disk_held: bool,
    /// A batch that is written and not synced, and all that waits for it.
    held: Option<Ready>,
    /// What came in meanwhile; it is taken at once, as one batch.
    inbox: Vec<Input>,
    election_deadline: Duration,
    next_heartbeat: Option<Duration>,
    draws: u64,
}

#[derive(Debug, Default)]
pub struct World {
    now: Duration,
    /// Whatever a transcript does, Raft's properties hold.
    judge: Safety,
    nodes: BTreeMap<NodeId, Node>,
    under_way: Vec<Parcel>,
    /// Set aside by `delay`.
    late: Vec<Parcel>,
    cut: BTreeSet<Link>,
    /// Slow ways: `deliver` leaves alone what is under way there.
    slow: BTreeSet<Link>,
    /// What each waiting request is called.
    requests: BTreeMap<Token, Request>,
    next_number: u64,
    wiped: u64,
    /// Bytes of one piece of a snapshot, at the most; 0 is as many as the algorithm allows.
    chunk_bytes: usize,
    /// The output of the present command.
    out: Vec<String>,
    /// Lines are the effect of a message: they stand under it.
    indented: bool,
    /// `run`: only these topics are shown, with the time, and no messages.
    showing: Option<(Duration, Vec<String>)>,
}

impl World {
    pub fn new(size: u64, pre_vote: bool) -> World {
        let mut world = World::default();
        for id in (1..=size).map(NodeId) {
            let config = Config {
                id,
                size,
                disk: DiskId(id.0),
                new_disk: true,
                pre_vote,
                election_timeout: (Duration::from_secs(6), Duration::from_secs(10)),
                heartbeat_interval: Duration::from_secs(2),
                settings: format!("pre-vote {}", if pre_vote { "on" } else { "off" }),
            };
            let node = Node {
                config,
                raft: None,
                store: Store::new(),
                synced: Persistent::default(),
                snapshot: None,
                received: None,
                installable: None,
                pieces_held: false,
                pieces: Vec::new(),
                disk_held: false,
                held: None,
                inbox: Vec::new(),
                election_deadline: Duration::ZERO,
                next_heartbeat: None,
                draws: 0,
            };
            world.nodes.insert(id, node);
            world.start(id);
        }
        world.ids().into_iter().for_each(|id| world.meet(id));
        world.out.clear();
        world
    }

    /// What the command showed: its lines, and what it sent that is still under way.
    pub fn take_output(&mut self, first_number: u64) -> Vec<String> {
        let mut out = std::mem::take(&mut self.out);
        out.extend(self.under_way.iter().filter(|parcel| parcel.number >= first_number).map(|parcel| {
            let (from, to) = parcel.link;
            format!("sent {from} -> {to}: {}", shortened(&parcel.line))
        }));
        out
    }

    /// Messages from here on belong to the next command.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    pub fn forget_output(&mut self) {
        self.out.clear();
    }

    pub fn say(&mut self, line: impl Into<String>) {
        let line = line.into();
        match &self.showing {
            Some((start, _)) => {
                let passed = (self.now - *start).as_secs_f64();
                self.out.push(format!("+{passed:.1}s {line}"));
            }
            None if self.indented => self.out.push(format!("    {line}")),
            None => self.out.push(line),
        }
    }

    pub fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).unwrap_or_else(|| panic!("{id} is not in this cluster"))
    }

    pub fn raft(&self, id: NodeId) -> Option<&Raft> {
        self.nodes.get(&id).and_then(|node| node.raft.as_ref())
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    // ---- a node's loop -------------------------------------------------------------------------

    pub fn input(&mut self, id: NodeId, inputs: Vec<Input>) {
        let node = self.node(id);
        assert!(node.raft.is_some(), "{id} is down");
        node.inbox.extend(inputs);
        if node.held.is_some() {
            self.say(format!("({id} waits for its disk; it takes this later)"));
        }
        self.turn(id);
    }

    /// Takes all that waits and acts once; not while a sync is under way.
    fn turn(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        if node.held.is_some() || node.inbox.is_empty() {
            return;
        }
        let inputs = std::mem::take(&mut node.inbox);
        let Some(raft) = node.raft.as_mut() else { return };
        let ready = raft.step(now, inputs);
        self.handle(id, ready);
    }

    /// Carries out a `Ready` in its order.
    fn handle(&mut self, id: NodeId, mut ready: Ready) {
        for (to, message) in std::mem::take(&mut ready.overtaking) {
            self.post(id, to, &message);
        }
        let node = self.node(id);
        if !ready.records.is_empty() && node.disk_held {
            let records: Vec<String> = ready.records.iter().map(record_text).collect();
            self.node(id).held = Some(ready);
            return self.say(format!("{id} writes, and waits for its disk: {}", records.join(", ")));
        }
        self.finish(id, ready);
    }

    /// The disk is done: now all the rest.
    fn finish(&mut self, id: NodeId, ready: Ready) {
        let now = self.now;
        let node = self.node(id);
        node.write(ready.records);
        if let Some(meta) = ready.installed {
            node.install(meta);
        }
        if let Some(timer) = ready.election_timer {
            // Spread evenly, and the same in every run.
            let part = (id.0 * 5 + node.draws * 3) % 8;
            node.draws += 1;
            node.election_deadline = now + timer.min + (timer.max - timer.min) * part as u32 / 8;
        }
        match ready.heartbeat_timer {
            Some(HeartbeatTimer::Start) => node.next_heartbeat = Some(now + node.config.heartbeat_interval),
            Some(HeartbeatTimer::Stop) => node.next_heartbeat = None,
            None => {}
        }
        for event in &ready.events {
            self.tell(event);
        }
        ready.refusals.into_iter().for_each(|(token, refusal)| self.refuse(id, token, refusal));
        ready.committed.into_iter().for_each(|committed| self.apply(id, committed));
        ready.reads.into_iter().for_each(|token| self.serve(id, token));
        for (to, message) in ready.messages {
            self.post(id, to, &message);
        }
        ready.send_chunks.into_iter().for_each(|chunk| self.send_chunk(id, chunk));
        if let Some(chunk) = ready.store_chunk {
            self.node(id).store_chunk(chunk);
        }
        let node = self.node(id);
        if !node.pieces_held {
            node.inbox.append(&mut node.pieces);
        }
        if ready.batch > 0 {
            let node = self.node(id);
            node.inbox.insert(0, Input::Persisted { batch: ready.batch });
        }
        self.turn(id);
    }

    fn tell(&mut self, event: &Event) {
        if let Err(violation) = self.judge.observe(event) {
            panic!("{violation}\n  {event}");
        }
        let line = event.to_string();
        // TIME NODE TERM ROLE TOPIC text: the first goes, the next four lose their alignment.
        let mut words = Vec::new();
        let mut rest = line.as_str();
        for _ in 0..5 {
            let (word, behind) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
            words.push(word);
            rest = behind;
        }
        let hidden = self.showing.as_ref().is_some_and(|(_, topics)| !topics.iter().any(|topic| topic == words[4]));
        if !hidden {
            self.say(format!("{} {}", words[1..].join(" "), rest.trim_start()));
        }
    }

    // ---- time that runs by itself --------------------------------------------------------------

    /// Lets all timers run for `time`; messages take none. Shows events of these topics only.
    pub fn run(&mut self, time: Duration, topics: Vec<String>) {
        let end = self.now + time;
        self.showing = Some((self.now, topics));
        self.deliver_all();
        for fired in 0.. {
            assert!(fired < MAX_DELIVERIES, "{fired} timers fired: one of them is set to no time at all");
            let due = self.nodes.iter().filter(|(_, node)| node.raft.is_some()).flat_map(|(id, node)| {
                let heartbeat = node.next_heartbeat.map(|at| (at, *id, Input::HeartbeatDue));
                heartbeat.into_iter().chain([(node.election_deadline, *id, Input::ElectionTimeout)])
            });
            let Some((at, id, input)) = due.min_by_key(|(at, id, _)| (*at, *id)) else { break };
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            let now = self.now;
            let node = self.node(id);
            match input {
                Input::HeartbeatDue => node.next_heartbeat = Some(now + node.config.heartbeat_interval),
                _ => node.election_deadline = Duration::MAX,
            }
            self.input(id, vec![input]);
            self.deliver_all();
        }
        self.now = end;
        self.showing = None;
    }
}
