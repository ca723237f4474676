//! `client verify`: true logs pass, logs made false on purpose fail, and the right property is named with the two lines.

mod common;

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::appender::Appender;
use common::{Lab, TempDir};
use raft_lab::raft::log::{Content, chain};
use raft_lab::raft::types::EntryId;

const SETTINGS: &str = "election timeout 6-10 s, heartbeat every 2 s";
const VERIFY: &str = env!("CARGO_BIN_EXE_client");

/// The running checksum of the log of the story through 1@1 or 2@1.
fn sum(index: u64) -> String {
    let one = chain(0, EntryId::new(1, 1), Content::Noop);
    let two = chain(one, EntryId::new(2, 1), Content::Text("SET 5"));
    format!("{:08x}", if index == 1 { one } else { two })
}

/// A true story: node_1 leads t1 and dies, node_2 leads t2, node_1 comes back.
fn story() -> String {
    let sum = sum(2);
    format!(
        "12:00:00.001 node_1 t0  FOLLOWER  START      node_1 of 3, {SETTINGS}, new disk
12:00:00.002 node_2 t0  FOLLOWER  START      node_2 of 3, {SETTINGS}, new disk
12:00:00.003 node_3 t0  FOLLOWER  START      node_3 of 3, {SETTINGS}, new disk
12:00:07.414 node_1 t1  CANDIDATE STATE      follower -> candidate: no heartbeat for 7.413 s
12:00:07.414 node_1 t1  CANDIDATE VOTE       voted for node_1 (itself): 1 of 3
12:00:07.415 node_2 t1  FOLLOWER  VOTE       granted to node_1
12:00:07.416 node_1 t1  CANDIDATE VOTE       received from node_2: 2 of 3
12:00:07.416 node_1 t1  LEADER    STATE      candidate -> leader: 2 of 3 votes
12:00:07.416 node_1 t1  LEADER    APPEND     1@1 no-op: opens term 1
12:00:07.416 node_1 t1  LEADER    HEARTBEAT  sent to node_2, node_3
12:00:07.417 node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_1
12:00:07.417 node_2 t1  FOLLOWER  APPEND     1@1 no-op from leader node_1
12:00:07.418 node_3 t1  FOLLOWER  APPEND     1@1 no-op from leader node_1
12:00:07.419 node_1 t1  LEADER    REPLICATED 1@1 on node_2: 2 of 3
12:00:07.419 node_1 t1  LEADER    COMMIT     1@1 no-op
12:00:07.420 node_2 t1  FOLLOWER  COMMIT     1@1 no-op
12:00:07.420 node_3 t1  FOLLOWER  COMMIT     1@1 no-op
12:00:08.001 node_1 t1  LEADER    APPEND     2@1 \"SET 5\" from client
12:00:08.002 node_2 t1  FOLLOWER  APPEND     2@1 \"SET 5\" from leader node_1
12:00:08.002 node_3 t1  FOLLOWER  APPEND     2@1 \"SET 5\" from leader node_1
12:00:08.003 node_1 t1  LEADER    REPLICATED 2@1 on node_2: 2 of 3
12:00:08.003 node_1 t1  LEADER    COMMIT     2@1 \"SET 5\"
12:00:08.004 node_2 t1  FOLLOWER  COMMIT     2@1 \"SET 5\"
12:00:08.004 node_3 t1  FOLLOWER  COMMIT     2@1 \"SET 5\"
12:00:09.417 node_1 t1  LEADER    HEARTBEAT  sent to node_2, node_3
12:00:16.001 node_2 t2  CANDIDATE STATE      follower -> candidate: no heartbeat for 6.584 s
12:00:16.001 node_2 t2  CANDIDATE VOTE       voted for node_2 (itself): 1 of 3
12:00:16.002 node_3 t2  FOLLOWER  VOTE       granted to node_2
12:00:16.003 node_2 t2  CANDIDATE VOTE       received from node_3: 2 of 3
12:00:16.003 node_2 t2  LEADER    STATE      candidate -> leader: 2 of 3 votes
12:00:16.003 node_2 t2  LEADER    APPEND     3@2 no-op: opens term 2
12:00:16.004 node_2 t2  LEADER    HEARTBEAT  sent to node_3
12:00:16.005 node_3 t2  FOLLOWER  APPEND     3@2 no-op from leader node_2
12:00:16.006 node_2 t2  LEADER    REPLICATED 3@2 on node_3: 2 of 3
12:00:16.006 node_2 t2  LEADER    COMMIT     3@2 no-op
12:00:16.007 node_3 t2  FOLLOWER  COMMIT     3@2 no-op
12:00:17.001 node_1 t1  FOLLOWER  START      node_1 of 3, {SETTINGS}, log through 2@1 sum={sum}
12:00:17.002 node_1 t2  FOLLOWER  TERM       t1 -> t2: node_2 is at t2
12:00:17.002 node_1 t2  FOLLOWER  HEARTBEAT  received from leader node_2
12:00:17.002 node_1 t2  FOLLOWER  APPEND     3@2 no-op from leader node_2
12:00:17.003 node_1 t2  FOLLOWER  COMMIT     1@1 no-op
12:00:17.003 node_1 t2  FOLLOWER  COMMIT     2@1 \"SET 5\"
12:00:17.003 node_1 t2  FOLLOWER  COMMIT     3@2 no-op
12:00:18.004 node_2 t2  LEADER    HEARTBEAT  sent to node_1, node_3
"
    )
}

