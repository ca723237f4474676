//! What nodes say to each other, one line each. A node opens with `hello`, and is answered with one
//! (or with one `error …` line); then it writes messages, and the other side only reads.
//!
//! ```text
//! hello node_2 of 3 disk=9f3a01c2d4e5f607
//! pre-vote term=3 last=5@2
//! pre-vote-reply term=3 granted=yes
//! request-vote term=4 last=5@2
//! request-vote-reply term=4 granted=no
//! append-entries term=4 prev=5@2 commit=4 heartbeat=yes round=3 entries=2 6@4 append "x" 7@4 no-op
//! append-entries-reply term=4 matched=7 round=3
//! append-entries-reply term=4 rejected=9@4 conflict=5@2 round=3
//! install-snapshot term=4 last=5@2 sum=1f3c09aa bytes=2345 crc=77aa01c2 offset=0 data "…"
//! install-snapshot-reply term=4 last=5@2 crc=77aa01c2 through=2345
//! refused term=4 disk=9f3a01c2d4e5f607
//! ```
//!
//! What no correct node can say is not read: a log with a term after its sender's, entries with a
//! gap between them, terms that fall.

use std::sync::Arc;

use super::WireError;
use super::entry::{any_id, disk_field, id_field, push_disk, push_entry, push_id, read_entry, read_node_id};
use crate::raft::message::{Body, Message};
use crate::raft::progress::MAX_APPEND_ENTRIES;
use crate::raft::types::{DiskId, Entry, EntryId, MAX_CLUSTER_SIZE, NodeId, SnapshotMeta, Term};
use crate::text::{Tokens, hex, push_hex, push_number, push_quoted};

/// The first line on a connection between nodes: who the sender is, the size of its cluster, and its
/// disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub node: NodeId,
    pub size: u64,
    pub disk: DiskId,
}

/// Appends a `hello`, without `\n`.
pub fn encode_hello(hello: &Hello, out: &mut String) {
    out.push_str("hello node_");
    push_number(out, hello.node.0);
    out.push_str(" of ");
    push_number(out, hello.size);
    push_disk(out, hello.disk);
}

/// Reads a `hello`. Whether it is of this cluster is not asked here, but that it can be of one.
pub fn decode_hello(line: &str) -> Result<Hello, WireError> {
    let mut tokens = Tokens::new(line);
    tokens.about("hello");
    tokens.literal("hello")?;
    let node = read_node_id(&mut tokens, "the node")?;
    tokens.literal("of")?;
    let size = tokens.number("the cluster size")?;
    if size < node.0 || size > MAX_CLUSTER_SIZE {
        let found = size.to_string();
        return Err(tokens.expected("the cluster size", format_args!("{} … {MAX_CLUSTER_SIZE}", node.0), &found));
    }
    let disk = disk_field(&mut tokens)?;
    tokens.end()?;
    Ok(Hello { node, size, disk })
}

/// Appends a message, without `\n`.
pub fn encode(message: &Message, out: &mut String) {
    let mut start = |kind: &str| {
        out.push_str(kind);
        out.push_str(" term=");
        push_number(out, message.term);
    };
    match &message.body {
        Body::PreVote { last } => {
            start("pre-vote");
            push_id_field(out, " last=", *last);
        }
        Body::PreVoteReply { granted } => {
            start("pre-vote-reply");
            push_flag(out, " granted=", *granted);
        }
        Body::RequestVote { last } => {
            start("request-vote");
            push_id_field(out, " last=", *last);
        }
        Body::RequestVoteReply { granted } => {
            start("request-vote-reply");
            push_flag(out, " granted=", *granted);
        }
        Body::AppendEntries { prev, commit, heartbeat, round, entries } => {
            start("append-entries");
            push_id_field(out, " prev=", *prev);
            out.push_str(" commit=");
            push_number(out, *commit);
            push_flag(out, " heartbeat=", *heartbeat);
            push_number_field(out, " round=", *round);
            out.push_str(" entries=");
            push_number(out, entries.len() as u64);
            for entry in entries {
                out.push(' ');
                push_entry(out, entry);
            }
        }
        Body::Matched { index, round } => {
            start("append-entries-reply");
            push_number_field(out, " matched=", *index);
            push_number_field(out, " round=", *round);
        }
        Body::Rejected { prev, conflict, round } => {
            start("append-entries-reply");
            push_id_field(out, " rejected=", *prev);
            push_id_field(out, " conflict=", *conflict);
            push_number_field(out, " round=", *round);
        }
        Body::InstallSnapshot { meta, offset, data } => {
            start("install-snapshot");
            push_id_field(out, " last=", meta.last);
            push_sum_field(out, " sum=", meta.sum);
            push_number_field(out, " bytes=", meta.bytes);
            push_sum_field(out, " crc=", meta.crc);
            push_number_field(out, " offset=", *offset);
            out.push_str(" data ");
            push_quoted(out, data);
        }
        Body::SnapshotTaken { last, crc, through } => {
            start("install-snapshot-reply");
            push_id_field(out, " last=", *last);
            push_sum_field(out, " crc=", *crc);
            push_number_field(out, " through=", *through);
        }
        Body::Refused { disk } => {
            start("refused");
            push_disk(out, *disk);
        }
    }
}

