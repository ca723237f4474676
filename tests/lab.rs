//! The lab's runs over real processes, judged from the logs alone. A partition of the network is
//! played by stopping processes (`kill -STOP`): whoever is stopped neither sends nor hears, and goes
//! on later with the state that it had. That is less than a real partition, whose two sides both go
//! on; the simulation has those.

mod common;

use std::time::Duration;

use common::Lab;
use common::judge::{commits, won};
use raft_lab::raft::event::{Event, Fact, Source};
use raft_lab::raft::types::{NodeId, Role};

/// Timers for runs in which nothing may disturb a leader: a busy machine may hold a process up for a
/// good part of a second.
const PATIENT: [(&str, &str); 2] = [("ELECTION_TIMEOUT_MS", "1500-2500"), ("HEARTBEAT_INTERVAL_MS", "150")];
/// The paper's plain protocol.
const PLAIN: [(&str, &str); 1] = [("PRE_VOTE", "off")];

fn id(node: usize) -> NodeId {
    NodeId(node as u64)
}

fn others(lab: &Lab, node: usize) -> Vec<usize> {
    (1..=lab.size()).filter(|other| *other != node).collect()
}

/// Waits until a node has told something.
fn wait_for_event(lab: &Lab, node: usize, what: &str, is: impl Fn(&Event) -> bool) {
    lab.wait_until(&format!("node {node}: {what}"), || lab.events(node).iter().any(&is).then_some(()));
}

fn wait_for_commit(lab: &Lab, text: &str) {
    for node in lab.running() {
        wait_for_event(lab, node, text, |event| commits(event, text));
    }
}

fn heard(event: &Event, leader: usize) -> bool {
    event.fact == Fact::HeartbeatReceived { from: id(leader) }
}

/// The place of a string in the log that all running nodes have, or none.
fn place(log: &[String], text: &str) -> Option<usize> {
    log.iter().position(|line| line.ends_with(&format!(" \"{text}\"")))
}

#[test]
fn typical_run() {
    let lab = Lab::start_with(3, &PATIENT);
    let leader = lab.wait_for_leader();
    let place = lab.append("SET 5");
    wait_for_commit(&lab, "SET 5");

    // The followers heard the leader; the entry came from the client to it, and from it to them.
    let appended = |event: &Event, from: Source| match &event.fact {
        Fact::Append { span, source } => span.last == place && *source == from,
        _ => false,
    };
    assert_eq!(lab.count(leader, |event| appended(event, Source::Client)), 1, "{}", lab.story());
    for follower in others(&lab, leader) {
        wait_for_event(&lab, follower, "a heartbeat", |event| heard(event, leader));
        assert_eq!(lab.count(follower, |event| appended(event, Source::Leader(id(leader)))), 1, "{}", lab.story());
        assert_eq!(lab.count(follower, won), 0);
        wait_for_event(
            &lab,
            leader,
            "replicated",
            |event| matches!(event.fact, Fact::Replicated { last, on, .. } if last == place && on == id(follower)),
        );
    }
    assert_eq!(lab.leaders(), [(1, id(leader))]);
    lab.judge();
}

/// Two of three are alive, their timeouts pass in the same moment, and they stand against each other
/// in one term: as candidates that each vote for themselves or, with pre-vote, as pre-candidates. (That
/// pre-candidates seldom become competing candidates is what pre-vote is good for.)
fn split_vote(pre_vote: &str) {
    let timers = [("ELECTION_TIMEOUT_MS", "600-1200"), ("HEARTBEAT_INTERVAL_MS", "100"), ("PRE_VOTE", pre_vote)];
    let stands = if pre_vote == "on" { Role::PreCandidate } else { Role::Candidate };
    let competing = |lab: &Lab| {
        let standing = lab.all_events().into_iter().filter(|event| event.role == stands);
        let mut terms: Vec<(u64, NodeId)> = standing.map(|event| (event.term, event.node)).collect();
        terms.sort();
        terms.dedup();
        terms.windows(2).any(|pair| pair[0].0 == pair[1].0)
    };
    for attempt in 1.. {
        let mut lab = Lab::prepare(3, &timers);
        [1, 2].into_iter().for_each(|node| lab.start_node(node));
        for node in [1, 2] {
            wait_for_event(&lab, node, "a peer", |event| matches!(event.fact, Fact::Peer { .. }));
            lab.pause(node);
        }
        // Longer than any timeout: now both are due. No test waits for less than this.
        std::thread::sleep(Duration::from_millis(1300));
        lab.resume_all(&[1, 2]);
        let leader = lab.wait_for_leader();
        if !competing(&lab) && attempt < 20 {
            continue;
        }
        assert!(competing(&lab), "nobody competed in {attempt} attempts\n{}", lab.story());
        println!("PRE_VOTE={pre_vote}: two stood in one term in attempt {attempt}");

        // The elections stop: both see one leader, which commits, and the third one joins it.
        lab.append("after the split");
        lab.start_node(3);
        lab.wait_for_equal_logs();
        assert!(lab.leaders().iter().any(|(_, node)| *node == id(leader)));
        return lab.judge();
    }
}

