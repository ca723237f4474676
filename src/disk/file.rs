//! The write-ahead log as a file: opened, mended, written, synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::directory;
use super::error::DiskError;
use super::record::Identity;
use super::wal::{self, Corruption, FIRST_BATCH, Scanned};
use crate::raft::types::{DiskId, NodeId, Persistent, Record};
use crate::text::random::Random;

const WAL: &str = "wal";
/// What is kept of the buffer after a batch that was larger, in bytes.
const KEPT_BUFFER_BYTES: usize = 1024 * 1024;

/// What [`open`] found.
#[derive(Debug)]
pub struct Opened {
    pub wal: Wal,
    pub persistent: Persistent,
    pub disk: DiskId,
    /// The directory was empty: the disk was made just now.
    pub new_disk: bool,
    /// What was mended, in words, for the log. Empty after an orderly end.
    pub notes: Vec<String>,
}

/// The log of a running node. Holds the lock of its directory.
#[derive(Debug)]
pub struct Wal {
    file: File,
    path: PathBuf,
    _lock: File,
    last_batch: u64,
    /// How long the file is, in bytes.
    len: u64,
    /// The text of the batch that is being written, kept for the next one.
    buffer: String,
    syncs: u64,
    /// Set for as long as a write is under way, so it stays set after one that failed.
    failed: bool,
}

/// Opens the directory of a node, or makes it. What this returns is on the disk.
///
/// # Errors
/// The directory is another node's or of a cluster of another size, or another process has it; the log
/// is damaged; any step of reading, cutting or syncing failed. A log that is refused is left as it is.
pub fn open(dir: &Path, node: NodeId, size: u64) -> Result<Opened, DiskError> {
    let lock = directory::lock(dir)?;
    let path = dir.join(WAL);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| DiskError::io(&path, "open the log", &error))?;
    let bytes = read(&mut file).map_err(|error| DiskError::io(&path, "read the log", &error))?;
    let scanned = wal::scan(&bytes).map_err(|corruption| corrupt(&path, &corruption))?;
    if let Some(identity) = &scanned.identity {
        check_identity(dir, identity, node, size)?;
    }

    let mut notes = Vec::new();
    if let Some(torn) = &scanned.torn {
        notes.push(format!("{}: {torn}", path.display()));
        let len = scanned.valid_len as u64;
        file.set_len(len).map_err(|error| DiskError::io(&path, "cut off the unfinished write", &error))?;
    }
    let (disk, end) = match scanned.identity {
        Some(identity) => {
            let last = &bytes[scanned.last_batch_at..scanned.valid_len];
            write_and_sync(&mut file, &path, scanned.last_batch_at, last)?;
            (identity.disk, scanned.valid_len)
        }
        None => {
            let identity = Identity { node, size, disk: DiskId(Random::from_os().next_u64()) };
            let mut header = String::new();
            wal::encode_header(&identity, &mut header);
            directory::sync_parents(dir)?;
            write_and_sync(&mut file, &path, 0, header.as_bytes())?;
            (identity.disk, header.len())
        }
    };
    directory::sync(dir)?;

    let Scanned { persistent, last_batch, .. } = scanned;
    let wal = Wal {
        file,
        path,
        _lock: lock,
        last_batch: last_batch.max(FIRST_BATCH),
        len: end as u64,
        buffer: String::new(),
        syncs: 1,
        failed: false,
    };
    Ok(Opened { wal, persistent, disk, new_disk: scanned.identity.is_none(), notes })
}

impl Wal {
    /// Writes the records as one batch and syncs it: one write, one `fdatasync`. No record, no write.
    ///
    /// # Errors
    /// The write or the sync failed, now or before. The node must end.
    pub fn append(&mut self, records: &[Record]) -> Result<(), DiskError> {
        if self.failed {
            let cure = "end the node: a failed write or sync is never tried again";
            return Err(DiskError::new(&self.path, "the log is closed, for a write to it has failed", cure));
        }
        if records.is_empty() {
            return Ok(());
        }
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
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        Ok(())
    }

    /// How many times the log was synced since it was opened, that time included.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// How long the log is, in bytes.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// The number of the last batch that was written; it grows for as long as the directory lives.
    pub fn last_batch(&self) -> u64 {
        self.last_batch
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts another file in the place of the log, to see it fail.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

/// Reads what the file says is its length, and no more: there are files without an end.
fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(len).unwrap_or(usize::MAX))?;
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Leaves the file at the end of what it wrote, where the next batch goes.
///
/// At boot the last batch is written over itself: whoever was killed before the sync, or by its
/// failure, may have left it in the page cache alone and marked as written, where a sync does not see
/// it. The batches before it were synced, or it would not be there.
fn write_and_sync(file: &mut File, path: &Path, at: usize, bytes: &[u8]) -> Result<(), DiskError> {
    let written = file.seek(SeekFrom::Start(at as u64)).and_then(|_| file.write_all(bytes));
    written.map_err(|error| DiskError::io(path, &format!("write the log at byte {at}"), &error))?;
    file.sync_all().map_err(|error| DiskError::io(path, "sync the log", &error))
}

fn check_identity(dir: &Path, found: &Identity, node: NodeId, size: u64) -> Result<(), DiskError> {
    if found.node != node {
        let what = format!("the directory belongs to {} of {}, but this is {node} of {size}", found.node, found.size);
        let cure =
            format!("start this node with --id {}, or give it a directory of its own with --data-dir", found.node.0);
        return Err(DiskError::new(dir, what, cure));
    }
    if found.size != size {
        let what = format!("the directory was made for {node} of {}, but this is {node} of {size}", found.size);
        let cure = format!(
            "a cluster cannot change its size: start it with --cluster-size {}, or give all its nodes new directories",
            found.size
        );
        return Err(DiskError::new(dir, what, cure));
    }
    Ok(())
}

fn corrupt(path: &Path, corruption: &Corruption) -> DiskError {
    let cure = "the disk has lost what was promised, so this node must not go on with it: if the others are well, move the \
                directory away and start with an empty one, and they will treat it as a node whose disk was wiped";
    DiskError::new(path, corruption.to_string(), cure)
}
