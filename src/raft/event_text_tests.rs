use super::super::types::Session;
use super::*;
use crate::text::random::Random;

const SAMPLE: &str = r#"
12:00:00.001 node_1 t0  FOLLOWER  START      node_1 of 3, election timeout 6-10 s, heartbeat every 2 s
12:00:00.001 node_1 t2  FOLLOWER  START      node_1 of 3, election timeout 6-10 s, log through 5@2 sum=1f3c09aa
12:00:07.412 node_1 t0  PRE-CAND  STATE      follower -> pre-candidate: no heartbeat for 7.411 s
12:00:07.413 node_2 t0  FOLLOWER  VOTE       pre-vote granted to node_1 for t1
12:00:07.414 node_1 t1  CANDIDATE STATE      pre-candidate -> candidate: 2 of 3 would vote for it
12:00:07.414 node_1 t1  CANDIDATE VOTE       voted for node_1 (itself): 1 of 3
12:00:07.415 node_2 t1  FOLLOWER  VOTE       granted to node_1
12:00:07.415 node_3 t1  CANDIDATE VOTE       denied to node_1: already voted for node_3
12:00:07.416 node_1 t1  CANDIDATE VOTE       received from node_2: 2 of 3
12:00:07.416 node_1 t1  LEADER    STATE      candidate -> leader: 2 of 3 votes
12:00:07.416 node_1 t1  LEADER    APPEND     1@1 no-op: opens term 1
12:00:07.416 node_1 t1  LEADER    HEARTBEAT  sent to node_2, node_3
12:00:07.417 node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_1
12:00:12.001 node_1 t1  LEADER    APPEND     2@1 "SET 5" from client
12:00:12.002 node_2 t1  FOLLOWER  APPEND     2@1 "SET 5" from leader node_1
12:00:12.003 node_1 t1  LEADER    REPLICATED 2@1 on node_2: 2 of 3
12:00:12.003 node_1 t1  LEADER    COMMIT     2@1 "SET 5"
12:00:12.004 node_2 t1  FOLLOWER  COMMIT     2@1 "SET 5"
00:00:00.000 node_2 t10 FOLLOWER  TERM       t1 -> t10: node_2 is at t10
23:59:59.999 node_9 t100 PRE-CAND  VOTE       pre-vote denied to node_1: its log ends at 3@1, mine at 5@2
00:00:00.000 node_2 t3  PRE-CAND  VOTE       pre-vote received from node_2: 2 of 3
00:00:00.000 node_2 t3  PRE-CAND  VOTE       pre-vote refused by node_2: 1 of 3 so far
00:00:00.000 node_2 t3  CANDIDATE VOTE       refused by node_2: 1 of 3 so far
00:00:00.000 node_2 t3  PRE-CAND  VOTE       pre-vote asked again: no majority for 1.204 s
00:00:00.000 node_2 t3  LEADER    HEARTBEAT  sent to nobody
00:00:00.000 node_2 t3  LEADER    APPEND     102@3..165@3 64 entries "first" … "last" sum=1f3c09aa from client
00:00:00.000 node_2 t3  LEADER    APPEND     2@1 "how it starts"… 65536 bytes sum=1f3c09aa from client
00:00:00.000 node_2 t3  FOLLOWER  APPEND     1@1..3@3 3 entries no-op … "x"… 300 bytes sum=00000000 from leader node_1
00:00:00.000 node_2 t3  FOLLOWER  COMMIT     1@1..3@3 3 entries "x"… 300 bytes … no-op sum=00000000
00:00:00.000 node_2 t3  FOLLOWER  COMMIT     1@1 no-op
00:00:00.000 node_2 t3  LEADER    REPLICATED 102@3..165@3 on node_2: 2 of 3
00:00:00.000 node_2 t3  FOLLOWER  TRUNCATE   5@2..7@2: leader node_1 has 5@3 there
00:00:00.000 node_2 t3  FOLLOWER  TRUNCATE   5@2: leader node_1 has 5@3 there
00:00:00.000 node_2 t3  FOLLOWER  PEER       node_2 connected: 10.0.0.3:1234
00:00:00.000 node_2 t3  FOLLOWER  PEER       node_2 lost: closed by it
00:00:00.000 node_2 t3  FOLLOWER  PEER       node_2 offline: connection refused
12:00:00.001 node_1 t0  FOLLOWER  START      node_1 of 3, election timeout 6-10 s, new disk
12:00:00.001 node_1 t3  FOLLOWER  START      node_1 of 3, election timeout 6-10 s, snapshot through 4@2, log through 5@2 sum=1f3c09aa
12:00:00.001 node_1 t3  FOLLOWER  START      node_1 of 3, x, new disk, snapshot through 4@2, log through 4@2 sum=1f3c09aa
00:00:00.000 node_2 t3  LEADER    APPEND     2@1 put "a" "cat" "dog" from client
00:00:00.000 node_2 t3  LEADER    APPEND     2@1 put "a" from client
00:00:00.000 node_2 t3  FOLLOWER  APPEND     2@1 append-to "a b" "put \"x\"" from leader node_1
00:00:00.000 node_2 t3  FOLLOWER  COMMIT     2@1 readmit node_3 disk=9f3a01c2d4e5f607
00:00:00.000 node_2 t3  FOLLOWER  COMMIT     2@1 put "a"… 3 strings 65536 bytes sum=1f3c09aa
00:00:00.000 node_2 t3  FOLLOWER  COMMIT     2@1..4@3 3 entries put "a" … readmit node_3 disk=9f3a01c2d4e5f607 sum=1f3c09aa
00:00:00.000 node_2 t3  FOLLOWER  COMMIT     2@1..4@3 3 entries put "a" "… " … append-to "b"… 2 strings 300 bytes sum=1f3c09aa
00:00:00.000 node_2 t5  FOLLOWER  PEER       node_3 readmitted by 12@4 with disk 9f3a01c2d4e5f607: its votes count from t5 on
00:00:00.000 node_2 t3  LEADER    SNAPSHOT   made through 100@3 sum=1f3c09aa: 2345 bytes, 96 entries leave the log
00:00:00.000 node_2 t3  FOLLOWER  SNAPSHOT   installed through 100@3 sum=1f3c09aa from leader node_1: 2345 bytes
00:00:00.000 node_2 t3  FOLLOWER  SNAPSHOT   receiving through 100@3 from leader node_1: 2345 bytes
00:00:00.000 node_2 t3  FOLLOWER  CLIENT     told "no-leader" to 127.0.0.1:5, C:\\temp
00:00:00.000 node_2 t3  FOLLOWER  ERROR      two\nlines"#;

