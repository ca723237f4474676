//! The engine: hears the nodes, does things to them, and checks what is claimed of them.
//!
//! A claim waits for lines of the nodes' logs, or for what the nodes say of themselves, and is broken when that has
//! not come within so many election timeouts ([`Timers`]). Nothing sleeps and hopes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::{Duration, Instant};

use raft_lab::cluster::Cluster;
use raft_lab::raft::event::{Event, Fact};
use raft_lab::raft::types::{NodeId, Role, Term};
use raft_lab::wire::client::{Answer, NodeStatus, Request};
use raft_lab::wire::fault::Fault;

use super::cast::{Cast, Heard};
use super::telling::{Teller, is_heartbeat, shown};
use super::timers::Timers;
use crate::connection::Connection;
use crate::lines::Line;
use crate::output::Failure;
use crate::status;

/// How often the nodes are asked while a claim waits.
const LOOK: Duration = Duration::from_millis(15);
/// How long one question to a node may take.
pub const ASK: Duration = Duration::from_secs(2);
/// The most lines that a scenario may hear.
const MAX_LINES: usize = 500_000;
/// How long a killed process may take to be gone.
const END: Duration = Duration::from_secs(20);
/// A node of a given cluster that dies stays away for so many upper bounds of the election timeout.
const AWAY: u32 = 6;

/// Why a scenario ends early.
pub enum Stop {
    /// A claim does not hold.
    Broken { claim: String, line: String },
    /// It could not be played.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

pub type Played<T = ()> = Result<T, Stop>;

/// A place in what was heard: lines are counted from 0.
pub type Mark = usize;

/// Who leads, as the nodes themselves see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    pub by: NodeId,
    pub term: Term,
}

pub struct Stage {
    cast: Cast,
    pub teller: Teller,
    pub timers: Timers,
    pub pre_vote: bool,
    /// All that was heard, in the order in which it came.
    heard: Vec<(NodeId, Line)>,
    down: BTreeSet<NodeId>,
    /// Watched nodes that are not heard at present.
    deaf: BTreeSet<NodeId>,
}

impl Stage {
    pub fn new(cast: Cast, teller: Teller, timers: Timers, pre_vote: bool) -> Stage {
        Stage { cast, teller, timers, pre_vote, heard: Vec::new(), down: BTreeSet::new(), deaf: BTreeSet::new() }
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        self.cast.nodes()
    }

    /// All nodes but these.
    pub fn others(&self, but: &[NodeId]) -> Vec<NodeId> {
        self.nodes().into_iter().filter(|node| !but.contains(node)).collect()
    }

    pub fn is_own(&self) -> bool {
        self.cast.is_own()
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cast.cluster
    }

    pub fn address(&self, node: NodeId) -> String {
        self.cluster().address(node).unwrap_or_default().to_string()
    }

    /// What comes from here on.
    pub fn now(&mut self) -> Played<Mark> {
        self.hear(Duration::ZERO)?;
        Ok(self.heard.len())
    }

    /// Takes all lines that have come, and waits for the first as long as `limit`.
    fn hear(&mut self, limit: Duration) -> Played {
        let mut limit = limit;
        while let Some(heard) = self.cast.hear(limit) {
            limit = Duration::ZERO;
            match heard {
                Heard::Line(node, line) => self.heard.push((node, line)),
                // Torn as if the node had been killed: so `verify` knows that lines may be missing.
                Heard::Found(node) => _ = self.deaf.remove(&node),
                Heard::Lost(node) => {
                    self.deaf.insert(node);
                    self.heard.push((node, Line::read(&format!("00:00:00.000 {node} was not heard from here on"))));
                }
                Heard::Ended(node, process) => {
                    if let Some(how) = self.cast.ended(node, process) {
                        let last = self.heard.iter().rev().find(|(of, _)| *of == node);
                        let last = last.map(|(_, line)| shown(line)).unwrap_or_default();
                        return Err(Failure::NotDone(format!("{node} {how}; its last line: {last}")).into());
                    }
                }
            }
            if self.heard.len() > MAX_LINES {
                return Err(Failure::NotDone(format!("the nodes told more than {MAX_LINES} lines")).into());
            }
        }
        Ok(())
    }

    /// The events of a node from a mark on, with their places.
    pub fn events(&self, node: NodeId, since: Mark) -> impl DoubleEndedIterator<Item = (usize, &Event)> {
        let lines = self.heard.iter().enumerate().skip(since);
        lines.filter(move |(_, (of, _))| *of == node).filter_map(|(at, (_, line))| Some((at, line.event()?)))
    }

    /// The first event of a node from a mark on of which this holds.
    pub fn find(&self, node: NodeId, since: Mark, is: impl Fn(&Event) -> bool) -> Option<usize> {
        self.events(node, since).find(|(_, event)| is(event)).map(|(at, _)| at)
    }

