//! The disk of real nodes: full, failing, torn, damaged, locked, foreign, wiped, snapshots too; and standard output,
//! which a node does not go on without.
#![cfg(target_os = "linux")] // /dev/full, ulimit

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::judge::commits;
use common::{Connection, Lab};
use raft_lab::raft::event::{Event, Fact};

/// Nothing may disturb a leader here.
const PATIENT: [(&str, &str); 2] = [("ELECTION_TIMEOUT_MS", "1500-2500"), ("HEARTBEAT_INTERVAL_MS", "150")];

fn wal(lab: &Lab, node: usize) -> PathBuf {
    lab.data_dir(node).join("wal.1")
}

fn read_wal(lab: &Lab, node: usize) -> Vec<u8> {
    fs::read(wal(lab, node)).unwrap_or_else(|error| panic!("wal of node {node}: {error}"))
}

fn write_wal(lab: &Lab, node: usize, bytes: &[u8]) {
    fs::write(wal(lab, node), bytes).unwrap_or_else(|error| panic!("wal of node {node}: {error}"));
}

/// Waits until the node ends with exit code 1, and returns its last line on standard error.
fn ends_with_error(lab: &mut Lab, node: usize) -> String {
    let status = lab.wait_for_end(node);
    let Some(line) = lab.errors(node).pop() else { lab.fail("it ended without a word") };
    assert_eq!(status.code(), Some(1), "{line}");
    line
}

fn assert_says(line: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| line.contains(part)), "expected {parts:?} in: {line}");
}

fn error_lines(lab: &Lab, node: usize) -> Vec<String> {
    let errors = lab.events(node).into_iter().filter(|event| matches!(event.fact, Fact::Error { .. }));
    errors.map(|event| event.to_string()).collect()
}

fn is_disk_line(event: &Event) -> bool {
    matches!(event.fact, Fact::Disk { .. })
}

/// A directory whose log is a link to a device.
fn link_wal(lab: &Lab, node: usize, device: &str) {
    let linked = fs::create_dir_all(lab.data_dir(node)).and_then(|()| symlink(device, wal(lab, node)));
    linked.unwrap_or_else(|error| panic!("link to {device}: {error}"));
}

/// The first write of a node goes to its log: the node ends before it has said anything to anybody.
fn log_on(device: &str, parts: &[&str]) {
    let mut lab = Lab::prepare(3, &[]);
    link_wal(&lab, 1, device);
    lab.start_node(1);
    let error = ends_with_error(&mut lab, 1);
    assert_says(&error, parts);
    assert_eq!(lab.errors(1).len(), 1, "{}", lab.story());
    // The log of events says the same, and nothing else.
    let events = lab.events(1);
    assert!(events.len() == 1 && matches!(events[0].fact, Fact::Error { .. }), "{}", lab.story());
    assert!(lab.connect(1).is_err());
}

#[test]
fn a_full_device_ends_the_node() {
    log_on("/dev/full", &["/wal.1: cannot write", "No space left", "make room"]);
}

#[test]
fn a_failed_sync_ends_the_node() {
    log_on("/dev/null", &["/wal.1: cannot sync", "a plain file on a disk that can be synced"]);
}

/// `command` under a limit on the size of its files, in blocks of 512 bytes. The signal that comes with
/// it is ignored, so that a write beyond fails as it does on a full disk: with a part of it written.
fn limited(command: &Command, blocks: u32) -> Command {
    let mut shell = Command::new("sh");
    shell.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
    shell.arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        shell.current_dir(dir);
    }
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

/// Appends strings, each somewhat longer than `bytes`, until node 1 has told an error. All of them are acknowledged.
fn append_until_full(lab: &Lab, bytes: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    lab.wait_until("the disk of node 1 is full", || {
        let text = format!("{} {}", acknowledged.len(), "x".repeat(bytes));
        lab.append(&text);
        acknowledged.push(text);
        let full = |event: &Event| matches!(event.fact, Fact::Error { .. });
        (lab.count(1, full) > 0).then_some(())
    });
    acknowledged
}

/// All nodes come to hold these strings, and the one that was appended without node 1.
fn has_all_and_one_more(lab: &Lab, acknowledged: &[String]) {
    let log = lab.wait_for_equal_logs();
    assert_eq!(log.len(), acknowledged.len() + 1);
    assert!(acknowledged.iter().zip(&log).all(|(text, line)| line.ends_with(&format!(" \"{text}\""))), "{log:?}");
}