#[test]
fn the_lines_of_the_documentation() {
    for line in SAMPLE.lines().skip(1) {
        let event: Event = line.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(event.to_string(), line);
    }
    let line = "00:00:00.000 node_2 t3  FOLLOWER  ERROR      two\\nlines";
    assert_eq!(line.parse::<Event>().map(|event| event.fact), Ok(Fact::Error { text: "two\nlines".to_string() }));
}

fn any_number(random: &mut Random, least: u64) -> u64 {
    (random.next_u64() >> (11 + random.below(53))).max(least)
}

fn any_words(random: &mut Random) -> String {
    let chars = ['a', ' ', '"', '\\', '\n', '\0', 'é', '…', '\u{202e}', ':', ',', '@'];
    (0..random.below(10)).map(|_| chars[random.below(12) as usize]).collect()
}

fn any_command(random: &mut Random) -> Command {
    match random.below(8) {
        0 => Command::Noop,
        1 => Command::Append { session: None, text: any_words(random).repeat(100).into() },
        2 => Command::Readmit { node: NodeId(1 + random.below(MAX_CLUSTER_SIZE)), disk: DiskId(random.next_u64()) },
        3 | 4 => Command::Write { session: None, write: any_write(random).into() },
        _ => Command::Append { session: None::<Session>, text: any_words(random).into() },
    }
}

