//! The replicated log in memory, and how much of it is on disk.

use std::collections::VecDeque;

use super::types::{Command, Entry, EntryId, Index, Persistent, Record, Term};
use crate::text::checksum::crc32;

/// Extends the running checksum of a log by one entry: CRC-32 over index, term and text of all
/// entries so far. Two logs with the same checksum through an index hold the same strings.
/// `text` is `None` for a no-op.
pub fn chain(sum: u32, id: EntryId, text: Option<&str>) -> u32 {
    let mut head = [0; 17];
    head[..8].copy_from_slice(&id.index.to_le_bytes());
    head[8..16].copy_from_slice(&id.term.to_le_bytes());
    head[16] = u8::from(text.is_some());
    crc32(crc32(sum, &head), text.unwrap_or("").as_bytes())
}

/// The log: entries 1 to last. Every change goes through a method that also hands out the record
/// for the disk, so memory and disk cannot part ways.
#[derive(Debug, Default)]
pub struct Log {
    entries: Vec<Entry>,
    /// `sums[i]` is the running checksum through `entries[i]`.
    sums: Vec<u32>,
    /// All entries up to this index, as they are now, are on disk.
    durable: Index,
    /// Batches under way to the disk, oldest first, each with the last index that it makes
    /// durable. A truncation lowers these too: the acknowledgement of a batch must not vouch for
    /// an entry that has replaced the one in the batch.
    pending: VecDeque<(u64, Index)>,
}

impl Log {
    /// The log as it was read from the disk, all of it synced.
    pub fn recover(persistent: &mut Persistent) -> Log {
        let entries = std::mem::take(&mut persistent.entries);
        let mut log = Log { durable: entries.len() as Index, ..Log::default() };
        for entry in entries {
            log.push(entry);
        }
        log
    }

    fn push(&mut self, entry: Entry) {
        self.sums.push(chain(self.sum(self.last().index), entry.id, entry.command.text()));
        self.entries.push(entry);
    }

    /// The last entry's id, or zero.
    pub fn last(&self) -> EntryId {
        self.entries.last().map_or(EntryId::ZERO, |entry| entry.id)
    }

    /// The id of the entry at `index`; zero's at 0; `None` behind the end.
    pub fn id(&self, index: Index) -> Option<EntryId> {
        match index {
            0 => Some(EntryId::ZERO),
            _ => self.entries.get(index as usize - 1).map(|entry| entry.id),
        }
    }

    /// The running checksum through `index`, which must not lie behind the end.
    pub fn sum(&self, index: Index) -> u32 {
        if index == 0 { 0 } else { self.sums[index as usize - 1] }
    }

    /// The entries from `first` to `last`, both included; empty if `first > last`.
    pub fn range(&self, first: Index, last: Index) -> &[Entry] {
        if first > last { &[] } else { &self.entries[first as usize - 1..last as usize] }
    }

    /// The first index with the same term as the entry at `index` (§5.3, the accelerated backing up).
    pub fn first_of_term_at(&self, index: Index) -> EntryId {
        let term = self.entries[index as usize - 1].id.term;
        self.entries[self.entries.partition_point(|entry| entry.id.term < term)].id
    }

    /// The last index with this term, if there is one.
    pub fn last_of_term(&self, term: Term) -> Option<Index> {
        let end = self.entries.partition_point(|entry| entry.id.term <= term);
        self.id(end as Index).filter(|id| id.term == term).map(|id| id.index)
    }

    /// Appends the next entry.
    pub fn append(&mut self, entry: Entry) -> Record {
        let last = self.last();
        assert!(entry.id.index == last.index + 1 && entry.id.term >= last.term, "{} after {last}", entry.id);
        self.push(entry.clone());
        Record::Entry(entry)
    }

    /// Removes all entries from `from` on.
    pub fn truncate(&mut self, from: Index) -> Record {
        assert!(from >= 1 && from <= self.last().index, "cut from {from} of {}", self.last());
        self.entries.truncate(from as usize - 1);
        self.sums.truncate(from as usize - 1);
        self.durable = self.durable.min(from - 1);
        for (_, last) in &mut self.pending {
            *last = (*last).min(from - 1);
        }
        Record::Truncate { from }
    }

    /// The batch on its way to the disk holds everything up to the present end.
    pub fn writing(&mut self, batch: u64) {
        self.pending.push_back((batch, self.last().index));
    }

    /// All batches up to this one are on disk.
    pub fn persisted(&mut self, batch: u64) {
        while let Some(&(number, last)) = self.pending.front()
            && number <= batch
        {
            self.durable = self.durable.max(last);
            self.pending.pop_front();
        }
    }

    /// Everything up to this index is on disk.
    pub fn durable(&self) -> Index {
        self.durable
    }
}

impl Command {
    /// The string that the command brings, if it brings one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Command::Noop => None,
            Command::Append { text, .. } => Some(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: Index, term: Term) -> Entry {
        let text = format!("{index}@{term}");
        Entry { id: EntryId::new(index, term), command: Command::Append { session: None, text: text.into() } }
    }

    fn log(terms: &[Term]) -> Log {
        let entries = terms.iter().zip(1..).map(|(term, index)| entry(index, *term)).collect();
        Log::recover(&mut Persistent { entries, ..Persistent::default() })
    }

    #[test]
    fn finds_the_borders_of_terms() {
        let log = log(&[1, 1, 4, 4, 4, 6]);
        assert_eq!(log.first_of_term_at(5), EntryId::new(3, 4));
        assert_eq!(log.first_of_term_at(1), EntryId::new(1, 1));
        assert_eq!(log.last_of_term(4), Some(5));
        assert_eq!(log.last_of_term(1), Some(2));
        assert_eq!(log.last_of_term(5), None);
        assert_eq!(log.last_of_term(9), None);
    }

    #[test]
    fn the_checksum_tells_any_change_before_it() {
        let (one, two) = (log(&[1, 1, 2]), log(&[1, 2, 2]));
        assert_eq!(one.sum(1), two.sum(1));
        assert_ne!(one.sum(3), two.sum(3));
        assert_ne!(chain(0, EntryId::new(1, 1), None), chain(0, EntryId::new(1, 1), Some("")));
    }

    /// etcd's async_storage_writes_append_aba_race: the acknowledgement of a write that has been
    /// overwritten meanwhile must not vouch for what replaced it.
    #[test]
    fn append_aba() {
        let mut log = log(&[1]);
        log.append(entry(2, 2));
        log.writing(1);
        log.truncate(2);
        log.append(entry(2, 3));
        log.writing(2);
        log.truncate(2);
        log.append(entry(2, 2));
        log.writing(3);
        log.persisted(1);
        assert_eq!(log.durable(), 1);
        log.persisted(2);
        assert_eq!(log.durable(), 1);
        log.persisted(3);
        assert_eq!(log.durable(), 2);
    }
}
