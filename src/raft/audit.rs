//! All that can be judged from the lines of the nodes' logs: [`Safety`]'s properties, and those that follow from
//! what a leader tells of itself.
//!
//! A leader's own lines must show that it was elected by a majority, that it commits what a majority has, and that it
//! sends heartbeats. Its lines alone are judged: a follower that was killed may owe its own. After a contradiction the
//! audit goes on, so that each property gets its verdict: of the node that told the wrong line only what it has
//! committed is believed from there on, until its next lines tell more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::event::{Event, Fact, PeerState, Source};
use super::safety::{Property, Safety, Violation};
use super::types::{EntryId, Index, NodeId, Role, Term};

/// Beyond this index nothing is judged: the checker's memory grows with it.
pub const MAX_INDEX: Index = 4 * 1024 * 1024;
/// How late a heartbeat may be beyond what follows from the settings: a machine may be slow.
const TOLERANCE: Duration = Duration::from_secs(1);

/// What a leader has told of its term.
#[derive(Debug)]
struct Leading {
    term: Term,
    /// The entry that opened its term.
    opened: Option<Index>,
    /// Through which index each follower has its log.
    matches: BTreeMap<NodeId, Index>,
    /// The line that told of a copy last, or of the election.
    counted: Arc<Event>,
    /// The last heartbeat, or the election; and since when the next one is waited for.
    heartbeat: Arc<Event>,
    waits_since: Duration,
}

/// What a node has told since it started.
#[derive(Debug, Default)]
struct Life {
    /// Nothing of it is missing.
    whole: bool,
    /// The lower bound of the election timeout, and the heartbeat interval.
    times: Option<(Duration, Duration)>,
    /// The time of its last line.
    told: Duration,
    /// The peers that it has no connection to.
    down: BTreeSet<NodeId>,
    /// The votes that it has told in a term for itself.
    votes: Option<(Term, BTreeSet<NodeId>)>,
    leading: Option<Leading>,
}

/// The checker. Its memory grows with the length of the logs.
#[derive(Debug, Default)]
pub struct Audit {
    safety: Safety,
    size: Option<u64>,
    lives: BTreeMap<NodeId, Life>,
    judged: BTreeMap<Property, u64>,
    /// The leaders that went silent, so that their heartbeats cannot be judged there: since when, and the next line.
    stalls: Vec<(Duration, Event)>,
}

impl Property {
    pub const ALL: [Property; 12] = [
        Property::OneVote,
        Property::ElectionSafety,
        Property::ElectedByMajority,
        Property::TermsGrow,
        Property::LogMatching,
        Property::LeaderAppendOnly,
        Property::CommitByMajority,
        Property::CommitGrows,
        Property::StateMachineSafety,
        Property::LeaderCompleteness,
        Property::KeptOnDisk,
        Property::Heartbeats,
    ];
}

impl Audit {
    pub fn new() -> Audit {
        Audit::default()
    }

    /// See [`Safety::forget`].
    pub fn forget(&mut self, node: NodeId) {
        self.safety.forget(node);
    }

    /// Lines of the node are missing here.
    pub fn missed(&mut self, node: NodeId) {
        self.safety.missed(node);
        let life = self.lives.entry(node).or_default();
        *life = Life { times: life.times, ..Life::default() };
    }

    /// How often there was something to judge the property by.
    pub fn judged(&self, property: Property) -> u64 {
        self.judged.get(&property).copied().unwrap_or(0)
    }

    /// Where a leader told nothing at all for so long that it was stopped, or its machine: the time of its last
    /// line before, and its next line.
    pub fn stalls(&self) -> &[(Duration, Event)] {
        &self.stalls
    }

    /// Takes the next line, each node's in its own order. Gives what it contradicts, nothing as a rule.
    pub fn observe(&mut self, event: &Event) -> Vec<Violation> {
        let mut wrong = Vec::new();
        if highest(event) > MAX_INDEX {
            self.missed(event.node);
            return wrong;
        }
        self.count(event);
        let mut keep = |judged: Result<(), Box<Violation>>| wrong.extend(judged.err().map(|violation| *violation));
        keep(self.own_lines(event));
        keep(self.heartbeats(event));
        let safe = self.safety.observe(event);
        if safe.is_err() {
            self.safety.missed(event.node);
        }
        keep(safe);
        wrong
    }

