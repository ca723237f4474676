//! raft-lab: three nodes keep one replicated log of strings, and lists of strings under other keys.
//!
//! A Raft small enough to read in an evening and good enough to trust: the standard library alone,
//! threads, lines of text on the wire and on disk. README.md is for those who run it; this page is
//! for those who read it.
//!
//! # Where to begin
//!
//! 1. [`raft::types`], [`raft::message`], [`raft::ready`]: the words, what nodes say to each other,
//!    what goes into the algorithm and what comes out.
//! 2. [`raft`]: one step of it; then `raft/election.rs` (§5.2) and `raft/replication.rs` (§5.3, §5.4); then
//!    `raft/reads.rs` (thesis §6.4), `raft/snapshot.rs` (§7) and `raft/readmit.rs`.
//! 3. `node/raft_loop.rs`: the one thread that owns everything, and the order of send, sync, answer.
//!    `node/compaction.rs`: what of a snapshot is the loop's, and what is done beside it. `node/faults.rs`: how a
//!    client may break a node on purpose, and where that bites.
//! 4. [`disk::wal`], [`snapshot`] and [`wire`]: the same text on disk and on the wire. [`store`]: exactly once.
//! 5. `tests/transcripts/`: what nodes say in sixty corners of the protocol, a story a file.
//! 6. `tests/simulation/`: whole clusters under every fault, replayed from a seed.
//!
//! # Three laws
//!
//! 1. **The algorithm is pure.** [`raft`] knows no clock, socket, disk, thread or dice; inputs are
//!    data, time too, and what it wants done comes back as a [`raft::ready::Ready`]. It cannot fail
//!    and cannot block. `tests/tidy.rs` guards this.
//! 2. **One owner for each piece of state; threads share by message.** There is no lock around the
//!    algorithm, so nobody ever waits for a disk under one, and a queue is a batch for free.
//! 3. **Only a leader's AppendEntries may overtake its own disk** (thesis §10.2.1). Votes,
//!    acknowledgements, answers and log lines leave after what they depend on is synced; the leader
//!    counts its own copy only once it is durable.
//!
//! # Floors: each imports only what is below it
//!
//! ```text
//! 3  node/      the threads, their queues and limits       main.rs: settings, then node::run
//! 2  wire/      lines between nodes and with clients       disk/: the log's files, snapshot files
//!    store/     keys with lists of strings, the sessions   snapshot.rs: a store as text
//!    settings.rs, cluster.rs, paint.rs                  logs/: the nodes' logs read back and judged
//! 1  raft/      the algorithm, its events; safety and audit: Raft's properties, judged from the events
//! 0  text/      quoting, tokens, checksum, random numbers
//! ```
//!
//! `client/` is a program of its own on the same library: one file a command.
//!
//! # Threads
//!
//! ```text
//! listener ─▶ conn-1, conn-2, … (decode) ─┐
//! election-timer ─────────────────────────┼─▶ inbox ─▶ raft-loop ─▶ outboxes ─▶ to-node_2, to-node_3 (encode)
//! heartbeat ──────────────────────────────┤              ├─▶ replies ─▶ conn-1, conn-2, …
//! snapshots (make, store, free) ──────────┘              ├─▶ jobs ─▶ snapshots
//!                                                        └─▶ event-log ─▶ standard output, watchers
//! ```
//!
//! A short-lived `disk-sweep` deletes the files that a snapshot has replaced. Every queue is bounded;
//! `node/limits.rs` says how far, and what happens then. No signal can be caught with std, so a node lives
//! crash-only: it ends with its process, at any moment.
//!
//! # What is left out
//!
//! Membership changes (§6), since the lab's cluster is fixed. TLS and passwords, since the nodes'
//! port is for their own network. Byzantine faults, which are not Raft's subject. Leases for
//! reads (thesis §6.4.1), since they trust in clocks: each read costs a round to a majority, shared by all that
//! wait. Reads at followers: they send to the leader, which must be asked in any case. Deleting a key: its list
//! can be emptied. A snapshot is written whole each time (§7 names incremental ones).

pub mod cluster;
pub mod disk;
pub mod logs;
pub mod node;
pub mod paint;
pub mod raft;
pub mod settings;
pub mod snapshot;
pub mod store;
pub mod text;
pub mod wire;

#[cfg(test)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;
