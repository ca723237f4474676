//! Events as lines of the log and back: `TIME NODE TERM ROLE TOPIC text`. The text of each fact
//! stands in its comment in [`event`](super::event). Reading is strict: what reads is written so.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Event, Fact, PeerState, Source, Span, Told};
use super::types::{Command, DiskId, Entry, EntryId, KeyWrite, MAX_CLUSTER_SIZE, NodeId, Role, Term, WriteKind};
use crate::text::{TextError, Tokens, hex, number, plain, quote, shorten, unplain};

/// The longest string that a line of the log tells in full, in bytes.
pub const MAX_TOLD_BYTES: usize = 256;
/// How much of a longer one it tells, in characters.
const TOLD_START_CHARS: usize = 64;
/// The columns, in characters; up to term 99 they are straight.
const TERM_WIDTH: usize = 3;
const ROLE_WIDTH: usize = 9;
const TOPIC_WIDTH: usize = 10;
/// Times of day are told modulo this.
const DAY_MILLIS: u128 = 24 * 60 * 60 * 1000;

impl Told {
    /// What a line tells of a command: its string, or how that starts if it is long.
    pub fn of(command: &Command) -> Told {
        match command {
            Command::Noop => Told::Noop,
            Command::Append { text, .. } if text.len() <= MAX_TOLD_BYTES => Told::Text(Arc::clone(text)),
            Command::Append { text, .. } => {
                Told::Long { start: text.chars().take(TOLD_START_CHARS).collect(), bytes: text.len() }
            }
            Command::Write { write, .. } if write.bytes() > MAX_TOLD_BYTES => {
                let (kind, key, values) = (write.kind, Arc::clone(&write.key), write.values.len());
                Told::LongWrite { kind, key, values, bytes: write.bytes() }
            }
            command => Told::Words(command.words()),
        }
    }
}

impl Span {
    /// What a line tells of the entries from `first` to `last`; `sum` is the running checksum of the log
    /// through the last, told where the line does not hold each entry in full.
    pub fn of(first: &Entry, last: &Entry, sum: u32) -> Span {
        let (opening, closing) = (Told::of(&first.command), Told::of(&last.command));
        let in_full = first.id == last.id && !matches!(opening, Told::Long { .. } | Told::LongWrite { .. });
        Span { first: first.id, last: last.id, opening, closing, sum: (!in_full).then_some(sum) }
    }
}

impl Fact {
    /// The word in the TOPIC column.
    pub fn topic(&self) -> &'static str {
        match self {
            Fact::Start { .. } => "START",
            Fact::State { .. } => "STATE",
            Fact::Term { .. } => "TERM",
            Fact::VotedForItself { .. }
            | Fact::Granted { .. }
            | Fact::Denied { .. }
            | Fact::Received { .. }
            | Fact::Refused { .. }
            | Fact::AskedAgain { .. } => "VOTE",
            Fact::HeartbeatSent { .. } | Fact::HeartbeatReceived { .. } => "HEARTBEAT",
            Fact::Append { .. } => "APPEND",
            Fact::Replicated { .. } => "REPLICATED",
            Fact::Commit { .. } => "COMMIT",
            Fact::Truncate { .. } => "TRUNCATE",
            Fact::Peer { .. } | Fact::Readmitted { .. } => "PEER",
            Fact::Client { .. } => "CLIENT",
            Fact::Compacted { .. } | Fact::Installed { .. } | Fact::Snapshot { .. } => "SNAPSHOT",
            Fact::Fault { .. } => "FAULT",
            Fact::Disk { .. } => "DISK",
            Fact::Error { .. } => "ERROR",
        }
    }
}

impl Event {
    /// The word in the TOPIC column.
    pub fn topic(&self) -> &'static str {
        self.fact.topic()
    }

    /// The line, with the colours of a terminal if wished: leaders green, candidates yellow, errors
    /// and faults red, heartbeats dim.
    pub fn render(&self, color: bool) -> String {
        let code = match (&self.fact, self.role) {
            (Fact::Error { .. } | Fact::Fault { .. }, _) => "31",
            (Fact::HeartbeatSent { .. } | Fact::HeartbeatReceived { .. }, _) => "2",
            (_, Role::Leader) => "32",
            (_, Role::Candidate | Role::PreCandidate) => "33",
            (_, Role::Follower) => "",
        };
        if color && !code.is_empty() { format!("\x1b[{code}m{self}\x1b[0m") } else { self.to_string() }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.at.as_millis() % DAY_MILLIS;
        let (seconds, minutes, hours) = (millis / 1000 % 60, millis / 60_000 % 60, millis / 3_600_000);
        let (node, term, role, topic) = (self.node, self.term, self.role.column(), self.topic());
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{:03} ", millis % 1000)?;
        let fill = TERM_WIDTH - 1;
        write!(f, "{node} t{term:<fill$} {role:<ROLE_WIDTH$} {topic:<TOPIC_WIDTH$} ")?;
        self.write_text(f)
    }
}

