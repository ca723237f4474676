//! The paper's servers are honest. What can be read as a message and no server would say must do no harm either: this is
//! all that the wire lets through, said at random by both peers, with disks that come and go, snapshots that are made and
//! sent, and restarts.
use super::*;
use raft_lab::raft::ready::Ready;
use raft_lab::raft::types::{Command, Disk, DiskId, Entry, MAX_NUMBER, SnapshotMeta, Term};
use raft_lab::text::random::Random;

/// A server, its disk as it would be read after a crash, and the snapshot on it.
struct Life {
    server: Server,
    disk: Persistent,
    snapshot: Option<SnapshotMeta>,
    config: Config,
}

impl Life {
    fn new(config: Config) -> Life {
        let raft = Raft::new(config.clone(), Persistent::default(), None, Duration::ZERO).0;
        let server = Server { raft, now: Duration::ZERO };
        Life { server, disk: Persistent::default(), snapshot: None, config }
    }

    fn restart(&mut self) {
        let Life { server, disk, snapshot, config } = self;
        server.raft = Raft::new(config.clone(), disk.clone(), *snapshot, server.now).0;
        assert_eq!(server.raft.log().last(), disk.last());
    }

    /// Everything that the step wants done is done; what is to be stored is stored, whole or in part, or is broken.
    fn act(&mut self, random: &mut Random, inputs: Vec<Input>) {
        let mut inputs = inputs;
        while !inputs.is_empty() {
            let ready = self.server.raft.step(self.server.now, std::mem::take(&mut inputs));
            let Ready { records, batch, installed, store_chunk, committed, .. } = ready;
            for record in records {
                self.disk.apply(record).expect("what is written can be read");
            }
            if let Some(meta) = installed {
                if self.disk.base != meta.last {
                    self.disk.compact(meta.last, meta.sum);
                }
                self.snapshot = Some(meta);
            }
            for pair in committed.windows(2) {
                assert_eq!(pair[0].entry.id.index + 1, pair[1].entry.id.index);
            }
            if batch > 0 {
                inputs.push(Input::Persisted { batch });
            }
            if let Some(chunk) = store_chunk {
                let (meta, through) = (chunk.meta, chunk.offset + chunk.data.len() as u64);
                let disk = Disk { id: DiskId(30 + random.below(3)), since: id(1 + random.below(9), 1) };
                inputs.push(match random.below(8) {
                    0 => Input::SnapshotBroken { meta, why: "so it is".to_owned() },
                    _ if through < meta.bytes => Input::ChunkStored { meta, through },
                    _ => Input::SnapshotStored { meta, readmitted: vec![(NodeId(1 + random.below(3)), disk)] },
                });
            }
        }
    }

    /// A snapshot of what is committed, if there is anything new in it.
    fn compact(&mut self, random: &mut Random) {
        let (base, commit) = (self.server.raft.log().base().index, self.server.raft.commit_index());
        if commit == base {
            return;
        }
        let index = base + 1 + random.below(commit - base);
        let last = self.server.raft.log().id(index).expect("it is committed");
        let meta = SnapshotMeta { last, sum: self.server.raft.log().sum(index), bytes: 10, crc: index as u32 };
        assert!(!self.server.raft.opening(index).is_empty());
        self.disk.compact(last, meta.sum);
        self.snapshot = Some(meta);
        self.act(random, vec![Input::SnapshotMade { meta }]);
    }
}

fn place(random: &mut Random, term: Term) -> EntryId {
    match (random.below(12), term) {
        (0, _) | (_, 0) => EntryId::ZERO,
        (11, _) => id(MAX_NUMBER, term),
        (index, _) => id(index, 1 + random.below(term)),
    }
}

fn some_number(random: &mut Random) -> u64 {
    if random.one_in(20) { MAX_NUMBER } else { random.below(12) }
}