    fn count(&mut self, event: &Event) {
        let known = self.lives.contains_key(&event.node);
        let mut count = |property| *self.judged.entry(property).or_default() += 1;
        count(Property::TermsGrow);
        match &event.fact {
            Fact::Start { .. } if known => count(Property::KeptOnDisk),
            Fact::VotedForItself { .. } | Fact::Granted { pre: false, .. } => count(Property::OneVote),
            Fact::State { .. } if event.role == Role::Leader => {
                count(Property::ElectionSafety);
                count(Property::LeaderCompleteness);
            }
            Fact::Append { .. } => {
                count(Property::LogMatching);
                if event.role == Role::Leader {
                    count(Property::LeaderAppendOnly);
                }
            }
            Fact::Commit { .. } => {
                count(Property::CommitGrows);
                count(Property::StateMachineSafety);
            }
            Fact::HeartbeatSent { .. } => count(Property::Heartbeats),
            _ => {}
        }
    }

    /// Votes, copies and commits, by what the node tells of itself.
    fn own_lines(&mut self, event: &Event) -> Result<(), Box<Violation>> {
        let life = self.lives.entry(event.node).or_default();
        match &event.fact {
            Fact::Start { size, settings, .. } => {
                self.size = Some(*size);
                *life = Life { whole: true, times: times(settings), ..Life::default() };
            }
            Fact::VotedForItself { size, .. } => {
                self.size = Some(*size);
                life.votes = Some((event.term, BTreeSet::from([event.node])));
            }
            Fact::Received { pre: false, from, .. } => {
                if let Some((term, votes)) = &mut life.votes
                    && *term == event.term
                {
                    votes.insert(*from);
                }
            }
            Fact::State { .. } if event.role == Role::Leader => return self.elected(event),
            Fact::Append { span, source: Source::OpensTerm } => {
                if let Some(leading) = life.leading_in(event.term) {
                    leading.opened = Some(span.first.index);
                }
            }
            Fact::Replicated { last, on, .. } => {
                if let Some(leading) = life.leading_in(event.term) {
                    let matched = leading.matches.entry(*on).or_default();
                    *matched = last.index.max(*matched);
                    leading.counted = Arc::new(event.clone());
                }
            }
            Fact::Commit { span } if event.role == Role::Leader => return self.leader_commits(event, span.last),
            _ => {}
        }
        let life = self.lives.entry(event.node).or_default();
        if event.role != Role::Leader {
            life.leading = None;
        } else if life.whole && life.leading_in(event.term).is_none() {
            let why = format!("{} leads t{}, and no line tells of its election", event.node, event.term);
            return violation(Property::ElectedByMajority, None, event, why);
        }
        Ok(())
    }

    fn elected(&mut self, event: &Event) -> Result<(), Box<Violation>> {
        let life = self.lives.entry(event.node).or_default();
        let (counted, heartbeat) = (Arc::new(event.clone()), Arc::new(event.clone()));
        let (opened, matches, waits_since) = (None, BTreeMap::new(), event.at);
        life.leading = Some(Leading { term: event.term, opened, matches, counted, heartbeat, waits_since });
        let votes = life.votes.as_ref().filter(|(term, _)| *term == event.term).map(|(_, votes)| votes.len());
        // Who was not seen from the beginning of its election may have told of votes before.
        let (Some(votes), Some(size)) = (votes.or(life.whole.then_some(0)), self.size) else { return Ok(()) };
        *self.judged.entry(Property::ElectedByMajority).or_default() += 1;
        if votes > size as usize / 2 {
            return Ok(());
        }
        let why = format!("{} leads t{}, but its lines tell of {votes} of {size} votes", event.node, event.term);
        violation(Property::ElectedByMajority, None, event, why)
    }

