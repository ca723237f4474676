//! A client as the nodes' protocol wants it: a session, numbered requests, and retries until the
//! answer is certain. It has its own connection and may live in a thread of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use raft_lab::raft::types::{ClientId, EntryId, Session};
use raft_lab::wire::client::{Answer, ErrorCode, Request};

use super::Connection;

/// A node that says nothing for so long is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(3);

pub struct Appender {
    nodes: Vec<SocketAddr>,
    /// The node that is asked next.
    at: usize,
    connection: Option<Connection>,
    session: Option<Session>,
    /// How often something was asked again.
    pub retries: u64,
}

impl Appender {
    /// A client that begins with the node at `first`, counted from 0.
    pub fn new(nodes: Vec<SocketAddr>, first: usize) -> Appender {
        Appender { at: first % nodes.len(), nodes, connection: None, session: None, retries: 0 }
    }

    /// Appends a string exactly once. The error says what was answered that must not be, or that the
    /// deadline has passed.
    pub fn append(&mut self, text: &str, deadline: Instant) -> Result<EntryId, String> {
        let mut session = self.next_request(deadline)?;
        let request = Request::Append { session: Some(session), text: text.into() };
        loop {
            match self.ask(&request) {
                Some(Answer::Appended(id)) => {
                    session.seq += 1;
                    self.session = Some(session);
                    return Ok(id);
                }
                Some(Answer::Redirect { address, .. }) => {
                    self.move_to(self.nodes.iter().position(|node| node.to_string() == address))
                }
                Some(Answer::Error { code: ErrorCode::NoLeader | ErrorCode::Busy, .. } | Answer::Unknown { .. }) => {
                    self.move_to(None)
                }
                Some(other) => return Err(format!("{request:?} was answered with {other:?}")),
                None => self.move_to(None),
            }
            self.retries += 1;
            if Instant::now() > deadline {
                return Err(format!("{request:?} was not done in time"));
            }
        }
    }

    fn next_request(&mut self, deadline: Instant) -> Result<Session, String> {
        if let Some(session) = self.session {
            return Ok(session);
        }
        loop {
            match self.ask(&Request::Session) {
                Some(Answer::Session(client)) => return Ok(*self.session.insert(first_of(client))),
                Some(other) => return Err(format!("session was answered with {other:?}")),
                None => self.move_to(None),
            }
            if Instant::now() > deadline {
                return Err("no node gave a session in time".to_string());
            }
        }
    }

    /// One request and its answer, if there is one.
    fn ask(&mut self, request: &Request) -> Option<Answer> {
        if self.connection.is_none() {
            let connection = Connection::open(self.nodes[self.at]).ok()?;
            connection.stream.set_read_timeout(Some(PATIENCE)).ok()?;
            self.connection = Some(connection);
        }
        let connection = self.connection.as_mut()?;
        let mut line = String::new();
        request.encode(&mut line);
        connection.send(&line).ok()?;
        let mut answer = connection.whole_line().ok()?;
        // What has no newline may be the half of an answer: `ok 1` of `ok 12@3`.
        answer.pop().filter(|last| *last == '\n')?;
        Answer::decode(&answer).ok()
    }

    /// Goes to this node, or to the next one after a moment: an election may be under way.
    fn move_to(&mut self, node: Option<usize>) {
        self.connection = None;
        match node {
            Some(node) => self.at = node,
            None => {
                self.at = (self.at + 1) % self.nodes.len();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn first_of(client: ClientId) -> Session {
    Session { client, seq: 1 }
}
