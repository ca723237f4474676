//! A small HTTP/1.1 server (RFC 9110, RFC 9112): connections, requests in, responses out. What is answered is the
//! business of its [`Service`].
//!
//! Strict where strictness is safety: what two readers could understand in two ways is 400 and the connection ends.
//! That is: a body with two lengths or with Content-Length and Transfer-Encoding, a bare CR or LF, a folded field, a
//! space before a colon, a wrong chunk, no Host or two. It has keep-alive, pipelining (one after the other), HEAD,
//! chunked bodies in requests, `Expect: 100-continue`; it has no TLS, no compression, no ranges, no upgrade.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use raft_lab::text::shorten;

use super::date;

/// Connections at a time, over all listeners. One more is answered 503.
pub const MAX_CONNECTIONS: usize = 64;
/// The longest request line, in bytes. A longer one is answered 414.
pub const MAX_REQUEST_LINE: usize = 8 * 1024;
/// The longest head (request line and fields) and how many fields it may have. More is answered 431.
pub const MAX_HEAD: usize = 16 * 1024;
pub const MAX_FIELDS: usize = 64;
/// The longest body, in bytes. A longer one is answered 413.
pub const MAX_BODY: usize = 1024 * 1024;
/// The longest line of a chunk's size, and the most bytes of such lines and trailers of one body.
const MAX_CHUNK_LINE: usize = 256;
const MAX_CHUNK_LINES: usize = 64 * 1024;

/// How long a connection may be idle between two requests. Then it is closed without a word.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A head that has begun must be whole within this, a body within the next. Slower ones are answered 408.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
pub const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// A response must be taken within this. Then the connection is closed.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Before a connection is closed over a request that was not read to its end, as much of the rest is read as comes
/// within this, up to so many bytes: a close with something unread would take the response away from the client.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// The pause after an accept that failed, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const STACK: usize = 512 * 1024;

/// The methods of RFC 9110 and 5789 that a resource may refuse (405). Any other word is 501.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// How a system may call a read that took too long.
const TIMED_OUT: [io::ErrorKind; 2] = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
const LATE: &str = "the body of the request did not come in time";
const BARE: &str = "a line must end with CR LF: found one without the other";

/// The first part of a request: all but the body.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// One of [`METHODS`].
    pub method: String,
    /// Begins with `/` (or is `*`), as it came: not decoded, without the query.
    pub path: String,
    pub query: Option<String>,
    /// `host[:port]` of the target if it had one, else of the Host field.
    pub host: String,
    /// HTTP/1.0: the connection ends after the response.
    old: bool,
    /// It asks for `100 Continue` before it sends the body.
    waits: bool,
    /// Names in lower case, values without the spaces around them.
    fields: Vec<(String, String)>,
    framing: Framing,
}

/// How long the body is (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

pub struct Response {
    pub status: u16,
    pub fields: Vec<(&'static str, String)>,
    pub body: String,
}

/// What cannot be read: the status to answer with, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub why: String,
}

/// What answers the requests.
pub trait Service: Send + Sync + 'static {
    /// Looks at a request before its body is asked for. The error is the answer.
    fn admit(&self, head: &Head) -> Result<(), Response>;
    fn answer(&self, head: &Head, body: &[u8]) -> Response;
    /// The answer to what is no request.
    fn refuse(&self, refusal: &Refusal) -> Response;
}

impl Head {
    /// The values of a field in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that is there once. `Err`: it is there more often.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => bad(format!("{name}: expected once, got more")),
        }
    }

    /// Is `token` in the comma-separated list of the field?
    fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    fn closes(&self) -> bool {
        self.old || self.lists("connection", "close")
    }

    fn has_body(&self) -> bool {
        self.framing != Framing::Length(0)
    }
}

impl Response {
    pub fn new(status: u16, body: String) -> Response {
        Response { status, fields: Vec::new(), body }
    }

