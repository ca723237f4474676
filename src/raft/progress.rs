//! What a leader knows of one follower (§5.3).

use std::collections::VecDeque;
use std::time::Duration;

use super::log::Log;
use super::message::Body;
use super::types::{Entry, Index};
use crate::text::quoted_len;

/// Entries in one AppendEntries at the most; the wire format refuses more.
pub const MAX_APPEND_ENTRIES: usize = 512;
/// Text of the entries of one AppendEntries at the most, in bytes as written on the wire. A single
/// entry is always less: 64 KiB of characters that all need six for one.
pub const MAX_APPEND_BYTES: usize = 512 * 1024;
/// What an entry takes on the wire besides its text, at the most: two numbers, a session, words.
const ENTRY_OVERHEAD_BYTES: usize = 112;
/// Sent and not yet acknowledged, for each follower, at the most.
pub const MAX_INFLIGHT_MESSAGES: usize = 64;
pub const MAX_INFLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// How much may be under way to a follower. The tests narrow it, so that few entries take many messages.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub entries: usize,
    pub messages: usize,
}

impl Default for Window {
    fn default() -> Window {
        Window { entries: MAX_APPEND_ENTRIES, messages: MAX_INFLIGHT_MESSAGES }
    }
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
    /// The highest commit index that the follower was told.
    commit_told: Index,
    /// Probing: where the logs part is not known, so one message at a time, until one matches.
    /// Otherwise: pipelining, the next message does not wait for the answer to the one before.
    probing: bool,
    /// A probe is under way; the next one waits for its answer or for the next heartbeat.
    probe_sent: bool,
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
            commit_told: 0,
            probing: true,
            probe_sent: false,
            inflight: VecDeque::new(),
            inflight_bytes: 0,
        }
    }

    /// Forgets what is under way and looks for the match again from `next_index`.
    pub fn probe(&mut self, next_index: Index) {
        self.next_index = next_index;
        self.probing = true;
        self.probe_sent = false;
        self.commit_told = 0;
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    /// The follower has everything through `index`.
    pub fn matched(&mut self, index: Index) {
        self.match_index = self.match_index.max(index);
        self.next_index = self.next_index.max(self.match_index + 1);
        self.probing = false;
        while let Some(oldest) = self.inflight.front()
            && oldest.last <= self.match_index
        {
            self.inflight_bytes -= oldest.bytes;
            self.inflight.pop_front();
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
    /// for, a new commit index, or the heartbeat.
    pub fn next_append(&mut self, log: &Log, commit: Index, heartbeat: bool, window: Window) -> Option<Body> {
        let window_open = if self.probing {
            !self.probe_sent
        } else {
            self.inflight.len() < window.messages && self.inflight_bytes < MAX_INFLIGHT_BYTES
        };
        let (mut entries, mut bytes): (&[Entry], usize) = (&[], 0);
        if window_open {
            (entries, bytes) = portion(log, self.next_index, window.entries);
        }
        let probe = self.probing && !self.probe_sent;
        // The commit index waits for the window too: a message for each commit to a follower that takes
        // nothing would have no bound. Told is at most what has been sent.
        let commit_news = !self.probing && window_open && commit.min(self.next_index - 1) > self.commit_told;
        let news = !entries.is_empty() || commit_news;
        if !(heartbeat || probe || news) {
            return None;
        }
        let prev = log.id(self.next_index - 1).unwrap_or_else(|| panic!("next_index {} > last", self.next_index));
        let entries = entries.to_vec();
        let last = prev.index + entries.len() as Index;
        if self.probing {
            self.probe_sent = true;
        } else if last > prev.index {
            self.next_index = last + 1;
            self.inflight.push_back(Inflight { last, bytes });
            self.inflight_bytes += bytes;
        }
        self.commit_told = self.commit_told.max(commit.min(last));
        Some(Body::AppendEntries { prev, commit, heartbeat, entries })
    }

    /// For a follower that is not counted: a sign of life and nothing else.
    pub fn bare_heartbeat(&self, log: &Log) -> Option<Body> {
        let prev = log.id(self.next_index - 1)?;
        Some(Body::AppendEntries { prev, commit: 0, heartbeat: true, entries: Vec::new() })
    }
}

/// As many entries from `first` on as one message holds, and their size on the wire.
fn portion(log: &Log, first: Index, max_entries: usize) -> (&[Entry], usize) {
    let rest = log.range(first, log.last().index);
    let mut bytes = 0;
    let mut count = 0;
    for entry in rest.iter().take(max_entries) {
        let size = ENTRY_OVERHEAD_BYTES + entry.command.text().map_or(0, quoted_len);
        if count > 0 && bytes + size > MAX_APPEND_BYTES {
            break;
        }
        bytes += size;
        count += 1;
    }
    (&rest[..count], bytes)
}
