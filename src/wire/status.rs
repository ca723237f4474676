//! How a node is: the line that answers `status`.

use std::fmt::Write;
use std::time::Duration;

use super::WireError;
use super::client::{push_node, push_number_field};
use super::entry::{id_field, id_or_zero, node_id, push_id};
use crate::raft::types::{EntryId, Index, MAX_CLUSTER_SIZE, NodeId, Role, Term};
use crate::text::{Tokens, number};

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub node: NodeId,
    pub role: Role,
    pub term: Term,
    pub leader: Option<NodeId>,
    pub last: EntryId,
    pub commit: Index,
    pub applied: Index,
    /// The highest commit index that this node heard of.
    pub leader_commit: Index,
    /// The last entry that is in the snapshot, `0@0` without one, and how many entries the log holds
    /// behind it.
    pub snapshot: EntryId,
    pub log_len: u64,
    /// Bytes of the log on disk that are not in a snapshot yet, and of the snapshot.
    pub log_bytes: u64,
    pub snapshot_bytes: u64,
    /// Keys that have a list, the lab's log among them once it has a string.
    pub keys: u64,
    /// Each peer, and whether this node has a connection to it.
    pub peers: Vec<(NodeId, bool)>,
    /// As leader: `next_index` and `match_index` of each peer; else nothing.
    pub progress: Vec<(NodeId, Index, Index)>,
    /// How long ago it last heard its leader, or as leader a majority. `None` without a leader.
    pub heard: Option<Duration>,
    pub size: u64,
    /// How long the process runs; written in tenths of a second.
    pub uptime: Duration,
    /// How often the process has synced its log (fdatasync).
    pub syncs: u64,
    /// How many messages the process has sent to its peers.
    pub sent: u64,
}

impl NodeStatus {
    pub(super) fn encode(&self, out: &mut String) {
        out.push_str("status node=");
        push_node(out, self.node);
        out.push_str(" role=");
        out.push_str(self.role.name());
        push_number_field(out, " term=", self.term);
        out.push_str(" leader=");
        match self.leader {
            Some(leader) => push_node(out, leader),
            None => out.push_str("none"),
        }
        out.push_str(" last=");
        push_id(out, self.last);
        push_number_field(out, " commit=", self.commit);
        push_number_field(out, " applied=", self.applied);
        push_number_field(out, " leader-commit=", self.leader_commit);
        out.push_str(" snapshot=");
        push_id(out, self.snapshot);
        push_number_field(out, " log-len=", self.log_len);
        push_number_field(out, " log-bytes=", self.log_bytes);
        push_number_field(out, " snapshot-bytes=", self.snapshot_bytes);
        push_number_field(out, " keys=", self.keys);
        out.push_str(" peers=");
        for (number, (peer, up)) in self.peers.iter().enumerate() {
            out.push_str(if number > 0 { "," } else { "" });
            push_node(out, *peer);
            out.push_str(if *up { ":up" } else { ":down" });
        }
        if self.peers.is_empty() {
            out.push_str("none");
        }
        out.push_str(" progress=");
        for (number, (peer, next, matched)) in self.progress.iter().enumerate() {
            out.push_str(if number > 0 { "," } else { "" });
            push_node(out, *peer);
            push_number_field(out, ":", *next);
            push_number_field(out, ":", *matched);
        }
        if self.progress.is_empty() {
            out.push_str("none");
        }
        push_heard(out, self.heard);
        push_number_field(out, " size=", self.size);
        push_number_field(out, " uptime=", self.uptime.as_secs());
        push_number_field(out, ".", u64::from(self.uptime.subsec_millis() / 100));
        push_number_field(out, " syncs=", self.syncs);
        push_number_field(out, " sent=", self.sent);
    }

