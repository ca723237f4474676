//! Prefixes, colours, half lines, holes, midnights, several files.

use super::*;

const HEARTBEAT: &str = "12:00:09.000 node_1 t1  FOLLOWER  HEARTBEAT  received from leader node_2";
const START: &str = "12:00:00.000 node_1 t0  FOLLOWER  START      node_1 of 3, settings, new disk";
const AGAIN: &str = "12:00:10.000 node_1 t1  FOLLOWER  START      node_1 of 3, settings, log through 1@1 sum=00000001";

fn read(files: &[&str]) -> Result<Logs, Unreadable> {
    let mut reader = Reader::new();
    for (number, text) in files.iter().enumerate() {
        reader.read(&format!("{}.log", number + 1), text.as_bytes())?;
    }
    Ok(reader.finish())
}

#[track_caller]
fn is_read_as(text: &str, expected: &[&str]) -> Logs {
    let logs = read(&[text]).unwrap();
    let lines: Vec<String> = logs.lines.iter().map(|line| line.event.to_string()).collect();
    assert_eq!(lines, expected);
    logs
}

#[test]
fn what_others_put_around_a_line_is_stripped() {
    for prefix in [
        "",
        "node_1    | ",
        "node_1  | ",
        "node_1 | ",
        "raft-lab_node_1_1  | ",
        "raft-lab-node_1-1  | ",
        "2026-01-31T12:00:00.123456789Z ",
        "node_1    | 2026-01-31T12:00:00.123456789Z ",
        "\x1b[36mnode_1    |\x1b[0m ",
        "\x1b[36mnode_1  |\x1b[0m \x1b[2m",
    ] {
        for end in ["\n", "\r\n", "\x1b[0m\n", ""] {
            let logs = is_read_as(&format!("{prefix}{HEARTBEAT}{end}"), &[HEARTBEAT]);
            assert_eq!(logs.skipped, 0);
        }
    }
}

#[test]
fn what_is_no_line_of_a_node_is_skipped() {
    let text = format!(
        "Attaching to node_1, node_2\n\nclient    | {HEARTBEAT}\nnode_2  | {HEARTBEAT}\nclient | ok 2@1 \"a | b\"\nnode_1 exited \
         with code 137\nnode_1  | node: the port is taken\nok 3@1 \"{HEARTBEAT}\"\n\x1b[\n{HEARTBEAT}\n"
    );
    assert_eq!(is_read_as(&text, &[HEARTBEAT]).skipped, 9);
    let binary = [b"\xff\xfe\x00".to_vec(), vec![b'x'; 200_000], b"\n".to_vec(), HEARTBEAT.into()].concat();
    let mut reader = Reader::new();
    reader.read("x", &*binary).unwrap();
    let logs = reader.finish();
    assert_eq!((logs.lines.len(), logs.lines[0].place), (1, Place { file: 0, line: 2 }));
}