/// The program's exit code and what it says, for these files' names and for standard input.
fn verify(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(VERIFY);
    command.env_clear().arg("verify").args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who refuses the arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[track_caller]
fn passes(input: &str) -> String {
    let (code, report, errors) = verify(&["-"], input);
    assert_eq!((code, &*errors), (Some(0), ""), "{report}");
    assert!(!report.contains("FAIL"), "{report}");
    report
}

/// The story with `line` put behind the first line that contains `after`: exactly this property fails, with these two
/// lines. An empty `earlier`: the line alone shows it.
#[track_caller]
fn fails(text: &str, name: &str, earlier: &str, line: &str) {
    let (code, report, errors) = verify(&["-"], text);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(errors, "client: the protocol did not hold: 1 property is contradicted\n", "{report}");
    let lines: Vec<&str> = report.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("FAIL")).unwrap();
    assert!(lines[at].starts_with(&format!("FAIL  {name}")), "{report}");
    let quotes: Vec<&str> = lines[at + 1..].iter().copied().take_while(|line| line.starts_with("        ")).collect();
    let place = |wanted: &str| {
        let number = text.lines().position(|line| line.contains(wanted)).unwrap() + 1;
        format!("        (stdin):{number}  {}", text.lines().nth(number - 1).unwrap())
    };
    let expected: Vec<String> =
        [earlier, line].iter().filter(|line| !line.is_empty()).map(|line| place(line)).collect();
    assert_eq!(quotes, expected, "{report}");
}

/// The story with a line more, behind the first one that contains `after`.
fn with(after: &str, line: &str) -> String {
    let story = story();
    let at = story.find(after).unwrap_or_else(|| panic!("no {after:?}"));
    let end = at + story[at..].find('\n').unwrap() + 1;
    format!("{}{line}\n{}", &story[..end], &story[end..])
}

#[test]
fn a_true_story_passes_and_the_checklist_is_seen() {
    let report = passes(&story());
    assert_eq!(report.matches("PASS  ").count(), 12, "{report}");
    assert_eq!(report.matches("\nseen      ").count(), 4, "{report}");
    assert!(!report.contains("hole") && !report.contains("not seen"), "{report}");
    assert!(report.ends_with("12 of 12 properties could be judged, and nothing contradicts them.\n"), "{report}");
    assert!(report.lines().count() < 40, "more than a screen: {report}");
    assert!(!report.contains('\x1b'), "{report}");
}

#[test]
fn a_second_vote() {
    let line = "12:00:07.415 node_2 t1  FOLLOWER  VOTE       granted to node_3";
    fails(&with("VOTE       granted to node_1", line), "one vote a node a term", "VOTE       granted to node_1", line);
    // A restart is no excuse, nor is it told by another.
    let counted = "12:00:07.500 node_3 t1  CANDIDATE VOTE       received from node_2: 2 of 3";
    let text = with("VOTE       granted to node_1", counted);
    fails(&text, "one vote a node a term", "VOTE       granted to node_1", counted);
}

#[test]
fn a_second_leader() {
    let line = "12:00:07.418 node_3 t1  FOLLOWER  HEARTBEAT  received from leader node_2";
    let leader = "node_1 t1  LEADER    STATE      candidate -> leader: 2 of 3 votes";
    fails(&with("12:00:07.417 node_2", line), "one leader a term", leader, line);
}

#[test]
fn a_leader_without_a_majority() {
    let text = story().replace("12:00:16.003 node_2 t2  CANDIDATE VOTE       received from node_3: 2 of 3\n", "");
    let line = "node_2 t2  LEADER    STATE      candidate -> leader: 2 of 3 votes";
    fails(&text, "no leader without a majority of votes", "", line);
}

