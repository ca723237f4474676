//! The directory of a node: made, locked, synced, and the names of what is in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::error::DiskError;
use super::wal::FIRST_FILE;
use crate::text::number;

const LOCK: &str = "lock";
/// The one file of the log before there were snapshots.
const OLD_WAL: &str = "wal";

/// The name of a file of the log.
pub(super) fn wal_name(number: u64) -> String {
    format!("wal.{number}")
}

/// The name of the snapshot that holds everything before the log file of the same number.
pub(super) fn snapshot_name(number: u64) -> String {
    format!("snapshot.{number}")
}

/// The files of a directory that are this program's.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// By number, in no order.
    pub(super) wals: Vec<u64>,
    pub(super) snapshots: Vec<u64>,
    /// What was never finished.
    pub(super) scraps: Vec<PathBuf>,
    /// The first file of the log still has its old name.
    pub(super) old_name: bool,
}

impl Files {
    pub(super) fn list(dir: &Path) -> Result<Files, DiskError> {
        Files::list_names(dir).map_err(|error| DiskError::io(dir, "list the directory", &error))
    }

    fn list_names(dir: &Path) -> io::Result<Files> {
        let mut files = Files::default();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let numbered = |head: &str, least| number(name.strip_prefix(head)?).filter(|number| *number >= least);
            if let Some(number) = numbered("wal.", FIRST_FILE) {
                files.wals.push(number);
            } else if let Some(number) = numbered("snapshot.", FIRST_FILE + 1) {
                files.snapshots.push(number);
            } else if name == OLD_WAL {
                files.old_name = true;
            } else if name.ends_with(".tmp") && (name.starts_with("snapshot.") || name.starts_with("received.")) {
                files.scraps.push(dir.join(name));
            }
        }
        files.old_name &= !files.wals.contains(&FIRST_FILE);
        if files.old_name {
            files.wals.push(FIRST_FILE);
        }
        Ok(files)
    }

    /// Where a file of the log is at the moment.
    pub(super) fn wal(&self, dir: &Path, number: u64) -> PathBuf {
        if self.old_name && number == FIRST_FILE { dir.join(OLD_WAL) } else { dir.join(wal_name(number)) }
    }
}

/// Reads what the file says is its length, and no more: there are files without an end.
pub(super) fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(len).unwrap_or(usize::MAX))?;
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes all files that a snapshot of this number covers. What cannot be removed now is removed at the
/// next start: it is in nobody's way but the disk's.
pub(super) fn sweep(dir: &Path, snapshot: u64) {
    let Ok(files) = Files::list_names(dir) else { return };
    let wals = files.wals.iter().filter(|number| **number < snapshot).map(|number| files.wal(dir, *number));
    let old = files.snapshots.iter().filter(|number| **number < snapshot);
    for path in wals.chain(old.map(|number| dir.join(snapshot_name(*number)))) {
        let _ = fs::remove_file(path);
    }
}

/// Removes a file, and tells if it cannot.
pub(super) fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(DiskError::io(path, "remove the file", &error)),
        _ => Ok(()),
    }
}

/// Makes the directory if it is missing, and takes its lock. The kernel lets go of it when the file is
/// closed, however the process ends.
pub(super) fn lock(dir: &Path) -> Result<File, DiskError> {
    fs::create_dir_all(dir).map_err(|error| DiskError::io(dir, "make the directory", &error))?;
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| DiskError::io(&path, "open the lock", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DiskError::new(
            dir,
            "the directory is in use by another running node",
            "stop that one, or give this node a directory of its own with --data-dir",
        )),
        Err(TryLockError::Error(error)) => Err(DiskError::io(&path, "lock", &error)),
    }
}

/// Makes the names in the directory durable.
pub(super) fn sync(dir: &Path) -> Result<(), DiskError> {
    sync_names(dir).map_err(|error| DiskError::io(dir, "sync the directory", &error))
}

/// Makes the name of the directory itself durable, and of those above it: any of them may be new, and
/// the process that made it may have been killed before it came to this. One that cannot be opened or
/// does not know syncing was not made by this program.
pub(super) fn sync_parents(dir: &Path) -> Result<(), DiskError> {
    let whole = dir.canonicalize().map_err(|error| DiskError::io(dir, "find the directory", &error))?;
    for parent in whole.ancestors().skip(1) {
        match sync_names(parent) {
            Ok(()) => {}
            Err(error) if tolerable(error.kind()) => {}
            Err(error) => return Err(DiskError::io(parent, "sync the directory", &error)),
        }
    }
    Ok(())
}

fn tolerable(kind: ErrorKind) -> bool {
    use ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(kind, PermissionDenied | InvalidInput | Unsupported | ReadOnlyFilesystem)
}

fn sync_names(dir: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened as a file, and need not be.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
