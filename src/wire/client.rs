//! What clients ask, and what nodes answer. Requests can be pipelined; answers come in order.
//!
//! ```text
//! append "x"                          ok 3@1 · redirect … · error … · unknown 3@1 …
//! append 17-9f3a01c2d4e5f607 5 "x"    the same; applied once however often it is sent
//! session                             session 17-9f3a01c2d4e5f607
//! log · log from=5 · log from=5 local lines like 2@1 "SET 5", then end next=6 commit=9
//! status                              status node=node_1 role=leader term=3 …
//! watch                               ok watching node_1, then the lines of its log for ever
//! ```
//!
//! An answer of many lines ends with one that begins with `end`. Bad input gets one `error …` line,
//! then the connection is closed.

use std::sync::Arc;
use std::time::Duration;

use super::WireError;
use super::entry::{
    client_id, id_or_zero, node_id, push_append, push_client_id, push_id, read_append, read_node_id, real_id,
};
use crate::cluster::MAX_HOST_BYTES;
use crate::raft::types::{ClientId, EntryId, Index, MAX_CLUSTER_SIZE, NodeId, Role, Session, Term};
use crate::text::{Tokens, number, push_number, push_plain, push_quoted, shorten, unplain};

/// Strings in one page of `log`, at the most.
pub const LOG_PAGE: usize = 1000;
/// Text in one page of `log`, in bytes as written, at the most, unless it is one string.
pub const LOG_PAGE_BYTES: usize = 512 * 1024;
/// The longest `host:port` of a redirect, in bytes.
pub const MAX_ADDRESS_BYTES: usize = MAX_HOST_BYTES + ":65535".len();

/// The first words that a node understands, `hello` of a peer among them.
const COMMANDS: [&str; 6] = ["append", "session", "log", "status", "watch", "hello"];
const EXPECTED_COMMANDS: &str = "append, session, log, status, watch or hello";

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Append a string; with a session, at most once.
    Append { session: Option<Session>, text: Arc<str> },
    /// A name for a new session.
    Session,
    /// The committed strings from this index on, a page of them; `local`: as this node knows them,
    /// whether it leads or not.
    Log { from: Index, local: bool },
    /// How the node is.
    Status,
    /// The lines of the node's log as they come.
    Watch,
}

impl Request {
    /// Appends the request to a line, without `\n`.
    pub fn encode(&self, out: &mut String) {
        match self {
            Request::Append { session, text } => push_append(out, *session, text),
            Request::Session => out.push_str("session"),
            Request::Log { from, local } => {
                out.push_str("log");
                if *from != 1 {
                    push_number_field(out, " from=", *from);
                }
                out.push_str(if *local { " local" } else { "" });
            }
            Request::Status => out.push_str("status"),
            Request::Watch => out.push_str("watch"),
        }
    }

    /// Reads a request. `from=1` goes without saying: `log from=1` is `log`.
    pub fn decode(line: &str) -> Result<Request, WireError> {
        let mut tokens = Tokens::new(line);
        let command = tokens.word(EXPECTED_COMMANDS)?;
        tokens.about(command);
        let request = match command {
            "append" => {
                let (session, text) = read_append(&mut tokens)?;
                Request::Append { session, text }
            }
            "session" => Request::Session,
            "log" => {
                let from = if matches!(tokens.peek(), "" | "local") { 1 } else { tokens.number_field("from=")? };
                if from == 0 {
                    return Err(tokens.expected("from=", "an index, at least 1", "0"));
                }
                let local = !tokens.is_empty();
                if local {
                    tokens.literal("local")?;
                }
                Request::Log { from, local }
            }
            "status" => Request::Status,
            "watch" => Request::Watch,
            _ => {
                let tokens = Tokens::new(line);
                return Err(tokens.expected("the command", EXPECTED_COMMANDS, command));
            }
        };
        tokens.end()?;
        Ok(request)
    }
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// No leader is known; an election may be on its way. Try again, here or elsewhere.
    NoLeader,
    /// Too much waits already, or the leader is too new to answer. Try again later.
    Busy,
    /// No majority has taken the entry in time: it may still be committed. The connection is closed.
    Unconfirmed,
    /// The session was evicted, or is too old to be known: whether the request was applied is not
    /// known any more.
    SessionExpired,
    /// A request of the session before this one has not been applied; `expected` is the next number.
    SessionGap {
        expected: u64,
    },
    /// The request was applied, but its answer is not kept any more.
    SessionForgotten,
    UnknownCommand,
    /// The line cannot be read; the connection is closed.
    BadRequest,
    /// The connection is not taken: too many are open.
    TooManyConnections,
    /// A `hello` of another cluster, or of a node that is no other member.
    NotThisCluster,
}

