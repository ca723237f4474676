//! `client demo`: what the client of the lab does.

use std::thread;
use std::time::{Duration, Instant};

use raft_lab::text::quote;

use crate::connection::ATTEMPT;
use crate::log;
use crate::options::{Arguments, Command, MAX_TIMEOUT, Options, read_seconds};
use crate::output::{Failure, print_line};
use crate::session::{Change, Writer};
use crate::status::{ask_all, leader};

pub const COMMAND: Command = Command {
    name: "demo",
    usage: "demo [--pause SECONDS]",
    summary: "what the lab's client does: waits for a leader, appends a few strings",
    help: "Waits for a leader, names it, appends a few strings with a pause between them, prints the log, and ends.
It may be run again: the same strings are then in the log once more.

  --pause SECONDS   between two strings; 1 where nothing is said
",
    flags: &[("--pause", Some("SECONDS"))],
    run,
};

/// The strings of the demonstration.
const TEXTS: [&str; 5] = ["SET 5", "ADD 1", "MULTIPLY 7", "SUBTRACT 2", "SHOW"];
/// How often the nodes are asked while there is no leader.
const ASK: Duration = Duration::from_millis(250);

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    arguments.no_words("demo")?;
    let pause = arguments.value("--pause").map(|given| {
        let most = MAX_TIMEOUT.as_secs();
        let wrong =
            || Failure::Usage(format!("--pause: expected seconds from 0 to {most}, like 1 or 0.5, got {given:?}"));
        read_seconds(given).ok_or_else(wrong)
    });
    let pause = pause.transpose()?.unwrap_or(Duration::from_secs(1));
    wait_for_leader(options)?;
    let mut writer = Writer::new(options);
    for text in TEXTS {
        print_line(format_args!("append {}", quote(text)))?;
        match writer.write(Change::Append(text.into()))? {
            Some(id) => print_line(format_args!("ok {id}: a majority of the nodes has it on disk"))?,
            None => print_line("ok")?,
        }
        thread::sleep(pause);
    }
    print_line("The log as the leader has it:")?;
    log::print_all(options)?;
    print_line("The demonstration is over.")
}

fn wait_for_leader(options: &Options) -> Result<(), Failure> {
    let deadline = Instant::now() + options.timeout;
    let places: Vec<_> = options.cluster.members().map(|(_, address)| address).collect();
    print_line(format_args!("Waiting for a leader among {} …", places.join(", ")))?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let rows = ask_all(options, ATTEMPT.min(left));
        if let Some(leader) = leader(&rows) {
            return print_line(format_args!("{} is the leader of term {}.", leader.node, leader.term));
        }
        if left <= ASK {
            let said: Vec<_> = rows
                .iter()
                .map(|row| match &row.status {
                    Ok(status) => format!("{} is {} in term {}", row.node, status.role, status.term),
                    Err(why) => format!("{}: {why}", row.node),
                })
                .collect();
            let seconds = options.timeout.as_secs_f64();
            let said = said.join("; ");
            return Err(Failure::NotDone(format!("no leader within {seconds} s: {said}. {}", options.cure())));
        }
        thread::sleep(ASK);
    }
}
