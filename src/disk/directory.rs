//! The directory of a node: made, locked, synced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::error::DiskError;

const LOCK: &str = "lock";

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
