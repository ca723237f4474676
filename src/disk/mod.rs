//! What a node keeps: one directory with a log, a snapshot in the place of its beginning, and a lock.
//!
//! - `wal.1`, `wal.2` …: the log, text, one record a line ([`wal`] has the format and what is read from it
//!   after a crash). Batches go to the file with the highest number.
//! - `snapshot.N`: the state machine, text ([`crate::snapshot`] has the format): everything before `wal.N`
//!   begins. The node's log is the snapshot with the highest number, if there is one, then `wal.N`,
//!   `wal.N+1` … What has a lower number counts for nothing and is deleted.
//! - `snapshot.N.tmp`, `received.K.tmp`: snapshots that are being made or received; removed at a start.
//! - `lock`: held while the node runs; its content means nothing.
//!
//! Every log file begins with the record that names the node and its disk. Every one after the first
//! goes on with an opening: the base (which entry its snapshot goes through), term and vote, the disks,
//! and all entries behind the base. So a log file with its snapshot needs no older file.
//!
//! # How the log gets shorter
//!
//! 1. The loop closes the log file ([`Wal::seal`]): `wal.N+1` is written with its opening and synced, then
//!    the directory.
//! 2. Another thread replays `snapshot.K`, `wal.K` … `wal.N` through the new base ([`Sealed::make`]), writes
//!    `snapshot.N+1.tmp`, syncs it and reads it back.
//! 3. The loop renames it to `snapshot.N+1` and syncs the directory ([`Wal::publish`]).
//! 4. A thread deletes the files with lower numbers.
//!
//! A leader's snapshot is stored in `received.K.tmp` and synced ([`Receiver`]). Then the loop
//! ([`Wal::install`]) writes `wal.N+1` with its opening and syncs it and the directory, renames the snapshot
//! to `snapshot.N+1`, syncs the directory; and the files with lower numbers are deleted.
//!
//! # What a crash leaves, and what the next start makes of it
//!
//! | where it came | what is there | what counts |
//! |---|---|---|
//! | in a batch | a last file that ends in it | what is before it; it is cut off and told |
//! | in `seal`, or `install` | a last file without a whole opening | the files before it; it is removed and told |
//! | after `seal` | `wal.N+1`, no snapshot of its number | all files; its base is in the log before it |
//! | in `install`, before the rename | `wal.N+1` with a base that the log before it has not | the files before it; it is removed and told |
//! | after the rename | `snapshot.N+1`, and any of the files with lower numbers | the snapshot and `wal.N+1`; the others are deleted |
//!
//! Anything else is damage: a file that is missing, a bad record anywhere but at the end of the last
//! file, a snapshot whose checksum does not match, a base that is not what its snapshot says.
//!
//! # What is promised
//!
//! - [`Wal::append`] returns once the batch is on the disk: one write, one `fdatasync`. After a
//!   failure, here or in any other step, nothing may be written any more and the node must end: after a
//!   failed sync the kernel may forget the pages that it could not write and report success the next
//!   time.
//! - [`open`] returns what was synced, and perhaps one batch more that was written whole; that one is
//!   written and synced again before it counts. (A batch that a killed node left in the page cache is
//!   not on the disk yet; and after a failed sync the cache may hold what the disk does not.)
//! - An unfinished last write is cut off and told. Anything else that is wrong is an error: a node
//!   that has lost what it promised must not take part.
//!
//! # What is not seen
//!
//! Damage in the very last batch looks like an unfinished write and is cut off. A disk that lies
//! about a sync, or a log replaced by an older copy of itself, cannot be told at all.

#[cfg(test)]
mod crash_tests;
mod directory;
mod error;
mod file;
#[cfg(test)]
mod files_tests;
mod open;
mod record;
mod recover;
mod snapshots;
#[cfg(test)]
mod tests;
pub mod wal;

pub use error::DiskError;
pub use file::Wal;
pub use open::{Opened, open};
pub use record::Identity;
pub use recover::{Recovered, recover};
pub use snapshots::{Made, Received, Receiver, Sealed, SnapshotFile, Stored};
