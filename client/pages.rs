//! Answers of many lines, which come in pages: the log, the list of a key, the keys.
//!
//! The leader answers with all that was committed before it was asked: it makes sure that it still leads
//! (thesis §6.4). A node's own copy needs nobody else, so it is there without a majority too; it may be old, so
//! it is always said whose it is.

use std::time::Duration;

use raft_lab::raft::types::{Index, Role};
use raft_lab::text::push_quoted;
use raft_lab::wire::client::{Answer, NodeStatus, Request, Seen};

use crate::leader::Leader;
use crate::options::{Arguments, Options};
use crate::output::{Failure, tell};

/// The part of a command's help that tells of `--stale` and `--node`.
#[macro_export]
macro_rules! own_copy_help {
    () => {
        "  --stale        a node's own copy of what is committed, from the first node that answers. It may be old, but
                 it needs no majority; whose it is and how fresh is said on standard error
  --node N       node N's own copy, whatever its role: --stale goes without saying
"
    };
}

pub struct Pages {
    source: Leader,
    local: bool,
    /// A note goes out before the first page of a node's own copy.
    told: bool,
}

/// A page, ready to print, and the line that ended it.
pub struct Page {
    pub lines: String,
    pub end: Answer,
}

enum Refusal {
    Silent(String),
    Answer(Box<Answer>),
}

impl Pages {
    /// From the leader, or as `--stale` and `--node` say.
    pub fn new(options: &Options, arguments: &Arguments) -> Result<Pages, Failure> {
        let (source, local) = match options.node(arguments)? {
            Some(node) => (Leader::only(options, node), true),
            None if arguments.has("--stale") => (Leader::any(options), true),
            None => (Leader::new(options), false),
        };
        Ok(Pages { source, local, told: false })
    }

    /// Whether a node's own copy is asked for.
    pub fn local(&self) -> bool {
        self.local
    }

    /// One page, however often it has to be asked for.
    pub fn next(&mut self, request: &Request) -> Result<Page, Failure> {
        self.source.restart_timeout();
        loop {
            match self.attempt(request).map_err(|failure| self.gave_up(failure))? {
                Ok(page) => {
                    self.source.succeeded();
                    // A copy is one node's: that of another may be older, so that it does not fit.
                    self.source.stay();
                    return Ok(page);
                }
                Err(Refusal::Silent(why)) => self.source.failed(&why),
                Err(Refusal::Answer(answer)) => self.source.turned_away(&answer).map_err(Failure::NotDone)?,
            }
        }
    }

    fn gave_up(&self, failure: Failure) -> Failure {
        match failure {
            Failure::NotDone(why) if !self.local => {
                Failure::NotDone(format!("{why}. What a node has of its own is there without a majority: --stale"))
            }
            other => other,
        }
    }

    fn attempt(&mut self, request: &Request) -> Result<Result<Page, Refusal>, Failure> {
        let limit = self.source.attempt();
        let connection = self.source.connection()?;
        let status = self.local.then_some(&Request::Status);
        if let Err(why) = connection.send(status.into_iter().chain([request])) {
            return Ok(Err(Refusal::Silent(why)));
        }
        let (mut lines, mut status) = (String::new(), None);
        loop {
            match connection.receive(limit) {
                Ok(Answer::Status(answer)) if self.local => status = Some(answer),
                Ok(Answer::Entry { id, text }) => {
                    lines.push_str(&format!("{id} "));
                    push_quoted(&mut lines, &text);
                    lines.push('\n');
                }
                Ok(Answer::Value(text)) => {
                    push_quoted(&mut lines, &text);
                    lines.push('\n');
                }
                Ok(Answer::Key { key, values }) => {
                    push_quoted(&mut lines, &key);
                    lines.push_str(&format!(" values={values}\n"));
                }
                Ok(
                    end @ (Answer::End { .. }
                    | Answer::EndOfValues { .. }
                    | Answer::EndOfKeys { .. }
                    | Answer::NoKey { .. }),
                ) => {
                    if let Some(status) = status.filter(|_| !self.told) {
                        self.told = true;
                        tell(format_args!("-- {}\n", whose(&status, seen(&end))));
                    }
                    return Ok(Ok(Page { lines, end }));
                }
                Ok(answer) => return Ok(Err(Refusal::Answer(Box::new(answer)))),
                Err(why) => return Ok(Err(Refusal::Silent(why))),
            }
        }
    }
}

/// A node that starts again knows less to be committed than before, until a leader tells it.
pub fn went_back() -> Failure {
    Failure::NotDone(
        "the node was started again while it was read, and does not know yet what else is committed. What is printed is; \
         ask again for the rest"
            .to_string(),
    )
}

fn seen(end: &Answer) -> Option<Seen> {
    match end {
        Answer::EndOfValues { seen, .. } | Answer::EndOfKeys { seen, .. } | Answer::NoKey { seen, .. } => Some(*seen),
        _ => None,
    }
}

/// Whose copy it is, and how fresh: as the answer itself says, otherwise as the node's status just before does.
fn whose(status: &NodeStatus, seen: Option<Seen>) -> String {
    let applied: Index = seen.map_or(status.applied, |seen| seen.applied);
    let heard: Option<Duration> = seen.map_or(status.heard, |seen| seen.heard);
    let leads = status.role == Role::Leader;
    let heard = match heard {
        Some(heard) => {
            let whom = if leads { "a majority" } else { "its leader" };
            match heard.as_millis() {
                0..50 => format!("heard {whom} just now"),
                _ => format!("heard {whom} {:.1} s ago", heard.as_secs_f64()),
            }
        }
        None if leads => "has not heard a majority yet".to_string(),
        None => "knows no leader".to_string(),
    };
    let role = match status.leader {
        Some(leader) if !leads => format!("{} of {leader}", status.role),
        _ => status.role.to_string(),
    };
    format!("{}'s own copy ({role}, term {}): applied through {applied}, {heard}", status.node, status.term)
}