#[test]
fn a_disk_that_fills_up_ends_the_node_and_loses_nothing() {
    let mut lab = Lab::prepare(3, &PATIENT);
    let command = limited(&lab.command(1), 16);
    lab.start_as(1, command);
    [2, 3].into_iter().for_each(|node| lab.start_node(node));
    lab.wait_for_leader();
    let acknowledged = append_until_full(&lab, 700);
    let error = ends_with_error(&mut lab, 1);
    assert_says(&error, &["/wal.1: cannot write batch", "at byte", "make room"]);
    lab.append("the others go on");

    // With room again: what was half written is cut off, and what it missed comes from the others.
    let size = read_wal(&lab, 1).len();
    assert!(size <= 16 * 1024, "{size} bytes");
    lab.start_node(1);
    has_all_and_one_more(&lab, &acknowledged);
    lab.judge();
}

/// Three nodes with ten strings; all are killed, the log of one is changed, and all start again. (All:
/// a leader that goes on remembers what a follower has acknowledged, and what was acknowledged was
/// synced, so no unfinished write takes it away.)
fn damaged(change: impl Fn(Vec<u8>) -> Vec<u8>) -> (Lab, usize, Vec<String>) {
    let mut lab = Lab::start_with(3, &PATIENT);
    for number in 1..=10 {
        lab.append(&format!("SET {number}"));
    }
    let log = lab.wait_for_equal_logs();
    let follower = lab.wait_for_leader() % 3 + 1;
    (1..=3).for_each(|node| lab.kill(node));
    let bytes = read_wal(&lab, follower);
    write_wal(&lab, follower, &change(bytes));
    (1..=3).for_each(|node| lab.start_node(node));
    (lab, follower, log)
}

/// The line of a log file that holds this string, counted from 0, and where it begins.
fn line_with(bytes: &[u8], text: &str) -> (usize, usize) {
    let all = String::from_utf8_lossy(bytes);
    let mut at = 0;
    for (number, line) in all.split_inclusive('\n').enumerate() {
        if line.contains(text) {
            return (number, at);
        }
        at += line.len();
    }
    panic!("no {text} in\n{all}");
}

fn torn(change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let (lab, follower, before) = damaged(change);
    assert_eq!(lab.wait_for_equal_logs(), before);
    assert_eq!(lab.count(follower, is_disk_line), 1, "{}", lab.story());
    lab.append("after");
    assert_eq!(lab.wait_for_equal_logs().len(), before.len() + 1);
    lab.judge();
}

#[test]
fn garbage_at_the_end_is_cut_off_and_told() {
    torn(|mut bytes| {
        bytes.extend_from_slice(b"deadbeef 99.1/2 entry 11@1 app");
        bytes
    });
}

#[test]
fn zeros_at_the_end_are_cut_off_and_told() {
    // What some file systems leave behind a length that was written before the bytes.
    torn(|mut bytes| {
        bytes.extend_from_slice(&[0; 4096]);
        bytes
    });
}

#[test]
fn a_write_that_was_cut_short_is_cut_off_and_told() {
    // The leader appends alone (plain protocol: it stays leader), so that nothing depends on its last
    // batch; then the crash came in the middle of that write.
    let mut lab = Lab::start_with(3, &[("PRE_VOTE", "off")]);
    lab.append("before");
    let leader = lab.wait_for_leader();
    let before = lab.wait_for_equal_logs();
    (1..=3).filter(|node| *node != leader).for_each(|node| lab.kill(node));
    let mut client = lab.connect(leader).unwrap_or_else(|error| panic!("{error}"));
    assert!(client.send("append \"half written\"").is_ok());
    lab.wait_until("it is written", || (!lab.lines_with(leader, "\"half written\"").is_empty()).then_some(()));
    lab.kill(leader);
    let mut bytes = read_wal(&lab, leader);
    assert!(bytes.ends_with(b"\"half written\"\n"));
    bytes.truncate(bytes.len() - 5);
    write_wal(&lab, leader, &bytes);
    (1..=3).for_each(|node| lab.start_node(node));
    lab.append("after");
    let log = lab.wait_for_equal_logs();
    assert!(log.len() == 2 && log[0] == before[0], "{log:?}");
    assert_eq!(lab.count(leader, is_disk_line), 1, "{}", lab.story());
    assert_eq!(lab.count(leader, |event| matches!(event.fact, Fact::Truncate { .. })), 0, "{}", lab.story());
    lab.judge();
}