/// The codes that are a word alone. [`ErrorCode::SessionGap`] is the one with more.
const CODES: [(ErrorCode, &str); 9] = [
    (ErrorCode::NoLeader, "no-leader"),
    (ErrorCode::Busy, "busy"),
    (ErrorCode::Unconfirmed, "unconfirmed"),
    (ErrorCode::SessionExpired, "session-expired"),
    (ErrorCode::SessionForgotten, "session-forgotten"),
    (ErrorCode::UnknownCommand, "unknown-command"),
    (ErrorCode::BadRequest, "bad-request"),
    (ErrorCode::TooManyConnections, "too-many-connections"),
    (ErrorCode::NotThisCluster, "not-this-cluster"),
];

/// What a node answers, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The string is committed, as this entry.
    Appended(EntryId),
    /// The string was taken as this entry, but may be committed or not.
    Unknown {
        id: EntryId,
        why: String,
    },
    /// Ask the leader.
    Redirect {
        leader: NodeId,
        address: String,
    },
    Error {
        code: ErrorCode,
        text: String,
    },
    Session(ClientId),
    /// One string of `log`.
    Entry {
        id: EntryId,
        text: Arc<str>,
    },
    /// The end of a page of `log`: ask for `next` to go on. When all that is committed was sent,
    /// `next` is `commit + 1`.
    End {
        next: Index,
        commit: Index,
    },
    Status(NodeStatus),
    Watching(NodeId),
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub node: NodeId,
    pub role: Role,
    pub term: Term,
    pub leader: Option<NodeId>,
    pub last: EntryId,
    pub commit: Index,
    pub applied: Index,
    /// Each peer, and whether this node has a connection to it.
    pub peers: Vec<(NodeId, bool)>,
    pub size: u64,
    /// How long the process runs; written in tenths of a second.
    pub uptime: Duration,
    /// How often the process has synced its log (fdatasync).
    pub syncs: u64,
    /// How many messages the process has sent to its peers.
    pub sent: u64,
}

impl Answer {
    /// The answer to a line that [`Request::decode`] could not read.
    pub fn refusing(line: &str, error: &WireError) -> Answer {
        let command = Tokens::new(line).peek();
        if command.is_empty() || COMMANDS.contains(&command) {
            return Answer::Error { code: ErrorCode::BadRequest, text: error.to_string() };
        }
        let text = format!("{}: expected {EXPECTED_COMMANDS}", shorten(command));
        Answer::Error { code: ErrorCode::UnknownCommand, text }
    }

    /// Appends the answer to a line, without `\n`.
    pub fn encode(&self, out: &mut String) {
        match self {
            Answer::Appended(id) => {
                out.push_str("ok ");
                push_id(out, *id);
            }
            Answer::Unknown { id, why } => {
                out.push_str("unknown ");
                push_id(out, *id);
                push_words(out, why);
            }
            Answer::Redirect { leader, address } => {
                out.push_str("redirect ");
                push_node(out, *leader);
                out.push(' ');
                out.push_str(address);
            }
            Answer::Error { code, text } => {
                out.push_str("error ");
                match code {
                    ErrorCode::SessionGap { expected } => push_number_field(out, "session-gap expected ", *expected),
                    _ => out.extend(CODES.iter().filter(|(known, _)| known == code).map(|(_, word)| *word)),
                }
                push_words(out, text);
            }
            Answer::Session(client) => {
                out.push_str("session ");
                push_client_id(out, *client);
            }
            Answer::Entry { id, text } => {
                push_id(out, *id);
                out.push(' ');
                push_quoted(out, text);
            }
            Answer::End { next, commit } => {
                push_number_field(out, "end next=", *next);
                push_number_field(out, " commit=", *commit);
            }
            Answer::Status(status) => status.encode(out),
            Answer::Watching(node) => {
                out.push_str("ok watching ");
                push_node(out, *node);
            }
        }
    }

