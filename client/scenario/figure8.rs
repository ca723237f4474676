//! Figure 8 of the paper (§5.4.2), with its five servers, its terms and its index 2: why a leader does not commit an
//! entry of an old term by counting its copies.
//!
//! Elections come by order alone: the timers are so long that none passes by itself. Delays make the moments long enough
//! to act in: between the votes for a leader and its first entries, and between two messages of entries.

use std::time::Duration;

use raft_lab::raft::event::{Event, Fact};
use raft_lab::raft::types::{EntryId, Index, NodeId, Role, Term};
use raft_lab::wire::client::Request;
use raft_lab::wire::fault::{Fault, Way};

use super::moves::{appends, commits, wins};
use super::stage::{Mark, Played, Stage};
use crate::output::Failure;

const S1: NodeId = NodeId(1);
const S2: NodeId = NodeId(2);
const S3: NodeId = NodeId(3);
const S4: NodeId = NodeId(4);
const S5: NodeId = NodeId(5);

/// Messages that shall not arrive before something else is done take so long.
const SLOW: Duration = Duration::from_secs(3);
/// The entries behind index 2: together more than one message holds (512 KiB), so that there is a moment at which a
/// follower has the old ones and not the new one behind them.
const STRINGS: Index = 9;
const STRING_BYTES: usize = 60 * 1024;
/// The entry of the figure, and the last of S1's old term behind it.
const TWO: EntryId = EntryId { index: 2, term: 2 };
const LAST_OF_T2: EntryId = EntryId { index: TWO.index + STRINGS, term: 2 };
/// What S5 has at index 2.
const RIVAL: EntryId = EntryId { index: 2, term: 3 };

pub fn figure8(stage: &mut Stage) -> Played {
    before(stage)?;
    let since = a(stage)?;
    b(stage)?;
    c(stage, since)?;
    d(stage)?;
    after(stage)
}

/// Waits until each of these is connected to all the others.
fn connected(stage: &mut Stage, nodes: &[NodeId]) -> Played {
    let all_up = |stage: &mut Stage| {
        let statuses = stage.statuses(nodes)?;
        let up = |peer: &(NodeId, bool)| peer.1 || !nodes.contains(&peer.0);
        statuses.iter().all(|status| status.peers.iter().all(up)).then_some(())
    };
    match stage.wait(|stage| Ok(all_up(stage)))? {
        Some(()) => Ok(()),
        None => Err(Failure::NotDone("the nodes do not find each other".to_string()).into()),
    }
}

/// The timer of a node fires, and it wins this term.
fn elect(stage: &mut Stage, node: NodeId, term: Term, claim: &str) -> Played {
    let since = stage.now()?;
    stage.order(node, &Fault::Timeout)?;
    stage.claim_lines(claim, |stage| {
        stage.find(node, since, |event| wins(event) && event.term == term).map(|at| vec![at])
    })?;
    Ok(())
}

/// Its timer fires, and it loses this term: some have voted for another already.
fn lose(stage: &mut Stage, node: NodeId, term: Term, votes_gone: &[NodeId], claim: &str) -> Played {
    let since = stage.now()?;
    stage.order(node, &Fault::Timeout)?;
    stage.claim_lines(claim, |stage| {
        let denied = |event: &Event| {
            event.term == term && matches!(&event.fact, Fact::Denied { pre: false, to, .. } if *to == node)
        };
        stage.find_each(votes_gone, since, denied)
    })?;
    Ok(())
}

fn slow_down(stage: &mut Stage, node: NodeId, peers: &[NodeId]) -> Played {
    peers.iter().try_for_each(|peer| stage.order(node, &Fault::Delay { peer: *peer, by: SLOW }))
}

fn before(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step(
        "Before the figure: all have the entry at index 1, of term 1",
        "We need a leader of term 1; let it be node_2. In this play no timer fires by itself: we let them fire.",
    )?;
    connected(stage, &nodes)?;
    elect(stage, S2, 1, "node_2 leads t1")?;
    let one = EntryId::new(1, 1);
    stage.claim_committed(&nodes, one, 0)
}

