use super::super::entry::tests::{any_command, any_number, any_text, mutate};
use super::*;
use crate::raft::progress::CHUNK_BYTES;
use crate::raft::types::{Command, MAX_NUMBER};
use crate::text::random::Random;

fn any_id_until(random: &mut Random, term: Term) -> EntryId {
    match random.below(term + 1) {
        0 => EntryId::ZERO,
        term => EntryId::new(any_number(random, 1), term),
    }
}

fn any_message(random: &mut Random) -> Message {
    let term = any_number(random, 0);
    let granted = random.one_in(2);
    let last = any_id_until(random, term);
    let body = match random.below(10) {
        0 => Body::PreVote { last },
        1 => Body::PreVoteReply { granted },
        2 => Body::RequestVote { last },
        3 => Body::RequestVoteReply { granted },
        4 => Body::Matched { index: any_number(random, 0), round: any_number(random, 0) },
        5 => {
            let conflict = EntryId::new(any_number(random, 1), random.below(term + 1));
            Body::Rejected { prev: last, conflict, round: any_number(random, 0) }
        }
        6 => Body::Refused { disk: DiskId(random.next_u64()) },
        7 if last != EntryId::ZERO => {
            let (data, offset) = (any_text(random), any_number(random, 0) / 2);
            let bytes = offset + data.len() as u64 + random.below(100);
            let (sum, crc) = (random.next_u64() as u32, random.next_u64() as u32);
            Body::InstallSnapshot { meta: SnapshotMeta { last, sum, bytes, crc }, offset, data }
        }
        8 if last != EntryId::ZERO => {
            Body::SnapshotTaken { last, crc: random.next_u64() as u32, through: any_number(random, 0) }
        }
        _ => {
            let prev = EntryId { index: last.index / 2, term: if last.index > 1 { last.term } else { 0 } };
            let mut id = prev;
            let most = if term == 0 { 1 } else { 5 };
            let entries = (0..random.below(most)).map(|_| {
                let least = id.term.max(1);
                id = EntryId::new(id.index + 1, least + random.below(term - least + 1));
                Entry { id, command: any_command(random) }
            });
            let entries = entries.collect();
            let (commit, round) = (any_number(random, 0), any_number(random, 0));
            Body::AppendEntries { prev, commit, heartbeat: granted, round, entries }
        }
    };
    Message { term, body }
}

fn written(message: &Message) -> String {
    let mut out = String::new();
    encode(message, &mut out);
    out
}

#[test]
fn any_message_comes_back() {
    let mut random = Random::from_seed(5);
    for _ in 0..20_000 {
        let message = any_message(&mut random);
        let line = written(&message);
        assert!(!line.contains('\n'));
        assert_eq!(decode(&line), Ok(message), "{line}");
    }
}

#[test]
fn what_reads_is_written_so_and_nothing_panics() {
    let mut random = Random::from_seed(6);
    let mut read = 0;
    for _ in 0..50_000 {
        let line = written(&any_message(&mut random));
        let Some(line) = mutate(&mut random, &line) else { continue };
        if let Ok(message) = decode(&line) {
            assert_eq!(written(&message), line);
            read += 1;
        }
    }
    assert!(read > 1_000, "{read}");
}

#[test]
fn the_lines_of_the_documentation() {
    for line in [
        "pre-vote term=3 last=5@2",
        "pre-vote term=0 last=0@0",
        "pre-vote-reply term=3 granted=yes",
        "request-vote term=4 last=5@2",
        "request-vote-reply term=4 granted=no",
        "append-entries term=4 prev=5@2 commit=4 heartbeat=yes round=3 entries=2 6@4 append \"x\" 7@4 no-op",
        "append-entries term=4 prev=0@0 commit=0 heartbeat=no round=3 entries=0",
        "append-entries term=4 prev=5@2 commit=4 heartbeat=no round=0 entries=4 6@4 put \"a\" 7@4 put \"a\" \"cat\" \"dog\" \
         8@4 append-to 17-9f3a01c2d4e5f607 5 \"a\" \"9@4 no-op\" 9@4 readmit node_3 disk=9f3a01c2d4e5f607",
        "append-entries-reply term=4 matched=7 round=3",
        "append-entries-reply term=4 rejected=9@4 conflict=5@2 round=3",
        "append-entries-reply term=4 rejected=9@4 conflict=6@0 round=3",
        "install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=2345 crc=77aa01c2 offset=0 data \"one\\ntwo \\\"x\\\"\"",
        "install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=3 crc=77aa01c2 offset=3 data \"\"",
        "install-snapshot-reply term=4 last=5@2 crc=77aa01c2 through=2345",
        "refused term=4 disk=9f3a01c2d4e5f607",
    ] {
        assert_eq!(decode(line).map(|message| written(&message)).as_deref(), Ok(line));
    }
    let line = "hello node_2 of 3 disk=9f3a01c2d4e5f607";
    let hello = Hello { node: NodeId(2), size: 3, disk: DiskId(0x9f3a_01c2_d4e5_f607) };
    let mut out = String::new();
    encode_hello(&hello, &mut out);
    assert_eq!(out, line);
    assert_eq!(decode_hello(line), Ok(hello));
}

