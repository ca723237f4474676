//! Changes that must happen exactly once: strings for the log, lists of keys.
//!
//! The changes of one invocation are the numbered requests of one session (thesis §6.3). Whatever happens to a
//! node or a connection, all that is not yet answered is sent again, in order and with the same numbers: the
//! store applies each number once and answers a repeated one from memory.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_lab::raft::types::{ClientId, EntryId, KeyWrite, LOG_KEY, Session};
use raft_lab::text::{push_quoted, quote};
use raft_lab::wire::client::{Answer, ErrorCode, Request};

use crate::leader::Leader;
use crate::options::Options;
use crate::output::{Failure, print};

/// The most requests under way at a time. Below the number of answers that the store keeps for a session
/// (`SESSION_ANSWERS`), so that whatever has to be sent again is answered from memory.
pub const WINDOW: usize = 64;

/// What the cluster shall do once.
#[derive(Clone)]
pub enum Change {
    /// Append a string to the lab's log.
    Append(Arc<str>),
    /// Change the list of a key.
    Write(Arc<KeyWrite>),
}

impl Change {
    /// As the nodes' logs have it: `"SET 5"`, or `put "a" "cat" "dog"`.
    pub fn push(&self, out: &mut String) {
        match self {
            Change::Append(text) => push_quoted(out, text),
            Change::Write(write) => {
                out.push_str(write.kind.name());
                out.push(' ');
                write.push_strings(out);
            }
        }
    }

    /// What a node would refuse, and why.
    pub fn check(&self) -> Result<(), String> {
        let mut line = String::new();
        self.request(None).encode(&mut line);
        Request::decode(&line).map(|_| ()).map_err(|error| error.to_string())
    }

    fn request(&self, session: Option<Session>) -> Request {
        match self {
            Change::Append(text) => Request::Append { session, text: text.clone() },
            Change::Write(write) => Request::Write { session, write: write.clone() },
        }
    }

    /// Enough of it to know it again.
    fn in_short(&self) -> String {
        match self {
            Change::Append(text) => quote(&shortened(text)),
            Change::Write(_) => {
                let mut words = String::new();
                self.push(&mut words);
                shortened(&words)
            }
        }
    }

    /// The command that shows whether it was done.
    fn look(&self) -> String {
        match self {
            Change::Write(write) if &*write.key != LOG_KEY => format!("client get {}", quote(&write.key)),
            _ => "client log".to_string(),
        }
    }
}

/// A change that a majority of the nodes has on disk.
pub struct Done {
    /// Its entry, unless the store does not remember that any more.
    pub id: Option<EntryId>,
    pub change: Change,
}

/// A line for each: `ok 2@1 "SET 5"`.
pub fn told(done: &[Done]) -> String {
    let mut lines = String::new();
    for Done { id, change } in done {
        let id = id.map(|id| format!("{id} ")).unwrap_or_default();
        lines.push_str(&format!("ok {id}"));
        change.push(&mut lines);
        lines.push('\n');
    }
    lines
}

/// A numbered change that is not answered yet.
struct Pending {
    seq: u64,
    change: Change,
    /// How many copies of it may be in a log, or come there: each that was sent and not refused.
    copies: u32,
}

/// Makes changes in one session, in their order.
pub struct Writer {
    leader: Leader,
    client: Option<ClientId>,
    last_seq: u64,
    pending: VecDeque<Pending>,
    /// How many of `pending` were sent on the present connection.
    in_flight: usize,
}

/// What an answer means for the first of `pending`.
enum Verdict {
    Done(Option<EntryId>),
    /// Send again, with the same numbers.
    Again,
}

impl Writer {
    pub fn new(options: &Options) -> Writer {
        let leader = Leader::new(options);
        Writer { leader, client: None, last_seq: 0, pending: VecDeque::new(), in_flight: 0 }
    }

    /// Makes one change and waits for it: its entry, unless the store does not remember that any more.
    pub fn write(&mut self, change: Change) -> Result<Option<EntryId>, Failure> {
        self.leader.begin();
        self.push(change);
        loop {
            if let Some(done) = self.advance()?.pop() {
                return Ok(done.id);
            }
        }
    }

    /// What comes now has its whole time, however long it was waited for.
    pub fn restart_timeout(&mut self) {
        self.leader.restart_timeout();
    }

    /// Of the first that is not done: may a copy of it still be committed?
    pub fn may_still_come(&self) -> bool {
        self.pending.front().is_some_and(|pending| pending.copies > 0)
    }

    /// How many changes are not done yet.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Takes one more. There is room for [`WINDOW`] at a time.
    pub fn push(&mut self, change: Change) {
        self.last_seq += 1;
        self.pending.push_back(Pending { seq: self.last_seq, change, copies: 0 });
    }

    /// Sends what is not under way and takes the answers that are there, at least one; what is done now.
    pub fn advance(&mut self) -> Result<Vec<Done>, Failure> {
        let mut done = Vec::new();
        while done.is_empty() {
            if let Err(failure) = self.exchange(&mut done) {
                // Whether anybody reads it or not, this did not end well.
                let _ = print(&told(&done));
                return Err(match failure {
                    Failure::NotDone(why) => Failure::NotDone(format!("{}: {why}", self.not_confirmed())),
                    other => other,
                });
            }
        }
        self.leader.succeeded();
        Ok(done)
    }

