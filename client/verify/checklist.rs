//! The lab's own checklist: what a grader looks for in a run, each with the line that shows it.

use raft_lab::logs::{Line, Logs};
use raft_lab::raft::event::Fact;
use raft_lab::raft::types::{Index, NodeId, Role};

/// One question.
pub struct Item {
    pub what: &'static str,
    /// What was seen, or why it was not.
    pub found: String,
    pub seen: bool,
    /// The numbers of the lines that show it.
    pub evidence: Vec<usize>,
}

/// A node's process from its start, or from where its log starts, to its last line.
struct Life {
    node: NodeId,
    first: usize,
    last: usize,
    /// Another one was there before.
    again: bool,
}

/// The answers, in the order of the lab's text.
pub fn answers(logs: &Logs) -> Vec<Item> {
    let lines = &logs.lines;
    let lives = lives(lines);
    vec![election(lines), elections_after_stops(lines, &lives), on_all_nodes(logs), revived(lines, &lives)]
}

fn lives(lines: &[Line]) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let node = line.event.node;
        let starts = matches!(line.event.fact, Fact::Start { .. });
        match lives.iter_mut().rev().find(|life| life.node == node) {
            Some(life) if !starts => life.last = number,
            before => {
                let again = before.is_some();
                lives.push(Life { node, first: number, last: number, again });
            }
        }
    }
    lives
}

fn is_election(line: &Line) -> bool {
    line.event.role == Role::Leader && matches!(line.event.fact, Fact::State { .. })
}

fn election(lines: &[Line]) -> Item {
    let what = "an election happened";
    let elections = lines.iter().filter(|line| is_election(line)).count();
    match lines.iter().position(is_election) {
        Some(at) => {
            let found = match elections {
                1 => "1 leader was elected".to_string(),
                _ => format!("{elections} leaders were elected; the first"),
            };
            Item { what, found, seen: true, evidence: vec![at] }
        }
        None => Item { what, found: "no line tells of a leader's election".into(), seen: false, evidence: vec![] },
    }
}

/// A leader's life that ended, and the next election of a later term.
fn elections_after_stops(lines: &[Line], lives: &[Life]) -> Item {
    let what = "a leader's stop was followed by another election";
    let next = |life: &Life| {
        let term = lines[life.last].event.term;
        (life.last + 1..lines.len()).find(|at| is_election(&lines[*at]) && lines[*at].event.term > term)
    };
    let ended = |life: &&Life| lines[life.last].event.role == Role::Leader;
    // Whose log just ends here was stopped only if the others went on without it.
    let revived = |life: &Life| lives.iter().any(|later| later.node == life.node && later.first > life.last);
    let stops: Vec<(&Life, Option<usize>)> = lives
        .iter()
        .filter(ended)
        .map(|life| (life, next(life)))
        .filter(|(life, next)| next.is_some() || revived(life))
        .collect();
    let followed = stops.iter().filter(|(_, next)| next.is_some()).count();
    match stops.iter().find_map(|(life, next)| Some((life, (*next)?))) {
        Some((life, next)) => {
            let (old, new) = (&lines[life.last].event, &lines[next].event);
            let found = format!(
                "{followed} of {} stops; {}, leader of t{}, tells nothing more, and {} leads t{}",
                stops.len(),
                old.node,
                old.term,
                new.node,
                new.term
            );
            Item { what, found, seen: true, evidence: vec![life.last, next] }
        }
        None => {
            let found = match stops.first() {
                None => "no leader was stopped".to_string(),
                Some((life, _)) => format!("{} was stopped as leader, and no election follows", life.node),
            };
            Item { what, found, seen: false, evidence: stops.iter().map(|(life, _)| life.last).take(1).collect() }
        }
    }
}

/// Through which index a line tells that its node has committed.
fn committed(line: &Line) -> Option<Index> {
    match &line.event.fact {
        Fact::Commit { span } => Some(span.last.index),
        Fact::Installed { last, .. } => Some(last.index),
        Fact::Start { snapshot, .. } => Some(snapshot.index),
        _ => None,
    }
}

/// Each node's last word on what it has committed, in the life that it ended with.
fn on_all_nodes(logs: &Logs) -> Item {
    let what = "the entries appended are on all nodes";
    let lines = &logs.lines;
    let item = |seen, found, evidence| Item { what, found, seen, evidence };
    let mut through: Vec<(NodeId, Index, Option<usize>)> = Vec::new();
    for node in logs.nodes() {
        let told = lines.iter().rposition(|line| line.event.node == node && committed(line).is_some());
        through.push((node, told.and_then(|at| committed(&lines[at])).unwrap_or(0), told));
    }
    let most = through.iter().map(|(_, index, _)| *index).max().unwrap_or(0);
    if most == 0 {
        return item(false, "no entry is committed".into(), vec![]);
    }
    let evidence = through.iter().filter(|(_, index, _)| *index == most).filter_map(|(_, _, at)| *at).collect();
    let behind: Vec<String> = through
        .iter()
        .filter(|(_, index, _)| *index < most)
        .map(|(node, index, _)| format!("{node} has committed through {index} only"))
        .collect();
    let unheard = logs.size().map_or(0, |size| size.saturating_sub(through.len() as u64));
    if !behind.is_empty() {
        return item(false, format!("entry {most} is committed, but {}", behind.join(", ")), evidence);
    }
    match unheard {
        0 => item(true, format!("all {} nodes have committed all through entry {most}", through.len()), evidence),
        _ => item(false, format!("{} of {} nodes have no log here", unheard, unheard + through.len() as u64), vec![]),
    }
}

/// A node that starts again gets everything that was committed when it came back, from a leader or as one.
fn revived(lines: &[Line], lives: &[Life]) -> Item {
    let what = "a revived node follows and has everything";
    let mut good: Option<(usize, usize, Index)> = None;
    let (mut revivals, mut caught_up) = (0, 0);
    // The highest index that anybody has told as committed, through each line.
    let told: Vec<Index> = lines
        .iter()
        .scan(0, |most, line| {
            *most = committed(line).unwrap_or(0).max(*most);
            Some(*most)
        })
        .collect();
    for life in lives.iter().filter(|life| life.again) {
        revivals += 1;
        let due = life.first.checked_sub(1).map_or(0, |before| told[before]);
        let own = |at: &usize| lines[*at].event.node == life.node;
        let follows = |at: &usize| {
            lines[*at].event.role == Role::Leader || matches!(lines[*at].event.fact, Fact::HeartbeatReceived { .. })
        };
        let has =
            (life.first..=life.last).filter(own).find(|at| committed(&lines[*at]).is_some_and(|index| index >= due));
        let heard = (life.first..=life.last).filter(own).any(|at| follows(&at));
        if let Some(has) = has.filter(|_| heard) {
            caught_up += 1;
            good = good.or(Some((life.first, has, due)));
        }
    }
    match good {
        Some((start, has, due)) => {
            let node = lines[start].event.node;
            let found = format!("{caught_up} of {revivals} revivals; {node} has all through entry {due} again");
            Item { what, found, seen: true, evidence: vec![start, has] }
        }
        None if revivals == 0 => Item { what, found: "no node was revived".into(), seen: false, evidence: vec![] },
        None => {
            let first = lives.iter().find(|life| life.again).map(|life| life.first);
            let found = format!("none of {revivals} revivals shows it");
            Item { what, found, seen: false, evidence: first.into_iter().collect() }
        }
    }
}