/// S1 is leader of term 2 and replicates the entry at index 2 to S2 alone. The mark of its election.
fn a(stage: &mut Stage) -> Played<Mark> {
    stage.teller.step(
        "(a) node_1 leads term 2, and replicates the entry at index 2 to node_2 alone",
        "What it says reaches node_3, node_4 and node_5 only seconds later: time enough to cut them off between their votes \
         and the first entry.",
    )?;
    let since = stage.now()?;
    slow_down(stage, S1, &[S3, S4, S5])?;
    elect(stage, S1, 2, "node_1 leads t2")?;
    for node in [S3, S4, S5] {
        stage.order(node, &Fault::Cut { way: Way::From, peers: vec![S1] })?;
    }
    stage.claim_lines("the entry at index 2 is on node_1 and node_2: two of five", |stage| {
        let copied =
            |event: &Event| matches!(event.fact, Fact::Replicated { last, on: S2, .. } if last.index >= TWO.index);
        let copy = stage.find(S1, since, copied)?;
        Some(vec![stage.find(S1, since, |event| appends(event, TWO))?, copy])
    })?;
    stage.teller.say(&format!(
        "Behind it come {STRINGS} long strings, {} KB each: together too much for one message. That will give us a moment \
         in (c).",
        STRING_BYTES / 1024
    ))?;
    stage.teller.does(&format!("client append … ({STRINGS} times)"))?;
    let mut waiting = Vec::new();
    for number in 1..=STRINGS {
        let text = format!("string {number} of term 2 {}", "~".repeat(STRING_BYTES));
        waiting.push(stage.send(S1, &Request::Append { session: None, text: text.into() })?);
        let id = EntryId::new(TWO.index + number, TWO.term);
        stage.wait(|stage| Ok(stage.find(S1, since, |event| appends(event, id))))?;
    }
    stage.claim_lines("they are on the same two", |stage| {
        stage.find_each(&[S1, S2], since, |event| appends(event, LAST_OF_T2))
    })?;
    let reached = |event: &Event| appends(event, TWO) && [S3, S4, S5].contains(&event.node);
    stage.claim_never("node_3, node_4 and node_5 have none of it", since, reached)?;
    Ok(since)
}

/// S1 crashes; S5 is elected for term 3 by S3, S4 and itself, and has another entry at index 2.
fn b(stage: &mut Stage) -> Played {
    stage.teller.step(
        "(b) node_1 dies; node_5 leads term 3, and has another entry at index 2",
        "It has the votes of node_3 and node_4, whose logs end at index 1 as its own. node_2 refuses: its log is longer. node_5 \
         dies too, before anybody hears of its entry.",
    )?;
    stage.kill(S1)?;
    stage.heal()?;
    let since = stage.now()?;
    slow_down(stage, S5, &[S2, S3, S4])?;
    elect(stage, S5, 3, "node_5 leads t3")?;
    stage.claim_lines("it has an entry of t3 at index 2", |stage| {
        stage.find(S5, since, |event| appends(event, RIVAL)).map(|at| vec![at])
    })?;
    stage.claim_lines("two gave it their votes, node_2 did not", |stage| {
        let granted = |event: &Event| matches!(event.fact, Fact::Granted { pre: false, to: S5, term: 3 });
        let denied = |event: &Event| matches!(&event.fact, Fact::Denied { pre: false, to: S5, .. });
        let mut lines = stage.find_each(&[S3, S4], since, granted)?;
        lines.push(stage.find(S2, since, denied)?);
        Some(lines)
    })?;
    stage.kill(S5)?;
    stage.claim_never("nobody else has its entry", since, |event| appends(event, RIVAL) && event.node != S5)
}

