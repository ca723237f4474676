//! `client keys`: the keys that have a list.

use raft_lab::wire::client::{Answer, Request};

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print, tell};
use crate::own_copy_help;
use crate::pages::Pages;

pub const COMMAND: Command = Command {
    name: "keys",
    usage: "keys [--stale] [--node N]",
    summary: "the keys, and how many strings the list of each has",
    help: concat!(
        "Prints the keys in the order of their bytes, one a line, and how many strings the list of each has:
  \"a\" values=2
  \"log\" values=5          the lab's log
It is all that was committed before it was asked, as with get.

",
        own_copy_help!()
    ),
    flags: &[("--stale", None), ("--node", Some("N"))],
    run,
};

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    arguments.no_words("keys")?;
    let mut pages = Pages::new(options, arguments)?;
    // A page is as of its own moment. No key ever goes, so those that were there at the beginning are all printed.
    let (mut from, mut any) = (None, false);
    loop {
        let page = pages.next(&Request::Keys { from, local: pages.local() })?;
        any |= !page.lines.is_empty();
        print(&page.lines)?;
        match page.end {
            Answer::EndOfKeys { next: Some(next), .. } => from = Some(next),
            _ if any => return Ok(()),
            _ => {
                tell("-- there are no keys yet\n");
                return Ok(());
            }
        }
    }
}
