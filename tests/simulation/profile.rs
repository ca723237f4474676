//! What a seed means: the cluster, its clients and the faults that it meets.
//!
//! Swarm testing: a seed switches a random subset of the faults on, each with an intensity of its
//! own. A run with every fault all the time explores less than many runs with a few.

use crate::raft::progress::Window;
use crate::text::random::Random;

use super::snapshots::SNAPSHOT_TIMES;

/// Virtual time, in microseconds since the start of the run.
pub type Micros = u64;
pub const MS: Micros = 1000;

/// The clusters' timers: the lab's 6–10 s and 2 s, a hundred times faster.
pub const ELECTION_TIMEOUT: (Micros, Micros) = (60 * MS, 100 * MS);
pub const HEARTBEAT_INTERVAL: Micros = 20 * MS;

/// What the scheduler does to the cluster from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Crash,
    CrashLeader,
    CrashAll,
    Pause,
    PauseLeader,
    /// One direction between two nodes.
    CutOneWay,
    /// Both directions between two nodes.
    CutTwoWay,
    /// A node, or the leader, alone.
    Isolate,
    IsolateLeader,
    /// Two groups.
    Split,
    /// Each node by itself.
    Shatter,
    /// Each node hears its two neighbours only.
    Ring,
    /// Two groups and one node that hears both.
    Bridge,
    /// All links lose most of what they carry, for a while.
    Storm,
    /// The next syncs of a node take long.
    SlowDisk,
    /// A node's election timer fires now.
    Impatience,
    /// All election timers fire now: a split vote.
    SplitVote,
    /// A node's disk is replaced by an empty one; the next only when this one is readmitted.
    Wipe,
}

const FAULTS: [Fault; 18] = [
    Fault::Crash,
    Fault::CrashLeader,
    Fault::CrashAll,
    Fault::Pause,
    Fault::PauseLeader,
    Fault::CutOneWay,
    Fault::CutTwoWay,
    Fault::Isolate,
    Fault::IsolateLeader,
    Fault::Split,
    Fault::Shatter,
    Fault::Ring,
    Fault::Bridge,
    Fault::Storm,
    Fault::SlowDisk,
    Fault::Impatience,
    Fault::SplitVote,
    Fault::Wipe,
];

/// Probabilities are in thousandths.
#[derive(Clone, Debug)]
pub struct Profile {
    pub size: u64,
    pub pre_vote: bool,
    /// How long a message takes, and how often one takes up to `straggle` instead.
    pub delay: (Micros, Micros),
    pub straggler: u64,
    pub straggle: Micros,
    /// Messages of a link keep their order, as on one connection, and none comes twice.
    pub in_order: bool,
    pub loss: u64,
    pub duplicate: u64,
    /// Another part of the same log comes with an AppendEntries, as an older or slower leader of the
    /// term might have sent it.
    pub excerpt: u64,
    /// How long a sync takes.
    pub sync: (Micros, Micros),
    /// A node steps on while its disk syncs. (The real one does not, but the algorithm allows it.)
    pub disk_thread: bool,
    /// A write or a sync fails.
    pub disk_failure: u64,
    /// A crash at the boundary between two effects of a step.
    pub boundary_crash: u64,
    pub faults: Vec<Fault>,
    /// A snapshot is made when the log is longer, and takes so long.
    pub snapshot_bytes: u64,
    pub snapshot_time: (Micros, Micros),
    /// How long a piece of a snapshot takes at the most to be read, and to be stored; and how often one gets
    /// lost, or a whole one is found broken.
    pub chunk_delay: Micros,
    pub chunk_loss: u64,
    pub broken_snapshot: u64,
    /// From one fault to the next, and how long one lasts, on average.
    pub fault_interval: Micros,
    pub fault_length: Micros,
    /// How far a node's clock may run too fast or too slow.
    pub skew: u64,
    /// Are nodes told that connections come and go?
    pub connections: bool,
    /// What may be under way to a follower.
    pub window: Window,
    pub clients: usize,
    /// Requests that a client has under way at the most.
    pub pipeline: usize,
    /// How long a client waits for an answer before it tries again, and between two new requests.
    pub patience: Micros,
    pub think: Micros,
    /// How often a client reads when it wakes.
    pub reads: u64,
}

