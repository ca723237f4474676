//! `client log`: the committed strings, in order.

use std::thread;
use std::time::Duration;

use raft_lab::raft::types::MAX_NUMBER;
use raft_lab::wire::client::{Answer, Request};

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print};
use crate::own_copy_help;
use crate::pages::{Pages, went_back};

pub const COMMAND: Command = Command {
    name: "log",
    usage: "log [--from INDEX] [--follow] …",
    summary: "the committed strings in order, one a line",
    help: concat!(
        "Prints the committed strings in order, one a line; the no-ops of elections are not among them:
  2@1 \"SET 5\"             entry index 2, of term 1
It is all that was committed before it was asked: the leader makes sure first that it still leads.

  --from INDEX   begin with this entry index
  --follow       go on with what is committed later, until Ctrl-C
",
        own_copy_help!()
    ),
    flags: &[("--from", Some("INDEX")), ("--node", Some("N")), ("--stale", None), ("--follow", None)],
    run,
};

/// How often `--follow` asks again.
const FOLLOW: Duration = Duration::from_millis(200);

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    arguments.no_words("log")?;
    // What is committed never changes, so any node may go on from here.
    let mut from = arguments.number("--from", 1, MAX_NUMBER)?.unwrap_or(1);
    let mut pages = Pages::new(options, arguments)?;
    // What is committed while this is printed need not be: the list would never end on a busy cluster.
    let mut until = None;
    loop {
        let page = pages.next(&Request::Log { from, local: pages.local() })?;
        let Answer::End { next, commit } = page.end else {
            return Err(Failure::NotDone("the node answered with something else than the log".to_string()));
        };
        print(&page.lines)?;
        from = next.max(from);
        let until = *until.get_or_insert(commit);
        if arguments.has("--follow") {
            thread::sleep(if page.lines.is_empty() { FOLLOW } else { Duration::ZERO });
        } else if from > until {
            return Ok(());
        } else if commit < until {
            return Err(went_back());
        }
    }
}

/// Prints the whole list as the leader has it.
pub fn print_all(options: &Options) -> Result<(), Failure> {
    run(options, &Arguments::default())
}