    /// Reads one line of an answer.
    pub fn decode(line: &str) -> Result<Answer, WireError> {
        let mut tokens = Tokens::new(line);
        let kind = tokens.word("an answer")?;
        tokens.about(kind);
        let answer = match kind {
            "ok" if tokens.peek() == "watching" => {
                tokens.literal("watching")?;
                Answer::Watching(read_node_id(&mut tokens, "the node")?)
            }
            "ok" => Answer::Appended(read_real_id(&mut tokens)?),
            "unknown" => Answer::Unknown { id: read_real_id(&mut tokens)?, why: read_words(&mut tokens)? },
            "redirect" => Answer::Redirect {
                leader: read_node_id(&mut tokens, "the leader")?,
                address: read_address(&mut tokens)?,
            },
            "error" => Answer::Error { code: read_code(&mut tokens)?, text: read_words(&mut tokens)? },
            "session" => {
                let word = tokens.word("a session")?;
                let client = client_id(word);
                Answer::Session(client.ok_or_else(|| tokens.expected("the session", "17-9f3a01c2d4e5f607", word))?)
            }
            "end" => Answer::End { next: tokens.number_field("next=")?, commit: tokens.number_field("commit=")? },
            "status" => Answer::Status(NodeStatus::read(&mut tokens)?),
            _ => match real_id(kind) {
                Some(id) => Answer::Entry { id, text: Arc::from(&*tokens.string("the text")?) },
                None => return Err(Tokens::new("").expected("the answer", "ok, redirect, error, …", kind)),
            },
        };
        tokens.end()?;
        Ok(answer)
    }
}

impl NodeStatus {
    fn encode(&self, out: &mut String) {
        out.push_str("status node=");
        push_node(out, self.node);
        out.push_str(" role=");
        out.push_str(self.role.name());
        push_number_field(out, " term=", self.term);
        out.push_str(" leader=");
        match self.leader {
            Some(leader) => push_node(out, leader),
            None => out.push_str("none"),
        }
        out.push_str(" last=");
        push_id(out, self.last);
        push_number_field(out, " commit=", self.commit);
        push_number_field(out, " applied=", self.applied);
        out.push_str(" peers=");
        for (number, (peer, up)) in self.peers.iter().enumerate() {
            out.push_str(if number > 0 { "," } else { "" });
            push_node(out, *peer);
            out.push_str(if *up { ":up" } else { ":down" });
        }
        if self.peers.is_empty() {
            out.push_str("none");
        }
        push_number_field(out, " size=", self.size);
        push_number_field(out, " uptime=", self.uptime.as_secs());
        push_number_field(out, ".", u64::from(self.uptime.subsec_millis() / 100));
        push_number_field(out, " syncs=", self.syncs);
        push_number_field(out, " sent=", self.sent);
    }

    fn read(tokens: &mut Tokens) -> Result<NodeStatus, WireError> {
        let node = tokens.field("node=")?;
        let node = node_id(node).ok_or_else(|| tokens.expected("node=", "node_1, …", node))?;
        let word = tokens.field("role=")?;
        let role = Role::ALL.into_iter().find(|role| role.name() == word);
        let role =
            role.ok_or_else(|| tokens.expected("role=", "follower, pre-candidate, candidate or leader", word))?;
        let term = tokens.number_field("term=")?;
        let leader = match tokens.field("leader=")? {
            "none" => None,
            word => Some(node_id(word).ok_or_else(|| tokens.expected("leader=", "node_1, … or none", word))?),
        };
        let last = tokens.field("last=")?;
        let last = id_or_zero(last).ok_or_else(|| tokens.expected("last=", "INDEX@TERM", last))?;
        let commit = tokens.number_field("commit=")?;
        let applied = tokens.number_field("applied=")?;
        let peers = read_peers(tokens)?;
        let size = tokens.number_field("size=")?;
        let word = tokens.field("uptime=")?;
        let uptime = uptime(word).ok_or_else(|| tokens.expected("uptime=", "seconds like 12.3", word))?;
        let syncs = tokens.number_field("syncs=")?;
        let sent = tokens.number_field("sent=")?;
        Ok(NodeStatus { node, role, term, leader, last, commit, applied, peers, size, uptime, syncs, sent })
    }
}

