//! The links between the nodes: which are cut, and when a message arrives, if it does.

use crate::raft::types::NodeId;
use crate::text::random::Random;

use super::profile::{Micros, Profile, between, chance, pick};

/// Messages under way from one node to another; a sender's queue drops what is too much.
const MAX_IN_FLIGHT: usize = 128;

/// The links, each direction by itself.
#[derive(Debug)]
pub struct Network {
    size: usize,
    cut: Vec<bool>,
    pub in_flight: Vec<usize>,
    /// When the last message of each link arrives.
    last_arrival: Vec<Micros>,
    /// Until when most messages are lost.
    pub storm_until: Micros,
}

impl Network {
    pub fn new(size: u64) -> Network {
        let size = size as usize;
        Network {
            size,
            cut: vec![false; size * size],
            in_flight: vec![0; size * size],
            last_arrival: vec![0; size * size],
            storm_until: 0,
        }
    }

    pub fn link(&self, from: NodeId, to: NodeId) -> usize {
        (from.0 as usize - 1) * self.size + to.0 as usize - 1
    }

    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut[self.link(from, to)]
    }

    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        let link = self.link(from, to);
        self.cut[link] = true;
    }

    /// Cuts both directions between any two nodes that may not hear each other.
    pub fn keep_only(&mut self, may_hear: impl Fn(usize, usize) -> bool) {
        for a in 0..self.size {
            for b in 0..self.size {
                if a != b && !may_hear(a, b) && !may_hear(b, a) {
                    self.cut[a * self.size + b] = true;
                }
            }
        }
    }

    /// The links that are cut, in words.
    pub fn cuts(&self) -> String {
        let all = (0..self.size).flat_map(|a| (0..self.size).map(move |b| (a, b)));
        let cut = all.filter(|(a, b)| self.cut[a * self.size + b]);
        let words: Vec<String> = cut.map(|(a, b)| format!("{}>{}", a + 1, b + 1)).collect();
        words.join(" ")
    }

    pub fn heal(&mut self) {
        self.cut.fill(false);
        self.storm_until = 0;
    }

    /// After how long each copy of a message arrives: none, one or two.
    pub fn arrivals(
        &mut self,
        (from, to): (NodeId, NodeId),
        now: Micros,
        profile: &Profile,
        random: &mut Random,
    ) -> [Option<Micros>; 2] {
        let link = self.link(from, to);
        let stormy = now < self.storm_until && random.below(4) > 0;
        if self.cut[link] || stormy || chance(random, profile.loss) || self.in_flight[link] >= MAX_IN_FLIGHT {
            return [None; 2];
        }
        let copies = if chance(random, profile.duplicate) { 2 } else { 1 };
        self.in_flight[link] += copies;
        let mut first = delay(profile, random);
        if profile.in_order {
            first = first.max(self.last_arrival[link].saturating_sub(now));
            self.last_arrival[link] = now + first;
        }
        [Some(first), (copies == 2).then(|| delay(profile, random))]
    }
}

/// How long one message takes.
pub fn delay(profile: &Profile, random: &mut Random) -> Micros {
    match chance(random, profile.straggler) {
        true => between(random, (profile.delay.0, profile.straggle.max(profile.delay.1))),
        false => between(random, profile.delay),
    }
}

/// Two groups at random, neither empty: for each node, whether it is in the first.
pub fn groups(size: usize, random: &mut Random) -> Vec<bool> {
    let mut first: Vec<bool> = (0..size).map(|_| random.below(2) == 0).collect();
    let turned = random.below(size as u64) as usize;
    if first.iter().all(|in_first| *in_first == first[0]) {
        first[turned] = !first[turned];
    }
    // Now and then the classic: the smallest minority that holds the leader's seat.
    if size >= 3 && pick(random, &[false, false, true]) {
        first = (0..size).map(|node| node == turned || node == (turned + 1) % size && size > 3).collect();
    }
    first
}
