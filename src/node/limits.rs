//! Everything of a running node that can grow, and how far. What is full says so or waits: each
//! limit's comment says which.

use std::time::Duration;

/// Items that wait for the raft loop. Full: whoever brings more waits, and TCP slows its sender.
pub const INBOX_ITEMS: usize = 8192;
/// Bytes of text in those items. Full: as above.
pub const INBOX_BYTES: usize = 16 * 1024 * 1024;

/// Messages that wait for a peer's sender thread; as many again may be on their way behind a delay that was ordered.
/// Full: a new one is dropped; Raft repairs it (§5.5).
pub const OUTBOX_MESSAGES: usize = 1024;
/// Bytes of text in those messages. Full: as above.
pub const OUTBOX_BYTES: usize = 16 * 1024 * 1024;
/// A sender gathers messages up to about this many bytes for one write.
pub const SEND_BYTES: usize = 256 * 1024;

/// Jobs that wait for the snapshot thread, and bytes of a leader's snapshot in them. Full: a piece is thrown away
/// and asked for again; what was to be freed there is freed where it is.
pub const SNAPSHOT_JOBS: usize = 64;
pub const SNAPSHOT_JOB_BYTES: usize = 4 * 1024 * 1024;

/// Events that wait for the event log's writer. Full: nobody reads the log, and the node ends.
pub const EVENT_QUEUE_EVENTS: usize = 64 * 1024;
/// The text that the event log gathers for one write, in bytes.
pub const EVENT_WRITE_BYTES: usize = 64 * 1024;
/// The most bytes of one write to standard output. A pipe takes a larger one in many steps and tells of
/// none before the last: a reader who is slow would look like one who takes nothing.
pub const EVENT_PIECE_BYTES: usize = 4 * 1024;
/// Bytes of events that wait for one `watch`. Full: the watcher reads too slowly and is disconnected.
pub const WATCHER_BYTES: usize = 1024 * 1024;
/// Watchers at a time. One more takes the place of the oldest, which may be gone: where nothing happens
/// nothing is written, and only a write tells.
pub const MAX_WATCHERS: usize = 64;

/// Clients connected at a time. One more gets an error line. Lower where fewer files may be open.
pub const MAX_CLIENTS: usize = 10_240;
/// Places beyond [`MAX_CLIENTS`] for whoever opens with a `hello` at once, so that clients cannot
/// shut out the other nodes.
pub const PEER_PLACES: usize = 64;
/// Files that are not connections: the log, the lock, standard streams, the sender threads' own.
pub const OTHER_FILES: usize = 48;

/// Requests of one connection that are under way together. The next ones stay in the socket.
pub const PIPELINED_REQUESTS: usize = 1024;
/// Answers are written when they have gathered to about this many bytes.
pub const ANSWER_BYTES: usize = 256 * 1024;
/// CLIENT events in a second. Beyond, they are counted and told as one line.
pub const CLIENT_EVENTS_PER_SECOND: u32 = 20;

/// Before a pause or a crash that was ordered the log gets so long to be written, and the answer too.
pub const LAST_WORDS: Duration = Duration::from_secs(1);
/// A line that has begun must be complete within this; between lines a connection may be idle.
pub const LINE_TIMEOUT: Duration = Duration::from_secs(10);
/// In the places kept for peers, the first line must come within this.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// A request that has no answer after this long is told so, and its connection is closed. Only a leader
/// without a majority is so slow, and without check-quorum it may be so for ever.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that takes no byte of its answer for this long is disconnected.
pub const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that takes no byte for this long is disconnected.
pub const PEER_WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection to a peer must stand within this, for each address of its name.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause before a peer is tried again: from the first, doubling, to the second, with jitter.
pub const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// So many attempts must fail in a row before a peer is called offline: nodes that start together
/// find each other without a word.
pub const OFFLINE_AFTER_ATTEMPTS: u32 = 3;
/// The pause after an accept that failed, for want of file descriptors for example: without it the
/// listener would spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Stacks. A connection keeps its buffers on the heap; the kernel backs only the pages that are
/// touched, so an idle connection costs some 16 KiB.
pub const CONNECTION_STACK: usize = 128 * 1024;
/// Timers, senders and their watchers.
pub const SMALL_STACK: usize = 256 * 1024;
/// The raft loop, the event log, the listener, the snapshot thread.
pub const LARGE_STACK: usize = 2 * 1024 * 1024;
