//! Snapshots as files: made from the log, received from a leader, read piece by piece.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::directory::{self, snapshot_name, wal_name};
use super::error::{DiskError, corrupt};
use super::recover::Recovery;
use super::wal::{self, Corruption};
use crate::raft::ready::StoreChunk;
use crate::raft::types::{Disk, EntryId, NodeId, SnapshotMeta};
use crate::snapshot::{self, SnapshotError};
use crate::store::Store;

/// A snapshot in its place, open for those who send it. It can be read for as long as somebody holds
/// this, though a newer one has taken its place and its name is gone.
#[derive(Debug)]
pub struct SnapshotFile {
    meta: SnapshotMeta,
    /// Several senders read the one file, each for the time of one piece; the loop never does.
    file: Mutex<File>,
}

impl SnapshotFile {
    pub(super) fn new(meta: SnapshotMeta, file: File) -> SnapshotFile {
        SnapshotFile { meta, file: Mutex::new(file) }
    }

    pub fn meta(&self) -> SnapshotMeta {
        self.meta
    }

    /// The text from byte `offset` on, at most `bytes` bytes of it: whole characters, at least one. Empty
    /// at the end of the snapshot.
    ///
    /// # Errors
    /// The file cannot be read, it is not text there, `offset` lies within a character or behind the end,
    /// or not one character fits into `bytes`.
    pub fn chunk(&self, offset: u64, bytes: usize) -> io::Result<String> {
        let left = self.meta.bytes.checked_sub(offset).ok_or(ErrorKind::InvalidInput)?;
        let mut piece = vec![0; bytes.min(usize::try_from(left).unwrap_or(usize::MAX))];
        {
            // A sender that ended amid this has left nothing half done: each begins with a seek.
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut piece)?;
        }
        if let Err(error) = str::from_utf8(&piece) {
            if error.error_len().is_some() || (error.valid_up_to() == 0 && !piece.is_empty()) {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("no whole character at byte {offset}")));
            }
            piece.truncate(error.valid_up_to());
        }
        if piece.is_empty() && left > 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        String::from_utf8(piece).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }
}

/// A file that is removed again, unless it has found its place.
#[derive(Debug)]
struct Scrap(Option<PathBuf>);