fn push_id_field(out: &mut String, name: &str, id: EntryId) {
    out.push_str(name);
    push_id(out, id);
}

fn push_number_field(out: &mut String, name: &str, number: u64) {
    out.push_str(name);
    push_number(out, number);
}

fn push_sum_field(out: &mut String, name: &str, sum: u32) {
    out.push_str(name);
    push_hex(out, u64::from(sum), 8);
}

fn push_flag(out: &mut String, name: &str, value: bool) {
    out.push_str(name);
    out.push_str(if value { "yes" } else { "no" });
}

/// Reads a message: [`encode`]'s inverse.
pub fn decode(line: &str) -> Result<Message, WireError> {
    let mut tokens = Tokens::new(line);
    let kind = tokens.word("a message")?;
    let read_body = match kind {
        "append-entries" => read_append_entries,
        "append-entries-reply" => read_append_entries_reply,
        "pre-vote" => |tokens: &mut Tokens, term| Ok(Body::PreVote { last: read_last(tokens, term)? }),
        "pre-vote-reply" => |tokens: &mut Tokens, _| Ok(Body::PreVoteReply { granted: flag(tokens, "granted=")? }),
        "request-vote" => |tokens: &mut Tokens, term| Ok(Body::RequestVote { last: read_last(tokens, term)? }),
        "request-vote-reply" => {
            |tokens: &mut Tokens, _| Ok(Body::RequestVoteReply { granted: flag(tokens, "granted=")? })
        }
        "install-snapshot" => read_install_snapshot,
        "install-snapshot-reply" => |tokens: &mut Tokens, _| {
            let (last, crc) = (real_id_field(tokens, "last=")?, sum_field(tokens, "crc=")?);
            Ok(Body::SnapshotTaken { last, crc, through: tokens.number_field("through=")? })
        },
        "refused" => |tokens: &mut Tokens, _| Ok(Body::Refused { disk: disk_field(tokens)? }),
        _ => return Err(tokens.expected("the message", "pre-vote, request-vote, append-entries, … or refused", kind)),
    };
    tokens.about(kind);
    let term = tokens.number_field("term=")?;
    let body = read_body(&mut tokens, term)?;
    tokens.end()?;
    Ok(Message { term, body })
}

fn flag(tokens: &mut Tokens, name: &str) -> Result<bool, WireError> {
    match tokens.field(name)? {
        "yes" => Ok(true),
        "no" => Ok(false),
        found => Err(tokens.expected(name, "yes or no", found)),
    }
}

fn read_last(tokens: &mut Tokens, term: Term) -> Result<EntryId, WireError> {
    let last = id_field(tokens, "last=")?;
    not_after(tokens, "last=", last, term)?;
    Ok(last)
}

/// A node's log holds no entry of a term after its own.
fn not_after(tokens: &Tokens, name: &str, id: EntryId, term: Term) -> Result<(), WireError> {
    if id.term <= term {
        return Ok(());
    }
    Err(tokens.expected(name, format_args!("no term after the sender's, {term}"), &id.to_string()))
}

