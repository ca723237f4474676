//! Three real nodes: the shortest proof that the parts fit.

mod common;

use common::{CALM, Lab};
use raft_lab::raft::types::Role;

#[test]
fn three_nodes_elect_append_and_survive() {
    let mut lab = Lab::start_with(3, &CALM);
    let leader = lab.wait_for_leader();
    let follower = leader % 3 + 1;

    // One connection, several requests at once, answers in order; then the half-closed end.
    let answer = lab.ask(leader, "append \"SET 5\"\nappend \"SET 6\"\nlog\nstatus").unwrap();
    assert_eq!(answer[..2], ["ok 2@1", "ok 3@1"], "{}", lab.story());
    assert_eq!(answer[2..5], ["2@1 \"SET 5\"", "3@1 \"SET 6\"", "end next=4 commit=3"]);
    assert!(answer[5].starts_with(&format!("status node=node_{leader} role=leader term=1 leader=node_{leader} ")));
    let redirect = format!("redirect node_{leader} {}", lab.address(leader));
    assert_eq!(lab.ask(follower, "append \"SET 7\"").unwrap(), [redirect]);

    lab.kill(leader);
    let next = lab.wait_for_leader();
    assert_ne!(next, leader);
    lab.append("SET 8");
    lab.start_node(leader);
    let log = lab.wait_for_equal_logs();
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(log[2].ends_with("\"SET 8\""));
    assert_eq!(lab.status(leader).map(|status| status.role), Some(Role::Follower));

    assert!(lab.lines_with(leader, " START ").len() == 2, "{}", lab.story());
    assert!((1..=3).all(|node| lab.errors(node).is_empty()), "{}", lab.story());
    assert!(lab.stop(next).success(), "a node ends with its standard input");
}

#[test]
fn watch_shows_what_happens() {
    let lab = Lab::start(1);
    lab.wait_for_leader();
    let mut watcher = lab.connect(1).unwrap();
    watcher.send("watch").unwrap();
    assert_eq!(watcher.line().unwrap(), "ok watching node_1");
    lab.append("seen");
    let line = watcher.line().unwrap();
    assert!(line.contains("APPEND     2@1 \"seen\" from client"), "{line}");
    assert!(line.parse::<raft_lab::raft::event::Event>().is_ok(), "{line}");
}
