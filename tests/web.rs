//! HTTP as the handout has it, with the programs that students use, and with bytes that no program would send.

mod common;
#[path = "common/web.rs"]
mod web;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{CALM, Lab, PATIENCE, free_ports};
use web::json::Json;
use web::{Web, command, member};

/// A cluster with a leader, and its web server.
fn started() -> (Lab, Web) {
    let lab = Lab::start_with(3, &CALM);
    lab.wait_for_leader();
    let web = Web::start(&lab, &["--timeout", "20"]);
    (lab, web)
}

/// Is this program on the machine? If not, the test says loudly that it proves nothing.
fn there_is(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = found.is_ok_and(|status| status.success());
    if !there {
        eprintln!("SKIPPED: there is no {program} on this machine");
    }
    there
}

/// A node's own copy is there a moment after the write.
fn wait_for_list(lab: &Lab, web: &Web, node: usize, path: &str, list: &str) {
    lab.wait_until(&format!("{path} at node {node} is {list}"), || {
        let response = web.get(node, path);
        (response.status == 200 && response.body == format!("{list}\n")).then_some(())
    });
}

#[test]
fn the_handouts_requests_with_curl() {
    if !there_is("curl") {
        return;
    }
    let (lab, web) = started();
    let curl = |arguments: &[&str]| {
        let output =
            Command::new("curl").args(["-s", "--max-time", "30", "-w", "%{http_code}"]).args(arguments).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let json = "Content-Type: application/json";
    for node in 1..=3 {
        let key = format!("/keys/a{node}");
        let put = "{\"type\": \"PUT\",\n\"value\": [\"cat\", \"dog\"]\n}\n";
        assert_eq!(curl(&["-H", json, "-d", put, &web.url(node, &key)]), "204");
        let append = "{\"type\": \"APPEND\",\n\"value\": [\"mouse\"]\n}\n";
        assert_eq!(curl(&["-H", json, "-d", append, &web.url(node, &key)]), "204");
        let read = curl(&[&web.url(node % 3 + 1, &format!("{key}?consistency=linearizable"))]);
        assert_eq!(read, "[\"cat\",\"dog\",\"mouse\"]\n200");
        wait_for_list(&lab, &web, node, &key, "[\"cat\",\"dog\",\"mouse\"]");
        assert!(curl(&[&web.url(node, "/admin/status")]).ends_with("\"enabled_code_version\":0}\n200"));
    }
    // A body of a length that curl does not know beforehand, and one for which it asks first.
    let long = format!("{{\"type\": \"PUT\", \"value\": [\"{}\"]}}", "x".repeat(60_000));
    for fields in [&["-H", "Transfer-Encoding: chunked"][..], &["-H", "Expect: 100-continue"]] {
        let url = web.url(1, "/keys/long");
        let arguments = [&["-H", json, "--data-binary", "@-", &url], fields].concat();
        let mut child = Command::new("curl")
            .args(["-s", "--max-time", "30", "-w", "%{http_code}"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(long.as_bytes()).unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"204");
    }
    let head = curl(&["--head", &web.url(2, "/keys/a1?consistency=linearizable")]);
    assert!(head.contains("200 OK") && head.contains("Content-Length: 22") && !head.contains("mouse"), "{head}");
}

/// Python's client keeps its connection: one for all requests, and what it reads is JSON to its own reader.
#[test]
fn the_handouts_requests_with_python() {
    if !there_is("python3") {
        return;
    }
    const SCRIPT: &str = r#"
import http.client, json, sys
port = int(sys.argv[1])
c = http.client.HTTPConnection("localhost", port, timeout=30)
def ask(method, path, body=None):
    headers = {"Content-Type": "application/json"} if body is not None else {}
    c.request(method, path, json.dumps(body) if body is not None else None, headers)
    r = c.getresponse()
    text = r.read()
    return r.status, json.loads(text) if text else None
assert ask("POST", "/keys/a", {"type": "PUT", "value": ["cat", "dog"]}) == (204, None)
first = c.sock
assert ask("POST", "/keys/a", {"type": "APPEND", "value": "m\u00f6use \U0001f42d \"\\\n"}) == (204, None)
assert ask("GET", "/keys/a?consistency=linearizable") == (200, ["cat", "dog", "m\u00f6use \U0001f42d \"\\\n"])
assert ask("GET", "/keys?consistency=linearizable") == (200, ["a"])
status, state = ask("GET", "/admin/status")
assert status == 200 and state["partner_nodes_count"] == 2 and state["has_quorum"] is True, state
status, explained = ask("GET", "/admin/status/explain")
assert list(explained) == list(state), explained
assert all(set(field) == {"value", "why"} for field in explained.values()), explained
status, nodes = ask("GET", "/admin/cluster")
assert [node["node"] for node in nodes] == ["node_1", "node_2", "node_3"] and all(node["up"] for node in nodes), nodes
status, error = ask("GET", "/keys/none")
assert status == 404 and "none" in error["error"], error
assert ask("DELETE", "/keys/a")[0] == 405
assert c.sock is first, "the connection was not kept"
# A body without a length is chunked.
c.request("POST", "/keys/b", iter([b'{"type": "PUT", ', b'"value": []}']), {"Content-Type": "application/json"})
assert c.getresponse().read() == b""
assert ask("GET", "/keys/b?consistency=linearizable") == (200, [])
print("all as it should be")
"#;
    let (_lab, web) = started();
    let port = web.address(2).port().to_string();
    let output = Command::new("python3").args(["-c", SCRIPT, &port]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "all as it should be\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_no_program_sends_is_refused_and_harms_nobody() {
    let (lab, web) = started();
    let before = lab.wait_for_equal_logs();
    let put = r#"{"type":"PUT","value":["x"]}"#;
    let post = |fields: &str, body: &str| {
        format!("POST /keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{fields}\r\n\r\n{body}")
    };
    let chunks = format!("{:x}\r\n{put}\r\n0\r\n\r\n", put.len());
    for (bytes, status) in [
        (post(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked", put.len()), &chunks), "400"),
        (post("Content-Length: 28\r\nContent-Length: 28", put), "400"),
        (post("Content-Length: 28\r\nContent-Length: 5", put), "400"),
        (post("Content-Length: 28, 28", put), "400"),
        (post("Content-Length: +28", put), "400"),
        (post("Content-Length : 28", put), "400"),
        (post("Content-Length: 28\r\nX: a\rb", put), "400"),
        (post("Content-Length: 28\r\nX: a\r\n b", put), "400"),
        (post("Content-Length: 28\nX: a", put), "400"),
        (post("Content-Length: 28\r\nX: \0", put), "400"),
        (post("Content-Length: 28\r\nHost: localhost", put), "400"),
        (post("Transfer-Encoding: chunked", "1c \r\n"), "400"),
        (post("Transfer-Encoding: chunked", "fffffffffffffffff\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "1\r\n{}\r\n"), "400"),
        (post("Transfer-Encoding: gzip", put), "501"),
        (post("Content-Length: 1048577", put), "413"),
        (post("X: y", put), "411"),
        (post("Content-Length: 28\r\nExpect: something", put), "417"),
        ("GET /keys HTTP/1.1\r\n\r\n".to_string(), "400"),
        ("GET /keys HTTP/2.0\r\nHost: localhost\r\n\r\n".to_string(), "505"),
        ("BREW /keys HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string(), "501"),
        (format!("GET /keys/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(9000)), "414"),
        (format!("GET /keys HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(20_000)), "431"),
        (format!("GET /keys HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(100)), "431"),
        ("append \"x\"\r\n\r\n".to_string(), "400"),
    ] {
        let hidden = format!("{bytes}POST /keys/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = web.raw(1, hidden.as_bytes());
        assert_eq!(answer.get(9..12), Some(status), "{bytes:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "the connection must end: {bytes:?}: {answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let why = Json::read(body).ok().and_then(|body| member(&body, "error"));
        assert!(why.is_some(), "{bytes:?}: {answer}");
    }
    // Whatever they are, they end with an answer or without one.
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], b"\0\0\0\r\n\r\n", b"\xff\xfe\r\n\r\n"]
    {
        assert_eq!(web.raw(2, bytes).get(9..12), Some("400"));
    }
    web.get(1, "/keys/a").expect(404);
    assert_eq!(lab.wait_for_equal_logs(), before);
}

/// A head that never ends, and one that comes a byte at a time: each has its time as a whole.
#[test]
fn slow_senders_are_told_so() {
    let lab = Lab::prepare(1, &[]);
    let web = Web::start(&lab, &[]);
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(web.raw(1, b"GET /keys HTTP/1.1\r\nHost: ").get(9..12), Some("408")));
        let mut dripping = TcpStream::connect(web.address(1)).unwrap();
        dripping.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut answer = [0; 12];
        dripping.write_all(b"GET /keys HTTP/1.1\r\nX: ").unwrap();
        while dripping.read(&mut answer).is_err() {
            assert!(Instant::now() < deadline, "a byte now and then keeps it for ever");
            dripping.write_all(b"x").unwrap();
        }
        assert_eq!(&answer[9..], b"408");
    });
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let (_lab, web) = started();
    for (body, part) in [
        ("", "expected a JSON value"),
        ("[]", "it is an array"),
        ("{“type”: 1}", "line 1, column 2"),
        (r#"{"type":"PUT"}"#, "\"value\" is missing"),
        (r#"{"value":[]}"#, "\"type\" is missing"),
        (r#"{"type":"put","value":[]}"#, "\"type\" is \"put\""),
        (r#"{"type":1,"value":[]}"#, "\"type\" is a number"),
        (r#"{"type":"PUT","value":{}}"#, "\"value\" is an object"),
        (r#"{"type":"PUT","value":["a",1]}"#, "\"value\" holds a number"),
        (r#"{"type":"PUT","value":[],"x":1}"#, "\"x\" is unknown"),
        (r#"{"type":"PUT","type":"APPEND","value":[]}"#, "each name once"),
        (r#"{"type":"APPEND","value":[]}"#, "at least one"),
    ] {
        let response = web.post(1, "/keys/a", body).expect(400);
        assert!(response.error().contains(part), "{body}: {}", response.body);
    }
    let many = |count: usize| format!(r#"{{"type":"PUT","value":[{}]}}"#, vec!["\"\""; count].join(","));
    let long = |bytes: usize| format!(r#"{{"type":"PUT","value":"{}"}}"#, "x".repeat(bytes));
    web.post(1, "/keys/a", &many(1024)).expect(204);
    assert!(web.post(1, "/keys/a", &many(1025)).expect(413).error().contains("1024 strings"));
    web.post(1, "/keys/a", &long(65_535)).expect(204);
    assert!(web.post(1, "/keys/a", &long(65_536)).expect(413).error().contains("65536 bytes"));
    assert!(web.post(1, "/keys/log", r#"{"type":"PUT","value":[]}"#).expect(403).error().contains("only grows"));
    for (path, status) in [
        ("/", 404),
        ("/keys/", 404),
        ("/keys/a/b", 404),
        ("/admin/statu", 404),
        ("/keys/%zz", 400),
        ("/keys/%ff", 400),
        ("/keys/a?x=1", 400),
        ("/keys/a?consistency=strong", 400),
        ("/keys/a?consistency=local&consistency=local", 400),
        ("/admin/status?x", 400),
    ] {
        assert!(!web.get(2, path).expect(status).error().is_empty());
    }
    web.get(2, &format!("/keys/{}", "k".repeat(256))).expect(404);
    assert!(web.get(2, &format!("/keys/{}", "k".repeat(257))).expect(400).error().contains("256 bytes"));
    for (method, path, allowed) in [
        ("DELETE", "/keys/a", "GET, HEAD, POST"),
        ("PUT", "/keys/a", "GET, HEAD, POST"),
        ("OPTIONS", "/keys/a", "GET, HEAD, POST"),
        ("POST", "/keys", "GET, HEAD"),
        ("POST", "/admin/status", "GET, HEAD"),
    ] {
        let response = web.ask(1, method, path, &[("Content-Type", "application/json")], "{}").expect(405);
        assert_eq!(response.field("Allow").as_deref(), Some(allowed));
    }
}

/// What a page of another origin could make a browser send, and what leads a browser here under another name.
#[test]
fn a_page_of_another_origin_changes_nothing() {
    let (lab, web) = started();
    let own = web.url(1, "");
    let put = r#"{"type":"PUT","value":["x"]}"#;
    let json = ("Content-Type", "application/json");
    for (fields, status) in [
        // A form can send these, and any script without asking first.
        (&[("Content-Type", "text/plain")][..], 415),
        (&[("Content-Type", "application/x-www-form-urlencoded")], 415),
        (&[("Content-Type", "multipart/form-data; boundary=application/json")], 415),
        (&[("Content-Type", "text/plain; application/json")], 415),
        (&[], 415),
        (&[json, ("Origin", "http://evil.example")], 403),
        (&[json, ("Origin", "null")], 403),
        (&[json, ("Origin", "http://localhost")], 403),
        (&[json, ("Origin", &own), ("Origin", "http://evil.example")], 403),
        // A name of another's that leads to this address (DNS rebinding).
        (&[json, ("Host", "evil.example")], 421),
        (&[json, ("Host", "localhost.evil.example:8080")], 421),
        (&[json, ("Host", "evil.example:80@localhost")], 421),
        (&[json, ("Host", "localhost:80:80")], 421),
        (&[json, ("Host", "")], 421),
    ] {
        let response = web.ask(1, "POST", "/keys/a", fields, put).expect(status);
        assert!(!response.error().is_empty());
    }
    let preflight = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")];
    let answer = web.ask(1, "OPTIONS", "/keys/a", &preflight, "").expect(403);
    assert!(!answer.head.contains("Access-Control"), "{}", answer.head);
    web.ask(1, "GET", "/keys/a", &[("Origin", "http://evil.example")], "").expect(403);
    web.ask(1, "GET", "http://evil.example/keys/a", &[("Host", "localhost")], "").expect(421);
    web.get(1, "/keys/a?consistency=linearizable").expect(404);
    let host = own.trim_start_matches("http://");
    web.ask(1, "POST", "/keys/a", &[json, ("Host", host), ("Origin", &own)], put).expect(204);
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:65535", "[::1]:8080", "[::1]"] {
        web.ask(1, "GET", "/keys/a?consistency=linearizable", &[("Host", host)], "").expect(200);
    }
    let named = Web::start(&lab, &["--host", "Lab.example,other"]);
    named.ask(1, "GET", "/keys/a", &[("Host", "lab.example:9")], "").expect(200);
    named.ask(1, "GET", "/keys/a", &[("Host", "third")], "").expect(421);
}

#[test]
fn any_key_has_a_path() {
    let (lab, web) = started();
    for (path, key) in
        [("a%2Fb", "a/b"), ("%20", " "), ("%C3%A9%22", "é\\\""), ("a+b", "a+b"), ("%25", "%"), ("..", "..")]
    {
        let path = format!("/keys/{path}");
        web.post(1, &path, r#"{"type":"APPEND","value":"1"}"#).expect(204);
        web.post(2, &path, r#"{"type":"APPEND","value":["2","3"]}"#).expect(204);
        let read = web.get(3, &format!("{path}?consistency=linearizable")).expect(200);
        assert_eq!(read.body, "[\"1\",\"2\",\"3\"]\n");
        let keys = web.get(3, "/keys?consistency=linearizable").expect(200);
        assert!(keys.body.contains(&format!("\"{key}\"")), "{key} is not in {}", keys.body);
    }
    // The lab's log is the list of one key.
    lab.append("SET 5");
    web.post(1, "/keys/log", r#"{"type":"APPEND","value":"ADD 1"}"#).expect(204);
    assert_eq!(web.get(2, "/keys/log?consistency=linearizable").expect(200).body, "[\"SET 5\",\"ADD 1\"]\n");
    let local = web.get(2, "/keys/log").expect(200);
    assert_eq!(local.field("Raft-Node").as_deref(), Some("node_2"));
    for name in ["Raft-Applied-Index", "Raft-Heard-Leader-Seconds", "Raft-Changed"] {
        assert!(local.field(name).is_some(), "{name}: {}", local.head);
    }
}

/// Each string is there once and in order, although the leader dies under it, with clients at every port.
#[test]
fn writes_outlive_the_leader_exactly_once() {
    const WRITES: usize = 40;
    let mut lab = Lab::start(3);
    let leader = lab.wait_for_leader();
    let web = Web::start(&lab, &["--timeout", "25"]);
    thread::scope(|scope| {
        let clients: Vec<_> = (1..=3)
            .map(|node| {
                let web = &web;
                scope.spawn(move || {
                    for number in 0..WRITES {
                        let body = format!(r#"{{"type":"APPEND","value":"{number}"}}"#);
                        web.post(node, &format!("/keys/{node}"), &body).expect(204);
                    }
                })
            })
            .collect();
        lab.wait_until("a write through each port", || (1..=3).all(|key| some(&lab, key)).then_some(()));
        lab.kill(leader);
        lab.wait_for_leader();
        lab.start_node(leader);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let all: Vec<String> = (0..WRITES).map(|number| format!("\"{number}\"")).collect();
    for key in 1..=3 {
        let list = web.get(key, &format!("/keys/{key}?consistency=linearizable")).expect(200);
        assert_eq!(list.body, format!("[{}]\n", all.join(",")));
    }
}

/// Does a node know of a string under this key?
fn some(lab: &Lab, key: usize) -> bool {
    lab.running()
        .iter()
        .any(|node| lab.ask(*node, &format!("get \"{key}\" local")).is_ok_and(|lines| lines[0].starts_with("value")))
}

#[test]
fn without_a_majority_it_says_what_is_down_and_what_may_still_happen() {
    let mut lab = Lab::start_with(3, &CALM);
    let leader = lab.wait_for_leader();
    let web = Web::start(&lab, &["--timeout", "3"]);
    let others: Vec<usize> = (1..=3).filter(|node| *node != leader).collect();
    lab.wait_until("the first write", || {
        (web.post(leader, "/keys/a", r#"{"type":"PUT","value":["cat"]}"#).status == 204).then_some(())
    });
    wait_for_list(&lab, &web, leader, "/keys/a", "[\"cat\"]");
    others.iter().for_each(|node| lab.pause(*node));
    // The leader takes it, and waits for a majority that does not come.
    let response = web.post(others[0], "/keys/a", r#"{"type":"APPEND","value":"dog"}"#).expect(503);
    assert_eq!(member(&response.json(), "may_still_happen"), Some(Json::Bool(true)), "{}", response.body);
    assert!(response.error().contains("may still be committed"), "{}", response.body);
    others.iter().for_each(|node| lab.kill(*node));
    lab.wait_until("the leader steps down", || {
        let status = web.status(leader);
        (member(&status, "leader") == Some(Json::Null)).then_some(())
    });
    let response = web.post(leader, "/keys/a", r#"{"type":"APPEND","value":"mouse"}"#).expect(503);
    assert_eq!(member(&response.json(), "may_still_happen"), Some(Json::Bool(false)), "{}", response.body);
    let read = web.get(leader, "/keys/a").expect(200);
    assert_eq!(read.body, "[\"cat\"]\n");
    assert_eq!(read.field("Raft-Heard-Leader-Seconds").as_deref(), Some("never"));
    web.get(leader, "/keys/a?consistency=linearizable").expect(503);
    for path in ["/keys/a", "/keys", "/admin/status", "/admin/status/explain"] {
        let response = web.get(others[1], path).expect(503);
        assert_eq!(member(&response.json(), "node"), Some(Json::string(format!("node_{}", others[1]))));
        assert!(response.error().contains("connection refused"), "{}", response.body);
        assert_eq!(response.field("Retry-After").as_deref(), Some("1"));
    }
    let Json::Array(nodes) = web.get(leader, "/admin/cluster").expect(200).json() else { panic!("no array") };
    let up: Vec<_> = nodes.iter().map(|node| member(node, "up") == Some(Json::Bool(true))).collect();
    assert_eq!(up, (1..=3).map(|node| node == leader).collect::<Vec<_>>());
    others.iter().for_each(|node| lab.start_node(*node));
    lab.wait_for_leader();
    let list = lab.wait_until("a linearizable read", || {
        let response = web.get(others[0], "/keys/a?consistency=linearizable");
        (response.status == 200).then_some(response.body)
    });
    assert!(["[\"cat\"]\n", "[\"cat\",\"dog\"]\n"].contains(&list.as_str()), "what was refused is there: {list}");
}

#[test]
fn ports_and_flags_are_checked_before_anything_is_said() {
    let lab = Lab::prepare(3, &[]);
    let base = free_ports(3);
    let _taken = TcpListener::bind(("127.0.0.1", base + 2)).unwrap();
    for (arguments, code, part) in [
        (&[][..], 1, "--http-base"),
        (&["--bind", "localhost"], 2, "--bind: expected an address"),
        (&["--host", "a b"], 2, "--host: expected names"),
        (&["--host", "a:80"], 2, "--host: expected names"),
        (&["word"], 2, "web takes no words"),
    ] {
        let output = command(&lab, base, arguments).stdin(Stdio::null()).output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{why}");
        assert!(why.contains(part), "{part:?} is not in {why}");
    }
    let output = command(&lab, 65_534, &[]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "node 3 would have port 65536");
    // It ends when its standard input does.
    let mut child = command(&lab, free_ports(3), &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 9];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdin.take());
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it did not end");
        thread::sleep(Duration::from_millis(10));
    }
}
