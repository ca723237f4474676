//! Keys with lists, reads, snapshots and a lost disk, over real processes and raw sockets.
#![cfg(unix)] // SIGSTOP

mod common;

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::appender::Appender;
use common::{CALM, Connection, Lab, PATIENCE};
use raft_lab::disk;
use raft_lab::raft::event::Fact;
use raft_lab::raft::log::chain_entry;
use raft_lab::raft::types::{Command, Entry, EntryId, NodeId, Persistent, Record};
use raft_lab::text::random::Random;
use raft_lab::wire::client::{Answer, ErrorCode, NodeStatus};

/// A log of some ten entries becomes a snapshot.
const SMALL_LOG: (&str, &str) = ("SNAPSHOT_LOG_BYTES", "1000");

fn ask(lab: &Lab, node: usize, lines: &str) -> Vec<String> {
    lab.ask(node, lines).unwrap_or_else(|error| panic!("{lines} at node {node}: {error}"))
}

/// The answer's first line.
fn answer(lab: &Lab, node: usize, line: &str) -> Answer {
    let lines = ask(lab, node, line);
    let first = lines.first().map_or("", String::as_str);
    Answer::decode(first).unwrap_or_else(|error| panic!("{line} at node {node} was answered {lines:?}: {error}"))
}

/// The strings of a key, if the answer is that.
fn values(answer: &[String]) -> Option<Vec<String>> {
    let (last, values) = answer.split_last()?;
    last.starts_with("end-of-values ")
        .then(|| values.iter().map(|line| line.trim_start_matches("value ").trim_matches('"').to_string()).collect())
}

