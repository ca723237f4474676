//! One simulated node: the real algorithm, the real store, and around them the raft loop that a real
//! node has, cut into pieces at every point where it can be stopped.

use std::collections::VecDeque;
use std::time::Duration;

use crate::raft::mutants::Mutant;
use crate::raft::ready::{HeartbeatTimer, Input, Ready};
use crate::raft::types::{DiskId, Index, NodeId};
use crate::raft::{Config, Raft};
use crate::store::Store;
use crate::text::random::Random;

use super::clients::Answer;
use super::disk::SimDisk;
use super::judge::{Checked, fail};
use super::profile::{ELECTION_TIMEOUT, HEARTBEAT_INTERVAL, MS, Micros, Profile, between, chance};
use super::snapshots::Snapshots;
use super::world::{Happening, MAX_INBOX, World};

/// Batches that a disk of its own thread has under way at the most.
const MAX_BATCHES: usize = 4;

/// For each peer the disk of the process that the answers of a step are for.
type Meant = Vec<Option<DiskId>>;

/// A node's own clock: another time of day, and another pace.
struct Clock {
    offset: Micros,
    /// How long this clock's second is, in milliseconds of the world.
    second: u64,
}

impl Clock {
    fn reads(&self, now: Micros) -> Duration {
        Duration::from_micros(self.offset + now * 1000 / self.second)
    }

    /// How long the world takes for a time that this clock measures.
    fn lasts(&self, duration: Micros) -> Micros {
        (duration * self.second).div_ceil(1000)
    }
}

pub struct SimNode {
    pub id: NodeId,
    /// Counts the processes: what was meant for an earlier one is void.
    pub life: u64,
    /// `None` while the node is down.
    pub raft: Option<Raft>,
    pub store: Store,
    pub snapshots: Snapshots,
    pub applied: Index,
    clock: Clock,
    pub inbox: Vec<Input>,
    /// What may happen only once the disk has synced, in order. With a disk of its own thread the node
    /// goes on meanwhile; the real one waits.
    awaiting: VecDeque<(Ready, Meant)>,
    /// A batch is being written and synced.
    writing: bool,
    disk_thread: bool,
    pub paused_until: Micros,
    pub slow_disk_until: Micros,
    /// Not to be restarted for now.
    pub held_down: bool,
    /// When the election timer and the heartbeat timer are due.
    pub deadline: Option<Micros>,
    tick: Option<Micros>,
    /// The earliest wake-up that is in the queue.
    wake_at: Micros,
    /// The life of each peer to which there is a connection, as this node was told.
    pub connections: Vec<Option<u64>>,
}

impl SimNode {
    pub fn new(id: NodeId, size: u64, profile: &Profile, random: &mut Random) -> SimNode {
        let skew = between(random, (0, 2 * profile.skew));
        SimNode {
            id,
            life: 0,
            raft: None,
            store: Store::new(),
            snapshots: Snapshots::default(),
            applied: 0,
            clock: Clock { offset: random.below(1_000_000), second: 1000 + skew - profile.skew },
            inbox: Vec::new(),
            awaiting: VecDeque::new(),
            writing: false,
            disk_thread: profile.disk_thread,
            paused_until: 0,
            slow_disk_until: 0,
            held_down: false,
            deadline: None,
            tick: None,
            wake_at: Micros::MAX,
            connections: vec![None; size as usize],
        }
    }

    pub fn is_up(&self) -> bool {
        self.raft.is_some()
    }

    /// Does it wait for its disk?
    fn waits(&self) -> bool {
        let under_way = if self.disk_thread { MAX_BATCHES } else { 1 };
        self.awaiting.len() >= under_way
    }

    /// Is it between two turns, with everything on disk?
    pub fn is_idle(&self, now: Micros) -> bool {
        self.is_up() && !self.writing && self.awaiting.is_empty() && self.paused_until <= now
    }

    /// Puts an input into the inbox, if there is a process and room; else it is lost.
    pub fn take(&mut self, input: Input) -> bool {
        let taken = self.is_up() && self.inbox.len() < MAX_INBOX;
        if taken {
            self.inbox.push(input);
        }
        taken
    }

