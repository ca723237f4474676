//! What a leader knows of one follower (§5.3).

use std::collections::VecDeque;
use std::time::Duration;

use super::log::Log;
use super::message::Body;
use super::types::{Entry, EntryId, Index, SnapshotMeta};

/// Entries in one AppendEntries at the most; the wire format refuses more.
pub const MAX_APPEND_ENTRIES: usize = 512;
/// Text of the entries of one AppendEntries at the most, in bytes as written on the wire. A single
/// entry is always less: 64 KiB of characters that all need six for one.
pub const MAX_APPEND_BYTES: usize = 512 * 1024;
/// Bytes of a snapshot in one InstallSnapshot, at the most. As text on the wire they are twice as many
/// at the worst, for in a snapshot everything is quoted already.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// Sent and not yet acknowledged, for each follower, at the most.
pub const MAX_INFLIGHT_MESSAGES: usize = 64;
pub const MAX_INFLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// How much may be under way to a follower. The tests narrow it, so that few entries take many messages.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub entries: usize,
    pub messages: usize,
    /// Bytes of one piece of a snapshot.
    pub chunk_bytes: usize,
}

impl Default for Window {
    fn default() -> Window {
        Window { entries: MAX_APPEND_ENTRIES, messages: MAX_INFLIGHT_MESSAGES, chunk_bytes: CHUNK_BYTES }
    }
}

/// Why an AppendEntries may have to go although there is nothing to send.
#[derive(Clone, Copy, Debug)]
pub struct Urgency {
    /// The heartbeat is due.
    pub heartbeat: bool,
    /// A new round asks whether this node still leads.
    pub asks: bool,
    pub round: u64,
}

/// A snapshot under way, one piece at a time.
#[derive(Debug)]
struct Transfer {
    meta: SnapshotMeta,
    /// What the follower has taken, in bytes.
    offset: u64,
}

/// One AppendEntries under way.
#[derive(Debug)]
struct Inflight {
    last: Index,
    bytes: usize,
}

#[derive(Debug)]
pub struct Progress {
    /// The follower's log is known to equal the leader's through here, on its disk.
    pub match_index: Index,
    /// The next entry to send.
    pub next_index: Index,
    /// When the follower last answered in this term.
    pub last_ack: Duration,
    /// The latest round that the follower has answered.
    pub round: u64,
    /// The highest commit index that the follower was told.
    commit_told: Index,
    /// Probing: where the logs part is not known, so one message at a time, until one matches.
    /// Otherwise: pipelining, the next message does not wait for the answer to the one before.
    probing: bool,
    /// A probe is under way, or a piece of a snapshot; the next one waits for its answer or for the next
    /// heartbeat.
    probe_sent: bool,
    /// The follower lacks what is in the snapshot alone; which one it gets is decided when a piece is
    /// sent.
    in_transfer: bool,
    transfer: Option<Transfer>,
    inflight: VecDeque<Inflight>,
    inflight_bytes: usize,
}

impl Progress {
    /// A new leader guesses that the follower has everything (Figure 2: `next_index` starts at the
    /// leader's last index + 1).
    pub fn new(last: Index, now: Duration) -> Progress {
        Progress {
            match_index: 0,
            next_index: last + 1,
            last_ack: now,
            round: 0,
            commit_told: 0,
            probing: true,
            probe_sent: false,
            in_transfer: false,
            transfer: None,
            inflight: VecDeque::new(),
            inflight_bytes: 0,
        }
    }