    pub fn with(mut self, name: &'static str, value: impl ToString) -> Response {
        self.fields.push((name, value.to_string()));
        self
    }

    fn encode(&self, without_body: bool, close: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {}\r\nDate: {}\r\n", status_words(self.status), date::now());
        for (name, value) in &self.fields {
            // Nothing that came from outside can end the line.
            let value: String = value.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.status != 204 {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str(if close { "Connection: close\r\n\r\n" } else { "\r\n" });
        let mut bytes = head.into_bytes();
        if !without_body && self.status != 204 {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}

fn refused<T, E: From<Refusal>>(status: u16, why: impl Into<String>) -> Result<T, E> {
    Err(Refusal { status, why: why.into() }.into())
}

fn bad<T, E: From<Refusal>>(why: impl Into<String>) -> Result<T, E> {
    refused(400, why)
}

/// What responses are called.
const REASONS: &str = "200 OK,204 No Content,400 Bad Request,403 Forbidden,404 Not Found,405 Method Not Allowed,\
    408 Request Timeout,409 Conflict,411 Length Required,413 Content Too Large,414 URI Too Long,\
    415 Unsupported Media Type,417 Expectation Failed,421 Misdirected Request,431 Request Header Fields Too Large,\
    500 Internal Server Error,501 Not Implemented,503 Service Unavailable,505 HTTP Version Not Supported,\
    507 Insufficient Storage";

/// `404 Not Found`.
fn status_words(status: u16) -> String {
    let number = status.to_string();
    REASONS.split(',').find(|reason| reason.starts_with(&number)).map_or(number, str::to_string)
}

/// `!#$%&'*+-.^_`|~`, digits and letters (RFC 9110 §5.6.2).
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// Reads a whole head, as [`head_end`] has found it: each line ends with CR LF, and an empty one ends it.
fn parse_head(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (method, target, old) = parse_request_line(lines.next().unwrap_or_default())?;
    let mut fields = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        if fields.len() == MAX_FIELDS {
            return refused(431, format!("expected at most {MAX_FIELDS} header fields, got more"));
        }
        fields.push(parse_field(line)?);
    }
    let (path, framing) = (target, Framing::Length(0));
    let mut head = Head { method, path, query: None, host: String::new(), old, waits: false, fields, framing };
    head.framing = body_framing(&head)?;
    head.host = match head.one("host")? {
        Some(host) => host.to_string(),
        None => return bad("expected a Host field, found none"),
    };
    head.waits = match head.one("expect")? {
        None => false,
        Some(value) if value.eq_ignore_ascii_case("100-continue") => !old,
        Some(_) => return refused(417, "Expect: expected 100-continue"),
    };
    resolve_target(&mut head)?;
    Ok(head)
}

/// Method, target, and whether it is HTTP/1.0.
fn parse_request_line(line: &[u8]) -> Result<(String, String, bool), Refusal> {
    const EXPECTED: &str = "expected a request line like GET /keys HTTP/1.1";
    if line.len() > MAX_REQUEST_LINE {
        return refused(414, format!("expected a request line of at most {MAX_REQUEST_LINE} bytes, got more"));
    }
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return bad(EXPECTED) };
    if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return bad(EXPECTED);
    }
    let old = match version {
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => false,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return refused(505, format!("expected HTTP/1.1, got {}", String::from_utf8_lossy(version)));
        }
        _ => return bad(EXPECTED),
    };
    let [method, target] = [method, target].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if !METHODS.contains(&method.as_str()) {
        return refused(501, format!("expected GET, HEAD or POST, got {}", shorten(&method)));
    }
    Ok((method, target, old))
}

/// `name: value`.
fn parse_field(line: &[u8]) -> Result<(String, String), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return bad("a header field goes on in the next line: folded fields are not accepted");
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return bad("expected a header field like Name: value, found no colon");
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return bad("expected the name of a header field of letters, digits and -, with its colon right behind it");
    }
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return bad("found a control character in a header field");
    }
    // Bytes beyond ASCII mean nothing to anybody (RFC 9110 §5.5), so it does not matter what becomes of them.
    let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_string()))
}

