//! `/keys`: lists of strings under keys, read and written.

use std::sync::Arc;
use std::time::Instant;

use raft_lab::raft::types::{EntryId, KeyWrite, LOG_KEY, MAX_KEY_BYTES, MAX_TEXT_BYTES, MAX_VALUES, NodeId, WriteKind};
use raft_lab::text::{quote, shorten};
use raft_lab::wire::client::{Answer, ErrorCode, Request, Seen};

use super::api::{Shared, down, error, json};
use super::http::Response;
use crate::connection::{ATTEMPT, Connection};
use crate::json::Json;
use crate::leader::Leader;
use crate::options::Options;
use crate::output::Failure;
use crate::session::{Change, Writer};

/// The most text of one answer, in bytes. Only the lab's log and the list of all keys can be longer. As many readers
/// as there may be, all of them slow, hold some hundred MiB of it together.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// `POST /keys/KEY`: done once, at the leader, whichever port it came to.
pub fn write(shared: &Shared, key: &str, body: &[u8]) -> Result<Response, Response> {
    let change = Change::Write(Arc::new(read_write(key, body)?));
    change.check().map_err(|why| error(400, why))?;
    let idle = shared.writers.lock().map_or(None, |mut writers| writers.pop());
    let mut writer = idle.unwrap_or_else(|| Writer::new(&shared.options));
    match writer.write(change) {
        Ok(id) => {
            if let Ok(mut writers) = shared.writers.lock() {
                writers.push(writer);
            }
            let response = Response::new(204, String::new());
            Ok(match id {
                Some(id) => response.with("Raft-Entry", id),
                None => response,
            })
        }
        // The session ends here: its next number would have to wait for this one.
        Err(Failure::Refused(why)) => Err(error(507, why)),
        Err(Failure::NotDone(why) | Failure::Usage(why)) => {
            let open = Json::from(writer.may_still_come());
            let body = Json::members([("error", Json::String(why)), ("may_still_happen", open)]);
            Err(json(503, &body).with("Retry-After", 1))
        }
        Err(Failure::OutputClosed) => Err(error(500, "standard output is closed")),
    }
}

/// `{"type": "PUT" or "APPEND", "value": …}`, a list of strings or one string.
fn read_write(key: &str, body: &[u8]) -> Result<KeyWrite, Response> {
    const EXPECTED: &str = r#"expected {"type": "PUT" or "APPEND", "value": ["…", …] or "…"}"#;
    let wrong = |what: String| error(400, format!("the body: {what}; {EXPECTED}"));
    let text = std::str::from_utf8(body).map_err(|_| wrong("it is not UTF-8".to_string()))?;
    let members = match Json::read(text).map_err(wrong)? {
        Json::Object(members) => members,
        other => return Err(wrong(format!("it is {}", other.kind()))),
    };
    let (mut kind, mut values) = (None, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("type", Json::String(word)) if word == "PUT" => kind = Some(WriteKind::Put),
            ("type", Json::String(word)) if word == "APPEND" => kind = Some(WriteKind::Append),
            ("type", Json::String(word)) => return Err(wrong(format!("\"type\" is {}", shorten(&word)))),
            ("type", other) => return Err(wrong(format!("\"type\" is {}", other.kind()))),
            ("value", value) => values = Some(strings(value).map_err(wrong)?),
            (other, _) => return Err(wrong(format!("{} is unknown", shorten(other)))),
        }
    }
    let kind = kind.ok_or_else(|| wrong("\"type\" is missing".to_string()))?;
    let values = values.ok_or_else(|| wrong("\"value\" is missing".to_string()))?;
    let write = KeyWrite { kind, key: key.into(), values };
    if write.values.len() > MAX_VALUES {
        return Err(error(413, format!("expected at most {MAX_VALUES} strings at once, got {}", write.values.len())));
    }
    if write.bytes() > MAX_TEXT_BYTES && key.len() <= MAX_KEY_BYTES {
        let bytes = write.bytes();
        return Err(error(413, format!("expected at most {MAX_TEXT_BYTES} bytes of key and strings, got {bytes}")));
    }
    if kind == WriteKind::Put && key == LOG_KEY {
        let why =
            format!("the list of {LOG_KEY:?} is the lab's log, which only grows: APPEND to it, or take another key");
        return Err(error(403, why));
    }
    Ok(write)
}