    /// Forgets what is under way and looks for the match again from `next_index`.
    pub fn probe(&mut self, next_index: Index) {
        self.next_index = next_index;
        self.probing = true;
        self.probe_sent = false;
        self.in_transfer = false;
        self.commit_told = 0;
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    /// The follower has answered a message of this round.
    pub fn answered(&mut self, now: Duration, round: u64) {
        self.last_ack = now;
        self.round = self.round.max(round);
    }

    /// The follower has everything through `index`.
    pub fn matched(&mut self, index: Index) {
        self.match_index = self.match_index.max(index);
        if self.in_transfer && self.match_index < self.next_index - 1 {
            return;
        }
        self.in_transfer = false;
        self.transfer = None;
        self.next_index = self.next_index.max(self.match_index + 1);
        self.probing = false;
        while let Some(oldest) = self.inflight.front()
            && oldest.last <= self.match_index
        {
            self.inflight_bytes -= oldest.bytes;
            self.inflight.pop_front();
        }
    }

    /// The log does not hold what the follower lacks.
    pub fn needs_snapshot(&mut self) {
        self.probe(self.next_index);
        self.in_transfer = true;
    }

    pub fn is_in_transfer(&self) -> bool {
        self.in_transfer
    }

    /// The log begins behind `base` now.
    pub fn compacted(&mut self, base: Index) {
        if self.in_transfer {
            self.next_index = base + 1;
        } else if self.next_index <= base {
            self.probe(base + 1);
        }
    }

    /// Where the next piece of the snapshot begins, if one is due. The last one is repeated once a heartbeat
    /// until the follower has installed it all, or says that it needs another.
    pub fn next_chunk(&mut self, meta: SnapshotMeta) -> Option<u64> {
        if !self.in_transfer {
            return None;
        }
        if self.transfer.as_ref().is_none_or(|transfer| transfer.meta != meta) {
            self.transfer = Some(Transfer { meta, offset: 0 });
            self.next_index = meta.last.index + 1;
            self.probe_sent = false;
        }
        let offset = self.transfer.as_ref().filter(|_| !self.probe_sent)?.offset;
        self.probe_sent = true;
        Some(offset)
    }

    /// The follower has taken the first `through` bytes of a snapshot. Only what is new is answered at
    /// once: an answer that the network doubles must not double the pieces.
    pub fn taken(&mut self, last: EntryId, crc: u32, through: u64) {
        if let Some(transfer) = &mut self.transfer
            && (transfer.meta.last, transfer.meta.crc) == (last, crc)
            && through < transfer.meta.bytes
        {
            self.probe_sent &= through <= transfer.offset;
            transfer.offset = through;
        }
    }

    /// Is this rejection of `prev` an answer to what is under way, or an old one?
    pub fn rejection_is_current(&self, prev: Index) -> bool {
        if self.probing { prev + 1 == self.next_index } else { prev > self.match_index && prev < self.next_index }
    }

    /// A heartbeat is due: an unanswered probe counts as lost.
    pub fn heartbeat(&mut self) {
        self.probe_sent = false;
    }

    /// The next AppendEntries for the follower, if one is due: entries that the window has room
    /// for, a new commit index, or what is urgent.
    pub fn next_append(&mut self, log: &Log, commit: Index, now: Urgency, window: Window) -> Option<Body> {
        let window_open = if self.probing {
            !self.probe_sent
        } else {
            self.inflight.len() < window.messages && self.inflight_bytes < MAX_INFLIGHT_BYTES
        };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        if window_open {
            (entries, bytes) = portion(log, self.next_index, window.entries);
        }
        let probe = self.probing && !self.probe_sent;
        // The commit index waits for the window too: a message for each commit to a follower that takes
        // nothing would have no bound. Told is at most what has been sent.
        let commit_news = !self.probing && window_open && commit.min(self.next_index - 1) > self.commit_told;
        let news = !entries.is_empty() || commit_news;
        if !(now.heartbeat || now.asks || probe || news) {
            return None;
        }
        let prev = log.id(self.next_index - 1);
        let prev =
            prev.unwrap_or_else(|| panic!("next_index {} of a log {}..{}", self.next_index, log.base(), log.last()));
        let last = prev.index + entries.len() as Index;
        if self.probing {
            self.probe_sent = true;
        } else if last > prev.index {
            self.next_index = last + 1;
            self.inflight.push_back(Inflight { last, bytes });
            self.inflight_bytes += bytes;
        }
        self.commit_told = self.commit_told.max(commit.min(last));
        Some(Body::AppendEntries { prev, commit, heartbeat: now.heartbeat, round: now.round, entries })
    }

    /// For a follower that is not counted, or gets a snapshot: a sign of life and nothing else.
    pub fn bare(&self, now: Urgency) -> Option<Body> {
        let prev = EntryId::ZERO;
        let body =
            Body::AppendEntries { prev, commit: 0, heartbeat: now.heartbeat, round: now.round, entries: Vec::new() };
        (now.heartbeat || now.asks).then_some(body)
    }
}

/// As many entries from `first` on as one message holds, and their size on the wire.
fn portion(log: &Log, first: Index, max_entries: usize) -> (Vec<Entry>, usize) {
    let mut bytes = 0;
    let mut entries = Vec::new();
    for entry in log.range(first, log.last().index).take(max_entries) {
        let size = entry.command.wire_bytes();
        if !entries.is_empty() && bytes + size > MAX_APPEND_BYTES {
            break;
        }
        bytes += size;
        entries.push(entry.clone());
    }
    (entries, bytes)
}