/// How long the body is. Whatever could be read in two ways is refused: a request must not hide in another's body.
fn body_framing(head: &Head) -> Result<Framing, Refusal> {
    let length = head.one("content-length")?;
    match (head.one("transfer-encoding")?, length) {
        (Some(_), Some(_)) => bad("expected Content-Length or Transfer-Encoding, got both"),
        (Some(_), None) if head.old => bad("expected no Transfer-Encoding in HTTP/1.0"),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (Some(coding), None) => refused(501, format!("Transfer-Encoding: expected chunked, got {}", shorten(coding))),
        (None, Some(length)) => {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            match length.parse() {
                _ if !digits => bad("Content-Length: expected decimal digits"),
                Ok(length) if length <= MAX_BODY => Ok(Framing::Length(length)),
                _ => refused(413, format!("expected a body of at most {MAX_BODY} bytes")),
            }
        }
        (None, None) if head.method == "POST" => refused(411, "a POST needs a body and its Content-Length"),
        (None, None) => Ok(Framing::Length(0)),
    }
}

/// Path and query of `/path?query` or of `http://host/path?query` (RFC 9112 §3.2); in the second, the host too.
fn resolve_target(head: &mut Head) -> Result<(), Refusal> {
    let target = std::mem::take(&mut head.path);
    let scheme = "http://";
    let local = if target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)) {
        let rest = &target[scheme.len()..];
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        head.host = rest[..end].to_string();
        if rest[end..].starts_with('/') { rest[end..].to_string() } else { format!("/{}", &rest[end..]) }
    } else if target.starts_with('/') || (target == "*" && head.method == "OPTIONS") {
        target
    } else {
        return bad("expected a target like /keys/a");
    };
    if local.contains('#') {
        return bad("expected a target without #");
    }
    let (path, query) = local.split_once('?').map_or((&*local, None), |(path, query)| (path, Some(query)));
    (head.path, head.query) = (path.to_string(), query.map(str::to_string));
    Ok(())
}

/// Where requests come from: a socket, or bytes in a test.
trait Source {
    /// The next bytes, at most until the deadline. 0: there are no more.
    fn read_until(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize>;
}

impl Source for &TcpStream {
    fn read_until(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        // A socket takes no time-out of zero; what has come already is still taken.
        self.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        self.read(buffer)
    }
}

/// Why there is no request.
enum End {
    /// The client has gone, or said nothing for too long: nobody waits for an answer.
    Silent,
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

/// What has come and is not consumed yet: at most a head or a chunk's line and one read more.
struct Input<S> {
    source: S,
    bytes: Vec<u8>,
}

impl<S: Source> Input<S> {
    fn new(source: S) -> Input<S> {
        Input { source, bytes: Vec::new() }
    }

