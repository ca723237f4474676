//! The lab's four runs (week 6): typical run, split vote, dead leader, dead follower.

use raft_lab::raft::event::{Event, Fact, Source};
use raft_lab::raft::types::{NodeId, Term};
use raft_lab::wire::fault::{Fault, Way};

use super::moves::{appends, commits, heard_from, named, wins};
use super::stage::{Led, Mark, Played, Stage, Stop};

pub fn typical_run(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step(
        "Three nodes start",
        "Each starts as a follower and waits for a leader's heartbeat. There is none, so the node whose election \
         timeout, drawn at random, passes first asks the others for their votes (§5.2).",
    )?;
    let led = stage.claim_leader(&nodes, "one node wins the election, and all follow it")?;
    let followers = stage.others(&[led.by]);
    stage.claim_lines("a majority gave it their votes, its own among them", |stage| {
        let own = |event: &Event| matches!(event.fact, Fact::VotedForItself { .. }) && event.term == led.term;
        let other = |event: &Event| matches!(event.fact, Fact::Received { pre: false, .. }) && event.term == led.term;
        Some(vec![stage.find(led.by, 0, own)?, stage.find(led.by, 0, other)?])
    })?;

    let since = stage.now()?;
    stage.teller.step(
        "A client appends a string",
        "It goes to the leader, who writes it to its disk and sends it to the followers. Once a majority has it on disk \
         it is committed: it can never be lost or changed any more (§5.3).",
    )?;
    let id = stage.append(&nodes, "SET 5")?;
    stage.claim_lines("the leader takes it from the client", |stage| {
        let taken =
            |event: &Event| appends(event, id) && matches!(event.fact, Fact::Append { source: Source::Client, .. });
        Some(vec![stage.find(led.by, since, taken)?])
    })?;
    stage.claim_lines(format!("{} take it from the leader", named(&followers)), |stage| {
        stage.find_each(&followers, since, |event| appends(event, id))
    })?;
    stage.claim_lines("the leader commits it once a majority has it: the REPLICATED line comes first", |stage| {
        let replicated = |event: &Event| matches!(event.fact, Fact::Replicated { last, .. } if last.index >= id.index);
        let copy = stage.find(led.by, since, replicated)?;
        let commit = stage.find(led.by, since, |event| commits(event, id))?;
        (copy < commit).then(|| vec![copy, commit])
    })?;
    stage.claim_committed(&followers, id, since)?;

    let since = stage.now()?;
    stage.teller.step(
        "Then nothing happens",
        "which is what the leader's heartbeats are for: as long as they come, nobody stands for election.",
    )?;
    stage.claim_lines(format!("{} hear {} again and again", named(&followers), led.by), |stage| {
        let heard = |event: &Event| heard_from(event, led.by);
        let third = |node: &NodeId| stage.events(*node, since).filter(|(_, event)| heard(event)).nth(2);
        followers.iter().map(|node| third(node).map(|(at, _)| at)).collect()
    })?;
    stage.claim_never("there was one leader, and no second election", 0, |event| {
        wins(event) && event.term != led.term
    })?;
    stage.claim_equal_logs(&nodes).map(|_| ())
}

/// Attempts to make two timers fire together: on a busy machine one may come too late.
const ATTEMPTS: usize = 10;

pub fn split_vote(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step(
        "A leader first",
        "By themselves votes hardly ever split: the timeouts are random, so that one node is first. We make it \
         happen, and start from a healthy cluster.",
    )?;
    let mut led = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    for attempt in 1..=ATTEMPTS {
        let rivals = stage.others(&[led.by]);
        split(stage, led, &rivals)?;
        if let Some((since, term)) = two_candidates(stage, &rivals)? {
            return settle(stage, led, &rivals, since, term);
        }
        if attempt < ATTEMPTS {
            stage.teller.say("This time one of them was quicker: this machine is busy. Once more.")?;
            stage.heal()?;
            led = stage.claim_leader(&nodes, "one leader again")?;
        }
    }
    let claim = format!("two timers fire in the same moment in one of {ATTEMPTS} attempts");
    Err(Stop::Broken { claim, line: "one was always first".to_string() })
}

