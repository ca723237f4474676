//! `client append`: strings at the end of the list, each exactly once.
//!
//! The strings of one invocation are the numbered requests of one session (thesis §6.3). Whatever happens to a
//! node or a connection, all that is not yet answered is sent again, in order and with the same numbers: the
//! store applies each number once and answers a repeated one from memory.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Instant;

use raft_lab::raft::types::{ClientId, EntryId, MAX_TEXT_BYTES, Session};
use raft_lab::text::quote;
use raft_lab::wire::client::{Answer, ErrorCode, Request};

use crate::leader::Leader;
use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, ProgressLine, print};

pub const COMMAND: Command = Command {
    name: "append",
    usage: "append TEXT…",
    summary: "append strings to the log; - reads them from standard input",
    help: "Appends each TEXT as one string, in order, and prints a line for each once a majority has it on disk:
  ok 2@1 \"SET 5\"          entry index 2, of term 1
A lone - instead: each line of standard input is one string, up to 64 of them under way at a time.
A TEXT is at most 65536 bytes of UTF-8. One that starts with -- goes behind a lone --.

However often it has to retry, no string is appended twice. Where it gives up (--timeout without any
success), it says which strings may still be committed, and ends with exit code 1.

  client append \"SET 5\" \"ADD 1\"
  seq 1000 | client append -
",
    flags: &[],
    run,
};

/// The most requests under way at a time. Below the number of answers that the store keeps for a session
/// (`SESSION_ANSWERS`), so that whatever has to be sent again is answered from memory.
const WINDOW: usize = 64;

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.words.is_empty() {
        return Err(Failure::Usage("append expects TEXT…, or - for the lines of standard input".to_string()));
    }
    if arguments.words == ["-"] {
        return append_lines(options);
    }
    if let Some(long) = arguments.words.iter().find(|text| text.len() > MAX_TEXT_BYTES) {
        let bytes = long.len();
        return Err(Failure::Usage(format!(
            "append: expected a TEXT of up to {MAX_TEXT_BYTES} bytes, got {bytes} bytes"
        )));
    }
    let mut appender = Appender::new(options);
    let mut texts = arguments.words.iter();
    loop {
        let room = WINDOW - appender.pending.len();
        texts.by_ref().take(room).for_each(|text| appender.push(text));
        if appender.pending.is_empty() {
            return Ok(());
        }
        let printed = print(&told(&appender.advance()?));
        answered(printed, texts.len() + appender.pending.len())?;
    }
}

/// A closed output is a normal end only if nothing was left to do.
fn answered(printed: Result<(), Failure>, left: usize) -> Result<(), Failure> {
    match printed {
        Err(Failure::OutputClosed) if left > 0 => Err(Failure::NotDone(format!(
            "nobody reads the answers any more, so it ends here; of at least {left} more, {WINDOW} at the most may be committed"
        ))),
        other => other,
    }
}

/// `append -`.
fn append_lines(options: &Options) -> Result<(), Failure> {
    let lines = read_lines(io::stdin());
    let mut appender = Appender::new(options);
    let mut progress = ProgressLine::new();
    let (started, mut done) = (Instant::now(), 0);
    let result = loop {
        match fill(&mut appender, &lines) {
            Ok(()) if appender.pending.is_empty() => break Ok(()),
            Ok(()) => {}
            Err(why) => break Err(why),
        }
        match appender.advance() {
            Ok(appended) => {
                done += appended.len();
                progress.give_way();
                let printed = print(&told(&appended));
                // After a closed output one look tells whether more was to come, and whether it can be read.
                let next = if printed.is_err() { lines.try_recv() } else { Err(TryRecvError::Disconnected) };
                if let Ok(Err(why)) = next {
                    break Err(Failure::NotDone(why));
                }
                let more = !matches!(next, Err(TryRecvError::Disconnected));
                if let Err(failure) = answered(printed, appender.pending.len() + usize::from(more)) {
                    break Err(failure);
                }
                progress.show(format_args!("{done} appended"));
            }
            Err(failure) => break Err(failure),
        }
    };
    progress.end(format_args!("{done} appended in {:.1} s", started.elapsed().as_secs_f64()));
    result
}

/// Takes lines until the window is full; waits for one only while nothing is under way.
fn fill(appender: &mut Appender, lines: &Receiver<Result<String, String>>) -> Result<(), Failure> {
    while appender.pending.len() < WINDOW {
        let line = if appender.pending.is_empty() {
            lines.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            lines.try_recv()
        };
        match line {
            Ok(Ok(line)) => appender.push(&line),
            // What is under way is still waited for.
            Ok(Err(why)) => {
                while !appender.pending.is_empty() {
                    // A closed output does not make the bad line a normal end.
                    let _ = print(&told(&appender.advance()?));
                }
                return Err(Failure::NotDone(why));
            }
            Err(_) => return Ok(()),
        }
        if appender.pending.len() == 1 {
            // However long the writer took for it, this one has its whole time.
            appender.leader.restart_timeout();
        }
    }
    Ok(())
}

/// The lines of `input` from a thread of their own, so that a slow writer does not hold up the answers.
fn read_lines(input: impl Read + Send + 'static) -> Receiver<Result<String, String>> {
    let (sender, receiver) = sync_channel(4 * WINDOW);
    thread::spawn(move || {
        let mut input = io::BufReader::new(input);
        for number in 1_u64.. {
            let line = read_line(&mut input, number);
            let end = !matches!(line, Ok(Some(_)));
            if let Some(line) = line.transpose()
                && sender.send(line).is_err()
            {
                return;
            }
            if end {
                return;
            }
        }
    });
    receiver
}

