//! `client web` as a process, and a small HTTP client that says what came byte for byte.
#![allow(dead_code)] // each test file uses a part of it

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::common::{Lab, PATIENCE, free_ports};

#[path = "../../client/json.rs"]
pub mod json;

use json::Json;

/// `client web` for the nodes of a [`Lab`]; it ends with this, or with the test.
pub struct Web {
    child: Child,
    base: u16,
}

/// What was answered.
pub struct Response {
    pub status: u16,
    /// Status line and fields, as they came.
    pub head: String,
    pub body: String,
}

impl Web {
    /// Starts it and waits until it listens.
    pub fn start(lab: &Lab, arguments: &[&str]) -> Web {
        let base = free_ports(lab.size());
        let mut child = command(lab, base, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for node in 1..=lab.size() {
            let line = lines.next().unwrap_or_else(|| panic!("client web has ended")).unwrap();
            assert!(line.starts_with(&format!("node_{node} at http://")), "{line}");
        }
        Web { child, base }
    }

    /// Where it speaks for this node.
    pub fn address(&self, node: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.base + node as u16 - 1))
    }

    /// `http://localhost:8080/keys/a`
    pub fn url(&self, node: usize, path: &str) -> String {
        format!("http://localhost:{}{path}", self.address(node).port())
    }

    /// Sends these bytes and returns all that is answered until the server closes the connection.
    pub fn raw(&self, node: usize, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address(node)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{error} behind {answer:?}"));
        answer
    }

    /// One request on a connection of its own, with these fields besides Host.
    pub fn ask(&self, node: usize, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Response {
        let mut fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        if !fields.contains("Host: ") {
            fields.push_str(&format!("Host: {}\r\n", self.address(node)));
        }
        let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        let request = format!("{method} {path} HTTP/1.1\r\n{fields}{length}Connection: close\r\n\r\n{body}");
        let answer = self.raw(node, request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        Response {
            status: status.unwrap_or_else(|| panic!("{answer}")),
            head: head.to_string(),
            body: body.to_string(),
        }
    }

    pub fn get(&self, node: usize, path: &str) -> Response {
        self.ask(node, "GET", path, &[], "")
    }

    /// A POST of JSON.
    pub fn post(&self, node: usize, path: &str, body: &str) -> Response {
        self.ask(node, "POST", path, &[("Content-Type", "application/json")], body)
    }

    /// The status of a node, as JSON.
    pub fn status(&self, node: usize) -> Json {
        self.get(node, "/admin/status").expect(200).json()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Response {
    #[track_caller]
    pub fn expect(self, status: u16) -> Response {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    /// The body, which must be JSON and must say so.
    #[track_caller]
    pub fn json(&self) -> Json {
        assert_eq!(self.field("Content-Type").as_deref(), Some("application/json"), "{}", self.head);
        Json::read(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }

    /// What the body says went wrong.
    #[track_caller]
    pub fn error(&self) -> String {
        match member(&self.json(), "error") {
            Some(Json::String(why)) => why,
            _ => panic!("no error in {}", self.body),
        }
    }

    pub fn field(&self, name: &str) -> Option<String> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::to_string)
    }
}

/// The value of a name in an object.
pub fn member(object: &Json, name: &str) -> Option<Json> {
    let Json::Object(members) = object else { return None };
    members.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

/// The same for a number.
#[track_caller]
pub fn number(object: &Json, name: &str) -> u64 {
    match member(object, name) {
        Some(Json::Number(digits)) => digits.parse().unwrap_or_else(|_| panic!("{name} is {digits}")),
        other => panic!("{name} is {other:?} in {object}"),
    }
}

/// `client web` for these nodes on these ports.
pub fn command(lab: &Lab, base: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.env_clear().env("CLUSTER", lab.peers()).args([
        "web",
        "--stop-with-stdin",
        "--http-base",
        &base.to_string(),
    ]);
    command.args(arguments);
    command
}
