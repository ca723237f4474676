//! The world: virtual time, one queue of everything that will happen, and the nodes.
//!
//! Nothing here runs at the same time as anything else. All chance comes from one generator, so a
//! seed replays the same run.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;

use crate::raft::Raft;
use crate::raft::message::{Body, Message};
use crate::raft::mutants::Mutant;
use crate::raft::ready::{Input, SendChunk, StoreChunk};
use crate::raft::types::{DiskId, Entry, EntryId, NodeId, Role, Token};
use crate::text::random::Random;
use crate::wire::{self, peer};

use super::chronicle::Chronicle;
use super::clients::{Answer, Ask, Clients, Request};
use super::disk::SimDisk;
use super::judge::{Checked, Judge, fail, without_session};
use super::network::{Network, delay};
use super::node::SimNode;
use super::profile::{MS, Micros, Profile, between, chance};

/// Inputs that wait at a node at the most; what comes then is lost.
pub const MAX_INBOX: usize = 256;
/// Steps that may happen at the same time; more is a loop.
const MAX_STANDSTILL: u64 = 10_000;

/// One message on its way: the line that the real codec made of it.
pub struct Packet {
    from: NodeId,
    disk: DiskId,
    /// The disk of the process that this is for, where that matters.
    only_for: Option<DiskId>,
    line: Rc<str>,
}

/// What the queue holds. `life` guards what belongs to a process that may be gone by then.
pub enum Happening {
    Arrives {
        to: usize,
        packet: Packet,
    },
    /// A timer of the node, or the end of its pause.
    Wakes {
        node: usize,
        life: u64,
    },
    Synced {
        node: usize,
        life: u64,
    },
    SnapshotMade {
        node: usize,
        life: u64,
    },
    SendsChunk {
        node: usize,
        life: u64,
        send: SendChunk,
    },
    StoresChunk {
        node: usize,
        life: u64,
        chunk: StoreChunk,
    },
    /// Somebody looks after disks that were lost.
    OperatorWakes,
    /// The node looks whether it has a connection to the peer.
    Dials {
        node: usize,
        peer: usize,
    },
    Restarts {
        node: usize,
    },
    Fault,
    Heals,
    ClientWakes {
        client: usize,
    },
    Request {
        node: usize,
        token: Token,
        ask: Ask,
    },
    Answered {
        token: Token,
        answer: Answer,
    },
}

struct Scheduled {
    at: Micros,
    /// The order of what happens at the same time: as it was put in.
    sequence: u64,
    happening: Happening,
}

impl Ord for Scheduled {
    /// The earliest is the greatest, for the heap.
    fn cmp(&self, other: &Scheduled) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

pub struct World {
    pub profile: Profile,
    pub random: Random,
    pub mutant: Option<Mutant>,
    pub now: Micros,
    pub steps: u64,
    /// Steps since the time has moved.
    standstill: u64,
    queue: BinaryHeap<Scheduled>,
    sequence: u64,
    pub nodes: Vec<SimNode>,
    /// The disk of each node: it outlives the process.
    pub disks: Vec<SimDisk>,
    pub network: Network,
    pub clients: Clients,
    pub judge: Judge,
    pub chronicle: Chronicle,
    line: String,
}

impl World {
    pub fn new(seed: u64, mutant: Option<Mutant>, sees_inside: bool, chronicle: Chronicle) -> World {
        let mut random = Random::from_seed(seed);
        let profile = Profile::draw(&mut random);
        let size = profile.size;
        let members = || (1..=size).map(NodeId);
        let mut world = World {
            nodes: members().map(|id| SimNode::new(id, size, &profile, &mut random)).collect(),
            disks: members().map(|id| SimDisk::new(id, size, DiskId(random.next_u64()))).collect(),
            network: Network::new(size),
            clients: Clients::new(&profile),
            judge: Judge::new(&profile, sees_inside),
            chronicle,
            profile,
            random,
            mutant,
            now: 0,
            steps: 0,
            standstill: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            line: String::new(),
        };
        world.judge.meets(&world.disks);
        for node in 0..size as usize {
            world.push(node as Micros * 100, Happening::Restarts { node });
        }
        for client in 0..world.clients.count() {
            world.push(MS, Happening::ClientWakes { client });
        }
        world.push(world.profile.fault_interval, Happening::Fault);
        world.push(world.profile.fault_interval, Happening::OperatorWakes);
        world
    }

