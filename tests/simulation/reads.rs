//! What clients read, and whether it may be so (linearizability, Herlihy & Wing 1990).
//!
//! All changes go through one log, and each answer names an entry: that makes the judgement of a
//! whole run, all keys together, cheap. A read returns the state behind some prefix of the committed
//! log. An answer narrows the prefix to an interval: from the entry that changed the list last up to
//! the one before its next change. A run is linearizable if and only if each read can be given a
//! prefix in its interval so that in real time
//!
//! 1. a read's prefix holds each write that was answered before the read was called;
//! 2. and is not shorter than that of a read that was answered before it was called;
//! 3. a write stands behind the prefix of each read that was answered before it was called,
//! 4. and behind each write that was answered before it was called.
//!
//! *If:* order the operations by prefix, at equal prefixes the write that ends it first, then the reads
//! in the order of their calls. Each read then sees exactly the writes before it, and 1 to 4 say that
//! no operation stands before one that was answered before it was called. *Only if:* an order that
//! explains the run gives each read the writes before it as its prefix, and 1 to 4 are real time.
//!
//! All bounds on a prefix but the end of its interval are from below, or fall on later writes. So give
//! each read the shortest prefix that its call allows, which is one number, [`Reads::floor`]: the
//! highest entry that anybody had been told of by then. If that fails any other choice fails too.
//!
//! `history` judges the keys once more, each for itself, and knows nothing of all this.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::raft::types::{Command, Entry, EntryId, Index, KeyWrite, LOG_KEY, WriteKind};
use crate::store::Store;
use crate::text::random::Random;

use super::history::{self, Done, List, Operation, Verdict};
use super::judge::{Checked, Judge, fail};

/// Keys that are in use at the same time.
const KEYS: u64 = 3;
/// Operations on a key before another one takes its place: histories must stay short.
const OPERATIONS_A_KEY: u64 = 16;

/// A read that was sent.
#[derive(Clone, Debug)]
pub struct Reading {
    pub key: Arc<str>,
    /// Of the lab's log: what stands there from this index on.
    pub from: Index,
    floor: Index,
    called: u64,
}

/// What a node's store holds.
#[derive(Clone, Debug)]
pub enum Answered {
    /// The list, and which entry changed it last; `None` if there is no such key.
    List(Option<(EntryId, List)>),
    /// The lab's log from [`Reading::from`] on.
    Log(Vec<(EntryId, Arc<str>)>),
}

impl Reading {
    /// The answer of a node with this store.
    pub fn answer(&self, store: &Store) -> Answered {
        match &*self.key == LOG_KEY {
            true => Answered::Log(store.strings_from(self.from, usize::MAX, usize::MAX).strings),
            false => {
                let list = store.get(&self.key, 1, usize::MAX, usize::MAX);
                Answered::List(list.map(|page| (page.changed, page.values)))
            }
        }
    }
}

#[derive(Default)]
pub struct Reads {
    /// The highest entry that any client has been told of, or that a read must have seen.
    pub floor: Index,
    /// The highest entry of the lab's log that any client has been told of.
    log_floor: Index,
    /// Counts calls and returns.
    clock: u64,
    histories: BTreeMap<Arc<str>, Vec<Operation>>,
    /// Every change: where it stands in which history; `None` if it is one of the lab's log.
    changes: HashMap<u64, Option<(Arc<str>, usize)>>,
    /// How often each key, and those before it in its place, were used.
    used: [u64; KEYS as usize],
    /// Reads that were answered.
    pub answered: u64,
}

impl Reads {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The key of the next operation.
    pub fn key(&mut self, random: &mut Random) -> Arc<str> {
        let n = random.below(KEYS);
        let used = &mut self.used[n as usize];
        *used += 1;
        format!("key {}", *used / OPERATIONS_A_KEY * KEYS + n).into()
    }

