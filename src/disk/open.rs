//! The start: a directory read, judged, mended and synced.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::directory::{self, Files, snapshot_name, wal_name};
use super::error::{DiskError, corrupt};
use super::file::{Opening, Wal};
use super::record::Identity;
use super::recover::{Recovered, Recovery};
use super::snapshots::{self, SnapshotFile};
use super::wal::{self, FIRST_BATCH, FIRST_FILE};
use crate::raft::types::{DiskId, NodeId, Persistent};
use crate::store::Store;
use crate::text::random::Random;

/// What [`open`] found.
#[derive(Debug)]
pub struct Opened {
    pub wal: Wal,
    /// The log begins where the snapshot ends.
    pub persistent: Persistent,
    /// The state machine as the snapshot holds it: everything through `persistent.base` is applied.
    pub store: Store,
    /// The snapshot itself, if there is one.
    pub snapshot: Option<Arc<SnapshotFile>>,
    pub disk: DiskId,
    /// The directory was empty: the disk was made just now.
    pub new_disk: bool,
    /// What was mended, in words, for the log. Empty after an orderly end.
    pub notes: Vec<String>,
}

/// Opens the directory of a node, or makes it. What this returns is on the disk.
///
/// # Errors
/// The directory is another node's or of a cluster of another size, or another process has it; the log or
/// the snapshot is damaged; any step of reading, cutting or syncing failed. What is refused is left as it
/// is.
pub fn open(dir: &Path, node: NodeId, size: u64) -> Result<Opened, DiskError> {
    let lock = directory::lock(dir)?;
    let files = Files::list(dir)?;
    let (store, snapshot) = load_snapshot(dir, &files)?;
    let (mut lengths, mut opening) = (Vec::new(), Opening::default());
    let numbered = snapshot.as_ref().map(|(number, file)| (*number, file));
    let found = read_log(dir, &files, numbered, &mut lengths, &mut opening)?;
    if let Some(identity) = &found.identity {
        check_identity(dir, identity, node, size)?;
    }

    // From here on it is ours.
    let mut notes = Vec::new();
    let first = dir.join(wal_name(FIRST_FILE));
    if files.old_name {
        let old = files.wal(dir, FIRST_FILE);
        fs::rename(&old, &first).map_err(|error| DiskError::io(&old, "rename it to wal.1", &error))?;
        notes.push(format!("{}: this was the file wal before there were snapshots", first.display()));
    }
    notes.extend(found.torn.iter().map(|torn| dir.join(torn).display().to_string()));
    let path = dir.join(wal_name(found.active));
    let mut file = open_log(&path, true)?;
    let (identity, len) = match found.identity {
        Some(identity) => (identity, mend(&mut file, &path, &found)?),
        None => {
            let identity = Identity { node, size, disk: DiskId(Random::from_os().next_u64()) };
            make(&mut file, dir, &path, identity, found.torn.is_some())?
        }
    };
    directory::sync(dir)?;
    remove_garbage(dir, &files, &found)?;

    lengths.retain(|(number, _)| *number < found.active);
    let wal = Wal::new(dir, lock, identity, (file, path), (found.active, found.last_batch.max(FIRST_BATCH), len));
    let wal = wal.after(lengths, snapshot.clone(), opening);
    let snapshot = snapshot.map(|(_, file)| file);
    let new_disk = found.identity.is_none();
    Ok(Opened { wal, persistent: found.persistent, store, snapshot, disk: identity.disk, new_disk, notes })
}

type Numbered = (u64, Arc<SnapshotFile>);

/// The snapshot with the highest number; those with lower ones are garbage. Without it the node must not
/// start, however whole an older one looks: what followed that one may be deleted already.
fn load_snapshot(dir: &Path, files: &Files) -> Result<(Store, Option<Numbered>), DiskError> {
    let Some(number) = files.snapshots.iter().copied().max() else { return Ok((Store::new(), None)) };
    let path = dir.join(snapshot_name(number));
    let file = File::open(&path).map_err(|error| DiskError::io(&path, "open the snapshot", &error))?;
    let (meta, store) = snapshots::load(&path, &file)?;
    Ok((store, Some((number, Arc::new(SnapshotFile::new(meta, file))))))
}

