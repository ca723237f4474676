//! The text of one record, without its checksum and place.

use std::fmt;

use crate::raft::types::{
    Command, Disk, DiskId, EntryId, MAX_CLUSTER_SIZE, MAX_KEY_BYTES, MAX_NUMBER, MAX_TEXT_BYTES, MAX_VALUES, NodeId,
    Record, Session,
};
use crate::text::{TextError, Tokens, hex, push_hex, push_number};
use crate::wire::entry::{
    disk_field, id_field, id_or_zero, node_id, push_disk, push_entry, push_id, read_entry, read_node_id,
};

/// Whose log it is: the first record of every file of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub node: NodeId,
    pub size: u64,
    pub disk: DiskId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} with disk {}", self.node, self.size, self.disk)
    }
}

/// How the record of an entry begins.
pub(super) const ENTRY: &str = "entry ";
const KINDS: &str = "node, vote, entry, truncate, peer or base";

/// What one line of the log says.
pub(super) enum Line {
    Identity(Identity),
    Record(Record),
}

/// `node 1 of 3 disk=9f3a01c2d4e5f607`
pub(super) fn push_identity(out: &mut String, identity: &Identity) {
    out.push_str("node ");
    push_number(out, identity.node.0);
    out.push_str(" of ");
    push_number(out, identity.size);
    push_disk(out, identity.disk);
}

/// `vote term=3 for=node_2`, `vote term=3 for=none`, `entry 2@1 append "SET 5"`, `truncate from=5`,
/// `peer node_2 disk=9f3a01c2d4e5f607`, `peer node_2 disk=9f3a01c2d4e5f607 since=12@4`, `base 100@3 sum=1f3c09aa`
pub(super) fn push_record(out: &mut String, record: &Record) {
    assert!(is_readable(record), "{record:?} could not be read back");
    match record {
        Record::Vote { term, voted_for } => {
            out.push_str("vote term=");
            push_number(out, *term);
            out.push_str(" for=");
            match voted_for {
                Some(node) => push_node(out, *node),
                None => out.push_str("none"),
            }
        }
        Record::Entry(entry) => {
            out.push_str(ENTRY);
            push_entry(out, entry);
        }
        Record::Truncate { from } => {
            out.push_str("truncate from=");
            push_number(out, *from);
        }
        Record::Peer { node, disk } => {
            out.push_str("peer ");
            push_node(out, *node);
            push_disk(out, disk.id);
            if disk.since != EntryId::ZERO {
                out.push_str(" since=");
                push_id(out, disk.since);
            }
        }
        Record::Base { id, sum } => {
            out.push_str("base ");
            push_id(out, *id);
            out.push_str(" sum=");
            push_hex(out, u64::from(*sum), 8);
        }
    }
}

fn push_node(out: &mut String, node: NodeId) {
    out.push_str("node_");
    push_number(out, node.0);
}

/// Whether [`read_line`] will take it. The codecs of the wire have the same limits, so whatever came
/// from outside is; a node that wrote anything else could never start again.
fn is_readable(record: &Record) -> bool {
    let node = |node: &NodeId| (1..=MAX_CLUSTER_SIZE).contains(&node.0);
    let number = |number: u64| (1..=MAX_NUMBER).contains(&number);
    match record {
        Record::Vote { term, voted_for } => *term <= MAX_NUMBER && voted_for.as_ref().is_none_or(node),
        Record::Truncate { from } => number(*from),
        Record::Peer { node: peer, disk } => {
            node(peer) && disk.since.index <= MAX_NUMBER && disk.since.term <= MAX_NUMBER
        }
        Record::Base { id, .. } => id.index <= MAX_NUMBER && id.term <= MAX_NUMBER,
        Record::Entry(entry) => {
            let session = |session: &Option<Session>| {
                session.is_none_or(|session| number(session.seq) && session.client.born <= MAX_NUMBER)
            };
            let command = match &entry.command {
                Command::Noop => true,
                Command::Readmit { node: peer, .. } => node(peer),
                Command::Append { session: of, text } => text.len() <= MAX_TEXT_BYTES && session(of),
                Command::Write { session: of, write } => {
                    let key = (1..=MAX_KEY_BYTES).contains(&write.key.len());
                    key && write.values.len() <= MAX_VALUES && write.bytes() <= MAX_TEXT_BYTES && session(of)
                }
            };
            command && number(entry.id.index) && number(entry.id.term)
        }
    }
}

/// Reads what [`push_identity`] or [`push_record`] wrote, and nothing else. It looks no further than
/// the end of an entry's text: the search for later records counts on that.
pub(super) fn read_line(text: &str) -> Result<Line, TextError> {
    let mut tokens = Tokens::new(text);
    let kind = tokens.word(KINDS)?;
    tokens.about(kind);
    let line = match kind {
        "node" => Line::Identity(read_identity(&mut tokens)?),
        "vote" => Line::Record(read_vote(&mut tokens)?),
        "entry" => Line::Record(Record::Entry(read_entry(&mut tokens)?)),
        "truncate" => Line::Record(Record::Truncate { from: tokens.number_field("from=")? }),
        "peer" => {
            let node = read_node_id(&mut tokens, "the peer")?;
            let id = disk_field(&mut tokens)?;
            let since = if tokens.is_empty() { EntryId::ZERO } else { id_field(&mut tokens, "since=")? };
            Line::Record(Record::Peer { node, disk: Disk { id, since } })
        }
        "base" => {
            let word = tokens.word("an entry")?;
            let id = id_or_zero(word).ok_or_else(|| tokens.expected("base", "INDEX@TERM", word))?;
            let word = tokens.field("sum=")?;
            let sum = hex(word, 8).and_then(|sum| u32::try_from(sum).ok());
            let sum = sum.ok_or_else(|| tokens.expected("sum=", "8 hexadecimal digits", word))?;
            Line::Record(Record::Base { id, sum })
        }
        found => return Err(tokens.expected("the record", KINDS, found)),
    };
    tokens.end()?;
    Ok(line)
}

fn read_identity(tokens: &mut Tokens) -> Result<Identity, TextError> {
    let node = tokens.number("the node")?;
    tokens.literal("of")?;
    let size = tokens.number("the cluster size")?;
    if !(1..=MAX_CLUSTER_SIZE).contains(&size) || !(1..=size).contains(&node) {
        return Err(tokens.error(format_args!("there is no node {node} of {size}")));
    }
    Ok(Identity { node: NodeId(node), size, disk: disk_field(tokens)? })
}

fn read_vote(tokens: &mut Tokens) -> Result<Record, TextError> {
    let term = tokens.number_field("term=")?;
    let word = tokens.field("for=")?;
    let voted_for = node_id(word);
    if voted_for.is_none() && word != "none" {
        return Err(tokens.expected("for=", "a node or none", word));
    }
    Ok(Record::Vote { term, voted_for })
}