fn refused(lines: &[&str]) {
    for line in lines {
        let error = decode(line).expect_err(line);
        assert!(!error.0.is_empty() && error.0.len() < 400 && !error.0.contains('\n'), "{error}");
    }
}

#[test]
fn bad_numbers_are_refused() {
    for bad in ["", "-1", "+1", "1e9", "01", "0x1", "9007199254740992", "18446744073709551615", "18446744073709551616"]
    {
        refused(&[
            &format!("pre-vote term={bad} last=0@0"),
            &format!("request-vote term=3 last={bad}@1"),
            &format!("request-vote term=3 last=1@{bad}"),
            &format!("append-entries-reply term=3 matched={bad} round=3"),
            &format!("append-entries-reply term=3 matched=3 round={bad}"),
            &format!("append-entries term=3 prev=0@0 commit=0 heartbeat=no round={bad} entries=0"),
            &format!("install-snapshot term=3 last={bad}@2 sum=1f3c09aa bytes=9 crc=77aa01c2 offset=0 data \"x\""),
            &format!("install-snapshot term=3 last=5@2 sum=1f3c09aa bytes={bad} crc=77aa01c2 offset=0 data \"\""),
            &format!("install-snapshot term=3 last=5@2 sum=1f3c09aa bytes=9 crc=77aa01c2 offset={bad} data \"\""),
            &format!("install-snapshot-reply term=3 last=5@2 crc=77aa01c2 through={bad}"),
            &format!("append-entries-reply term=3 rejected=2@2 conflict={bad}@1 round=3"),
            &format!("append-entries term=3 prev=0@0 commit={bad} heartbeat=no round=3 entries=0"),
            &format!("append-entries term=3 prev=0@0 commit=0 heartbeat=no round=3 entries={bad} 1@1 no-op"),
            &format!("append-entries term=3 prev=0@0 commit=0 heartbeat=no round=3 entries=1 {bad}@1 no-op"),
        ]);
    }
    let largest = format!("append-entries-reply term={MAX_NUMBER} matched={MAX_NUMBER} round=3");
    assert!(decode(&largest).is_ok());
}

#[test]
fn wrong_fields_are_refused() {
    refused(&[
        "",
        " ",
        "nonsense",
        "hello node_2 of 3 disk=9f3a01c2d4e5f607",
        "append \"x\"",
        "pre-vote",
        "pre-vote ",
        "pre-vote term=3",
        "pre-vote term=3 last=5@2 ",
        "pre-vote term=3  last=5@2",
        " pre-vote term=3 last=5@2",
        "pre-vote last=5@2 term=3",
        "pre-vote term=3 term=3 last=5@2",
        "pre-vote term=3 last=5@2 last=5@2",
        "pre-vote term=3 last=5@2 extra=1",
        "pre-vote TERM=3 last=5@2",
        "pre-vote-reply term=3 granted=maybe",
        "pre-vote-reply term=3 granted=",
        "request-vote term=3 last=5@0",
        "request-vote term=3 last=0@2",
        "request-vote term=3 last=5@4",
        "append-entries-reply term=4",
        "append-entries-reply term=4 matched=7 rejected=9@4",
        "append-entries-reply term=4 rejected=9@4",
        "append-entries-reply term=4 rejected=9@4 conflict=0@0 round=3",
        "append-entries-reply term=4 rejected=9@4 conflict=5@5 round=3",
        "append-entries-reply term=4 rejected=9@5 conflict=5@2 round=3",
        "append-entries-reply term=4 matched=7",
        "append-entries-reply term=4 rejected=9@4 conflict=5@2",
        "append-entries term=4 prev=0@0 commit=0 heartbeat=no entries=0",
        "append-entries term=4 prev=0@0 commit=0 heartbeat=no entries=0 round=3",
        "install-snapshot term=4 last=0@0 sum=1f3c09aa bytes=9 crc=77aa01c2 offset=0 data \"x\"",
        "install-snapshot term=4 last=5@5 sum=1f3c09aa bytes=9 crc=77aa01c2 offset=0 data \"x\"",
        "install-snapshot term=4 last=5@2 sum=1f3c09a bytes=9 crc=77aa01c2 offset=0 data \"x\"",
        "install-snapshot term=4 last=5@2 sum=1F3C09AA bytes=9 crc=77aa01c2 offset=0 data \"x\"",
        "install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=9 crc=077aa01c2 offset=0 data \"x\"",
        "install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=9 crc=77aa01c2 offset=9 data \"x\"",
        "install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=9 crc=77aa01c2 offset=9007199254740991 data \"x\"",
        "install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=9 crc=77aa01c2 offset=0 data x",
        "install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=9 crc=77aa01c2 offset=0 data",
        "install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=9 crc=77aa01c2 offset=0 data \"x\" \"y\"",
        "install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=9 crc=77aa01c2 offset=0 \"x\"",
        "install-snapshot-reply term=4 last=0@0 crc=77aa01c2 through=9",
        "install-snapshot-reply term=4 last=5@2 through=9",
        "install-snapshot-reply term=4 last=5@2 crc=77aa01c2 through=9 done",
        "refused term=4 disk=9f3a01c2d4e5f60",
        "refused term=4 disk=9F3A01C2D4E5F607",
    ]);
}

