//! A simulated disk: the files of a real data directory, of which only a part is safe.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::disk::{self, Identity, wal};
use crate::raft::types::{DiskId, Entry, EntryId, Index, NodeId, Persistent, Record, SnapshotMeta};
use crate::snapshot;
use crate::store::Store;
use crate::text::random::Random;

use super::judge::{Checked, Failure, fail};

/// One file of the log. The first `synced` bytes survive everything.
#[derive(Debug)]
struct LogFile {
    number: u64,
    /// What it holds begins behind this index.
    base: Index,
    bytes: Vec<u8>,
    synced: usize,
}

/// A snapshot's text.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub number: u64,
    pub meta: SnapshotMeta,
    pub text: Rc<str>,
}

/// Records to be written at once, and the snapshot that is installed with them.
#[derive(Debug)]
struct Batch {
    records: Vec<Record>,
    installs: Option<(SnapshotMeta, Rc<str>)>,
}

/// The files. Beside them the same content as the records say it, for the checks: what a node says must
/// follow from `durable`.
#[derive(Debug)]
pub struct SimDisk {
    node: NodeId,
    size: u64,
    pub id: DiskId,
    /// No process has started with it yet.
    pub is_new: bool,
    /// In their order; what is written goes to the last one.
    logs: Vec<LogFile>,
    snapshots: Vec<Snapshot>,
    /// Has its final name, but the directory is not synced.
    renamed: Option<Snapshot>,
    next_batch: u64,
    pub durable: Persistent,
    /// The records that are written and not yet safe, and the snapshot that belongs to them.
    pending: Vec<Record>,
    installing: Option<(SnapshotMeta, Rc<str>)>,
    /// The batches that are yet to be written, in order.
    planned: VecDeque<Batch>,
    text: String,
}

impl SimDisk {
    /// A new data directory, its first record synced.
    pub fn new(node: NodeId, size: u64, id: DiskId) -> SimDisk {
        let mut text = String::new();
        wal::encode_header(&Identity { node, size, disk: id }, &mut text);
        let first = LogFile { number: wal::FIRST_FILE, base: 0, synced: text.len(), bytes: text.into_bytes() };
        SimDisk {
            node,
            size,
            id,
            is_new: true,
            logs: vec![first],
            snapshots: Vec::new(),
            renamed: None,
            next_batch: wal::FIRST_BATCH + 1,
            durable: Persistent::default(),
            pending: Vec::new(),
            installing: None,
            planned: VecDeque::new(),
            text: String::new(),
        }
    }

    /// A batch to be written. It is in memory now, and not yet on disk.
    pub fn plan(&mut self, records: Vec<Record>, installs: Option<(SnapshotMeta, Rc<str>)>) -> Checked {
        let base = match records.first() {
            Some(Record::Base { id, sum }) => Some((*id, *sum)),
            _ => None,
        };
        let due = installs.as_ref().map(|(meta, _)| (meta.last, meta.sum));
        if base != due {
            return fail("installs", format!("{} installs {due:?}, and its log begins behind {base:?}", self.node));
        }
        self.planned.push_back(Batch { records, installs });
        Ok(())
    }

    /// Is more than entries on the way? That, nothing may overtake.
    pub fn must_not_be_overtaken(&self) -> bool {
        let mut records = self.on_the_way();
        records.any(|record| !matches!(record, Record::Entry(_)))
    }

    fn on_the_way(&self) -> impl Iterator<Item = &Record> {
        self.pending.iter().chain(self.planned.iter().flat_map(|batch| &batch.records))
    }

    /// Is all that was written and not synced votes?
    pub fn only_votes_pending(&self) -> bool {
        self.pending.iter().all(|record| matches!(record, Record::Vote { .. }))
    }

    /// Writes the next batch.
    pub fn write(&mut self) {
        let Some(Batch { mut records, installs }) = self.planned.pop_front() else { return };
        if installs.is_some() {
            self.installing = installs;
            return self.begin_file(records);
        }
        self.text.clear();
        wal::encode_batch(self.next_batch, &records, &mut self.text);
        self.next_batch += 1;
        if let Some(file) = self.logs.last_mut() {
            file.bytes.extend_from_slice(self.text.as_bytes());
        }
        self.pending.append(&mut records);
    }