/// `2@1`, or `102@3..165@3`.
struct Range(EntryId, EntryId);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { write!(f, "{}", self.0) } else { write!(f, "{}..{}", self.0, self.1) }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Noop => f.write_str("no-op"),
            Told::Text(text) => f.write_str(&quote(text)),
            Told::Long { start, bytes } => write!(f, "{}… {bytes} bytes", quote(start)),
            Told::Words(words) => f.write_str(words),
            Told::LongWrite { kind, key, values, bytes } => {
                write!(f, "{} {}… {values} strings {bytes} bytes", kind.name(), quote(key))
            }
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", Range(self.first, self.last))?;
        if self.first != self.last {
            let count = self.last.index.saturating_sub(self.first.index).saturating_add(1);
            write!(f, "{count} entries {} … ", self.opening)?;
        }
        write!(f, "{}", self.closing)?;
        match self.sum {
            Some(sum) => write!(f, " sum={sum:08x}"),
            None => Ok(()),
        }
    }
}

impl PeerState {
    const ALL: [PeerState; 3] = [PeerState::Connected, PeerState::Lost, PeerState::Offline];

    /// The word in the log.
    pub fn name(self) -> &'static str {
        match self {
            PeerState::Connected => "connected",
            PeerState::Lost => "lost",
            PeerState::Offline => "offline",
        }
    }
}

impl Event {
    fn write_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, term) = (self.node, self.term);
        let pre = |pre: &bool| if *pre { "pre-vote " } else { "" };
        match &self.fact {
            Fact::Start { size, settings, new_disk, snapshot, last, sum } => {
                write!(f, "{node} of {size}, {}", plain(settings))?;
                f.write_str(if *new_disk { ", new disk" } else { "" })?;
                if snapshot.index > 0 {
                    write!(f, ", snapshot through {snapshot}")?;
                }
                if last.index == 0 { Ok(()) } else { write!(f, ", log through {last} sum={sum:08x}") }
            }
            Fact::State { from, why } => write!(f, "{from} -> {}: {}", self.role, plain(why)),
            Fact::Term { from, why } => write!(f, "t{from} -> t{term}: {}", plain(why)),
            Fact::VotedForItself { votes, size } => write!(f, "voted for {node} (itself): {votes} of {size}"),
            Fact::Granted { pre: true, to, term } => write!(f, "pre-vote granted to {to} for t{term}"),
            Fact::Granted { pre: false, to, .. } => write!(f, "granted to {to}"),
            Fact::Denied { pre: is_pre, to, why } => write!(f, "{}denied to {to}: {}", pre(is_pre), plain(why)),
            Fact::Received { pre: is_pre, from, votes, size } => {
                write!(f, "{}received from {from}: {votes} of {size}", pre(is_pre))
            }
            Fact::Refused { pre: is_pre, by, votes, size } => {
                write!(f, "{}refused by {by}: {votes} of {size} so far", pre(is_pre))
            }
            Fact::AskedAgain { why } => write!(f, "pre-vote asked again: {}", plain(why)),
            Fact::HeartbeatSent { to } if to.is_empty() => f.write_str("sent to nobody"),
            Fact::HeartbeatSent { to } => {
                f.write_str("sent to ")?;
                for (number, to) in to.iter().enumerate() {
                    write!(f, "{}{to}", if number > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
            Fact::HeartbeatReceived { from } => write!(f, "received from leader {from}"),
            Fact::Append { span, source } => match source {
                Source::OpensTerm => write!(f, "{span}: opens term {}", span.last.term),
                Source::Client => write!(f, "{span} from client"),
                Source::Leader(leader) => write!(f, "{span} from leader {leader}"),
            },
            Fact::Replicated { first, last, on, copies, size } => {
                write!(f, "{} on {on}: {copies} of {size}", Range(*first, *last))
            }
            Fact::Commit { span } => write!(f, "{span}"),
            Fact::Truncate { first, last, why } => write!(f, "{}: {}", Range(*first, *last), plain(why)),
            Fact::Peer { peer, state, why } => write!(f, "{peer} {}: {}", state.name(), plain(why)),
            Fact::Readmitted { peer, by, disk } => {
                write!(f, "{peer} readmitted by {by} with disk {disk}: its votes count from t{} on", by.term + 1)
            }
            Fact::Compacted { last, sum, bytes, entries } => {
                write!(f, "made through {last} sum={sum:08x}: {bytes} bytes, {entries} entries leave the log")
            }
            Fact::Installed { last, sum, bytes, from } => {
                write!(f, "installed through {last} sum={sum:08x} from leader {from}: {bytes} bytes")
            }
            Fact::Client { text }
            | Fact::Snapshot { text }
            | Fact::Fault { text }
            | Fact::Disk { text }
            | Fact::Error { text } => f.write_str(&plain(text)),
        }
    }
}

impl FromStr for Event {
    type Err = TextError;

    /// Reads a line without colours. Never panics, whatever the line.
    fn from_str(line: &str) -> Result<Event, TextError> {
        let wrong = || TextError(format!("no line of a node's log: {}", shorten(line)));
        let event = Reader(line).event().ok_or_else(wrong)?;
        // This finds all that can be written in more than one way, at once.
        let mut rest = Rest { of: line, same: true };
        _ = write!(rest, "{event}");
        if rest.same && rest.of.is_empty() { Ok(event) } else { Err(wrong()) }
    }
}

/// Compares what is written to it with a text.
struct Rest<'a> {
    of: &'a str,
    same: bool,
}

