//! What a transcript shows of a cluster, in words.

use raft_lab::raft::message::{Body, Message};
use raft_lab::raft::types::{Entry, EntryId, NodeId, Record, Role};
use raft_lab::wire::peer;

use super::{Link, Parcel, World};

impl World {
    pub fn show_status(&mut self, id: NodeId) {
        let Some(raft) = self.raft(id) else { return self.say(format!("{id} is down")) };
        let status = raft.status();
        let leader = match (status.role, status.leader) {
            (Role::Follower, Some(leader)) => format!(" of {leader}"),
            _ => String::new(),
        };
        let (role, term, last, commit) = (status.role, status.current_term, status.last, status.commit_index);
        self.say(format!("{id} t{term} {role}{leader}, log through {last}, committed through {commit}"));
    }

    pub fn show_log(&mut self, id: NodeId) {
        let node = self.node(id);
        let (base, entries, what) = match &node.raft {
            Some(raft) => {
                let log = raft.log();
                let durable = log.durable();
                let what = format!("committed through {}, on disk through {durable}", raft.commit_index());
                (log.base(), log.range(log.base().index + 1, log.last().index).cloned().collect(), what)
            }
            None => (node.synced.base, node.synced.entries.clone(), "down".to_string()),
        };
        let snapshot = (base != EntryId::ZERO).then(|| format!("snapshot through {base}"));
        let words: Vec<String> = snapshot.into_iter().chain(entries_text(&entries)).collect();
        let words = if words.is_empty() { "empty".to_string() } else { words.join(", ") };
        self.say(format!("{id}: {words} ({what})"));
    }

    /// Term and vote on the disk.
    pub fn show_disk(&mut self, id: NodeId) {
        let synced = &self.node(id).synced;
        let voted_for = synced.voted_for.map_or("nobody".to_string(), |node| node.to_string());
        let snapshot = match synced.base {
            EntryId::ZERO => String::new(),
            base => format!(", snapshot through {base}"),
        };
        let (term, last) = (synced.current_term, synced.last());
        let line = format!("{id} has on disk: t{term}, vote for {voted_for}{snapshot}, log through {last}");
        self.say(line);
    }

    /// The text of the node's snapshot.
    pub fn show_snapshot(&mut self, id: NodeId) {
        let snapshot = self.node(id).snapshot.clone();
        match snapshot {
            None => self.say(format!("{id} has no snapshot")),
            Some(snapshot) => snapshot.text().lines().for_each(|line| self.say(format!("    {line}"))),
        }
    }

    pub fn show_count(&mut self, links: &[Link]) {
        let parcels: Vec<&Parcel> = self.under_way.iter().filter(|parcel| links.contains(&parcel.link)).collect();
        let bytes: usize = parcels.iter().map(|parcel| parcel.line.len()).sum();
        let line = format!("{} under way, {} KiB", parcels.len(), bytes / 1024);
        self.say(line);
    }
}

/// A message as it is shown: without its round if no read has asked for one yet; of a piece of a snapshot only
/// how long it is; a long one as it begins, and its length.
pub fn shortened(line: &str) -> String {
    if let Ok(Message { body: Body::InstallSnapshot { data, .. }, .. }) = peer::decode(line) {
        let start = line.split(" data ").next().unwrap_or(line);
        return format!("{start} data ({} bytes)", data.len());
    }
    let (start, rest) = line.split_at(line.find('"').unwrap_or(line.len()));
    let shown = start.split(' ').filter(|word| *word != "round=0").collect::<Vec<_>>().join(" ");
    let line = &format!("{shown}{rest}");
    if line.len() <= 160 {
        return line.to_string();
    }
    let start: String = line.chars().take(120).collect();
    format!("{start}… ({} bytes)", line.len())
}

pub fn record_text(record: &Record) -> String {
    match record {
        Record::Vote { term, voted_for: Some(node) } => format!("t{term} with the vote for {node}"),
        Record::Vote { term, voted_for: None } => format!("t{term} without a vote"),
        Record::Entry(entry) => entry_text(entry),
        Record::Truncate { from } => format!("cut from {from}"),
        Record::Peer { node, disk } if disk.since == EntryId::ZERO => format!("{node} has disk {}", disk.id),
        Record::Peer { node, disk } => format!("{node} has disk {} since {}", disk.id, disk.since),
        Record::Base { id, .. } => format!("all through {id} is in the snapshot"),
    }
}

/// All entries, or for long logs where each term begins and ends.
fn entries_text(entries: &[Entry]) -> Vec<String> {
    if entries.len() <= 12 {
        return entries.iter().map(entry_text).collect();
    }
    let terms = entries.chunk_by(|a, b| a.id.term == b.id.term);
    terms.map(|chunk| format!("{}..{}", chunk[0].id, chunk[chunk.len() - 1].id)).collect()
}

fn entry_text(entry: &Entry) -> String {
    format!("{} {}", entry.id, entry.command.words())
}
