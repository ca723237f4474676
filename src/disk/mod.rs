//! What a node keeps: one directory with a write-ahead log and a lock.
//!
//! `wal`: text, one record a line ([`wal`] has the format and what is read from it after a crash).
//! `lock`: held while the node runs; its content means nothing.
//!
//! # What is promised
//!
//! - [`Wal::append`] returns once the batch is on the disk: one write, one `fdatasync`. After a
//!   failure nothing may be written any more and the node must end: after a failed sync the kernel
//!   may forget the pages that it could not write and report success the next time.
//! - [`open`] returns what was synced, and perhaps one batch more that was written whole; that one is
//!   written and synced again before it counts. (A batch that a killed node left in the page cache is
//!   not on the disk yet; and after a failed sync the cache may hold what the disk does not.)
//! - An unfinished last batch is cut off and told. Anything else that is wrong is an error: a node
//!   that has lost what it promised must not take part.
//!
//! # What is not seen
//!
//! Damage in the very last batch looks like an unfinished write and is cut off. A disk that lies
//! about a sync, or a log replaced by an older copy of itself, cannot be told at all.

mod directory;
mod error;
mod file;
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