impl Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.of.strip_prefix(text) {
            Some(rest) => self.of = rest,
            None => self.same = false,
        }
        Ok(())
    }
}

/// What is left of a line. Each method takes something from its beginning; `None` if it is not there.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn event(&mut self) -> Option<Event> {
        let time = self.until(" ")?;
        let node = node_id(self.until(" ")?)?;
        let term = term(self.column(TERM_WIDTH)?)?;
        let role = self.column(ROLE_WIDTH)?;
        let role = Role::ALL.into_iter().find(|known| known.column() == role)?;
        let topic = self.column(TOPIC_WIDTH)?;
        let fact = self.fact(topic, node, term, role)?;
        Some(Event { at: time_of_day(time)?, node, term, role, fact })
    }

    fn fact(&mut self, topic: &str, node: NodeId, term: Term, role: Role) -> Option<Fact> {
        Some(match topic {
            "START" => self.start(node)?,
            "STATE" => {
                let from = self.until(" -> ")?;
                let from = Role::ALL.into_iter().find(|known| known.name() == from)?;
                self.literal(role.name())?;
                Fact::State { from, why: self.why()? }
            }
            "TERM" => {
                let from = self::term(self.until(" -> ")?)?;
                self.literal(&format!("t{term}"))?;
                Fact::Term { from, why: self.why()? }
            }
            "VOTE" => self.vote(node, term)?,
            "HEARTBEAT" => self.heartbeat()?,
            "APPEND" => self.append()?,
            "REPLICATED" => {
                let (first, last) = range(self.until(" on ")?)?;
                let on = node_id(self.until(": ")?)?;
                let (copies, size) = votes(self.all())?;
                Fact::Replicated { first, last, on, copies, size }
            }
            "COMMIT" => Fact::Commit { span: self.span().filter(|_| self.0.is_empty())? },
            "TRUNCATE" => {
                let (first, last) = range(self.until(": ")?)?;
                Fact::Truncate { first, last, why: self.words()? }
            }
            "PEER" => {
                let peer = node_id(self.until(" ")?)?;
                if self.literal("readmitted by ").is_some() {
                    let by = entry_id(self.until(" with disk ")?)?;
                    let disk = hex(self.until(": ")?, 16).map(DiskId)?;
                    self.all();
                    return Some(Fact::Readmitted { peer, by, disk });
                }
                let state = self.until(": ")?;
                let state = PeerState::ALL.into_iter().find(|known| known.name() == state)?;
                Fact::Peer { peer, state, why: self.words()? }
            }
            "CLIENT" => Fact::Client { text: self.words()? },
            "SNAPSHOT" => self.snapshot()?,
            "FAULT" => Fact::Fault { text: self.words()? },
            "DISK" => Fact::Disk { text: self.words()? },
            "ERROR" => Fact::Error { text: self.words()? },
            _ => return None,
        })
    }

    fn start(&mut self, node: NodeId) -> Option<Fact> {
        self.literal(&format!("{node} of "))?;
        let size = number(self.until(", ")?)?;
        let (mut settings, mut last, mut sum) = (self.all(), EntryId::ZERO, 0);
        let mut snapshot = EntryId::ZERO;
        let log = |text: &str| {
            let (last, sum) = text.split_once(" sum=")?;
            Some((entry_id(last)?, sum_of(sum)?))
        };
        if let Some((before, text)) = settings.rsplit_once(", log through ")
            && let Some(found) = log(text)
        {
            settings = before;
            (last, sum) = found;
        }
        if let Some((before, id)) = settings.rsplit_once(", snapshot through ")
            && let Some(id) = entry_id(id)
        {
            (settings, snapshot) = (before, id);
        }
        if snapshot > last {
            return None;
        }
        let before = settings.strip_suffix(", new disk");
        let new_disk = before.is_some();
        Some(Fact::Start { size, settings: words(before.unwrap_or(settings))?, new_disk, snapshot, last, sum })
    }

    fn snapshot(&mut self) -> Option<Fact> {
        let made = self.0.starts_with("made through ");
        if !made && !self.0.starts_with("installed through ") {
            return Some(Fact::Snapshot { text: self.words()? });
        }
        self.until(" through ")?;
        let last = entry_id(self.until(" sum=")?)?;
        if made {
            let sum = sum_of(self.until(": ")?)?;
            let bytes = number(self.until(" bytes, ")?)?;
            let entries = number(self.all().strip_suffix(" entries leave the log")?)?;
            return Some(Fact::Compacted { last, sum, bytes, entries });
        }
        let sum = sum_of(self.until(" from leader ")?)?;
        let from = node_id(self.until(": ")?)?;
        let bytes = number(self.all().strip_suffix(" bytes")?)?;
        Some(Fact::Installed { last, sum, bytes, from })
    }

    fn vote(&mut self, node: NodeId, current_term: Term) -> Option<Fact> {
        if self.literal("pre-vote asked again").is_some() {
            return Some(Fact::AskedAgain { why: self.why()? });
        }
        if self.literal("voted for ").is_some() {
            self.literal(&format!("{node} (itself): "))?;
            let (votes, size) = votes(self.all())?;
            return Some(Fact::VotedForItself { votes, size });
        }
        let pre = self.literal("pre-vote ").is_some();
        if self.literal("granted to ").is_some() {
            let (to, term) = if pre { (self.until(" for ")?, term(self.all())?) } else { (self.all(), current_term) };
            return Some(Fact::Granted { pre, to: node_id(to)?, term });
        }
        if self.literal("denied to ").is_some() {
            return Some(Fact::Denied { pre, to: node_id(self.until(": ")?)?, why: self.words()? });
        }
        if self.literal("received from ").is_some() {
            let from = node_id(self.until(": ")?)?;
            let (votes, size) = votes(self.all())?;
            return Some(Fact::Received { pre, from, votes, size });
        }
        self.literal("refused by ")?;
        let by = node_id(self.until(": ")?)?;
        let (votes, size) = votes(self.all().strip_suffix(" so far")?)?;
        Some(Fact::Refused { pre, by, votes, size })
    }

    fn heartbeat(&mut self) -> Option<Fact> {
        if self.literal("received from leader ").is_some() {
            return Some(Fact::HeartbeatReceived { from: node_id(self.all())? });
        }
        self.literal("sent to ")?;
        match self.all() {
            "nobody" => Some(Fact::HeartbeatSent { to: Vec::new() }),
            nodes => Some(Fact::HeartbeatSent { to: nodes.split(", ").map(node_id).collect::<Option<_>>()? }),
        }
    }

    fn append(&mut self) -> Option<Fact> {
        let span = self.span()?;
        let source = match self.all() {
            " from client" => Source::Client,
            // That it names the last entry's term shows when the event is written again.
            rest if rest.starts_with(": opens term ") => Source::OpensTerm,
            rest => Source::Leader(node_id(rest.strip_prefix(" from leader ")?)?),
        };
        Some(Fact::Append { span, source })
    }

    fn span(&mut self) -> Option<Span> {
        let (first, last) = range(self.until(" ")?)?;
        let mut opening = None;
        if first != last {
            number(self.until(" entries ")?)?;
            opening = Some(self.told()?);
            self.literal(" … ")?;
        }
        let closing = self.told()?;
        let mut sum = None;
        if self.literal(" sum=").is_some() {
            let (digits, rest) = self.0.split_at_checked(8)?;
            sum = Some(sum_of(digits)?);
            self.0 = rest;
        }
        Some(Span { first, last, opening: opening.unwrap_or_else(|| closing.clone()), closing, sum })
    }

    fn told(&mut self) -> Option<Told> {
        if self.literal("no-op").is_some() {
            return Some(Told::Noop);
        }
        for kind in [WriteKind::Put, WriteKind::Append] {
            if self.0.strip_prefix(kind.name()).is_some_and(|rest| rest.starts_with(" \"")) {
                return self.write(kind);
            }
        }
        if self.literal("readmit ").is_some() {
            let node = node_id(self.until(" disk=")?)?;
            let (disk, rest) = self.0.split_at_checked(16)?;
            self.0 = rest;
            return Some(Told::Words(Command::Readmit { node, disk: DiskId(hex(disk, 16)?) }.words()));
        }
        let mut tokens = Tokens::new(self.0);
        let text = tokens.string("the text").ok()?;
        self.0 = tokens.rest();
        if self.literal("… ").is_none() {
            return Some(Told::Text(Arc::from(&*text)));
        }
        let bytes = usize::try_from(number(self.until(" bytes")?)?).ok()?;
        Some(Told::Long { start: text.into_owned(), bytes })
    }

    /// A change of a key: in words, or if it is long only how it begins.
    fn write(&mut self, kind: WriteKind) -> Option<Told> {
        self.literal(kind.name())?;
        let mut tokens = Tokens::new(self.0.strip_prefix(' ')?);
        let key: Arc<str> = tokens.string("the key").ok().map(Arc::from)?;
        self.0 = tokens.rest();
        if self.literal("… ").is_some() {
            let values = usize::try_from(number(self.until(" strings ")?)?).ok()?;
            let bytes = usize::try_from(number(self.until(" bytes")?)?).ok()?;
            return Some(Told::LongWrite { kind, key, values, bytes });
        }
        let mut values = Vec::new();
        while self.0.starts_with(" \"") {
            let mut tokens = Tokens::new(&self.0[1..]);
            values.push(Arc::from(tokens.string("a string").ok()?));
            self.0 = tokens.rest();
        }
        let write = Arc::new(KeyWrite { kind, key, values });
        Some(Told::Words(Command::Write { session: None, write }.words()))
    }

    fn literal(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Takes everything before the separator, and the separator.
    fn until(&mut self, separator: &str) -> Option<&'a str> {
        let (before, rest) = self.0.split_once(separator)?;
        self.0 = rest;
        Some(before)
    }

    /// Takes a word, what fills its column, and the space after it.
    fn column(&mut self, width: usize) -> Option<&'a str> {
        let word = self.until(" ")?;
        for _ in word.len()..width {
            self.literal(" ")?;
        }
        Some(word)
    }

    fn all(&mut self) -> &'a str {
        std::mem::take(&mut self.0)
    }

    fn words(&mut self) -> Option<String> {
        words(self.all())
    }

    /// Takes `: ` and the words after it.
    fn why(&mut self) -> Option<String> {
        self.literal(": ")?;
        self.words()
    }
}