impl Profile {
    pub fn draw(random: &mut Random) -> Profile {
        let quick = (50, 50 + random.below(2 * MS));
        let slow = (MS, 2 * MS + random.below(20 * MS));
        let faults = FAULTS.into_iter().filter(|_| random.below(3) == 0).collect();
        let in_order = random.below(4) == 0;
        let fault_interval = pick(random, &[8 * MS, 20 * MS, 50 * MS, 120 * MS]);
        Profile {
            size: pick(random, &[3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 1, 2, 4]),
            pre_vote: random.below(4) > 0,
            delay: if random.below(3) > 0 { quick } else { slow },
            straggler: pick(random, &[0, 0, 10, 50, 200]),
            straggle: pick(random, &[10 * MS, 60 * MS, 300 * MS]),
            in_order,
            loss: pick(random, &[0, 0, 5, 50, 200]),
            duplicate: if in_order { 0 } else { pick(random, &[0, 0, 10, 100]) },
            excerpt: if in_order { 0 } else { pick(random, &[0, 0, 20, 200]) },
            sync: pick(random, &[(0, 0), (50, 300), (200, 5 * MS), (MS, 30 * MS)]),
            disk_thread: random.below(4) == 0,
            disk_failure: pick(random, &[0, 0, 2, 10]),
            boundary_crash: pick(random, &[0, 0, 1, 4, 15]),
            faults,
            snapshot_bytes: pick(random, &[256, 256, 1000, 1000, 4000, 1 << 40]),
            snapshot_time: pick(random, &SNAPSHOT_TIMES),
            chunk_delay: pick(random, &[0, MS, 20 * MS]),
            chunk_loss: pick(random, &[0, 0, 50, 300]),
            broken_snapshot: pick(random, &[0, 0, 300]),
            fault_interval,
            fault_length: pick(random, &[10 * MS, 40 * MS, 150 * MS, 400 * MS]),
            skew: pick(random, &[0, 0, 50, 300]),
            connections: random.below(3) > 0,
            window: pick(random, &[Window::default(), few(1, 1, 32), few(1, 4, 64), few(2, 2, 300), few(5, 3, 1000)]),
            clients: 1 + random.below(3) as usize,
            pipeline: pick(random, &[1, 2, 4, 12]),
            patience: pick(random, &[10 * MS, 40 * MS, 150 * MS]),
            think: pick(random, &[3 * MS, 10 * MS, 30 * MS, 100 * MS]),
            reads: pick(random, &[100, 300, 900, 900]),
        }
    }

    /// No more harm: the rest of the run must make progress.
    pub fn heal(&mut self) {
        self.delay.1 = self.delay.1.min(2 * MS);
        self.delay.0 = self.delay.0.min(self.delay.1);
        self.sync = (self.sync.0.min(200), self.sync.1.min(2 * MS));
        (self.straggler, self.loss, self.duplicate, self.excerpt) = (0, 0, 0, 0);
        (self.disk_failure, self.boundary_crash) = (0, 0);
        (self.chunk_delay, self.chunk_loss, self.broken_snapshot) = (self.chunk_delay.min(MS), 0, 0);
        self.faults.clear();
        self.window = Window::default();
    }
}

fn few(entries: usize, messages: usize, chunk_bytes: usize) -> Window {
    Window { entries, messages, chunk_bytes }
}

/// One of the choices.
pub fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

/// A number of `range`, both ends included.
pub fn between(random: &mut Random, (min, max): (Micros, Micros)) -> Micros {
    min + random.below(max - min + 1)
}

/// True so often in a thousand.
pub fn chance(random: &mut Random, thousandths: u64) -> bool {
    thousandths > 0 && random.below(1000) < thousandths
}