/// Wherever a kill cuts a line off, nothing wrong is read, and the rest is.
#[test]
fn half_lines_at_a_kill() {
    let place = |line| Place { file: 0, line };
    let before = "12:00:08.000 node_1 t1  FOLLOWER  HEARTBEAT  received from leader node_2";
    for line in [
        "12:00:09.000 node_1 t1  FOLLOWER  COMMIT     10@1..12@1 3 entries \"a\" … \"c\" sum=12345678",
        "12:00:09.000 node_1 t1  FOLLOWER  START      node_1 of 3, settings, log through 12@1 sum=12345678",
        "12:00:09.000 node_1 t1  FOLLOWER  START      node_1 of 3, settings, snapshot through 4@1, log through 12@1 sum=12345678",
        "12:00:09.000 node_1 t1  LEADER    REPLICATED 2@1 on node_2: 2 of 3",
        "12:00:09.000 node_1 t1  FOLLOWER  APPEND     2@1 \"SET 5\" from leader node_2",
    ] {
        for cut in (1..line.len()).filter(|cut| line.is_char_boundary(*cut)) {
            for end in ["", "\n"] {
                let text = format!("{START}\n{before}\n{}{end}{AGAIN}\n{HEARTBEAT}\n", &line[..cut]);
                let logs = read(&[&text]).unwrap();
                let told: Vec<String> = logs.lines.iter().map(|line| line.event.to_string()).collect();
                assert_eq!((&*told[0], &*told[1]), (START, before), "{text}");
                assert_eq!(told[told.len() - 2..], [AGAIN.to_owned(), HEARTBEAT.to_owned()], "{text}");
                assert!(told.len() <= 5, "{told:?}");
                assert!(!logs.lines.iter().any(|line| line.after_hole), "{text}");
                assert!(logs.holes.iter().all(|hole| matches!(hole, Hole::CutOff { .. })), "{:?}", logs.holes);
                // A cut START must not read as that of an empty log.
                let empty = logs
                    .lines
                    .iter()
                    .any(|line| matches!(line.event.fact, Fact::Start { new_disk: false, last: EntryId::ZERO, .. }));
                assert!(!empty, "{text}");
            }
        }
    }
    let logs = read(&[&format!("{START}\n{}", &HEARTBEAT[..50])]).unwrap();
    assert_eq!(logs.holes, [Hole::CutOff { node: NodeId(1), place: place(2) }]);
}

#[test]
fn a_line_that_quotes_a_start_is_no_start() {
    let quoting = "12:00:01.000 node_1 t1  LEADER    APPEND     2@1 \"12:00:00.000 node_1 t0  FOLLOWER  START      node_1 of 3, x\" from client";
    let client = "12:00:02.000 node_1 t1  LEADER    CLIENT     not understood: \"12:00:00.000 node_1 t0  FOLLOWER  START      node_1 of 3, x";
    let answer = "ok 2@1 \"12:00:00.000 node_1 t0  FOLLOWER  START      node_1 of 3, x";
    is_read_as(&format!("{quoting}\n{client}\n{answer}\n"), &[quoting, client]);
}

#[test]
fn holes_are_told() {
    let place = |line| Place { file: 0, line };
    let torn = &HEARTBEAT[..45];
    let logs = read(&[&format!("{HEARTBEAT}\n{torn}\n{}\n", HEARTBEAT.replace("09.000", "10.000"))]).unwrap();
    let node = NodeId(1);
    assert_eq!(logs.holes, [Hole::StartsLate { node, place: place(1) }, Hole::Unreadable { node, place: place(2) }]);
    assert_eq!(logs.lines.iter().map(|line| line.after_hole).collect::<Vec<_>>(), [false, true]);
}

/// docker-compose 1.29 swallows the first lines of a container that starts again, START among them.
#[test]
fn a_start_that_is_missing_shows_in_what_follows() {
    let line = |second: u32, role: &str, topic: &str, text: &str| {
        format!("12:00:{second:02}.000 node_1 t1  {role:<9} {topic:<10} {text}\n")
    };
    let connected = "node_2 connected: 10.0.0.2:1234";
    let leads = line(2, "CANDIDATE", "STATE", "follower -> candidate: x")
        + &line(3, "LEADER", "STATE", "candidate -> leader: x");
    let holes = |text: &str| {
        let logs = read(&[text]).unwrap();
        logs.holes
            .iter()
            .filter(|hole| matches!(hole, Hole::Missing { .. }))
            .map(|hole| hole.place().line)
            .collect::<Vec<_>>()
    };
    let peer = |second, role, text: &str| line(second, role, "PEER", text);
    assert_eq!(holes(&(peer(1, "FOLLOWER", connected) + &leads + &peer(9, "FOLLOWER", connected))), [4]);
    assert_eq!(holes(&(leads.clone() + &line(9, "FOLLOWER", "CLIENT", "x"))), [3]);
    assert_eq!(holes(&(peer(1, "FOLLOWER", connected) + &peer(9, "FOLLOWER", connected))), [2]);
    let lost = peer(5, "LEADER", "node_2 lost: x") + &peer(6, "LEADER", connected);
    assert_eq!(holes(&(peer(1, "FOLLOWER", connected) + &leads + &lost)), [0; 0]);
}