/// The next line of a connection; `None` if there is none within a moment.
fn line_within(connection: &mut Connection, patience: Duration) -> Option<String> {
    connection.stream.set_read_timeout(Some(patience)).unwrap_or_else(|error| panic!("{error}"));
    match connection.whole_line() {
        Ok(line) => Some(line.trim_end().to_string()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

fn others(lab: &Lab, node: usize) -> Vec<usize> {
    (1..=lab.size()).filter(|other| *other != node).collect()
}

fn wipe(lab: &Lab, node: usize) {
    let dir = lab.data_dir(node);
    fs::remove_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
}

#[test]
fn keys_hold_lists_of_strings() {
    let lab = Lab::start_with(3, &CALM);
    let leader = lab.wait_for_leader();
    // Writes are pipelined; a question is about what the writes before it have done.
    let lines = ask(
        &lab,
        leader,
        "put \"a\" \"cat\" \"dog\"\nappend-to \"a\" \"mouse\"\nget \"a\"\nappend-to \"new\" \"x\"\nput \"none\"\nget \"none\"\n\
         append \"SET 5\"\nappend-to \"log\" \"SET 6\" \"SET 7\"\nkeys\nlog\nget \"log\" from=2\nget \"a\" from=3\n\
         keys from \"log\" local\nget \"b\"\nput \"a\" \"bird\"\nget \"a\" local",
    );
    let lines: Vec<&str> = lines.iter().map(|line| line.split(" applied=").next().unwrap_or_default()).collect();
    let mut first = Vec::new();
    for line in &lines {
        // Where the entries lie depends on the election before them.
        let id = line.strip_prefix("ok ").and_then(|id| id.split_once('@'));
        first.extend(id.and_then(|(index, term)| Some((index.parse::<u64>().ok()?, term.to_string()))));
    }
    let [(i, t), ..] = &first[..] else { lab.fail(&format!("{lines:?}")) };
    let at = |n: u64| format!("{}@{t}", i + n);
    let expected = [
        format!("ok {}", at(0)),
        format!("ok {}", at(1)),
        "value \"cat\"".into(),
        "value \"dog\"".into(),
        "value \"mouse\"".into(),
        format!("end-of-values next=4 total=3 changed={}", at(1)),
        format!("ok {}", at(2)),
        format!("ok {}", at(3)),
        format!("end-of-values next=1 total=0 changed={}", at(3)),
        format!("ok {}", at(4)),
        format!("ok {}", at(5)),
        "key \"a\" values=3".into(),
        "key \"log\" values=3".into(),
        "key \"new\" values=1".into(),
        "key \"none\" values=0".into(),
        "end-of-keys".into(),
        format!("{} \"SET 5\"", at(4)),
        format!("{} \"SET 6\"", at(5)),
        format!("{} \"SET 7\"", at(5)),
        format!("end next={} commit={}", i + 6, i + 5),
        "value \"SET 6\"".into(),
        "value \"SET 7\"".into(),
        format!("end-of-values next=4 total=3 changed={}", at(5)),
        "value \"mouse\"".into(),
        format!("end-of-values next=4 total=3 changed={}", at(1)),
        "key \"log\" values=3".into(),
        "key \"new\" values=1".into(),
        "key \"none\" values=0".into(),
        "end-of-keys".into(),
        "no-key \"b\"".into(),
        format!("ok {}", at(6)),
        "value \"bird\"".into(),
        format!("end-of-values next=2 total=1 changed={}", at(6)),
    ];
    assert_eq!(lines, expected);

    // A follower sends to the leader, unless it is asked what it knows itself.
    let follower = others(&lab, leader)[0];
    for question in ["get \"a\"", "keys", "log", "put \"a\" \"cat\""] {
        let told =
            matches!(answer(&lab, follower, question), Answer::Redirect { leader: to, .. } if to.0 == leader as u64);
        assert!(told, "{question}: {}", lab.story());
        let line = format!("CLIENT     {question} redirected to node_{leader}");
        lab.wait_for_lines(follower, &line, 1);
    }
    lab.wait_until("the follower has it too", || {
        (values(&ask(&lab, follower, "get \"a\" local"))? == ["bird"]).then_some(())
    });
    lab.judge();
}

#[test]
fn a_put_is_done_once_however_often_it_is_sent() {
    let lab = Lab::start_with(3, &CALM);
    let leader = lab.wait_for_leader();
    let Answer::Session(session) = answer(&lab, leader, "session") else { lab.fail("no session") };
    let append = format!("append-to {session} 1 \"a\" \"once\"");
    let answers = ask(&lab, leader, &format!("{append}\n{append}\n{append}"));
    assert!(answers.len() == 3 && answers.iter().all(|line| *line == answers[0]), "{answers:?}");
    assert_eq!(values(&ask(&lab, leader, "get \"a\"")), Some(vec!["once".to_string()]));
    let gap = answer(&lab, leader, &format!("put {session} 3 \"a\" \"late\""));
    assert!(matches!(gap, Answer::Error { code: ErrorCode::SessionGap { expected: 2 }, .. }), "{gap:?}");
    let again = "CLIENT     append-to \"a\" \"once\" again";
    lab.wait_for_lines(leader, again, 2);
    assert_eq!(lab.lines_with(leader, again).len(), 2, "{}", lab.story());
}

#[test]
fn a_full_list_says_so_and_keeps_what_it_has() {
    let lab = Lab::start_with(1, &[]);
    let leader = lab.wait_for_leader();
    let append = format!("append-to \"a\" \"{}\"\n", "x".repeat(60_000));
    let answers = ask(&lab, leader, &append.repeat(18));
    let (taken, refused): (Vec<&String>, Vec<&String>) = answers.iter().partition(|line| line.starts_with("ok "));
    assert_eq!((taken.len(), refused.len()), (17, 1), "a list has at most 1 MiB: {answers:?}");
    assert!(refused[0].starts_with("error full "), "{refused:?}");
    assert_eq!(values(&ask(&lab, leader, "get \"a\"")).map(|values| values.len()), Some(17));
}

#[test]
fn a_leader_cut_from_its_majority_serves_no_read() {
    let lab = Lab::start_with(3, &[("ELECTION_TIMEOUT_MS", "3000-5000"), ("HEARTBEAT_INTERVAL_MS", "150")]);
    let leader = lab.wait_for_leader();
    assert!(matches!(answer(&lab, leader, "put \"a\" \"cat\""), Answer::Appended(_)));
    others(&lab, leader).into_iter().for_each(|node| lab.pause(node));
    // An acknowledgement that was on its way when the read came must not confirm it.
    let waits = ["get \"a\"", "keys", "log"].map(|question| {
        let mut connection = lab.connect(leader).unwrap_or_else(|error| panic!("{error}"));
        connection.send(question).unwrap_or_else(|error| panic!("{error}"));
        (question, connection)
    });
    for (question, mut connection) in waits {
        assert_eq!(values(&ask(&lab, leader, "get \"a\" local")), Some(vec!["cat".to_string()]));
        let line = line_within(&mut connection, Duration::from_millis(500));
        // If the machine is so slow that it gave up leadership meanwhile, it says that.
        assert!(line.as_ref().is_none_or(|line| line.starts_with("error no-leader")), "{question}: {line:?}");
    }
    lab.resume_all(&others(&lab, leader));
    lab.wait_until("the cluster reads again", || {
        let lines = lab.ask(lab.leader()?, "get \"a\"").ok()?;
        (values(&lines)? == ["cat"]).then_some(())
    });
    lab.judge();
}

#[test]
fn a_leader_that_was_paused_does_not_read_what_is_old() {
    let lab = Lab::start_with(3, &CALM);
    let old = lab.wait_for_leader();
    assert!(matches!(answer(&lab, old, "put \"a\" \"old\""), Answer::Appended(_)));
    let mut connection = lab.connect(old).unwrap_or_else(|error| panic!("{error}"));
    connection.send("get \"a\"").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(line_within(&mut connection, PATIENCE).as_deref(), Some("value \"old\""));
    assert!(line_within(&mut connection, PATIENCE).is_some_and(|line| line.starts_with("end-of-values ")));
    lab.pause(old);
    lab.wait_until("another leader has put \"new\"", || {
        let leader = lab.leader()?;
        matches!(answer(&lab, leader, "put \"a\" \"new\""), Answer::Appended(_)).then_some(())
    });
    // The question is there before the old leader wakes up, and before it hears of the other one.
    connection.send("get \"a\"").unwrap_or_else(|error| panic!("{error}"));
    lab.resume(old);
    let line = line_within(&mut connection, PATIENCE).unwrap_or_default();
    let known = ["value \"new\"", "redirect ", "error no-leader"].iter().any(|start| line.starts_with(start));
    assert!(known, "{line:?}: {}", lab.story());
    lab.judge();
}

/// Puts long strings under one key, wherever the leader is; returns how many were acknowledged.
fn put_until(nodes: &[SocketAddr], done: &AtomicBool) -> usize {
    let puts = format!("put \"a\" \"{}\"\n", "y".repeat(200)).repeat(20);
    let mut acknowledged = 0;
    while !done.load(Ordering::Relaxed) {
        for node in nodes {
            let Ok(mut connection) = Connection::open(*node) else { continue };
            while !done.load(Ordering::Relaxed) && connection.send(&puts).is_ok() {
                let lines = (0..20).map(|_| connection.line().unwrap_or_default());
                let taken = lines.filter(|line| line.starts_with("ok ")).count();
                acknowledged += taken;
                if taken == 0 {
                    break;
                }
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    acknowledged
}

#[test]
fn logs_become_snapshots_and_nothing_is_lost_by_kills_at_any_moment() {
    const EACH: usize = 700;
    let mut lab = Lab::start_with(3, &[SMALL_LOG]);
    lab.wait_for_leader();
    let nodes: Vec<_> = (1..=3).map(|node| lab.address(node)).collect();
    let deadline = Instant::now() + PATIENCE * 3;
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let mut appender = Appender::new(nodes.clone(), writer);
            thread::spawn(move || {
                let text = |number| format!("string {number} of writer {writer} {}", "x".repeat(number % 90));
                (0..EACH).map(|number| Ok((appender.append(&text(number), deadline)?, text(number)))).collect()
            })
        })
        .collect();
    // Puts make the log grow much faster than the state, so a snapshot is nearly always under way.
    let done = Arc::new(AtomicBool::new(false));
    let putter = {
        let (nodes, done) = (nodes.clone(), done.clone());
        thread::spawn(move || put_until(&nodes, &done))
    };
    let mut random = Random::from_os();
    while !writers.iter().all(|writer| writer.is_finished()) {
        // One at a time, and now and then all.
        let killed: Vec<usize> = if random.one_in(5) { vec![1, 2, 3] } else { vec![1 + random.below(3) as usize] };
        killed.iter().for_each(|node| lab.kill(*node));
        thread::sleep(random.duration(Duration::ZERO, Duration::from_millis(300)));
        killed.iter().for_each(|node| lab.start_node(*node));
        thread::sleep(random.duration(Duration::from_millis(100), Duration::from_millis(1500)));
    }
    let mut written: Vec<(EntryId, String)> = Vec::new();
    for writer in writers {
        let done: Result<Vec<_>, String> = writer.join().unwrap_or_else(|_| panic!("a writer"));
        written.extend(done.unwrap_or_else(|error| lab.fail(&error)));
    }
    done.store(true, Ordering::Relaxed);
    assert!(putter.join().is_ok_and(|puts| puts > 0));
    written.sort();
    let log = lab.wait_for_equal_logs();
    let expected: Vec<String> = written.iter().map(|(id, text)| format!("{id} \"{text}\"")).collect();
    assert_eq!(log, expected, "index@term of every string");
    for node in 1..=3 {
        let status = lab.wait_until("the log is short again", || {
            let bound = |status: &NodeStatus| 2 * status.snapshot_bytes.max(1000);
            lab.status(node).filter(|status| status.snapshot.index > 0 && status.log_bytes <= bound(status))
        });
        assert_eq!(status.log_len, status.last.index - status.snapshot.index, "{status:?}");
    }
    assert!((1..=3).any(|node| !lab.lines_with(node, "SNAPSHOT   made through").is_empty()), "{}", lab.story());
    // From the disk alone.
    (1..=3).for_each(|node| lab.kill(node));
    (1..=3).for_each(|node| lab.start_node(node));
    assert_eq!(lab.wait_for_equal_logs(), expected);
    lab.wait_for_lines(1, ", snapshot through ", 1);
    lab.judge();
}

#[test]
fn a_follower_that_was_stopped_too_long_gets_the_snapshot_in_pieces() {
    let mut lab = Lab::start_with(3, &[SMALL_LOG, CALM[0], CALM[1]]);
    lab.append("before");
    let leader = lab.wait_for_leader();
    let away = others(&lab, leader)[0];
    lab.wait_for_equal_logs();
    lab.kill(away);
    // More than one piece of 256 KiB.
    for number in 0..15 {
        lab.append(&format!("{number} {}", "é\"".repeat(20_000)));
    }
    let put = ask(&lab, leader, "put \"a\" \"cat\" \"dog\"\nappend \"the last\"");
    assert!(put.iter().all(|line| line.starts_with("ok ")), "{put:?}");
    lab.wait_until("the leader's log begins behind what the follower has", || {
        // Half of it all is in the snapshot at the least: the log is never much longer than that.
        (lab.status(leader)?.snapshot_bytes > 2 * 256 * 1024).then_some(())
    });
    lab.start_node(away);
    let log = lab.wait_for_equal_logs();
    assert_eq!(log.len(), 17);
    let installed = |event: &raft_lab::raft::event::Event| matches!(event.fact, Fact::Installed { .. });
    assert!(lab.count(away, installed) > 0, "{}", lab.story());
    assert_eq!(values(&ask(&lab, away, "get \"a\" local")), Some(vec!["cat".to_string(), "dog".to_string()]));
    // It stands on its own disk.
    lab.kill(away);
    lab.start_node(away);
    assert_eq!(lab.wait_for_equal_logs(), log);
    assert_eq!(values(&ask(&lab, away, "get \"a\" local")), Some(vec!["cat".to_string(), "dog".to_string()]));
    lab.judge();
}

#[test]
fn a_wiped_node_counts_again_once_it_is_readmitted() {
    let mut lab = Lab::start_with(3, &[SMALL_LOG, CALM[0], CALM[1]]);
    for number in 0..20 {
        lab.append(&format!("string {number} {}", "x".repeat(100)));
    }
    lab.wait_for_equal_logs();
    let leader = lab.wait_for_leader();
    let [wiped, third] = others(&lab, leader)[..] else { panic!() };
    let readmit = format!("readmit node_{wiped}");
    let counted = answer(&lab, leader, &readmit);
    assert!(matches!(counted, Answer::Error { code: ErrorCode::NotRefused, .. }), "{counted:?}");

    lab.kill(wiped);
    wipe(&lab, wiped);
    lab.start_node(wiped);
    lab.wait_until("an ERROR line names the cure", || {
        let errors = lab.lines_with(lab.leader()?, " ERROR ");
        errors.iter().any(|line| line.contains(&format!("client {readmit}"))).then_some(())
    });
    // Not counted: with it alone the leader has no majority.
    lab.kill(third);
    let told = lab.ask(leader, "append \"must not be confirmed\"").unwrap_or_default();
    assert!(!told.iter().any(|line| line.starts_with("ok ")), "{told:?}");
    lab.start_node(third);

    let id = lab.wait_until("it is readmitted", || match answer(&lab, lab.leader()?, &readmit) {
        Answer::Appended(id) => Some(id),
        _ => None,
    });
    let log = lab.wait_for_equal_logs();
    assert!(log.len() >= 20, "{log:?}");
    for node in 1..=3 {
        let line = format!("node_{wiped} readmitted by {id} with disk ");
        lab.wait_until(&line, || {
            let there = lab.lines_with(node, &line).len() + lab.lines_with(node, "SNAPSHOT   installed through").len();
            (there > 0).then_some(())
        });
    }
    let again = answer(&lab, lab.wait_for_leader(), &readmit);
    assert!(matches!(again, Answer::Error { code: ErrorCode::NotRefused, .. }), "{again:?}");

    // It counts: another one may go, and even the leader, for in later terms its votes count too.
    let leader = lab.wait_for_leader();
    let gone = others(&lab, leader).into_iter().find(|node| *node != wiped).unwrap_or(leader);
    lab.kill(gone);
    lab.append("without another one");
    lab.start_node(gone);
    lab.wait_for_equal_logs();
    let leader = lab.wait_for_leader();
    if leader != wiped {
        lab.kill(leader);
        lab.append("without that leader");
        lab.start_node(leader);
    }
    let longer = lab.wait_for_equal_logs();
    assert!(longer.len() > log.len() && longer.starts_with(&log), "{longer:?}");
    lab.judge_but_forget(&[wiped]);
}

/// What a node takes, in bytes: of memory, and on its disk.
#[cfg(target_os = "linux")]
fn taken(lab: &Lab, node: usize) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", lab.pid(node))).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let resident: u64 = resident.and_then(|kib| kib.parse().ok()).unwrap_or_else(|| panic!("VmRSS in {status}"));
    let files = fs::read_dir(lab.data_dir(node)).unwrap_or_else(|error| panic!("{error}"));
    // A file may be deleted while its directory is read.
    let disk = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum();
    (resident * 1024, disk)
}

/// Puts a string of 100 bytes under one of 100 keys, so many times, and tells what the nodes take, ten times.
#[cfg(target_os = "linux")]
fn put_many(lab: &Lab, puts: usize) -> Vec<Vec<(u64, u64)>> {
    const BATCH: usize = 500;
    let leader = lab.wait_for_leader();
    let mut connection = lab.connect(leader).unwrap_or_else(|error| panic!("{error}"));
    let mut told = Vec::new();
    for round in 0..puts / BATCH {
        let put = |number| format!("put \"key {}\" \"{number:0>100}\"\n", number % 100);
        let lines: String = (round * BATCH..(round + 1) * BATCH).map(put).collect();
        connection.send(&lines).unwrap_or_else(|error| panic!("{error}"));
        for _ in 0..BATCH {
            let line = connection.line().unwrap_or_else(|error| panic!("{error}"));
            assert!(line.starts_with("ok "), "{line}");
        }
        if (round + 1) % (puts / BATCH / 10) == 0 {
            told.push((1..=lab.size()).map(|node| taken(lab, node)).collect());
        }
    }
    told
}

/// History here is a hundred times the state. (Memory is judged by the run below: a young process has no use
/// for what it is given.)
#[cfg(target_os = "linux")]
#[test]
fn disk_stays_in_proportion_to_the_state() {
    let lab = Lab::start_with(3, &[CALM[0], CALM[1], ("SNAPSHOT_LOG_BYTES", "20000")]);
    let told = put_many(&lab, 20_000);
    for node in 1..=3 {
        // The log until it is sealed, what comes while the snapshot is made, that and the one before.
        lab.wait_until("the disk is small", || (taken(&lab, node).1 < 200_000).then_some(()));
        let status = lab.status(node).unwrap_or_else(|| lab.fail("no status"));
        assert_eq!(status.keys, 100, "{status:?}");
    }
    assert!(told.iter().flatten().all(|(_, disk)| *disk < 2_000_000), "{told:?}");
    lab.judge();
}

/// `cargo test --test store -- --nocapture million` prints what the nodes take as history grows.
#[cfg(target_os = "linux")]
#[test]
fn a_million_puts_on_a_hundred_keys() {
    let lab = Lab::start_with(3, &CALM);
    let start = Instant::now();
    let told = put_many(&lab, 1_000_000);
    println!("1,000,000 puts of 100 bytes on 100 keys in {:.1} s", start.elapsed().as_secs_f64());
    println!("KiB of memory and of disk, at each tenth, of each node:");
    for nodes in &told {
        let columns = nodes.iter().map(|(memory, disk)| format!("{:>8} {:>8}", memory / 1024, disk / 1024));
        println!("{}", columns.collect::<Vec<_>>().join("   "));
    }
    let most =
        |pick: fn(&(u64, u64)) -> u64, rows: &[Vec<(u64, u64)>]| rows.iter().flatten().map(pick).max().unwrap_or(0);
    // History grows tenfold between the first row and the last, memory and disk do not.
    assert!(most(|taken| taken.0, &told[5..]) < 2 * most(|taken| taken.0, &told[..5]), "{told:?}");
    assert!(most(|taken| taken.1, &told) < 16 * 1024 * 1024, "{told:?}");
}

#[test]
fn a_node_that_sealed_its_log_and_was_stopped_seals_it_no_earlier_when_a_new_leader_knows_less() {
    let mut lab = Lab::prepare(3, &[("SNAPSHOT_LOG_BYTES", "256"), CALM[0], CALM[1]]);
    // Killed when it had begun its second file, behind entry 8, and before there was a snapshot of the first.
    let entry = |index| {
        let command = Command::Append { session: None, text: format!("string {index}").into() };
        Record::Entry(Entry { id: EntryId::new(index, 1), command })
    };
    let mut opened = disk::open(&lab.data_dir(2), NodeId(2), 3).unwrap_or_else(|error| panic!("{error}"));
    let vote = Record::Vote { term: 1, voted_for: Some(NodeId(1)) };
    let records: Vec<Record> = [vote.clone()].into_iter().chain((1..=10).map(entry)).collect();
    let mut log = Persistent::default();
    records.iter().for_each(|record| log.apply(record.clone()).unwrap_or_else(|why| panic!("{why}")));
    let sum = log.entries[..8].iter().fold(log.base_sum, chain_entry);
    let opening = [Record::Base { id: EntryId::new(8, 1), sum }, vote, entry(9), entry(10)];
    let sealed = opened.wal.append(&records).and_then(|()| opened.wal.seal(&opening));
    drop(sealed.unwrap_or_else(|error| panic!("{error}")));
    drop(opened);
    lab.start_node(2);

    let mut leader = lab.wait_until("it listens", || lab.connect(2).ok());
    let mut says = |line: &str| leader.send(&format!("{line}\n")).unwrap_or_else(|error| panic!("{error}"));
    says("hello node_1 of 3 disk=0000000000000001");
    for commit in 1..=5 {
        says(&format!("append-entries term=2 prev=10@1 commit={commit} heartbeat=no round=0 entries=0"));
        lab.wait_until("it is committed", || lab.status(2).filter(|status| status.commit == commit));
    }
    assert_eq!(lab.status(2).map(|status| status.snapshot), Some(EntryId::ZERO), "{}", lab.story());
    says("append-entries term=2 prev=10@1 commit=11 heartbeat=no round=0 entries=1 11@2 no-op");
    lab.wait_until("a snapshot", || lab.status(2).filter(|status| status.snapshot == EntryId::new(11, 2)));
    // What it has made is a log that it can start with.
    lab.kill(2);
    lab.start_node(2);
    lab.wait_until("it is there again", || lab.status(2).filter(|status| status.applied == 11));
    assert_eq!(lab.errors(2), Vec::<String>::new(), "{}", lab.story());
}

#[test]
fn with_the_lowest_limit_in_a_cluster_of_five_not_every_entry_makes_a_snapshot() {
    let lab = Lab::start_with(5, &[("SNAPSHOT_LOG_BYTES", "256"), CALM[0], CALM[1]]);
    let leader = lab.wait_for_leader();
    // What a file of the log opens with names five disks, and is longer than 256 bytes alone.
    let many = 24;
    for number in 0..many {
        lab.append(&number.to_string());
    }
    lab.wait_for_equal_logs();
    let made = lab.lines_with(leader, "SNAPSHOT   made through").len();
    assert!(0 < made && made <= many / 3, "{made} snapshots: {}", lab.story());
}