#[test]
fn damage_in_the_middle_is_refused() {
    let flip = |mut bytes: Vec<u8>| {
        let at = line_with(&bytes, "\"SET 4\"").1 + 12;
        bytes[at] ^= 1;
        bytes
    };
    let (mut lab, follower, before) = damaged(flip);
    let bytes = read_wal(&lab, follower);
    let (line, at) = line_with(&bytes, "\"SET 4\"");
    let error = ends_with_error(&mut lab, follower);
    assert_says(&error, &["/wal.1: ", &format!("line {}", line + 1), &format!("byte {at}"), "must not go on"]);
    assert_eq!(error_lines(&lab, follower).len(), 1, "{}", lab.story());
    // It has touched nothing; a second start says the same. The others do not need it.
    assert_eq!(read_wal(&lab, follower), bytes);
    lab.start_node(follower);
    assert_eq!(ends_with_error(&mut lab, follower), error);
    lab.append("without it");
    assert_eq!(lab.wait_for_equal_logs().len(), before.len() + 1);
    lab.judge();
}

/// Runs a second process on a directory that is not its own, and returns its last words.
fn intruder(lab: &Lab, command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| lab.fail(&format!("cannot run the node: {error}")));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// A node as it would be started by hand: it does not end with its standard input.
fn by_hand(id: &str, peers: &str, listen: &str, data_dir: &PathBuf) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
    command.env_clear().args([id, "--peers", peers, "--listen", listen, "--data-dir"]).arg(data_dir);
    command
}

#[test]
fn a_directory_in_use_or_of_another_node_or_size_is_refused() {
    let mut lab = Lab::start_with(3, &PATIENT);
    lab.append("SET 5");
    let before = lab.wait_for_equal_logs();
    let listen = format!("127.0.0.1:{}", common::free_port());
    let mut in_use = by_hand("1", &lab.peers(), &listen, &lab.data_dir(1));
    assert_says(&intruder(&lab, &mut in_use), &["node_1: ", "in use by another running node", "--data-dir"]);

    lab.kill(1);
    let bytes = read_wal(&lab, 1);
    let mut other_id = by_hand("2", &lab.peers(), &listen, &lab.data_dir(1));
    assert_says(
        &intruder(&lab, &mut other_id),
        &["belongs to node_1 of 3", "this is node_2 of 3", "--id 1", "--data-dir"],
    );
    let five = format!("{},4=127.0.0.1:9,5=127.0.0.1:10", lab.peers());
    let mut other_size = by_hand("1", &five, &listen, &lab.data_dir(1));
    assert_says(&intruder(&lab, &mut other_size), &["node_1 of 3", "node_1 of 5", "--cluster-size 3"]);

    // No harm was done.
    assert_eq!(read_wal(&lab, 1), bytes);
    lab.start_node(1);
    assert_eq!(lab.wait_for_equal_logs(), before);
    lab.judge();
}

#[test]
fn a_second_node_on_the_same_port_says_so() {
    let lab = Lab::start(3);
    lab.wait_for_leader();
    let listen = lab.address(1).to_string();
    let other_dir = lab.data_dir(9);
    let mut second = by_hand("1", &lab.peers(), &listen, &other_dir);
    assert_says(&intruder(&lab, &mut second), &["cannot listen at", &listen, "--listen"]);
    assert!(!other_dir.exists(), "it has touched a disk");
}