/// Strings that look like the words around them are among these, and lists too long for a line.
fn any_write(random: &mut Random) -> KeyWrite {
    const LIKE_WORDS: [&str; 6] =
        ["", " … ", "… 3 strings 9 bytes", "\" from client", " sum=00000000", "append-to \"a\" \"b\""];
    let value = |random: &mut Random| match random.one_in(2) {
        true => Arc::from(LIKE_WORDS[random.below(6) as usize]),
        false => Arc::from(any_words(random)),
    };
    let kind = if random.one_in(2) { WriteKind::Put } else { WriteKind::Append };
    let least = u64::from(kind == WriteKind::Append);
    let count = if random.one_in(4) { 60 } else { least + random.below(4) };
    KeyWrite { kind, key: format!("k{}", value(random)).into(), values: (0..count).map(|_| value(random)).collect() }
}

fn any_span(random: &mut Random) -> Span {
    let (mut index, mut term) = (any_number(random, 1), 1 + random.below(1000));
    let entries: Vec<Entry> = (0..=random.below(4))
        .map(|_| {
            (index, term) = (index + 1, term + random.below(2));
            Entry { id: EntryId::new(index - 1, term), command: any_command(random) }
        })
        .filter(|entry| entry.id.index < (1 << 53))
        .collect();
    Span::of(&entries[0], &entries[entries.len() - 1], random.next_u64() as u32)
}

fn any_fact(random: &mut Random, current_term: Term) -> Fact {
    let node = |random: &mut Random| NodeId(1 + random.below(MAX_CLUSTER_SIZE));
    let (peer, why, pre) = (node(random), any_words(random), random.one_in(2));
    let (votes, size) = (random.below(9) as usize, 1 + random.below(9));
    let Span { first, last, .. } = any_span(random);
    match random.below(24) {
        0 => Fact::Start { size, settings: why, new_disk: pre, snapshot: EntryId::ZERO, last: EntryId::ZERO, sum: 0 },
        1 => Fact::Start { size, settings: why, new_disk: pre, snapshot: first, last, sum: random.next_u64() as u32 },
        2 => Fact::State { from: Role::ALL[random.below(4) as usize], why },
        3 => Fact::Term { from: any_number(random, 0), why },
        4 => Fact::VotedForItself { votes, size },
        5 => Fact::Granted { pre, to: peer, term: if pre { any_number(random, 0) } else { current_term } },
        6 => Fact::Denied { pre, to: peer, why },
        7 => Fact::Received { pre, from: peer, votes, size },
        8 => Fact::Refused { pre, by: peer, votes, size },
        9 => Fact::AskedAgain { why },
        10 => Fact::HeartbeatSent { to: (0..random.below(4)).map(|_| node(random)).collect() },
        11 => Fact::HeartbeatReceived { from: peer },
        12 => {
            let source = [Source::OpensTerm, Source::Client, Source::Leader(peer)][random.below(3) as usize];
            Fact::Append { span: any_span(random), source }
        }
        13 => Fact::Replicated { first, last, on: peer, copies: votes, size },
        14 => Fact::Commit { span: any_span(random) },
        15 => Fact::Truncate { first, last, why },
        16 => Fact::Peer { peer, state: PeerState::ALL[random.below(3) as usize], why },
        17 => Fact::Client { text: why },
        18 => Fact::Snapshot { text: why },
        19 => Fact::Fault { text: why },
        20 => {
            let by = EntryId::new(any_number(random, 1), 1 + random.below(1000));
            Fact::Readmitted { peer, by, disk: DiskId(random.next_u64()) }
        }
        21 => {
            let (sum, bytes, entries) = (random.next_u64() as u32, any_number(random, 0), any_number(random, 0));
            Fact::Compacted { last, sum, bytes, entries }
        }
        22 => Fact::Installed { last, sum: random.next_u64() as u32, bytes: any_number(random, 0), from: peer },
        _ if pre => Fact::Disk { text: why },
        _ => Fact::Error { text: why },
    }
}