    /// Reads once. `late`: what is said if the deadline passes.
    fn more(&mut self, deadline: Instant, late: &str) -> Result<(), End> {
        let mut buffer = [0; 8 * 1024];
        match self.source.read_until(&mut buffer, deadline) {
            Ok(0) => Err(End::Silent),
            Ok(count) if Instant::now() < deadline + Duration::from_millis(100) => {
                self.bytes.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if !TIMED_OUT.contains(&error.kind()) => Err(End::Silent),
            _ => refused(408, late),
        }
    }

    /// Waits for the first byte of a request, then for its whole head.
    fn head(&mut self) -> Result<Head, End> {
        let idle = Instant::now() + IDLE_TIMEOUT;
        // An empty line before a request is no harm (RFC 9112 §2.2).
        while self.bytes.is_empty() || self.bytes == b"\r" || self.bytes.starts_with(b"\r\n") {
            if self.bytes.starts_with(b"\r\n") {
                self.bytes.drain(..2);
            } else {
                self.more(idle, "").map_err(|_| End::Silent)?;
            }
        }
        let deadline = Instant::now() + HEAD_TIMEOUT;
        let mut seen = 0;
        loop {
            let whole = &self.bytes[..self.bytes.len().min(MAX_HEAD)];
            if let Some(end) = head_end(whole, seen)? {
                let head = parse_head(&whole[..end])?;
                self.bytes.drain(..end);
                return Ok(head);
            }
            seen = whole.len();
            if seen > MAX_REQUEST_LINE && !whole[..=MAX_REQUEST_LINE].contains(&b'\r') {
                return refused(414, format!("expected a request line of at most {MAX_REQUEST_LINE} bytes, got more"));
            }
            if seen == MAX_HEAD {
                return refused(431, format!("expected at most {MAX_HEAD} bytes of header fields, got more"));
            }
            self.more(deadline, "the head of the request did not come in time")?;
        }
    }

    fn body(&mut self, framing: Framing) -> Result<Vec<u8>, End> {
        let deadline = Instant::now() + BODY_TIMEOUT;
        match framing {
            Framing::Length(length) => self.take(length, deadline),
            Framing::Chunked => self.chunks(deadline),
        }
    }

    fn take(&mut self, length: usize, deadline: Instant) -> Result<Vec<u8>, End> {
        while self.bytes.len() < length {
            self.more(deadline, LATE)?;
        }
        Ok(self.bytes.drain(..length).collect())
    }

    /// A chunked body (RFC 9112 §7.1). Extensions and trailers are read over.
    fn chunks(&mut self, deadline: Instant) -> Result<Vec<u8>, End> {
        let mut body = Vec::new();
        let mut lines = 0;
        loop {
            let line = self.line(deadline, &mut lines)?;
            let size = chunk_size(&line)?;
            if size == 0 {
                break;
            }
            if size > MAX_BODY - body.len() {
                return refused(413, format!("expected a body of at most {MAX_BODY} bytes"));
            }
            body.append(&mut self.take(size, deadline)?);
            if self.take(2, deadline)? != b"\r\n" {
                return bad("a chunk is not as long as it says");
            }
        }
        loop {
            let line = self.line(deadline, &mut lines)?;
            if line.is_empty() {
                return Ok(body);
            }
            parse_field(&line)?;
        }
    }

    /// A line of a chunked body, without its end.
    fn line(&mut self, deadline: Instant, lines: &mut usize) -> Result<Vec<u8>, End> {
        loop {
            let end = self.bytes.iter().take(MAX_CHUNK_LINE + 1).position(|byte| matches!(byte, b'\r' | b'\n'));
            let end = end.unwrap_or(self.bytes.len());
            if end > MAX_CHUNK_LINE || *lines > MAX_CHUNK_LINES {
                return bad("the lines between the chunks are too long or too many");
            }
            if self.bytes[end..].starts_with(b"\r\n") {
                *lines += end + 2;
                let line = self.bytes[..end].to_vec();
                self.bytes.drain(..end + 2);
                return Ok(line);
            }
            if !matches!(self.bytes[end..], [] | [b'\r']) {
                return bad(BARE);
            }
            self.more(deadline, LATE)?;
        }
    }
}

/// `1f3` or `1f3;name=value`.
fn chunk_size(line: &[u8]) -> Result<usize, Refusal> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let clean = line.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t'));
    let size = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit));
    match size.and_then(|digits| usize::from_str_radix(digits, 16).ok()) {
        Some(size) if clean && digits.len() <= 8 => Ok(size),
        _ => bad("expected the size of a chunk in up to 8 hexadecimal digits"),
    }
}