    pub(super) fn read(tokens: &mut Tokens) -> Result<NodeStatus, WireError> {
        let node = tokens.field("node=")?;
        let node = node_id(node).ok_or_else(|| tokens.expected("node=", "node_1, …", node))?;
        let word = tokens.field("role=")?;
        let role = Role::ALL.into_iter().find(|role| role.name() == word);
        let role =
            role.ok_or_else(|| tokens.expected("role=", "follower, pre-candidate, candidate or leader", word))?;
        let term = tokens.number_field("term=")?;
        let leader = match tokens.field("leader=")? {
            "none" => None,
            word => Some(node_id(word).ok_or_else(|| tokens.expected("leader=", "node_1, … or none", word))?),
        };
        let last = tokens.field("last=")?;
        let last = id_or_zero(last).ok_or_else(|| tokens.expected("last=", "INDEX@TERM", last))?;
        let commit = tokens.number_field("commit=")?;
        let applied = tokens.number_field("applied=")?;
        let leader_commit = tokens.number_field("leader-commit=")?;
        let snapshot = id_field(tokens, "snapshot=")?;
        let log_len = tokens.number_field("log-len=")?;
        let log_bytes = tokens.number_field("log-bytes=")?;
        let snapshot_bytes = tokens.number_field("snapshot-bytes=")?;
        let keys = tokens.number_field("keys=")?;
        let peers = read_peers(tokens)?;
        let progress = read_progress(tokens)?;
        let heard = read_heard(tokens)?;
        let size = tokens.number_field("size=")?;
        let word = tokens.field("uptime=")?;
        let uptime = uptime(word).ok_or_else(|| tokens.expected("uptime=", "seconds like 12.3", word))?;
        let syncs = tokens.number_field("syncs=")?;
        let sent = tokens.number_field("sent=")?;
        Ok(NodeStatus {
            node,
            role,
            term,
            leader,
            last,
            commit,
            applied,
            leader_commit,
            snapshot,
            log_len,
            log_bytes,
            snapshot_bytes,
            keys,
            peers,
            progress,
            heard,
            size,
            uptime,
            syncs,
            sent,
        })
    }
}

fn read_peers(tokens: &mut Tokens) -> Result<Vec<(NodeId, bool)>, WireError> {
    let word = tokens.field("peers=")?;
    if word == "none" {
        return Ok(Vec::new());
    }
    let peer = |part: &str| {
        let (node, state) = part.split_once(':')?;
        let up = match state {
            "up" => true,
            "down" => false,
            _ => return None,
        };
        Some((node_id(node)?, up))
    };
    let peers: Option<Vec<_>> = word.split(',').take(MAX_CLUSTER_SIZE as usize + 1).map(peer).collect();
    let known = peers.filter(|peers| peers.len() <= MAX_CLUSTER_SIZE as usize);
    known.ok_or_else(|| tokens.expected("peers=", "node_2:up,node_3:down or none", word))
}

fn read_progress(tokens: &mut Tokens) -> Result<Vec<(NodeId, Index, Index)>, WireError> {
    let word = tokens.field("progress=")?;
    if word == "none" {
        return Ok(Vec::new());
    }
    let peer = |part: &str| {
        let (node, numbers) = part.split_once(':')?;
        let (next, matched) = numbers.split_once(':')?;
        Some((node_id(node)?, number(next)?, number(matched)?))
    };
    let peers: Option<Vec<_>> = word.split(',').take(MAX_CLUSTER_SIZE as usize + 1).map(peer).collect();
    let known = peers.filter(|peers| peers.len() <= MAX_CLUSTER_SIZE as usize);
    known.ok_or_else(|| tokens.expected("progress=", "node_2:NEXT:MATCH,… or none", word))
}

/// Appends ` heard=0.012`, seconds to the millisecond, or ` heard=never`.
pub(super) fn push_heard(out: &mut String, heard: Option<Duration>) {
    match heard {
        // Writing to a String cannot fail.
        Some(heard) => _ = write!(out, " heard={}.{:03}", heard.as_secs(), heard.subsec_millis()),
        None => out.push_str(" heard=never"),
    }
}

pub(super) fn read_heard(tokens: &mut Tokens) -> Result<Option<Duration>, WireError> {
    let word = tokens.field("heard=")?;
    let heard = |word: &str| {
        let (seconds, millis) = word.split_once('.')?;
        let digits = millis.len() == 3 && millis.bytes().all(|byte| byte.is_ascii_digit());
        let millis = millis.parse().ok().filter(|_| digits)?;
        Some(Duration::from_secs(number(seconds)?) + Duration::from_millis(millis))
    };
    match word {
        "never" => Ok(None),
        _ => heard(word).map(Some).ok_or_else(|| tokens.expected("heard=", "seconds like 0.012, or never", word)),
    }
}

fn uptime(text: &str) -> Option<Duration> {
    let (seconds, tenths) = text.split_once('.')?;
    let tenths = number(tenths).filter(|tenths| *tenths < 10)?;
    Some(Duration::from_secs(number(seconds)?) + Duration::from_millis(tenths * 100))
}
