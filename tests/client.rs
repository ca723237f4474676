//! The client binary against nodes that are played: what they answer is in the test, what it asked is checked.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::played::*;

#[test]
fn a_redirect_is_followed_to_the_place_that_the_list_has_for_the_leader() {
    let leader = leader();
    let follower = Played::new(|line| match line {
        "session" => Reply::Say(SESSION.to_string()),
        // A name that means nothing outside the cluster's own network.
        _ => say("redirect node_2 node_2.invalid:1234"),
    });
    let output = client(&[&follower.address, &leader.address], &["append", "SET 5", "say \"x\""]);
    done(&output, "ok 2@1 \"SET 5\"\nok 3@1 \"say \\\"x\\\"\"\n");
    let asked = [r#"append 4-00000000000000aa 1 "SET 5""#, r#"append 4-00000000000000aa 2 "say \"x\"""#];
    assert_eq!(leader.appends(), asked);
}

#[test]
fn an_election_in_the_middle_is_waited_for() {
    let (mut appends, mut looks) = (0, 0);
    let node = Played::new(move |line| {
        if line == "session" {
            return Reply::Say(SESSION.to_string());
        }
        if line == "status" {
            // While there is no leader the client looks, and leaves no request in the node's log.
            looks += 1;
            let leads = STATUS_1.replace("node_1", "node_2").replace("peers=node_2:up", "peers=node_1:up");
            return say(&if looks > 3 { leads } else { STATUS_2.replace("leader=node_1", "leader=none") });
        }
        appends += 1;
        match appends {
            1 => say("error no-leader an election is on"),
            2 => say("error busy too much at a time"),
            3 => say("unknown 7@2 node_1 is no longer the leader"),
            _ => say("ok 7@3"),
        }
    });
    done(&client(&[&nobody(), &node.address], &["append", "x"]), "ok 7@3 \"x\"\n");
    assert_eq!(node.appends(), ["append 4-00000000000000aa 1 \"x\""; 4]);
    assert!(node.heard().iter().filter(|line| *line == "status").count() > 3);
}

#[test]
fn a_node_that_never_answers_is_left_and_the_string_keeps_its_number() {
    let silent = Played::new(|line| if line == "session" { Reply::Say(SESSION.to_string()) } else { Reply::Hang });
    let leader = leader();
    done(&client(&[&silent.address, &leader.address], &["append", "x"]), "ok 2@1 \"x\"\n");
    assert_eq!(silent.appends(), leader.appends());
}

#[test]
fn a_session_that_expires_before_anything_was_sent_is_replaced() {
    let mut sessions = 0;
    let node = Played::new(move |line| {
        if line == "session" {
            sessions += 1;
            return say(&format!("session {sessions}-00000000000000aa"));
        }
        say(if line.contains(" 1-") { "error session-expired it is forgotten" } else { "ok 9@2" })
    });
    done(&client(&[&node.address], &["append", "x"]), "ok 9@2 \"x\"\n");
    assert_eq!(node.appends(), ["append 1-00000000000000aa 1 \"x\"", "append 2-00000000000000aa 1 \"x\""]);
}

#[test]
fn a_session_that_was_born_at_a_node_that_lags_is_replaced_too() {
    let lagging = Played::new(|line| match line {
        "session" => say("session 0-00000000000000aa"),
        _ => say("redirect node_2 node_2.invalid:1234"),
    });
    let leader = Played::new(|line| match line {
        "session" => Reply::Say(SESSION.to_string()),
        "status" => say(&STATUS_1.replace("node_1", "node_2").replace("peers=node_2:up", "peers=node_1:up")),
        line if line.contains(" 0-") => say("error session-expired it is not known"),
        _ => say("ok 9@2"),
    });
    // The redirect was no taking of the string, so nothing can be there twice.
    done(&client(&[&lagging.address, &leader.address], &["append", "x"]), "ok 9@2 \"x\"\n");
}

#[test]
fn a_session_that_expires_after_the_string_was_sent_is_told_honestly() {
    let mut sent = 0;
    let node = Played::new(move |line| {
        if line == "session" {
            return Reply::Say(SESSION.to_string());
        }
        sent += 1;
        if sent == 1 { Reply::Close } else { say("error session-expired it is forgotten") }
    });
    let output = client(&[&node.address], &["append", "x"]);
    failed(&output, 1, &["not confirmed: \"x\" (it may still be committed)", "client log"]);
}

#[test]
fn giving_up_says_whether_the_string_may_still_be_committed() {
    let output = client(&[&nobody(), &nobody(), &nobody()], &["--timeout", "0.5", "append", "x", "y"]);
    let parts = ["\"x\" and the 1 after it (no node took them", "connection refused", "Cure: 2 of 3 nodes must run"];
    failed(&output, 1, &parts);
    let refusing = Played::new(|line| match line {
        "session" => Reply::Say(SESSION.to_string()),
        _ => say("error no-leader an election is on"),
    });
    let output = client(&[&refusing.address], &["--timeout", "0.5", "append", "x"]);
    failed(&output, 1, &["\"x\" (no node took it, so it is not in the log)"]);
    let silent = Played::new(|line| if line == "session" { Reply::Say(SESSION.to_string()) } else { Reply::Hang });
    let output = client(&[&silent.address], &["--timeout", "0.5", "append", "x"]);
    failed(&output, 1, &["\"x\" (it may still be committed)", "within 0.5 s", "no answer in time"]);
}

#[test]
fn lines_of_standard_input_are_pipelined_in_one_session() {
    let leader = leader();
    let mut running =
        command(&[&leader.address], &["append", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = (1..=300).map(|n| format!("line {n}\n")).collect();
    running.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    let printed: String = (1..=300).map(|n| format!("ok {}@1 \"line {n}\"\n", n + 1)).collect();
    done(&output, &printed);
    let asked: Vec<_> = (1..=300).map(|n| format!("append 4-00000000000000aa {n} \"line {n}\"")).collect();
    assert_eq!(leader.appends(), asked);
}

#[test]
fn what_was_in_flight_is_sent_again_in_order_after_a_lost_connection() {
    let (mut sessions, mut next) = (0, 1);
    let mut answered = 0;
    let node = Played::new(move |line| {
        if line == "session" {
            sessions += 1;
            return say(&format!("session {sessions}-00000000000000aa"));
        }
        answered += 1;
        if answered == 10 {
            return Reply::Close;
        }
        let seq: u64 = line.split(' ').nth(2).unwrap().parse().unwrap();
        // What the store does: the next number is applied, a repeated one is answered from memory.
        assert!(seq <= next, "a gap: {line}");
        next = next.max(seq + 1);
        say(&format!("ok {}@1", seq + 1))
    });
    let texts: Vec<String> = (1..=20).map(|n| format!("t{n}")).collect();
    let arguments: Vec<&str> = ["append"].into_iter().chain(texts.iter().map(String::as_str)).collect();
    let printed: String = (1..=20).map(|n| format!("ok {}@1 \"t{n}\"\n", n + 1)).collect();
    done(&client(&[&node.address], &arguments), &printed);
}

#[test]
fn a_bad_line_of_standard_input_is_named_and_what_came_before_is_appended() {
    let leader = leader();
    let mut running = command(&[&leader.address], &["append", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    running.stdin.take().unwrap().write_all(b"good\n\xff\nnever\n").unwrap();
    let output = running.wait_with_output().unwrap();
    failed(&output, 1, &["standard input, line 2: expected UTF-8"]);
    assert_eq!(text(&output.stdout), "ok 2@1 \"good\"\n");
}

#[test]
fn a_bad_line_of_standard_input_is_a_failure_even_if_nobody_reads_the_answers() {
    let leader = Played::new(|line| match line {
        "session" => Reply::Say(SESSION.to_string()),
        _ => {
            thread::sleep(Duration::from_millis(300));
            say("ok 2@1")
        }
    });
    let mut command = command(&[&leader.address], &["append", "-"]);
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(running.stdout.take());
    running.stdin.take().unwrap().write_all(b"good\n\xff\n").unwrap();
    // Which of the two is told depends on whether the second line was read before the first answer came.
    let output = running.wait_with_output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("line 2: expected UTF-8") || told.contains("nobody reads the answers"), "{told}");
}

#[test]
fn the_log_comes_in_pages_and_goes_on_at_the_next_leader() {
    let follower = Played::new(|_| say("redirect node_2 node_2.invalid:1234"));
    let mut asked = 0;
    let leader = Played::new(move |line| {
        asked += 1;
        match (line, asked) {
            ("log", _) => say("2@1 \"a\"\n3@1 \"b\\n\"\nend next=4 commit=5"),
            // Half a page, then silence: nothing of it may be printed twice.
            ("log from=4", 2) => Reply::Close,
            ("log from=4", _) => say("5@3 \"c\"\nend next=6 commit=5"),
            _ => say("error bad-request unexpected"),
        }
    });
    let output = client(&[&follower.address, &leader.address], &["log"]);
    done(&output, "2@1 \"a\"\n3@1 \"b\\n\"\n5@3 \"c\"\n");
}

#[test]
fn the_log_of_one_node_is_asked_of_that_node() {
    let node = Played::new(|line| match line {
        "status" => say(STATUS_2),
        "log from=3 local" => say("3@1 \"b\"\nend next=4 commit=3"),
        _ => say("error bad-request unexpected"),
    });
    let output = client(&[&nobody(), &node.address], &["log", "--node", "2", "--from", "3"]);
    done(&output, "3@1 \"b\"\n");
    let whose = "-- node_2's own copy (follower of node_1, term 3): applied through 5, heard its leader 0.3 s ago\n";
    assert_eq!(text(&output.stderr), whose);
    let gone = client(&[&nobody(), &node.address], &["--timeout", "0.3", "log", "--node", "1"]);
    failed(&gone, 1, &["node_1 gave no answer within 0.3 s", "connection refused"]);
}

#[test]
fn a_reader_that_has_gone_is_a_normal_end() {
    let page: String = (2..900).map(|n| format!("{n}@1 \"{}\"\n", "x".repeat(500))).collect();
    let node = Played::new(move |_| say(&format!("{page}end next=900 commit=899")));
    let mut running =
        command(&[&node.address], &["log"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("2@1 "));
    let output = running.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn status_keeps_the_row_of_a_dead_node() {
    let (one, two) = (Played::new(|_| say(STATUS_1)), Played::new(|_| say(STATUS_2)));
    let places = [one.address.as_str(), &two.address, &nobody()];
    let table = "node    role      term  leader  last  commit  applied  lag  snapshot  peers up\n\
                 node_1  leader    3     node_1  7@3   7       7        0    -         1 of 2\n\
                 node_2  follower  3     node_1  7@3   6       5        2    3@1       1 of 2\n\
                 node_3  down      -     -       -     -       -        -    -         connection refused\n";
    let output = client(&places, &["status"]);
    done(&output, table);
    // Without any snapshot there is no column for it.
    done(
        &client(&[&one.address], &["status"]),
        "node    role    term  leader  last  commit  applied  lag  peers up\n\
         node_1  leader  3     node_1  7@3   7       7        0    1 of 2\n",
    );
    let json = client(&places, &["status", "--json"]);
    let json = text(&json.stdout);
    for part in [
        r#"{"node":"node_1","up":true,"role":"leader","term":3,"leader":"node_1","last_index":7,"#,
        r#""commit_index":6,"last_applied":5,"leader_commit_index":7,"lag":2,"#,
        r#""snapshot_index":3,"snapshot_term":1,"log_len":4,"log_bytes":240,"snapshot_bytes":150,"keys":1,"#,
        r#""heard_seconds":0.250,"uptime_seconds":12.3,"next_index":{"node_2":8,"node_3":8},"match_index":{"node_2":6,"node_3":0}},"#,
        r#"{"node":"node_3","up":false,"role":null,"#,
        r#""error":"connection refused"}]"#,
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }
}

#[test]
fn status_without_any_node_is_a_failure_with_its_rows() {
    let places = [nobody(), nobody()];
    let output = client(&[&places[0], &places[1]], &["status"]);
    failed(&output, 1, &["no node answered", "Cure"]);
    assert_eq!(text(&output.stdout).matches("down").count(), 2);
}

#[test]
fn watch_merges_the_nodes_and_says_who_is_lost_and_back() {
    let line = "12:00:00.002 node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_1";
    let mut times = 0;
    let node = Played::new(move |_| {
        times += 1;
        if times > 2 { Reply::Hang } else { say(&format!("ok watching node_2\n{line}")) }
    });
    // It says its lines and then nothing; the connection is cut from here by the test's end. So look at the first lines.
    let mut running =
        command(&[&nobody(), &node.address], &["watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut printed).unwrap();
    let mut told = String::new();
    BufReader::new(running.stderr.take().unwrap()).read_line(&mut told).unwrap();
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(printed, format!("{line}\n"));
    assert!(told.starts_with("-- node_1 (127.0.0.1:") && told.contains("is lost: connection refused"), "{told}");
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let long = "x".repeat(65_537);
    for (arguments, parts) in [
        (&["append"][..], &["append expects TEXT"][..]),
        (&["append", &long], &["expected a TEXT of up to 65536 bytes, got 65537"]),
        (&["log", "--node", "4"], &["--node: expected a number from 1 to 1, got \"4\""]),
        (&["append", "--key", "", "x"], &["append-to: a key has 1 to 256 bytes, this one 0"]),
        (&["put"], &["put expects KEY VALUE…"]),
        (&["put", "log", "x"], &["put: the list of \"log\" is the lab's log, which only grows"]),
        (&["put", "a", &long], &["put: key and strings have 65538 bytes together, at most 65536"]),
        (&["get"], &["get expects one KEY, got 0 words"]),
        (&["get", "a", "b"], &["get expects one KEY, got 2 words"]),
        (&["get", ""], &["a KEY has 1 to 256 bytes, this one 0"]),
        (&["keys", "a"], &["keys takes no words"]),
        (&["readmit", "2"], &["readmit: expected a number from 1 to 1, got \"2\""]),
        (&["readmit"], &["readmit expects one node, like 3 or node_3, got 0 words"]),
        (&["log", "everything"], &["log takes no words, got \"everything\""]),
        (&["shout"], &["unknown command \"shout\"", "append, log, put, get"]),
        (&["--cluster", "a", "status"], &["--cluster: expected host:port, got \"a\""]),
        (&["cluster", "10"], &["cluster: expected a number from 1 to 9, got \"10\""]),
        (&["cluster", "--pre-vote", "maybe"], &["--pre-vote", "maybe", "on", "off"]),
        (&["cluster", "--election-timeout-ms", "5-1"], &["--election-timeout-ms", "5-1"]),
        (&["demo", "--pause", "x"], &["--pause: expected seconds", "\"x\""]),
    ] {
        failed(&client(&["127.0.0.1:1"], arguments), 2, parts);
    }
}

#[test]
fn help_is_there_for_all_and_for_each() {
    let help = client(&["127.0.0.1:1"], &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for name in ["append", "log", "put", "get", "keys", "status", "watch", "demo", "readmit", "cluster", "web"] {
        assert!(text(&help.stdout).contains(&format!("\n  {name}")), "{name}");
        let own = client(&["127.0.0.1:1"], &[name, "--help"]);
        assert!(text(&own.stdout).contains(&format!("SECONDS] {name}")), "{}", text(&own.stdout));
    }
}
