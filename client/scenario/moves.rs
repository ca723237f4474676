//! What scenarios do again and again: append strings, cut and heal, compare logs.

use std::fmt::Display;

use raft_lab::raft::event::{Event, Fact, Source, Span};
use raft_lab::raft::types::{EntryId, Index, KeyWrite, LOG_KEY, NodeId, Role, Session, Term};
use raft_lab::text::quote;
use raft_lab::wire::client::{Answer, ErrorCode, NodeStatus, Request};
use raft_lab::wire::fault::{Fault, Way};

use super::stage::{ASK, Led, Mark, Played, Stage, Stop};
use crate::connection::Connection;
use crate::output::Failure;
use crate::split_vote::fire;

/// Of a log that is shown, so many strings at the end.
const SHOWN_STRINGS: usize = 6;

/// The node won an election with this event.
pub fn wins(event: &Event) -> bool {
    event.role == Role::Leader && matches!(event.fact, Fact::State { .. })
}

/// The line tells of this entry, by itself or among others.
fn holds(span: &Span, id: EntryId) -> bool {
    span.last == id || (span.first.index..span.last.index).contains(&id.index)
}

pub fn appends(event: &Event, id: EntryId) -> bool {
    matches!(&event.fact, Fact::Append { span, .. } if holds(span, id))
}

pub fn commits(event: &Event, id: EntryId) -> bool {
    matches!(&event.fact, Fact::Commit { span } if holds(span, id))
}

pub fn heard_from(event: &Event, leader: NodeId) -> bool {
    event.fact == Fact::HeartbeatReceived { from: leader }
}

/// `node_1, node_2 and node_3`.
pub fn named(nodes: &[NodeId]) -> String {
    let mut nodes = nodes.to_vec();
    nodes.sort();
    match &nodes[..] {
        [] => "nobody".to_string(),
        [one] => one.to_string(),
        [some @ .., last] => {
            let some: Vec<String> = some.iter().map(NodeId::to_string).collect();
            format!("{} and {last}", some.join(", "))
        }
    }
}

fn numbers(nodes: &[NodeId]) -> String {
    let mut nodes = nodes.to_vec();
    nodes.sort();
    nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(",")
}

impl Stage {
    /// Claims that these follow one leader, and shows its election. Tells who it is.
    pub fn claim_leader(&mut self, nodes: &[NodeId], claim: impl Display) -> Played<Led> {
        self.claim_leader_after(nodes, 0, claim)
    }

    /// The same of a leader of a later term than this.
    pub fn claim_leader_after(&mut self, nodes: &[NodeId], term: Term, claim: impl Display) -> Played<Led> {
        let led = self.claim(claim, |stage| {
            let led = stage.led(nodes).filter(|led| led.term > term)?;
            let won = stage.find(led.by, 0, |event| wins(event) && event.term == led.term);
            // The line is about to come; of a leader that a given cluster had before it does not come.
            (won.is_some() || !stage.is_own()).then(|| (led, won.into_iter().collect()))
        })?;
        if !self.is_own() {
            self.teller.answers(&format!("{} leads t{}", led.by, led.term))?;
        }
        Ok(led)
    }

    /// Appends a string by way of the leader of these nodes, exactly once, and tells its place.
    pub fn append(&mut self, nodes: &[NodeId], text: &str) -> Played<EntryId> {
        self.teller.does(&format!("client append {}", quote(text)))?;
        let id = self.change(nodes, text, |session| Request::Append { session, text: text.into() })?;
        self.teller.answers(&format!("ok {id} {}", quote(text)))?;
        Ok(id)
    }

    /// Puts a list under a key.
    pub fn put(&mut self, nodes: &[NodeId], write: KeyWrite) -> Played<EntryId> {
        let mut words = String::new();
        write.push_strings(&mut words);
        self.teller.does(&format!("client {} {words}", write.kind.name()))?;
        let write = std::sync::Arc::new(write);
        let id = self.change(nodes, &words, |session| Request::Write { session, write: write.clone() })?;
        self.teller.answers(&format!("ok {id}"))?;
        Ok(id)
    }

    /// Once in a session of its own, however often it has to be asked.
    fn change(
        &mut self,
        nodes: &[NodeId],
        what: &str,
        request: impl Fn(Option<Session>) -> Request,
    ) -> Played<EntryId> {
        let mut client = None;
        let done = self.wait(|stage| {
            let Some(led) = stage.led_somewhere(nodes) else { return Ok(None) };
            if client.is_none() {
                client = match stage.ask(led, &Request::Session, ASK) {
                    Ok(Answer::Session(client)) => Some(client),
                    _ => None,
                };
            }
            let Some(client) = client else { return Ok(None) };
            match stage.ask(led, &request(Some(Session { client, seq: 1 })), ASK) {
                Ok(Answer::Appended(id)) => Ok(Some(id)),
                _ => Ok(None),
            }
        })?;
        let claim = format!("{what} is committed by {}", named(nodes));
        done.ok_or(Stop::Broken { claim, line: "no leader has said ok".to_string() })
    }

