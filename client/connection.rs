//! One connection to one node.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use raft_lab::wire::client::{Answer, Request};
use raft_lab::wire::lines::{Line, LineError, LineReader};

/// The longest time that one attempt may take: a node that is cut off from the others may never answer.
pub const ATTEMPT: Duration = Duration::from_secs(3);

/// What is left when the time is up: a socket takes no time-out of zero.
const SHORTEST: Duration = Duration::from_millis(1);

pub struct Connection {
    stream: TcpStream,
    lines: LineReader<TcpStream>,
}

impl Connection {
    /// Connects to `host:port`, which is resolved anew each time. The error says what went wrong, without the address.
    pub fn open(address: &str, limit: Duration) -> Result<Connection, String> {
        let limit = limit.max(SHORTEST);
        let deadline = Instant::now() + limit;
        let resolved = address.to_socket_addrs().map_err(|_| "its name does not resolve (is the node stopped?)")?;
        let mut last = "its name has no address".to_string();
        for address in resolved {
            let left = deadline.saturating_duration_since(Instant::now()).max(SHORTEST);
            match TcpStream::connect_timeout(&address, left).and_then(|stream| Connection::over(stream, limit)) {
                Ok(connection) => return Ok(connection),
                Err(error) => last = in_words(&error),
            }
        }
        Err(last)
    }

    fn over(stream: TcpStream, limit: Duration) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limit))?;
        let lines = LineReader::new(stream.try_clone()?);
        Ok(Connection { stream, lines })
    }

    /// Sends requests; the answers come in the same order.
    pub fn send<'a>(&mut self, requests: impl IntoIterator<Item = &'a Request>) -> Result<(), String> {
        let mut lines = String::new();
        for request in requests {
            request.encode(&mut lines);
            lines.push('\n');
        }
        self.stream.write_all(lines.as_bytes()).map_err(|error| in_words(&error))
    }

    /// The next line of an answer.
    pub fn receive(&mut self, limit: Duration) -> Result<Answer, String> {
        let line = self.receive_line(Some(limit))?;
        Answer::decode(line).map_err(|error| format!("it answered what this client cannot read: {error}"))
    }

    /// The next line as it came. `None` waits for ever.
    pub fn receive_line(&mut self, limit: Option<Duration>) -> Result<&str, String> {
        let limit = limit.map(|limit| limit.max(SHORTEST));
        self.stream.set_read_timeout(limit).map_err(|error| in_words(&error))?;
        match self.lines.read() {
            Ok(Line::Complete(line)) => Ok(line),
            // Half a line may read as something that was never said.
            Ok(Line::Incomplete(_) | Line::End) => Err("it closed the connection".to_string()),
            Err(LineError::Io(error)) => Err(in_words(&error)),
            Err(error) => Err(format!("it answered what is no line: {error}")),
        }
    }

    /// Whether the next answer is there already.
    pub fn has_line(&mut self) -> bool {
        self.lines.has_line()
    }

    /// Between a request and the next: is the other side still there, and silent? Otherwise nothing that is sent now
    /// could be answered.
    pub fn is_idle(&mut self) -> bool {
        let silent = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let waits = matches!(silent, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).is_ok() && waits && !self.has_line()
    }

    /// One request, one line of answer.
    pub fn ask(&mut self, request: &Request, limit: Duration) -> Result<Answer, String> {
        self.send([request])?;
        self.receive(limit)
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_string(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_string(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "it closed the connection".to_string(),
        _ => error.to_string(),
    }
}
