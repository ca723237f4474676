//! The event log: one writer for standard output and for those who `watch`.
//!
//! The loop hands its events over and never waits. The writer takes all that wait and writes them
//! with one write. If standard output is closed, or takes nothing for as long as a node goes without
//! a leader, the node ends: a node whose log nobody can read must not go on in silence.

use std::io::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::end;
use super::limits::{
    EVENT_PIECE_BYTES, EVENT_QUEUE_EVENTS, EVENT_WRITE_BYTES, LARGE_STACK, MAX_WATCHERS, WATCHER_BYTES,
};
use super::queue::Queue;
use crate::paint;
use crate::raft::event::Event;

/// What one `watch` still has to read: event lines, each with its newline.
pub type Watcher = Queue<Arc<str>>;

/// The handle that all threads share.
#[derive(Clone)]
pub struct EventLog {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    /// Standard output may take nothing for so long.
    patience: Duration,
    events: Queue<Event>,
    /// Events handed over and not yet written.
    unwritten: AtomicUsize,
    /// When the present write began, in milliseconds of uptime plus one; 0: none is under way.
    writing_since: AtomicU64,
    watchers: Mutex<Vec<Arc<Watcher>>>,
}

impl EventLog {
    /// Starts the thread `event-log`.
    pub fn start(clock: Clock, patience: Duration, colors: bool) -> std::io::Result<EventLog> {
        let shared = Arc::new(Shared {
            clock,
            patience,
            events: Queue::new(EVENT_QUEUE_EVENTS, usize::MAX),
            unwritten: AtomicUsize::new(0),
            writing_since: AtomicU64::new(0),
            watchers: Mutex::new(Vec::new()),
        });
        let writer = shared.clone();
        thread::Builder::new()
            .name("event-log".to_string())
            .stack_size(LARGE_STACK)
            .spawn(move || writer.write_for_ever(colors))?;
        Ok(EventLog { shared })
    }

    /// Hands events over. Never waits: if so many wait already that there is no room, or the writer
    /// is stuck, the node ends.
    pub fn tell(&self, events: Vec<Event>) {
        for event in events {
            self.shared.unwritten.fetch_add(1, Ordering::Relaxed);
            if !self.shared.events.try_push(event, 0) {
                end(&format!("standard output is read too slowly: {EVENT_QUEUE_EVENTS} lines of the log wait"));
            }
        }
        self.check();
    }

    /// Ends the node if standard output has taken nothing for too long.
    pub fn check(&self) {
        let since = self.shared.writing_since.load(Ordering::Relaxed);
        let stuck = Duration::from_millis(self.uptime_ms().saturating_sub(since));
        if since > 0 && stuck > self.shared.patience {
            end(&format!("standard output has taken nothing for {:.1} s: nobody reads the log", stuck.as_secs_f64()));
        }
    }

    /// Waits until everything is written, but not longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.shared.unwritten.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A new watcher, from the next event on. If there are [`MAX_WATCHERS`] the oldest makes room.
    pub fn watch(&self) -> Arc<Watcher> {
        let mut watchers = self.shared.watchers.lock().unwrap_or_else(|e| e.into_inner());
        if watchers.len() >= MAX_WATCHERS {
            watchers.remove(0).close();
        }
        let watcher = Arc::new(Queue::new(usize::MAX, WATCHER_BYTES));
        watchers.push(watcher.clone());
        watcher
    }

    fn uptime_ms(&self) -> u64 {
        self.shared.uptime_ms()
    }
}

impl Shared {
    fn uptime_ms(&self) -> u64 {
        self.clock.uptime().as_millis() as u64 + 1
    }

    fn write_for_ever(&self, colors: bool) {
        let mut events = Vec::new();
        let mut text = String::new();
        while self.events.take_all(&mut events, None) {
            let mut rest = events.drain(..).peekable();
            while rest.peek().is_some() {
                let mut count = 0;
                text.clear();
                while text.len() < EVENT_WRITE_BYTES
                    && let Some(event) = rest.next()
                {
                    let line: Arc<str> = format!("{event}\n").into();
                    if colors {
                        paint::push_line(&mut text, &event, &line);
                    } else {
                        text.push_str(&line);
                    }
                    self.show_watchers(&line);
                    count += 1;
                }
                self.write(&text);
                self.unwritten.fetch_sub(count, Ordering::Release);
            }
        }
    }

    /// `println!` would panic on a closed pipe, and would not say what is wrong.
    fn write(&self, text: &str) {
        self.writing_since.store(self.uptime_ms(), Ordering::Relaxed);
        let mut stdout = std::io::stdout().lock();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let most = rest.len().min(EVENT_PIECE_BYTES);
            let lines = rest[..most].iter().rposition(|byte| *byte == b'\n').map_or(most, |end| end + 1);
            match stdout.write(&rest[..lines]).and_then(|taken| stdout.flush().map(|()| taken)) {
                Ok(0) => end("standard output takes nothing any more: nobody reads the log"),
                Ok(taken) => {
                    rest = &rest[taken..];
                    self.writing_since.store(self.uptime_ms(), Ordering::Relaxed);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => end(&format!("standard output: {error}: nobody reads the log")),
            }
        }
        self.writing_since.store(0, Ordering::Relaxed);
    }

    /// A watcher that reads too slowly is let go: its connection thread finds the queue closed.
    fn show_watchers(&self, line: &Arc<str>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(|e| e.into_inner());
        watchers.retain(|watcher| {
            let kept = watcher.try_push(line.clone(), line.len());
            if !kept {
                watcher.close();
            }
            kept
        });
    }
}