fn some_entry(random: &mut Random, index: u64, term: Term) -> Entry {
    let readmit = Command::Readmit { node: NodeId(1 + random.below(4)), disk: DiskId(30 + random.below(3)) };
    match random.one_in(6) {
        true => Entry { id: id(index, term), command: readmit },
        false => entry(index, term),
    }
}

fn some_body(random: &mut Random, term: Term) -> Body {
    let (prev, flag) = (place(random, term), random.one_in(2));
    let last = if prev.index == 0 || random.one_in(2) { id(4, term.max(1)) } else { prev };
    let meta =
        SnapshotMeta { last, sum: 7, bytes: if random.one_in(9) { MAX_NUMBER } else { 10 }, crc: last.index as u32 };
    match random.below(13) {
        0 => Body::PreVote { last: prev },
        1 => Body::PreVoteReply { granted: flag },
        2 => Body::RequestVote { last: prev },
        3 | 4 => Body::RequestVoteReply { granted: flag },
        5 => Body::Matched { index: some_number(random), round: some_number(random) % 3 },
        6 => {
            let conflict = id(some_number(random).max(1), random.below(term + 1));
            Body::Rejected { prev, conflict, round: some_number(random) % 3 }
        }
        7 => Body::InstallSnapshot {
            meta,
            offset: [0, 0, 5, MAX_NUMBER][random.below(4) as usize],
            data: "01234".into(),
        },
        8 => Body::InstallSnapshot { meta, offset: 0, data: "0123456789".into() },
        9 => Body::SnapshotTaken { last, crc: last.index as u32, through: some_number(random) },
        10 if random.one_in(4) => Body::Refused { disk: DiskId(random.below(3)) },
        _ => {
            let most = if term == 0 || prev.index == MAX_NUMBER { 0 } else { random.below(5) };
            let entries = (1..=most).map(|n| some_entry(random, prev.index + n, term)).collect();
            let (commit, round) = (some_number(random), some_number(random));
            Body::AppendEntries { prev, commit, heartbeat: flag, round, entries }
        }
    }
}

fn some_input(random: &mut Random, life: &Life, token: u64) -> Input {
    let newest = life.server.raft.current_term();
    let from = if random.one_in(2) { TWO } else { THREE };
    let disk = if random.one_in(8) { DiskId(30 + random.below(3)) } else { DiskId(from.0) };
    match random.below(20) {
        0 => Server::proposal(token),
        1 => Input::Read { token },
        2 => Input::Readmit { token, node: NodeId(random.below(5)) },
        3 => Input::Met { peer: from, disk },
        4 => Input::PeerConnected { peer: from, detail: String::new() },
        5 | 6 => Input::HeartbeatDue,
        7 => Input::ElectionTimeout,
        _ => {
            let term = if random.one_in(20) { newest + 1 } else { newest };
            Input::Message { from, disk, message: Server::body(term, some_body(random, term)) }
        }
    }
}

#[test]
fn whatever_a_peer_says_nothing_panics() {
    let (mut led, mut installed, mut made) = (0, 0, 0);
    for seed in 0..6500 {
        let mut random = Random::from_seed(seed);
        let mut life = Life::new(Config { pre_vote: random.one_in(2), new_disk: true, ..config(3, false) });
        for token in 0..200 {
            life.server.now += random.duration(Duration::ZERO, Duration::from_secs(1));
            let base = life.server.raft.log().base();
            match random.below(60) {
                0 => life.restart(),
                1 | 2 => {
                    life.compact(&mut random);
                    made += u32::from(life.server.raft.log().base() > base);
                    continue;
                }
                _ => {}
            }
            let inputs = (0..=random.below(3)).map(|n| some_input(&mut random, &life, 10 * token + n)).collect();
            life.act(&mut random, inputs);
            led += u32::from(life.server.raft.role() == Role::Leader);
            installed += u32::from(life.server.raft.log().base() > base);
        }
    }
    // The places that matter were visited.
    assert!(led > 10_000 && installed > 5_000 && made > 1_000, "led {led}, installed {installed}, made {made}");
}
