//! What clients ask, and what nodes answer. Requests can be pipelined; answers come in order.
//!
//! ```text
//! append "x"                          ok 3@1 · redirect … · error … · unknown 3@1 …
//! append 17-9f3a01c2d4e5f607 5 "x"    the same; applied once however often it is sent
//! put "a" "cat" "dog"                 ok 4@1 · …, with a session as above
//! append-to "a" "mouse"               ok 5@1 · …, with a session as above
//! get "a" · get "a" from=3 local      lines like value "cat", then end-of-values next=4 total=3 changed=5@1 …
//!                                     · no-key "a" …
//! keys · keys from "b" local          lines like key "a" values=3, then end-of-keys …
//! readmit node_3                      ok 9@2 · error not-refused …
//! session                             session 17-9f3a01c2d4e5f607
//! log · log from=5 · log from=5 local lines like 2@1 "SET 5", then end next=6 commit=9
//! status                              status node=node_1 role=leader term=3 …
//! watch                               ok watching node_1, then the lines of its log for ever
//! fault cut 2 3 · fault pause 5s · …  ok fault · error faults-off …; see [`fault`](super::fault) for the words
//! ```
//!
//! An answer of many lines ends with one that begins with `end`. Bad input gets one `error …` line,
//! then the connection is closed.

use std::sync::Arc;
use std::time::Duration;

use super::WireError;
use super::entry::{
    client_id, id_field, push_append, push_client_id, push_id, push_write, read_append, read_key, read_node_id,
    read_write, real_id,
};
use super::fault::{Fault, read_fault};
pub use super::status::NodeStatus;
use super::status::{push_heard, read_heard};
use crate::cluster::MAX_HOST_BYTES;
use crate::raft::types::{ClientId, EntryId, Index, KeyWrite, NodeId, Session, WriteKind};
use crate::text::{Tokens, number, push_number, push_plain, push_quoted, shorten, unplain};

/// Strings in one page of `log`, at the most.
pub const LOG_PAGE: usize = 1000;
/// Text in one page of `log`, in bytes as written, at the most, unless it is one string.
pub const LOG_PAGE_BYTES: usize = 512 * 1024;
/// Strings in one page of `get`, and keys in one of `keys`, at the most.
pub const GET_PAGE: usize = 64 * 1024;
pub const KEYS_PAGE: usize = 1000;
/// Text in one page of `get`, in bytes as written, at the most. Any list but the lab's log fits.
pub const GET_PAGE_BYTES: usize = 6 * 1024 * 1024;
/// The longest `host:port` of a redirect, in bytes.
pub const MAX_ADDRESS_BYTES: usize = MAX_HOST_BYTES + ":65535".len();

/// The first words that a node understands, `hello` of a peer among them.
const COMMANDS: [&str; 12] =
    ["append", "put", "append-to", "get", "keys", "session", "log", "status", "watch", "readmit", "fault", "hello"];
const EXPECTED_COMMANDS: &str =
    "append, put, append-to, get, keys, session, log, status, watch, readmit, fault or hello";

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Append a string; with a session, at most once.
    Append { session: Option<Session>, text: Arc<str> },
    /// Change the list of a key; with a session, at most once.
    Write { session: Option<Session>, write: Arc<KeyWrite> },
    /// The list of a key, from its string number `from` (counted from 1) on, a page of it.
    Get { key: Arc<str>, from: u64, local: bool },
    /// The keys that have a list, in the order of their bytes, from this one on, a page of them.
    Keys { from: Option<Arc<str>>, local: bool },
    /// Count the node again, with the disk that it has come back with.
    Readmit { node: NodeId },
    /// A name for a new session.
    Session,
    /// The committed strings of the lab's log from this index on, a page of them. Here as above the
    /// leader answers with all that was committed before it was asked; `local`: this node answers with
    /// what it knows.
    Log { from: Index, local: bool },
    /// How the node is.
    Status,
    /// The lines of the node's log as they come.
    Watch,
    /// The node shall be broken in this way, if it was started with faults on.
    Fault(Fault),
}

