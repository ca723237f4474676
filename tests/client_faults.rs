//! `client fault`, `partition`, `heal` and `split-vote` on real nodes: what they do, what they say, how they end.

mod common;

use std::process::{Command, Output, Stdio};

use common::{CALM, Lab};
use raft_lab::raft::event::Fact;
use raft_lab::raft::types::Role;

const ON: (&str, &str) = ("FAULTS", "on");

fn client(lab: &Lab, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.env_clear().env("CLUSTER", lab.peers()).args(arguments).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("cannot run the client: {error}"))
}

/// What a command that succeeds prints; it says nothing on standard error.
#[track_caller]
fn done(lab: &Lab, arguments: &[&str]) -> String {
    let output = client(lab, arguments);
    let (text, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), &*wrong), (Some(0), ""), "{arguments:?}: {text}");
    text.into_owned()
}

/// What a command that fails says on standard error.
#[track_caller]
fn failed(lab: &Lab, arguments: &[&str], code: i32) -> String {
    let output = client(lab, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_fault_is_told_in_words_with_what_to_look_for() {
    let lab = Lab::start_with(3, &[ON]);
    lab.wait_for_leader();
    for (arguments, order, what) in [
        (&["cut", "2", "3"][..], "cut 2 3", "nothing passes between it and node_2, node_3"),
        (&["cut", "--from", "node_2"], "cut --from 2", "what node_2 says does not arrive there"),
        (&["cut", "2", "3", "--to"], "cut --to 2 3", "what it says does not arrive at node_2, node_3"),
        (&["delay", "2", "20ms"], "delay 2 20ms", "arrives at node_2 20 ms later"),
        (&["loss", "3", "5%"], "loss 3 5%", "of what it says to node_3, 5% is lost"),
        (&["heal"], "heal", "everything passes again"),
        (&["timeout"], "timeout", "its election timer has fired"),
        (&["pause", "10ms"], "pause 10ms", "it does nothing for 0.01 s"),
        (&["crash", "--for", "100ms"], "crash --for 100ms", "starts again from its disk in 0.1 s"),
    ] {
        let told = done(&lab, &[&["fault", "1"], arguments].concat());
        let lines: Vec<_> = told.lines().collect();
        assert!(lines[0].starts_with(&format!("node_1: {order}: ")) && lines[0].contains(what), "{told}");
        assert!(
            lines.len() == 2 && lines[1].starts_with(&format!("  its log says FAULT {order}; look for ")),
            "{told}"
        );
        lab.wait_until(order, || {
            lab.lines(1).iter().find(|line| line.contains(&format!(" FAULT      {order}: "))).cloned()
        });
    }
    lab.wait_until("node 1 is back", || lab.status(1));
    for (arguments, why) in [
        (&[][..], "fault expects a node"),
        (&["4", "heal"], "a number from 1 to 3, got \"4\""),
        (&["1"], "expected cut, delay, loss"),
        (&["1", "cut"], "expected a node like 2"),
        (&["1", "pause", "1h"], "500ms or 5s, 1ms to 3600s"),
        (&["1", "crash", "--for"], "--for expects TIME"),
    ] {
        let error = failed(&lab, &[&["fault"], arguments].concat(), 2);
        assert!(error.contains(why) && error.lines().count() == 1, "{arguments:?}: {error}");
    }
    let error = failed(&lab, &["fault", "1", "cut", "1"], 1);
    assert!(error.contains("cut 1 was not done: refused: node_1 is this node itself"), "{error}");
}

#[test]
fn nodes_without_leave_refuse_and_the_client_says_the_cure() {
    let lab = Lab::start(3);
    let leader = lab.wait_for_leader();
    for arguments in [&["fault", "1", "crash"][..], &["partition", "1"], &["heal"], &["split-vote"]] {
        let error = failed(&lab, arguments, 1);
        assert!(error.contains("start it with FAULTS=on or --faults on"), "{error}");
    }
    assert_eq!(lab.leader(), Some(leader));
}

#[test]
fn a_partition_and_its_end() {
    let mut lab = Lab::start_with(5, &[ON]);
    let old = lab.wait_for_leader();
    lab.append("together");
    // The leader and one more on one side.
    let others: Vec<usize> = (1..=5).filter(|node| *node != old).collect();
    let names = |nodes: &[usize]| nodes.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let (small, large) = ([old, others[0]], &others[1..]);
    // Another one before it leaves no trace.
    done(&lab, &["partition", &names(&[old])]);
    let told = done(&lab, &["partition", &names(&small), &names(large)]);
    assert!(
        told.contains("no majority: nothing is committed there") && told.contains("a majority: it can elect"),
        "{told}"
    );
    assert_eq!(told.matches("hears its own part only: heal, cut ").count(), 5, "{told}");
    let new = lab.wait_until("the large part has a leader", || {
        large.iter().copied().find(|node| lab.status(*node).is_some_and(|status| status.role == Role::Leader))
    });
    lab.wait_until("the old leader has stepped down", || {
        lab.status(old).filter(|status| status.role != Role::Leader && status.term < lab.status(new).unwrap().term)
    });
    for node in small {
        let up = || lab.status(node).map(|status| status.peers.iter().filter(|(_, up)| *up).count());
        lab.wait_until("it hears its own part only", || (up() == Some(1)).then_some(()));
    }
    lab.append("without two");
    assert_eq!(lab.log(old).map(|log| log.len()), Some(1));

    // One that is dead is told of, and the others are healed all the same.
    lab.kill(small[1]);
    let output = client(&lab, &["heal"]);
    let (told, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told.matches(": healed").count(), 4, "{told}");
    assert!(error.contains(&format!("node_{} did nothing: connection refused", small[1])), "{error}");
    lab.start_node(small[1]);
    assert_eq!(lab.wait_for_equal_logs().len(), 2);
    assert_eq!(done(&lab, &["heal"]).matches(": healed").count(), 5);
    lab.judge();

    for (arguments, why) in [(&["1,2", "2,3"][..], "named twice"), (&[], "at least two parts"), (&["6"], "from 1 to 5")]
    {
        assert!(failed(&lab, &[&["partition"], arguments].concat(), 2).contains(why));
    }
}

/// Fails the test unless the term was split: so many stood, and nobody won.
fn is_split(lab: &Lab, told: &str, standing: usize) {
    let term = told.lines().find_map(|line| line.strip_prefix('t')?.split_once(" has no leader")?.0.parse().ok());
    let Some(term) = term else { lab.fail(&format!("no split: {told}")) };
    let events: Vec<_> = lab.all_events().into_iter().filter(|event| event.term == term).collect();
    let stood = events.iter().filter(|event| matches!(event.fact, Fact::VotedForItself { .. })).count();
    assert_eq!(stood, standing, "{told}");
    assert!(events.iter().all(|event| event.role != Role::Leader), "{told}");
    assert!(told.lines().last().is_some_and(|line| line.contains(" leads t") && line.contains("s later")), "{told}");
    lab.wait_for_lines(1, "heal: ", 1);
    assert!(lab.lines_with(1, "heal: ").len() == 1, "everything is healed once: {told}");
    lab.judge();
}

#[test]
fn a_split_vote_among_all_who_do_not_lead() {
    for (size, pre_vote) in [(3, "on"), (3, "off"), (5, "on")] {
        let lab = Lab::start_with(size, &[CALM[0], CALM[1], ON, ("PRE_VOTE", pre_vote)]);
        lab.wait_for_leader();
        let told = done(&lab, &["split-vote"]);
        is_split(&lab, &told, size - 1);
        lab.append("and then all is well");
        lab.wait_for_equal_logs();
        let leads = failed(&lab, &["split-vote", "1,2,3,4,5".get(..2 * size - 1).unwrap_or_default()], 2);
        assert!(leads.contains("leads: name two of the others"), "{leads}");
    }
}

#[test]
fn a_split_vote_of_two_with_two_who_only_vote() {
    let lab = Lab::start_with(5, &[CALM[0], CALM[1], ON]);
    let leader = lab.wait_for_leader();
    let others: Vec<String> = (1..=5).filter(|node| *node != leader).map(|node| node.to_string()).collect();
    let told = done(&lab, &["split-vote", &format!("{},{}", others[1], others[3])]);
    is_split(&lab, &told, 2);
    assert_eq!(told.matches("VOTE       received from").count(), 2, "each has one of the voters: {told}");
    for (words, why) in [("1", "name two at least"), ("1,1", "named twice"), ("1,6", "from 1 to 5")] {
        assert!(failed(&lab, &["split-vote", words], 2).contains(why));
    }
}
