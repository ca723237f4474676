//! A store from the items of a snapshot, one by one. It believes nothing: whatever no sequence of entries
//! could have brought about is refused, in words.

use std::sync::Arc;

use super::{List, MAX_LIST_BYTES, MAX_LIST_VALUES, MAX_SESSIONS, SESSION_ANSWERS, SessionState, Store};
use crate::raft::types::{
    ClientId, Disk, EntryId, Index, LOG_KEY, MAX_CLUSTER_SIZE, MAX_KEY_BYTES, MAX_TEXT_BYTES, MAX_VALUES, NodeId,
};

/// A store that is being put together. Items come in the order of the store: nodes, strings of the lab's
/// log, keys each followed by its strings, sessions.
#[derive(Debug)]
pub struct Restore {
    /// The last entry that was applied.
    last: EntryId,
    store: Store,
    /// How many strings of the lab's log the last entry among them brought, and their bytes.
    group: (usize, usize),
    /// The key whose strings come now.
    open: Option<(Arc<str>, List)>,
}

impl Restore {
    /// A store that has applied everything through `last`, with nothing in it yet.
    pub fn new(last: EntryId, evicted_through: Index) -> Result<Restore, String> {
        if evicted_through > last.index {
            return Err(format!("sessions used at {evicted_through} are evicted, but the last entry is {last}"));
        }
        let mut store = Store { last_applied: last.index, ..Store::default() };
        store.sessions.evicted_through = evicted_through;
        Ok(Restore { last, store, group: (0, 0), open: None })
    }

    /// A node that was readmitted.
    pub fn readmitted(&mut self, node: NodeId, disk: Disk) -> Result<(), String> {
        self.happened(disk.since)?;
        let rises = self.store.readmitted.keys().next_back().is_none_or(|before| *before < node);
        if !rises || !(1..=MAX_CLUSTER_SIZE).contains(&node.0) {
            return Err(format!("{node} is out of order"));
        }
        self.store.readmitted.insert(node, disk);
        Ok(())
    }

    /// The next string of the lab's log.
    pub fn string(&mut self, id: EntryId, text: Arc<str>) -> Result<(), String> {
        self.happened(id)?;
        let before = self.store.strings.last().map_or(EntryId::ZERO, |(id, _)| *id);
        if id != before && !follows(before, id) {
            return Err(format!("a string of {id} after one of {before}"));
        }
        let (count, bytes) = if id == before { self.group } else { (0, 0) };
        self.group = (count + 1, bytes + text.len());
        if self.group.0 > MAX_VALUES || self.group.1 > MAX_TEXT_BYTES {
            return Err(format!("entry {id} brings more than {MAX_VALUES} strings or {MAX_TEXT_BYTES} bytes"));
        }
        self.store.strings.push((id, text));
        Ok(())
    }

    /// The next key; its strings follow.
    pub fn key(&mut self, key: Arc<str>, changed: EntryId) -> Result<(), String> {
        self.happened(changed)?;
        self.close();
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(format!("a key has 1 to {MAX_KEY_BYTES} bytes, this one {}", key.len()));
        }
        if &*key == LOG_KEY {
            return Err(format!("the key {LOG_KEY:?} is the lab's log, not a list of its own"));
        }
        if self.store.lists.keys().next_back().is_some_and(|before| *before >= key) {
            return Err(format!("the key {key:?} is out of order"));
        }
        self.open = Some((key, List { values: Vec::new(), bytes: 0, changed }));
        Ok(())
    }

    /// The next string of the key that came last.
    pub fn value(&mut self, text: Arc<str>) -> Result<(), String> {
        let Some((key, list)) = &mut self.open else { return Err("a string before the first key".to_owned()) };
        list.bytes += text.len();
        list.values.push(text);
        if list.values.len() > MAX_LIST_VALUES || list.bytes > MAX_LIST_BYTES {
            return Err(format!(
                "the list of {key:?} has more than {MAX_LIST_VALUES} strings or {MAX_LIST_BYTES} bytes"
            ));
        }
        Ok(())
    }

    /// The next session.
    pub fn session(&mut self, client: ClientId, state: SessionState) -> Result<(), String> {
        let sessions = &mut self.store.sessions;
        if sessions.states.keys().next_back().is_some_and(|before| *before >= client) {
            return Err(format!("session {client} is out of order"));
        }
        if sessions.states.len() == MAX_SESSIONS {
            return Err(format!("more than {MAX_SESSIONS} sessions"));
        }
        let kept = usize::try_from(state.last_seq).unwrap_or(usize::MAX).min(SESSION_ANSWERS);
        if kept == 0 || state.answers.len() != kept {
            let (has, last_seq) = (state.answers.len(), state.last_seq);
            return Err(format!("session {client} has {has} answers, through number {last_seq} there are {kept}"));
        }
        let mut before = EntryId { index: client.born, term: 0 };
        for id in &state.answers {
            if !follows(before, *id) || !is_in_log(*id, self.last) {
                return Err(format!("session {client} has the answer {id} after {before}"));
            }
            before = *id;
        }
        let used = state.last_used;
        if used < before.index || used > self.last.index || used <= sessions.evicted_through {
            return Err(format!("session {client} was used last at {used}, after {before}, and is not evicted"));
        }
        if let Some(other) = sessions.by_use.insert(used, client) {
            return Err(format!("sessions {other} and {client} were both used last at {used}"));
        }
        sessions.states.insert(client, state);
        Ok(())
    }

    /// The store, when everything has come.
    pub fn finish(mut self) -> Result<Store, String> {
        self.close();
        let (known, evicted) = (self.store.sessions(), self.store.evicted_through());
        if evicted > 0 && known != MAX_SESSIONS {
            return Err(format!("sessions are evicted beyond {MAX_SESSIONS}, but there are {known}"));
        }
        Ok(self.store)
    }

    fn close(&mut self) {
        self.store.lists.extend(self.open.take());
    }

    /// An entry of the log through `last`.
    fn happened(&self, id: EntryId) -> Result<(), String> {
        if is_in_log(id, self.last) { Ok(()) } else { Err(format!("{id} in a snapshot through {}", self.last)) }
    }
}

/// Can `id` be an entry of a log that ends with `last`?
fn is_in_log(id: EntryId, last: EntryId) -> bool {
    id == last || (id.index > 0 && id.term > 0 && follows(id, last))
}

/// Can `later` stand behind `earlier` in one log?
fn follows(earlier: EntryId, later: EntryId) -> bool {
    earlier.index < later.index && earlier.term <= later.term
}