impl Request {
    /// Appends the request to a line, without `\n`.
    pub fn encode(&self, out: &mut String) {
        match self {
            Request::Append { session, text } => push_append(out, *session, text),
            Request::Write { session, write } => push_write(out, *session, write),
            Request::Get { key, from, local } => {
                out.push_str("get ");
                push_quoted(out, key);
                if *from != 1 {
                    push_number_field(out, " from=", *from);
                }
                out.push_str(if *local { " local" } else { "" });
            }
            Request::Keys { from, local } => {
                out.push_str("keys");
                if let Some(from) = from {
                    out.push_str(" from ");
                    push_quoted(out, from);
                }
                out.push_str(if *local { " local" } else { "" });
            }
            Request::Readmit { node } => {
                out.push_str("readmit ");
                push_node(out, *node);
            }
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
            Request::Fault(fault) => {
                out.push_str("fault ");
                out.push_str(&fault.to_string());
            }
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
            "put" | "append-to" => {
                let kind = if command == "put" { WriteKind::Put } else { WriteKind::Append };
                let (session, write) = read_write(&mut tokens, kind)?;
                Request::Write { session, write }
            }
            "get" => {
                let key = read_key(&mut tokens)?;
                Request::Get { key, from: read_from(&mut tokens)?, local: read_local(&mut tokens)? }
            }
            "keys" => {
                let mut from = None;
                if tokens.peek() == "from" {
                    tokens.literal("from")?;
                    from = Some(read_key(&mut tokens)?);
                }
                Request::Keys { from, local: read_local(&mut tokens)? }
            }
            "readmit" => Request::Readmit { node: read_node_id(&mut tokens, "the node")? },
            "session" => Request::Session,
            "log" => Request::Log { from: read_from(&mut tokens)?, local: read_local(&mut tokens)? },
            "status" => Request::Status,
            "watch" => Request::Watch,
            "fault" => Request::Fault(read_fault(&mut tokens)?),
            _ => {
                let tokens = Tokens::new(line);
                return Err(tokens.expected("the command", EXPECTED_COMMANDS, command));
            }
        };
        tokens.end()?;
        Ok(request)
    }
}

/// Takes `from=5`, a place in a list; 1 goes without saying.
fn read_from(tokens: &mut Tokens) -> Result<u64, WireError> {
    let from = if matches!(tokens.peek(), "" | "local") { 1 } else { tokens.number_field("from=")? };
    if from == 0 { Err(tokens.expected("from=", "at least 1", "0")) } else { Ok(from) }
}

/// Takes `local`, if it is there.
fn read_local(tokens: &mut Tokens) -> Result<bool, WireError> {
    let local = !tokens.is_empty();
    if local {
        tokens.literal("local")?;
    }
    Ok(local)
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// No leader is known; an election may be on its way. Try again, here or elsewhere.
    NoLeader,
    /// Too much waits already. Try again later.
    Busy,
    /// No majority has taken the entry in time: it may still be committed. Or none has confirmed a read,
    /// which is not answered then. The connection is closed.
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
    /// The list of the key would grow beyond its limit: nothing was appended to it.
    Full,
    /// The node to be readmitted is counted already, or has not come back.
    NotRefused,
    UnknownCommand,
    /// The line cannot be read; the connection is closed.
    BadRequest,
    /// The connection is not taken: too many are open.
    TooManyConnections,
    /// A `hello` of another cluster, or of a node that is no other member; or a fault that names such a node.
    NotThisCluster,
    /// The node was started without leave to be broken: nothing was done.
    FaultsOff,
}

/// The codes that are a word alone. [`ErrorCode::SessionGap`] is the one with more.
const CODES: [(ErrorCode, &str); 12] = [
    (ErrorCode::NoLeader, "no-leader"),
    (ErrorCode::Busy, "busy"),
    (ErrorCode::Unconfirmed, "unconfirmed"),
    (ErrorCode::SessionExpired, "session-expired"),
    (ErrorCode::SessionForgotten, "session-forgotten"),
    (ErrorCode::Full, "full"),
    (ErrorCode::NotRefused, "not-refused"),
    (ErrorCode::UnknownCommand, "unknown-command"),
    (ErrorCode::BadRequest, "bad-request"),
    (ErrorCode::TooManyConnections, "too-many-connections"),
    (ErrorCode::NotThisCluster, "not-this-cluster"),
    (ErrorCode::FaultsOff, "faults-off"),
];

