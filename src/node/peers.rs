//! The sender threads: one for each peer, which connects, says hello, encodes and writes.
//!
//! A node writes only on connections that it opened and reads only on those that it accepted. So a
//! sender also has a thread that does nothing but wait for the peer to close (`eof-node_2`).

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::faults::{Delayed, Gate, Trouble, Troubles};
use super::inbox::{Inbox, Item};
use super::limits::{
    BACK_OFF, CONNECT_TIMEOUT, HELLO_TIMEOUT, OFFLINE_AFTER_ATTEMPTS, OUTBOX_BYTES, OUTBOX_MESSAGES,
    PEER_WRITE_TIMEOUT, SEND_BYTES, SMALL_STACK,
};
use super::queue::Queue;
use crate::disk::SnapshotFile;
use crate::raft::message::{Body, Message};
use crate::raft::ready::{Input, SendChunk};
use crate::raft::types::{DiskId, NodeId};
use crate::text::random::Random;
use crate::text::shorten;
use crate::wire::MAX_LINE_BYTES;
use crate::wire::lines::{Line, LineError, LineReader};
use crate::wire::peer::{Hello, decode_hello, encode, encode_hello};

/// A connection younger than this is not suspected when the peer connects to us anew.
const FRESH: Duration = Duration::from_secs(2);

/// What waits for a sender.
enum Outgoing {
    /// And for the process with which disk it is, if it is an answer.
    Message(Message, Option<DiskId>),
    /// A piece of this snapshot, which is still to be read.
    Chunk(Arc<SnapshotFile>, SendChunk),
    /// The peer has closed the connection with this number.
    Closed { connection: u64, why: String },
    /// The peer has just connected to this node: it is there.
    PeerSaidHello,
    /// What happens to the messages has changed.
    TroublesChanged,
}

impl Outgoing {
    /// In bytes of text, about.
    fn weight(&self) -> usize {
        match self {
            Outgoing::Message(message, _) => weight(message),
            Outgoing::Chunk(_, chunk) => chunk.bytes,
            _ => 0,
        }
    }

    /// Does a peer that is well answer this?
    fn asks(&self) -> bool {
        match self {
            Outgoing::Message(message, _) => asks(message),
            Outgoing::Chunk(..) => true,
            _ => false,
        }
    }
}

/// What the loop, the sender and the accepted connection of one peer share.
pub struct Link {
    clock: Clock,
    outbox: Queue<Outgoing>,
    /// When the peer was last heard on a connection that it opened, in milliseconds of uptime.
    heard_ms: AtomicU64,
    /// Messages handed to the outbox and taken.
    sent: AtomicU64,
    /// What a fault does to the messages.
    pub troubles: Troubles,
    /// The connection that the peer opened last.
    accepted: Mutex<Option<Arc<TcpStream>>>,
}

impl Link {
    pub fn new(clock: Clock) -> Link {
        Link {
            clock,
            outbox: Queue::new(OUTBOX_MESSAGES, OUTBOX_BYTES),
            heard_ms: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            troubles: Troubles::default(),
            accepted: Mutex::new(None),
        }
    }

