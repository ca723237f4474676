//! The tests of the key/value service (raft-kv): leader election, log consistency, crash and recovery, network
//! partition, end to end.

use std::sync::Arc;

use raft_lab::raft::event::{Event, Fact};
use raft_lab::raft::types::{KeyWrite, NodeId, Role, WriteKind};
use raft_lab::wire::client::{Answer, Request};
use raft_lab::wire::fault::{Fault, Way};

use super::moves::{appends, commits, named, wins};
use super::stage::{ASK, Played, Stage};

/// How often the leader is killed.
const ROUNDS: usize = 3;

pub fn leader_election(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step(
        "Five nodes elect a leader",
        "A majority is three of five: two may be down, and there is still a leader.",
    )?;
    let mut led = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    for round in 1..=ROUNDS {
        stage.teller.step(
            &format!("The leader dies ({round} of {ROUNDS})"),
            "The others miss its heartbeats, and one of them is elected in a later term. The dead one comes back as a \
             follower.",
        )?;
        let rest = stage.others(&[led.by]);
        stage.kill(led.by)?;
        let new = stage.claim_leader_after(&rest, led.term, "another leader, in a later term")?;
        stage.claim_that(
            format!("t{} is later than t{}, and {} is not {}", new.term, led.term, new.by, led.by),
            new.term > led.term && new.by != led.by,
            format!("{} leads t{}", new.by, new.term),
        )?;
        stage.start(&[led.by])?;
        led = stage.claim_leader(&nodes, "all five follow one leader")?;
    }
    stage.claim_equal_logs(&nodes).map(|_| ())
}

pub fn log_consistency(stage: &mut Stage) -> Played {
    const STRINGS: usize = 10;
    let nodes = stage.nodes();
    stage
        .teller
        .step("Five nodes, one leader", "All strings go through the leader: that is how they get one order.")?;
    let led = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    let follower = stage.others(&[led.by])[0];
    stage.teller.does(&format!("echo 'append \"SET 0\"' | nc {}", stage.address(follower).replace(':', " ")))?;
    let redirect = stage.claim(format!("{follower} takes no string itself: it names the leader"), |stage| {
        let request = Request::Append { session: None, text: "SET 0".into() };
        let answer = stage.ask(follower, &request, ASK).ok()?;
        matches!(answer, Answer::Redirect { .. }).then_some((answer, Vec::new()))
    })?;
    let mut line = String::new();
    redirect.encode(&mut line);
    stage.teller.answers(&line)?;

    let since = stage.now()?;
    stage.teller.step("Ten strings", "One after the other; each is committed before the next is sent.")?;
    let mut ids = Vec::new();
    for number in 1..=STRINGS {
        ids.push(stage.append(&nodes, &format!("SET {number}"))?);
    }
    let ordered = ids.windows(2).all(|pair| pair[0].index < pair[1].index);
    stage.claim_that("each stands behind the one before", ordered, format!("{ids:?}"))?;
    let last = ids[STRINGS - 1];
    stage.claim_committed(&nodes, last, since)?;
    let log = stage.claim_equal_logs(&nodes)?;
    let texts: Vec<String> = ids.iter().zip(1..).map(|(id, number)| format!("{id} \"SET {number}\"")).collect();
    let because = log.join(", ");
    stage.claim_that("each string is there once, in the order of the client", log.ends_with(&texts), because)
}

pub fn crash_and_recovery(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step("Three strings, committed", "That is what must survive, whatever dies.")?;
    let led = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    let since = stage.now()?;
    for text in ["SET 1", "SET 2", "SET 3"] {
        stage.append(&nodes, text)?;
    }
    let before = stage.claim_equal_logs(&nodes)?;

    stage.teller.step(
        "All nodes die at the same time",
        "As in a power cut. Nothing in memory survives; what was synced to disk does: term, vote and log (§5.1).",
    )?;
    nodes.iter().try_for_each(|node| stage.kill(*node))?;
    stage.start(&nodes)?;
    let new = stage.claim_leader_after(&nodes, led.term, "a leader is elected again, in a later term")?;
    stage.claim_never("no node has forgotten a committed entry: nothing was removed from any log", since, |event| {
        matches!(event.fact, Fact::Truncate { .. })
    })?;

    let since = stage.now()?;
    stage.teller.step(
        "One more string",
        &format!(
            "What was committed is told as committed again once an entry of the new term t{} is: that is the no-op with \
             which the leader opens its term (§5.4.2).",
            new.term
        ),
    )?;
    let id = stage.append(&nodes, "SET 4")?;
    stage.claim_committed(&nodes, id, since)?;
    let after = stage.claim_equal_logs(&nodes)?;
    let kept = after.starts_with(&before) && after.len() == before.len() + 1;
    stage.claim_that("all is there, and one more", kept, after.join(", "))
}

