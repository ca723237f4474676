//! What the scheduler does to a cluster.

use super::clients::Ask;
use super::judge::Checked;
use super::network::{delay, groups};
use super::profile::{Fault, MS, Micros, between, pick};
use super::world::{Happening, World};
use crate::raft::types::{NodeId, Role};

impl World {
    /// One fault, if the seed has any, and the time of the next.
    pub fn fault(&mut self) -> Checked {
        if self.profile.faults.is_empty() {
            return Ok(());
        }
        let interval = self.profile.fault_interval;
        let next = between(&mut self.random, (interval / 4, interval * 2));
        self.push(next, Happening::Fault);
        let at = self.random.below(self.profile.faults.len() as u64) as usize;
        match self.profile.faults[at] {
            Fault::Crash => self.crash_some(),
            Fault::CrashLeader => self.crash_leader(),
            Fault::CrashAll => (0..self.nodes.len()).for_each(|node| self.crash_if_up(node)),
            Fault::Pause => self.pause(None),
            Fault::PauseLeader => self.pause(self.leader()),
            Fault::SlowDisk => self.slow_disk(),
            Fault::Impatience => {
                let node = self.any_node();
                return self.impatience(node);
            }
            Fault::SplitVote => return (0..self.nodes.len()).try_for_each(|node| self.impatience(node)),
            Fault::Wipe => self.wipe_some(),
            cut => self.cut(cut),
        }
        Ok(())
    }

    /// The node that leads the highest term, as far as nodes know.
    pub fn leader(&self) -> Option<usize> {
        let leaders = self.nodes.iter().enumerate().filter_map(|(n, node)| {
            let status = node.raft.as_ref()?.status();
            (status.role == Role::Leader).then_some((status.current_term, n))
        });
        leaders.max().map(|(_, n)| n)
    }

    fn any_node(&mut self) -> usize {
        self.random.below(self.nodes.len() as u64) as usize
    }

    fn length(&mut self) -> Micros {
        let length = self.profile.fault_length;
        between(&mut self.random, (length / 4, length * 2))
    }

    fn crash_if_up(&mut self, node: usize) {
        if self.nodes[node].is_up() {
            self.crash(node, "killed");
        }
    }

    fn crash_some(&mut self) {
        let node = self.any_node();
        self.crash_if_up(node);
    }

    fn crash_leader(&mut self) {
        if let Some(node) = self.leader() {
            self.crash_if_up(node);
        }
    }

    /// The node does nothing for a while; what arrives waits, up to a bound.
    fn pause(&mut self, node: Option<usize>) {
        let node = node.unwrap_or_else(|| self.any_node());
        if self.nodes[node].is_up() {
            let length = self.length();
            self.nodes[node].paused_until = self.now + length;
            self.note(format!("{} pauses for {} ms", self.nodes[node].id, length / MS));
            let life = self.nodes[node].life;
            self.push(length, Happening::Wakes { node, life });
        }
    }

    fn slow_disk(&mut self) {
        let node = self.any_node();
        self.nodes[node].slow_disk_until = self.now + self.length();
        self.note(format!("the disk of {} is slow", self.nodes[node].id));
    }

    fn impatience(&mut self, node: usize) -> Checked {
        self.note(format!("the election timer of {} fires", self.nodes[node].id));
        self.nodes[node].deadline = self.nodes[node].deadline.map(|at| at.min(self.now));
        self.attend(node)
    }

    /// A node loses its disk; the next one only when this one is counted again and everybody knows it: a
    /// node that was not told yet does not listen to it, and it votes for nobody before it knows itself.
    /// And only after each other node has met it, durably: before that nobody could know that it is not
    /// the same.
    fn wipe_some(&mut self) {
        let node = self.any_node();
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        let met = all.iter().filter(|other| **other != node).all(|other| self.remembers(*other, node) == Some(true));
        if all.len() > 2 && met && self.agree(&all) && self.judge.ledger.not_counted(&self.disks).is_empty() {
            self.wipe(node);
        }
    }

    /// Does the one node remember the other one, or itself, with its present disk?
    fn remembers(&self, one: usize, other: usize) -> Option<bool> {
        let known = self.disks[one].durable.disks.get(&self.nodes[other].id);
        known.map(|known| known.id == self.disks[other].id)
    }

    /// Does nobody of these remember another disk of one of them? Who was readmitted must know it itself: one
    /// that was not told yet may still hear that it is not counted.
    pub fn agree(&self, members: &[usize]) -> bool {
        let knows = |n: usize| self.judge.ledger.is_first(self.disks[n].id) || self.remembers(n, n) == Some(true);
        let remembers = |one: usize| members.iter().all(|other| self.remembers(one, *other) != Some(false));
        members.iter().all(|n| knows(*n) && remembers(*n))
    }

    /// Somebody looks after a lost disk: asks the leader to count it, or whom he takes for the leader.
    pub fn operator_wakes(&mut self) -> Checked {
        let length = if self.clients.stopped { 20 * MS } else { self.length() };
        self.push(length, Happening::OperatorWakes);
        for lost in self.judge.ledger.not_counted(&self.disks) {
            let anybody = self.any_node();
            let node = self.leader().filter(|_| anybody > 0 || self.clients.stopped).unwrap_or(anybody);
            let (lost, token) = (self.nodes[lost].id, self.clients.readmits());
            self.note(format!("{} is asked to readmit {lost} as request {token}", self.nodes[node].id));
            let after = delay(&self.profile, &mut self.random);
            self.push(after, Happening::Request { node, token, ask: Ask::Readmit(lost) });
        }
        Ok(())
    }

    /// Some links are cut, and heal together after a while.
    fn cut(&mut self, fault: Fault) {
        let length = self.length();
        self.cut_links(fault);
        if fault == Fault::Storm {
            self.network.storm_until = self.now + length;
        }
        self.note(format!("{fault:?} for {} ms: {}", length / MS, self.network.cuts()));
        self.push(length, Happening::Heals);
        // Not every network tells its users that it is cut.
        if pick(&mut self.random, &[true, false]) {
            self.dial_all();
        }
    }

    pub fn cut_links(&mut self, fault: Fault) {
        let size = self.nodes.len();
        if size == 1 {
            return;
        }
        let a = self.any_node();
        let b = (a + 1 + self.random.below(size as u64 - 1) as usize) % size;
        let lonely = if fault == Fault::IsolateLeader { self.leader().unwrap_or(a) } else { a };
        let (near, far) = (NodeId(a as u64 + 1), NodeId(b as u64 + 1));
        let groups = groups(size, &mut self.random);
        match fault {
            Fault::CutOneWay => self.network.cut(near, far),
            Fault::CutTwoWay => {
                self.network.cut(near, far);
                self.network.cut(far, near);
            }
            Fault::Isolate | Fault::IsolateLeader => self.network.keep_only(|x, y| x != lonely && y != lonely),
            Fault::Split => self.network.keep_only(|x, y| groups[x] == groups[y]),
            Fault::Shatter => self.network.keep_only(|_, _| false),
            Fault::Ring => self.network.keep_only(|x, y| (x + 1) % size == y),
            Fault::Bridge => self.network.keep_only(|x, y| x == a || groups[x] == groups[y]),
            _ => {}
        }
    }
}