    /// The leader itself, and as many followers as make a majority with it, have the entry; and so do they have one
    /// of the leader's own term (§5.4.2).
    fn leader_commits(&mut self, event: &Event, last: EntryId) -> Result<(), Box<Violation>> {
        let Some(life) = self.lives.get_mut(&event.node) else { return Ok(()) };
        let (Some(size), Some(leading)) = (self.size, life.leading_in(event.term)) else { return Ok(()) };
        *self.judged.entry(Property::CommitByMajority).or_default() += 1;
        let copies = |index| 1 + leading.matches.values().filter(|matched| **matched >= index).count();
        let (majority, counted) = (size as usize / 2 + 1, Some(&leading.counted));
        let node = event.node;
        if copies(last.index) < majority {
            let why = format!("{node} commits {last}, but its lines tell of {} of {size} copies", copies(last.index));
            return violation(Property::CommitByMajority, counted, event, why);
        }
        if let Some(opened) = leading.opened.filter(|opened| copies(*opened) < majority) {
            let own = EntryId::new(opened, event.term);
            let why =
                format!("{node} commits {last} by counting, before a majority has {own}, the first of its own term");
            return violation(Property::CommitByMajority, counted, event, why);
        }
        Ok(())
    }

    /// A leader that tells anything, and has somebody to send to, has sent a heartbeat not long ago. One that tells
    /// nothing at all was stopped: that is no fault of it.
    fn heartbeats(&mut self, event: &Event) -> Result<(), Box<Violation>> {
        let Some(life) = self.lives.get_mut(&event.node) else { return Ok(()) };
        if let Fact::Peer { peer, state, .. } = event.fact {
            match state {
                PeerState::Connected => life.down.remove(&peer),
                PeerState::Lost | PeerState::Offline => life.down.insert(peer),
            };
        }
        let before = std::mem::replace(&mut life.told, event.at);
        let alone = self.size.is_some_and(|size| life.down.len() as u64 + 1 >= size);
        let (Some((lower, interval)), Some(leading)) = (life.times, &mut life.leading) else { return Ok(()) };
        if event.at.saturating_sub(before) >= lower && !alone {
            self.stalls.push((before, event.clone()));
            leading.waits_since = event.at;
        } else if alone {
            leading.waits_since = event.at;
        }
        let waited = event.at.saturating_sub(leading.waits_since);
        let last = leading.heartbeat.clone();
        let sent = matches!(event.fact, Fact::HeartbeatSent { .. });
        if sent {
            leading.heartbeat = Arc::new(event.clone());
        }
        let late = waited > lower + 2 * interval + TOLERANCE;
        if sent || late {
            leading.waits_since = event.at;
        }
        if !late {
            return Ok(());
        }
        let why = format!(
            "{} leads t{} and has sent no heartbeat for {:.3} s; there is one every {:.3} s",
            event.node,
            event.term,
            waited.as_secs_f64(),
            interval.as_secs_f64()
        );
        violation(Property::Heartbeats, Some(&last), event, why)
    }
}

impl Life {
    /// What it has told as leader of this term, if its election was seen.
    fn leading_in(&mut self, term: Term) -> Option<&mut Leading> {
        self.leading.as_mut().filter(|leading| leading.term == term)
    }
}

/// The highest index of which the line tells something.
fn highest(event: &Event) -> Index {
    match &event.fact {
        Fact::Start { snapshot, last, .. } => snapshot.max(last).index,
        Fact::Append { span, .. } | Fact::Commit { span } => span.last.index,
        Fact::Truncate { last: id, .. } | Fact::Compacted { last: id, .. } | Fact::Installed { last: id, .. } => {
            id.index
        }
        _ => 0,
    }
}

/// The lower bound of the election timeout and the heartbeat interval, as a START line tells them:
/// `election timeout 6-10 s, heartbeat every 2 s`.
pub fn times(settings: &str) -> Option<(Duration, Duration)> {
    let behind = |words: &str| settings.split_once(words).map(|(_, rest)| rest.split(", ").next().unwrap_or(rest));
    let time = |number: &str, unit: &str| {
        let number = number.parse::<u32>().ok()?;
        match unit {
            "s" => Some(Duration::from_secs(u64::from(number))),
            "ms" => Some(Duration::from_millis(u64::from(number))),
            _ => None,
        }
    };
    let (range, unit) = behind("election timeout ")?.split_once(' ')?;
    let lower = time(range.split_once('-')?.0, unit)?;
    let (interval, unit) = behind("heartbeat every ")?.split_once(' ')?;
    Some((lower, time(interval, unit)?))
}

fn violation(
    property: Property,
    earlier: Option<&Arc<Event>>,
    event: &Event,
    why: String,
) -> Result<(), Box<Violation>> {
    let earlier = earlier.map(|event| Event::clone(event));
    Err(Box::new(Violation { property, earlier, event: event.clone(), why }))
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