    /// All that waits, messages before timers.
    fn inputs(&mut self, now: Micros) -> Vec<Input> {
        let mut inputs = std::mem::take(&mut self.inbox);
        if self.tick.is_some_and(|at| at <= now) {
            self.tick = Some(now + self.clock.lasts(HEARTBEAT_INTERVAL));
            inputs.push(Input::HeartbeatDue);
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            inputs.push(Input::ElectionTimeout);
        }
        inputs
    }
}

impl World {
    /// The node takes its turn unless it is down, paused, or waits for its disk.
    pub fn attend(&mut self, n: usize) -> Checked {
        let node = &mut self.nodes[n];
        if !node.is_up() || node.waits() || node.paused_until > self.now {
            return Ok(());
        }
        let inputs = node.inputs(self.now);
        if !inputs.is_empty() {
            self.turn(n, inputs)?;
        }
        self.schedule_wake(n);
        self.keeps_house(n)
    }

    pub fn wakes(&mut self, n: usize, life: u64) -> Checked {
        if self.nodes[n].life != life {
            return Ok(());
        }
        self.nodes[n].wake_at = Micros::MAX;
        self.attend(n)?;
        self.schedule_wake(n);
        Ok(())
    }

    /// Sees to it that the node wakes when its next timer is due or its pause ends.
    pub fn schedule_wake(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        // While it waits for its disk the end of the sync wakes it.
        if !node.is_up() || node.waits() {
            return;
        }
        let timer = node.deadline.unwrap_or(Micros::MAX).min(node.tick.unwrap_or(Micros::MAX));
        let at = timer.max(node.paused_until).max(self.now);
        if timer < Micros::MAX && at < node.wake_at {
            node.wake_at = at;
            let life = node.life;
            self.push(at - self.now, Happening::Wakes { node: n, life });
        }
    }

    fn turn(&mut self, n: usize, inputs: Vec<Input>) -> Checked {
        let node = &mut self.nodes[n];
        let Some(raft) = &mut node.raft else { return Ok(()) };
        let count = inputs.len();
        let before = raft.commit_index();
        let ready = raft.step(node.clock.reads(self.now), inputs);
        self.judge.stepped(node.id, count, &ready)?;
        self.judge.commit_index_moved(node.id, before, raft.commit_index())?;
        let meant = (1..=self.profile.size).map(|peer| raft.answers_are_for(NodeId(peer))).collect();
        self.proceed(n, ready, meant)
    }

    /// The order of a [`Ready`]: what may overtake the disk, then the disk, then the rest.
    fn proceed(&mut self, n: usize, mut ready: Ready, meant: Meant) -> Checked {
        let mut overtaking = std::mem::take(&mut ready.overtaking);
        if self.disks[n].must_not_be_overtaken() {
            overtaking.append(&mut ready.messages);
            ready.messages = std::mem::take(&mut overtaking);
        }
        if self.mutant == Some(Mutant::SpeaksBeforeSync) {
            overtaking.append(&mut ready.messages);
        }
        if !ready.records.is_empty() {
            let node = &mut self.nodes[n];
            let installs = match ready.installed {
                Some(meta) => Some((meta, node.snapshots.takes_over(node.id, meta)?)),
                None => None,
            };
            self.disks[n].plan(std::mem::take(&mut ready.records), installs)?;
        }
        for (to, message) in overtaking {
            if self.stopped_here(n) {
                return Ok(());
            }
            self.post(n, to, &message, meant[to.0 as usize - 1])?;
        }
        self.nodes[n].awaiting.push_back((ready, meant));
        self.next_write(n)
    }