#[test]
fn a_changed_entry() {
    let text = story()
        .replace("node_3 t1  FOLLOWER  APPEND     2@1 \"SET 5\"", "node_3 t1  FOLLOWER  APPEND     2@1 \"SET 6\"");
    let name = "equal entries stand behind equal logs";
    fails(&text, name, "node_1 t1  LEADER    APPEND     2@1 \"SET 5\"", "APPEND     2@1 \"SET 6\"");
}

#[test]
fn a_lost_committed_entry() {
    // By a restart …
    let text = story().replace(&format!("log through 2@1 sum={}", sum(2)), &format!("log through 1@1 sum={}", sum(1)));
    let text = text.replace(
        "node_1 t2  FOLLOWER  APPEND     3@2 no-op from",
        "node_1 t2  FOLLOWER  APPEND     2@1 \"SET 5\" from",
    );
    let text = text.replace("12:00:17.003 node_1 t2  FOLLOWER  COMMIT     3@2 no-op\n", "");
    fails(&text, "a restart loses nothing committed", "node_1 t1  LEADER    COMMIT     2@1", "log through 1@1");
    // … by a truncation …
    let line = "12:00:16.004 node_3 t2  FOLLOWER  TRUNCATE   2@1: leader node_2 has 2@2 there";
    let earlier = "node_1 t1  LEADER    COMMIT     2@1 \"SET 5\"";
    let text = with("12:00:16.002 node_3", line);
    fails(&text, "committed entries are the same everywhere, for good", earlier, line);
    // … or because a leader was elected without it.
    let text = story();
    let text: Vec<&str> =
        text.lines().filter(|line| !(line.contains("node_2 t1") && (line.contains("2@1 \"SET 5\"")))).collect();
    let text =
        text.join("\n").replace("1  LEADER    REPLICATED 2@1 on node_2", "1  LEADER    REPLICATED 2@1 on node_3")
            + "\n";
    let text = text.replace("3@2 no-op", "2@2 no-op").replace("REPLICATED 3@2", "REPLICATED 2@2");
    let (code, report, _) = verify(&["-"], &text);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("FAIL  a new leader has all committed entries"), "{report}");
}

#[test]
fn a_commit_without_a_majority() {
    let copy = "12:00:08.003 node_1 t1  LEADER    REPLICATED 2@1 on node_2: 2 of 3\n";
    let name = "commit only after replication on a majority";
    let (earlier, line) = ("REPLICATED 1@1 on node_2", "node_1 t1  LEADER    COMMIT     2@1");
    fails(&story().replace(copy, ""), name, earlier, line);
}

#[test]
fn a_commit_index_that_goes_back() {
    let line = "12:00:08.005 node_2 t1  FOLLOWER  COMMIT     1@1 no-op";
    let name = "a node's commit index never goes back";
    fails(&with("12:00:08.004 node_2", line), name, "12:00:08.004 node_2 t1  FOLLOWER  COMMIT     2@1", line);
}

#[test]
fn a_term_that_goes_back() {
    let line = "12:00:16.006 node_3 t1  FOLLOWER  HEARTBEAT  received from leader node_1";
    let name = "a node's term never goes back";
    fails(&with("12:00:16.005 node_3", line), name, "12:00:16.005 node_3 t2", line);
}

#[test]
fn a_leader_that_removes() {
    let line = "12:00:16.004 node_2 t2  LEADER    TRUNCATE   3@2: it wants to";
    let name = "a leader only appends to its log";
    fails(&with("sent to node_3", line), name, "node_2 t2  LEADER    STATE ", line);
}

#[test]
fn a_silent_leader() {
    let lines: String =
        (19..35).map(|s| format!("12:00:{s}.000 node_2 t2  LEADER    CLIENT     it is told something\n")).collect();
    let name = "a leader sends heartbeats while it leads";
    fails(&(story() + &lines), name, "12:00:18.004 node_2", "12:00:30.000 node_2");
}

/// After a contradiction each other property still gets its own verdict.
#[test]
fn several_wrongs() {
    let mut text =
        with("VOTE       granted to node_1", "12:00:07.415 node_2 t1  FOLLOWER  VOTE       granted to node_3");
    text.push_str("12:00:19.000 node_3 t2  FOLLOWER  HEARTBEAT  received from leader node_1\n");
    text.push_str("12:00:19.000 node_3 t2  FOLLOWER  HEARTBEAT  received from leader node_1\n");
    let (code, report, errors) = verify(&["-"], &text);
    assert_eq!(code, Some(1));
    assert_eq!(errors, "client: the protocol did not hold: 2 properties are contradicted\n");
    assert_eq!((report.matches("FAIL  ").count(), report.matches("PASS  ").count()), (2, 10), "{report}");
    assert!(report.contains("(and 1 more)") && report.contains("Each FAIL shows the first"), "{report}");
}

