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
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Connections at a time, over all listeners. One more is answered 503.
pub const MAX_CONNECTIONS: usize = 256;
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
        let mut head = format!("HTTP/1.1 {} {}\r\nDate: {}\r\n", self.status, reason(self.status), date(now()));
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

fn refused<T>(status: u16, why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, why: why.into() })
}

fn bad<T>(why: impl Into<String>) -> Result<T, Refusal> {
    refused(400, why)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "Error",
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7), from seconds since 1970.
fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let weekday = DAYS[(seconds / 86_400 % 7) as usize];
    let (mut year, mut day) = (1970, seconds / 86_400);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT", day + 1, MONTHS[month])
}

/// `!#$%&'*+-.^_`|~`, digits and letters (RFC 9110 §5.6.2).
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// Reads a whole head, its empty line at the end included.
fn parse_head(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        if !rest[end..].starts_with(b"\r\n") {
            return bad(BARE);
        }
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    let mut lines = lines.into_iter();
    let (method, target, old) = parse_request_line(lines.next().unwrap_or_default())?;
    let mut fields = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        if fields.len() == MAX_FIELDS {
            return refused(431, format!("expected at most {MAX_FIELDS} header fields, got more"));
        }
        fields.push(parse_field(line)?);
    }
    let mut head =
        Head { method, path: target, query: None, host: String::new(), old, fields, framing: Framing::Length(0) };
    head.framing = framing(&head)?;
    head.host = match head.one("host")? {
        Some(host) => host.to_string(),
        None => return bad("expected a Host field, found none"),
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
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let method = text(method);
    if !METHODS.contains(&method.as_str()) {
        return refused(501, format!("expected GET, HEAD or POST, got {}", raft_lab::text::shorten(&method)));
    }
    Ok((method, text(target), old))
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
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    // Bytes beyond ASCII mean nothing to anybody (RFC 9110 §5.5), so it does not matter what becomes of them.
    let value = String::from_utf8_lossy(value);
    Ok((name, value.trim_matches([' ', '\t']).to_string()))
}

/// How long the body is. Whatever could be read in two ways is refused: a request must not hide in another's body.
fn framing(head: &Head) -> Result<Framing, Refusal> {
    let length = head.one("content-length")?;
    match (head.one("transfer-encoding")?, length) {
        (Some(_), Some(_)) => bad("expected Content-Length or Transfer-Encoding, got both"),
        (Some(_), None) if head.old => bad("expected no Transfer-Encoding in HTTP/1.0"),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (Some(coding), None) => {
            let coding = raft_lab::text::shorten(coding);
            refused(501, format!("Transfer-Encoding: expected chunked, got {coding}"))
        }
        (None, Some(length)) => {
            if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return bad("Content-Length: expected decimal digits");
            }
            match length.parse() {
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
    let (path, query) = match local.split_once('?') {
        Some((path, query)) => (path.to_string(), Some(query.to_string())),
        None => (local, None),
    };
    (head.path, head.query) = (path, query);
    Ok(())
}

/// Text as it was before percent-encoding (RFC 3986 §2.1). None: a `%` without two hexadecimal digits, or no UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        bytes.push((digit(0)? * 16 + digit(1)?) as u8);
        rest = &behind[2..];
    }
    String::from_utf8(bytes).ok()
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
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(End::Silent)
            }
            _ => refused(408, late).map_err(End::Refused),
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
                let why = format!("expected a request line of at most {MAX_REQUEST_LINE} bytes, got more");
                return refused(414, why).map_err(End::Refused);
            }
            if seen == MAX_HEAD {
                let why = format!("expected at most {MAX_HEAD} bytes of header fields, got more");
                return refused(431, why).map_err(End::Refused);
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
            self.more(deadline, "the body of the request did not come in time")?;
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
                return refused(413, format!("expected a body of at most {MAX_BODY} bytes")).map_err(End::Refused);
            }
            body.append(&mut self.take(size, deadline)?);
            if self.take(2, deadline)? != b"\r\n" {
                return bad("a chunk is not as long as it says").map_err(End::Refused);
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
            if let Some(end) = self.bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'))
                && (self.bytes.len() > end + 1 || self.bytes[end] == b'\n')
            {
                if !self.bytes[end..].starts_with(b"\r\n") {
                    return bad(BARE).map_err(End::Refused);
                }
                *lines += end + 2;
                if end > MAX_CHUNK_LINE || *lines > MAX_CHUNK_LINES {
                    return bad("the lines between the chunks are too long or too many").map_err(End::Refused);
                }
                let line = self.bytes[..end].to_vec();
                self.bytes.drain(..end + 2);
                return Ok(line);
            }
            if self.bytes.len() > MAX_CHUNK_LINE {
                return bad("the lines between the chunks are too long or too many").map_err(End::Refused);
            }
            self.more(deadline, "the body of the request did not come in time")?;
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
        }
        if bytes[at] == b'\n' && bytes[..at].ends_with(b"\r\n\r") {
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
        // Without a thread the connection is dropped, and its place with it.
        let _ = thread::Builder::new().name("http".to_string()).stack_size(STACK).spawn(move || {
            let _place = place;
            // Whatever ends a connection, there is nobody to tell.
            let _ = talk(&stream, &*service);
        });
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
fn talk(stream: &TcpStream, service: &impl Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Input::new(stream);
    loop {
        let head = match input.head() {
            Ok(head) => head,
            Err(end) => return hang_up(stream, service, end),
        };
        if let Err(response) = service.admit(&head) {
            let close = head.closes() || head.has_body();
            write_within(stream, &response.encode(head.method == "HEAD", close), RESPONSE_TIMEOUT)?;
            if close {
                return linger(stream);
            }
            continue;
        }
        match head.one("expect") {
            Ok(None) => {}
            // It waits for this word before it sends the body (RFC 9110 §10.1.1).
            Ok(Some(value)) if value.eq_ignore_ascii_case("100-continue") => {
                if !head.old && head.has_body() && input.bytes.is_empty() {
                    write_within(stream, b"HTTP/1.1 100 Continue\r\n\r\n", RESPONSE_TIMEOUT)?;
                }
            }
            _ => {
                let refusal = Refusal { status: 417, why: "Expect: expected 100-continue".to_string() };
                return hang_up(stream, service, End::Refused(refusal));
            }
        }
        let body = match input.body(head.framing) {
            Ok(body) => body,
            Err(end) => return hang_up(stream, service, end),
        };
        let response = service.answer(&head, &body);
        write_within(stream, &response.encode(head.method == "HEAD", head.closes()), RESPONSE_TIMEOUT)?;
        if head.closes() {
            return linger(stream);
        }
    }
}

/// Says why, if anybody listens, and ends the connection.
fn hang_up(stream: &TcpStream, service: &impl Service, end: End) -> io::Result<()> {
    let End::Refused(refusal) = end else { return Ok(()) };
    write_within(stream, &service.refuse(&refusal).encode(false, true), RESPONSE_TIMEOUT)?;
    linger(stream)
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
mod tests;
