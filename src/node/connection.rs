//! A connection thread: one for each caller, who is a peer if the first line is a `hello`, and a
//! client otherwise.
//!
//! A client's complete lines that have arrived are submitted together, and their answers leave with
//! one write, in order: who pipelines is batched for free. Whoever sends nonsense gets one `error`
//! line that says what was expected, and the connection is closed.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::Shared;
use super::answers::is_read;
use super::inbox::{Item, Placed, Reply, ReplyTo};
use super::limits::{
    ANSWER_BYTES, ANSWER_TIMEOUT, CLIENT_WRITE_TIMEOUT, HELLO_TIMEOUT, LINE_TIMEOUT, PIPELINED_REQUESTS,
};
use crate::raft::ready::Input;
use crate::wire::client::{Answer, ErrorCode, Request};
use crate::wire::lines::{Line, LineError, LineReader};
use crate::wire::peer::{Hello, decode, decode_hello, encode_hello};

/// How long, and how many bytes, are read from a caller who has been told to go, so that the
/// answer is not lost in a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// Whom the caller turned out to be.
enum Caller {
    Client,
    /// Nobody: in a place that is kept for peers and did not say hello in time.
    Refused,
    Peer,
}

/// Serves one connection to its end. `kept_for_peers`: all places for clients are taken. `leave` is
/// called when the caller turns out to be a peer, who does not take a client's place.
pub fn serve(node: &Shared, stream: &Arc<TcpStream>, from: SocketAddr, kept_for_peers: bool, leave: impl FnOnce()) {
    let prepared = stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(CLIENT_WRITE_TIMEOUT)));
    if prepared.is_err() {
        return;
    }
    let mut reader = LineReader::new(Patient::new(stream, kept_for_peers.then_some(HELLO_TIMEOUT)));
    let first = reader.read();
    node.gate.pass();
    let is_hello = matches!(&first, Ok(Line::Complete(line)) if *line == "hello" || line.starts_with("hello "));
    let caller = match is_hello {
        true => Caller::Peer,
        false if kept_for_peers => Caller::Refused,
        false => Caller::Client,
    };
    match caller {
        Caller::Peer => {
            let Ok(Line::Complete(hello)) = first else { return };
            match greet(node, stream, hello) {
                Ok(Some(hello)) => {
                    leave();
                    peer(node, stream, &mut reader, &hello);
                }
                // Cut off by a fault: it hears nothing.
                Ok(None) => {}
                Err((code, text)) => turn_away(node, stream, from, code, &text),
            }
        }
        Caller::Refused => {
            write_refusal(stream);
            linger(stream);
        }
        Caller::Client => {
            let first = own(first);
            Client::new(node, stream, from).serve(&mut reader, first);
        }
    }
}

/// Tells one too many that it is.
pub fn write_refusal(stream: &TcpStream) {
    let text = "all places for clients are taken; try again later, or another node";
    write_error(stream, ErrorCode::TooManyConnections, text);
}

/// Checks a hello and answers it with this node's own. Nothing: the peer is cut off.
fn greet(node: &Shared, mut stream: &TcpStream, line: &str) -> Result<Option<Hello>, (ErrorCode, String)> {
    let hello = decode_hello(line).map_err(|error| (ErrorCode::BadRequest, error.to_string()))?;
    let (own, size) = (node.own.node, node.own.size);
    if hello.size != size {
        let text = format!("this cluster has {size} nodes, not {}: give all nodes the same settings", hello.size);
        return Err((ErrorCode::NotThisCluster, text));
    }
    if hello.node == own {
        return Err((
            ErrorCode::NotThisCluster,
            format!("this is {own} itself: give each node its own number and address"),
        ));
    }
    let Some(link) = node.links.get(&hello.node) else {
        return Err((
            ErrorCode::NotThisCluster,
            format!("{} is no member: they are node_1 to node_{size}", hello.node),
        ));
    };
    if link.troubles.now().is_cut() {
        return Ok(None);
    }
    let mut answer = String::new();
    encode_hello(&node.own, &mut answer);
    answer.push('\n');
    stream.write_all(answer.as_bytes()).map_err(|error| (ErrorCode::BadRequest, error.to_string()))?;
    Ok(Some(hello))
}

/// A peer's connection: its messages go to the loop, nothing comes back.
fn peer(node: &Shared, stream: &Arc<TcpStream>, reader: &mut LineReader<Patient>, hello: &Hello) {
    let Some(link) = node.links.get(&hello.node) else { return };
    link.peer_connected(stream);
    node.inbox.push(Item::Input(Input::Met { peer: hello.node, disk: hello.disk }), 0);
    let wrong = loop {
        let line = match reader.read() {
            Ok(Line::Complete(line)) => line,
            Ok(Line::Incomplete(_) | Line::End) | Err(LineError::Io(_)) => break None,
            Err(error) => break Some(error.to_string()),
        };
        node.gate.pass();
        if link.troubles.now().cut_from {
            continue;
        }
        link.heard();
        match decode(line) {
            Ok(message) => {
                let weight = line.len();
                let input = Input::Message { from: hello.node, disk: hello.disk, message };
                if !node.inbox.push(Item::Input(input), weight) {
                    break None;
                }
            }
            Err(error) => break Some(error.to_string()),
        }
    };
    link.peer_gone(stream);
    if let Some(wrong) = wrong {
        note(node, format!("{} sent what is no message: {wrong}; closed", hello.node));
        write_error(stream, ErrorCode::BadRequest, &wrong);
        linger(stream);
    }
}