    /// Hands a message to the sender; drops it if too many wait already. An answer is for the process with
    /// this disk, and dropped if the peer has come back with another one.
    pub fn send(&self, message: Message, answers_are_for: Option<DiskId>) {
        let weight = weight(&message);
        if self.outbox.try_push(Outgoing::Message(message, answers_are_for), weight) {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same with a piece of a snapshot: the sender reads it.
    pub fn send_chunk(&self, file: Arc<SnapshotFile>, chunk: SendChunk) {
        let weight = chunk.bytes;
        if self.outbox.try_push(Outgoing::Chunk(file, chunk), weight) {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many messages were sent, or are about to be.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The peer has opened a connection and said hello on it. The one before it is closed, which also
    /// ends the thread that may be waiting there for a peer that is long gone.
    pub fn peer_connected(&self, stream: &Arc<TcpStream>) {
        self.heard();
        let mut accepted = self.accepted.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(old) = accepted.replace(stream.clone()) {
            let _ = old.shutdown(Shutdown::Both);
        }
        // If there is no room the sender is busy sending, and need not be told.
        self.outbox.try_push(Outgoing::PeerSaidHello, 0);
    }

    /// The connection that the peer had opened has ended.
    pub fn peer_gone(&self, stream: &Arc<TcpStream>) {
        let mut accepted = self.accepted.lock().unwrap_or_else(|e| e.into_inner());
        accepted.take_if(|current| Arc::ptr_eq(current, stream));
    }

    /// The sender is to look at the troubles anew.
    pub fn troubles_changed(&self) {
        self.outbox.force_push(Outgoing::TroublesChanged);
    }

    /// Closes the connection that the peer has opened.
    fn hang_up(&self) {
        let accepted = self.accepted.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(stream) = &*accepted {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The peer has said something.
    pub fn heard(&self) {
        self.heard_ms.store(self.uptime_ms(), Ordering::Relaxed);
    }

    fn uptime_ms(&self) -> u64 {
        self.clock.uptime().as_millis() as u64
    }
}

fn weight(message: &Message) -> usize {
    const FIXED: usize = 64;
    match &message.body {
        Body::AppendEntries { entries, .. } => {
            FIXED + entries.iter().map(|entry| FIXED + entry.command.bytes()).sum::<usize>()
        }
        _ => FIXED,
    }
}

/// What a sender has to remember of one connection.
struct Talk {
    /// What the peer has at its other end.
    disk: DiskId,
    /// What is to be written next.
    text: String,
    /// The uptime in milliseconds, as it was when the sender woke up.
    now: u64,
    /// When the first request was sent that nothing was heard after.
    unanswered: Option<u64>,
}

impl Talk {
    /// A request was sent.
    fn asked(&mut self) {
        self.unanswered.get_or_insert(self.now);
    }
}

/// One peer's sender.
pub struct Sender {
    own: Hello,
    peer: NodeId,
    address: String,
    /// A peer that was asked something and says nothing for so long is connected to anew: after a
    /// cut of the network, TCP itself may wait minutes before it tries again.
    patience: Duration,
    link: Arc<Link>,
    inbox: Inbox,
    gate: Gate,
    random: Random,
    /// What a fault holds back; it outlives a connection, as what is on its way through a slow network does.
    delayed: Delayed<Outgoing>,
}

impl Sender {
    pub fn new(
        own: Hello,
        (peer, address): (NodeId, String),
        patience: Duration,
        link: Arc<Link>,
        (inbox, gate): (Inbox, Gate),
    ) -> Sender {
        let (random, delayed) = (Random::from_os(), Delayed::new());
        Sender { own, peer, address, patience, link, inbox, gate, random, delayed }
    }

    /// Starts the thread `to-node_N`.
    pub fn start(self) -> io::Result<()> {
        let name = format!("to-{}", self.peer);
        thread::Builder::new().name(name).stack_size(SMALL_STACK).spawn(move || self.run())?;
        Ok(())
    }

    fn run(mut self) {
        // Attempts in a row that failed, or whose connection did not last.
        let (mut failures, mut connection) = (0u32, 0u64);
        loop {
            self.gate.pass();
            match self.connect() {
                Ok((stream, detail, disk)) => {
                    let made = Instant::now();
                    connection += 1;
                    // Entries meant for the connection before are out of date: the leader looks for the match
                    // again. A vote is not: its candidate waits.
                    self.link.outbox.discard(|item| match item {
                        Outgoing::Message(message, _) => matches!(message.body, Body::AppendEntries { .. }),
                        Outgoing::Chunk(..) => true,
                        _ => false,
                    });
                    self.tell(Input::Met { peer: self.peer, disk });
                    self.tell(Input::PeerConnected { peer: self.peer, detail });
                    let why = self.serve(&Arc::new(stream), connection, disk);
                    if self.link.troubles.now().is_cut() {
                        self.link.hang_up();
                    }
                    self.tell(Input::PeerLost { peer: self.peer, detail: why });
                    failures = if made.elapsed() > FRESH { 0 } else { failures.min(OFFLINE_AFTER_ATTEMPTS) };
                }
                Err(why) => {
                    failures += 1;
                    if failures == OFFLINE_AFTER_ATTEMPTS {
                        self.tell(Input::PeerOffline { peer: self.peer, detail: why });
                    }
                }
            }
            let (first, longest) = BACK_OFF;
            let pause = longest.min(first * 2u32.pow(failures.saturating_sub(1).min(10)));
            let pause = self.random.duration(pause / 2, pause);
            self.back_off(pause);
        }
    }

    fn tell(&self, input: Input) {
        self.inbox.push(Item::Input(input), 0);
    }

    /// Waits, and throws away what cannot be sent; a hello of the peer ends the wait, and a change of the troubles.
    fn back_off(&mut self, pause: Duration) {
        let deadline = Instant::now() + pause;
        let mut items = Vec::new();
        while self.link.outbox.take_all(&mut items, Some(deadline)) {
            if items.drain(..).any(|item| matches!(item, Outgoing::PeerSaidHello | Outgoing::TroublesChanged)) {
                break;
            }
        }
        let (now, delay) = (Instant::now(), self.link.troubles.now().delay());
        while self.delayed.arrived(now, delay).is_some() {}
    }

    /// Connects to the first of the name's addresses that answers as it should. The name is resolved
    /// anew each time: a container that starts again may have another address.
    fn connect(&self) -> Result<(TcpStream, String, DiskId), String> {
        if self.link.troubles.now().is_cut() {
            return Err("cut by a fault".to_string());
        }
        let addresses =
            self.address.to_socket_addrs().map_err(|error| format!("{}: {}", self.address, plainly(&error)))?;
        let mut why = format!("{}: the name has no address", self.address);
        for address in addresses {
            let stream = match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => stream,
                Err(error) => {
                    why = format!("{address}: {}", plainly(&error));
                    continue;
                }
            };
            match self.greet(&stream) {
                Ok(disk) => return Ok((stream, address.to_string(), disk)),
                Err(wrong) => why = format!("{address}: {wrong}"),
            }
        }
        Err(why)
    }

    /// Exchanges hellos; the peer's names its disk.
    fn greet(&self, stream: &TcpStream) -> Result<DiskId, String> {
        let prepare = || -> io::Result<()> {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(PEER_WRITE_TIMEOUT))?;
            stream.set_read_timeout(Some(HELLO_TIMEOUT))?;
            let mut hello = String::new();
            encode_hello(&self.own, &mut hello);
            hello.push('\n');
            (&mut &*stream).write_all(hello.as_bytes())
        };
        prepare().map_err(|error| plainly(&error))?;
        let mut reader = LineReader::new(stream);
        let answer = match reader.read() {
            Ok(Line::Complete(line)) => line,
            Ok(_) => return Err("closed before its hello".to_string()),
            Err(_) => return Err(format!("no hello within {} s", HELLO_TIMEOUT.as_secs())),
        };
        let hello = decode_hello(answer).map_err(|_| format!("answered {}", shorten(answer)))?;
        if hello.node != self.peer || hello.size != self.own.size {
            return Err(format!("answered as {} of {}", hello.node, hello.size));
        }
        stream.set_read_timeout(None).map_err(|error| plainly(&error))?;
        Ok(hello.disk)
    }

    /// Sends until the connection ends, and says why it did. `disk` is what the peer has at
    /// present.
    fn serve(&mut self, stream: &Arc<TcpStream>, connection: u64, disk: DiskId) -> String {
        let watched = stream.clone();
        let link = self.link.clone();
        let watcher =
            thread::Builder::new().name(format!("eof-{}", self.peer)).stack_size(SMALL_STACK).spawn(move || {
                let why = wait_for_end(&watched);
                link.outbox.force_push(Outgoing::Closed { connection, why });
            });
        let why = match watcher {
            Ok(watcher) => {
                let why = self.send_all(stream, connection, disk);
                let _ = stream.shutdown(Shutdown::Both);
                let _ = watcher.join();
                why
            }
            Err(error) => format!("no thread for it: {error}"),
        };
        // The watcher's last word about this connection is not for the next one.
        self.link.outbox.discard(|item| matches!(item, Outgoing::Closed { .. }));
        why
    }

    fn send_all(&mut self, stream: &TcpStream, connection: u64, disk: DiskId) -> String {
        let made = Instant::now();
        let patience = self.patience.as_millis() as u64;
        let mut items = Vec::new();
        let mut talk = Talk { disk, text: String::new(), now: 0, unanswered: None };
        loop {
            let deadline = talk.unanswered.map(|since| {
                let due = (since + patience).saturating_sub(self.link.uptime_ms());
                Instant::now() + Duration::from_millis(due + 1)
            });
            let arrival = self.delayed.due(self.link.troubles.now().delay());
            self.link.outbox.take_all(&mut items, deadline.into_iter().chain(arrival).min());
            self.gate.pass();
            talk.now = self.link.uptime_ms();
            talk.unanswered = talk.unanswered.filter(|since| self.link.heard_ms.load(Ordering::Relaxed) < *since);
            if let Some(since) = talk.unanswered
                && talk.now >= since + patience
            {
                return format!("no answer for {:.1} s", (talk.now - since) as f64 / 1000.0);
            }
            let trouble = self.link.troubles.now();
            for item in items.drain(..) {
                match item {
                    Outgoing::Closed { connection: ended, why } if ended == connection => return why,
                    Outgoing::PeerSaidHello if made.elapsed() > FRESH => {
                        return "it has connected anew".to_string();
                    }
                    Outgoing::Closed { .. } | Outgoing::PeerSaidHello => {}
                    // A cut shows even where there is nothing to ask; and behind it the wait begins anew.
                    Outgoing::TroublesChanged if trouble.is_cut() => talk.asked(),
                    Outgoing::TroublesChanged => talk.unanswered = None,
                    message => self.send(&mut talk, message, trouble),
                }
                if talk.text.len() >= SEND_BYTES
                    && let Err(error) = flush(stream, &mut talk.text)
                {
                    return plainly(&error);
                }
            }
            if !self.delayed.is_empty() {
                let now = Instant::now();
                while let Some(message) = self.delayed.arrived(now, trouble.delay()) {
                    // A cut takes what is on its way, too.
                    if !trouble.cut_to {
                        self.write(&mut talk, message);
                    }
                }
            }
            if let Err(error) = flush(stream, &mut talk.text) {
                return plainly(&error);
            }
        }
    }

    /// Sends a message, unless a fault takes it: it may be lost, or late.
    fn send(&mut self, talk: &mut Talk, message: Outgoing, trouble: Trouble) {
        if trouble.cut_to || trouble.loss > 0 && self.random.below(100) < u64::from(trouble.loss) {
            if message.asks() {
                talk.asked();
            }
        } else if trouble.delay_ms > 0 || !self.delayed.is_empty() {
            let weight = message.weight();
            self.delayed.push(Instant::now(), message, weight);
        } else {
            self.write(talk, message);
        }
    }

    fn write(&self, talk: &mut Talk, message: Outgoing) {
        if message.asks() {
            talk.asked();
        }
        match message {
            // An answer was meant for the node that the peer was: a vote for it must not elect the
            // node that it is, which knows nothing of what it asked (simulation, seed 37512).
            Outgoing::Message(message, meant)
                if message.body.answers() && meant.is_some_and(|meant| meant != talk.disk) => {}
            Outgoing::Message(message, _) => push_message(&mut talk.text, &message),
            Outgoing::Chunk(file, chunk) => self.push_chunk(&mut talk.text, &file, chunk),
            Outgoing::Closed { .. } | Outgoing::PeerSaidHello | Outgoing::TroublesChanged => {}
        }
    }

    /// Completes a piece of the snapshot to a message. If it cannot be read, the peer gets nothing, and asks again.
    fn push_chunk(&self, text: &mut String, file: &SnapshotFile, chunk: SendChunk) {
        let SendChunk { to, term, meta, offset, bytes } = chunk;
        match file.chunk(offset, bytes) {
            Ok(data) => {
                let body = Body::InstallSnapshot { meta, offset, data: data.into() };
                push_message(text, &Message { term, body });
            }
            Err(error) => {
                let why =
                    format!("the snapshot through {} cannot be read for {to}, at byte {offset}: {error}", meta.last);
                self.inbox.push(Item::Error(format!("{why}; check the disk")), 0);
            }
        }
    }
}

/// An error without the number that the system gives it, which tells a reader of the log nothing.
fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// Does a peer that is well answer this?
fn asks(message: &Message) -> bool {
    matches!(
        message.body,
        Body::PreVote { .. } | Body::RequestVote { .. } | Body::AppendEntries { .. } | Body::InstallSnapshot { .. }
    )
}

fn push_message(text: &mut String, message: &Message) {
    let start = text.len();
    encode(message, text);
    text.push('\n');
    assert!(text.len() - start <= MAX_LINE_BYTES, "a message must fit into a line of {MAX_LINE_BYTES} bytes");
}

fn flush(mut stream: &TcpStream, text: &mut String) -> io::Result<()> {
    let written = stream.write_all(text.as_bytes());
    text.clear();
    // One large batch must not keep its memory for ever.
    text.shrink_to(SEND_BYTES);
    written
}

/// Blocks until the peer closes the connection. It has nothing to say on it but, perhaps, what it
/// did not like.
fn wait_for_end(stream: &TcpStream) -> String {
    match LineReader::new(stream).read() {
        Ok(Line::Complete(line) | Line::Incomplete(line)) => format!("it said {}", shorten(line)),
        Ok(Line::End) => "closed by it".to_string(),
        Err(LineError::Io(error)) => plainly(&error),
        Err(error) => error.to_string(),
    }
}