/// S1 restarts, is elected for term 4, and brings the entry of term 2 to a majority. It is not committed.
fn c(stage: &mut Stage, since: Mark) -> Played {
    stage.teller.step(
        "(c) node_1 comes back, leads term 4, and goes on replicating index 2",
        "Its first attempt fails: node_3 and node_4 have given their votes of t3 to node_5. Its second is t4. node_4 it does \
         not reach; to node_3 its messages take seconds.",
    )?;
    stage.start(&[S1])?;
    connected(stage, &[S1, S2, S3, S4])?;
    lose(stage, S1, 3, &[S3, S4], "in t3 it cannot win")?;
    let in_t4 = stage.now()?;
    stage.order(S1, &Fault::Cut { way: Way::Both, peers: vec![S4] })?;
    slow_down(stage, S1, &[S3])?;
    elect(stage, S1, 4, "node_1 leads t4")?;
    let opened = EntryId::new(LAST_OF_T2.index + 1, 4);
    stage.claim_lines(
        format!("it opens t4 with {opened}; and index 2 of term 2 is on three of five, itself, node_2 and node_3: a majority"),
        |stage| {
            let copied = |event: &Event| {
                matches!(event.fact, Fact::Replicated { last, on: S3, copies, .. } if last.term == 2 && copies >= 3)
            };
            let copy = stage.find(S1, in_t4, copied)?;
            Some(vec![stage.find(S1, in_t4, |event| appends(event, opened))?, copy])
        },
    )?;
    stage.kill(S1)?;
    stage.claim_never(
        "the leader has counted three of five, and has not committed it: it is of an old term (§5.4.2)",
        since,
        |event| commits(event, TWO) || matches!(event.fact, Fact::Commit { ref span } if span.last.index >= TWO.index),
    )?;
    stage.teller.say(
        "Why not? A majority has it. Because that majority does not keep others from winning: what counts in an election is \
         the term of the last entry, and somebody has one of term 3.",
    )?;
    Ok(())
}

/// S5 is elected by S3, S4 and itself, and overwrites index 2 everywhere.
fn d(stage: &mut Stage) -> Played {
    stage.teller.step(
        "(d) node_1 is dead again; node_5 comes back, leads term 5, and overwrites index 2",
        "node_3 votes for it, although it has more entries: its last is of term 2, node_5's of term 3 (§5.4.1). Had node_1 \
         told its client \"committed\" in (c), that would be a lie now.",
    )?;
    stage.start(&[S5])?;
    connected(stage, &[S2, S3, S4, S5])?;
    lose(stage, S5, 4, &[S2, S3], "in t4 it cannot win: their votes of t4 went to node_1")?;
    let since = stage.now()?;
    elect(stage, S5, 5, "node_5 leads t5")?;
    stage.claim_lines("node_3 and node_4 voted for it; node_2, which has node_1's entry of t4, did not", |stage| {
        let granted = |event: &Event| matches!(event.fact, Fact::Granted { pre: false, to: S5, term: 5 });
        let denied = |event: &Event| event.term == 5 && matches!(&event.fact, Fact::Denied { pre: false, to: S5, .. });
        let mut lines = stage.find_each(&[S3, S4], since, granted)?;
        lines.push(stage.find(S2, since, denied)?);
        Some(lines)
    })?;
    stage.claim_lines("what was on a majority is gone from node_2 and node_3", |stage| {
        stage.find_each(&[S2, S3], since, |event| matches!(event.fact, Fact::Truncate { first: TWO, .. }))
    })?;
    let opened = EntryId::new(3, 5);
    stage.claim_lines(
        format!("{RIVAL}, of an old term too, is committed only together with {opened}, node_5's own (the rule, from its good side)"),
        |stage| {
            let copied = |event: &Event| {
                matches!(event.fact, Fact::Replicated { last, copies, .. } if last == opened && copies >= 3)
            };
            let copy = stage.find(S5, since, copied)?;
            let commit = |id| stage.find(S5, since, move |event: &Event| commits(event, id));
            let (rival, own) = (commit(RIVAL)?, commit(opened)?);
            (copy < rival && copy < own).then(|| vec![copy, rival, own])
        },
    )?;
    Ok(())
}

fn after(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step(
        "After the figure: node_1 comes back once more",
        "It gives up all that it had of terms 2 and 4. Nobody was promised any of it. (In the figure's (e) node_1 brings an \
         entry of t4 to a majority before it dies: then node_3 would not have voted for node_5, and index 2 is safe.)",
    )?;
    let since = stage.now()?;
    stage.start(&[S1])?;
    stage.claim_lines("node_1 follows, and its old entries are overwritten", |stage| {
        let gone =
            |event: &Event| event.role == Role::Follower && matches!(event.fact, Fact::Truncate { first: TWO, .. });
        stage.find(S1, since, gone).map(|at| vec![at])
    })?;
    let id = stage.append(&nodes, "after the figure")?;
    stage.claim_committed(&nodes, id, since)?;
    stage.claim_never(format!("{TWO} was never committed"), 0, |event| commits(event, TWO))?;
    stage.claim_equal_logs(&nodes).map(|_| ())
}