#[test]
fn a_node_with_a_wiped_disk_is_not_counted() {
    let mut lab = Lab::start_with(3, &PATIENT);
    lab.append("SET 5");
    lab.wait_for_equal_logs();
    let leader = lab.wait_for_leader();
    let (wiped, follower) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    for node in [leader, follower] {
        lab.wait_until("its disk is remembered", || {
            String::from_utf8_lossy(&read_wal(&lab, node)).contains(&format!("peer node_{wiped} disk=")).then_some(())
        });
    }
    let old = lab.data_dir(wiped).with_extension("old");
    lab.kill(wiped);
    fs::rename(lab.data_dir(wiped), &old).unwrap_or_else(|error| panic!("{error}"));
    lab.start_node(wiped);

    // It is told, and whoever met it tells it; both name the cure.
    lab.wait_until("ERROR lines", || {
        let its = error_lines(&lab, wiped).join("\n");
        let at =
            |node: usize| error_lines(&lab, node).join("\n").contains(&format!("node_{wiped} came back with disk"));
        (its.contains("remembers this node with disk") && its.contains("old data directory") && at(leader))
            .then_some(())
    });
    lab.kill(follower);
    let mut client = lab.connect(leader).unwrap_or_else(|error| panic!("{error}"));
    let mut answer = String::new();
    if client.send("append \"by two of three, one of them wiped\"").is_ok() {
        answer = client.line().unwrap_or_default();
    }
    // The leader gives up: the wiped node's answers keep nobody in office.
    assert!(answer.starts_with("unknown ") || answer.starts_with("error no-leader "), "{answer}\n{}", lab.story());
    lab.wait_until("several attempts to be elected, and what the wiped node says to them", || {
        let asked = |event: &Event| matches!(event.fact, Fact::AskedAgain { .. });
        let denied = lab.lines_with(wiped, &format!("pre-vote denied to node_{leader}: this node's disk is new"));
        (lab.count(leader, asked) >= 2 && denied.len() >= 2).then_some(())
    });
    // It may have voted in this term: it does not stand for election either.
    assert_eq!(lab.count(wiped, |event| matches!(event.fact, Fact::State { .. })), 0, "{}", lab.story());
    for node in [leader, wiped] {
        assert_eq!(lab.count(node, |event| commits(event, "by two of three, one of them wiped")), 0);
    }
    assert_eq!(lab.log(wiped), Some(Vec::new()), "the wiped node commits nothing");

    lab.start_node(follower);
    lab.append("by the two that are counted");
    // The cure that the lines name: its old directory.
    lab.kill(wiped);
    fs::remove_dir_all(lab.data_dir(wiped)).unwrap_or_else(|error| panic!("{error}"));
    fs::rename(&old, lab.data_dir(wiped)).unwrap_or_else(|error| panic!("{error}"));
    lab.start_node(wiped);
    let log = lab.wait_for_equal_logs();
    assert!(log.last().is_some_and(|line| line.ends_with("\"by the two that are counted\"")), "{log:?}");
    lab.judge_but_forget(&[wiped]);
}

#[test]
fn what_was_acknowledged_outlives_a_kill_of_all() {
    let mut lab = Lab::start(3);
    let mut expected = BTreeSet::new();
    for round in 1..=5 {
        let leader = lab.wait_for_leader();
        let mut client = lab.connect(leader).unwrap_or_else(|error| panic!("{error}"));
        let text = format!("round {round}");
        let asked = client.send(&format!("append \"{text}\""));
        let answer = client.line().unwrap_or_default();
        (1..=3).for_each(|node| lab.kill(node));
        assert!(asked.is_ok());
        match answer.strip_prefix("ok ") {
            Some(id) => assert!(expected.insert(format!("{id} \"{text}\""))),
            None => assert!(answer.starts_with("unknown ") || answer.starts_with("redirect "), "{answer}"),
        }
        (1..=3).for_each(|node| lab.start_node(node));
    }
    lab.append("after all");
    let log: BTreeSet<String> = lab.wait_for_equal_logs().into_iter().collect();
    assert!(!expected.is_empty() && expected.is_subset(&log), "{expected:?} {log:?}");
    lab.judge();
}

/// A cluster of one, which needs nobody, started with its standard output as `stdout` leaves it.
fn alone(lab: &Lab) -> std::process::Child {
    lab.command(1).spawn().unwrap_or_else(|error| panic!("cannot run the node: {error}"))
}

