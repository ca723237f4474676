//! The state machine: a list of strings, and the sessions that keep a retry from appending twice.
//!
//! Every node applies the same entries in the same order and must come to the same state (thesis
//! §6.3), so nothing here looks at a clock, at chance or at who asked: only at the entries. That
//! holds for what is forgotten too. Both limits below count log entries, never seconds.
//!
//! # Exactly once
//!
//! A client numbers its requests 1, 2, 3 … and a retry keeps its number. The store applies only the
//! next number of a session; it answers an earlier one from memory and refuses a later one, because
//! the request before it was lost and may still arrive. A client may therefore have many requests
//! under way, but no more than [`SESSION_ANSWERS`]: so many answers are kept.
//!
//! # Sessions without an entry to open them
//!
//! The thesis opens a session with a log entry. Here the client's first request does. What has to be
//! told apart is then a new session and one that was evicted: running the retry of an evicted session
//! as if it were new would append its string twice. A session's id holds `born`, an index that was
//! committed before the session did anything. Whatever an evicted session did lies behind its
//! `born` and not behind the store's `evicted_through`. So a session with `born >= evicted_through`
//! was never evicted, and one with `born < evicted_through` is refused: it may have been.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::raft::types::{ClientId, Command, Entry, EntryId, Index, Session};
use crate::text::quoted_len;

/// Sessions kept. One more, and the one whose last request is the oldest in the log is evicted.
pub const MAX_SESSIONS: usize = 1024;
/// Answers kept of a session, hence the most requests that a client may have under way. Together
/// the sessions take at most about 4 MiB.
pub const SESSION_ANSWERS: usize = 256;

/// What became of a committed entry. `Display` says it in words, for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The string is in the list, at this entry's place.
    Ok(EntryId),
    /// A retry: the string is in the list already, at this earlier place. Not appended again.
    Repeated(EntryId),
    /// The entry of a new leader; no string.
    Noop,
    /// Refused: not the session's next number, which is `expected`. Not appended.
    Gap { expected: u64 },
    /// Refused: the session is no longer known, so nobody can tell whether this number was applied
    /// before. Not appended now.
    Expired,
    /// A retry of a number whose answer is no longer kept: the string is in the list, but where is
    /// forgotten. Not appended again.
    Forgotten,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Applied::Ok(id) => write!(f, "appended as {id}"),
            Applied::Repeated(id) => write!(f, "appended already, as {id}"),
            Applied::Noop => f.write_str("no-op"),
            Applied::Gap { expected } => {
                write!(
                    f,
                    "expected {expected}: a session's numbers are applied in order, none left out; send {expected} first"
                )
            }
            Applied::Expired => write!(
                f,
                "the session is not known (more than {MAX_SESSIONS} others were used since, or it belongs to another log), so it \
                 cannot be told whether this was applied before; it was not applied now: look at the log, then open a new session"
            ),
            Applied::Forgotten => write!(
                f,
                "applied before, but only a session's last {SESSION_ANSWERS} places are kept; it was not applied again"
            ),
        }
    }
}

/// What is kept of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SessionState {
    /// The number that was applied last.
    last_seq: u64,
    /// Where the last numbers went, `last_seq` at the back; at most [`SESSION_ANSWERS`].
    answers: VecDeque<EntryId>,
    /// The last entry that named the session.
    last_used: Index,
}

/// One page of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub strings: Vec<(EntryId, Arc<str>)>,
    /// The log index to ask from for the next page. Beyond [`Store::last_applied`] if this one is the
    /// last so far.
    pub next: Index,
}

/// The state machine of one node. Two stores that applied the same entries are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    last_applied: Index,
    /// The list, in the order of the log. Their indexes have gaps: no-ops, retries and refused
    /// requests are entries of the log but not strings of the list. It grows with the log, whose
    /// entries it shares.
    strings: Vec<(EntryId, Arc<str>)>,
    sessions: BTreeMap<ClientId, SessionState>,
    /// The sessions by `last_used`: an entry names at most one session, so no two are equal.
    by_use: BTreeMap<Index, ClientId>,
    /// The latest `last_used` of all evicted sessions.
    evicted_through: Index,
}

impl Store {
    pub fn new() -> Store {
        Store::default()
    }