    /// Releases what need not wait, and starts the next write unless one is under way.
    fn next_write(&mut self, n: usize) -> Checked {
        while let Some((ready, meant)) = self.nodes[n].awaiting.pop_front_if(|(ready, _)| ready.batch == 0) {
            self.release(n, ready, &meant)?;
        }
        if self.nodes[n].writing || self.nodes[n].awaiting.is_empty() || self.stopped_here(n) {
            return Ok(());
        }
        self.disks[n].write();
        if self.stopped_here(n) || self.disk_fails(n, "write") {
            return Ok(());
        }
        self.nodes[n].writing = true;
        let mut time = between(&mut self.random, self.profile.sync);
        if self.nodes[n].slow_disk_until > self.now {
            time += between(&mut self.random, (20 * MS, 200 * MS));
        }
        let life = self.nodes[n].life;
        if time == 0 {
            return self.synced(n, life);
        }
        self.push(time, Happening::Synced { node: n, life });
        Ok(())
    }

    /// The sync has ended, well or not.
    pub fn synced(&mut self, n: usize, life: u64) -> Checked {
        if self.nodes[n].life != life {
            return Ok(());
        }
        if self.nodes[n].paused_until > self.now {
            let after = self.nodes[n].paused_until - self.now;
            self.push(after, Happening::Synced { node: n, life });
            return Ok(());
        }
        let fails = chance(&mut self.random, self.profile.disk_failure);
        let unsynced_vote = self.mutant == Some(Mutant::DoubleVoteRestart) && self.disks[n].only_votes_pending();
        if fails && self.mutant != Some(Mutant::FsyncErrorEndsNode) {
            self.crash(n, "its disk fails to sync");
            return Ok(());
        }
        if !fails && !unsynced_vote {
            self.disks[n].sync()?;
            if self.disks[n].is_installing() {
                if self.stopped_here(n) {
                    return Ok(());
                }
                self.disks[n].rename_installed();
                if self.stopped_here(n) {
                    return Ok(());
                }
                self.disks[n].sync_directory(&mut self.random)?;
            }
        }
        self.nodes[n].writing = false;
        let Some((ready, meant)) = self.nodes[n].awaiting.pop_front() else { return Ok(()) };
        let batch = ready.batch;
        if self.stopped_here(n) {
            return Ok(());
        }
        self.release(n, ready, &meant)?;
        if self.nodes[n].life == life {
            self.turn(n, vec![Input::Persisted { batch }])?;
            self.attend(n)?;
        }
        Ok(())
    }

    /// Everything that had to wait for the disk.
    fn release(&mut self, n: usize, mut ready: Ready, meant: &[Option<DiskId>]) -> Checked {
        for (to, message) in std::mem::take(&mut ready.messages) {
            self.post(n, to, &message, meant[to.0 as usize - 1])?;
            if self.stopped_here(n) {
                return Ok(());
            }
        }
        self.chunks(n, &mut ready);
        self.apply(n, &ready)?;
        for (token, refusal) in std::mem::take(&mut ready.refusals) {
            self.answer(token, Answer::Refused(refusal));
        }
        if self.stopped_here(n) {
            return Ok(());
        }
        for event in std::mem::take(&mut ready.events) {
            let judged = self.judge.told(&event);
            self.chronicle.tell(event);
            judged?;
        }
        self.set_timers(n, &ready);
        Ok(())
    }

    fn apply(&mut self, n: usize, ready: &Ready) -> Checked {
        let node = &mut self.nodes[n];
        let Some(raft) = &node.raft else { return Ok(()) };
        if let Some(meta) = ready.installed {
            let Some(store) = node.snapshots.installed(meta) else {
                return fail("installs", format!("{} has not stored {meta:?}", node.id));
            };
            (node.store, node.applied) = (store, meta.last.index);
        }
        self.judge.released(node.id, raft.role(), node.applied, ready, &self.disks)?;
        let mut answers = Vec::new();
        for committed in &ready.committed {
            let result = node.store.apply(&committed.entry);
            self.judge.applied(node.id, &committed.entry, &result)?;
            node.applied = committed.entry.id.index;
            answers.extend(committed.token.map(|token| (token, Answer::Applied(result))));
        }
        for token in &ready.reads {
            match self.clients.reading(*token) {
                Some(reading) => answers.push((*token, Answer::Read(reading.answer(&node.store)))),
                None => return fail("one answer", format!("{} serves the read {token} again", node.id)),
            }
        }
        for (token, answer) in answers {
            self.answer(token, answer);
        }
        Ok(())
    }

