//! The questions of the course's report: an entry of a stopped leader that nobody committed, a cluster without a
//! majority, and both partitions, with pre-vote and without.

use raft_lab::raft::event::{Event, Fact};
use raft_lab::raft::types::{EntryId, NodeId, Role, Term};
use raft_lab::wire::fault::{Fault, Way};

use super::moves::{appends, commits, named, wins};
use super::stage::{Led, Mark, Played, Stage};

/// So many terms must pass in vain before they count as growing.
const GROWTH: Term = 3;

fn removes(event: &Event, id: EntryId) -> bool {
    matches!(event.fact, Fact::Truncate { first, last, .. } if (first.index..=last.index).contains(&id.index))
}

pub fn overwritten_entry(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step("Three nodes, one leader", "and a string that all have.")?;
    let old = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    let start = stage.now()?;
    let before = stage.append(&nodes, "kept")?;
    stage.claim_committed(&nodes, before, start)?;

    let rest = stage.others(&[old.by]);
    stage.teller.step(
        "The leader takes a string that nobody else hears of",
        "Its network is cut a moment before, and it dies a moment after. The string is on its disk and on no other: it is \
         not committed, and the client was told nothing.",
    )?;
    let since = stage.now()?;
    stage.order(old.by, &Fault::Cut { way: Way::Both, peers: rest.clone() })?;
    stage.show_faults(since, &[old.by])?;
    let claim = format!("{} has it in its log, and no answer for the client", old.by);
    let (lost, waits) = stage.offer(old.by, "lost", claim)?;
    stage.kill(old.by)?;
    drop(waits);

    stage.teller.step(
        "The others go on",
        &format!(
            "They elect a leader, and it puts an entry of its own at index {}: where the dead node has {lost}.",
            lost.index
        ),
    )?;
    let new = stage.claim_leader_after(&rest, old.term, "another leader, in a later term")?;
    stage.claim_lines(format!("{} opens its term with an entry at index {}", new.by, lost.index), |stage| {
        let opens = |event: &Event| appends(event, EntryId::new(lost.index, event.term)) && event.term > old.term;
        Some(vec![stage.find(new.by, since, opens)?])
    })?;
    let kept = stage.append(&rest, "kept too")?;
    stage.claim_committed(&rest, kept, since)?;

    let back = stage.now()?;
    stage.teller.step(
        "The dead leader comes back",
        "Its log and the leader's part at that index. The leader's wins: a follower removes what conflicts, and all behind \
         it (§5.3). It may, for what is not committed was promised to nobody.",
    )?;
    stage.start(&[old.by])?;
    stage.claim_lines_or(
        format!("{lost} is overwritten"),
        |stage| Some(vec![stage.find(old.by, back, |event| removes(event, lost))?]),
        |stage| stage.status(old.by).is_some_and(|status| status.term >= new.term && status.applied >= lost.index),
    )?;
    stage.claim_caught_up(old.by, kept, back)?;
    stage.claim_leader(&nodes, "all follow one leader")?;
    stage.claim_never(format!("no node has ever committed {lost}"), start, |event| commits(event, lost))?;
    let log = stage.claim_equal_logs(&nodes)?;
    let there = |text: &str| log.iter().any(|line| line.ends_with(text));
    stage.claim_that(
        "\"lost\" is nowhere",
        !log.iter().any(|line| *line == format!("{lost} \"lost\"")),
        log.join(", "),
    )?;
    stage.claim_that("what was committed is there", there("\"kept\"") && there("\"kept too\""), log.join(", "))
}

/// Few are left: what they do without a majority, with pre-vote and without. The newest of their terms.
fn without_majority(stage: &mut Stage, left: &[NodeId], since: Mark, term: Term) -> Played<Term> {
    stage.claim_refused(left[0], "in vain")?;
    let newest = match stage.pre_vote {
        false => stage.claim_terms_grow(left, since, term + GROWTH)?,
        true => {
            stage.claim_terms_stay(left, since, term)?;
            term
        }
    };
    let (of, commit) = (left.to_vec(), |event: &Event| matches!(event.fact, Fact::Commit { .. }));
    stage.claim_never(format!("{} elect nobody and commit nothing", named(left)), since, |event| {
        of.contains(&event.node) && (wins(event) || commit(event))
    })?;
    Ok(newest)
}

fn why_terms(stage: &Stage) -> &'static str {
    match stage.pre_vote {
        false => "Without pre-vote each attempt raises the term, votes for itself, and fails.",
        true => {
            "With pre-vote a node asks first whether a majority would vote for it; only then does it raise its term \
             (thesis §9.6)."
        }
    }
}

