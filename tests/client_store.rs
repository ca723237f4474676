//! The client binary's commands on keys against nodes that are played, and against real ones.

mod common;

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use common::Lab;
use common::played::*;

const SEEN: &str = "applied=7 heard=0.012";

/// A leader that knows one session and answers everything else as `answer` does.
fn played(mut answer: impl FnMut(&str) -> Reply + Send + 'static) -> Played {
    Played::new(move |line| if line == "session" { Reply::Say(SESSION.to_string()) } else { answer(line) })
}

fn asked(node: &Played, what: &str) -> Vec<String> {
    node.heard().into_iter().filter(|line| line.starts_with(what)).collect()
}

#[test]
fn a_list_is_put_once_however_often_it_is_sent() {
    let mut times = 0;
    let node = played(move |_| {
        times += 1;
        match times {
            1 => Reply::Close,
            2 => say("unknown 3@1 node_1 is no longer the leader"),
            _ => say("ok 4@2"),
        }
    });
    done(&client(&[&node.address], &["put", "a", "cat", "a \"dog\""]), "ok 4@2 put \"a\" \"cat\" \"a \\\"dog\\\"\"\n");
    assert_eq!(asked(&node, "put"), [r#"put 4-00000000000000aa 1 "a" "cat" "a \"dog\"""#; 3]);
    done(&client(&[&node.address], &["put", "--", "--empty"]), "ok 4@2 put \"--empty\"\n");
}

#[test]
fn strings_for_a_key_come_together_and_lines_one_by_one() {
    let node = played(|_| say("ok 5@1"));
    let printed = "ok 5@1 append-to \"a\" \"mouse\" \"rat\"\n";
    done(&client(&[&node.address], &["append", "--key", "a", "mouse", "rat"]), printed);
    let mut lines = command(&[&node.address], &["append", "--key=a", "-"]);
    let mut running = lines.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(b"x\ny\n").unwrap();
    let output = running.wait_with_output().unwrap();
    done(&output, "ok 5@1 append-to \"a\" \"x\"\nok 5@1 append-to \"a\" \"y\"\n");
    let writes = [r#"1 "a" "mouse" "rat""#, r#"1 "a" "x""#, r#"2 "a" "y""#];
    assert_eq!(asked(&node, "append-to"), writes.map(|write| format!("append-to 4-00000000000000aa {write}")));
}

#[test]
fn a_full_list_is_a_decision_and_not_tried_again() {
    let node = played(|_| say("error full \"a\" would have 65537 strings"));
    let output = client(&[&node.address], &["append", "--key", "a", "x"]);
    failed(&output, 1, &["client: not done: append-to \"a\" \"x\": \"a\" would have 65537 strings\n"]);
    assert_eq!(asked(&node, "append-to").len(), 1);
}

#[test]
fn what_is_not_confirmed_names_the_write_and_where_to_look() {
    let mut times = 0;
    let node = played(move |_| {
        times += 1;
        if times == 1 { Reply::Close } else { say("error session-expired it is forgotten") }
    });
    let output = client(&[&node.address], &["put", "a b", "x"]);
    failed(&output, 1, &["not confirmed: put \"a b\" \"x\" (it may still be committed)", "client get \"a b\""]);
    let refusing = played(|_| say("error no-leader an election is on"));
    let output = client(&[&refusing.address], &["--timeout", "0.5", "put", "a", "x"]);
    failed(&output, 1, &["not confirmed: put \"a\" \"x\" (no node took it, so it is not in the log)"]);
}

#[test]
fn a_list_is_read_from_the_leader_a_string_a_line() {
    let follower = Played::new(|_| say("redirect node_2 node_2.invalid:1234"));
    let leader = Played::new(|line| match line {
        r#"get "a""# => {
            say(&format!("value \"cat\"\nvalue \"a\\nb\"\nend-of-values next=3 total=2 changed=4@1 {SEEN}"))
        }
        r#"get "empty""# => say(&format!("end-of-values next=1 total=0 changed=4@1 {SEEN}")),
        _ => say(&format!("no-key \"b\" {SEEN}")),
    });
    let places = [follower.address.as_str(), &leader.address];
    let output = client(&places, &["get", "a"]);
    done(&output, "\"cat\"\n\"a\\nb\"\n");
    assert_eq!(text(&output.stderr), "");
    let output = client(&places, &["get", "empty"]);
    done(&output, "");
    assert_eq!(text(&output.stderr), "-- \"empty\" has an empty list\n");
    failed(&client(&places, &["get", "b"]), 1, &["there is no key \"b\"; client keys lists"]);
}

#[test]
fn a_list_that_changes_between_two_pages_is_read_anew() {
    let mut times = 0;
    let node = Played::new(move |line| {
        times += 1;
        let page = |value: u8, next: u8, changed: &str| {
            say(&format!("value \"{value}\"\nend-of-values next={next} total=2 changed={changed} {SEEN}"))
        };
        match (line, times) {
            (r#"get "a""#, 1) => page(1, 2, "4@1"),
            (r#"get "a" from=2"#, 2) => page(22, 3, "5@1"),
            (r#"get "a""#, 3) => page(11, 2, "5@1"),
            (r#"get "a" from=2"#, 4) => page(22, 3, "5@1"),
            _ => Reply::Close,
        }
    });
    done(&client(&[&node.address], &["get", "a"]), "\"11\"\n\"22\"\n");
}

#[test]
fn the_lists_of_the_log_grow_while_they_are_read_and_end_where_they_began_to() {
    let mut times = 0;
    let node = Played::new(move |line| {
        times += 1;
        match (line, times) {
            (r#"get "log""#, 1) => say(&format!("value \"1\"\nend-of-values next=2 total=2 changed=4@1 {SEEN}")),
            (r#"get "log" from=2"#, 2) => {
                say(&format!("value \"2\"\nvalue \"3\"\nend-of-values next=4 total=9 changed=8@1 {SEEN}"))
            }
            _ => Reply::Close,
        }
    });
    done(&client(&[&node.address], &["get", "log"]), "\"1\"\n\"2\"\n\"3\"\n");
}

#[test]
fn keys_come_in_pages() {
    let node = Played::new(|line| match line {
        "keys" => say(&format!("key \"a\" values=2\nend-of-keys next \"b c\" {SEEN}")),
        "keys from \"b c\"" => say(&format!("key \"b c\" values=0\nend-of-keys {SEEN}")),
        _ => Reply::Close,
    });
    done(&client(&[&node.address], &["keys"]), "\"a\" values=2\n\"b c\" values=0\n");
    let empty = Played::new(|_| say(&format!("end-of-keys {SEEN}")));
    let output = client(&[&empty.address], &["keys"]);
    done(&output, "");
    assert_eq!(text(&output.stderr), "-- there are no keys yet\n");
}

/// The first part of `get a` as this node knows it.
fn own_copy(status: &'static str, seen: &'static str) -> Played {
    Played::new(move |line| match line {
        "status" => say(status),
        r#"get "a" local"# => say(&format!("value \"old\"\nend-of-values next=2 total=2 changed=4@1 {seen}")),
        r#"get "a" from=2 local"# => say(&format!("value \"too\"\nend-of-values next=3 total=2 changed=4@1 {seen}")),
        _ => say("redirect node_1 node_1.invalid:1234"),
    })
}

#[test]
fn a_stale_read_is_one_nodes_own_copy_and_says_whose() {
    let (follower, other) = (own_copy(STATUS_2, "applied=5 heard=never"), own_copy(STATUS_1, "applied=7 heard=0.012"));
    let nobody = nobody();
    let places = [nobody.as_str(), &follower.address, &other.address];
    let output = client(&places, &["get", "a", "--stale"]);
    done(&output, "\"old\"\n\"too\"\n");
    let whose = "-- node_2's own copy (follower of node_1, term 3): applied through 5, knows no leader\n";
    assert_eq!(text(&output.stderr), whose);
    assert_eq!(other.heard(), [""; 0], "one copy is one node's");
    let output = client(&places, &["get", "a", "--node=3"]);
    done(&output, "\"old\"\n\"too\"\n");
    let whose = "-- node_1's own copy (leader, term 3): applied through 7, heard a majority just now\n";
    assert_eq!(text(&output.stderr), whose);
    failed(&client(&places, &["--timeout=0.5", "get", "a", "--node=1"]), 1, &["node_1 gave no answer within 0.5 s"]);
    let alone =
        client(&[places[0], &places[0].replace("127.0.0.1", "127.0.0.2")], &["--timeout=0.5", "keys", "--stale"]);
    failed(&alone, 1, &["no node gave an answer within 0.5 s", "connection refused", "Cure: start one"]);
}

#[test]
fn a_copy_that_went_back_in_the_middle_is_said() {
    let mut times = 0;
    let node = Played::new(move |line| match line {
        "status" => say(STATUS_2),
        _ => {
            times += 1;
            say(if times == 1 { "2@1 \"a\"\nend next=3 commit=5" } else { "end next=3 commit=0" })
        }
    });
    let output = client(&[&node.address], &["log", "--stale"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), "2@1 \"a\"\n"));
    assert!(text(&output.stderr).contains("started again while it was read"), "{}", text(&output.stderr));
}

#[test]
fn a_node_is_readmitted_by_the_leader_and_asking_twice_does_no_harm() {
    let follower = Played::new(|_| say("redirect node_2 node_2.invalid:1234"));
    let mut times = 0;
    let leader = Played::new(move |line| {
        if line == "status" {
            return say(&STATUS_1.replace("node_1", "node_2").replace("=node_2:up", "=node_1:up"));
        }
        times += 1;
        say(if times == 1 { "error busy too much waits" } else { "ok 12@4" })
    });
    let places = [follower.address.as_str(), &leader.address];
    done(&client(&places, &["readmit", "node_1"]), "ok 12@4 node_1 is counted again, with its new disk\n");
    assert_eq!(asked(&leader, "readmit"), ["readmit node_1", "readmit node_1"]);
    let mut times = 0;
    let lost = Played::new(move |_| {
        times += 1;
        if times == 1 { Reply::Close } else { say("error not-refused node_1 is counted already") }
    });
    done(
        &client(&[&lost.address], &["readmit", "1"]),
        "ok node_1 is counted again, with its new disk, or was before\n",
    );
}

#[test]
fn a_node_that_nobody_refuses_is_counted_or_missing() {
    let node = |status: &'static str| {
        Played::new(move |line| say(if line == "status" { status } else { "error not-refused it is counted already" }))
    };
    let there = node(STATUS_1);
    let places = [there.address.as_str(), "127.0.0.1:1", "127.0.0.1:2"];
    done(&client(&places, &["readmit", "2"]), "ok node_2 is counted already: there is nothing to do\n");
    let output = client(&places, &["--timeout", "1", "readmit", "3"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    let told: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "-- node_3 is not connected to node_1, the leader: waiting for it");
    assert!(told[1].starts_with("client: node_3 is not readmitted: it is not connected to node_1"), "{told:?}");
}

/// The client binary at real nodes, all of them named.
fn ask(lab: &Lab, arguments: &[&str]) -> Output {
    let places: Vec<String> = (1..=lab.size()).map(|node| lab.address(node).to_string()).collect();
    client(&places.iter().map(String::as_str).collect::<Vec<_>>(), arguments)
}

#[test]
fn lists_are_kept_through_the_end_of_a_leader_and_read_without_a_majority_as_a_copy() {
    let mut lab = Lab::start(3);
    let old = lab.wait_for_leader();
    let put = ask(&lab, &["put", "a", "cat", "dog"]);
    assert!(put.status.success() && text(&put.stdout).ends_with(" put \"a\" \"cat\" \"dog\"\n"), "{put:?}");
    assert!(ask(&lab, &["append", "--key", "a", "mouse"]).status.success());
    assert!(ask(&lab, &["append", "hello"]).status.success());
    lab.kill(old);
    // No waiting for the next leader: that is the client's part.
    done(&ask(&lab, &["get", "a"]), "\"cat\"\n\"dog\"\n\"mouse\"\n");
    assert!(ask(&lab, &["put", "a"]).status.success());
    assert!(ask(&lab, &["append", "--key=b", "x", "y"]).status.success());
    done(&ask(&lab, &["keys"]), "\"a\" values=0\n\"b\" values=2\n\"log\" values=1\n");

    lab.start_node(old);
    let strings = lab.wait_for_equal_logs();
    let old_name = old.to_string();
    done(&ask(&lab, &["get", "b", "--node", &old_name]), "\"x\"\n\"y\"\n");
    done(&ask(&lab, &["log"]), &format!("{}\n", strings.join("\n")));
    for node in (1..=3).filter(|node| *node != old) {
        lab.kill(node);
    }
    let alone = ask(&lab, &["--timeout", "1", "get", "b"]);
    failed(&alone, 1, &["no leader was found within 1 s", "--stale"]);
    failed(&ask(&lab, &["--timeout", "1", "put", "b", "new"]), 1, &["not confirmed: put \"b\" \"new\""]);
    let copy = ask(&lab, &["get", "b", "--stale"]);
    done(&copy, "\"x\"\n\"y\"\n");
    assert!(text(&copy.stderr).starts_with(&format!("-- node_{old}'s own copy (")), "{copy:?}");
}

#[test]
fn lines_for_a_key_are_there_once_each_and_in_order_though_the_leader_is_killed() {
    let mut lab = Lab::start(3);
    let leader = lab.wait_for_leader();
    let places: Vec<String> = (1..=3).map(|node| lab.address(node).to_string()).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let mut running = command(&places, &["append", "--key", "a", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = running.stdin.take().unwrap();
    (1..=150).for_each(|n| writeln!(input, "line {n}").unwrap());
    lab.wait_until("some lines are there", || {
        lab.lines_with(leader, "COMMIT").iter().find(|l| l.contains("line 1")).cloned()
    });
    lab.kill(leader);
    (151..=300).for_each(|n| writeln!(input, "line {n}").unwrap());
    drop(input);
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout).lines().filter(|line| line.contains(" append-to \"a\" \"line ")).count(), 300);
    let lines: String = (1..=300).map(|n| format!("\"line {n}\"\n")).collect();
    done(&ask(&lab, &["get", "a"]), &lines);
}

#[test]
fn a_node_whose_disk_was_lost_is_readmitted_and_gets_everything_anew() {
    let mut lab = Lab::start(3);
    lab.wait_for_leader();
    assert!(ask(&lab, &["put", "a", "kept"]).status.success());
    let leader = lab.leader().unwrap_or_else(|| lab.wait_for_leader());
    let lost = leader % 3 + 1;
    lab.wait_for_equal_logs();
    lab.kill(lost);
    fs::remove_dir_all(lab.data_dir(lost)).unwrap();
    lab.start_node(lost);
    // Whether the leader has met it by now or not.
    let readmitted = ask(&lab, &["readmit", &format!("node_{lost}")]);
    assert!(readmitted.status.success(), "{readmitted:?}");
    let told = format!(" node_{lost} is counted again, with its new disk");
    assert!(text(&readmitted.stdout).contains(&told), "{readmitted:?}");
    lab.wait_for_equal_logs();
    let name = lost.to_string();
    done(&ask(&lab, &["get", "a", "--node", &name]), "\"kept\"\n");
    let again = ask(&lab, &["readmit", &name]);
    done(&again, &format!("ok node_{lost} is counted already: there is nothing to do\n"));
}
