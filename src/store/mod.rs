//! The state machine: keys with lists of strings, the lab's log among them, and the sessions that keep a
//! retry from appending twice.
//!
//! Every node applies the same entries in the same order and must come to the same state (thesis
//! §6.3), so nothing here looks at a clock, at chance or at who asked: only at the entries. That
//! holds for what is forgotten too: the limits of sessions and lists count entries, strings and bytes,
//! never seconds.
//!
//! - the list of [`LOG_KEY`], the lab's log: it only grows, and each string keeps its `index@term`
//! - the lists of all other keys: strings alone, and which entry changed the list last
//! - `sessions`: exactly once; `pages`: what readers get; `restore`: a store from a snapshot's items

mod pages;
mod restore;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use pages::{KeysPage, ListPage, Page};
pub use restore::Restore;
pub use sessions::{MAX_SESSIONS, SESSION_ANSWERS, SessionState};

use crate::raft::types::{
    ClientId, Command, Disk, Entry, EntryId, Index, KeyWrite, LOG_KEY, MAX_TEXT_BYTES, MAX_VALUES, NodeId, Session,
    WriteKind,
};
use sessions::Sessions;

/// The most text of one list, in bytes of UTF-8: 1 MiB. The lab's log alone has no limit.
pub const MAX_LIST_BYTES: usize = 1024 * 1024;
/// The most strings of one list, the lab's log excepted.
pub const MAX_LIST_VALUES: usize = 64 * 1024;

// What one put brings always fits.
const _: () = assert!(MAX_TEXT_BYTES <= MAX_LIST_BYTES && MAX_VALUES <= MAX_LIST_VALUES);

/// What became of a committed entry. `Display` says it in words, for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Done: the strings are in their list, by this entry.
    Ok(EntryId),
    /// A retry: it was done already, by this earlier entry. Not done again.
    Repeated(EntryId),
    /// The entry of a new leader; nothing to do.
    Noop,
    /// The node is counted with its new disk, by this entry.
    Readmitted(EntryId),
    /// Refused by this entry, which a retry hears again: the list would have grown beyond
    /// [`MAX_LIST_BYTES`] or [`MAX_LIST_VALUES`]. Nothing was appended.
    Full { id: EntryId },
    /// Refused: not the session's next number, which is `expected`. Not applied.
    Gap { expected: u64 },
    /// Refused: the session is no longer known, so nobody can tell whether this number was applied
    /// before. Not applied now.
    Expired,
    /// A retry of a number whose answer is no longer kept: it was applied, but where is forgotten. Not
    /// applied again.
    Forgotten,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Applied::Ok(id) => write!(f, "applied as {id}"),
            Applied::Repeated(id) => write!(f, "applied already, as {id}"),
            Applied::Noop => f.write_str("no-op"),
            Applied::Readmitted(id) => write!(f, "readmitted by {id}"),
            Applied::Full { id } => write!(
                f,
                "refused by {id}: the list of a key holds at most {MAX_LIST_VALUES} strings and {MAX_LIST_BYTES} bytes of \
                 text; nothing was appended: put a shorter list in its place, or take another key"
            ),
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

/// The list of a key, the lab's log excepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// In their order. They share their memory with the entries that brought them.
    values: Vec<Arc<str>>,
    /// Bytes of all of them.
    bytes: usize,
    /// The last entry that changed the list.
    changed: EntryId,
}

impl List {
    pub fn values(&self) -> &[Arc<str>] {
        &self.values
    }

    /// The last entry that changed the list.
    pub fn changed(&self) -> EntryId {
        self.changed
    }
}

fn bytes_of(values: &[Arc<str>]) -> usize {
    values.iter().map(|value| value.len()).sum()
}

