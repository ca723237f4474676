//! The wire format: one line, one message, UTF-8, ended by `\n`; between nodes and between client
//! and node, on one port. A person can speak it with `nc`.
//!
//! - [`lines`]: bytes to lines, with the limits that keep a stranger from harming the node
//! - [`entry`]: the text of an entry, shared with the log on disk
//! - [`peer`]: `hello` and the messages of the algorithm
//! - [`fault`]: faults that a person orders
//! - [`client`]: requests and answers; `status`: the one that says how a node is
//!
//! Everything is strict: fields in one order, nothing unknown, nothing twice, each number within a
//! named limit. No encoder adds the `\n`; the caller does.

pub mod client;
pub mod entry;
pub mod fault;
pub mod lines;
pub mod peer;
mod status;

pub use crate::text::TextError as WireError;

/// The longest line, in bytes, its `\n` included: 1 MiB. A full AppendEntries
/// ([`MAX_APPEND_BYTES`](crate::raft::progress::MAX_APPEND_BYTES)) takes little more than half.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

// Floor 0 does not know floor 1, so the limit stands in both; it is one.
const _: () = assert!(crate::text::MAX_NUMBER == crate::raft::types::MAX_NUMBER);