fn at(time: &str, node: u64) -> String {
    format!("{time} node_{node} t1  FOLLOWER  CLIENT     something\n")
}

#[track_caller]
fn are_in_order(files: &[&str], expected: &[&str]) {
    let logs = read(files).unwrap();
    let told: Vec<String> = logs.lines.iter().map(|line| line.event.to_string()[..19].to_owned()).collect();
    assert_eq!(told, expected);
}

#[test]
fn lines_are_merged_by_time() {
    let one = at("12:00:01.000", 1) + &at("12:00:03.000", 1);
    let two = at("12:00:02.000", 2) + &at("12:00:03.000", 2);
    let merged = ["12:00:01.000 node_1", "12:00:02.000 node_2", "12:00:03.000 node_1", "12:00:03.000 node_2"];
    are_in_order(&[&one, &two], &merged);
    are_in_order(
        &[&(two + &one)],
        &["12:00:01.000 node_1", "12:00:02.000 node_2", "12:00:03.000 node_2", "12:00:03.000 node_1"],
    );
    // A clock that was set back a little: its own order stays.
    let back = at("12:00:05.000", 1) + &at("12:00:04.000", 1);
    are_in_order(&[&back], &["12:00:05.000 node_1", "12:00:04.000 node_1"]);
}

#[test]
fn times_pass_midnight() {
    let one = at("23:59:59.000", 1) + &at("00:00:01.000", 1);
    let two = at("23:59:58.000", 2) + &at("00:00:00.000", 2);
    let merged = ["23:59:58.000 node_2", "23:59:59.000 node_1", "00:00:00.000 node_2", "00:00:01.000 node_1"];
    are_in_order(&[&one, &two], &merged);
    are_in_order(&[&two, &one], &merged);
    // A file that begins before midnight, one behind it.
    let late = at("00:00:00.500", 3);
    let all = [&merged[..3], &["00:00:00.500 node_3", merged[3]]].concat();
    are_in_order(&[&one, &two, &late], &all);
    are_in_order(&[&late, &one, &two], &all);
    // A node that was stopped over night.
    are_in_order(&[&(at("20:00:00.000", 1) + &at("19:00:00.000", 1))], &["20:00:00.000 node_1", "19:00:00.000 node_1"]);
}

#[test]
fn several_files_of_one_node() {
    let (one, two) = (format!("{START}\n{HEARTBEAT}\n"), format!("{AGAIN}\n"));
    assert_eq!(read(&[&one, &two]).unwrap().lines.len(), 3);
    let both = format!("{one}{two}");
    assert!(matches!(read(&[&both, &two]), Err(Unreadable::Twice(..))));
    assert!(read(&[&two, &one]).is_ok(), "a new disk may come later");
    let later = format!("{}\n", HEARTBEAT.replace("t1 ", "t2 "));
    assert!(matches!(read(&[&later, &two]), Err(Unreadable::Backwards(..))));
}

/// The reader of anything never panics, and the judge neither.
#[test]
fn nonsense() {
    let mut random = crate::text::random::Random::from_seed(1);
    let seeds =
        [START, AGAIN, HEARTBEAT, "12:00:09.000 node_1 t1  LEADER    COMMIT     9@1 \"a\"", "\x1b[3", "node_1 | "];
    for _ in 0..300 {
        let mut text = String::new();
        for _ in 0..random.below(20) {
            let line = seeds[random.below(seeds.len() as u64) as usize];
            let mut line: Vec<u8> = line.into();
            for _ in 0..random.below(3) {
                let at = random.below(line.len() as u64) as usize;
                line[at] = random.below(256) as u8;
            }
            line.truncate(random.below(200) as usize);
            text.push_str(&String::from_utf8_lossy(&line));
            text.push_str(if random.below(5) > 0 { "\n" } else { "" });
        }
        if let Ok(logs) = read(&[&text]) {
            judge(&logs);
        }
    }
}