#[test]
fn split_vote_of_the_plain_protocol() {
    split_vote("off");
}

#[test]
fn split_vote_with_pre_vote() {
    split_vote("on");
}

#[test]
fn dead_leader() {
    let mut lab = Lab::start(3);
    lab.append("before");
    let old = lab.wait_for_leader();
    lab.kill(old);
    let new = lab.wait_for_leader();
    assert_ne!(new, old);
    lab.append("without it");

    lab.start_node(old);
    let log = lab.wait_for_equal_logs();
    assert!(log.len() == 2 && place(&log, "before") == Some(0) && place(&log, "without it") == Some(1), "{log:?}");
    // What it missed came from another node, while it followed.
    let events = lab.events(old);
    let caught_up = events.iter().any(|event| {
        let missed = matches!(event.fact, Fact::Append { source: Source::Leader(_), .. });
        missed && event.role == Role::Follower && event.to_string().contains("\"without it\"")
    });
    assert!(caught_up, "{}", lab.story());
    lab.judge();
}

#[test]
fn dead_follower() {
    let mut lab = Lab::start_with(3, &PATIENT);
    lab.append("before");
    let leader = lab.wait_for_leader();
    let leaders = lab.leaders();
    let follower = others(&lab, leader)[0];
    lab.kill(follower);
    lab.append("without it");
    wait_for_event(
        &lab,
        leader,
        "the loss",
        |event| matches!(&event.fact, Fact::Peer { peer, .. } if *peer == id(follower)),
    );
    lab.start_node(follower);
    assert_eq!(lab.wait_for_equal_logs().len(), 2);
    wait_for_event(&lab, follower, "a heartbeat", |event| heard(event, leader));
    // The same leader of the same term, and no other was ever elected.
    assert_eq!(lab.leader(), Some(leader));
    assert_eq!(lab.leaders(), leaders, "{}", lab.story());
    assert_eq!(Some(lab.newest_term()), leaders.last().map(|(term, _)| *term));
    lab.judge();
}

#[test]
fn leader_election() {
    let mut lab = Lab::start(3);
    let mut terms = Vec::new();
    for round in 1..=3 {
        let leader = lab.wait_for_leader();
        lab.append(&format!("round {round}"));
        let newest = lab.leaders().last().copied();
        terms.extend(newest.map(|(term, _)| term));
        lab.kill(leader);
        lab.wait_for_leader();
        lab.start_node(leader);
    }
    assert!(terms.windows(2).all(|pair| pair[0] < pair[1]), "{terms:?}\n{}", lab.story());
    assert_eq!(lab.wait_for_equal_logs().len(), 3);
    lab.judge();
}

#[test]
fn log_consistency() {
    let lab = Lab::start(3);
    // Each node is asked in turn: a follower names the leader, and the strings stay in order.
    let texts: Vec<String> = (1..=30).map(|number| format!("SET {number}")).collect();
    for text in &texts {
        lab.append(text);
    }
    let log = lab.wait_for_equal_logs();
    let found: Vec<usize> = texts.iter().filter_map(|text| place(&log, text)).collect();
    assert_eq!(found, (0..30).collect::<Vec<_>>(), "{log:?}");
    lab.judge();
}