fn any_event(random: &mut Random) -> Event {
    let term = any_number(random, 0);
    Event {
        at: Duration::from_millis(random.below(DAY_MILLIS as u64)),
        node: NodeId(1 + random.below(MAX_CLUSTER_SIZE)),
        term,
        role: Role::ALL[random.below(4) as usize],
        fact: any_fact(random, term),
    }
}

#[test]
fn any_event_comes_back() {
    let mut random = Random::from_seed(21);
    for _ in 0..50_000 {
        let event = any_event(&mut random);
        let line = event.to_string();
        assert!(!line.chars().any(char::is_control));
        assert_eq!(line.parse(), Ok(event), "{line}");
    }
}

#[test]
fn what_reads_is_written_so_and_nothing_panics() {
    let mut random = Random::from_seed(22);
    let mut read = 0;
    for _ in 0..100_000 {
        let mut line = any_event(&mut random).to_string().into_bytes();
        for _ in 0..=random.below(2) {
            let at = random.below(line.len() as u64) as usize;
            match random.below(4) {
                0 => line.insert(at, b" :=@\"\\0159.,ntsA"[random.below(16) as usize]),
                1 => _ = line.remove(at),
                2 => line[at] = random.next_u64() as u8,
                _ if random.one_in(4) => line.truncate(at + 1),
                _ => line[at] = line[random.below(line.len() as u64) as usize],
            }
        }
        let Ok(line) = String::from_utf8(line) else { continue };
        if let Ok(event) = line.parse::<Event>() {
            assert_eq!(event.to_string(), line);
            read += 1;
        }
    }
    assert!(read > 5_000, "{read}");
}

#[test]
fn other_lines_are_refused() {
    let good = "12:00:12.003 node_1 t1  LEADER    REPLICATED 2@1 on node_2: 2 of 3";
    assert!(good.parse::<Event>().is_ok());
    for (from, to) in [
        ("12:00:12", "24:00:12"),
        ("12:00:12", "12:60:12"),
        ("12:00:12", "+1:00:12"),
        ("12:00:12.003", "12:00:12,003"),
        ("12:", "é:"),
        ("node_1", "node_0"),
        ("node_1", "node_18446744073709551617"),
        ("t1 ", "t-1"),
        ("t1  ", "t1 "),
        ("t1  ", "t18446744073709551616 "),
        ("t1  ", "t01 "),
        ("LEADER ", "leader "),
        ("LEADER    ", "LEADER "),
        ("REPLICATED", "REPLICATES"),
        ("2@1", "0@0"),
        ("2@1", "2@1..2@1"),
        ("2@1", "3@1..2@1"),
        ("2@1", "2@2..3@1"),
        ("2 of 3", "2 of 3 "),
        ("2 of 3", "2 of"),
        ("2 of 3", ""),
        ("12:00:12.003 ", ""),
        (good, ""),
        (good, " "),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(bad.parse::<Event>().is_err(), "{bad}");
    }
    let start = "12:00:12.003 node_1 t1  LEADER    ";
    for bad in [
        "START      node_2 of 3, x",
        "STATE      leader -> follower: x",
        "TERM       t0 -> t2: x",
        "VOTE       voted for node_2 (itself): 1 of 3",
        "APPEND     1@1 no-op: opens term 2",
        "APPEND     1@1 no-op",
        "APPEND     1@1..3@1 2 entries no-op … no-op from client",
        "COMMIT     1@1 \"x\" sum=1F3C09AA",
        "COMMIT     1@1 \"x\" sum=1f3c",
        "COMMIT     1@1 \"x\" sum=é1f3c09",
        "COMMIT     1@1 \"x",
        "COMMIT     1@1 \"x\"y",
        "ERROR      \u{202e}",
        "ERROR      \\x",
        "NEWS       x",
        "HEARTBEAT  sent to ",
        "HEARTBEAT  sent to node_2,node_3",
        "START      node_1 of 3, x, snapshot through 4@2",
        "START      node_1 of 3, x, snapshot through 6@2, log through 5@2 sum=1f3c09aa",
        "COMMIT     2@1 put",
        "COMMIT     2@1 put a",
        "COMMIT     2@1 put  \"a\"",
        "COMMIT     2@1 put \"a\" cat",
        "COMMIT     2@1 put \"a\" \"cat",
        "COMMIT     2@1 put \"a\"  \"cat\"",
        "COMMIT     2@1 put \"a\"… 3 strings",
        "COMMIT     2@1 put \"a\"… 03 strings 300 bytes sum=1f3c09aa",
        "COMMIT     2@1 put-to \"a\" \"b\"",
        "COMMIT     2@1 readmit node_3",
        "COMMIT     2@1 readmit node_0 disk=9f3a01c2d4e5f607",
        "COMMIT     2@1 readmit node_3 disk=9F3A01C2D4E5F607",
        "COMMIT     2@1 readmit node_3 disk=9f3a",
        "COMMIT     2@1 readmit node_3, node_4 disk=9f3a01c2d4e5f607",
        "PEER       node_3 readmitted by 12@4 with disk 9f3a01c2d4e5f607: its votes count from t4 on",
        "PEER       node_3 readmitted by 12@4 with disk 9f3a: its votes count from t5 on",
        "PEER       node_3 readmitted by 0@0 with disk 9f3a01c2d4e5f607: its votes count from t1 on",
        "SNAPSHOT   made through 0@0 sum=1f3c09aa: 2345 bytes, 96 entries leave the log",
        "SNAPSHOT   made through 100@3 sum=1f3c09aa: 2345 bytes",
        "SNAPSHOT   made through 100@3 sum=1f3c09a: 2345 bytes, 96 entries leave the log",
        "SNAPSHOT   installed through 100@3 sum=1f3c09aa: 2345 bytes",
        "SNAPSHOT   installed through 100@3 sum=1f3c09aa from leader node_1: -1 bytes",
        "SNAPSHOT   installed through 100@3 sum=1f3c09aa from leader node_1: 2345 bytes ",
    ] {
        assert!((start.to_string() + bad).parse::<Event>().is_err(), "{bad}");
    }
}