/// All come back: one leader, equal logs, and strings are committed again.
fn all_return(stage: &mut Stage, down: &[NodeId], newest: Term, term: Term) -> Played {
    let nodes = stage.nodes();
    let why = match stage.pre_vote {
        false => format!(
            "A majority again. The next leader's term is not t{} but t{newest} at least: terms only grow.",
            term + 1
        ),
        true => format!(
            "A majority again, and the terms have stayed small: the next leader's is the next after t{term}, or soon after."
        ),
    };
    stage.teller.step("All come back", &why)?;
    stage.start(down)?;
    let beyond = if stage.pre_vote { term } else { newest - 1 };
    let new = stage.claim_leader_after(&nodes, beyond, "one leader, and all follow it")?;
    let since = stage.now()?;
    let id = stage.append(&nodes, &format!("in t{}", new.term))?;
    stage.claim_committed(&nodes, id, since)?;
    stage.claim_equal_logs(&nodes).map(|_| ())
}

pub fn two_of_five(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step("Five nodes, one leader", "and a string that all have.")?;
    let led = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    let start = stage.now()?;
    let id = stage.append(&nodes, "with five")?;
    stage.claim_committed(&nodes, id, start)?;
    let followers = stage.others(&[led.by]);
    let (down, left) = (vec![led.by, followers[0], followers[1]], followers[2..].to_vec());
    let why = why_terms(stage);
    stage.teller.step(
        "Three of five die, the leader among them",
        &format!(
            "A majority of five is three, whether they run or not: the two that are left cannot elect anybody. {why}"
        ),
    )?;
    for node in &down {
        stage.kill(*node)?;
    }
    let since = stage.now()?;
    let term = stage.statuses(&left).and_then(|left| left.iter().map(|status| status.term).max()).unwrap_or(led.term);
    let newest = without_majority(stage, &left, since, term)?;
    all_return(stage, &down, newest, led.term)
}

pub fn one_of_three(stage: &mut Stage) -> Played {
    let nodes = stage.nodes();
    stage.teller.step("Three nodes, one leader", "and a string that all have.")?;
    let led = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    let start = stage.now()?;
    let id = stage.append(&nodes, "with three")?;
    stage.claim_committed(&nodes, id, start)?;
    let followers = stage.others(&[led.by]);
    let (dies, left) = (followers[0], followers[1]);
    stage.teller.step("A follower dies", "Two of three are a majority: nothing changes.")?;
    let since = stage.now()?;
    stage.kill(dies)?;
    let id = stage.append(&[led.by, left], "with two")?;
    stage.claim_committed(&[led.by, left], id, since)?;
    let now = stage.claim_leader(&[led.by, left], "there is a leader, as before")?;

    let why = why_terms(stage);
    let (dies_too, last) = (now.by, if now.by == left { led.by } else { left });
    stage.teller.step("Then the leader dies", &format!("One of three is no majority. {why}"))?;
    stage.kill(dies_too)?;
    let since = stage.now()?;
    let term = stage.status(last).map_or(now.term, |status| status.term);
    let newest = without_majority(stage, &[last], since, term)?;
    let log = stage.log(last).unwrap_or_default();
    stage.claim_that(
        format!("what was committed can still be read from {last}'s own copy"),
        log.iter().any(|line| line.starts_with(&format!("{id} "))),
        log.join(", "),
    )?;
    all_return(stage, &[dies, dies_too], newest, now.term)
}

/// A cluster that has been cut in two.
struct Parted {
    few: Vec<NodeId>,
    many: Vec<NodeId>,
    /// Who led before.
    old: Led,
    since: Mark,
}

/// Five nodes; the network is cut so that these stay with the leader.
fn part(stage: &mut Stage, with_leader: usize, why: &str) -> Played<Parted> {
    let nodes = stage.nodes();
    stage.teller.step("Five nodes, one leader", "and a string that all have.")?;
    let old = stage.claim_leader(&nodes, "one leader, and all follow it")?;
    let start = stage.now()?;
    let id = stage.append(&nodes, "before the partition")?;
    stage.claim_committed(&nodes, id, start)?;
    let mut side = vec![old.by];
    side.extend(stage.others(&[old.by]).into_iter().take(with_leader - 1));
    let other = stage.others(&side);
    let since = stage.now()?;
    stage.teller.step(&format!("The network parts: {} here, {} there", named(&side), named(&other)), why)?;
    stage.partition(&side, &other)?;
    let (few, many) = if with_leader <= 2 { (side, other) } else { (other, side) };
    Ok(Parted { few, many, old, since })
}

pub fn minority_holds_leader(stage: &mut Stage) -> Played {
    let why = "The old leader has one follower left. It cannot commit any more; the other three are a majority, and miss \
               its heartbeats.";
    let Parted { few, many, old, since } = part(stage, 2, why)?;
    let follower = if few[0] == old.by { few[1] } else { few[0] };
    let claim = format!("{} takes a string into its log: on two of five nodes at best", old.by);
    let (lost, _waits) = stage.offer(old.by, "on the wrong side", claim)?;
    let new = stage.claim_leader_after(&many, old.term, "the three elect a leader, in a later term")?;
    let kept = stage.append(&many, "on the right side")?;
    stage.claim_committed(&many, kept, since)?;
    let newest = match stage.pre_vote {
        true => {
            stage.claim_lines(
                format!("{} finds that no majority answers, and leads no longer (thesis §6.2)", old.by),
                |stage| {
                    let down = |event: &Event| matches!(event.fact, Fact::State { from: Role::Leader, .. });
                    Some(vec![stage.find(old.by, since, down)?])
                },
            )?;
            stage.claim_terms_stay(&few, since, old.term)?;
            None
        }
        false => Some(two_leaders(stage, &few, old, follower, new)?),
    };
    stage.claim_never(format!("{lost} was committed by nobody"), since, |event| commits(event, lost))?;
    let new = stage.claim_leader(&many, "the three still have a leader")?;
    reunite(stage, &few, &many, new, newest)?;
    stage.claim_lines(format!("{lost} is overwritten where it was: it was promised to nobody (§5.3)"), |stage| {
        Some(vec![stage.find(old.by, since, |event| removes(event, lost))?])
    })?;
    stage.claim_never(format!("{lost} was never committed"), since, |event| commits(event, lost))?;
    let nodes = stage.nodes();
    stage.claim_equal_logs(&nodes).map(|_| ())
}