fn turn_away(node: &Shared, stream: &TcpStream, from: SocketAddr, code: ErrorCode, text: &str) {
    note(node, format!("hello from {from} refused: {text}"));
    write_error(stream, code, text);
    linger(stream);
}

fn note(node: &Shared, text: String) {
    let weight = text.len();
    node.inbox.push(Item::Note(text), weight);
}

fn write_error(mut stream: &TcpStream, code: ErrorCode, text: &str) {
    let mut line = String::new();
    error(code, text).encode(&mut line);
    line.push('\n');
    // Nobody is left to tell if this fails.
    let _ = stream.write_all(line.as_bytes());
}

/// An answer that says what is wrong.
pub fn error(code: ErrorCode, text: &str) -> Answer {
    Answer::Error { code, text: text.to_string() }
}

/// Ends a connection so that what was written arrives: closing a socket with unread bytes in it
/// resets the connection and may destroy the answer.
fn linger(mut stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER;
    let mut buffer = [0; 4096];
    let mut left = LINGER_BYTES;
    while left > 0 {
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() || stream.set_read_timeout(Some(patience)).is_err() {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count),
        }
    }
}

/// What a reader gave, without its borrow.
enum Got {
    Line(String),
    /// The last line, whose newline is missing.
    Last(String),
    End,
    Wrong(LineError),
}

fn own(line: Result<Line<'_>, LineError>) -> Got {
    match line {
        Ok(Line::Complete(line)) => Got::Line(line.to_string()),
        Ok(Line::Incomplete(line)) => Got::Last(line.to_string()),
        Ok(Line::End) => Got::End,
        Err(error) => Got::Wrong(error),
    }
}

/// What becomes of the connection behind a batch of requests.
enum After {
    GoOn,
    /// Answer what was submitted, then go on with this.
    AnswerFirst(Option<Got>),
    Close,
    Watch,
}

/// A client's connection.
struct Client<'a> {
    node: &'a Shared,
    stream: &'a TcpStream,
    from: SocketAddr,
    reply_to: Sender<Placed>,
    replies: Receiver<Placed>,
    text: String,
    /// The batch is a read, which is alone in it.
    reads: Cell<bool>,
}

