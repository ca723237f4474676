//! What one process of the lab promises, whatever callers and readers do to it.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{CALM, Lab, PATIENCE};
use raft_lab::raft::types::Role;

/// Reads the leader's status twice and returns by how much syncs, messages and commits grew between.
fn growth(lab: &Lab, leader: usize, between: impl FnOnce()) -> (u64, u64, u64) {
    let read = || lab.status(leader).unwrap_or_else(|| lab.fail("no status"));
    let before = read();
    between();
    let after = read();
    (after.syncs - before.syncs, after.sent - before.sent, after.commit - before.commit)
}

#[test]
fn many_clients_share_a_sync() {
    let lab = Lab::start_with(3, &CALM);
    let leader = lab.wait_for_leader();
    let (syncs, _, committed) = growth(&lab, leader, || {
        std::thread::scope(|scope| {
            for client in 0..64 {
                let mut connection = lab.connect(leader).unwrap();
                scope.spawn(move || {
                    for number in 0..50 {
                        connection.send(&format!("append \"{client}-{number}\"")).unwrap();
                        let answer = connection.line().unwrap();
                        assert!(answer.starts_with("ok "), "{answer}");
                    }
                });
            }
        });
    });
    println!("64 clients: {committed} entries committed with {syncs} syncs");
    assert_eq!(committed, 64 * 50);
    assert!(syncs * 4 < committed, "{syncs} syncs for {committed} entries");
}

#[test]
fn an_idle_cluster_says_one_message_a_peer_a_heartbeat() {
    let lab = Lab::start_with(3, &CALM);
    let leader = lab.wait_for_leader();
    lab.append("the last one");
    lab.wait_for_equal_logs();
    let beats = || lab.lines_with(leader, " HEARTBEAT  sent ").len() as u64;
    let follower = leader % 3 + 1;
    let (beats_before, answers_before) = (beats(), lab.status(follower).unwrap().sent);
    let (syncs, sent, _) = growth(&lab, leader, || std::thread::sleep(Duration::from_secs(2)));
    let (beats, answers) = (beats() - beats_before, lab.status(follower).unwrap().sent - answers_before);
    println!("2 s idle: {beats} heartbeats, {sent} messages of the leader, {answers} of a follower, {syncs} syncs");
    // The counts are read one after the other: a heartbeat may fall between.
    assert!(beats >= 5 && sent <= 2 * (beats + 2) && answers <= beats + 2, "{}", lab.story());
    assert_eq!(syncs, 0);
}

#[test]
fn bad_input_gets_one_line_and_harms_nothing() {
    let lab = Lab::start(1);
    lab.wait_for_leader();
    let before = lab.status(1).unwrap();
    let long = format!("append \"{}\"\n", "x".repeat(2 * 1024 * 1024));
    let inputs: [(&[u8], &str); 14] = [
        (b"nonsense\n", "error unknown-command"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "error unknown-command"),
        (b"\n", "error bad-request"),
        (b"append\n", "error bad-request"),
        (b"append \"x\n", "error bad-request"),
        (b"append \"x\" y\n", "error bad-request"),
        (b"append \"\0\"\n", "error bad-request"),
        (b"append \"\xff\"\n", "error bad-request"),
        (b"log from=18446744073709551616\n", "error bad-request"),
        (b"log from=01\n", "error bad-request"),
        (long.as_bytes(), "error bad-request"),
        (b"hello node_1 of 1 disk=0000000000000001\n", "error not-this-cluster"),
        (b"hello node_2 of 3 disk=0000000000000001\n", "error not-this-cluster"),
        (b"hello node_2\n", "error bad-request"),
    ];
    for (input, answer) in inputs {
        let mut connection = lab.connect(1).unwrap();
        // The node may close before it has read everything.
        let _ = connection.send_bytes(input);
        let mut text = String::new();
        connection.reader.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(answer) && text.lines().count() == 1, "{text:?}");
    }
    let after = lab.status(1).unwrap();
    assert_eq!((after.term, after.last, after.role), (before.term, before.last, Role::Leader));
    lab.wait_until("each has its line in the log", || {
        (lab.lines_with(1, " CLIENT ").len() == inputs.len()).then_some(())
    });
}