/// How fresh an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The last entry that the answering node has applied.
    pub applied: Index,
    /// How long ago it last heard its leader; as leader, a majority. `None` without a leader.
    pub heard: Option<Duration>,
}

impl Seen {
    fn encode(&self, out: &mut String) {
        push_number_field(out, " applied=", self.applied);
        push_heard(out, self.heard);
    }

    fn read(tokens: &mut Tokens) -> Result<Seen, WireError> {
        Ok(Seen { applied: tokens.number_field("applied=")?, heard: read_heard(tokens)? })
    }
}

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
    /// One string of `get`.
    Value(Arc<str>),
    /// The end of a page of `get`: `next` is the number to ask from to go on, `total + 1` at the end of
    /// the list, and `changed` the entry that changed the list last.
    EndOfValues {
        next: u64,
        total: u64,
        changed: EntryId,
        seen: Seen,
    },
    /// `get`: there is no such key.
    NoKey {
        key: Arc<str>,
        seen: Seen,
    },
    /// One key of `keys`, and how many strings its list has.
    Key {
        key: Arc<str>,
        values: u64,
    },
    /// The end of a page of `keys`: ask from `next` to go on; `None` at the end.
    EndOfKeys {
        next: Option<Arc<str>>,
        seen: Seen,
    },
    Status(NodeStatus),
    Watching(NodeId),
    /// The fault is in force; of a pause or a crash: it comes now.
    Faulted,
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
            Answer::Value(text) => {
                out.push_str("value ");
                push_quoted(out, text);
            }
            Answer::EndOfValues { next, total, changed, seen } => {
                push_number_field(out, "end-of-values next=", *next);
                push_number_field(out, " total=", *total);
                out.push_str(" changed=");
                push_id(out, *changed);
                seen.encode(out);
            }
            Answer::NoKey { key, seen } => {
                out.push_str("no-key ");
                push_quoted(out, key);
                seen.encode(out);
            }
            Answer::Key { key, values } => {
                out.push_str("key ");
                push_quoted(out, key);
                push_number_field(out, " values=", *values);
            }
            Answer::EndOfKeys { next, seen } => {
                out.push_str("end-of-keys");
                if let Some(next) = next {
                    out.push_str(" next ");
                    push_quoted(out, next);
                }
                seen.encode(out);
            }
            Answer::Status(status) => status.encode(out),
            Answer::Watching(node) => {
                out.push_str("ok watching ");
                push_node(out, *node);
            }
            Answer::Faulted => out.push_str("ok fault"),
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
            "ok" if tokens.peek() == "fault" => {
                tokens.literal("fault")?;
                Answer::Faulted
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
            "value" => Answer::Value(Arc::from(&*tokens.string("the string")?)),
            "end-of-values" => Answer::EndOfValues {
                next: tokens.number_field("next=")?,
                total: tokens.number_field("total=")?,
                changed: id_field(&mut tokens, "changed=")?,
                seen: Seen::read(&mut tokens)?,
            },
            "no-key" => Answer::NoKey { key: read_key(&mut tokens)?, seen: Seen::read(&mut tokens)? },
            "key" => Answer::Key { key: read_key(&mut tokens)?, values: tokens.number_field("values=")? },
            "end-of-keys" => {
                let mut next = None;
                if tokens.peek() == "next" {
                    tokens.literal("next")?;
                    next = Some(read_key(&mut tokens)?);
                }
                Answer::EndOfKeys { next, seen: Seen::read(&mut tokens)? }
            }
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

pub(super) fn push_node(out: &mut String, node: NodeId) {
    out.push_str("node_");
    push_number(out, node.0);
}

pub(super) fn push_number_field(out: &mut String, name: &str, number: u64) {
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