    /// The same for several nodes: one place for each of them, or none.
    pub fn find_each(&self, nodes: &[NodeId], since: Mark, is: impl Fn(&Event) -> bool) -> Option<Vec<usize>> {
        nodes.iter().map(|node| self.find(*node, since, &is)).collect()
    }

    /// The first event of any node.
    pub fn find_any(&self, since: Mark, is: impl Fn(&Event) -> bool) -> Option<usize> {
        let lines = self.heard.iter().enumerate().skip(since);
        lines.filter_map(|(at, (_, line))| Some((at, line.event()?))).find(|(_, event)| is(event)).map(|(at, _)| at)
    }

    pub fn event(&self, at: usize) -> Option<&Event> {
        self.heard.get(at).and_then(|(_, line)| line.event())
    }

    /// Tries again and again, with all that has been heard; gives up when the time for a claim is over.
    pub fn wait<T>(&mut self, mut attempt: impl FnMut(&mut Stage) -> Played<Option<T>>) -> Played<Option<T>> {
        let deadline = Instant::now() + self.timers.patience;
        loop {
            // What comes in time counts, however late this thread is.
            let late = Instant::now() > deadline;
            self.hear(LOOK)?;
            match attempt(self)? {
                None if late => return Ok(None),
                None => {}
                found => return Ok(found),
            }
        }
    }

    /// Claims that something comes true, shows the lines that prove it, and hands on what was found.
    pub fn claim<T>(
        &mut self,
        claim: impl Display,
        mut holds: impl FnMut(&mut Stage) -> Option<(T, Vec<usize>)>,
    ) -> Played<T> {
        let claim = claim.to_string();
        match self.wait(|stage| Ok(holds(stage)))? {
            Some((value, lines)) => {
                self.teller.holds(&claim)?;
                self.show(lines)?;
                Ok(value)
            }
            None => {
                let waited = self.timers.patience.as_secs_f64();
                let said: Vec<String> = self.nodes().into_iter().map(|node| self.said(node)).collect();
                self.teller.say(&format!("Waited {waited:.0} s in vain for: {claim}. {}.", said.join("; ")))?;
                let last = self.heard.iter().rev().find(|(_, line)| !is_heartbeat(line));
                let line = last.map_or("no line was heard".to_string(), |(_, line)| shown(line));
                Err(Stop::Broken { claim, line })
            }
        }
    }

    /// The same where lines are all that is to be found.
    pub fn claim_lines(
        &mut self,
        claim: impl Display,
        mut lines: impl FnMut(&mut Stage) -> Option<Vec<usize>>,
    ) -> Played<Vec<usize>> {
        self.claim(claim, |stage| lines(stage).map(|found| (found.clone(), found)))
    }

    /// The same of a node that has just come back. A given one may do it before it is heard again: then what it is
    /// counts.
    pub fn claim_lines_or(
        &mut self,
        claim: impl Display,
        mut lines: impl FnMut(&Stage) -> Option<Vec<usize>>,
        mut is: impl FnMut(&Stage) -> bool,
    ) -> Played {
        self.claim(claim, |stage| match lines(stage) {
            Some(lines) => Some(((), lines)),
            None => (!stage.is_own() && is(stage)).then(|| ((), Vec::new())),
        })
    }

    /// Claims that nothing like this was told from a mark on.
    pub fn claim_never(&mut self, claim: impl Display, since: Mark, is: impl Fn(&Event) -> bool) -> Played {
        self.hear(Duration::ZERO)?;
        match self.find_any(since, is) {
            None => Ok(self.teller.holds(&claim.to_string())?),
            Some(at) => Err(Stop::Broken { claim: claim.to_string(), line: shown(&self.heard[at].1) }),
        }
    }

    /// Claims what is known already.
    pub fn claim_that(&mut self, claim: impl Display, holds: bool, because: impl Display) -> Played {
        match holds {
            true => Ok(self.teller.holds(&claim.to_string())?),
            false => Err(Stop::Broken { claim: claim.to_string(), line: because.to_string() }),
        }
    }

    pub fn show(&self, lines: Vec<usize>) -> Played {
        let mut lines = lines;
        lines.sort_by_key(|at| (self.event(*at).map(|event| event.at), *at));
        lines.dedup();
        Ok(self.teller.lines(lines.iter().filter_map(|at| self.heard.get(*at)).map(|(_, line)| line))?)
    }

    /// How a node is; none if it does not answer.
    pub fn status(&self, node: NodeId) -> Option<NodeStatus> {
        if self.down.contains(&node) && self.is_own() {
            return None;
        }
        status::ask(&self.address(node), ASK).ok()
    }

    /// How these nodes are; none if one of them does not answer.
    pub fn statuses(&self, nodes: &[NodeId]) -> Option<Vec<NodeStatus>> {
        nodes.iter().map(|node| self.status(*node)).collect()
    }

    fn said(&self, node: NodeId) -> String {
        match self.status(node) {
            Some(status) => {
                let (role, term, last, commit) = (status.role, status.term, status.last, status.commit);
                format!("{node} says {role} in t{term}, log through {last}, commit {commit}")
            }
            None => format!("{node} does not answer"),
        }
    }