fn strings(value: Json) -> Result<Vec<Arc<str>>, String> {
    let items = match value {
        Json::Array(items) => items,
        text @ Json::String(_) => vec![text],
        other => return Err(format!("\"value\" is {}", other.kind())),
    };
    let string = |item: Json| match item {
        Json::String(text) => Ok(Arc::from(text)),
        other => Err(format!("\"value\" holds {}", other.kind())),
    };
    items.into_iter().map(string).collect()
}

/// `GET /keys/KEY`.
pub fn list(options: &Options, node: NodeId, linearizable: bool, key: &str) -> Result<Response, Response> {
    if key.len() > MAX_KEY_BYTES {
        return Err(error(400, format!("a key has 1 to {MAX_KEY_BYTES} bytes, this one {}", key.len())));
    }
    let key: Arc<str> = key.into();
    let found = fetch(options, node, linearizable, |connection| read_list(connection, &key, !linearizable))?;
    let response = match &found.list {
        Some(values) => json(200, &array(values)).with("Raft-Changed", found.changed),
        None => error(404, format!("there is no key {}; GET /keys lists those that are", quote(&key))),
    };
    Ok(fresh(response, &found, linearizable))
}

/// `GET /keys`.
pub fn all(options: &Options, node: NodeId, linearizable: bool) -> Result<Response, Response> {
    let found = fetch(options, node, linearizable, |connection| read_keys(connection, !linearizable))?;
    let keys = found.list.as_deref().unwrap_or_default();
    Ok(fresh(json(200, &array(keys)), &found, linearizable))
}

fn array(strings: &[Arc<str>]) -> Json {
    Json::Array(strings.iter().map(Json::string).collect())
}

/// How fresh it is, for who wants to know.
fn fresh(response: Response, found: &Found, linearizable: bool) -> Response {
    let heard = found.seen.heard.map_or("never".to_string(), |heard| format!("{:.3}", heard.as_secs_f64()));
    let consistency = if linearizable { "linearizable" } else { "local" };
    let response = match found.node {
        Some(node) => response.with("Raft-Node", node),
        None => response,
    };
    response
        .with("Raft-Consistency", consistency)
        .with("Raft-Applied-Index", found.seen.applied)
        .with("Raft-Heard-Leader-Seconds", heard)
}

/// A list, or that there is none.
struct Found {
    list: Option<Vec<Arc<str>>>,
    /// The entry that changed it last.
    changed: EntryId,
    seen: Seen,
    /// Who answered.
    node: Option<NodeId>,
}

/// Why there is no list.
enum Trouble {
    Silent(String),
    Answer(Box<Answer>),
    TooLong,
    /// It changed between two pages.
    Changed,
}

/// From the port's own node, without a second try; or from the leader, until the time is up.
fn fetch(
    options: &Options,
    node: NodeId,
    linearizable: bool,
    read: impl Fn(&mut Connection) -> Result<Found, Trouble>,
) -> Result<Found, Response> {
    let too_long = || {
        let why = format!("the answer has more than {MAX_ANSWER_BYTES} bytes: read it with client log, or client keys");
        error(501, why)
    };
    if !linearizable {
        let address = options.cluster.address(node).unwrap_or_default();
        let limit = ATTEMPT.min(options.timeout);
        let silent = |why: String| down(options, node, &why);
        let mut connection = Connection::open(address, limit).map_err(silent)?;
        let deadline = Instant::now() + options.timeout;
        loop {
            match read(&mut connection) {
                Ok(found) => return Ok(Found { node: Some(node), ..found }),
                Err(Trouble::Changed) if Instant::now() < deadline => {}
                Err(Trouble::Changed) => return Err(busy()),
                Err(Trouble::TooLong) => return Err(too_long()),
                Err(Trouble::Silent(why)) => return Err(silent(why)),
                Err(Trouble::Answer(answer)) => {
                    return Err(silent(match *answer {
                        Answer::Error { text, .. } => text,
                        _ => "it answered something else than was asked".to_string(),
                    }));
                }
            }
        }
    }
    let mut leader = Leader::new(options);
    let nobody = |failure| match failure {
        Failure::NotDone(why) | Failure::Refused(why) | Failure::Usage(why) => error(503, why).with("Retry-After", 1),
        Failure::OutputClosed => error(500, "standard output is closed"),
    };
    loop {
        match read(leader.connection().map_err(nobody)?) {
            Ok(found) => return Ok(Found { node: Some(leader.node()), ..found }),
            Err(Trouble::Changed) => {}
            Err(Trouble::TooLong) => return Err(too_long()),
            Err(Trouble::Silent(why)) => leader.failed(&why),
            Err(Trouble::Answer(answer)) => leader.turned_away(&answer).map_err(|why| nobody(Failure::NotDone(why)))?,
        }
    }
}