/// The state machine of one node. Two stores that applied the same entries are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    last_applied: Index,
    /// The lab's log, the list of [`LOG_KEY`], in the order of the entries. Their indexes have gaps,
    /// where an entry brought no string of it, and the strings of one `append-to` have one id. It grows
    /// with the log, whose strings it shares.
    strings: Vec<(EntryId, Arc<str>)>,
    /// All other keys, [`LOG_KEY`] never.
    lists: BTreeMap<Arc<str>, List>,
    sessions: Sessions,
    /// The nodes that were readmitted, each with its last disk.
    readmitted: BTreeMap<NodeId, Disk>,
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
        let id = entry.id;
        match &entry.command {
            Command::Noop => Applied::Noop,
            Command::Append { session, text } => self.once(*session, id, |store| store.push(id, text)),
            Command::Write { session, write } => self.once(*session, id, |store| store.write(id, write)),
            Command::Readmit { node, disk } => {
                self.readmitted.insert(*node, Disk { id: *disk, since: id });
                Applied::Readmitted(id)
            }
        }
    }

    /// Does what a request asks for, unless its session says otherwise.
    fn once(&mut self, session: Option<Session>, id: EntryId, act: impl FnOnce(&mut Store) -> Applied) -> Applied {
        let Some(session) = session else { return act(self) };
        if let Some(refused) = self.sessions.refused(id, session) {
            return refused;
        }
        let applied = act(self);
        let full = matches!(applied, Applied::Full { .. });
        self.sessions.remember(id, session, full);
        applied
    }

    /// The index of the last entry that was applied, 0 before the first.
    pub fn last_applied(&self) -> Index {
        self.last_applied
    }

    /// How many strings the lab's log has.
    pub fn len(&self) -> usize {
        self.strings.len()
    }

    pub fn is_empty(&self) -> bool {
        self.strings.is_empty()
    }

    /// How many keys have a list, the lab's log among them once it has a string.
    pub fn keys_len(&self) -> usize {
        self.lists.len() + usize::from(!self.strings.is_empty())
    }

    /// How many sessions are known, at most [`MAX_SESSIONS`].
    pub fn sessions(&self) -> usize {
        self.sessions.states.len()
    }

    /// The nodes that were readmitted, each with its last disk and the entry that did it.
    pub fn readmitted(&self) -> &BTreeMap<NodeId, Disk> {
        &self.readmitted
    }

    /// The lab's log, all of it.
    pub fn strings(&self) -> &[(EntryId, Arc<str>)] {
        &self.strings
    }

    /// The lists of all other keys.
    pub fn lists(&self) -> &BTreeMap<Arc<str>, List> {
        &self.lists
    }

    /// What is kept of each session.
    pub fn session_states(&self) -> &BTreeMap<ClientId, SessionState> {
        &self.sessions.states
    }

    /// Sessions that were not used after this index have been evicted; 0 if none was.
    pub fn evicted_through(&self) -> Index {
        self.sessions.evicted_through
    }

    fn push(&mut self, id: EntryId, text: &Arc<str>) -> Applied {
        self.strings.push((id, text.clone()));
        Applied::Ok(id)
    }

    fn write(&mut self, id: EntryId, write: &KeyWrite) -> Applied {
        // No decoder takes a put on this key: the lab's log only grows, whoever asks.
        if &*write.key == LOG_KEY {
            self.strings.extend(write.values.iter().map(|value| (id, value.clone())));
            return Applied::Ok(id);
        }
        let bytes = bytes_of(&write.values);
        match (self.lists.get_mut(&write.key), write.kind) {
            (Some(list), WriteKind::Append) => {
                if list.values.len() + write.values.len() > MAX_LIST_VALUES || list.bytes + bytes > MAX_LIST_BYTES {
                    return Applied::Full { id };
                }
                list.values.extend_from_slice(&write.values);
                (list.bytes, list.changed) = (list.bytes + bytes, id);
            }
            (Some(list), WriteKind::Put) => *list = List { values: write.values.clone(), bytes, changed: id },
            (None, _) => {
                let list = List { values: write.values.clone(), bytes, changed: id };
                self.lists.insert(write.key.clone(), list);
            }
        }
        Applied::Ok(id)
    }
}
