//! The server's rules: what is read, what is refused with which status, what stays of a connection.

use super::*;
use raft_lab::text::random::Random;
use std::sync::Mutex;

/// Bytes that come in pieces.
struct Bytes<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Source for Bytes<'_> {
    fn read_until(&mut self, buffer: &mut [u8], _: Instant) -> io::Result<usize> {
        let count = self.rest.len().min(buffer.len()).min(self.piece);
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

/// The requests in these bytes, then the status and the words of the end; `None` if they just end.
pub fn read_all(bytes: &[u8], piece: usize) -> (Vec<(Head, Vec<u8>)>, Option<Refusal>) {
    let mut input = Input::new(Bytes { rest: bytes, piece });
    let mut requests = Vec::new();
    loop {
        let request = input.head().and_then(|head| Ok((input.body(head.framing)?, head)));
        match request {
            Ok((body, head)) => requests.push((head, body)),
            Err(End::Silent) => return (requests, None),
            Err(End::Refused(refusal)) => return (requests, Some(refusal)),
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

/// The status with which these bytes are refused, in whatever pieces they come.
#[track_caller]
fn refusal(bytes: &[u8]) -> (u16, String) {
    let (requests, refusal) = read_all(bytes, 8 * 1024);
    assert!(requests.is_empty(), "{requests:?} was taken from {}", shown(bytes));
    for piece in [1, 2, 7, 100] {
        assert_eq!(read_all(bytes, piece).1, refusal, "in pieces of {piece}: {}", shown(bytes));
    }
    let Some(refusal) = refusal else { panic!("not refused: {}", shown(bytes)) };
    (refusal.status, refusal.why)
}

#[test]
fn a_request_is_read_in_whatever_pieces_it_comes() {
    let bytes = b"\r\nPOST /keys/a%20b?x=1&y HTTP/1.1\r\nHost: localhost:8080\r\nCONTENT-type:\t application/json \r\n\
        Content-Length: 4\r\nX-Other: a\xffb\r\nx-other:c\r\n\r\n{\r\n}GET /keys HTTP/1.0\r\nhost: h\r\n\r\n";
    for piece in [1, 2, 3, 50, 1000] {
        let (requests, refusal) = read_all(bytes, piece);
        assert_eq!(refusal, None);
        let [(post, body), (get, nothing)] = &requests[..] else { panic!("{requests:?}") };
        assert_eq!((post.method.as_str(), post.path.as_str()), ("POST", "/keys/a%20b"));
        assert_eq!((post.query.as_deref(), post.host.as_str()), (Some("x=1&y"), "localhost:8080"));
        assert_eq!(post.one("content-type"), Ok(Some("application/json")));
        assert_eq!(post.all("x-other").count(), 2);
        assert!(post.one("x-other").is_err());
        assert_eq!(body, b"{\r\n}");
        assert!(!post.closes());
        assert_eq!((get.path.as_str(), get.query.as_deref(), get.closes()), ("/keys", None, true));
        assert!(nothing.is_empty());
    }
}

#[test]
fn a_chunked_body_is_put_together() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n";
    let bytes = format!("{head}3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n{head}0\r\n\r\n");
    for piece in [1, 2, 3, 50, 1000] {
        let (requests, refusal) = read_all(bytes.as_bytes(), piece);
        let bodies: Vec<_> = requests.iter().map(|(_, body)| String::from_utf8_lossy(body)).collect();
        assert_eq!((bodies, refusal), (vec!["abc0123456789".into(), "".into()], None));
    }
    for wrong in [
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\rabc",
        "\r\n",
        "0x3\r\nabc\r\n",
        "+3\r\nabc\r\n",
        "-1\r\n",
        "3 \r\nabc\r\n",
        " 3\r\nabc\r\n",
        "g\r\n",
        "000000003\r\nabc\r\n",
        "ffffffffffffffff\r\n",
        "3;a\x01b\r\nabc\r\n",
        "0\r\nno field\r\n\r\n",
        "0\r\n folded: x\r\n\r\n",
    ] {
        assert_eq!(refusal(format!("{head}{wrong}").as_bytes()).0, 400, "{wrong:?}");
    }
    let long_line = format!("{head}3;{}", "x".repeat(1000));
    assert_eq!(refusal(long_line.as_bytes()).0, 400);
    let many_trailers = format!("{head}0\r\n{}", "a: b\r\n".repeat(MAX_CHUNK_LINES));
    assert_eq!(refusal(many_trailers.as_bytes()).0, 400);
    let too_much = format!("{head}{}", format!("{:x}\r\n{}\r\n", 65536, "x".repeat(65536)).repeat(17));
    assert_eq!(refusal(too_much.as_bytes()).0, 413);
    assert_eq!(refusal(format!("{head}7fffffff\r\n").as_bytes()).0, 413);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
    for (request, status, word) in [
        (post("Content-Length: 3\r\nTransfer-Encoding: chunked"), 400, "both"),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 3"), 400, "both"),
        (post("Content-Length: 3\r\nContent-Length: 3"), 400, "content-length: expected once"),
        (post("Content-Length: 3\r\ncontent-length: 4"), 400, "content-length: expected once"),
        (post("Content-Length: 3, 3"), 400, "digits"),
        (post("Content-Length: +3"), 400, "digits"),
        (post("Content-Length: -3"), 400, "digits"),
        (post("Content-Length: 0x3"), 400, "digits"),
        (post("Content-Length:"), 400, "digits"),
        (post("Content-Length: 1048577"), 413, "at most 1048576"),
        (post("Content-Length: 99999999999999999999999999"), 413, "at most 1048576"),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400, "once"),
        (post("Transfer-Encoding: gzip, chunked"), 501, "expected chunked"),
        (post("Transfer-Encoding: xchunked"), 501, "expected chunked"),
        (post("Transfer-Encoding : chunked"), 400, "colon right behind"),
        (post("Content-Length : 3"), 400, "colon right behind"),
        (post("A: b\r\n c"), 400, "folded"),
        (post("A: b\r\n\tc"), 400, "folded"),
        (post("A: b\rC: d"), 400, "CR LF"),
        (post("A: b\nC: d"), 400, "CR LF"),
        (post("A: b\0c"), 400, "control character"),
        (post("A: b\x7fc"), 400, "control character"),
        (post("no colon"), 400, "no colon"),
        (post(": empty name"), 400, "the name"),
        (post("a b: c"), 400, "the name"),
        (post("Host: h\r\nContent-Length: 0"), 400, "host: expected once"),
        (post("A: b"), 411, "Content-Length"),
        ("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_string(), 400, "HTTP/1.0"),
        ("GET / HTTP/1.1\r\n\r\n".to_string(), 400, "Host"),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n".to_string(), 400, "folded"),
        ("GET / HTTP/1.1\nHost: h\n\n".to_string(), 400, "CR LF"),
        ("GET / HTTP/1.1\rHost: h\r\r".to_string(), 400, "CR LF"),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n".to_string(), 400, "request line"),
        ("GET /\r\nHost: h\r\n\r\n".to_string(), 400, "request line"),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n".to_string(), 400, "request line"),
        ("GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n".to_string(), 400, "request line"),
        ("GET / http/1.1\r\nHost: h\r\n\r\n".to_string(), 400, "request line"),
        ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n".to_string(), 400, "request line"),
        ("GET keys HTTP/1.1\r\nHost: h\r\n\r\n".to_string(), 400, "target"),
        ("GET https://h/keys HTTP/1.1\r\nHost: h\r\n\r\n".to_string(), 400, "target"),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n".to_string(), 400, "target"),
        ("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n".to_string(), 400, "without #"),
        ("get / HTTP/1.1\r\nHost: h\r\n\r\n".to_string(), 501, "got \"get\""),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n".to_string(), 501, "got \"CONNECT\""),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n".to_string(), 505, "HTTP/2.0"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_string(), 505, "HTTP/2.0"),
        ("append \"x\"\r\n\r\n".to_string(), 400, "request line"),
    ] {
        let (got, why) = refusal(request.as_bytes());
        assert_eq!(got, status, "{request:?}: {why}");
        assert!(why.contains(word), "{request:?}: {why}");
    }
    let ctrl = b"GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(refusal(ctrl).0, 400);
}

#[test]
fn limits_hold_to_the_byte() {
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(len - "GET / HTTP/1.1".len()));
    let taken = |request: &str| read_all(request.as_bytes(), 1000).0.len();
    assert_eq!(taken(&format!("{}Host: h\r\n\r\n", line(MAX_REQUEST_LINE))), 1);
    assert_eq!(refusal(format!("{}Host: h\r\n\r\n", line(MAX_REQUEST_LINE + 1)).as_bytes()).0, 414);
    assert_eq!(refusal("x".repeat(MAX_REQUEST_LINE + 1).as_bytes()).0, 414);
    let start = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
    let filled = |len: usize| format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4));
    assert_eq!(taken(&filled(MAX_HEAD)), 1);
    assert_eq!(refusal(filled(MAX_HEAD + 1).as_bytes()).0, 431);
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
    assert_eq!(taken(&fields(MAX_FIELDS)), 1);
    assert_eq!(refusal(fields(MAX_FIELDS + 1).as_bytes()).0, 431);
    let body = |len: usize| format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n{}", "x".repeat(len));
    assert_eq!(taken(&body(MAX_BODY)), 1);
    assert_eq!(refusal(body(MAX_BODY + 1).as_bytes()).0, 413);
}