/// Takes the leader away, and lets the timers of the others fire together.
fn split(stage: &mut Stage, led: Led, rivals: &[NodeId]) -> Played {
    stage.teller.step(
        &format!("We take the leader away: nobody hears {} any more", led.by),
        "so that the others will have to elect a new one. They still hear each other.",
    )?;
    let since = stage.now()?;
    stage.order(led.by, &Fault::Cut { way: Way::Both, peers: rivals.to_vec() })?;
    stage.show_faults(since, &[led.by])?;
    stage.teller.step(
        "We slow the network down between the two that are left",
        "What one says reaches the other only later: whoever asks for votes now is not heard in time by the other, who \
         asks for votes too.",
    )?;
    let (since, by) = (stage.now()?, stage.timers.low / 3);
    for (node, peer) in [(rivals[0], rivals[1]), (rivals[1], rivals[0])] {
        stage.order(node, &Fault::Delay { peer, by })?;
    }
    stage.show_faults(since, rivals)?;
    if stage.pre_vote {
        // While a leader was heard a moment ago nobody would be given a pre-vote (thesis §9.6).
        let quiet = stage.timers.heartbeat * 2;
        let forgotten = |stage: &mut Stage| {
            let statuses = stage.statuses(rivals)?;
            statuses.iter().all(|status| status.heard.is_none_or(|heard| heard > quiet)).then_some(())
        };
        stage.wait(|stage| Ok(forgotten(stage)))?;
    }
    Ok(())
}

/// Fires the timers; the term in which both stood, if they did.
fn two_candidates(stage: &mut Stage, rivals: &[NodeId]) -> Played<Option<(Mark, Term)>> {
    stage.teller.step(
        "Now both election timers fire in the same moment",
        "Each becomes a candidate, raises its term by one, votes for itself, and asks the other (§5.2).",
    )?;
    let since = stage.now()?;
    stage.fire_together(rivals)?;
    let stood = |event: &Event| matches!(event.fact, Fact::VotedForItself { .. });
    let denied = |event: &Event| matches!(event.fact, Fact::Denied { pre: false, .. });
    let outcome = stage.wait(|stage| {
        if stage.find_any(since, wins).is_some() {
            return Ok(Some(None));
        }
        let Some(denials) = stage.find_each(rivals, since, denied) else { return Ok(None) };
        let Some(votes) = stage.find_each(rivals, since, stood) else { return Ok(None) };
        let terms: Vec<Term> = votes.iter().filter_map(|at| stage.event(*at)).map(|event| event.term).collect();
        Ok(Some((terms[0] == terms[1]).then_some((terms[0], votes, denials))))
    })?;
    let Some(Some((term, votes, denials))) = outcome else { return Ok(None) };
    stage.teller.holds(&format!("both stand in t{term}, and each votes for itself: one vote each"))?;
    stage.show(votes)?;
    stage.teller.holds("each asks the other, and is refused: a node has one vote a term, and both have used it")?;
    stage.show(denials)?;
    stage.teller.say(&format!(
        "That is the split vote. A majority is two of three, so nobody can win t{term}. It costs time, and nothing else: \
         no entry is lost, and no node is confused about who leads, for nobody does."
    ))?;
    Ok(Some((since, term)))
}

/// Random timeouts end it.
fn settle(stage: &mut Stage, old: Led, rivals: &[NodeId], since: Mark, term: Term) -> Played {
    let nodes = stage.nodes();
    let healed = stage.now()?;
    stage.teller.step(
        "We let them be: their messages are quick again",
        "Both wait for votes in vain, each for an election timeout of its own, drawn anew. Whose is shorter stands first, \
         in the next term, and the other has a fresh vote for that. This is why the timeouts are random.",
    )?;
    for node in rivals {
        stage.order(*node, &Fault::Heal)?;
    }
    stage.show_faults(healed, rivals)?;
    let new = stage.claim_leader_after(rivals, term, "one of the two wins a later term, with the other's vote")?;
    stage.claim_lines("with two votes of three", |stage| {
        let stood = |event: &Event| matches!(event.fact, Fact::VotedForItself { .. }) && event.term == new.term;
        let received =
            |event: &Event| matches!(event.fact, Fact::Received { pre: false, .. }) && event.term == new.term;
        Some(vec![stage.find(new.by, since, stood)?, stage.find(new.by, since, received)?])
    })?;
    stage.claim_never(format!("t{term}, the split term, had no leader, and never will"), 0, |event| {
        wins(event) && event.term == term
    })?;
    stage.teller.step(
        &format!("{} comes back", old.by),
        &format!("It led t{}, and hears of t{}: a newer term makes it a follower (§5.1).", old.term, new.term),
    )?;
    let back = stage.now()?;
    stage.order(old.by, &Fault::Heal)?;
    let led = stage.claim_leader_after(&nodes, term, "all three follow one leader: the elections are over")?;
    stage.claim_lines(format!("{} hears it", old.by), |stage| {
        let heard = |event: &Event| matches!(event.fact, Fact::HeartbeatReceived { .. });
        (old.by == led.by).then(Vec::new).or_else(|| stage.find_each(&[old.by], back, heard))
    })?;
    let since = stage.now()?;
    let id = stage.append(&nodes, "after the split")?;
    stage.claim_committed(&nodes, id, since)
}