    /// Applies the next committed entry. There is no entry that it cannot take; to skip or repeat one
    /// would be a fault of this program, and is asserted.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        assert_eq!(entry.id.index, self.last_applied + 1, "entries are applied in order, each once (§5.3)");
        self.last_applied = entry.id.index;
        match &entry.command {
            Command::Noop => Applied::Noop,
            Command::Write { .. } | Command::Readmit { .. } => Applied::Noop,
            Command::Append { session: None, text } => self.push(entry.id, text),
            Command::Append { session: Some(session), text } => match self.refused(entry.id, *session) {
                Some(refused) => refused,
                None => {
                    self.remember(entry.id, *session);
                    self.push(entry.id, text)
                }
            },
        }
    }

    /// The index of the last entry that was applied, 0 before the first.
    pub fn last_applied(&self) -> Index {
        self.last_applied
    }

    /// How many strings the list has.
    pub fn len(&self) -> usize {
        self.strings.len()
    }

    pub fn is_empty(&self) -> bool {
        self.strings.is_empty()
    }

    /// How many sessions are known, at most [`MAX_SESSIONS`].
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The strings from log index `from` on: at most `max_count` of them, and as many as fit in
    /// `max_bytes` as written on the wire, but always one, or a long one would block the way for ever.
    pub fn strings_from(&self, from: Index, max_count: usize, max_bytes: usize) -> Page {
        let start = self.strings.partition_point(|(id, _)| id.index < from);
        let rest = &self.strings[start..];
        let mut bytes = 0;
        let count = rest
            .iter()
            .take(max_count.max(1))
            .take_while(|(_, text)| {
                let first = bytes == 0;
                bytes += quoted_len(text);
                first || bytes <= max_bytes
            })
            .count();
        let next = match rest.get(count) {
            Some((id, _)) => id.index,
            // Who asked from beyond the end wants nothing before that.
            None => from.max(self.last_applied + 1),
        };
        Page { strings: rest[..count].to_vec(), next }
    }

    fn push(&mut self, id: EntryId, text: &Arc<str>) -> Applied {
        self.strings.push((id, text.clone()));
        Applied::Ok(id)
    }

    /// Whether a numbered request must not be applied, and what is said instead.
    fn refused(&mut self, id: EntryId, session: Session) -> Option<Applied> {
        let Session { client, seq } = session;
        let Some(state) = self.sessions.get_mut(&client) else {
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
            Some(&place) => Some(Applied::Repeated(place)),
            None => Some(Applied::Forgotten),
        }
    }

    /// Notes that the session's next number is applied at `id`; may evict another session.
    fn remember(&mut self, id: EntryId, session: Session) {
        let state = self.sessions.entry(session.client).or_insert_with(|| SessionState {
            last_seq: 0,
            answers: VecDeque::new(),
            last_used: id.index,
        });
        state.last_seq = session.seq;
        if state.answers.len() == SESSION_ANSWERS {
            state.answers.pop_front();
        }
        state.answers.push_back(id);
        self.by_use.insert(id.index, session.client);
        if self.sessions.len() > MAX_SESSIONS
            && let Some((last_used, client)) = self.by_use.pop_first()
        {
            self.sessions.remove(&client);
            self.evicted_through = self.evicted_through.max(last_used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store and the next entry's place.
    #[derive(Default)]
    struct Fixture {
        store: Store,
    }

    impl Fixture {
        fn next(&self) -> EntryId {
            EntryId::new(self.store.last_applied() + 1, 1)
        }

        fn apply(&mut self, command: Command) -> Applied {
            let entry = Entry { id: self.next(), command };
            let applied = self.store.apply(&entry);
            self.check();
            applied
        }

        fn append(&mut self, client: ClientId, seq: u64) -> Applied {
            self.apply(Command::Append {
                session: Some(Session { client, seq }),
                text: format!("{client} {seq}").into(),
            })
        }

        fn plain(&mut self, text: &str) -> Applied {
            self.apply(Command::Append { session: None, text: text.into() })
        }

        /// A session as a node makes it: born at what is applied now.
        fn born(&self, nonce: u64) -> ClientId {
            ClientId { born: self.store.last_applied(), nonce }
        }

        fn texts(&self) -> Vec<String> {
            self.store.strings.iter().map(|(_, text)| text.to_string()).collect()
        }

        fn check(&self) {
            let store = &self.store;
            assert!(store.sessions.len() <= MAX_SESSIONS);
            assert_eq!(store.sessions.len(), store.by_use.len());
            for (last_used, client) in &store.by_use {
                let state = &store.sessions[client];
                assert_eq!(state.last_used, *last_used);
                assert!(*last_used > store.evicted_through);
                assert!(state.answers.len() <= SESSION_ANSWERS);
            }
        }
    }

    fn ok(index: Index) -> Applied {
        Applied::Ok(EntryId::new(index, 1))
    }

    #[test]
    fn entries_without_a_session_are_appended_each_time() {
        let mut fixture = Fixture::default();
        assert_eq!(fixture.apply(Command::Noop), Applied::Noop);
        assert_eq!(fixture.plain("x"), ok(2));
        assert_eq!(fixture.plain("x"), ok(3));
        assert_eq!(fixture.plain(""), ok(4));
        assert_eq!(fixture.texts(), ["x", "x", ""]);
        assert_eq!(fixture.store.sessions(), 0);
        assert_eq!((fixture.store.last_applied(), fixture.store.len(), fixture.store.is_empty()), (4, 3, false));
    }

    #[test]
    fn a_repeated_request_is_answered_with_its_first_place() {
        let mut fixture = Fixture::default();
        let client = fixture.born(7);
        assert_eq!(fixture.append(client, 1), ok(1));
        assert_eq!(fixture.append(client, 1), Applied::Repeated(EntryId::new(1, 1)));
        assert_eq!(fixture.append(client, 2), ok(3));
        assert_eq!(fixture.append(client, 1), Applied::Repeated(EntryId::new(1, 1)));
        assert_eq!(fixture.append(client, 2), Applied::Repeated(EntryId::new(3, 1)));
        assert_eq!(fixture.store.len(), 2);
    }

    #[test]
    fn session_gap_only_the_next_number_is_applied() {
        let mut fixture = Fixture::default();
        let client = fixture.born(7);
        assert_eq!(fixture.append(client, 2), Applied::Gap { expected: 1 });
        assert_eq!(fixture.store.sessions(), 0, "a refused request opens no session");
        for seq in 1..=4 {
            fixture.append(client, seq);
        }
        // 5 is lost, 6 arrives; then both come again.
        assert_eq!(fixture.append(client, 6), Applied::Gap { expected: 5 });
        assert_eq!(fixture.append(client, u64::MAX), Applied::Gap { expected: 5 });
        assert_eq!(fixture.append(client, 0), Applied::Gap { expected: 5 });
        assert_eq!(fixture.append(client, 5), ok(9));
        assert_eq!(fixture.append(client, 6), ok(10));
        assert_eq!(fixture.store.len(), 6);
    }

    #[test]
    fn session_old_answer_all_answers_under_way_are_kept_and_no_more() {
        let mut fixture = Fixture::default();
        let client = fixture.born(7);
        let window = SESSION_ANSWERS as u64;
        for seq in 1..=window {
            assert_eq!(fixture.append(client, seq), ok(seq));
        }
        for seq in 1..=window {
            assert_eq!(fixture.append(client, seq), Applied::Repeated(EntryId::new(seq, 1)));
        }
        assert_eq!(fixture.append(client, window + 1), ok(2 * window + 1));
        assert_eq!(fixture.append(client, 1), Applied::Forgotten);
        assert_eq!(fixture.append(client, 2), Applied::Repeated(EntryId::new(2, 1)));
        assert_eq!(fixture.store.len() as u64, window + 1);
    }

    #[test]
    fn session_expired_a_retry_after_eviction_is_refused_not_run_twice() {
        let mut fixture = Fixture::default();
        let old = fixture.born(0);
        assert_eq!(fixture.append(old, 1), ok(1));
        let unused = ClientId { born: 0, nonce: u64::MAX };
        for nonce in 1..=MAX_SESSIONS as u64 {
            let client = fixture.born(nonce);
            assert!(matches!(fixture.append(client, 1), Applied::Ok(_)));
        }
        let before = fixture.store.len();
        assert_eq!(fixture.append(old, 1), Applied::Expired);
        assert_eq!(fixture.append(old, 2), Applied::Expired);
        assert_eq!(fixture.append(unused, 1), Applied::Expired, "it might have been evicted");
        assert_eq!(fixture.store.len(), before);
        assert_eq!(fixture.store.sessions(), MAX_SESSIONS);
        let fresh = fixture.born(u64::MAX);
        assert!(matches!(fixture.append(fresh, 1), Applied::Ok(_)));
    }

    #[test]
    fn the_least_recently_used_session_is_evicted_and_a_retry_counts_as_use() {
        let mut fixture = Fixture::default();
        let clients: Vec<ClientId> = (0..MAX_SESSIONS as u64).map(|nonce| ClientId { born: 0, nonce }).collect();
        for client in &clients {
            fixture.append(*client, 1);
        }
        // A retry and a gap keep the first two; the third is the oldest then.
        fixture.append(clients[0], 1);
        fixture.append(clients[1], 9);
        let third_used = 3;
        let newcomer = fixture.born(u64::MAX);
        assert!(matches!(fixture.append(newcomer, 1), Applied::Ok(_)));
        assert_eq!(fixture.store.evicted_through, third_used);
        assert!(matches!(fixture.append(clients[0], 1), Applied::Repeated(_)));
        assert!(matches!(fixture.append(clients[1], 2), Applied::Ok(_)));
        assert_eq!(fixture.append(clients[2], 2), Applied::Expired);
        assert!(matches!(fixture.append(clients[3], 2), Applied::Ok(_)));
        // Born exactly where the evicted one was used last: it can only be new.
        assert!(matches!(fixture.append(ClientId { born: third_used, nonce: 5 }, 1), Applied::Ok(_)));
    }

    #[test]
    fn a_session_of_another_log_is_refused() {
        let mut fixture = Fixture::default();
        assert_eq!(fixture.append(ClientId { born: 1, nonce: 1 }, 1), Applied::Expired);
        assert_eq!(fixture.append(ClientId { born: u64::MAX, nonce: 1 }, 1), Applied::Expired);
        assert_eq!(fixture.append(ClientId { born: 2, nonce: 1 }, 1), ok(3));
    }

    #[test]
    fn the_same_entries_make_the_same_state() {
        let (mut one, mut two) = (Fixture::default(), Fixture::default());
        let mut draw = 1u64;
        for _ in 0..6_000 {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let client = ClientId { born: (draw >> 20) % (one.store.last_applied() + 1), nonce: (draw >> 40) % 1500 };
            let command =
                Command::Append { session: Some(Session { client, seq: (draw >> 60) % 3 }), text: "x".into() };
            assert_eq!(one.apply(command.clone()), two.apply(command));
        }
        assert_eq!(one.store, two.store);
        assert_eq!(one.store.sessions(), MAX_SESSIONS);
    }

    #[test]
    fn pages_are_bounded_and_lead_to_the_end() {
        let mut fixture = Fixture::default();
        assert_eq!(fixture.store.strings_from(0, 10, 100), Page { strings: vec![], next: 1 });
        fixture.apply(Command::Noop);
        for text in ["a", "bb", "", "dddddddddd", "e"] {
            fixture.plain(text);
        }
        fixture.apply(Command::Noop);
        let page = |from, count, bytes| {
            let page = fixture.store.strings_from(from, count, bytes);
            (page.strings.iter().map(|(id, _)| id.index).collect::<Vec<_>>(), page.next)
        };
        assert_eq!(page(1, 100, 100), (vec![2, 3, 4, 5, 6], 8));
        assert_eq!(page(1, 2, 100), (vec![2, 3], 4));
        assert_eq!(page(4, 2, 100), (vec![4, 5], 6));
        assert_eq!(page(3, 100, 6), (vec![3, 4], 5), "the quotes count");
        assert_eq!(page(3, 100, 5), (vec![3], 4));
        assert_eq!(page(5, 100, 4), (vec![5], 6), "one always fits");
        assert_eq!(page(5, 0, 0), (vec![5], 6));
        assert_eq!(page(7, 100, 100), (vec![], 8));
        assert_eq!(page(20, 100, 100), (vec![], 20), "who waits for 20 is not sent back");
    }

    #[test]
    fn refusals_are_explained() {
        assert!(Applied::Gap { expected: 4 }.to_string().starts_with("expected 4"));
        assert!(Applied::Expired.to_string().contains("not applied now"));
        assert!(Applied::Forgotten.to_string().contains("not applied again"));
        assert_eq!(Applied::Repeated(EntryId::new(3, 1)).to_string(), "appended already, as 3@1");
    }
}
