//! What readers get: a page at a time, bounded in number and bytes.

use std::ops::Bound;
use std::sync::Arc;

use super::Store;
use crate::raft::types::{EntryId, Index, LOG_KEY};
use crate::text::quoted_len;

/// One page of the lab's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub strings: Vec<(EntryId, Arc<str>)>,
    /// The log index to ask from for the next page. Beyond [`Store::last_applied`] if this one is the
    /// last so far.
    pub next: Index,
}

/// One page of the list of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    pub values: Vec<Arc<str>>,
    /// The number to ask from for the next page, counted from 1. Beyond `total` if this one is the last.
    pub next: u64,
    /// How many strings the whole list has.
    pub total: u64,
    /// The last entry that changed the list. Pages with the same are of the same list.
    pub changed: EntryId,
}

/// One page of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysPage {
    /// Each with how many strings its list has.
    pub keys: Vec<(Arc<str>, u64)>,
    /// The key to ask from for the next page; `None` if this one is the last.
    pub next: Option<Arc<str>>,
}

impl Store {
    /// The strings of the lab's log from log index `from` on: at most `max_count` of them, and as many as
    /// fit in `max_bytes` as written on the wire. All strings of an entry or none, since the next page
    /// is asked for by index; but always one entry's, or a long one would block the way for ever.
    pub fn strings_from(&self, from: Index, max_count: usize, max_bytes: usize) -> Page {
        let start = self.strings.partition_point(|(id, _)| id.index < from);
        let rest = &self.strings[start..];
        let mut count = fitting(rest.iter().map(|(_, text)| text), max_count, max_bytes);
        if let Some((next, _)) = rest.get(count) {
            let together = rest[..count].iter().rev().take_while(|(id, _)| id == next).count();
            count -= together;
            if count == 0 {
                count = rest.iter().take_while(|(id, _)| id == next).count();
            }
        }
        let next = match rest.get(count) {
            Some((id, _)) => id.index,
            // Who asked from beyond the end wants nothing before that.
            None => from.max(self.last_applied + 1),
        };
        Page { strings: rest[..count].to_vec(), next }
    }

    /// The list of a key from its string number `from` on, counted from 1: at most `max_count` strings, and as
    /// many as fit in `max_bytes` as written on the wire, but always one. `None` if there is no such key.
    pub fn get(&self, key: &str, from: u64, max_count: usize, max_bytes: usize) -> Option<ListPage> {
        let skip = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        let (values, total, changed): (Vec<Arc<str>>, _, _) = if key == LOG_KEY {
            let (changed, _) = self.strings.last()?;
            let rest = self.strings.get(skip..).unwrap_or(&[]);
            let count = fitting(rest.iter().map(|(_, text)| text), max_count, max_bytes);
            (rest[..count].iter().map(|(_, text)| text.clone()).collect(), self.strings.len(), *changed)
        } else {
            let list = self.lists.get(key)?;
            let rest = list.values.get(skip..).unwrap_or(&[]);
            let count = fitting(rest.iter(), max_count, max_bytes);
            (rest[..count].to_vec(), list.values.len(), list.changed)
        };
        let next = from.max(1) + values.len() as u64;
        Some(ListPage { values, next, total: total as u64, changed })
    }

    /// The keys in the order of their bytes, from this one on or from the first, at most `max_count` but
    /// always one.
    pub fn keys(&self, from: Option<&str>, max_count: usize) -> KeysPage {
        let from = from.unwrap_or("");
        let lab =
            (LOG_KEY >= from && !self.strings.is_empty()).then(|| (Arc::from(LOG_KEY), self.strings.len() as u64));
        let others = |from: &str| {
            let lists = self.lists.range::<str, _>((Bound::Included(from), Bound::Unbounded));
            lists.map(|(key, list)| (key.clone(), list.values.len() as u64))
        };
        let before = others(from).take_while(|(key, _)| &**key < LOG_KEY);
        let mut rest = before.chain(lab).chain(others(from.max(LOG_KEY)));
        let keys = rest.by_ref().take(max_count.max(1)).collect();
        KeysPage { keys, next: rest.next().map(|(key, _)| key) }
    }
}

/// How many of these strings make a page: one at least.
fn fitting<'a>(strings: impl Iterator<Item = &'a Arc<str>>, max_count: usize, max_bytes: usize) -> usize {
    let mut bytes = 0;
    strings
        .take(max_count.max(1))
        .take_while(|text| {
            let first = bytes == 0;
            bytes += quoted_len(text);
            first || bytes <= max_bytes
        })
        .count()
}
