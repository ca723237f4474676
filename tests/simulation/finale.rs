//! The end of a run: the faults stop, and now the cluster must make progress.
//!
//! First a majority alone comes back, then everybody. Each time a leader must be elected, everything
//! that clients still wait for must be answered, one more append must reach every node, and one more read
//! must be served, all within a bounded time. At last, with pre-vote and check-quorum, some links are cut again for good:
//! as long as a node has a majority around it that could vote for it, the cluster must go on (Cloudflare's outage of 2020
//! was a cluster that did not).

use super::judge::{Checked, fail};
use super::profile::{ELECTION_TIMEOUT, Fault, Micros, pick};
use super::world::{Happening, World};

/// How long a healthy cluster may take: many elections, since votes may split.
const PATIENCE: Micros = 60 * ELECTION_TIMEOUT.1;

impl World {
    pub fn finish(&mut self) -> Checked {
        self.profile.heal();
        self.clients.stopped = true;
        let counted = self.counted();
        // Any majority will do, in any order.
        let mut majority = counted.clone();
        for at in (1..majority.len()).rev() {
            majority.swap(at, self.random.below(at as u64 + 1) as usize);
        }
        majority.truncate(self.judge.majority());
        self.note(format!("the faults stop; up are {:?}", majority.iter().map(|n| n + 1).collect::<Vec<_>>()));
        // A majority alone can go on if its members know of each other that they count.
        if self.agree(&majority) {
            self.brings_progress(&majority)?;
        }
        self.note("all nodes are up".to_owned());
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.brings_progress(&all)?;
        for node in &self.nodes {
            self.judge.is_even(node.id, &node.store)?;
        }
        if self.profile.pre_vote {
            self.goes_on_in_part(&all)?;
        }
        self.clients.reads.are_linearizable()
    }

    /// The nodes whose disks count.
    fn counted(&self) -> Vec<usize> {
        let others = self.judge.ledger.not_counted(&self.disks);
        (0..self.nodes.len()).filter(|n| !others.contains(n)).collect()
    }

    /// Brings these nodes up and keeps the others down. If these are all, one whose disk was lost must be
    /// counted again, and come as far as the others.
    fn brings_progress(&mut self, members: &[usize]) -> Checked {
        let all = members.len() == self.nodes.len();
        for n in 0..self.nodes.len() {
            let node = &mut self.nodes[n];
            node.held_down = !all && !members.contains(&n);
            node.paused_until = 0;
            node.slow_disk_until = 0;
            if let Some(raft) = &mut node.raft {
                raft.narrow(self.profile.window);
            }
            let life = node.life;
            if node.held_down && node.is_up() {
                self.crash(n, "kept down");
            } else if node.is_up() {
                self.push(0, Happening::Wakes { node: n, life });
            } else {
                self.push(0, Happening::Restarts { node: n });
            }
        }
        self.network.heal();
        self.dial_all();
        self.clients.last_requests(&mut self.random);
        let end = self.now + PATIENCE;
        while !self.is_settled(members) {
            if self.now > end {
                let why = format!("after {} s without faults: {}", PATIENCE / 1_000_000, self.state(members));
                return fail("progress", why);
            }
            self.step()?;
        }
        Ok(())
    }

    /// Everybody is even. Now some links go for good; does the rest go on?
    fn goes_on_in_part(&mut self, counted: &[usize]) -> Checked {
        let faults =
            [Fault::CutOneWay, Fault::CutTwoWay, Fault::Ring, Fault::Bridge, Fault::IsolateLeader, Fault::Split];
        for _ in 0..=self.random.below(4) {
            let fault = pick(&mut self.random, &faults);
            self.cut_links(fault);
        }
        self.note(format!("these links are cut for good: {}", self.network.cuts()));
        self.dial_all();
        self.clients.last_requests(&mut self.random);
        let end = self.now + PATIENCE;
        let due = self.progress_is_due(counted);
        while due && !self.clients.are_answered() {
            if self.now > end && !self.progress_is_due(counted) {
                break;
            }
            if self.now > end {
                return fail(
                    "progress in part",
                    format!("links cut: {}; {}", self.network.cuts(), self.state(counted)),
                );
            }
            self.step()?;
        }
        Ok(())
    }

    /// Does a node hear, and is heard by, a majority that could vote for it? Where the only node with
    /// a majority around it lacks an entry that one of them has, Raft stands still (Omni-Paxos calls
    /// that the quorum-loss scenario), and a leader of late may have left such an entry.
    fn progress_is_due(&self, counted: &[usize]) -> bool {
        let last = |n: usize| self.nodes[n].raft.as_ref().map(|raft| raft.status().last);
        let could_vote_for = |voter: usize, n: usize| {
            let (a, b) = (self.nodes[voter].id, self.nodes[n].id);
            !self.network.is_cut(a, b) && !self.network.is_cut(b, a) && last(voter) <= last(n)
        };
        let votes = |n: &usize| counted.iter().filter(|voter| could_vote_for(**voter, *n)).count();
        counted.iter().any(|n| votes(n) >= self.judge.majority())
    }

    /// Does everybody have everything, and know it?
    fn is_settled(&self, members: &[usize]) -> bool {
        let committed = self.judge.committed.len() as u64;
        let even = |n: &usize| self.nodes[*n].is_up() && self.nodes[*n].applied == committed;
        let counted = members.len() < self.nodes.len() || self.judge.ledger.not_counted(&self.disks).is_empty();
        counted && self.clients.are_answered() && members.iter().all(even) && self.leader().is_some()
    }

    fn state(&self, members: &[usize]) -> String {
        let mut words = vec![format!("{} are committed", self.judge.committed.len())];
        words.extend(members.iter().map(|n| match &self.nodes[*n].raft {
            Some(raft) => format!("{:?}", raft.status()),
            None => format!("{} is down", self.nodes[*n].id),
        }));
        if !self.clients.are_answered() {
            words.push("a client waits".to_owned());
        }
        words.join("; ")
    }
}