    fn exchange(&mut self, done: &mut Vec<Done>) -> Result<(), Failure> {
        let attempt = self.leader.attempt();
        let connection = self.leader.connection()?;
        let Some(client) = self.client else {
            match connection.ask(&Request::Session, attempt) {
                Ok(Answer::Session(client)) => self.client = Some(client),
                Ok(answer) => self.turned_away(&answer)?,
                Err(why) => self.hang_up(&why),
            }
            return Ok(());
        };
        let requests: Vec<_> = self.pending.iter().skip(self.in_flight).map(|next| next.request(client)).collect();
        let sent = connection.send(&requests);
        self.pending.iter_mut().skip(self.in_flight).for_each(|pending| pending.copies += 1);
        self.in_flight = self.pending.len();
        let mut answer = match sent {
            Ok(()) => connection.receive(attempt),
            Err(why) => Err(why),
        };
        loop {
            match answer {
                Ok(answer) => match self.judge(&answer)? {
                    Verdict::Done(id) => self.take_done(id, done),
                    Verdict::Again => return Ok(()),
                },
                Err(why) => {
                    self.hang_up(&why);
                    return Ok(());
                }
            }
            // With nothing left to wait for, a time that is up is no failure.
            if self.in_flight == 0 {
                return Ok(());
            }
            let connection = self.leader.connection()?;
            if !connection.has_line() {
                return Ok(());
            }
            answer = connection.receive(attempt);
        }
    }

    fn take_done(&mut self, id: Option<EntryId>, done: &mut Vec<Done>) {
        if let Some(pending) = self.pending.pop_front() {
            self.in_flight -= 1;
            done.push(Done { id, change: pending.change });
        }
    }

    fn judge(&mut self, answer: &Answer) -> Result<Verdict, Failure> {
        let Some(first) = self.pending.front() else {
            self.hang_up("answered more than was asked");
            return Ok(Verdict::Again);
        };
        match answer {
            Answer::Appended(id) => Ok(Verdict::Done(Some(*id))),
            // Applied long ago; only the place is forgotten.
            Answer::Error { code: ErrorCode::SessionForgotten, .. } => Ok(Verdict::Done(None)),
            Answer::Error { code: ErrorCode::SessionExpired, .. } if first.copies == 1 => {
                // No other copy of it is anywhere, so it was not applied, nor was anything behind it: a new
                // session is safe. (It happens to one that was idle while a thousand others were not, and to one
                // that was born at a node that lags.)
                self.client = None;
                for (seq, pending) in (1..).zip(self.pending.iter_mut()) {
                    (pending.seq, pending.copies) = (seq, 0);
                }
                self.last_seq = self.pending.len() as u64;
                // This node has just applied an entry: the new session is to be born there, not where it may lag.
                self.in_flight = 0;
                self.leader.leave("the session had expired");
                Ok(Verdict::Again)
            }
            Answer::Error { code: ErrorCode::SessionExpired, text } => Err(Failure::NotDone(format!(
                "it was sent before, and the cluster has forgotten this session since ({text}). Cure: look with {} \
                 whether it is there before you send it again",
                first.change.look()
            ))),
            // It is decided, and for all later attempts too: its number counts, but nothing has changed.
            Answer::Error { code: ErrorCode::Full, text } => {
                let why = format!("not done: {}: {text}", first.change.in_short());
                self.pending.pop_front();
                Err(Failure::Refused(match self.pending.iter().filter(|pending| pending.copies > 0).count() {
                    0 => why,
                    more => format!("{why}; {more} after it may still be committed"),
                }))
            }
            // One before it was lost on the way: all go again, in order. That must end, so the time-out runs on.
            Answer::Error { code: ErrorCode::SessionGap { expected }, .. } => {
                self.hang_up(&format!("expects number {expected} of this session"));
                Ok(Verdict::Again)
            }
            other => {
                if let Some(first) = self.pending.front_mut()
                    && refuses(other)
                {
                    first.copies -= 1;
                }
                self.turned_away(other).map(|()| Verdict::Again)
            }
        }
    }

    /// The connection is of no more use: what was sent on it is sent again on the next.
    fn hang_up(&mut self, why: &str) {
        self.in_flight = 0;
        self.leader.failed(why);
    }

    fn turned_away(&mut self, answer: &Answer) -> Result<(), Failure> {
        self.in_flight = 0;
        self.leader.turned_away(answer).map_err(Failure::NotDone)
    }

    /// What is not done, and whether it may still come.
    fn not_confirmed(&self) -> String {
        let Some(first) = self.pending.front() else { return "nothing is left to do".to_string() };
        let others = match self.pending.len() - 1 {
            0 => String::new(),
            more => format!(" and the {more} after it"),
        };
        // The store takes a session's changes in their order: without the first nothing behind it counts.
        let taken = match first.copies {
            0 => 0,
            _ => self.pending.iter().filter(|pending| pending.copies > 0).count(),
        };
        let chance = match (taken, self.pending.len()) {
            (0, 1) => "no node took it, so it is not in the log".to_string(),
            (0, _) => "no node took them, so they are not in the log".to_string(),
            (1, 1) => "it may still be committed".to_string(),
            (taken, all) => format!("{taken} of these {all} may still be committed"),
        };
        format!("not confirmed: {}{others} ({chance})", first.change.in_short())
    }
}

/// The node took nothing: what this answers is in no log because of it.
fn refuses(answer: &Answer) -> bool {
    use ErrorCode::{BadRequest, Busy, NoLeader, TooManyConnections, UnknownCommand};
    match answer {
        Answer::Redirect { .. } => true,
        Answer::Error { code, .. } => {
            matches!(code, BadRequest | Busy | NoLeader | TooManyConnections | UnknownCommand)
        }
        _ => false,
    }
}

impl Pending {
    fn request(&self, client: ClientId) -> Request {
        self.change.request(Some(Session { client, seq: self.seq }))
    }
}

/// Enough of a text to know it again.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_string();
    }
    text.chars().take(MOST).chain(['…']).collect()
}