impl Scrap {
    /// Gives it its final name. Not durable before the directory is synced.
    fn rename(mut self, to: &Path) -> Result<(), DiskError> {
        let Some(path) = self.0.take() else { return Ok(()) };
        fs::rename(&path, to).map_err(|error| DiskError::io(&path, &format!("rename it to {}", to.display()), &error))
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Nothing depends on it; what is left is removed at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// A snapshot that is whole, synced and proven right, under a name that counts for nothing yet.
#[derive(Debug)]
pub(super) struct Whole {
    meta: SnapshotMeta,
    file: File,
    scrap: Scrap,
}

impl Whole {
    /// Puts it in its place, with the directory synced.
    pub(super) fn publish(self, dir: &Path, number: u64) -> Result<SnapshotFile, DiskError> {
        self.scrap.rename(&dir.join(snapshot_name(number)))?;
        directory::sync(dir)?;
        Ok(SnapshotFile::new(self.meta, self.file))
    }
}

/// The files that a new file of the log has closed: what a snapshot is made of, off the loop.
#[derive(Debug)]
pub struct Sealed {
    pub(super) dir: PathBuf,
    /// The number that the snapshot will have.
    pub(super) number: u64,
    /// What it goes through: the base of the log file of that number.
    pub(super) base: (EntryId, u32),
    /// All are open: their names may go before this is done.
    pub(super) snapshot: Option<(u64, SnapshotMeta, File)>,
    pub(super) wals: Vec<(u64, File)>,
}

/// A snapshot made of the log, ready to be published ([`Wal::publish`](super::Wal::publish)). Dropped, it
/// leaves nothing behind.
#[derive(Debug)]
pub struct Made {
    pub(super) number: u64,
    pub(super) whole: Whole,
}

impl Made {
    pub fn meta(&self) -> SnapshotMeta {
        self.whole.meta
    }
}

impl Sealed {
    /// Replays the files into a state machine and writes its snapshot, synced, under the name
    /// `snapshot.N.tmp`. Takes its time, and the memory of one state machine and one file of the log.
    ///
    /// # Errors
    /// A file cannot be read, is not what it was when it was closed, or the snapshot cannot be written,
    /// synced or read back. The node must end.
    pub fn make(self) -> Result<Made, DiskError> {
        let Sealed { dir, number, base, snapshot, wals } = self;
        let (meta, mut store) = match snapshot {
            Some((number, meta, file)) => {
                let path = dir.join(snapshot_name(number));
                let (found, store) = load(&path, &file)?;
                if found != meta {
                    return Err(DiskError::damaged_snapshot(&path, "it is not what it was when the node started"));
                }
                (Some((number, meta)), store)
            }
            None => (None, Store::new()),
        };
        // The file of this number is the last: those before it must be whole.
        let numbers = wals.iter().map(|(number, _)| *number).chain([number]).collect();
        let mut recovery = Recovery::new(meta, numbers).map_err(|wrong| corrupt(&dir, &wrong))?;
        for (number, mut file) in wals {
            let path = dir.join(wal_name(number));
            let bytes = directory::read(&mut file).map_err(|error| DiskError::io(&path, "read the log", &error))?;
            let opening = recovery.read(number, &bytes).map_err(|wrong| corrupt(&dir, &wrong))?;
            // What a file opens with was committed, so it need not be kept any longer.
            if let Some(base) = opening {
                replay(&mut recovery, &mut store, number, base).map_err(|wrong| corrupt(&dir, &wrong))?;
            }
        }
        replay(&mut recovery, &mut store, number, base).map_err(|wrong| corrupt(&dir, &wrong))?;
        drop(recovery);
        let whole = write(&dir, number, base, store)?;
        Ok(Made { number, whole })
    }
}

/// Applies all entries through the base of a file, and forgets them.
fn replay(
    recovery: &mut Recovery,
    store: &mut Store,
    number: u64,
    (id, sum): (EntryId, u32),
) -> Result<(), Corruption> {
    let log = recovery.persistent();
    let found = if log.has(id) { wal::sum_through(log, id) } else { 0 };
    if !log.has(id) || found != sum {
        let what = format!("its base {id} sum={sum:08x} is not what the log before it has there ({found:08x})");
        return Err(Corruption { file: number, line: 2, offset: 0, what });
    }
    let count = (id.index - log.base.index) as usize;
    for entry in &log.entries[..count] {
        store.apply(entry);
    }
    log.compact(id, sum);
    Ok(())
}

/// Writes a snapshot and reads it back: the log that it stands for will be deleted.
fn write(dir: &Path, number: u64, (last, sum): (EntryId, u32), store: Store) -> Result<Whole, DiskError> {
    let path = dir.join(format!("{}.tmp", snapshot_name(number)));
    let failed = |error: io::Error| DiskError::io(&path, "write the snapshot", &error);
    let file = create(&path)?;
    let scrap = Scrap(Some(path.clone()));
    let mut out = BufWriter::new(&file);
    let meta = snapshot::write(&store, last, sum, &mut out).map_err(failed)?;
    out.flush().map_err(failed)?;
    drop(out);
    drop(store);
    file.sync_all().map_err(|error| DiskError::io(&path, "sync the snapshot", &error))?;
    let (found, _) = load(&path, &file)?;
    if found != meta {
        return Err(DiskError::damaged_snapshot(&path, "it reads back as another one than was written"));
    }
    Ok(Whole { meta, file, scrap })
}

/// Reads a snapshot from its beginning and proves it.
pub(super) fn load(path: &Path, mut file: &File) -> Result<(SnapshotMeta, Store), DiskError> {
    file.seek(SeekFrom::Start(0)).map_err(|error| DiskError::io(path, "read the snapshot", &error))?;
    snapshot::read(&mut BufReader::new(file)).map_err(|wrong| match wrong {
        SnapshotError::Io(error) => DiskError::io(path, "read the snapshot", &error),
        wrong => DiskError::damaged_snapshot(path, &wrong.to_string()),
    })
}

/// No two have the same name, and what an earlier process has left was removed at the start.
fn create(path: &Path) -> Result<File, DiskError> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    file.map_err(|error| DiskError::io(path, "make the file", &error))
}

/// Stores the snapshots that a leader sends, piece by piece, off the loop. One at a time: a piece with
/// offset 0 throws away what is there.
#[derive(Debug)]
pub struct Receiver {
    dir: PathBuf,
    /// Each gets a name of its own: one that is whole may not be installed yet when the next one begins.
    begun: u64,
    receiving: Option<Receiving>,
}

#[derive(Debug)]
struct Receiving {
    meta: SnapshotMeta,
    through: u64,
    path: PathBuf,
    file: File,
    scrap: Scrap,
}

/// What became of a piece.
#[derive(Debug)]
pub enum Received {
    /// So many bytes are stored; more are to come.
    Through(u64),
    Whole(Stored),
    /// It does not fit, or the whole is not what was announced: why. All of it is thrown away.
    Broken(String),
}

/// A snapshot of a leader: whole, synced and proven right ([`Wal::install`](super::Wal::install)). Dropped, it
/// leaves nothing behind.
#[derive(Debug)]
pub struct Stored {
    pub(super) whole: Whole,
    pub(super) store: Store,
}

impl Stored {
    pub fn meta(&self) -> SnapshotMeta {
        self.whole.meta
    }