fn read_peers(tokens: &mut Tokens) -> Result<Vec<(NodeId, bool)>, WireError> {
    let word = tokens.field("peers=")?;
    if word == "none" {
        return Ok(Vec::new());
    }
    let peer = |part: &str| {
        let (node, state) = part.split_once(':')?;
        let up = match state {
            "up" => true,
            "down" => false,
            _ => return None,
        };
        Some((node_id(node)?, up))
    };
    let peers: Option<Vec<_>> = word.split(',').take(MAX_CLUSTER_SIZE as usize + 1).map(peer).collect();
    let known = peers.filter(|peers| peers.len() <= MAX_CLUSTER_SIZE as usize);
    known.ok_or_else(|| tokens.expected("peers=", "node_2:up,node_3:down or none", word))
}

fn uptime(text: &str) -> Option<Duration> {
    let (seconds, tenths) = text.split_once('.')?;
    let tenths = number(tenths).filter(|tenths| *tenths < 10)?;
    Some(Duration::from_secs(number(seconds)?) + Duration::from_millis(tenths * 100))
}

fn push_node(out: &mut String, node: NodeId) {
    out.push_str("node_");
    push_number(out, node.0);
}

fn push_number_field(out: &mut String, name: &str, number: u64) {
    out.push_str(name);
    push_number(out, number);
}

/// Appends words at the end of a line, if there are any, after a space.
fn push_words(out: &mut String, words: &str) {
    if !words.is_empty() {
        out.push(' ');
        push_plain(out, words);
    }
}

fn read_words(tokens: &mut Tokens) -> Result<String, WireError> {
    match tokens.rest().strip_prefix(' ') {
        None => Ok(String::new()),
        Some("") => Err(tokens.error("expected words after the last space, found nothing")),
        Some(words) => unplain(words).map(|words| words.into_owned()).map_err(|error| tokens.error(error)),
    }
}

fn read_real_id(tokens: &mut Tokens) -> Result<EntryId, WireError> {
    let word = tokens.word("an entry like 2@1")?;
    real_id(word).ok_or_else(|| tokens.expected("the entry", "INDEX@TERM, both at least 1", word))
}

fn read_code(tokens: &mut Tokens) -> Result<ErrorCode, WireError> {
    let word = tokens.word("a code")?;
    if word == "session-gap" {
        tokens.literal("expected")?;
        return Ok(ErrorCode::SessionGap { expected: tokens.number("the expected number")? });
    }
    let code = CODES.iter().find(|(_, known)| *known == word).map(|(code, _)| *code);
    code.ok_or_else(|| tokens.expected("the code", "no-leader, busy, session-expired, …", word))
}

/// `host:port` as [`cluster`](crate::cluster) takes it; whether the host exists shows in connecting.
fn read_address(tokens: &mut Tokens) -> Result<String, WireError> {
    let word = tokens.word("the leader's address")?;
    let parts = word.rsplit_once(':').filter(|(host, _)| !host.is_empty() && word.len() <= MAX_ADDRESS_BYTES);
    let port = parts.and_then(|(_, port)| number(port)).filter(|port| (1..=65535).contains(port));
    let clean = word.bytes().all(|byte| byte.is_ascii_graphic());
    match port {
        Some(_) if clean => Ok(word.to_string()),
        _ => Err(tokens.expected("the leader's address", "host:port", word)),
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
