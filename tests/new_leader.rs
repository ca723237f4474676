//! A leader that has won its election and not yet committed anything.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use common::{CALM, Lab};
use raft_lab::raft::types::Role;

/// A peer that votes for everybody and acknowledges nothing.
fn play_voter(lab: &Lab, listener: &TcpListener) {
    const HELLO: &str = "hello node_2 of 3 disk=0000000000000002";
    let Ok((stream, _)) = listener.accept() else { return };
    let mut answers = lab.connect(1).unwrap();
    answers.send(HELLO).unwrap();
    assert!(answers.line().unwrap().starts_with("hello node_1 of 3 disk="));
    for line in BufReader::new(&stream).lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some("hello"), _) => writeln!(&stream, "{HELLO}").unwrap(),
            (Some(ask @ ("pre-vote" | "request-vote")), Some(term)) => {
                answers.send(&format!("{ask}-reply {term} granted=yes")).unwrap();
            }
            _ => {}
        }
        if line.starts_with("append-entries ") {
            return;
        }
    }
}

#[test]
fn a_new_leader_shows_no_log_before_it_knows_what_is_committed() {
    let mut lab = Lab::prepare(3, &CALM);
    let listener = TcpListener::bind(lab.address(2)).unwrap();
    lab.start_node(1);
    play_voter(&lab, &listener);
    let leads = lab.status(1).unwrap();
    assert_eq!((leads.role, leads.commit), (Role::Leader, 0), "{}", lab.story());
    // The question waits, as long as this node leads.
    let answer = lab.ask(1, "log\n").unwrap();
    assert!(answer.len() == 1 && answer[0].starts_with("error no-leader"), "{answer:?}");
    lab.wait_for_lines(1, "CLIENT     log refused: no leader is known", 1);
    // What this node itself knows is another question.
    assert_eq!(lab.ask(1, "log from=1 local\n").unwrap(), ["end next=1 commit=0"]);
}