    /// Who says that it leads, of these, in the newest term.
    fn led_somewhere(&self, nodes: &[NodeId]) -> Option<NodeId> {
        let statuses = nodes.iter().filter_map(|node| self.status(*node));
        let leaders = statuses.filter(|status| status.role == Role::Leader);
        leaders.max_by_key(|status| status.term).map(|status| status.node)
    }

    /// Hands a string to a leader that can find no majority for it, and waits for no answer: it is in the log of
    /// that node, and whether it will be committed is open. The connection stays until the end.
    pub fn offer(&mut self, node: NodeId, text: &str, claim: impl Display) -> Played<(EntryId, Connection)> {
        self.teller.does(&format!("client --cluster {} append {}", self.address(node), quote(text)))?;
        let since = self.now()?;
        let connection = self.send(node, &Request::Append { session: None, text: text.into() })?;
        let id = self.claim(claim, |stage| {
            let taken = |event: &Event| match &event.fact {
                Fact::Append { span, source: Source::Client } => Some(span.last),
                _ => None,
            };
            let (at, id) = stage.events(node, since).find_map(|(at, event)| Some((at, taken(event)?)))?;
            Some((id, vec![at]))
        })?;
        Ok((id, connection))
    }

    /// Asks, and waits for no answer: none may ever come. The connection stays open as long as it is kept.
    pub fn send(&self, node: NodeId, request: &Request) -> Played<Connection> {
        let cannot = |why: String| Stop::Failed(Failure::NotDone(format!("{node} cannot be asked: {why}")));
        let mut connection = Connection::open(&self.address(node), ASK).map_err(cannot)?;
        connection.send([request]).map_err(cannot)?;
        Ok(connection)
    }

    /// Claims that each of these commits the entry, each with a line of its own.
    pub fn claim_committed(&mut self, nodes: &[NodeId], id: EntryId, since: Mark) -> Played {
        let claim = format!("{id} is committed on {}", named(nodes));
        self.claim_lines(claim, |stage| stage.find_each(nodes, since, |event| commits(event, id)))?;
        Ok(())
    }

    /// Cuts the cluster in two: nothing passes from one side to the other.
    pub fn partition(&mut self, one: &[NodeId], other: &[NodeId]) -> Played {
        let since = self.now()?;
        self.teller.does(&format!("client partition {} {}", numbers(one), numbers(other)))?;
        for (side, peers) in [(one, other), (other, one)] {
            for node in side {
                self.order_silently(*node, &Fault::Cut { way: Way::Both, peers: peers.to_vec() })?;
            }
        }
        self.show_faults(since, &[one, other].concat())
    }

    /// Ends all cuts, delays and losses.
    pub fn heal(&mut self) -> Played {
        let (since, nodes) = (self.now()?, self.nodes());
        self.teller.does("client heal")?;
        let up: Vec<NodeId> = nodes.into_iter().filter(|node| self.status(*node).is_some()).collect();
        up.iter().try_for_each(|node| self.order_silently(*node, &Fault::Heal))?;
        self.show_faults(since, &up)
    }

    /// The FAULT line of each of these.
    pub fn show_faults(&mut self, since: Mark, nodes: &[NodeId]) -> Played {
        let told = |event: &Event| matches!(event.fact, Fact::Fault { .. });
        let lines = self.wait(|stage| Ok(stage.find_each(nodes, since, told)))?;
        self.show(lines.unwrap_or_default())
    }

    /// Claims that these have the same log, all of it committed, and shows how it ends.
    pub fn claim_equal_logs(&mut self, nodes: &[NodeId]) -> Played<Vec<String>> {
        let claim = format!("the logs of {} are the same, entry by entry", named(nodes));
        let log = self.claim(claim, |stage| {
            let statuses = stage.statuses(nodes)?;
            let first = statuses.first()?;
            let same = |status: &NodeStatus| status.last == first.last && status.applied == first.last.index;
            statuses.iter().all(same).then_some(())?;
            let mut logs = nodes.iter().map(|node| stage.log(*node)).collect::<Option<Vec<_>>>()?;
            let last = logs.pop()?;
            logs.iter().all(|log| *log == last).then_some((last, Vec::new()))
        })?;
        let hidden = log.len().saturating_sub(SHOWN_STRINGS);
        if hidden > 0 {
            self.teller.answers(&format!("… {hidden} before these"))?;
        }
        log[hidden..].iter().try_for_each(|line| {
            let line: String = line.chars().take(100).collect();
            self.teller.answers(&line)
        })?;
        Ok(log)
    }