    pub fn push(&mut self, after: Micros, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Scheduled { at: self.now + after, sequence: self.sequence, happening });
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) -> Checked {
        let Some(next) = self.queue.pop() else { return fail("the queue", "nothing will happen any more".to_owned()) };
        self.steps += 1;
        self.standstill = if next.at > self.now { 0 } else { self.standstill + 1 };
        if self.standstill > MAX_STANDSTILL {
            return fail("time passes", format!("{MAX_STANDSTILL} steps at the same moment"));
        }
        self.now = next.at;
        match next.happening {
            Happening::Arrives { to, packet } => self.arrives(to, packet),
            Happening::Wakes { node, life } => self.wakes(node, life),
            Happening::Synced { node, life } => self.synced(node, life),
            Happening::SnapshotMade { node, life } => self.snapshot_made(node, life),
            Happening::SendsChunk { node, life, send } => self.sends_chunk(node, life, send),
            Happening::StoresChunk { node, life, chunk } => self.stores_chunk(node, life, chunk),
            Happening::OperatorWakes => self.operator_wakes(),
            Happening::Dials { node, peer } => self.dials(node, peer),
            Happening::Restarts { node } => self.restarts(node),
            Happening::Fault => self.fault(),
            // At the end of a run cuts are made and healed on purpose.
            Happening::Heals if self.clients.stopped => Ok(()),
            Happening::Heals => {
                self.network.heal();
                self.note("the network heals".to_owned());
                self.dial_all();
                Ok(())
            }
            Happening::ClientWakes { client } => {
                self.client_wakes(client);
                Ok(())
            }
            Happening::Request { node, token, ask: Ask::Change(command) } => {
                let lost = self.mutant == Some(Mutant::FailoverRetry);
                let command = if lost { without_session(&command) } else { command };
                self.input(node, Input::Propose { token, command })
            }
            Happening::Request { node, token, ask: Ask::Read } => self.input(node, Input::Read { token }),
            Happening::Request { node, token, ask: Ask::Readmit(lost) } => {
                self.input(node, Input::Readmit { token, node: lost })
            }
            Happening::Answered { token, answer } => {
                if self.chronicle.aloud {
                    self.note(format!("request {token} is answered {answer:?}"));
                }
                self.clients.heard(token, answer, &self.judge)
            }
        }
    }

    /// A line of the story that is not a node's.
    pub fn note(&mut self, text: String) {
        self.chronicle.note(self.now, text);
    }

    /// Sends a message: judged, encoded, and given to the network.
    /// An answer is for who has asked. If that one has lost its disk meanwhile, the connection is gone
    /// too: a vote for the node that it was must not elect the node that it is (seed 37512).
    pub fn post(&mut self, from: usize, to: NodeId, message: &Message, meant: Option<DiskId>) -> Checked {
        let role = self.nodes[from].raft.as_ref().map_or(Role::Follower, Raft::role);
        self.judge.left(self.nodes[from].id, to, message, role, &self.disks)?;
        self.carry(from, to, message, meant.filter(|_| message.body.answers()))?;
        if chance(&mut self.random, self.profile.excerpt)
            && let Some(excerpt) = self.excerpt(from, message)
        {
            self.carry(from, to, &excerpt, None)?;
        }
        Ok(())
    }

    pub fn carry(&mut self, from: usize, to: NodeId, message: &Message, only_for: Option<DiskId>) -> Checked {
        let sender = self.nodes[from].id;
        let arrivals = self.network.arrivals((sender, to), self.now, &self.profile, &mut self.random);
        self.line.clear();
        peer::encode(message, &mut self.line);
        if self.line.len() >= wire::MAX_LINE_BYTES {
            return fail("bounded queues", format!("{sender} sends a line of {} bytes", self.line.len()));
        }
        let line: Rc<str> = Rc::from(self.line.as_str());
        for after in arrivals.into_iter().flatten() {
            let packet = Packet { from: sender, disk: self.disks[from].id, only_for, line: line.clone() };
            self.push(after, Happening::Arrives { to: to.0 as usize - 1, packet });
        }
        Ok(())
    }