#[test]
fn a_peer_that_talks_nonsense_is_closed() {
    let lab = Lab::prepare(3, &[]);
    let mut lab = lab;
    lab.start_node(1);
    let status = lab.wait_until("node 1 answers", || lab.status(1));
    for message in [
        "append-entries term=18446744073709551615 prev=0@0 commit=0 heartbeat=yes entries=0",
        "append-entries term=1 prev=0@0 commit=0 heartbeat=yes entries=2 1@1 no-op",
        "append-entries term=1 prev=0@0 commit=0 heartbeat=yes entries=1 2@1 no-op",
        "request-vote term=-1 last=0@0",
        "request-vote last=0@0 term=1",
        "status",
    ] {
        let mut connection = lab.connect(1).unwrap();
        connection.send("hello node_2 of 3 disk=0000000000000001").unwrap();
        assert!(connection.line().unwrap().starts_with("hello node_1 of 3 disk="));
        connection.send(message).unwrap();
        let answer = connection.line().unwrap();
        assert!(answer.starts_with("error bad-request "), "{message}: {answer}");
        assert_eq!(connection.line().unwrap(), "", "closed");
    }
    let after = lab.status(1).unwrap();
    assert_eq!((after.term, after.last), (status.term, status.last), "{}", lab.story());
}

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
    let answer = lab.ask(1, "log\n").unwrap();
    assert!(answer.len() == 1 && answer[0].starts_with("error busy the leader is new"), "{answer:?}");
    // What this node itself knows is another question.
    assert_eq!(lab.ask(1, "log from=1 local\n").unwrap(), ["end next=1 commit=0"]);
}

#[test]
fn a_client_that_never_reads_delays_nobody() {
    let lab = Lab::start(1);
    lab.wait_for_leader();
    for number in 0..20 {
        lab.append(&format!("{number}{}", "x".repeat(60_000)));
    }
    let mut deaf = lab.connect(1).unwrap();
    // A page of a megabyte for each, never read: the node's writes to it block.
    deaf.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    for _ in 0..200 {
        if deaf.send("log").is_err() {
            break;
        }
    }
    let start = Instant::now();
    lab.append("meanwhile");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_half_closed_and_an_unfinished_line_get_their_answers() {
    let lab = Lab::start(1);
    lab.wait_for_leader();
    let mut connection = lab.connect(1).unwrap();
    connection.send_bytes(b"append \"without a newline\"").unwrap();
    connection.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(connection.line().unwrap(), "ok 2@1");
    assert_eq!(connection.line().unwrap(), "");
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    let lab = Lab::start(1);
    lab.wait_for_leader();
    let connections: Vec<_> = (0..1000).filter_map(|_| lab.connect(1).ok()).collect();
    assert_eq!(connections.len(), 1000, "may this process open so many files?");
    let mut last = lab.connect(1).unwrap();
    last.send("append \"still here\"").unwrap();
    assert_eq!(last.line().unwrap(), "ok 2@1");
    let status = std::fs::read_to_string(format!("/proc/{}/status", lab.pid(1))).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    if let Some(kilobytes) =
        resident.and_then(|text| text.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok())
    {
        println!("1,000 idle connections: {} MiB resident", kilobytes / 1024);
        assert!(kilobytes < 100 * 1024, "{kilobytes} KiB resident");
    }
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

#[test]
fn a_log_that_nobody_reads_ends_the_node() {
    let lab = Lab::prepare(1, &[]);
    let mut child = lab.command(1).spawn().unwrap();
    let _open = child.stdin.take();
    // Closed: the next line finds out.
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(said.starts_with("node: standard output: ") && said.lines().count() == 1, "{said}");

    // Open and never read: the pipe fills up, then the lower bound of the election timeout passes.
    let mut child = lab.command(1).stdout(Stdio::piped()).spawn().unwrap();
    let (_unread, _open) = (child.stdout.take(), child.stdin.take());
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Ok(mut connection) = lab.connect(1) {
            let text = "append \"some words to fill the pipe, which holds 64 KiB\"\n".repeat(100);
            let _ = connection.stream.write_all(text.as_bytes());
            (0..100).for_each(|_| drop(connection.line()));
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the node goes on");
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with("node: standard output has taken nothing for 0."), "{said}");
}

#[test]
fn a_wrong_setting_is_exit_code_2_and_one_line() {
    let lab = Lab::prepare(3, &[]);
    let output = lab.command(1).arg("--pre-vote=maybe").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "node: --pre-vote: expected on or off, got \"maybe\" (see node --help)\n");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_taken_port_is_exit_code_1_and_names_the_cure() {
    let lab = Lab::start(1);
    lab.wait_for_leader();
    // Its standard input stays open, or it might end because of that.
    let mut second = lab.command(1).spawn().unwrap();
    let _open = second.stdin.take();
    let mut said = String::new();
    second.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(1));
    assert!(said.starts_with("node: cannot listen at 127.0.0.1:") && said.contains("--listen"), "{said}");
}

#[test]
fn a_paused_leader_comes_back_as_a_follower() {
    let lab = Lab::start(3);
    let old = lab.wait_for_leader();
    lab.pause(old);
    let asked: Vec<usize> = (1..=3).filter(|node| *node != old).collect();
    lab.wait_until("the others elect", || {
        asked.iter().find(|node| lab.status(**node).is_some_and(|status| status.role == Role::Leader))
    });
    lab.resume(old);
    lab.wait_until("the old leader follows", || {
        lab.status(old).filter(|status| status.role == Role::Follower && status.leader.is_some())
    });
    lab.append("after the pause");
    assert_eq!(lab.wait_for_equal_logs().len(), 1);
}