impl<'a> Client<'a> {
    fn new(node: &'a Shared, stream: &'a TcpStream, from: SocketAddr) -> Client<'a> {
        let (reply_to, replies) = channel();
        Client { node, stream, from, reply_to, replies, text: String::new(), reads: Cell::new(false) }
    }

    fn serve(mut self, reader: &mut LineReader<Patient>, mut first: Got) {
        loop {
            let mut batch: Vec<Option<Reply>> = Vec::new();
            let mut after = self.submit(first, &mut batch);
            while matches!(after, After::GoOn) && batch.len() < PIPELINED_REQUESTS && reader.has_line() {
                after = self.submit(own(reader.read()), &mut batch);
            }
            if self.answer(batch).is_err() {
                return;
            }
            first = match after {
                After::AnswerFirst(Some(held)) => held,
                After::GoOn | After::AnswerFirst(None) => own(reader.read()),
                After::Close => return linger(self.stream),
                After::Watch => return self.watch(),
            };
        }
    }

    /// Hands one request to the loop, or answers it here; its reply will be at its place of the batch.
    fn submit(&self, got: Got, batch: &mut Vec<Option<Reply>>) -> After {
        self.node.gate.pass();
        let (line, last) = match &got {
            Got::Line(line) => (line, false),
            Got::Last(line) => (line, true),
            Got::End => return After::Close,
            Got::Wrong(LineError::Io(failed)) => {
                if matches!(failed.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                    let text = format!("a line must be complete within {} s", LINE_TIMEOUT.as_secs());
                    return self.wrong(error(ErrorCode::BadRequest, &text), batch);
                }
                return After::Close;
            }
            Got::Wrong(wrong) => return self.wrong(error(ErrorCode::BadRequest, &wrong.to_string()), batch),
        };
        let request = match Request::decode(line) {
            Ok(request) => request,
            Err(wrong) => return self.wrong(Answer::refusing(line, &wrong), batch),
        };
        // A question is about what the writes before it have done, and a page of a list is large: both
        // reasons to have it alone in its batch.
        let question = !matches!(request, Request::Append { .. } | Request::Write { .. });
        if question && !batch.is_empty() {
            return After::AnswerFirst(Some(got));
        }
        if request == Request::Watch {
            return After::Watch;
        }
        let reply = ReplyTo { place: batch.len(), to: self.reply_to.clone() };
        let weight = line.len();
        self.reads.set(is_read(&request));
        batch.push(None);
        if !self.node.inbox.push(Item::Request { request, reply }, weight) {
            return After::Close;
        }
        match (last, question) {
            (true, _) => After::Close,
            (false, true) => After::AnswerFirst(None),
            (false, false) => After::GoOn,
        }
    }

    fn wrong(&self, answer: Answer, batch: &mut Vec<Option<Reply>>) -> After {
        if let Answer::Error { text, .. } = &answer {
            note(self.node, format!("{} sent what is no request: {text}; closed", self.from));
        }
        batch.push(Some(Reply::Answer(answer)));
        After::Close
    }

    /// Waits for all replies and writes them in the order of the requests.
    fn answer(&mut self, mut batch: Vec<Option<Reply>>) -> io::Result<()> {
        self.text.clear();
        let mut last_word = None;
        for place in 0..batch.len() {
            let deadline = Instant::now() + ANSWER_TIMEOUT;
            let reply = loop {
                if let Some(reply) = batch[place].take() {
                    break reply;
                }
                let patience = deadline.saturating_duration_since(Instant::now());
                let Ok((place, reply)) = self.replies.recv_timeout(patience) else {
                    self.node.gate.pass();
                    self.flush()?;
                    let text = match self.reads.get() {
                        true => {
                            "no majority has confirmed that this node leads: the read was not answered, nothing is changed"
                        }
                        false => "no majority has taken it yet: it may still be committed, or never",
                    };
                    write_error(self.stream, ErrorCode::Unconfirmed, text);
                    return Err(io::ErrorKind::TimedOut.into());
                };
                batch[place] = Some(reply);
            };
            reply.encode(&mut self.text);
            if self.text.len() >= ANSWER_BYTES {
                self.flush()?;
            }
            if let Reply::LastWord(written) = reply {
                last_word = Some(written);
            }
        }
        let flushed = self.flush();
        if let Some(written) = last_word {
            // The loop may have given up waiting.
            let _ = written.send(());
        }
        flushed
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let written = (&mut &*self.stream).write_all(self.text.as_bytes());
        self.text.clear();
        // A client that waits must not hold the memory of its largest answer.
        self.text.shrink_to(4096);
        written
    }

    /// Event lines until the watcher goes or reads too slowly.
    fn watch(mut self) {
        let watcher = self.node.log.watch();
        Answer::Watching(self.node.own.node).encode(&mut self.text);
        self.text.push('\n');
        let mut lines = Vec::new();
        while self.flush().is_ok() {
            if !watcher.take_all(&mut lines, None) {
                write_error(
                    self.stream,
                    ErrorCode::Busy,
                    "the events came faster than they were read, or too many watch",
                );
                break;
            }
            lines.drain(..).for_each(|line| self.text.push_str(&line));
        }
        watcher.close();
    }
}

/// A stream that waits for ever between lines, but not in the middle of one.
pub struct Patient<'a> {
    stream: &'a TcpStream,
    /// When the line that is under way must be complete.
    deadline: Option<Instant>,
    timeout_set: Cell<bool>,
}

impl<'a> Patient<'a> {
    fn new(stream: &'a TcpStream, first_line_within: Option<Duration>) -> Patient<'a> {
        let deadline = first_line_within.map(|patience| Instant::now() + patience);
        Patient { stream, deadline, timeout_set: Cell::new(false) }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            self.timeout_set.set(true);
        } else if self.timeout_set.replace(false) {
            self.stream.set_read_timeout(None)?;
        }
        let count = (&mut &*self.stream).read(buffer)?;
        // The line under way began in these bytes, or before them.
        self.deadline = match buffer[..count].iter().rposition(|byte| *byte == b'\n') {
            Some(last) if last + 1 == count => None,
            Some(_) => Some(Instant::now() + LINE_TIMEOUT),
            None => self.deadline.or(Some(Instant::now() + LINE_TIMEOUT)),
        };
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn patience_ends_in_the_middle_of_a_line_only() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut caller = TcpStream::connect(listener.local_addr()?)?;
        let (stream, _) = listener.accept()?;
        let mut buffer = [0; 64];

        let mut patient = Patient::new(&stream, Some(Duration::from_millis(30)));
        caller.write_all(b"begun")?;
        assert_eq!(patient.read(&mut buffer)?, 5);
        assert!(patient.read(&mut buffer).is_err_and(|error| error.kind() != io::ErrorKind::UnexpectedEof));

        let mut patient = Patient::new(&stream, None);
        caller.write_all(b"one\ntwo")?;
        assert_eq!(patient.read(&mut buffer)?, 7);
        assert!(patient.deadline.is_some_and(|deadline| deadline > Instant::now()), "\"two\" has begun");
        caller.write_all(b"!\n")?;
        assert_eq!(patient.read(&mut buffer)?, 2);
        assert_eq!(patient.deadline, None, "between lines it waits for ever");
        Ok(())
    }
}
