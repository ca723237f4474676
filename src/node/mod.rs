//! A running node: its threads and what they share.
//!
//! ```text
//! listener ─▶ connections (decode) ─┐
//! election timer ───────────────────┼─▶ inbox ─▶ RAFT LOOP ─▶ outboxes ─▶ senders (encode)
//! heartbeat ────────────────────────┤              ├─▶ replies ─▶ connections
//! snapshots ────────────────────────┘              ├─▶ jobs ─▶ snapshots (make, store, free)
//!                                                  └─▶ event log ─▶ standard output, watchers
//! ```
//!
//! The state of the algorithm, the disk and the state machine belong to the loop alone. The other
//! threads bring it inputs and take away what it has to say, through queues whose limits are in
//! `limits`. A node ends with its process, whenever that is: there is nothing to shut down.

mod answers;
mod client_lines;
mod clock;
mod compaction;
mod connection;
mod election_timer;
mod event_log;
mod faults;
mod heartbeat;
mod inbox;
mod limits;
mod listener;
mod peers;
mod queue;
mod raft_loop;
mod snapshots;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::net::TcpListener;
use std::process::exit;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::disk::{self, Receiver};
use crate::raft::event::{Event, Fact};
use crate::raft::types::{NodeId, Role};
use crate::raft::{Config, Raft};
use crate::settings::{Color, Settings};
use crate::wire::peer::Hello;
use clock::Clock;
use compaction::Compaction;
use election_timer::Alarm;
use event_log::EventLog;
use faults::{Faults, Gate};
use heartbeat::Metronome;
use inbox::Inbox;
use limits::{INBOX_BYTES, INBOX_ITEMS, LARGE_STACK, SMALL_STACK};
use peers::{Link, Sender};
use queue::Queue;
use raft_loop::RaftLoop;

/// A peer that was asked is waited for at least so long, however short the election timeout.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);

/// What all threads of a node may read.
struct Shared {
    /// Who this node is; what it says first on each connection to a peer.
    own: Hello,
    cluster: Cluster,
    clock: Clock,
    inbox: Inbox,
    /// One for each peer.
    links: BTreeMap<NodeId, Arc<Link>>,
    log: EventLog,
    /// Closed while the node is paused by a fault.
    gate: Gate,
    faults: Faults,
}

/// Runs a node until its process ends. It returns only with an error that kept it from starting; the
/// text names what is wrong and the cure.
pub fn run(settings: Settings) -> Result<(), String> {
    end_on_panic();
    if settings.stop_with_stdin {
        end_with_stdin()?;
    }
    let faults = Faults::new(settings.faults);
    let away = faults::stay_away();
    let clock = Clock::start();
    let colors = match settings.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    let log = EventLog::start(clock, settings.election_timeout.0, colors).map_err(no_thread)?;
    // The port first: whoever runs a second node by mistake must not touch the first one's disk.
    let listener = TcpListener::bind(&settings.listen)
        .map_err(|error| format!("cannot listen at {}: {error}; --listen (LISTEN) changes it", settings.listen))?;

    let (id, size) = (settings.id, settings.cluster.size());
    let opened = disk::open(&settings.data_dir, id, size).map_err(|error| {
        let fact = Fact::Error { text: error.to_string() };
        log.tell(vec![Event { at: clock.now(), node: id, term: 0, role: Role::Follower, fact }]);
        log.flush(Duration::from_secs(1));
        error.to_string()
    })?;
    let config = Config {
        id,
        size,
        disk: opened.disk,
        new_disk: opened.new_disk,
        pre_vote: settings.pre_vote,
        election_timeout: settings.election_timeout,
        heartbeat_interval: settings.heartbeat_interval,
        settings: settings.told(),
        #[cfg(test)]
        mutant: None,
    };
    let snapshot = opened.snapshot.as_ref().map(|file| file.meta());
    let (raft, ready) = Raft::new(config, opened.persistent, snapshot, clock.now());

    let inbox: Inbox = Arc::new(Queue::new(INBOX_ITEMS, INBOX_BYTES));
    let own = Hello { node: id, size, disk: opened.disk };
    let links = settings.cluster.others(id).map(|(peer, _)| (peer, Arc::new(Link::new(clock)))).collect();
    let cluster = settings.cluster.clone();
    let gate = Gate::new(clock);
    let node = Arc::new(Shared { own, cluster, clock, inbox: inbox.clone(), links, log, gate: gate.clone(), faults });

    let alarm = Alarm::start(clock, inbox.clone()).map_err(no_thread)?;
    let metronome = Metronome::start(settings.heartbeat_interval, inbox.clone(), gate.clone()).map_err(no_thread)?;
    let receiver = Receiver::new(&settings.data_dir);
    let compaction = Compaction::start(receiver, inbox.clone(), settings.snapshot_log_bytes, opened.snapshot);
    let kept = (opened.wal, opened.store, compaction.map_err(no_thread)?);
    let raft_loop = RaftLoop::new(node.clone(), raft, kept, (alarm, metronome));
    let raft_loop = thread::Builder::new()
        .name("raft-loop".to_string())
        .stack_size(LARGE_STACK)
        .spawn(move || raft_loop.run(ready, opened.notes, away))
        .map_err(no_thread)?;
    listener::start(listener, node.clone()).map_err(no_thread)?;
    for (peer, address) in node.cluster.others(id) {
        let Some(link) = node.links.get(&peer).cloned() else { continue };
        let patience = settings.election_timeout.0.max(LEAST_PATIENCE);
        let sender = Sender::new(own, (peer, address.to_string()), patience, link, (inbox.clone(), gate.clone()));
        sender.start().map_err(no_thread)?;
    }
    let _ = raft_loop.join();
    Ok(())
}

fn no_thread(error: std::io::Error) -> String {
    format!("cannot start a thread: {error}; let the process have more threads or memory")
}

/// Ends the process with exit code 1 and one line on standard error.
fn end(text: &str) -> ! {
    // Standard error may be the very pipe that nobody reads: it gets a moment, not more.
    let line = format!("node: {text}\n");
    let (written, done) = channel();
    let writer = thread::Builder::new().name("last-words".to_string()).spawn(move || {
        let _ = std::io::stderr().write_all(line.as_bytes());
        let _ = written.send(());
    });
    if writer.is_ok() {
        let _ = done.recv_timeout(Duration::from_secs(1));
    }
    exit(1)
}

/// A thread that panics ends the process, in every build: half a node is worse than none.
fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("a thread without a name");
        end(&format!("bug: {name}: {panic}").replace('\n', " "));
    }));
}

/// Ends the process, with exit code 0, when standard input closes: so it does not outlive the
/// program that started it, however that one ends.
fn end_with_stdin() -> Result<(), String> {
    let watch = || {
        let mut buffer = [0; 1024];
        let mut stdin = std::io::stdin();
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => exit(0),
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => exit(0),
                _ => {}
            }
        }
    };
    thread::Builder::new().name("stdin".to_string()).stack_size(SMALL_STACK).spawn(watch).map_err(no_thread)?;
    Ok(())
}
