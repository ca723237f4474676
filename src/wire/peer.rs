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
#[path = "peer_tests.rs"]
mod tests;
