//! The log of a running node: its files written, closed, and put out of service.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::directory::{self, snapshot_name, wal_name};
use super::error::DiskError;
use super::record::Identity;
use super::snapshots::{Made, Sealed, SnapshotFile, Stored, Whole};
use super::wal::{self, OPENING_BATCH};
use crate::raft::types::{EntryId, Index, Record};
use crate::store::Store;

/// What is kept of the buffer after a batch that was larger, in bytes.
const KEPT_BUFFER_BYTES: usize = 1024 * 1024;

/// What a file of the log opens with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Opening {
    /// The last index of its base; 0 in the first file.
    pub(super) through: Index,
    /// The bytes before its first entry: what any file has, however little happened.
    pub(super) bytes: u64,
}

/// The log of a running node. Holds the lock of its directory.
#[derive(Debug)]
pub struct Wal {
    dir: PathBuf,
    _lock: File,
    identity: Identity,
    /// The file to which batches go, its number, its last batch, and how long it is in bytes.
    file: File,
    path: PathBuf,
    number: u64,
    last_batch: u64,
    len: u64,
    /// What it opens with.
    opening: Opening,
    /// The files before it that no snapshot covers, with their lengths in bytes.
    sealed: Vec<(u64, u64)>,
    /// The snapshot with which the log begins.
    snapshot: Option<(u64, Arc<SnapshotFile>)>,
    /// The text of the batch that is being written, kept for the next one.
    buffer: String,
    syncs: u64,
    /// Set for as long as a write is under way, so it stays set after one that failed.
    failed: bool,
}

impl Wal {
    /// With an open file at its end, which was synced.
    pub(super) fn new(
        dir: &Path,
        lock: File,
        identity: Identity,
        (file, path): (File, PathBuf),
        (number, last_batch, len): (u64, u64, u64),
    ) -> Wal {
        Wal {
            dir: dir.to_owned(),
            _lock: lock,
            identity,
            file,
            path,
            number,
            last_batch,
            len,
            opening: Opening::default(),
            sealed: Vec::new(),
            snapshot: None,
            buffer: String::new(),
            syncs: 1,
            failed: false,
        }
    }

    /// With what is before that file.
    pub(super) fn after(
        self,
        sealed: Vec<(u64, u64)>,
        snapshot: Option<(u64, Arc<SnapshotFile>)>,
        opening: Opening,
    ) -> Wal {
        Wal { sealed, snapshot, opening, ..self }
    }

    /// Writes the records as one batch and syncs it: one write, one `fdatasync`. No record, no write. A
    /// batch with a base goes to [`Wal::seal`] or [`Wal::install`].
    ///
    /// # Errors
    /// The write or the sync failed, now or before. The node must end.
    pub fn append(&mut self, records: &[Record]) -> Result<(), DiskError> {
        self.check()?;
        if records.is_empty() {
            return Ok(());
        }
        assert!(!matches!(records[0], Record::Base { .. }), "a base opens a new file");
        let batch = self.last_batch + 1;
        self.buffer.clear();
        wal::encode_batch(batch, records, &mut self.buffer);
        let lines = self.buffer.bytes().filter(|byte| *byte == b'\n').count();
        assert_eq!(lines, records.len(), "a record is one line");

        self.failed = true;
        let place = |doing: &str, len: u64| format!("{doing} batch {batch} at byte {len}");
        self.file
            .write_all(self.buffer.as_bytes())
            .map_err(|error| DiskError::io(&self.path, &place("write", self.len), &error))?;
        self.syncs += 1;
        self.file.sync_data().map_err(|error| DiskError::io(&self.path, &place("sync", self.len), &error))?;
        self.failed = false;

        self.last_batch = batch;
        self.len += self.buffer.len() as u64;
        self.empty_buffer();
        Ok(())
    }

    /// Closes the file and opens the next one with `opening` ([`Raft::opening`](crate::raft::Raft::opening)),
    /// synced. All that was appended is on the disk already. What this returns is to be made into a
    /// snapshot by another thread, and then published; until then nothing is deleted. The opening begins
    /// at [`Wal::sealed_through`] or later.
    ///
    /// # Errors
    /// The new file cannot be made, written or synced, or something failed before. The node must end.
    pub fn seal(&mut self, opening: &[Record]) -> Result<Sealed, DiskError> {
        self.check()?;
        let base = base_of(opening);
        let through = self.opening.through;
        assert!(base.0.index >= through, "the file begins behind {through}, the next one behind {}", base.0);
        self.failed = true;
        self.begin_file(opening)?;
        let open = |name: String| {
            let path = self.dir.join(name);
            File::open(&path).map_err(|error| DiskError::io(&path, "open it to make a snapshot", &error))
        };
        let wals = self.sealed.iter().map(|(number, _)| Ok((*number, open(wal_name(*number))?)));
        let wals = wals.collect::<Result<_, _>>()?;
        let snapshot = match &self.snapshot {
            Some((number, file)) => Some((*number, file.meta(), open(snapshot_name(*number))?)),
            None => None,
        };
        self.failed = false;
        Ok(Sealed { dir: self.dir.clone(), number: self.number, base, snapshot, wals })
    }