    fn set_timers(&mut self, n: usize, ready: &Ready) {
        let node = &mut self.nodes[n];
        if let Some(timer) = ready.election_timer {
            // A timer never fires early.
            let range = (timer.min.as_micros() as Micros + 1, timer.max.as_micros() as Micros + 1);
            node.deadline = Some(self.now + node.clock.lasts(between(&mut self.random, range)));
        }
        match ready.heartbeat_timer {
            Some(HeartbeatTimer::Start) => node.tick = Some(self.now + node.clock.lasts(HEARTBEAT_INTERVAL)),
            Some(HeartbeatTimer::Stop) => node.tick = None,
            None => {}
        }
        self.schedule_wake(n);
    }

    /// Between any two effects a process may be killed.
    pub fn stopped_here(&mut self, n: usize) -> bool {
        let stopped = chance(&mut self.random, self.profile.boundary_crash);
        if stopped {
            self.crash(n, "killed between two effects");
        }
        stopped
    }

    pub fn disk_fails(&mut self, n: usize, what: &str) -> bool {
        let fails = chance(&mut self.random, self.profile.disk_failure);
        if fails {
            self.crash(n, &format!("its disk fails to {what}"));
        }
        fails
    }

    /// The process ends, and with it all that was not on disk; some of that may be there still.
    pub fn crash(&mut self, n: usize, why: &str) {
        let node = &mut self.nodes[n];
        node.raft = None;
        node.life += 1;
        node.inbox.clear();
        node.awaiting.clear();
        node.writing = false;
        node.snapshots = Snapshots::default();
        (node.deadline, node.tick, node.wake_at) = (None, None, Micros::MAX);
        node.paused_until = 0;
        let text = format!("{} crashes: {why}", node.id);
        self.note(text);
        self.disks[n].crash(&mut self.random);
        let length = self.profile.fault_length;
        let after = between(&mut self.random, (MS, length * 2));
        self.push(after, Happening::Restarts { node: n });
        self.dial_all();
    }

    /// A new process on what the old one left on disk.
    pub fn restarts(&mut self, n: usize) -> Checked {
        if self.nodes[n].is_up() || self.nodes[n].held_down {
            return Ok(());
        }
        let new_disk = self.disks[n].is_new;
        let (persistent, snapshot) = self.disks[n].recover()?;
        let node = &mut self.nodes[n];
        let config = Config {
            id: node.id,
            size: self.profile.size,
            disk: self.disks[n].id,
            new_disk,
            pre_vote: self.profile.pre_vote,
            election_timeout: (Duration::from_micros(ELECTION_TIMEOUT.0), Duration::from_micros(ELECTION_TIMEOUT.1)),
            heartbeat_interval: Duration::from_micros(HEARTBEAT_INTERVAL),
            settings: told_settings(),
            mutant: self.mutant,
        };
        let (mut raft, ready) =
            Raft::new(config, persistent, snapshot.as_ref().map(|(meta, _)| *meta), node.clock.reads(self.now));
        raft.narrow(self.profile.window);
        node.raft = Some(raft);
        node.store = snapshot.map(|(_, store)| store).unwrap_or_default();
        node.applied = node.store.last_applied();
        node.connections.fill(None);
        let nobody = vec![None; self.nodes.len()];
        self.release(n, ready, &nobody)?;
        self.dial_all();
        Ok(())
    }

    /// Gives the node an empty disk.
    pub fn wipe(&mut self, n: usize) {
        self.crash(n, "its disk is wiped");
        let id = DiskId(self.random.next_u64());
        let fresh = SimDisk::new(self.nodes[n].id, self.profile.size, id);
        let lost = std::mem::replace(&mut self.disks[n], fresh);
        self.judge.wipe(self.nodes[n].id, lost.id, lost.durable);
    }
}

/// The timers, in the words of a node's START line.
fn told_settings() -> String {
    let ((low, high), beat) = (ELECTION_TIMEOUT, HEARTBEAT_INTERVAL);
    format!("election timeout {}-{} ms, heartbeat every {} ms", low / MS, high / MS, beat / MS)
}