#[test]
fn a_whole_address_as_the_target_names_the_host() {
    let (requests, _) = read_all(b"GET http://localhost:8081?a HTTP/1.1\r\nHost: other\r\n\r\n", 100);
    let head = &requests[0].0;
    assert_eq!((head.host.as_str(), head.path.as_str(), head.query.as_deref()), ("localhost:8081", "/", Some("a")));
}

#[test]
fn nothing_that_comes_makes_the_reader_panic() {
    let post =
        "POST /keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let get = "GET http://h/keys?a=b HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n";
    let seeds = [post, chunked, get];
    let mut random = Random::from_seed(9112);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..20_000_usize {
        let mut bytes: Vec<u8> = if round % 10 == 0 {
            (0..random.below(200)).map(|_| random.next_u64() as u8).collect()
        } else {
            (0..=random.below(2)).flat_map(|_| seeds[random.below(3) as usize].bytes()).collect()
        };
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len() as u64 + 1) as usize;
            let special = b"\r\n :;%\0\xff09"[random.below(10) as usize];
            match random.below(4) {
                0 => bytes.insert(at, special),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => bytes[at] = special,
                _ if at < bytes.len() => _ = bytes.remove(at),
                _ => {}
            }
        }
        let whole = read_all(&bytes, 8 * 1024);
        // And it means the same in whatever pieces it comes.
        assert_eq!(read_all(&bytes, 1 + random.below(20) as usize), whole, "{}", String::from_utf8_lossy(&bytes));
        taken += whole.0.len();
        refused += usize::from(whole.1.is_some());
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused: the seeds are too wrong or too right");
}