    /// The committed strings as a node has them: `2@1 "SET 5"`.
    pub fn log(&self, node: NodeId) -> Option<Vec<String>> {
        let mut connection = Connection::open(&self.address(node), ASK).ok()?;
        let (mut log, mut from): (Vec<String>, Index) = (Vec::new(), 1);
        loop {
            connection.send([&Request::Log { from, local: true }]).ok()?;
            loop {
                match connection.receive(ASK).ok()? {
                    Answer::Entry { id, text } => log.push(format!("{id} {}", quote(&text))),
                    Answer::End { next, commit } if next > commit => return Some(log),
                    Answer::End { next, .. } => break from = next,
                    _ => return None,
                }
            }
        }
    }

    /// Claims that a node that has just come back gets an entry that it has missed, and commits it.
    pub fn claim_caught_up(&mut self, node: NodeId, id: EntryId, back: Mark) -> Played {
        let lines = |stage: &Stage| {
            let taken = stage.find(node, back, |event| appends(event, id))?;
            Some(vec![taken, stage.find(node, back, |event| commits(event, id))?])
        };
        let has = |stage: &Stage| {
            let start = format!("{id} ");
            stage.log(node).is_some_and(|log| log.iter().any(|line| line.starts_with(&start)))
        };
        self.claim_lines_or(format!("{node} gets what it has missed, and commits it"), lines, has)
    }

    /// The list of a key as a node has it, without the log's own.
    pub fn list(&self, node: NodeId, key: &str) -> Option<Vec<String>> {
        debug_assert!(key != LOG_KEY);
        let mut connection = Connection::open(&self.address(node), ASK).ok()?;
        connection.send([&Request::Get { key: key.into(), from: 1, local: true }]).ok()?;
        let mut list = Vec::new();
        loop {
            match connection.receive(ASK).ok()? {
                Answer::Value(text) => list.push(text.to_string()),
                Answer::EndOfValues { .. } => return Some(list),
                _ => return None,
            }
        }
    }

    /// Claims that nobody takes a string here, and shows the answer.
    pub fn claim_refused(&mut self, node: NodeId, text: &str) -> Played {
        self.teller.does(&format!("client --cluster {} append {}", self.address(node), quote(text)))?;
        let answer = self.claim("a client is told that there is no leader: nothing can be committed", |stage| {
            let request = Request::Append { session: None, text: text.into() };
            let answer = stage.ask(node, &request, ASK).ok()?;
            matches!(answer, Answer::Error { code: ErrorCode::NoLeader, .. }).then_some((answer, Vec::new()))
        })?;
        let mut line = String::new();
        answer.encode(&mut line);
        Ok(self.teller.answers(&line)?)
    }

    /// Claims that the terms of these grow beyond this one, attempt by attempt; the newest of them.
    pub fn claim_terms_grow(&mut self, nodes: &[NodeId], since: Mark, beyond: Term) -> Played<Term> {
        let claim = format!(
            "the terms of {} grow with each attempt, beyond t{beyond}: a vote for oneself, and no majority",
            named(nodes)
        );
        self.claim(claim, |stage| {
            let terms: Option<Vec<Term>> = nodes.iter().map(|node| Some(stage.status(*node)?.term)).collect();
            let terms = terms.filter(|terms| terms.iter().all(|term| *term > beyond))?;
            let stands = |event: &&(usize, &Event)| matches!(event.1.fact, Fact::VotedForItself { .. });
            let lines = nodes.iter().flat_map(|node| stage.events(*node, since).filter(|event| stands(&event)));
            Some((terms.into_iter().max()?, lines.map(|(at, _)| at).collect()))
        })
    }

    /// Claims that the terms of these stay, however often they ask whether they could win (thesis §9.6).
    pub fn claim_terms_stay(&mut self, nodes: &[NodeId], since: Mark, term: Term) -> Played {
        let claim = format!("{} ask again and again whether a majority would vote for them", named(nodes));
        self.claim_lines(claim, |stage| {
            let again = |event: &Event| matches!(event.fact, Fact::AskedAgain { .. });
            let rounds = |node: &NodeId| {
                let asked: Vec<usize> =
                    stage.events(*node, since).filter(|(_, event)| again(event)).map(|(at, _)| at).collect();
                (asked.len() >= 2).then(|| asked[..2].to_vec())
            };
            Some(nodes.iter().map(rounds).collect::<Option<Vec<_>>>()?.concat())
        })?;
        let nodes_of = nodes.to_vec();
        self.claim_never(
            format!("and nobody would, so their term stays t{term}: pre-vote asks before it is raised"),
            since,
            |event| nodes_of.contains(&event.node) && event.term != term,
        )
    }

    /// Lets the election timers of these fire in the same moment.
    pub fn fire_together(&mut self, nodes: &[NodeId]) -> Played {
        for node in nodes {
            self.teller.does(&format!("client fault {} {}", node.0, Fault::Timeout))?;
        }
        Ok(fire(self.cluster(), nodes, ASK)?)
    }
}