    /// Begins the next file of the log with this opening, not synced.
    pub fn begin_file(&mut self, mut opening: Vec<Record>) {
        let mut text = String::new();
        wal::encode_header(&Identity { node: self.node, size: self.size, disk: self.id }, &mut text);
        wal::encode_batch(wal::OPENING_BATCH, &opening, &mut text);
        self.next_batch = wal::OPENING_BATCH + 1;
        let Some(Record::Base { id, .. }) = opening.first() else { panic!("{opening:?} opens no file") };
        let (number, base) = (self.last_number() + 1, id.index);
        self.logs.push(LogFile { number, base, bytes: text.into_bytes(), synced: 0 });
        self.pending.append(&mut opening);
    }

    fn last_number(&self) -> u64 {
        self.logs.last().map_or(0, |file| file.number)
    }

    /// What is before this index is in files that are closed: the next one begins there or later.
    pub fn sealed_through(&self) -> Index {
        self.logs.last().map_or(0, |file| file.base)
    }

    /// The entry at `index` as it is in the memory of a leader: on disk, or on the way there.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.durable.entry(index).or_else(|| {
            self.on_the_way().find_map(|record| match record {
                Record::Entry(entry) if entry.id.index == index => Some(entry),
                _ => None,
            })
        })
    }

    /// Is this what a leader's log has before its next entries?
    pub fn has(&self, id: EntryId) -> bool {
        id == EntryId::ZERO || self.durable.has(id) || self.entry(id.index).is_some_and(|entry| entry.id == id)
    }

    /// What was written is safe, unless its snapshot has yet to take its place.
    pub fn sync(&mut self) -> Checked {
        if let Some(file) = self.logs.last_mut() {
            file.synced = file.bytes.len();
        }
        if self.installing.is_none() { self.take_over() } else { Ok(()) }
    }

    fn take_over(&mut self) -> Checked {
        for record in self.pending.drain(..) {
            if let Err(why) = self.durable.apply(record) {
                return fail("records in order", format!("{} writes a record that cannot follow: {why}", self.node));
            }
        }
        Ok(())
    }

    pub fn is_installing(&self) -> bool {
        self.installing.is_some()
    }

    /// The snapshot that is installed gets its final name.
    pub fn rename_installed(&mut self) {
        let number = self.last_number();
        self.renamed = self.installing.take().map(|(meta, text)| Snapshot { number, meta, text });
    }

    /// A snapshot that was made gets its final name, unless a newer one was installed meanwhile.
    pub fn rename_made(&mut self, made: Snapshot) -> bool {
        let newest = self.snapshot().map_or(0, |snapshot| snapshot.number);
        if newest < made.number {
            self.renamed = Some(made);
        }
        newest < self.renamed.as_ref().map_or(0, |made| made.number)
    }

    /// The names in the directory are safe. What the new snapshot covers is deleted, some day.
    pub fn sync_directory(&mut self, random: &mut Random) -> Checked {
        let Some(snapshot) = self.renamed.take() else { return Ok(()) };
        self.take_over()?;
        if self.durable.base != snapshot.meta.last {
            self.durable.compact(snapshot.meta.last, snapshot.meta.sum);
        }
        self.snapshots.push(snapshot);
        self.sweep(random);
        Ok(())
    }

    /// Of the files that a snapshot covers any may be gone.
    fn sweep(&mut self, random: &mut Random) {
        let newest = self.snapshot().map_or(0, |snapshot| snapshot.number);
        self.logs.retain(|file| file.number >= newest || random.below(2) == 0);
        self.snapshots.retain(|snapshot| snapshot.number >= newest || random.below(2) == 0);
    }

    /// The snapshot with which the log begins.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshots.last()
    }

    /// Bytes of the log that no snapshot covers.
    pub fn log_bytes(&self) -> u64 {
        let newest = self.snapshot().map_or(0, |snapshot| snapshot.number);
        self.logs.iter().filter(|file| file.number >= newest).map(|file| file.bytes.len() as u64).sum()
    }

    /// What a thread of its own makes of the files before the last one: everything through its base.
    pub fn make(&self, through: EntryId, sum: u32) -> Result<Snapshot, Failure> {
        let (mut store, persistent) = self.read()?.contents();
        for entry in persistent.entries.iter().take_while(|entry| entry.id.index <= through.index) {
            store.apply(entry);
        }
        let mut bytes = Vec::new();
        match (snapshot::write(&store, through, sum, &mut bytes), String::from_utf8(bytes)) {
            (Ok(meta), Ok(text)) => Ok(Snapshot { number: self.last_number(), meta, text: text.into() }),
            other => fail("snapshots", format!("{}: cannot be written: {other:?}", self.node)),
        }
    }

    /// What a crash leaves: all that was synced, and of the rest nothing, everything (a killed
    /// process), any prefix, or a prefix with garbled bytes. A new name may be there or not.
    pub fn crash(&mut self, random: &mut Random) {
        if let Some(renamed) = self.renamed.take_if(|_| random.below(2) == 0) {
            self.snapshots.push(renamed);
        }
        let Some(LogFile { bytes, synced, .. }) = self.logs.last_mut() else { return };
        let unsynced = (bytes.len() - *synced) as u64;
        let kept = match random.below(4) {
            0 => 0,
            1 => unsynced,
            _ => random.below(unsynced + 1),
        } as usize;
        bytes.truncate(*synced + kept);
        if kept > 0 && random.below(3) == 0 {
            for _ in 0..=random.below(3) {
                let at = *synced + random.below(kept as u64) as usize;
                bytes[at] = if random.below(2) == 0 { 0 } else { bytes[at] ^ (1 << random.below(8)) };
            }
        }
        if bytes.is_empty() && random.below(2) == 0 {
            self.logs.pop();
        }
    }

    /// Reads all files with the real recovery.
    fn read(&self) -> Result<Read, Failure> {
        let snapshot = match self.snapshot().map(|file| (file, snapshot::read(&mut file.text.as_bytes()))) {
            None => None,
            Some((file, Ok((meta, store)))) if meta == file.meta => Some((meta, store)),
            Some((file, other)) => {
                return fail("recovery", format!("{}: {:?} reads back as {other:?}", self.node, file.meta));
            }
        };
        let snapshots: Vec<_> = self.snapshots.iter().map(|file| (file.number, file.meta)).collect();
        let logs: Vec<_> = self.logs.iter().map(|file| (file.number, &file.bytes[..])).collect();
        match disk::recover(&snapshots, &logs) {
            Ok(recovered) => Ok(Read { snapshot, recovered }),
            Err(wrong) => {
                let why = format!("{}: wal.{} is torn, and taken for corrupt: {wrong}", self.node, wrong.file);
                fail("recovery", why)
            }
        }
    }

    /// Boots from what is left. What comes back must be what was safe, and possibly some of what was
    /// under way.
    pub fn recover(&mut self) -> Result<(Persistent, Option<(SnapshotMeta, Store)>), Failure> {
        let Read { snapshot, recovered } = self.read()?;
        let newest = recovered.snapshot.unwrap_or(0);
        self.logs.retain(|file| !recovered.discard.contains(&file.number));
        self.snapshots.retain(|file| file.number >= newest);
        let Some(file) = self.logs.last_mut().filter(|file| file.number == recovered.active) else {
            return fail("recovery", format!("{}: wal.{} is not the last file", self.node, recovered.active));
        };
        if recovered.valid_len < file.synced {
            return fail("recovery", format!("{}: recovery cut off what was synced", self.node));
        }
        file.bytes.truncate(recovered.valid_len);
        file.synced = recovered.valid_len;
        self.next_batch = recovered.last_batch + 1;
        let found = recovered.persistent;
        if found != self.durable && !self.may_have_become(&found) {
            return fail("recovery", format!("{}: its log reads as {found:?}, not {:?}", self.node, self.durable));
        }
        self.durable = found.clone();
        self.pending.clear();
        self.planned.clear();
        (self.installing, self.renamed) = (None, None);
        self.is_new = false;
        Ok((found, snapshot))
    }

    /// What was under way is there as a whole or not at all: the records, a snapshot's new name, or both.
    fn may_have_become(&self, found: &Persistent) -> bool {
        let mut written = self.durable.clone();
        let pending = self.pending.iter().cloned().try_for_each(|record| written.apply(record));
        let named = |mut state: Persistent| {
            if state.has(found.base) && self.snapshot().is_some_and(|snapshot| snapshot.meta.last == found.base) {
                state.compact(found.base, found.base_sum);
            }
            state == *found
        };
        named(self.durable.clone()) || (pending.is_ok() && (written == *found || named(written)))
    }
}

/// What all files say.
struct Read {
    snapshot: Option<(SnapshotMeta, Store)>,
    recovered: disk::Recovered,
}

impl Read {
    fn contents(self) -> (Store, Persistent) {
        (self.snapshot.map(|(_, store)| store).unwrap_or_default(), self.recovered.persistent)
    }
}
