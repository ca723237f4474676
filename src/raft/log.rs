//! The replicated log in memory, and how much of it is on disk.

use std::collections::VecDeque;

use super::types::{Command, Entry, EntryId, Index, Persistent, Record, Term};
use crate::text::checksum::crc32;

/// What of an entry goes into the running checksum of a log.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    Noop,
    Text(&'a str),
    /// [`Command::words`].
    Words(&'a str),
}

/// Extends the running checksum of a log by one entry: CRC-32 over index, term and content of all
/// entries so far. Two logs with the same checksum through an index hold the same.
pub fn chain(sum: u32, id: EntryId, content: Content) -> u32 {
    let (kind, text) = match content {
        Content::Noop => (0, ""),
        Content::Text(text) => (1, text),
        Content::Words(words) => (2, words),
    };
    let mut head = [0; 17];
    head[..8].copy_from_slice(&id.index.to_le_bytes());
    head[8..16].copy_from_slice(&id.term.to_le_bytes());
    head[16] = kind;
    crc32(crc32(sum, &head), text.as_bytes())
}

/// [`chain`] of an entry.
pub fn chain_entry(sum: u32, entry: &Entry) -> u32 {
    match &entry.command {
        Command::Noop => chain(sum, entry.id, Content::Noop),
        Command::Append { text, .. } => chain(sum, entry.id, Content::Text(text)),
        command => chain(sum, entry.id, Content::Words(&command.words())),
    }
}

/// The log: what follows the snapshot, to the last entry. Every change goes through a method that also
/// hands out the record for the disk, so memory and disk cannot part ways.
#[derive(Debug, Default)]
pub struct Log {
    /// Everything through here is in the snapshot (§7), and committed; zero without one.
    base: EntryId,
    base_sum: u32,
    entries: VecDeque<Entry>,
    /// `sums[i]` is the running checksum through `entries[i]`.
    sums: VecDeque<u32>,
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
        let (base, base_sum) = (persistent.base, persistent.base_sum);
        let durable = base.index + entries.len() as Index;
        let mut log = Log { base, base_sum, durable, ..Log::default() };
        for entry in entries {
            log.push(entry);
        }
        log
    }

    fn push(&mut self, entry: Entry) {
        self.sums.push_back(chain_entry(self.sum(self.last().index), &entry));
        self.entries.push_back(entry);
    }

    /// The last entry that only the snapshot holds, or zero.
    pub fn base(&self) -> EntryId {
        self.base
    }

    /// How many entries follow it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The last entry's id, or zero.
    pub fn last(&self) -> EntryId {
        self.entries.back().map_or(self.base, |entry| entry.id)
    }

    /// Where the entry at `index` stands in `entries`; `None` at the base and before it.
    fn at(&self, index: Index) -> Option<usize> {
        Some(index.checked_sub(self.base.index + 1)? as usize)
    }

    /// The id of the entry at `index`, the base's too; `None` behind the end and where the snapshot
    /// alone knows it.
    pub fn id(&self, index: Index) -> Option<EntryId> {
        match index == self.base.index {
            true => Some(self.base),
            false => self.entries.get(self.at(index)?).map(|entry| entry.id),
        }
    }

    /// The running checksum through `index`, which must lie between the base and the end.
    pub fn sum(&self, index: Index) -> u32 {
        self.at(index).map_or(self.base_sum, |at| self.sums[at])
    }

    /// The entries from `first` to `last`, both included; empty if `first > last`. None of them may be
    /// in the snapshot alone.
    pub fn range(&self, first: Index, last: Index) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        let start = if first > last { 0..0 } else { self.span(first, last) };
        self.entries.range(start)
    }

    fn span(&self, first: Index, last: Index) -> std::ops::Range<usize> {
        let base = self.base.index;
        assert!(first > base, "entry {first} is in the snapshot through {}", self.base);
        (first - base) as usize - 1..(last - base) as usize
    }

    /// The first id with the same term as the entry at `index`, as far back as the log goes (§5.3, the
    /// accelerated backing up).
    pub fn first_of_term_at(&self, index: Index) -> EntryId {
        let term = self.id(index).map_or(0, |id| id.term);
        let at = self.entries.partition_point(|entry| entry.id.term < term);
        self.entries.get(at).map_or(self.base, |entry| entry.id)
    }

    /// The last index with this term, if there is one.
    pub fn last_of_term(&self, term: Term) -> Option<Index> {
        let end = self.entries.partition_point(|entry| entry.id.term <= term);
        self.id(self.base.index + end as Index).filter(|id| id.term == term).map(|id| id.index)
    }

    /// A snapshot holds everything through `last`: those entries go. They are returned, since to free so
    /// many takes time that the caller may not have.
    #[must_use]
    pub fn compact(&mut self, last: EntryId) -> VecDeque<Entry> {
        assert_eq!(self.id(last.index), Some(last), "a snapshot of another log");
        self.base_sum = self.sum(last.index);
        let count = (last.index - self.base.index) as usize;
        // The few that stay move to memory of their own: a burst must not keep its memory for ever.
        let stay = self.entries.split_off(count);
        self.sums = self.sums.split_off(count);
        self.base = last;
        std::mem::replace(&mut self.entries, stay)
    }

    /// A leader's snapshot takes the place of everything through `last` (Figure 13, steps 6 and 7): what
    /// follows stays if it follows the same entry. Nothing of it counts as durable before the batch
    /// that begins with this.
    #[must_use]
    pub fn install(&mut self, last: EntryId, sum: u32) -> VecDeque<Entry> {
        let gone = if self.id(last.index) == Some(last) {
            self.compact(last)
        } else {
            self.sums = VecDeque::new();
            self.base = last;
            std::mem::take(&mut self.entries)
        };
        self.base_sum = sum;
        self.durable = last.index;
        for (_, durable) in &mut self.pending {
            *durable = last.index;
        }
        gone
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
        let at = self.at(from).filter(|at| *at < self.entries.len());
        let at = at.unwrap_or_else(|| panic!("cut from {from} of {}..{}", self.base, self.last()));
        self.entries.truncate(at);
        self.sums.truncate(at);
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
        assert_ne!(chain(0, EntryId::new(1, 1), Content::Noop), chain(0, EntryId::new(1, 1), Content::Text("")));
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

    #[test]
    fn behind_a_snapshot_places_stay_what_they_are() {
        let mut log = log(&[1, 1, 4, 4, 4, 6]);
        let (sums, id) = ([log.sum(4), log.sum(6)], EntryId::new(4, 4));
        assert_eq!(log.compact(id).len(), 4);
        assert_eq!((log.base(), log.len(), log.last()), (id, 2, EntryId::new(6, 6)));
        assert_eq!([log.sum(4), log.sum(6)], sums);
        assert_eq!((log.id(3), log.id(4), log.id(5), log.id(7)), (None, Some(id), Some(EntryId::new(5, 4)), None));
        // Term 4 begins in the snapshot: as far back as the log goes.
        assert_eq!((log.first_of_term_at(5), log.first_of_term_at(4)), (EntryId::new(5, 4), EntryId::new(5, 4)));
        assert_eq!((log.last_of_term(4), log.last_of_term(1), log.last_of_term(6)), (Some(5), None, Some(6)));
        log.truncate(5);
        assert_eq!((log.last(), log.is_empty(), log.last_of_term(4)), (id, true, Some(4)));
        log.append(entry(5, 7));
        assert_eq!(log.range(5, 5).count() + log.range(6, 5).count(), 1);
    }

    /// Acknowledgements of batches from before an installation vouch for nothing that follows it: that is
    /// said anew.
    #[test]
    fn an_installation_is_durable_with_its_own_batch() {
        for (last, kept) in [(EntryId::new(2, 1), 1), (EntryId::new(2, 2), 0), (EntryId::new(9, 2), 0)] {
            let mut log = log(&[1, 1]);
            log.append(entry(3, 1));
            log.writing(1);
            assert_eq!(log.install(last, 77).len(), 3 - kept);
            assert_eq!((log.base(), log.len(), log.sum(last.index)), (last, kept, 77));
            log.writing(2);
            log.persisted(1);
            assert_eq!(log.durable(), last.index);
            log.persisted(2);
            assert_eq!(log.durable(), log.last().index);
        }
    }
}