pub fn network_partition(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step("Five nodes, one leader", "Each has the same string in its log: that must not be lost.")?;
    let old = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    let start = stage.now()?;
    let before = stage.append(&nodes, "before the partition")?;
    stage.claim_committed(&nodes, before, start)?;

    let rest = stage.others(&[old.by]);
    let since = stage.now()?;
    stage.teller.step(
        "The network parts: the leader is alone",
        "It runs and believes that it leads; the other four do not hear it any more. Two leaders at once, is that a split \
         brain? Only if both could commit.",
    )?;
    stage.partition(&[old.by], &rest)?;
    let claim = format!("{} takes a string into its log, and finds no majority for it", old.by);
    let (lost, _waits) = stage.offer(old.by, "said to the old leader", claim)?;
    let new = stage.claim_leader_after(&rest, old.term, "the other four elect a leader, in a later term")?;
    let kept = stage.append(&rest, "said to the new leader")?;
    stage.claim_committed(&rest, kept, since)?;
    stage.claim_lines(
        format!("{} notices that no majority answers, and leads no longer (thesis §6.2)", old.by),
        |stage| {
            let down = |event: &Event| matches!(event.fact, Fact::State { from: Role::Leader, .. });
            Some(vec![stage.find(old.by, since, down)?])
        },
    )?;
    stage.claim_never(format!("{lost} was committed by nobody"), since, |event| commits(event, lost))?;

    let healed = stage.now()?;
    stage.teller.step(
        "The network is whole again",
        &format!(
            "{} hears of t{}, follows its leader, and gives up {lost}, which nobody was promised, for what the majority has \
             (§5.3).",
            old.by, new.term
        ),
    )?;
    stage.heal()?;
    stage.claim_lines("the entry that was not committed is overwritten", |stage| {
        let gone = |event: &Event| matches!(event.fact, Fact::Truncate { first, last, .. } if (first.index..=last.index).contains(&lost.index));
        Some(vec![stage.find(old.by, healed, gone)?])
    })?;
    stage.claim_lines("and it gets what it has missed", |stage| {
        stage.find_each(&[old.by], healed, |event| appends(event, kept))
    })?;
    stage.claim_leader(&nodes, "all five follow one leader")?;
    stage.claim_never(format!("{lost} was never committed"), start, |event| commits(event, lost))?;
    stage.claim_equal_logs(&nodes).map(|_| ())
}

fn write(kind: WriteKind, key: &str, values: &[&str]) -> KeyWrite {
    KeyWrite { kind, key: key.into(), values: values.iter().map(|value| Arc::from(*value)).collect() }
}

pub fn end_to_end(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step("Five nodes, a leader, a key with a list", "The service from end to end.")?;
    let led = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    stage.put(&nodes, write(WriteKind::Put, "zone1:temp", &["25.5C"]))?;
    claim_list(stage, &nodes, &["25.5C"])?;

    stage.teller.step("The leader dies", "The four that are left elect another, and the service goes on.")?;
    stage.kill(led.by)?;
    let rest = stage.others(&[led.by]);
    let second = stage.claim_leader_after(&rest, led.term, "another leader, in a later term")?;
    stage.put(&rest, write(WriteKind::Append, "zone1:temp", &["26.0C"]))?;
    claim_list(stage, &rest, &["25.5C", "26.0C"])?;

    let follower = stage.others(&[led.by, second.by])[0];
    let three = stage.others(&[led.by, follower]);
    stage.teller.step(
        &format!("{follower} is cut off too"),
        "Three of five are left: the smallest majority. Writes are still possible, and nothing more may fail.",
    )?;
    let since = stage.now()?;
    let peers = stage.others(&[follower]);
    stage.order(follower, &Fault::Cut { way: Way::Both, peers })?;
    stage.show_faults(since, &[follower])?;
    stage.put(&three, write(WriteKind::Append, "zone1:temp", &["26.5C"]))?;
    claim_list(stage, &three, &["25.5C", "26.0C", "26.5C"])?;
    let behind = stage.list(follower, "zone1:temp").unwrap_or_default();
    stage.claim_that(
        format!("{follower} still reads what it had: its own copy may be old, and is never wrong"),
        behind == ["25.5C", "26.0C"],
        format!("{behind:?}"),
    )?;

    stage.teller.step("Everybody comes back", "Who has missed something gets it from the leader.")?;
    stage.heal()?;
    stage.start(&[led.by])?;
    stage.claim_leader(&nodes, "all five follow one leader")?;
    claim_list(stage, &nodes, &["25.5C", "26.0C", "26.5C"])?;
    let id = stage.append(&nodes, "the end")?;
    stage.claim_equal_logs(&nodes)?;
    stage.claim_never("no term had two leaders, and the last entry is of the last leader's term", 0, |event| {
        wins(event) && event.term > id.term
    })
}

/// Claims that these have this list under the key.
fn claim_list(stage: &mut Stage, nodes: &[NodeId], list: &[&str]) -> Played {
    let claim = format!("{} have it: {}", named(nodes), list.join(", "));
    stage.claim(claim, |stage| {
        let has = |node: &NodeId| stage.list(*node, "zone1:temp").is_some_and(|has| has == list);
        nodes.iter().all(has).then_some(((), Vec::new()))
    })
}