#[test]
fn wrong_entries_are_refused() {
    let line = |rest: &str| format!("append-entries term=4 prev=5@2 commit=4 heartbeat=no round=3 {rest}");
    for (rest, error) in [
        ("entries=2 6@4 no-op", "append-entries: entries= announces 2, but only 1 follow"),
        ("entries=1", "append-entries: entries= announces 1, but only 0 follow"),
        ("entries=0 6@4 no-op", "append-entries: entries= announces 0, but more follow"),
        ("entries=1 6@4 no-op 7@4 no-op", "append-entries: entries= announces 1, but more follow"),
        ("entries=1 7@4 no-op", "append-entries: entry 7@4 comes after 5@2: a gap in the indexes"),
        ("entries=1 5@4 no-op", "append-entries: entry 5@4 comes after 5@2: a gap in the indexes"),
        ("entries=1 6@1 no-op", "append-entries: entry 6@1 comes after 5@2 and from a node in term 4"),
        ("entries=1 6@5 no-op", "append-entries: entry 6@5 comes after 5@2 and from a node in term 4"),
        ("entries=2 6@4 no-op 7@3 no-op", "append-entries: entry 7@3 comes after 6@4 and from a node in term 4"),
        ("entries=513", "append-entries: entries= expected at most 512, found \"513\""),
    ] {
        assert_eq!(decode(&line(rest)).map_err(|error| error.0), Err(error.to_string()));
    }
    refused(&[
        &line("entries=1 6@4 append \"x"),
        &line("entries=1 6@4 append \"\u{1}\""),
        &line("entries=1 6@18446744073709551615 no-op"),
        &line(&format!("entries=1 6@4 append \"{}\"", "x".repeat(65537))),
        "append-entries term=4 prev=9007199254740991@2 commit=4 heartbeat=no round=3 entries=1 9007199254740992@2 no-op",
    ]);
}

#[test]
fn the_largest_message_fits_a_line() {
    use crate::raft::progress::MAX_APPEND_BYTES;
    let entries = (1..=MAX_APPEND_ENTRIES as u64).map(|index| Entry {
        id: EntryId::new(index, 1),
        command: Command::Append { session: None, text: "x".repeat(MAX_APPEND_BYTES / MAX_APPEND_ENTRIES).into() },
    });
    let entries = entries.collect();
    let body = Body::AppendEntries { prev: EntryId::ZERO, commit: 0, heartbeat: true, round: 0, entries };
    let message = Message { term: 1, body };
    let line = written(&message);
    assert!(line.len() < super::super::MAX_LINE_BYTES);
    assert_eq!(decode(&line), Ok(message));
}

/// The largest piece of a snapshot fits a line, for what is in a snapshot has no bare characters that take many.
#[test]
fn the_largest_piece_of_a_snapshot_fits_a_line() {
    let data = "\"\\".repeat(CHUNK_BYTES / 2);
    let (bytes, offset) = (MAX_NUMBER, MAX_NUMBER - data.len() as u64);
    let meta = SnapshotMeta { last: EntryId::new(MAX_NUMBER, MAX_NUMBER), sum: u32::MAX, bytes, crc: u32::MAX };
    let message = Message { term: MAX_NUMBER, body: Body::InstallSnapshot { meta, offset, data: data.into() } };
    let line = written(&message);
    assert!(line.len() < super::super::MAX_LINE_BYTES, "{}", line.len());
    assert_eq!(decode(&line), Ok(message));
}

#[test]
fn bad_hellos_are_refused() {
    for bad in [
        "hello",
        "hello node_0 of 3 disk=9f3a01c2d4e5f607",
        "hello node_4 of 3 disk=9f3a01c2d4e5f607",
        "hello node_1 of 10 disk=9f3a01c2d4e5f607",
        "hello node_01 of 3 disk=9f3a01c2d4e5f607",
        "hello node_18446744073709551617 of 3 disk=9f3a01c2d4e5f607",
        "hello 1 of 3 disk=9f3a01c2d4e5f607",
        "hello node_1 3 disk=9f3a01c2d4e5f607",
        "hello node_1 of 3",
        "hello node_1 of 3 disk=x",
        "hello node_1 of 3 disk=9f3a01c2d4e5f607 x",
        "Hello node_1 of 3 disk=9f3a01c2d4e5f607",
    ] {
        assert!(decode_hello(bad).is_err(), "{bad}");
    }
}