/// Where the head ends, behind its empty line. The first `seen` bytes were looked at before.
fn head_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, Refusal> {
    for at in seen.saturating_sub(1)..bytes.len() {
        let behind = bytes.get(at + 1);
        let bare_cr = bytes[at] == b'\r' && behind.is_some_and(|next| *next != b'\n');
        let bare_lf = bytes[at] == b'\n' && !bytes[..at].ends_with(b"\r");
        if bare_cr || bare_lf {
            return bad(BARE);
        } else if bytes[..=at].ends_with(b"\r\n\r\n") {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}

/// Answers whoever connects, each in a thread of its own, for ever. `open` counts the connections of all listeners.
pub fn serve(listener: &TcpListener, service: &Arc<impl Service>, open: &Arc<AtomicUsize>) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let Some(place) = Place::take(open) else {
            let _ = turn_away(&stream, &**service);
            continue;
        };
        let service = service.clone();
        let thread = thread::Builder::new().name("http".to_string()).stack_size(STACK);
        // Without a thread the connection is dropped, and its place with it. Whatever ends it, there is nobody to tell.
        let _ = thread.spawn(move || talk(&stream, &*service, place));
    }
}

/// One of the [`MAX_CONNECTIONS`].
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(open.clone());
        // Dropped again if there were too many.
        (open.fetch_add(1, Ordering::Relaxed) < MAX_CONNECTIONS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// On the listener's own thread: a new socket takes a short answer at once.
fn turn_away(mut stream: &TcpStream, service: &impl Service) -> io::Result<()> {
    let why = format!("{MAX_CONNECTIONS} connections are open, and no more are taken: close some");
    let response = service.refuse(&Refusal { status: 503, why }).with("Retry-After", 1);
    write_within(stream, &response.encode(false, true), Duration::from_millis(10))?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_until(&mut [0; 8 * 1024], Instant::now()).map(drop)
}

/// Answers the requests of one connection until it ends.
fn talk(stream: &TcpStream, service: &impl Service, _place: Place) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Input::new(stream);
    loop {
        match exchange(&mut input, service) {
            Ok(true) => {}
            Ok(false) => return linger(stream),
            Err(End::Silent) => return Ok(()),
            Err(End::Refused(refusal)) => {
                write_within(stream, &service.refuse(&refusal).encode(false, true), RESPONSE_TIMEOUT)?;
                return linger(stream);
            }
        }
    }
}

/// One request and its response. False: the connection ends now.
fn exchange(input: &mut Input<&TcpStream>, service: &impl Service) -> Result<bool, End> {
    let head = input.head()?;
    let gone = |_| End::Silent;
    let early = service.admit(&head).err();
    let close = head.closes() || (early.is_some() && head.has_body());
    let response = match early {
        Some(response) => response,
        None => {
            // It waits for this word before it sends the body (RFC 9110 §10.1.1).
            if head.waits && head.has_body() && input.bytes.is_empty() {
                write_within(input.source, b"HTTP/1.1 100 Continue\r\n\r\n", RESPONSE_TIMEOUT).map_err(gone)?;
            }
            service.answer(&head, &input.body(head.framing)?)
        }
    };
    let bytes = response.encode(head.method == "HEAD", close);
    // A slow reader need not hold a long body twice.
    drop(response);
    write_within(input.source, &bytes, RESPONSE_TIMEOUT).map_err(gone)?;
    Ok(!close)
}

/// Ends the connection without taking the response away from a client that is still sending.
fn linger(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + LINGER;
    let (mut buffer, mut read) = ([0; 8 * 1024], 0);
    while read < LINGER_BYTES && Instant::now() < deadline {
        match stream.read_until(&mut buffer, deadline)? {
            0 => return Ok(()),
            count => read += count,
        }
    }
    Ok(())
}

/// Writes all, in pieces, so that a reader of a byte now and then cannot hold the thread for ever.
fn write_within(mut stream: &TcpStream, bytes: &[u8], limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    let mut rest = bytes;
    while !rest.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(&rest[..rest.len().min(64 * 1024)]) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "http_tests.rs"]
pub mod tests;
