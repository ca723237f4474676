//! `client columns`: the logs of several nodes side by side, one column a node, time going down.
//!
//! `order` puts lines of the same millisecond into the order of cause and effect, `table` makes rows of them; `terminal`
//! and `html` show those.

mod html;
mod order;
mod table;
mod terminal;
mod time;

use std::env;
use std::fs;

use raft_lab::logs::Logs;
use raft_lab::text::plain;

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print, print_line, tell};
use crate::palette;
use crate::verify;
use table::{Choice, Table};

pub const COMMAND: Command = Command {
    name: "columns",
    usage: "columns FILE… [--html PAGE]",
    summary: "the logs of several nodes side by side, one column a node",
    help: "Merges the nodes' logs by time, from files or (-) from standard input, and shows them side by side: a column for
each node, in the colour of its role. A line down the column says what the node is when it says nothing; the
line ends with the last thing that the node said before it was stopped, and begins anew with its next start.

  docker-compose logs --no-color | client columns -
  client columns node_1.log node_2.log node_3.log --html run.html

The files are read as client verify reads them: prefixes, time stamps and colours are stripped, lines of other
programs are skipped. Lines of the same millisecond stand in the order of cause and effect; otherwise the
nodes' clocks are believed, and each node's lines keep their order.

  --html PAGE       write a page for a browser, self-contained, for a report (- is standard output): heartbeats are
                    folded until they are asked for, elections and commits stand out. At most 20000 rows
  --from TIME       only what happened at this time of day or later, like 12:00:07 or 12:00:07.416
  --to TIME         only what happened at this time of day or earlier
  --no-heartbeats   leave the heartbeats out
  --width N         how wide the terminal is, in characters; otherwise COLUMNS says it, otherwise it is 120
  --color auto|always|never   auto: on a terminal, unless NO_COLOR is set
",
    flags: &[
        ("--html", Some("PAGE")),
        ("--from", Some("TIME")),
        ("--to", Some("TIME")),
        ("--no-heartbeats", None),
        ("--width", Some("N")),
        ("--color", Some("auto|always|never")),
    ],
    run,
};

/// The most rows of a page: what a browser still shows without pain.
const MAX_PAGE_ROWS: usize = 20_000;
/// The width of a terminal that nothing is known of, and what is allowed, in characters.
const DEFAULT_WIDTH: u64 = 120;
const WIDTHS: (u64, u64) = (40, 1000);

fn run(_: &Options, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.words.is_empty() {
        let why = "columns expects the nodes' logs: files, or - for standard input";
        return Err(Failure::Usage(why.to_string()));
    }
    let (width, colors) = (width(arguments)?, palette::chosen(arguments)?);
    let time = |flag| arguments.value(flag).map(|given| time::read(flag, given)).transpose();
    let choice = Choice { from: time("--from")?, to: time("--to")?, heartbeats: !arguments.has("--no-heartbeats") };
    let page = arguments.value("--html");
    if let Some(page) = page {
        spare_the_logs(page, &arguments.words)?;
    }
    let logs = verify::read(&arguments.words)?;
    let table = Table::new(&logs, &choice);
    if table.shown().next().is_none() {
        return Err(nothing(&logs));
    }
    match page {
        Some(page) => write_page(page, &table),
        None => {
            terminal::show(&table, width, colors, print)?;
            let skipped = (logs.skipped > 0).then(|| format!("{} lines of other programs are left out", logs.skipped));
            for note in table.notes().into_iter().chain(skipped) {
                tell(format_args!("-- {note}\n"));
            }
            Ok(())
        }
    }
}

fn width(arguments: &Arguments) -> Result<usize, Failure> {
    let (low, high) = WIDTHS;
    let terminal = || env::var("COLUMNS").ok()?.parse().ok().filter(|width| (low..=high).contains(width));
    let width = arguments.number("--width", low, high)?.or_else(terminal).unwrap_or(DEFAULT_WIDTH);
    Ok(usize::try_from(width).unwrap_or(usize::MAX))
}

/// A slip of the keyboard must not cost the log of a run.
fn spare_the_logs(page: &str, logs: &[String]) -> Result<(), Failure> {
    let Ok(place) = fs::canonicalize(page) else { return Ok(()) };
    if logs.iter().any(|log| fs::canonicalize(log).is_ok_and(|log| log == place)) {
        return Err(Failure::Usage(format!("--html: {} is one of the logs; name another file", plain(page))));
    }
    Ok(())
}

fn nothing(logs: &Logs) -> Failure {
    Failure::NotDone(match (logs.lines.first(), logs.lines.last()) {
        (Some(first), Some(last)) => format!(
            "no line to show: the logs go from {} to {}",
            time::of_day(first.event.at),
            time::of_day(last.event.at)
        ),
        _ => format!("no line of a node's log there, and {} of other programs", logs.skipped),
    })
}

fn write_page(page: &str, table: &Table) -> Result<(), Failure> {
    let rows = table.shown().count();
    if rows > MAX_PAGE_ROWS {
        let heartbeats = table.shown().filter(|row| row.kind == table::Kind::Heartbeat).count();
        let fold = match heartbeats {
            0 => String::new(),
            _ => format!("--no-heartbeats, which leaves {}; or ", rows - heartbeats),
        };
        return Err(Failure::NotDone(format!(
            "the page would have {rows} rows, and more than {MAX_PAGE_ROWS} are too many for a browser. Cure: {fold}a part \
             of the time with --from and --to (the rows go from {} to {}); or without --html, in the terminal",
            table.span().0,
            table.span().1
        )));
    }
    let text = html::page(table);
    if page == "-" {
        return print(&text);
    }
    let name = plain(page);
    fs::write(page, text).map_err(|error| Failure::NotDone(format!("cannot write {name}: {error}")))?;
    print_line(format_args!("{name}: {rows} rows, {} to {}", table.span().0, table.span().1))
}

#[cfg(test)]
mod tests;
