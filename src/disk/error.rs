//! What can be wrong with a node's disk.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::directory::wal_name;
use super::wal::Corruption;

/// Why the node cannot use its directory, or can no longer. Always the end of the node: nothing here
/// is tried again. `Display` is one line: the path, the place in it, what is wrong, the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    pub path: PathBuf,
    /// What is wrong, with the line and the byte where it is known.
    pub what: String,
    pub cure: String,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path.display(), self.what, self.cure)
    }
}

impl std::error::Error for DiskError {}

/// Where everything else is well, this is the way back.
const START_ANEW: &str = "the disk has lost what was promised, so this node must not go on with it: if the others are well, move the \
                          directory away and start with an empty one, and they will treat it as a node whose disk was wiped";

/// A file of the log in this directory must not be used.
pub(super) fn corrupt(dir: &Path, corruption: &Corruption) -> DiskError {
    DiskError::new(&dir.join(wal_name(corruption.file)), corruption.to_string(), START_ANEW)
}

impl DiskError {
    pub(super) fn damaged_snapshot(path: &Path, what: &str) -> DiskError {
        DiskError::new(path, format!("the snapshot cannot be used: {what}"), START_ANEW)
    }

    pub(super) fn new(path: &Path, what: impl Into<String>, cure: impl Into<String>) -> DiskError {
        DiskError { path: path.to_owned(), what: what.into(), cure: cure.into() }
    }

    /// `doing` completes "cannot …".
    pub(super) fn io(path: &Path, doing: &str, error: &io::Error) -> DiskError {
        let cure = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                "make room for it, then start the node again: what it promised is kept"
            }
            ErrorKind::PermissionDenied => {
                "let the user that runs the node read and write it, or choose another directory with --data-dir"
            }
            ErrorKind::ReadOnlyFilesystem => {
                "mount it for writing, or choose a directory on another disk with --data-dir"
            }
            ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                "move away what is there, or choose another directory with --data-dir"
            }
            ErrorKind::InvalidInput | ErrorKind::Unsupported => {
                "it must be a plain file on a disk that can be synced; move it away, or choose another directory with --data-dir"
            }
            _ => "check the disk (the kernel's log may say more), then start the node again: what it promised is kept",
        };
        DiskError::new(path, format!("cannot {doing}: {error}"), cure)
    }
}
