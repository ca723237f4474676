//! `client log`: the committed strings, in order.

use std::thread;
use std::time::Duration;

use raft_lab::raft::types::{Index, MAX_NUMBER};
use raft_lab::text::push_quoted;
use raft_lab::wire::client::{Answer, Request};

use crate::leader::Leader;
use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print};

pub const COMMAND: Command = Command {
    name: "log",
    usage: "log [--from INDEX] [--node N] [--follow]",
    summary: "the committed strings in order, one a line",
    help: "Prints the committed strings in order, one a line; the no-ops of elections are not among them:
  2@1 \"SET 5\"             entry index 2, of term 1

  --from INDEX   begin with this entry index
  --node N       ask node N, whatever its role, for what it knows to be committed; otherwise the leader
  --follow       go on with what is committed later, until Ctrl-C
",
    flags: &[("--from", Some("INDEX")), ("--node", Some("N")), ("--follow", None)],
    run,
};

/// How often `--follow` asks again.
const FOLLOW: Duration = Duration::from_millis(200);

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    arguments.no_words("log")?;
    let from = arguments.number("--from", 1, MAX_NUMBER)?.unwrap_or(1);
    let node = options.node(arguments)?;
    let source = match node {
        Some(node) => Leader::only(options, node),
        None => Leader::new(options),
    };
    let mut reader = Reader { source, local: node.is_some(), next: from };
    // What is committed while this is printed need not be: the list would never end on a busy cluster.
    let mut until = None;
    loop {
        let page = reader.page()?;
        print(&page.lines)?;
        let until = *until.get_or_insert(page.commit);
        if reader.next <= until {
            continue;
        }
        if !arguments.has("--follow") {
            return Ok(());
        }
        thread::sleep(if page.lines.is_empty() { FOLLOW } else { Duration::ZERO });
    }
}

/// Prints the whole list as the leader has it.
pub fn print_all(options: &Options) -> Result<(), Failure> {
    run(options, &Arguments::default())
}

struct Reader {
    source: Leader,
    local: bool,
    /// The index of the next entry to ask for. What is committed never changes, so any node may go on from here.
    next: Index,
}

struct Page {
    lines: String,
    /// The commit index of the node that answered.
    commit: Index,
}

impl Reader {
    fn page(&mut self) -> Result<Page, Failure> {
        self.source.restart_timeout();
        loop {
            match self.attempt()? {
                Ok(page) => return Ok(page),
                Err(Refusal::Silent(why)) => self.source.failed(&why),
                Err(Refusal::Answer(answer)) => self.source.turned_away(&answer).map_err(Failure::NotDone)?,
            }
        }
    }

    fn attempt(&mut self) -> Result<Result<Page, Refusal>, Failure> {
        let limit = self.source.attempt();
        let (from, local) = (self.next, self.local);
        let connection = self.source.connection()?;
        if let Err(why) = connection.send([&Request::Log { from, local }]) {
            return Ok(Err(Refusal::Silent(why)));
        }
        let mut lines = String::new();
        loop {
            match connection.receive(limit) {
                Ok(Answer::Entry { id, text }) => {
                    lines.push_str(&format!("{id} "));
                    push_quoted(&mut lines, &text);
                    lines.push('\n');
                }
                Ok(Answer::End { next, commit }) => {
                    self.source.succeeded();
                    self.next = next.max(from);
                    return Ok(Ok(Page { lines, commit }));
                }
                Ok(answer) => return Ok(Err(Refusal::Answer(answer))),
                Err(why) => return Ok(Err(Refusal::Silent(why))),
            }
        }
    }
}

enum Refusal {
    Silent(String),
    Answer(Answer),
}