fn last_words(child: std::process::Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_closed_standard_output_ends_the_node() {
    let lab = Lab::prepare(1, &[]);
    let mut child = alone(&lab);
    let stdin = child.stdin.take();
    drop(child.stdout.take());
    let (code, error) = last_words(child);
    drop(stdin);
    assert_eq!((code, error.lines().count()), (Some(1), 1), "{error}");
    assert_says(&error, &["standard output", "nobody reads the log"]);
}

#[test]
fn a_standard_output_that_nobody_reads_ends_the_node() {
    let lab = Lab::prepare(1, &[]);
    let mut child = alone(&lab);
    let stdin = child.stdin.take();
    let unread = child.stdout.take();
    // Enough to fill the pipe; the answers stop coming when the node ends.
    lab.wait_until("the node ends", || {
        if let Ok(mut client) = Connection::open(lab.address(1)) {
            let text = "x".repeat(200);
            for _ in 0..20 {
                let sent = client.stream.write_all(format!("append \"{text}\"\n").as_bytes());
                if sent.is_err() || !client.line().is_ok_and(|answer| !answer.is_empty()) {
                    break;
                }
            }
        }
        matches!(child.try_wait(), Ok(Some(_))).then_some(())
    });
    let (code, error) = last_words(child);
    drop((stdin, unread));
    assert_eq!((code, error.lines().count()), (Some(1), 1), "{error}");
    assert_says(&error, &["standard output", "nobody reads the log"]);
}

/// A log of some ten entries becomes a snapshot.
const SMALL_LOG: (&str, &str) = ("SNAPSHOT_LOG_BYTES", "1000");

/// The file of a node whose name begins so and has the highest number, and that number.
fn newest(lab: &Lab, node: usize, head: &str) -> Option<(u64, PathBuf)> {
    let files = fs::read_dir(lab.data_dir(node)).ok()?;
    let numbered = files.filter_map(|file| {
        let path = file.ok()?.path();
        Some((path.file_name()?.to_str()?.strip_prefix(head)?.parse().ok()?, path))
    });
    numbered.max()
}

#[test]
fn a_damaged_snapshot_is_refused_and_what_a_crash_left_beside_a_good_one_goes() {
    let mut lab = Lab::start_with(3, &[SMALL_LOG, PATIENT[0], PATIENT[1]]);
    for number in 1..=40 {
        lab.append(&format!("SET {number}"));
    }
    let before = lab.wait_for_equal_logs();
    lab.wait_until("a snapshot on node 1", || newest(&lab, 1, "snapshot."));
    lab.kill(1);
    let Some((number, path)) = newest(&lab, 1, "snapshot.") else { lab.fail("no snapshot") };
    let good = fs::read(&path).unwrap_or_else(|error| panic!("{error}"));
    let at = good.len() / 2;
    let mut damaged = good.clone();
    damaged[at] ^= 1;
    let write = |path: &PathBuf, bytes: &[u8]| fs::write(path, bytes).unwrap_or_else(|error| panic!("{error}"));
    write(&path, &damaged);
    lab.start_node(1);
    let error = ends_with_error(&mut lab, 1);
    assert_says(&error, &[&format!("/snapshot.{number}: "), "line ", "must not go on", "move the directory away"]);
    assert_eq!(error_lines(&lab, 1).len(), 1, "{}", lab.story());
    assert_eq!(fs::read(&path).ok(), Some(damaged), "it is left as it is");

    // Whole again, beside what crashes may leave.
    write(&path, &good);
    let scraps = [number + 7, number - 1].map(|number| format!("snapshot.{number}.tmp"));
    let scraps = scraps.into_iter().chain(["received.3.tmp".to_string(), format!("wal.{}", number - 1)]);
    let scraps: Vec<PathBuf> = scraps.map(|name| lab.data_dir(1).join(name)).collect();
    scraps.iter().for_each(|scrap| write(scrap, &good[..at]));
    lab.start_node(1);
    assert_eq!(lab.wait_for_equal_logs(), before);
    assert!(scraps.iter().all(|scrap| !scrap.exists()), "{:?}", newest(&lab, 1, "wal."));
    lab.append("it goes on");
    lab.judge();
}

#[test]
fn a_disk_that_fills_up_while_a_snapshot_is_made_ends_the_node_and_loses_nothing() {
    let mut lab = Lab::prepare(3, &[SMALL_LOG, PATIENT[0], PATIENT[1]]);
    // A file has at most 8 KiB: sooner or later the snapshot has more. Files of the log are shorter.
    let command = limited(&lab.command(1), 16);
    lab.start_as(1, command);
    [2, 3].into_iter().for_each(|node| lab.start_node(node));
    lab.wait_for_leader();
    let acknowledged = append_until_full(&lab, 100);
    let error = ends_with_error(&mut lab, 1);
    // On a busy machine the log may wait so long for its snapshot that it is the first with more.
    let log_first = error.contains("/wal.");
    let what = if log_first { ["/wal.", ": cannot write"] } else { ["/snapshot.", ".tmp: cannot write the snapshot"] };
    assert_says(&error, &[what[0], what[1], "make room"]);
    lab.append("the others go on");
    lab.start_node(1);
    has_all_and_one_more(&lab, &acknowledged);
    lab.wait_until("a snapshot of all that", || newest(&lab, 1, "snapshot.").filter(|(_, path)| len(path) > 8192));
    lab.judge();
}

fn len(path: &PathBuf) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}