fn read_append_entries(tokens: &mut Tokens, term: Term) -> Result<Body, WireError> {
    let prev = id_field(tokens, "prev=")?;
    not_after(tokens, "prev=", prev, term)?;
    let commit = tokens.number_field("commit=")?;
    let heartbeat = flag(tokens, "heartbeat=")?;
    let round = tokens.number_field("round=")?;
    let count = tokens.number_field("entries=")?;
    if count > MAX_APPEND_ENTRIES as u64 {
        return Err(tokens.expected("entries=", format_args!("at most {MAX_APPEND_ENTRIES}"), &count.to_string()));
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(count as usize);
    let mut before = prev;
    for number in 1..=count {
        if tokens.is_empty() {
            return Err(tokens.error(format_args!("entries= announces {count}, but only {} follow", number - 1)));
        }
        let entry = read_entry(tokens)?;
        let id = entry.id;
        if id.index != before.index + 1 {
            return Err(tokens.error(format_args!("entry {id} comes after {before}: a gap in the indexes")));
        }
        if id.term < before.term || id.term > term {
            return Err(tokens.error(format_args!("entry {id} comes after {before} and from a node in term {term}")));
        }
        before = id;
        entries.push(entry);
    }
    if !tokens.is_empty() {
        return Err(tokens.error(format_args!("entries= announces {count}, but more follow")));
    }
    Ok(Body::AppendEntries { prev, commit, heartbeat, round, entries })
}

fn read_append_entries_reply(tokens: &mut Tokens, term: Term) -> Result<Body, WireError> {
    if tokens.peek().starts_with("matched=") {
        let index = tokens.number_field("matched=")?;
        return Ok(Body::Matched { index, round: tokens.number_field("round=")? });
    }
    if !tokens.peek().starts_with("rejected=") {
        return Err(tokens.expected("the answer", "matched= or rejected=", tokens.peek()));
    }
    let prev = id_field(tokens, "rejected=")?;
    not_after(tokens, "rejected=", prev, term)?;
    let found = tokens.field("conflict=")?;
    // Term 0 stands for "I have no entry there".
    let conflict = any_id(found).filter(|id| id.index > 0);
    let conflict = conflict.ok_or_else(|| tokens.expected("conflict=", "INDEX@TERM, the index at least 1", found))?;
    not_after(tokens, "conflict=", conflict, term)?;
    Ok(Body::Rejected { prev, conflict, round: tokens.number_field("round=")? })
}

fn read_install_snapshot(tokens: &mut Tokens, term: Term) -> Result<Body, WireError> {
    let last = real_id_field(tokens, "last=")?;
    not_after(tokens, "last=", last, term)?;
    let sum = sum_field(tokens, "sum=")?;
    let bytes = tokens.number_field("bytes=")?;
    let meta = SnapshotMeta { last, sum, bytes, crc: sum_field(tokens, "crc=")? };
    let offset = tokens.number_field("offset=")?;
    tokens.literal("data")?;
    let data = tokens.string("data")?;
    if offset.saturating_add(data.len() as u64) > bytes {
        return Err(tokens.error(format_args!("{} bytes at {offset} of a snapshot of {bytes}", data.len())));
    }
    Ok(Body::InstallSnapshot { meta, offset, data: Arc::from(&*data) })
}

/// Takes the id of a real entry.
fn real_id_field(tokens: &mut Tokens, name: &str) -> Result<EntryId, WireError> {
    let id = id_field(tokens, name)?;
    if id == EntryId::ZERO {
        return Err(tokens.expected(name, "an entry, INDEX@TERM", "0@0"));
    }
    Ok(id)
}

/// Takes a field of 8 hexadecimal digits.
fn sum_field(tokens: &mut Tokens, name: &str) -> Result<u32, WireError> {
    let value = tokens.field(name)?;
    let sum = hex(value, 8).and_then(|sum| u32::try_from(sum).ok());
    sum.ok_or_else(|| tokens.expected(name, "8 hexadecimal digits", value))
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::{any_command, any_number, any_text, mutate};
    use super::*;
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
            "append-entries term=4 prev=5@2 commit=4 heartbeat=yes entries=2 6@4 append \"x\" 7@4 no-op",
            "append-entries term=4 prev=0@0 commit=0 heartbeat=no entries=0",
            "append-entries-reply term=4 matched=7",
            "append-entries-reply term=4 rejected=9@4 conflict=5@2",
            "append-entries-reply term=4 rejected=9@4 conflict=6@0",
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
        for bad in
            ["", "-1", "+1", "1e9", "01", "0x1", "9007199254740992", "18446744073709551615", "18446744073709551616"]
        {
            refused(&[
                &format!("pre-vote term={bad} last=0@0"),
                &format!("request-vote term=3 last={bad}@1"),
                &format!("request-vote term=3 last=1@{bad}"),
                &format!("append-entries-reply term=3 matched={bad}"),
                &format!("append-entries-reply term=3 rejected=2@2 conflict={bad}@1"),
                &format!("append-entries term=3 prev=0@0 commit={bad} heartbeat=no entries=0"),
                &format!("append-entries term=3 prev=0@0 commit=0 heartbeat=no entries={bad} 1@1 no-op"),
                &format!("append-entries term=3 prev=0@0 commit=0 heartbeat=no entries=1 {bad}@1 no-op"),
            ]);
        }
        let largest = format!("append-entries-reply term={MAX_NUMBER} matched={MAX_NUMBER}");
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
            "append-entries-reply term=4 rejected=9@4 conflict=0@0",
            "append-entries-reply term=4 rejected=9@4 conflict=5@5",
            "append-entries-reply term=4 rejected=9@5 conflict=5@2",
            "refused term=4 disk=9f3a01c2d4e5f60",
            "refused term=4 disk=9F3A01C2D4E5F607",
        ]);
    }

    #[test]
    fn wrong_entries_are_refused() {
        let line = |rest: &str| format!("append-entries term=4 prev=5@2 commit=4 heartbeat=no {rest}");
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
            "append-entries term=4 prev=9007199254740991@2 commit=4 heartbeat=no entries=1 9007199254740992@2 no-op",
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
}