    /// The nodes that were readmitted, and the disks with which they count.
    pub fn readmitted(&self) -> Vec<(NodeId, Disk)> {
        self.store.readmitted().iter().map(|(node, disk)| (*node, *disk)).collect()
    }
}

impl Receiver {
    /// `dir` is the directory of the node, which must be open.
    pub fn new(dir: &Path) -> Receiver {
        Receiver { dir: dir.to_owned(), begun: 0, receiving: None }
    }

    /// Writes a piece behind those before it. Only the last one is synced, with all the others.
    ///
    /// # Errors
    /// It cannot be written or synced. The node must end.
    pub fn store(&mut self, chunk: &StoreChunk) -> Result<Received, DiskError> {
        if chunk.offset == 0 {
            // The old one's file is removed with it.
            self.receiving = None;
            self.receiving = Some(self.begin(chunk.meta)?);
        }
        let Some(mut receiving) = self.receiving.take() else {
            return Ok(Received::Broken(format!(
                "a piece from byte {} of one of which nothing is stored",
                chunk.offset
            )));
        };
        let (meta, through) = (receiving.meta, receiving.through + chunk.data.len() as u64);
        if meta != chunk.meta || receiving.through != chunk.offset || through > meta.bytes {
            let what = format!(
                "bytes {}..{} of the one through {} do not follow the {} bytes that are stored of the one through {}",
                chunk.offset,
                chunk.offset + chunk.data.len() as u64,
                chunk.meta.last,
                receiving.through,
                meta.last
            );
            return Ok(Received::Broken(what));
        }
        let Receiving { file, path, .. } = &mut receiving;
        file.write_all(chunk.data.as_bytes())
            .map_err(|error| DiskError::io(path, &format!("write the snapshot at byte {}", chunk.offset), &error))?;
        receiving.through = through;
        if through < meta.bytes {
            self.receiving = Some(receiving);
            return Ok(Received::Through(through));
        }
        receiving.finish()
    }

    fn begin(&mut self, meta: SnapshotMeta) -> Result<Receiving, DiskError> {
        self.begun += 1;
        let path = self.dir.join(format!("received.{}.tmp", self.begun));
        let file = create(&path)?;
        Ok(Receiving { meta, through: 0, scrap: Scrap(Some(path.clone())), path, file })
    }
}

impl Receiving {
    fn finish(self) -> Result<Received, DiskError> {
        let Receiving { meta, path, mut file, scrap, .. } = self;
        file.sync_all().map_err(|error| DiskError::io(&path, "sync the snapshot", &error))?;
        file.seek(SeekFrom::Start(0)).map_err(|error| DiskError::io(&path, "read the snapshot", &error))?;
        let (found, store) = match snapshot::read(&mut BufReader::new(&file)) {
            Ok(read) => read,
            Err(SnapshotError::Io(error)) => return Err(DiskError::io(&path, "read the snapshot", &error)),
            Err(wrong) => return Ok(Received::Broken(wrong.to_string())),
        };
        if found != meta {
            let what = format!("it goes through {} with {} bytes, crc={:08x}", found.last, found.bytes, found.crc);
            return Ok(Received::Broken(format!("{what}, not as it was announced")));
        }
        Ok(Received::Whole(Stored { whole: Whole { meta, file, scrap }, store }))
    }
}
