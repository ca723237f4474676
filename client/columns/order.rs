//! Lines of the same millisecond, in the order of cause and effect.

use raft_lab::logs::Line;
use raft_lab::raft::event::{Event, Fact, Source};
use raft_lab::raft::types::{EntryId, Role};

/// The most lines of one millisecond that are put in order; more than that keep the order of the files.
const MAX_TIED: usize = 256;

/// The numbers of the lines in the order in which they are shown. The times are believed; among equal ones each node's
/// lines keep their order, and what one node did because of another stands behind it.
pub fn by_cause(lines: &[Line]) -> Vec<usize> {
    let mut order = Vec::with_capacity(lines.len());
    for tied in lines.chunk_by(|one, next| one.event.at == next.event.at) {
        let first = order.len();
        if tied.len() == 1 || tied.len() > MAX_TIED {
            order.extend(first..first + tied.len());
        } else {
            order.extend(settle(tied).into_iter().map(|number| first + number));
        }
    }
    order
}

fn settle(tied: &[Line]) -> Vec<usize> {
    let event = |number: &usize| &tied[*number].event;
    let mut waiting: Vec<usize> = (0..tied.len()).collect();
    let mut settled = Vec::with_capacity(tied.len());
    while !waiting.is_empty() {
        let ready = |(place, number): (usize, &usize)| {
            let first_of_its_node = !waiting[..place].iter().any(|other| event(other).node == event(number).node);
            first_of_its_node && !waiting.iter().any(|other| causes(event(other), event(number)))
        };
        // Logs that contradict each other may wait in a circle: then the files' order stands.
        let next = waiting.iter().enumerate().position(ready).unwrap_or(0);
        settled.push(waiting.remove(next));
    }
    settled
}

/// Whether one node's `effect` came of another node's `cause`, if both happened at about the same time.
pub fn causes(cause: &Event, effect: &Event) -> bool {
    if cause.node == effect.node {
        return false;
    }
    let same_term = cause.term == effect.term;
    let by_leader = |leader| cause.node == leader && same_term;
    let asked = |candidate, is_pre: bool| {
        let asks = match cause.fact {
            Fact::VotedForItself { .. } => !is_pre,
            Fact::State { .. } => is_pre && cause.role == Role::PreCandidate,
            Fact::AskedAgain { .. } => is_pre,
            _ => false,
        };
        cause.node == candidate && asks
    };
    match &effect.fact {
        Fact::HeartbeatReceived { from } => {
            by_leader(*from) && matches!(&cause.fact, Fact::HeartbeatSent { to } if to.contains(&effect.node))
        }
        Fact::Append { span, source: Source::Leader(leader) } => {
            let sent = |first, last| by_leader(*leader) && overlap((first, last), (span.first, span.last));
            matches!(&cause.fact, Fact::Append { span, .. } if sent(span.first, span.last))
        }
        Fact::Replicated { first, last, on, .. } => {
            let has = |from, to| cause.node == *on && overlap((from, to), (*first, *last));
            match &cause.fact {
                Fact::Append { span, source: Source::Leader(_) } => has(span.first, span.last),
                Fact::Installed { last, .. } => has(EntryId::ZERO, *last),
                _ => false,
            }
        }
        Fact::Commit { span } if effect.role != Role::Leader => {
            let told = |first, last| cause.role == Role::Leader && overlap((first, last), (span.first, span.last));
            same_term && matches!(&cause.fact, Fact::Commit { span } if told(span.first, span.last))
        }
        Fact::Granted { pre, to, .. } | Fact::Denied { pre, to, .. } => asked(*to, *pre),
        Fact::Received { pre, from, .. } => {
            let granted = |to, is_pre| cause.node == *from && to == effect.node && is_pre == *pre;
            matches!(&cause.fact, Fact::Granted { pre, to, .. } if granted(*to, *pre))
        }
        Fact::Refused { pre, by, .. } => {
            let denied = |to, is_pre| cause.node == *by && to == effect.node && is_pre == *pre;
            matches!(&cause.fact, Fact::Denied { pre, to, .. } if denied(*to, *pre))
        }
        // Somebody else began this term.
        Fact::Term { .. } | Fact::State { .. } if effect.role == Role::Follower => {
            let begins = matches!(cause.fact, Fact::State { .. } | Fact::VotedForItself { .. });
            same_term && cause.role == Role::Candidate && begins
        }
        Fact::Truncate { .. } => same_term && cause.role == Role::Leader && matches!(cause.fact, Fact::State { .. }),
        _ => false,
    }
}

/// Whether two ranges of entries share an index.
fn overlap(one: (EntryId, EntryId), other: (EntryId, EntryId)) -> bool {
    one.0.index <= other.1.index && other.0.index <= one.1.index
}