    /// One leader that all of these follow, itself among them.
    pub fn led(&self, nodes: &[NodeId]) -> Option<Led> {
        let statuses = self.statuses(nodes)?;
        let leader = statuses.iter().find(|status| status.role == Role::Leader)?;
        let follows = |status: &NodeStatus| status.leader == Some(leader.node) && status.term == leader.term;
        statuses.iter().all(follows).then_some(Led { by: leader.node, term: leader.term })
    }

    /// One question to one node.
    pub fn ask(&self, node: NodeId, request: &Request, limit: Duration) -> Result<Answer, String> {
        Connection::open(&self.address(node), ASK)?.ask(request, limit)
    }

    /// Orders a fault, and tells how a reader would.
    pub fn order(&mut self, node: NodeId, fault: &Fault) -> Played {
        self.teller.does(&format!("client fault {} {fault}", node.0))?;
        self.order_silently(node, fault)
    }

    pub fn order_silently(&self, node: NodeId, fault: &Fault) -> Played {
        match self.ask(node, &Request::Fault(fault.clone()), ASK) {
            Ok(Answer::Faulted) => Ok(()),
            Ok(Answer::Error { text, .. }) => Err(Failure::NotDone(format!("{node}: {text}")).into()),
            Ok(_) => Err(Failure::NotDone(format!("{node} answered something else than was asked")).into()),
            Err(why) => Err(Failure::NotDone(format!("{node} cannot be told to {fault}: {why}")).into()),
        }
    }

    /// A node dies as by `kill -9`. One of a given cluster comes back by itself.
    pub fn kill(&mut self, node: NodeId) -> Played {
        if !self.is_own() {
            let back_after = Some(self.timers.high * AWAY);
            self.order(node, &Fault::Crash { back_after })?;
            self.down.insert(node);
            let gone = self.wait(|stage| Ok(stage.deaf.contains(&node).then_some(())))?;
            return gone.ok_or_else(|| Failure::NotDone(format!("{node} was told to crash and does not end")).into());
        }
        self.teller.does(&format!("kill -9 {node}"))?;
        self.kill_silently(node)
    }

    fn kill_silently(&mut self, node: NodeId) -> Played {
        self.down.insert(node);
        let Some(_) = self.cast.kill(node) else { return Ok(()) };
        let deadline = Instant::now() + END;
        // Its last lines are heard before its end.
        while self.cast.has(node) {
            if Instant::now() > deadline {
                return Err(Failure::NotDone(format!("{node} was killed and does not end")).into());
            }
            self.hear(LOOK)?;
        }
        Ok(())
    }

    /// A node that is down starts, with the disk that it had.
    pub fn start(&mut self, nodes: &[NodeId]) -> Played {
        let (own, since) = (self.is_own(), self.now()?);
        for node in nodes {
            match own {
                true => self.teller.does(&format!("start {node} again"))?,
                false => self.teller.say(&format!("{node} starts again by itself when its time is up."))?,
            }
            self.cast.start(*node)?;
            self.down.remove(node);
        }
        let up = |stage: &mut Stage| {
            stage.statuses(nodes)?;
            let lines = stage.find_each(nodes, since, |event| matches!(event.fact, Fact::Start { .. }));
            // A given node has said it before it was heard again.
            if own { lines } else { nodes.iter().all(|node| !stage.deaf.contains(node)).then(Vec::new) }
        };
        match self.wait(|stage| Ok(up(stage)))? {
            Some(lines) => self.show(lines),
            None => Err(Failure::NotDone(format!("{nodes:?} do not answer after their start")).into()),
        }
    }

    /// All own nodes start for the first time.
    pub fn open(&mut self) -> Played {
        if !self.is_own() {
            // Without leave nothing can be played; and what an earlier play left behind is over.
            return self.nodes().into_iter().try_for_each(|node| self.order_silently(node, &Fault::Heal));
        }
        let nodes = self.nodes();
        nodes.iter().try_for_each(|node| self.cast.start(*node))?;
        match self.wait(|stage| Ok(stage.statuses(&nodes)))? {
            Some(_) => Ok(()),
            None => Err(Failure::NotDone("the nodes do not answer after their start".to_string()).into()),
        }
    }

    /// Ends the play: own nodes end, given ones are healed. All lines of each node.
    pub fn close(mut self) -> (Teller, BTreeMap<NodeId, String>) {
        for node in self.nodes() {
            // After a broken claim a node may be in any state.
            let _ = if self.is_own() { self.kill_silently(node) } else { self.order_silently(node, &Fault::Heal) };
        }
        let _ = self.hear(Duration::ZERO);
        (
            self.teller,
            self.heard.into_iter().fold(BTreeMap::new(), |mut logs: BTreeMap<_, String>, (node, line)| {
                let log = logs.entry(node).or_default();
                log.push_str(line.text());
                log.push('\n');
                logs
            }),
        )
    }
}