    /// A change is called.
    pub fn calls(&mut self, number: u64, command: &Command) {
        let called = self.tick();
        let Some(write) = write_of(command) else {
            self.changes.insert(number, None);
            return;
        };
        let done = match write.kind {
            WriteKind::Put => Done::Put(write.values.clone()),
            WriteKind::Append => Done::Append(write.values.clone()),
        };
        let history = self.histories.entry(write.key.clone()).or_default();
        self.changes.insert(number, Some((write.key.clone(), history.len())));
        history.push(Operation { called, returned: None, done });
    }

    /// A change is answered with "ok".
    pub fn acknowledged(&mut self, number: u64, id: EntryId) {
        let now = self.tick();
        self.floor = self.floor.max(id.index);
        match self.changes.get(&number) {
            Some(Some((key, at))) => {
                let operation = self.histories.get_mut(key).and_then(|history| history.get_mut(*at));
                operation.into_iter().for_each(|one| one.returned = one.returned.or(Some(now)));
            }
            _ => self.log_floor = self.log_floor.max(id.index),
        }
    }

    /// A read is called.
    pub fn begins(&mut self, random: &mut Random) -> Reading {
        let key = if random.below(3) == 0 { LOG_KEY.into() } else { self.key(random) };
        Reading { key, from: self.log_floor, floor: self.floor, called: self.tick() }
    }

    /// A read is answered.
    pub fn returns(&mut self, reading: Reading, answered: Answered, judge: &Judge) -> Checked {
        let returned = self.tick();
        self.answered += 1;
        let known = match &answered {
            Answered::Log(strings) => {
                if reading.from > 0 && strings.first().is_none_or(|(id, _)| id.index != reading.from) {
                    let why = format!("a read of the log from {} on gives {strings:?}", reading.from);
                    return fail("linearizable", why);
                }
                let last = strings.last().map_or(0, |(id, _)| id.index);
                self.log_floor = self.log_floor.max(last);
                last
            }
            Answered::List(list) => {
                let done = Done::Read(list.as_ref().map(|(_, values)| values.clone()));
                let history = self.histories.entry(reading.key.clone()).or_default();
                history.push(Operation { called: reading.called, returned: Some(returned), done });
                list.as_ref().map_or(0, |(changed, _)| changed.index)
            }
        };
        let prefix = judge.prefix_of(&reading.key, reading.from, reading.floor.max(known), &answered)?;
        self.floor = self.floor.max(prefix);
        Ok(())
    }

    /// Each key's history is judged once more, by someone who knows only what clients know.
    pub fn are_linearizable(&self) -> Checked {
        for (key, history) in &self.histories {
            match history::check(history) {
                Verdict::Linearizable => {}
                Verdict::Not => {
                    return fail(
                        "linearizable history",
                        format!("nothing explains what clients saw of {key:?}: {history:?}"),
                    );
                }
                Verdict::Undecided => {
                    return fail("history too long", format!("{} operations on {key:?}", history.len()));
                }
            }
        }
        Ok(())
    }
}

/// A change of a key other than the lab's log.
fn write_of(command: &Command) -> Option<&KeyWrite> {
    match command {
        Command::Write { write, .. } if &*write.key != LOG_KEY => Some(write),
        _ => None,
    }
}

/// Every state that each key ever had, as the committed log makes them.
#[derive(Default)]
pub struct Versions {
    keys: HashMap<Arc<str>, Vec<(Index, List)>>,
}

impl Versions {
    /// A committed write took effect.
    pub fn wrote(&mut self, entry: &Entry) {
        let Some(write) = write_of(&entry.command) else { return };
        let versions = self.keys.entry(write.key.clone()).or_default();
        let mut list = match (write.kind, versions.last()) {
            (WriteKind::Append, Some((_, list))) => list.clone(),
            _ => List::new(),
        };
        list.extend_from_slice(&write.values);
        versions.push((entry.id.index, list));
    }

    /// Is that the state of the key behind the prefix `through`?
    pub fn is_state(&self, key: &str, through: Index, list: Option<&(EntryId, List)>) -> bool {
        let versions = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        let at = versions.partition_point(|(index, _)| *index <= through);
        match (at.checked_sub(1).map(|at| &versions[at]), list) {
            (None, None) => true,
            (Some((index, held)), Some((changed, list))) => *index == changed.index && held == list,
            _ => false,
        }
    }
}