    /// Another AppendEntries that the same leader might have sent instead: where it begins and ends
    /// is its own affair, and a follower must make nothing of it that it does not prove.
    fn excerpt(&mut self, from: usize, message: &Message) -> Option<Message> {
        let Body::AppendEntries { prev, commit, entries, .. } = &message.body else { return None };
        let end = self.random.below(prev.index + entries.len() as u64 + 1);
        let start = end - self.random.below(end.min(4) + 1);
        let log = &self.disks[from];
        let prev = if start == 0 { EntryId::ZERO } else { log.entry(start)?.id };
        let entries = (start + 1..=end).map(|index| log.entry(index).cloned()).collect::<Option<Vec<Entry>>>()?;
        let body = Body::AppendEntries { prev, commit: *commit, heartbeat: false, round: 0, entries };
        Some(Message { term: message.term, body })
    }

    fn arrives(&mut self, to: usize, packet: Packet) -> Checked {
        let link = self.network.link(packet.from, self.nodes[to].id);
        self.network.in_flight[link] -= 1;
        let meant = packet.only_for.is_none_or(|disk| disk == self.disks[to].id);
        if !self.nodes[to].is_up() || !meant {
            return Ok(());
        }
        match peer::decode(&packet.line) {
            Ok(message) => self.input(to, Input::Message { from: packet.from, disk: packet.disk, message }),
            Err(why) => fail("codec", format!("{} sent {:?}, which cannot be read: {why}", packet.from, packet.line)),
        }
    }

    /// Something for a node to look at, as soon as it can.
    pub fn input(&mut self, node: usize, input: Input) -> Checked {
        if self.nodes[node].take(input) { self.attend(node) } else { Ok(()) }
    }

    /// Connections come and go with the nodes and with the cuts between them.
    pub fn dial_all(&mut self) {
        if !self.profile.connections {
            return;
        }
        for node in 0..self.nodes.len() {
            for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
                // Who knows already need not look; whatever changes later looks again.
                if self.nodes[node].connections[peer] != self.connection(node, peer) {
                    let after = delay(&self.profile, &mut self.random);
                    self.push(after, Happening::Dials { node, peer });
                }
            }
        }
    }

    /// The life of the peer, if the node can reach it.
    fn connection(&self, node: usize, peer: usize) -> Option<u64> {
        let (near, far) = (self.nodes[node].id, self.nodes[peer].id);
        let reachable = self.nodes[peer].is_up() && !self.network.is_cut(near, far) && !self.network.is_cut(far, near);
        reachable.then_some(self.nodes[peer].life)
    }

    fn dials(&mut self, node: usize, peer: usize) -> Checked {
        let life = self.connection(node, peer);
        let (id, disk) = (self.nodes[peer].id, self.disks[peer].id);
        let connected = std::mem::replace(&mut self.nodes[node].connections[peer], life);
        if !self.nodes[node].is_up() || connected == life {
            return Ok(());
        }
        let detail = || "simulated".to_owned();
        let lost = connected.is_some().then(|| Input::PeerLost { peer: id, detail: detail() });
        let now = match life {
            Some(_) => vec![Input::Met { peer: id, disk }, Input::PeerConnected { peer: id, detail: detail() }],
            None => vec![Input::PeerOffline { peer: id, detail: detail() }],
        };
        // Of all inputs these alone are never lost: a real sender waits until there is room.
        self.nodes[node].inbox.extend(lost.into_iter().chain(now));
        self.attend(node)
    }

    fn client_wakes(&mut self, client: usize) {
        let applied = pick_applied(self);
        let now = self.now;
        for request in self.clients.wakes(client, now, applied, &self.profile, &mut self.random) {
            let Request { after, node, token, ask } = request;
            if self.chronicle.aloud {
                self.note(format!("client {client} asks node_{} as request {token}: {ask:?}", node + 1));
            }
            self.push(after, Happening::Request { node, token, ask });
        }
        let think = self.profile.think;
        let after = between(&mut self.random, (think / 2, think * 2));
        self.push(after, Happening::ClientWakes { client });
    }

    /// An answer goes back to a client, and may be lost on the way.
    pub fn answer(&mut self, token: Token, answer: Answer) {
        if self.random.below(1000) >= self.profile.loss {
            let after = delay(&self.profile, &mut self.random);
            self.push(after, Happening::Answered { token, answer });
        }
    }
}

/// What some node would give a new session as its birth: its last applied index.
fn pick_applied(world: &mut World) -> u64 {
    let node = world.random.below(world.nodes.len() as u64) as usize;
    world.nodes[node].applied
}