fn words(text: &str) -> Option<String> {
    unplain(text).ok().map(|text| text.into_owned())
}

/// `HH:MM:SS.mmm`. That each part is in its range shows when the time is written again.
fn time_of_day(text: &str) -> Option<Duration> {
    let digits = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (hours, minutes, seconds, millis) = (digits(0..2)?, digits(3..5)?, digits(6..8)?, digits(9..12)?);
    Some(Duration::from_millis(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis))
}

fn node_id(text: &str) -> Option<NodeId> {
    number(text.strip_prefix("node_")?).filter(|id| (1..=MAX_CLUSTER_SIZE).contains(id)).map(NodeId)
}

fn term(text: &str) -> Option<Term> {
    number(text.strip_prefix('t')?)
}

fn entry_id(text: &str) -> Option<EntryId> {
    let (index, term) = text.split_once('@')?;
    Some(EntryId::new(number(index)?, number(term)?)).filter(|id| id.index > 0 && id.term > 0)
}

fn range(text: &str) -> Option<(EntryId, EntryId)> {
    match text.split_once("..") {
        None => entry_id(text).map(|id| (id, id)),
        Some((first, last)) => {
            let (first, last) = (entry_id(first)?, entry_id(last)?);
            (first.index < last.index && first.term <= last.term).then_some((first, last))
        }
    }
}

/// `2 of 3`.
fn votes(text: &str) -> Option<(usize, u64)> {
    let (votes, size) = text.split_once(" of ")?;
    Some((usize::try_from(number(votes)?).ok()?, number(size)?))
}

fn sum_of(text: &str) -> Option<u32> {
    hex(text, 8).and_then(|sum| u32::try_from(sum).ok())
}

#[cfg(test)]
#[path = "event_text_tests.rs"]
mod tests;