#[test]
fn long_texts_are_told_by_their_start_and_the_checksum() {
    let entry = |index, text: &str| Entry {
        id: EntryId::new(index, 1),
        command: Command::Append { session: None, text: text.into() },
    };
    let (short, long) = (entry(1, &"é".repeat(128)), entry(2, &"é".repeat(129)));
    assert_eq!(Span::of(&short, &short, 7).sum, None);
    let told = Span::of(&long, &long, 7);
    assert_eq!(told.to_string(), format!("2@1 \"{}\"… 258 bytes sum=00000007", "é".repeat(64)));
    let both = Span::of(&short, &long, 7).to_string();
    assert!(both.starts_with("1@1..2@1 2 entries \"é") && both.ends_with("… 258 bytes sum=00000007"), "{both}");
}

#[test]
fn colours_follow_the_role() {
    let mut event = any_event(&mut Random::from_seed(1));
    event.fact = Fact::Commit { span: any_span(&mut Random::from_seed(1)) };
    event.role = Role::Leader;
    assert_eq!(event.render(true), format!("\x1b[32m{event}\x1b[0m"));
    assert_eq!(event.render(false), event.to_string());
    event.role = Role::Follower;
    assert_eq!(event.render(true), event.to_string());
    event.fact = Fact::HeartbeatReceived { from: NodeId(1) };
    assert_eq!(event.render(true), format!("\x1b[2m{event}\x1b[0m"));
    event.fact = Fact::Error { text: String::new() };
    assert_eq!(event.render(true), format!("\x1b[31m{event}\x1b[0m"));
}

#[test]
fn times_are_told_modulo_a_day() {
    let mut event = any_event(&mut Random::from_seed(1));
    event.at = Duration::from_millis(25 * 3_600_000 + 61_001);
    assert!(event.to_string().starts_with("01:01:01.001 node_"));
}