/// Without pre-vote: the old leader goes on in its old term, until somebody on its side stands for election. The
/// newest term there.
fn two_leaders(stage: &mut Stage, few: &[NodeId], old: Led, follower: NodeId, new: Led) -> Played<Term> {
    let status = stage.status(old.by);
    let leads = status.as_ref().is_some_and(|status| status.role == Role::Leader && status.term == old.term);
    stage.claim_that(
        format!(
            "{} still calls itself the leader of t{}, while {} leads t{}: two leaders, but in two terms, and only one of \
             them can commit",
            old.by, old.term, new.by, new.term
        ),
        leads,
        status.map_or("it does not answer".to_string(), |status| format!("{} in t{}", status.role, status.term)),
    )?;
    stage.teller.step(
        "Somebody on the smaller side stands for election",
        &format!(
            "Plain Raft's leader leads on without a majority; that of the report (PySyncObj) gives up. We let the timer of \
             {follower} fire: its new term makes {} a follower, neither can win, and both try again and again.",
            old.by
        ),
    )?;
    let since = stage.now()?;
    stage.order(follower, &Fault::Timeout)?;
    stage.show_faults(since, &[follower])?;
    stage.claim_terms_grow(few, since, new.term + GROWTH)
}

pub fn majority_holds_leader(stage: &mut Stage) -> Played {
    let why = format!(
        "The leader keeps a majority: it goes on as if nothing had happened. The other two hear nobody. {}",
        why_terms(stage)
    );
    let Parted { few, many, old, since } = part(stage, 3, &why)?;
    let kept = stage.append(&many, "on the side of the majority")?;
    stage.claim_committed(&many, kept, since)?;
    let newest = without_majority(stage, &few, since, old.term)?;
    let led = stage.claim_leader(&many, "the three have a leader")?;
    if stage.pre_vote {
        let because = format!("{} leads t{}", led.by, led.term);
        stage.claim_that(format!("it is {} in t{}, as before", old.by, old.term), led == old, because)?;
    }
    let healed = stage.now()?;
    reunite(stage, &few, &many, led, (!stage.pre_vote).then_some(newest))?;
    stage.claim_lines(format!("{} get what they have missed", named(&few)), |stage| {
        stage.find_each(&few, healed, |event| appends(event, kept))
    })?;
    let nodes = stage.nodes();
    stage.claim_equal_logs(&nodes).map(|_| ())
}

/// Ends the partition. Where terms have grown to `newest` the leader of the majority must go; otherwise it stays.
fn reunite(stage: &mut Stage, few: &[NodeId], many: &[NodeId], led: Led, newest: Option<Term>) -> Played {
    let nodes = stage.nodes();
    let since = stage.now()?;
    let Some(newest) = newest else {
        stage.teller.step(
            "The network is whole again",
            &format!(
                "The terms of {} have not grown, so nothing forces an election: they hear {} and follow it.",
                named(few),
                led.by
            ),
        )?;
        stage.heal()?;
        stage.claim_leader(&nodes, "all five follow one leader")?;
        return stage.claim_never(format!("it is {} in t{}, still: nobody was elected", led.by, led.term), since, wins);
    };
    stage.teller.step(
        "The network is whole again",
        &format!(
            "{} are at t{newest} and more, {} leads t{}. Whoever hears of a newer term follows it, a leader of a majority \
             too (§5.1): there must be an election, although nothing was wrong with that leader. This is the jump of the \
             terms in the report, and what pre-vote is for.",
            named(few),
            led.by,
            led.term
        ),
    )?;
    stage.heal()?;
    stage.claim_lines(format!("{} hears of a newer term, and leads no longer", led.by), |stage| {
        let down = |event: &Event| matches!(event.fact, Fact::State { from: Role::Leader, .. });
        Some(vec![stage.find(led.by, since, down)?])
    })?;
    let new =
        stage.claim_leader_after(&nodes, newest - 1, "one leader, in a term as new as that of the smaller side")?;
    stage.claim_that(
        format!(
            "{} is of the larger side: the others lack a committed entry, so nobody there votes for them (§5.4.1)",
            new.by
        ),
        many.contains(&new.by),
        format!("{} leads t{}", new.by, new.term),
    )
}