pub fn dead_leader(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step("A leader, and a string in the log", "That is what must survive.")?;
    let old = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    let since = stage.now()?;
    let before = stage.append(&nodes, "before the leader died")?;
    stage.claim_committed(&nodes, before, since)?;

    let rest = stage.others(&[old.by]);
    let since = stage.now()?;
    stage.teller.step(
        "The leader dies",
        "at once, without a word, as with docker container kill. The others hear no heartbeat any more; the one whose \
         election timeout passes first stands for election. Two of three are a majority.",
    )?;
    stage.kill(old.by)?;
    stage.claim_lines("a follower misses its heartbeats, and does not wait for ever", |stage| {
        let misses = |event: &Event| matches!(&event.fact, Fact::State { why, .. } if why.starts_with("no heartbeat"));
        stage.find_any(since, misses).map(|at| vec![at])
    })?;
    let new = stage.claim_leader_after(&rest, old.term, "another node leads, in a later term")?;
    let after = stage.append(&rest, "without the old leader")?;
    stage.claim_committed(&rest, after, since)?;

    let back = stage.now()?;
    stage.teller.step(
        "The dead leader comes back",
        "It remembers its term, its vote and its log from its disk; that it led it must forget. It starts as a follower \
         like any other, and the new leader sends it what it has missed.",
    )?;
    stage.start(&[old.by])?;
    stage.claim_lines(format!("{} hears the new leader, as a follower", old.by), |stage| {
        stage.find_each(&[old.by], back, |event| heard_from(event, new.by))
    })?;
    stage.claim_caught_up(old.by, after, back)?;
    stage.claim_never(format!("{} did not become the leader again", old.by), back, |event| {
        wins(event) && event.node == old.by
    })?;
    stage.claim_leader(&nodes, "all follow one leader")?;
    stage.claim_equal_logs(&nodes).map(|_| ())
}

pub fn dead_follower(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step("A leader and two followers", "One of the followers will die.")?;
    let led = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    let dies = stage.others(&[led.by])[0];
    let rest = stage.others(&[dies]);
    let since = stage.now()?;
    stage.teller.step(
        "A follower dies",
        "The leader and the other follower are still a majority: nobody misses a heartbeat, so there is no election, and \
         strings are committed as before.",
    )?;
    stage.kill(dies)?;
    stage.claim_lines(format!("the leader notices that {dies} is gone, and goes on"), |stage| {
        let gone = |event: &Event| matches!(event.fact, Fact::Peer { peer, .. } if peer == dies);
        stage.find_each(&[led.by], since, gone)
    })?;
    let id = stage.append(&rest, "without the follower")?;
    stage.claim_committed(&rest, id, since)?;
    let back = stage.now()?;
    stage.teller.step(
        "The follower comes back",
        "With its disk. It may have missed some entries; the leader finds out where their logs part, and sends it the rest \
         (§5.3).",
    )?;
    stage.start(&[dies])?;
    stage.claim_lines(format!("{dies} hears its leader"), |stage| {
        stage.find_each(&[dies], back, |event| heard_from(event, led.by))
    })?;
    stage.claim_caught_up(dies, id, back)?;
    stage.claim_never("the leader has not changed: nobody won an election meanwhile", since, wins)?;
    let now = stage.claim_leader(&nodes, "all follow it")?;
    let because = format!("now {} leads t{}", now.by, now.term);
    stage.claim_that(format!("it is {} in t{}, as before", led.by, led.term), now == led, because)?;
    stage.claim_equal_logs(&nodes).map(|_| ())
}