#[test]
fn crash_and_recovery() {
    let mut lab = Lab::start(3);
    for number in 1..=5 {
        lab.append(&format!("SET {number}"));
    }
    let before = lab.wait_for_equal_logs();
    (1..=3).for_each(|node| lab.kill(node));
    (1..=3).for_each(|node| lab.start_node(node));
    // A new leader must commit something of its own term before the old entries count (§5.4.2).
    lab.append("SET 6");
    let after = lab.wait_for_equal_logs();
    assert_eq!((&after[..5], after.len()), (&before[..], 6));
    lab.judge();
}

#[test]
fn end_to_end() {
    let mut lab = Lab::start(5);
    let mut expected = Vec::new();
    let mut append = |lab: &Lab, count: usize| {
        for _ in 0..count {
            expected.push(format!("SET {}", expected.len()));
            lab.append(&expected[expected.len() - 1]);
        }
    };
    append(&lab, 10);
    let leader = lab.wait_for_leader();
    let follower = others(&lab, leader)[0];
    lab.kill(leader);
    append(&lab, 10);
    lab.kill(follower);
    append(&lab, 10);
    lab.start_node(leader);
    append(&lab, 5);
    lab.start_node(follower);
    append(&lab, 5);
    let log = lab.wait_for_equal_logs();
    let texts: Vec<&str> = log.iter().filter_map(|line| line.split_once(' ').map(|(_, text)| text)).collect();
    let expected: Vec<String> = expected.iter().map(|text| format!("\"{text}\"")).collect();
    assert_eq!(texts, expected);
    lab.judge();
}

#[test]
fn network_partition() {
    // Stopped, not cut off: see the top of this file.
    let lab = Lab::start(3);
    lab.append("together");
    let old = lab.wait_for_leader();
    lab.pause(old);
    let new = lab.wait_for_leader();
    assert_ne!(new, old);
    lab.append("without the old leader");
    lab.resume(old);
    wait_for_event(&lab, old, "it follows", |event| heard(event, new) || event.term > lab.leaders()[0].0);
    let log = lab.wait_for_equal_logs();
    assert_eq!(log.len(), 2, "{log:?}");
    lab.judge();
}

#[test]
fn minority_holds_the_old_leader() {
    let lab = Lab::start(5);
    lab.append("together");
    let old = lab.wait_for_leader();
    let with_it = others(&lab, old)[0];
    [old, with_it].into_iter().for_each(|node| lab.pause(node));
    let new = lab.wait_for_leader();
    assert!(new != old && new != with_it);
    lab.append("by the majority");
    lab.resume_all(&[old, with_it]);
    assert_eq!(lab.wait_for_equal_logs().len(), 2);
    lab.judge();
}

#[test]
fn majority_holds_the_old_leader() {
    let lab = Lab::start_with(5, &PATIENT);
    lab.append("together");
    let leader = lab.wait_for_leader();
    let leaders = lab.leaders();
    let away = [others(&lab, leader)[0], others(&lab, leader)[1]];
    away.into_iter().for_each(|node| lab.pause(node));
    lab.append("by the majority");
    lab.resume_all(&away);
    assert_eq!(lab.wait_for_equal_logs().len(), 2);
    // With pre-vote they come back without a new term.
    assert_eq!(lab.leaders(), leaders, "{}", lab.story());
    lab.judge();
}

#[test]
fn uncommitted_entry_of_a_stopped_leader_is_overwritten() {
    // Without check-quorum, so that the leader goes on alone.
    let mut lab = Lab::start_with(3, &PLAIN);
    lab.append("before");
    let old = lab.wait_for_leader();
    lab.wait_for_equal_logs();
    let followers = others(&lab, old);
    followers.iter().for_each(|node| lab.kill(*node));
    let mut client = lab.connect(old).unwrap_or_else(|error| panic!("{error}"));
    client.send("append \"lost\"").unwrap_or_else(|error| panic!("{error}"));
    wait_for_event(&lab, old, "it appends", |event| {
        matches!(event.fact, Fact::Append { .. }) && event.to_string().contains("\"lost\"")
    });
    lab.kill(old);
    followers.iter().for_each(|node| lab.start_node(*node));
    lab.append("instead");
    lab.start_node(old);
    let log = lab.wait_for_equal_logs();
    assert!(log.len() == 2 && place(&log, "lost").is_none() && place(&log, "instead") == Some(1), "{log:?}");
    assert_eq!(lab.count(old, |event| matches!(event.fact, Fact::Truncate { .. })), 1, "{}", lab.story());
    assert_eq!((1..=3).map(|node| lab.count(node, |event| commits(event, "lost"))).sum::<usize>(), 0);
    lab.judge();
}