    /// Puts a snapshot that was made in the place of the files it was made of, which a thread of its own
    /// deletes. `None` if a newer one was installed meanwhile: it is dropped.
    ///
    /// # Errors
    /// It cannot be renamed, the directory cannot be synced, or something failed before. The node must end.
    pub fn publish(&mut self, made: Made) -> Result<Option<Arc<SnapshotFile>>, DiskError> {
        self.check()?;
        if self.snapshot.as_ref().is_some_and(|(number, _)| *number >= made.number) {
            return Ok(None);
        }
        self.put_in_place(made.whole, made.number).map(Some)
    }

    /// Puts a leader's snapshot in the place of everything, and opens a new file behind it with `records`,
    /// which begin with its base. Returns the state machine that it holds.
    ///
    /// # Errors
    /// Something cannot be made, written, renamed or synced, or failed before. The node must end.
    pub fn install(&mut self, records: &[Record], stored: Stored) -> Result<(Arc<SnapshotFile>, Store), DiskError> {
        self.check()?;
        let meta = stored.meta();
        assert_eq!(base_of(records), (meta.last, meta.sum), "the log begins where the snapshot ends");
        self.failed = true;
        // The new file first: a snapshot without what follows it would be nothing to start from.
        self.begin_file(records)?;
        let file = self.put_in_place(stored.whole, self.number)?;
        Ok((file, stored.store))
    }

    /// Makes the next file, with its name durable too.
    fn begin_file(&mut self, opening: &[Record]) -> Result<(), DiskError> {
        let number = self.number + 1;
        let path = self.dir.join(wal_name(number));
        self.buffer.clear();
        wal::encode_header(&self.identity, &mut self.buffer);
        wal::encode_batch(OPENING_BATCH, opening, &mut self.buffer);

        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| DiskError::io(&path, "make the next file of the log", &error))?;
        file.write_all(self.buffer.as_bytes())
            .map_err(|error| DiskError::io(&path, "write what the file opens with", &error))?;
        self.syncs += 1;
        file.sync_all().map_err(|error| DiskError::io(&path, "sync what the file opens with", &error))?;
        directory::sync(&self.dir)?;

        self.sealed.push((self.number, self.len));
        self.opening =
            Opening { through: base_of(opening).0.index, bytes: wal::bytes_before_entries(self.buffer.as_bytes()) };
        (self.file, self.path, self.number) = (file, path, number);
        (self.last_batch, self.len) = (OPENING_BATCH, self.buffer.len() as u64);
        self.empty_buffer();
        Ok(())
    }

    fn put_in_place(&mut self, whole: Whole, number: u64) -> Result<Arc<SnapshotFile>, DiskError> {
        self.failed = true;
        let file = Arc::new(whole.publish(&self.dir, number)?);
        self.failed = false;
        self.sealed.retain(|(sealed, _)| *sealed >= number);
        self.snapshot = Some((number, file.clone()));
        let dir = self.dir.clone();
        // Unlinking a large file takes its time. Without the thread it is done at the next start.
        let _ = thread::Builder::new().name("disk-sweep".to_owned()).spawn(move || directory::sweep(&dir, number));
        Ok(file)
    }

    /// After a failure nobody knows what is on the disk.
    fn check(&self) -> Result<(), DiskError> {
        if self.failed {
            let cure = "end the node: a failed write or sync is never tried again";
            return Err(DiskError::new(&self.path, "the log is closed, for a write to it has failed", cure));
        }
        Ok(())
    }

    fn empty_buffer(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
    }

    /// How many times a file of the log was synced since it was opened, that time included.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// How long the log is, in bytes: all its files that no snapshot covers.
    pub fn log_bytes(&self) -> u64 {
        self.sealed.iter().map(|(_, len)| len).sum::<u64>() + self.len
    }

    /// How many of these bytes the node has written because something happened: without those that any file of
    /// a log has at its beginning.
    pub fn grown_bytes(&self) -> u64 {
        self.log_bytes().saturating_sub(self.opening.bytes)
    }

    /// The present file begins behind this index, and the next one must not begin before it. After a restart
    /// the node may not know yet that so much is committed.
    pub fn sealed_through(&self) -> Index {
        self.opening.through
    }

    /// The number of the last batch that was written to [`Wal::path`].
    pub fn last_batch(&self) -> u64 {
        self.last_batch
    }

    /// The file to which batches go at present.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts another file in the place of the log, to see it fail.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

/// What the snapshot before a new file goes through.
fn base_of(opening: &[Record]) -> (EntryId, u32) {
    match opening.first() {
        Some(Record::Base { id, sum }) => (*id, *sum),
        other => panic!("a file opens with its base, not with {other:?}"),
    }
}
