//! `client get`: the list of a key.

use std::sync::Arc;
use std::time::Instant;

use raft_lab::raft::types::{LOG_KEY, MAX_KEY_BYTES};
use raft_lab::text::quote;
use raft_lab::wire::client::{Answer, Request};

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print, tell};
use crate::own_copy_help;
use crate::pages::{Page, Pages, went_back};

pub const COMMAND: Command = Command {
    name: "get",
    usage: "get KEY [--stale] [--node N]",
    summary: "the list of KEY, one string a line",
    help: concat!(
        "Prints the strings of the list of KEY in order, one a line, quoted as the log has them:
  \"cat\"
  \"dog\"
It is all that was committed before it was asked: the leader makes sure first that it still leads. A key that
is not there is exit code 1; an empty list prints nothing.

",
        own_copy_help!()
    ),
    flags: &[("--stale", None), ("--node", Some("N"))],
    run,
};

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    let [key] = &arguments.words[..] else {
        let given = arguments.words.len();
        return Err(Failure::Usage(format!("get expects one KEY, got {given} words")));
    };
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Failure::Usage(format!("get: a KEY has 1 to {MAX_KEY_BYTES} bytes, this one {}", key.len())));
    }
    let key: Arc<str> = key.as_str().into();
    let mut pages = Pages::new(options, arguments)?;
    if &*key == LOG_KEY {
        return print_log(&mut pages, &key);
    }
    let deadline = Instant::now() + options.timeout;
    loop {
        if let Some(list) = whole_list(&mut pages, &key)? {
            if list.is_empty() {
                tell(format_args!("-- {} has an empty list\n", quote(&key)));
            }
            return print(&list);
        }
        if Instant::now() > deadline {
            let seconds = options.timeout.as_secs_f64();
            let key = quote(&key);
            return Err(Failure::NotDone(format!("{key} changes faster than it can be read, for {seconds} s now")));
        }
    }
}

/// All pages of a list as one; `None` if it changed between two of them.
fn whole_list(pages: &mut Pages, key: &Arc<str>) -> Result<Option<String>, Failure> {
    let (mut list, mut next, mut since) = (String::new(), 1, None);
    loop {
        let (page, place) = one(pages, key, next)?;
        if *since.get_or_insert(place.changed) != place.changed {
            return Ok(None);
        }
        list.push_str(&page.lines);
        next = place.next;
        if next > place.total {
            return Ok(Some(list));
        }
    }
}

/// The lab's log only grows, and may be long: a page is printed when it comes. What is appended meanwhile need not
/// be: the list would never end on a busy cluster.
fn print_log(pages: &mut Pages, key: &Arc<str>) -> Result<(), Failure> {
    let (mut next, mut until) = (1, None);
    loop {
        let (page, place) = one(pages, key, next)?;
        print(&page.lines)?;
        next = place.next;
        let until = *until.get_or_insert(place.total);
        if next > until {
            return Ok(());
        }
        if place.total < until {
            return Err(went_back());
        }
    }
}

/// Where a page ends.
struct Place {
    next: u64,
    total: u64,
    changed: raft_lab::raft::types::EntryId,
}

fn one(pages: &mut Pages, key: &Arc<str>, from: u64) -> Result<(Page, Place), Failure> {
    let page = pages.next(&Request::Get { key: key.clone(), from, local: pages.local() })?;
    match page.end {
        Answer::EndOfValues { next, total, changed, .. } if next > from || next > total => {
            Ok((page, Place { next, total, changed }))
        }
        Answer::NoKey { .. } => {
            Err(Failure::NotDone(format!("there is no key {}; client keys lists those that are", quote(key))))
        }
        _ => Err(Failure::NotDone(format!("the node answered string {from} of {} with nothing", quote(key)))),
    }
}