#[test]
fn prefixes_files_and_holes() {
    let temporary = TempDir::new();
    let path = |name: &str| temporary.path().join(name).display().to_string();
    let of = |node: &str| -> String {
        story().lines().filter(|line| line[13..].starts_with(node)).map(|line| format!("{line}\n")).collect()
    };
    // A file a node.
    let names = [path("1"), path("2"), path("3")];
    for (name, node) in names.iter().zip(["node_1", "node_2", "node_3"]) {
        fs::write(name, of(node)).unwrap();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (code, report, _) = verify(&names, "");
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains(&format!("{}:5  ", names[0])), "{report}");
    // What docker-compose shows: one node after the other, with prefixes and colours.
    let mut shown = String::from("Attaching to client, node_1, node_2, node_3\n");
    for node in ["node_2", "node_1", "node_3"] {
        of(node).lines().for_each(|line| shown.push_str(&format!("\x1b[36m{node}    |\x1b[0m {line}\n")));
    }
    shown.push_str("client    | ok 2@1 \"SET 5\"\n");
    assert!(passes(&shown).contains("lines of other programs, skipped: 2"));
    // One node alone, from the middle on, cut off at its end.
    let late = of("node_2");
    let late = late[late.find("12:00:08").unwrap()..].trim_end();
    let report = passes(&late[..late.len() - 15]);
    assert!(report.contains("hole  the log of node_2 starts late, at (stdin):1"), "{report}");
    assert!(report.contains("hole  node_2 was cut off in the middle of a line at (stdin):11"), "{report}");
    assert!(report.contains("hole  nothing of node_1, node_3: "), "{report}");
    assert!(
        report.contains("not seen  the entries appended are on all nodes: 2 of 3 nodes have no log here"),
        "{report}"
    );
    // A line in the middle that nobody can read.
    let report = passes(
        &story().replace("COMMIT     2@1 \"SET 5\"\n12:00:08.004 node_2", "COMMIT     2@1 \"S\n12:00:08.004 node_2"),
    );
    assert!(report.contains("hole  a line of node_1 at (stdin):22 cannot be read"), "{report}");
}

#[test]
fn wrong_usage_and_nothing_to_judge() {
    let temporary = TempDir::new();
    let log = temporary.path().join("log").display().to_string();
    fs::write(&log, story()).unwrap();
    for (arguments, why) in [
        (&[][..], "verify expects the nodes' logs: files, or - for standard input"),
        (&["/nowhere/at/all"], "cannot read /nowhere/at/all: "),
        (&["/"], "/ is a directory"),
        (&["-", "-"], "- is named twice"),
        (&[&log, "-"], "the same lines come twice"),
    ] {
        let (code, report, errors) = verify(arguments, &story());
        assert_eq!((code, &*report), (Some(2), ""), "{errors}");
        assert!(errors.contains(why), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    for nothing in ["", "hello\n"] {
        let (code, report, errors) = verify(&["-"], nothing);
        assert_eq!(code, Some(1), "{report}");
        assert!(errors.contains("nothing was judged"), "{errors}");
        assert_eq!(report.matches("----  ").count(), 12, "{report}");
    }
}

/// Real nodes, real kills, the leader twice among them.
#[test]
fn a_real_cluster_with_kills_passes() {
    let mut lab = Lab::start(3);
    let nodes: Vec<_> = (1..=3).map(|node| lab.address(node)).collect();
    let mut client = Appender::new(nodes, 1);
    let mut number = 0;
    let mut append = |client: &mut Appender, lab: &Lab| {
        for _ in 0..5 {
            number += 1;
            let done = client.append(&format!("string {number}"), Instant::now() + Duration::from_secs(60));
            done.unwrap_or_else(|why| lab.fail(&why));
        }
    };
    lab.wait_for_leader();
    append(&mut client, &lab);
    for leader in [true, false, true] {
        let first = lab.wait_for_leader();
        let victim = if leader { first } else { first % 3 + 1 };
        lab.kill(victim);
        append(&mut client, &lab);
        lab.start_node(victim);
        append(&mut client, &lab);
        lab.wait_for_equal_logs();
    }
    let temporary = TempDir::new();
    let names: Vec<String> =
        (1..=3).map(|node| temporary.path().join(format!("node_{node}.log")).display().to_string()).collect();
    for (node, name) in (1..).zip(&names) {
        let text: String = lab.lines(node).iter().map(|line| format!("{line}\n")).collect();
        fs::write(name, text).unwrap();
    }
    let (code, report, errors) = verify(&names.iter().map(String::as_str).collect::<Vec<_>>(), "");
    if code != Some(0) || report.matches("\nseen      ").count() != 4 || report.matches("PASS  ").count() != 12 {
        lab.fail(&format!("{errors}{report}"));
    }
}