/// Says back what it got; `/admit` is refused before the body.
struct Echo(Mutex<Vec<String>>);

impl Service for Echo {
    fn admit(&self, head: &Head) -> Result<(), Response> {
        if head.path == "/admit" { Err(Response::new(403, "no".to_string())) } else { Ok(()) }
    }

    fn answer(&self, head: &Head, body: &[u8]) -> Response {
        let said = format!("{} {} {}", head.method, head.path, String::from_utf8_lossy(body));
        self.0.lock().unwrap().push(said.clone());
        if head.path == "/nothing" { Response::new(204, String::new()) } else { Response::new(200, said) }
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        Response::new(refusal.status, refusal.why.clone()).with("X-Evil", "a\r\nb: c")
    }
}

struct Server {
    address: std::net::SocketAddr,
    open: Arc<AtomicUsize>,
}

fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, open) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = open.clone();
    thread::spawn(move || serve(&listener, &Arc::new(Echo(Mutex::default())), &counted));
    Server { address, open }
}

/// All that is answered to these bytes until the server closes.
fn ask(server: &Server, bytes: &str) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|response| &response[..3]).collect()
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let answer = ask(
        &server(),
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: h\r\n\r\n\
         POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi\
         POST /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: x, Close\r\n\r\n2\r\nho\r\n0\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    assert_eq!(statuses(&answer), ["200", "200", "204", "200"], "{answer}");
    let parts: Vec<_> = answer.split("HTTP/1.1 ").collect();
    assert!(parts[1].contains("Content-Length: 7\r\n") && parts[1].ends_with("\r\n\r\nGET /1 "), "{answer}");
    assert!(parts[2].contains("Content-Length: 8\r\n") && parts[2].ends_with("\r\n\r\n"), "{answer}");
    assert!(!parts[3].contains("Content-Length") && parts[3].ends_with("\r\n\r\n"), "{answer}");
    assert!(parts[4].contains("Connection: close\r\n") && parts[4].ends_with("POST /3 ho"), "{answer}");
}

