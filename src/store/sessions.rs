//! The sessions: what keeps a retry from being applied twice.
//!
//! # Exactly once
//!
//! A client numbers its requests 1, 2, 3 … and a retry keeps its number. The store applies only the
//! next number of a session; it answers an earlier one from memory and refuses a later one, because
//! the request before it was lost and may still arrive. A client may therefore have many requests
//! under way, but no more than [`SESSION_ANSWERS`]: so many answers are kept. An append to a full list
//! uses its number up, too: who was told that nothing was appended must never be proved wrong by a
//! copy of the request that comes later.
//!
//! # Sessions without an entry to open them
//!
//! The thesis opens a session with a log entry. Here the client's first request does. What has to be
//! told apart is then a new session and one that was evicted: running the retry of an evicted session
//! as if it were new would append its string twice. A session's id holds `born`, an index that was
//! committed before the session did anything. Whatever an evicted session did lies behind its
//! `born` and not behind the store's `evicted_through`. So a session with `born >= evicted_through`
//! was never evicted, and one with `born < evicted_through` is refused: it may have been.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Applied;
use crate::raft::types::{ClientId, EntryId, Index, Session};

/// Sessions kept. One more, and the one whose last request is the oldest in the log is evicted.
pub const MAX_SESSIONS: usize = 1024;
/// Answers kept of a session, hence the most requests that a client may have under way. Together
/// the sessions take at most about 4 MiB.
pub const SESSION_ANSWERS: usize = 256;

/// What is kept of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// The number that was applied last.
    pub last_seq: u64,
    /// The entries that brought the last numbers, `last_seq` at the back; at most [`SESSION_ANSWERS`].
    pub answers: VecDeque<EntryId>,
    /// Those of them, by index, that appended nothing because the list was full.
    pub full: BTreeSet<Index>,
    /// The last entry that named the session.
    pub last_used: Index,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    pub(super) states: BTreeMap<ClientId, SessionState>,
    /// The sessions by `last_used`: an entry names at most one session, so no two are equal.
    pub(super) by_use: BTreeMap<Index, ClientId>,
    /// The latest `last_used` of all evicted sessions.
    pub(super) evicted_through: Index,
}

impl Sessions {
    /// Whether a numbered request must not be applied, and what is said instead.
    pub(super) fn refused(&mut self, id: EntryId, session: Session) -> Option<Applied> {
        let Session { client, seq } = session;
        let Some(state) = self.states.get_mut(&client) else {
            // `born` at or behind this very entry is a session of another log, or made up.
            return if client.born < self.evicted_through || client.born >= id.index {
                Some(Applied::Expired)
            } else if seq != 1 {
                Some(Applied::Gap { expected: 1 })
            } else {
                None
            };
        };
        // Whoever still asks is alive: a retry and a gap count as use, too.
        self.by_use.remove(&state.last_used);
        state.last_used = id.index;
        self.by_use.insert(id.index, client);

        let expected = state.last_seq + 1;
        if seq == expected {
            return None;
        }
        if seq == 0 || seq > expected {
            return Some(Applied::Gap { expected });
        }
        let back = usize::try_from(state.last_seq - seq).unwrap_or(usize::MAX);
        match state.answers.iter().rev().nth(back) {
            Some(&id) if state.full.contains(&id.index) => Some(Applied::Full { id }),
            Some(&id) => Some(Applied::Repeated(id)),
            None => Some(Applied::Forgotten),
        }
    }

    /// Notes that the session's next number came at `id`, and whether its list was full; may evict another
    /// session.
    pub(super) fn remember(&mut self, id: EntryId, session: Session, full: bool) {
        let state = self.states.entry(session.client).or_insert_with(|| SessionState {
            last_seq: 0,
            answers: VecDeque::new(),
            full: BTreeSet::new(),
            last_used: id.index,
        });
        state.last_seq = session.seq;
        if state.answers.len() == SESSION_ANSWERS
            && let Some(forgotten) = state.answers.pop_front()
        {
            state.full.remove(&forgotten.index);
        }
        state.answers.push_back(id);
        if full {
            state.full.insert(id.index);
        }
        self.by_use.insert(id.index, session.client);
        if self.states.len() > MAX_SESSIONS
            && let Some((last_used, client)) = self.by_use.pop_first()
        {
            self.states.remove(&client);
            self.evicted_through = self.evicted_through.max(last_used);
        }
    }
}