/// Reads the files of the log one by one, and notes their lengths and what the last that counts opens with.
fn read_log(
    dir: &Path,
    files: &Files,
    snapshot: Option<(u64, &Arc<SnapshotFile>)>,
    lengths: &mut Vec<(u64, u64)>,
    opening: &mut Opening,
) -> Result<Recovered, DiskError> {
    let snapshot = snapshot.map(|(number, file)| (number, file.meta()));
    let mut recovery = Recovery::new(snapshot, files.wals.clone()).map_err(|wrong| corrupt(dir, &wrong))?;
    for number in recovery.files() {
        let mut bytes = Vec::new();
        if files.wals.contains(&number) {
            let path = files.wal(dir, number);
            let mut file = open_log(&path, false)?;
            bytes = directory::read(&mut file).map_err(|error| DiskError::io(&path, "read the log", &error))?;
        }
        if let Some((base, _)) = recovery.read(number, &bytes).map_err(|wrong| corrupt(dir, &wrong))? {
            *opening = Opening { through: base.index, bytes: wal::bytes_before_entries(&bytes) };
        }
        lengths.push((number, bytes.len() as u64));
    }
    Ok(recovery.finish())
}

/// Cuts off what was never finished, and writes what was written last over itself.
///
/// Whoever was killed before the sync, or by its failure, may have left it in the page cache alone and
/// marked as written, where a sync does not see it. What was written before it was synced, or it would
/// not be there. Leaves the file at its end, where the next batch goes.
fn mend(file: &mut File, path: &Path, found: &Recovered) -> Result<u64, DiskError> {
    let (at, len) = (found.last_batch_at as u64, found.valid_len as u64);
    let mut last = vec![0; found.valid_len - found.last_batch_at];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut last))
        .map_err(|error| DiskError::io(path, "read the last batch", &error))?;
    if found.torn.is_some() {
        cut(file, path, len)?;
    }
    write_and_sync(file, path, at, &last)?;
    Ok(len)
}

/// Makes the first file of a new disk.
fn make(
    file: &mut File,
    dir: &Path,
    path: &Path,
    identity: Identity,
    torn: bool,
) -> Result<(Identity, u64), DiskError> {
    let mut header = String::new();
    wal::encode_header(&identity, &mut header);
    directory::sync_parents(dir)?;
    if torn {
        cut(file, path, 0)?;
    }
    write_and_sync(file, path, 0, header.as_bytes())?;
    Ok((identity, header.len() as u64))
}

fn cut(file: &File, path: &Path, len: u64) -> Result<(), DiskError> {
    file.set_len(len).map_err(|error| DiskError::io(path, "cut off the unfinished write", &error))
}

fn open_log(path: &Path, anew: bool) -> Result<File, DiskError> {
    let file = OpenOptions::new().read(true).write(true).create(anew).truncate(false).open(path);
    file.map_err(|error| DiskError::io(path, "open the log", &error))
}

fn write_and_sync(file: &mut File, path: &Path, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
    let written = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes));
    written.map_err(|error| DiskError::io(path, &format!("write the log at byte {at}"), &error))?;
    file.sync_all().map_err(|error| DiskError::io(path, "sync the log", &error))
}

/// Removes what counts no longer, or never did, for good: a log file that was thrown away must not come
/// back behind what is written from now on.
fn remove_garbage(dir: &Path, files: &Files, found: &Recovered) -> Result<(), DiskError> {
    let wals = found.discard.iter().map(|number| dir.join(wal_name(*number)));
    let snapshots = files.snapshots.iter().filter(|number| Some(**number) != found.snapshot);
    let snapshots = snapshots.map(|number| dir.join(snapshot_name(*number)));
    let garbage: Vec<_> = wals.chain(snapshots).chain(files.scraps.iter().cloned()).collect();
    for path in &garbage {
        directory::remove(path)?;
    }
    if garbage.is_empty() { Ok(()) } else { directory::sync(dir) }
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