#[test]
fn a_leader_without_a_majority_answers_unknown() {
    let mut lab = Lab::start(3);
    let leader = lab.wait_for_leader();
    let mut client = lab.connect(leader).unwrap_or_else(|error| panic!("{error}"));
    let followers = others(&lab, leader);
    followers.iter().for_each(|node| lab.kill(*node));
    client.send("append \"perhaps\"").unwrap_or_else(|error| panic!("{error}"));
    let answer = client.line().unwrap_or_else(|error| panic!("{error}"));
    // If it had stepped down before it heard of the request, it is certain that nothing was appended.
    assert!(answer.starts_with("unknown ") || answer.starts_with("error no-leader "), "{answer}");
    wait_for_event(&lab, leader, "it steps down", |event| {
        event.role == Role::Follower && matches!(event.fact, Fact::State { from: Role::Leader, .. })
    });
    followers.iter().for_each(|node| lab.start_node(*node));
    lab.append("certain");
    let log = lab.wait_for_equal_logs();
    assert!(place(&log, "certain").is_some() && log.len() <= 2, "{log:?}");
    lab.judge();
}

/// `alive` of `size` nodes are left, too few, and the leader is not among them. What `until` waits for
/// happens; then all return.
fn too_few(size: usize, alive: usize, settings: &[(&str, &str)], until: impl Fn(&Lab, &[usize], u64)) {
    let mut lab = Lab::start_with(size, settings);
    lab.append("before");
    let leader = lab.wait_for_leader();
    lab.wait_for_equal_logs();
    let left: Vec<usize> = others(&lab, leader)[..alive].to_vec();
    let dead: Vec<usize> = (1..=size).filter(|node| !left.contains(node)).collect();
    dead.iter().for_each(|node| lab.kill(*node));
    let term = left.iter().filter_map(|node| lab.status(*node)).map(|status| status.term).max().unwrap_or(0);
    until(&lab, &left, term);

    for node in &left {
        let answer = lab.wait_until("it knows that there is no leader", || {
            let answer = lab.ask(*node, "append \"nobody commits this\"").ok()?;
            answer.first().filter(|line| line.starts_with("error no-leader ")).cloned()
        });
        assert!(!answer.is_empty());
        let status = lab.status(*node).unwrap_or_else(|| lab.fail("no status"));
        assert_eq!((status.leader, lab.count(*node, |event| commits(event, "nobody commits this"))), (None, 0));
    }
    dead.iter().for_each(|node| lab.start_node(*node));
    lab.append("after");
    let log = lab.wait_for_equal_logs();
    assert!(log.len() == 2 && place(&log, "after") == Some(1), "{log:?}");
    lab.judge();
}

fn terms_grow(lab: &Lab, left: &[usize], term: u64) {
    for node in left {
        wait_for_event(lab, *node, "terms grow", |event| event.term >= term + 3);
    }
}

/// Each asks again and again whether it could win, and stays in its term.
fn terms_stay(lab: &Lab, left: &[usize], term: u64) {
    for node in left {
        lab.wait_until(&format!("node {node} asks three times"), || {
            let asked = |event: &Event| matches!(event.fact, Fact::AskedAgain { .. });
            (lab.count(*node, asked) >= 3).then_some(())
        });
        assert_eq!(lab.status(*node).map(|status| status.term), Some(term), "{}", lab.story());
    }
}

#[test]
fn two_of_five_alive_and_terms_grow() {
    too_few(5, 2, &PLAIN, terms_grow);
}

#[test]
fn two_of_five_alive_and_terms_stay() {
    too_few(5, 2, &[], terms_stay);
}

#[test]
fn one_of_three_alive_and_terms_grow() {
    too_few(3, 1, &PLAIN, terms_grow);
}

#[test]
fn one_of_three_alive_and_terms_stay() {
    too_few(3, 1, &[], terms_stay);
}