#[test]
fn after_what_cannot_be_read_nothing_more_is_read() {
    let smuggled = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 35\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                    GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let answer = ask(&server(), smuggled);
    assert_eq!(statuses(&answer), ["400"], "{answer}");
    assert!(answer.contains("Connection: close\r\n"));
    assert!(answer.contains("X-Evil: a  b: c\r\n"), "a field's value stays on its line: {answer}");
    let long = format!("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n{}", "x".repeat(2_000_000));
    let answer = ask(&server(), &long);
    assert_eq!(statuses(&answer), ["413"], "it can be read although more was sent: {answer}");
}

#[test]
fn a_body_is_asked_for_only_when_it_is_wanted() {
    let server = server();
    let head = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-Continue\r\nConnection: close\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(head("/1").as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("POST /1 hi"), "{answer}");
    assert_eq!(statuses(&ask(&server, &head("/admit"))), ["403"]);
    let other = "GET / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\n\r\n";
    assert_eq!(statuses(&ask(&server, other)), ["417"]);
    let refused = "GET /admit HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.0\r\nHost: h\r\n\r\n";
    assert_eq!(statuses(&ask(&server, refused)), ["403", "200"], "without a body the connection goes on");
}

#[test]
fn one_connection_too_many_is_told_so_and_its_place_comes_back() {
    let server = server();
    let mut idle: Vec<_> = (0..MAX_CONNECTIONS).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    // A response each: all of them are counted now.
    for stream in &mut idle {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
    }
    assert_eq!(server.open.load(Ordering::Relaxed), MAX_CONNECTIONS);
    let mut answer = String::new();
    let mut one_more = TcpStream::connect(server.address).unwrap();
    one_more.read_to_string(&mut answer).unwrap();
    assert_eq!(statuses(&answer), ["503"], "{answer}");
    assert!(answer.contains("Retry-After: 1\r\n"));
    drop(idle);
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.open.load(Ordering::Relaxed) > 0 {
        assert!(Instant::now() < deadline, "{} places are still taken", server.open.load(Ordering::Relaxed));
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(statuses(&ask(&server, "GET / HTTP/1.0\r\nHost: h\r\n\r\n")), ["200"]);
}

/// What comes a byte at a time has a deadline as a whole: `more` is asked with one that has passed.
#[test]
fn what_comes_too_late_is_refused_even_if_something_comes() {
    let mut input = Input::new(Bytes { rest: b"GET", piece: 1 });
    let passed = Instant::now() - Duration::from_secs(1);
    assert!(matches!(input.more(passed, "late"), Err(End::Refused(Refusal { status: 408, .. }))));
    assert!(input.more(Instant::now() + Duration::from_secs(1), "late").is_ok());
}