fn busy() -> Response {
    error(503, "the list changes faster than it can be read").with("Retry-After", 1)
}

/// All pages of a list as one. The lab's log only grows: it is read as far as it was at its first page.
fn read_list(connection: &mut Connection, key: &Arc<str>, local: bool) -> Result<Found, Trouble> {
    let (mut values, mut bytes, mut first) = (Vec::new(), 0, None);
    loop {
        let from = values.len() as u64 + 1;
        ask(connection, &Request::Get { key: key.clone(), from, local })?;
        loop {
            match receive(connection)? {
                Answer::Value(text) => {
                    add(&mut bytes, &text)?;
                    values.push(text);
                }
                Answer::NoKey { seen, .. } if from == 1 => {
                    return Ok(Found { list: None, changed: EntryId::ZERO, seen, node: None });
                }
                // It was there a page ago: a node that has just started knows less to be committed.
                Answer::NoKey { .. } => return Err(Trouble::Changed),
                Answer::EndOfValues { total, changed, seen, .. } => {
                    let (first_total, first_changed) = *first.get_or_insert((total, changed));
                    if (changed != first_changed && &**key != LOG_KEY) || total < first_total {
                        return Err(Trouble::Changed);
                    }
                    if values.len() as u64 >= first_total {
                        return Ok(Found { list: Some(values), changed, seen, node: None });
                    }
                    break;
                }
                other => return Err(Trouble::Answer(Box::new(other))),
            }
        }
        if values.len() as u64 + 1 == from {
            return Err(Trouble::Silent(format!("it answered string {from} with nothing")));
        }
    }
}

fn read_keys(connection: &mut Connection, local: bool) -> Result<Found, Trouble> {
    let (mut keys, mut bytes, mut from) = (Vec::new(), 0, None);
    loop {
        ask(connection, &Request::Keys { from: from.clone(), local })?;
        loop {
            match receive(connection)? {
                Answer::Key { key, .. } => {
                    add(&mut bytes, &key)?;
                    keys.push(key);
                }
                Answer::EndOfKeys { next: None, seen } => {
                    return Ok(Found { list: Some(keys), changed: EntryId::ZERO, seen, node: None });
                }
                Answer::EndOfKeys { next, .. } if next > from => {
                    from = next;
                    break;
                }
                Answer::EndOfKeys { .. } => {
                    return Err(Trouble::Silent("its list of keys goes in circles".to_string()));
                }
                other => return Err(Trouble::Answer(Box::new(other))),
            }
        }
    }
}

fn add(bytes: &mut usize, text: &str) -> Result<(), Trouble> {
    // What a string takes besides its text counts too, or a million empty ones would be nothing.
    *bytes += text.len() + 16;
    if *bytes > MAX_ANSWER_BYTES { Err(Trouble::TooLong) } else { Ok(()) }
}

fn ask(connection: &mut Connection, request: &Request) -> Result<(), Trouble> {
    connection.send([request]).map_err(Trouble::Silent)
}

fn receive(connection: &mut Connection) -> Result<Answer, Trouble> {
    match connection.receive(ATTEMPT) {
        Ok(answer @ Answer::Error { code: ErrorCode::BadRequest, .. }) => Err(Trouble::Answer(Box::new(answer))),
        Ok(answer) => Ok(answer),
        Err(why) => Err(Trouble::Silent(why)),
    }
}
