//! What a transcript shows of a cluster, in words.

use raft_lab::raft::types::{Command, Entry, EntryId, NodeId, Record, Role};

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
        let (entries, what) = match &node.raft {
            Some(raft) => {
                let log = raft.log();
                let durable = log.durable();
                let what = format!("committed through {}, on disk through {durable}", raft.commit_index());
                (log.range(log.base().index + 1, log.last().index).cloned().collect(), what)
            }
            None => (node.synced.entries.clone(), "down".to_string()),
        };
        let words = if entries.is_empty() { "empty".to_string() } else { entries_text(&entries) };
        self.say(format!("{id}: {words} ({what})"));
    }

    /// Term and vote on the disk.
    pub fn show_disk(&mut self, id: NodeId) {
        let synced = &self.node(id).synced;
        let voted_for = synced.voted_for.map_or("nobody".to_string(), |node| node.to_string());
        let last = synced.entries.last().map_or(EntryId::ZERO, |entry| entry.id);
        let line = format!("{id} has on disk: t{}, vote for {voted_for}, log through {last}", synced.current_term);
        self.say(line);
    }

    pub fn show_count(&mut self, links: &[Link]) {
        let parcels: Vec<&Parcel> = self.under_way.iter().filter(|parcel| links.contains(&parcel.link)).collect();
        let bytes: usize = parcels.iter().map(|parcel| parcel.line.len()).sum();
        let line = format!("{} under way, {} KiB", parcels.len(), bytes / 1024);
        self.say(line);
    }

    /// The strings of the state machine.
    pub fn show_list(&mut self, id: NodeId) {
        let page = self.node(id).store.strings_from(1, 100_000, usize::MAX);
        let strings: Vec<String> = match page.strings.as_slice() {
            [] => vec!["nothing".to_string()],
            all if all.len() <= 12 => all.iter().map(|(id, text)| format!("{id} {text:?}")).collect(),
            all => vec![format!("{} strings", all.len())],
        };
        self.say(format!("{id} lists: {}", strings.join(", ")));
    }
}

/// A message as it is shown: without its round if no read has asked for one yet; a long one as it begins,
/// and its length.
pub fn shortened(line: &str) -> String {
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
        Record::Entry(entry) => entries_text(std::slice::from_ref(entry)),
        Record::Truncate { from } => format!("cut from {from}"),
        Record::Peer { node, disk } if disk.since == EntryId::ZERO => format!("{node} has disk {}", disk.id),
        Record::Peer { node, disk } => format!("{node} has disk {} since {}", disk.id, disk.since),
        Record::Base { id, .. } => format!("all through {id} is in the snapshot"),
    }
}

/// All entries, or for long logs where each term begins and ends.
fn entries_text(entries: &[Entry]) -> String {
    let one = |entry: &Entry| match &entry.command {
        Command::Noop => format!("{} no-op", entry.id),
        Command::Append { text, .. } => format!("{} {text:?}", entry.id),
        command => format!("{} {}", entry.id, command.words()),
    };
    if entries.len() <= 12 {
        return entries.iter().map(one).collect::<Vec<_>>().join(", ");
    }
    let terms = entries.chunk_by(|a, b| a.id.term == b.id.term);
    let span = |chunk: &[Entry]| format!("{}..{}", chunk[0].id, chunk[chunk.len() - 1].id);
    terms.map(span).collect::<Vec<_>>().join(", ")
}
