//! The text of one record, without its checksum and place.

use std::fmt::Write;

use crate::raft::types::{DiskId, MAX_CLUSTER_SIZE, MAX_NUMBER, NodeId, Record};
use crate::text::{TextError, Tokens};
use crate::wire::entry::{push_entry, read_entry};

/// Whose log it is: the first record of every log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub node: NodeId,
    pub size: u64,
    pub disk: DiskId,
}

/// What one line of the log says.
pub(super) enum Line {
    Identity(Identity),
    Record(Record),
}

/// `node 1 of 3 disk=9f3a01c2d4e5f607`
pub(super) fn push_identity(out: &mut String, identity: &Identity) {
    let Identity { node, size, disk } = identity;
    // Writing to a String cannot fail.
    let _ = write!(out, "node {} of {size} disk={disk}", node.0);
}

/// `vote term=3 for=node_2`, `vote term=3 for=none`, `entry 2@1 append "SET 5"`, `truncate from=5`,
/// `peer node_2 disk=9f3a01c2d4e5f607`
pub(super) fn push_record(out: &mut String, record: &Record) {
    let _ = match record {
        Record::Vote { term, voted_for: Some(node) } => write!(out, "vote term={term} for={node}"),
        Record::Vote { term, voted_for: None } => write!(out, "vote term={term} for=none"),
        Record::Truncate { from } => write!(out, "truncate from={from}"),
        Record::Peer { node, disk } => write!(out, "peer {node} disk={disk}"),
        Record::Entry(entry) => {
            out.push_str("entry ");
            push_entry(out, entry);
            Ok(())
        }
    };
}

/// Reads what [`push_identity`] or [`push_record`] wrote, and nothing else. Looks no further than the
/// end of an entry's text, see `find_later`.
pub(super) fn read_line(text: &str) -> Result<Line, TextError> {
    let mut t = Tokens::new(text);
    let f = |t: &mut Tokens, p: &str| t.word()?.strip_prefix(p).map(str::to_owned).ok_or("field".to_owned());
    let n = |s: &str| s.parse::<u64>().map_err(|e| e.to_string());
    let h = |s: &str| u64::from_str_radix(s, 16).map_err(|e| e.to_string());
    let node = |s: &str| n(s.strip_prefix("node_").ok_or("node")?).map(NodeId);
    let line = match t.word()? {
        "node" => {
            let me = n(t.word()?)?;
            if t.word()? != "of" {
                return Err("of".into());
            }
            Line::Identity(Identity { node: NodeId(me), size: n(t.word()?)?, disk: DiskId(h(&f(&mut t, "disk=")?)?) })
        }
        "vote" => {
            let term = n(&f(&mut t, "term=")?)?;
            let v = f(&mut t, "for=")?;
            Line::Record(Record::Vote { term, voted_for: if v == "none" { None } else { Some(node(&v)?) } })
        }
        "entry" => Line::Record(Record::Entry(read_entry(&mut t)?)),
        "truncate" => Line::Record(Record::Truncate { from: n(&f(&mut t, "from=")?)? }),
        "peer" => Line::Record(Record::Peer { node: node(t.word()?)?, disk: DiskId(h(&f(&mut t, "disk=")?)?) }),
        o => return Err(format!("unknown {o}")),
    };
    t.end()?;
    Ok(line)
}