/// One line without its end; none at the end of the input.
fn read_line(input: &mut impl BufRead, number: u64) -> Result<Option<String>, String> {
    let wrong = |what: String| format!("standard input, line {number}: {what}; it and what follows is not appended");
    let mut line = Vec::new();
    let most = MAX_TEXT_BYTES as u64 + 2;
    input.take(most).read_until(b'\n', &mut line).map_err(|error| wrong(error.to_string()))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        line.pop_if(|last| *last == b'\r');
    }
    if line.len() > MAX_TEXT_BYTES {
        return Err(wrong(format!("expected at most {MAX_TEXT_BYTES} bytes, got more")));
    }
    String::from_utf8(line).map(Some).map_err(|_| wrong("expected UTF-8".to_string()))
}

/// A string that the cluster has.
pub struct Appended {
    /// Its place, unless the store does not remember it any more.
    pub id: Option<EntryId>,
    pub text: Arc<str>,
}

fn told(appended: &[Appended]) -> String {
    let mut lines = String::new();
    for Appended { id, text } in appended {
        let id = id.map(|id| format!("{id} ")).unwrap_or_default();
        lines.push_str(&format!("ok {id}{}\n", quote(text)));
    }
    lines
}

/// A numbered string that is not answered yet.
struct Pending {
    seq: u64,
    text: Arc<str>,
    /// How many copies of it may be in a log, or come there: each that was sent and not refused.
    copies: u32,
}

/// Appends strings in one session.
pub struct Appender {
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

impl Appender {
    pub fn new(options: &Options) -> Appender {
        let leader = Leader::new(options);
        Appender { leader, client: None, last_seq: 0, pending: VecDeque::new(), in_flight: 0 }
    }

    /// Appends one string and waits for it.
    pub fn append(&mut self, text: &str) -> Result<Option<EntryId>, Failure> {
        self.leader.restart_timeout();
        self.push(text);
        loop {
            if let Some(appended) = self.advance()?.pop() {
                return Ok(appended.id);
            }
        }
    }

    fn push(&mut self, text: &str) {
        self.last_seq += 1;
        self.pending.push_back(Pending { seq: self.last_seq, text: text.into(), copies: 0 });
    }

    /// Sends what is not under way and takes the answers that are there, at least one; what is done now.
    fn advance(&mut self) -> Result<Vec<Appended>, Failure> {
        let mut done = Vec::new();
        while done.is_empty() {
            if let Err(failure) = self.exchange(&mut done) {
                let Failure::NotDone(why) = failure else { return Err(failure) };
                // Whether anybody reads it or not, this did not end well.
                let _ = print(&told(&done));
                return Err(Failure::NotDone(format!("{}: {why}", self.not_appended())));
            }
        }
        self.leader.succeeded();
        Ok(done)
    }

    fn exchange(&mut self, done: &mut Vec<Appended>) -> Result<(), Failure> {
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
            let connection = self.leader.connection()?;
            if self.in_flight == 0 || !connection.has_line() {
                return Ok(());
            }
            answer = connection.receive(attempt);
        }
    }

    fn take_done(&mut self, id: Option<EntryId>, done: &mut Vec<Appended>) {
        if let Some(pending) = self.pending.pop_front() {
            self.in_flight -= 1;
            done.push(Appended { id, text: pending.text });
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
                "it was sent before, and the cluster has forgotten this session since ({text}). Cure: look with client log \
                 whether it is there before you append it again"
            ))),
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
    fn not_appended(&self) -> String {
        let Some(first) = self.pending.front() else { return "nothing is left to append".to_string() };
        let others = match self.pending.len() - 1 {
            0 => String::new(),
            more => format!(" and the {more} after it"),
        };
        // The store takes a session's strings in their order: without the first nothing behind it counts.
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
        format!("not confirmed: {}{others} ({chance})", quote(&shortened(&first.text)))
    }
}

/// The node took nothing: what this answers is in no log because of it.
fn refuses(answer: &Answer) -> bool {
    use ErrorCode::{Busy, NoLeader, TooManyConnections};
    match answer {
        Answer::Redirect { .. } => true,
        Answer::Error { code, .. } => matches!(code, Busy | NoLeader | TooManyConnections),
        _ => false,
    }
}

impl Pending {
    fn request(&self, client: ClientId) -> Request {
        Request::Append { session: Some(Session { client, seq: self.seq }), text: self.text.clone() }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &'static [u8]) -> Vec<Result<String, String>> {
        read_lines(input).into_iter().collect()
    }

    #[test]
    fn each_line_of_standard_input_is_a_string() {
        let all: Vec<_> = lines(b"a\n\n b \r\nlast").into_iter().flatten().collect();
        assert_eq!(all, ["a", "", " b ", "last"]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_a_string_ends_the_reading_and_is_named() {
        let wrong = lines(b"a\n\xff\nb\n");
        assert_eq!(wrong.len(), 2);
        let why = "standard input, line 2: expected UTF-8; it and what follows is not appended";
        assert_eq!(wrong[1], Err(why.to_string()));
        let long: &'static [u8] = Box::leak(vec![b'x'; MAX_TEXT_BYTES + 1].into_boxed_slice());
        assert!(matches!(&lines(long)[..], [Err(why)] if why.contains("expected at most 65536 bytes")));
        assert_eq!(lines(&long[1..])[0].as_ref().map(String::len), Ok(MAX_TEXT_BYTES));
    }
}
