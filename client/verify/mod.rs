//! `client verify`: judges a run from the nodes' logs alone.

mod checklist;
mod report;

use std::fs::File;
use std::io::{self, BufReader};

use raft_lab::logs::{self, Logs, MAX_LINES, Reader, Unreadable};

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print};
use crate::palette;

pub const COMMAND: Command = Command {
    name: "verify",
    usage: "verify FILE…",
    summary: "judges the protocol from the logs of any run: PASS or FAIL for each property",
    help:
        "Reads the nodes' logs, from files or (-) from standard input, and judges from them alone whether the protocol
held. Each property gets PASS or FAIL, a FAIL with the two lines that contradict each other; behind that
stands the lab's own checklist, each with the lines that show it.

  docker-compose logs --no-color | client verify -
  client cluster | tee run.log           …and later: client verify run.log
  client verify node_1.log node_2.log node_3.log

One log of all nodes or one of each; several logs of one node are named oldest first. The prefixes of
docker-compose, docker and client cluster, time stamps and colours are stripped; lines of other programs
are counted and skipped. A log may start late or have holes, and a killed node may leave half a line: it is
judged as far as it goes, and what is missing is said. Times may pass midnight. (What client watch prints
is no log: it may miss lines.)

After a contradiction it goes on: each property gets its verdict and its first contradiction; of the node
whose line was wrong only what it had committed is believed from there on.

PASS: nothing in the logs contradicts it. FAIL: two lines cannot both be true, or one line breaks the rule.
----: the logs show nothing that it could be judged by; that alone is no failure. The checklist's \"not seen\"
is none either: it only says that the run does not show it.

Exit code: 0 if a leader was elected and nothing is contradicted, 1 otherwise, 2 wrong usage.
",
    flags: &[],
    run,
};

fn run(_options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.words.is_empty() {
        let why = "verify expects the nodes' logs: files, or - for standard input";
        return Err(Failure::Usage(why.to_string()));
    }
    let logs = read(&arguments.words)?;
    let (text, verdict) = judged(&logs, palette::wanted());
    print(&text)?;
    verdict
}

/// The report on these logs, and how the command ends.
pub fn judged(logs: &Logs, colors: bool) -> (String, Result<(), Failure>) {
    let judgement = logs::judge(logs);
    let items = checklist::answers(logs);
    let text = report::write(logs, &judgement, &items, colors);
    let broken = judgement.verdicts.values().filter(|verdict| matches!(verdict, logs::Verdict::Broken(_))).count();
    let verdict = match (broken, items.first().is_some_and(|election| election.seen)) {
        (0, true) => Ok(()),
        (0, false) => Err(Failure::NotDone(
            "nothing was judged: no line tells of a leader's election. Cure: give the logs of all nodes, from their \
             start"
                .to_string(),
        )),
        (1, _) => Err(Failure::NotDone("the protocol did not hold: 1 property is contradicted".to_string())),
        (_, _) => Err(Failure::NotDone(format!("the protocol did not hold: {broken} properties are contradicted"))),
    };
    (text, verdict)
}

/// The logs in these files; `-` is standard input.
pub fn read(names: &[String]) -> Result<Logs, Failure> {
    let mut reader = Reader::new();
    for (number, name) in names.iter().enumerate() {
        if names[..number].contains(name) {
            return Err(Failure::Usage(format!("{name} is named twice")));
        }
        let read = if name == "-" {
            reader.read("(stdin)", io::stdin().lock())
        } else {
            let cannot = |error| Failure::Usage(format!("cannot read {name}: {error}"));
            let file = File::open(name).map_err(cannot)?;
            if file.metadata().map_err(cannot)?.is_dir() {
                return Err(Failure::Usage(format!("{name} is a directory: name the files in it")));
            }
            reader.read(name, BufReader::new(file))
        };
        read.map_err(|why| refused(&why, names))?;
    }
    Ok(reader.finish())
}

fn refused(why: &Unreadable, names: &[String]) -> Failure {
    let place = |place: &logs::Place| {
        let name = names.get(place.file).map_or("?", String::as_str);
        format!("{}:{}", if name == "-" { "(stdin)" } else { name }, place.line)
    };
    Failure::Usage(match why {
        Unreadable::Io(name, error) => format!("cannot read {name}: {error}"),
        Unreadable::Twice(one, two) => {
            format!("the same lines come twice, from {} and from {} on: name each log once", place(one), place(two))
        }
        Unreadable::Backwards(node, one, two) => format!(
            "{node} is at an earlier term at {} than before, at {}: name the logs of one node oldest first",
            place(two),
            place(one)
        ),
        Unreadable::TooLong => format!("more than {MAX_LINES} lines: give a part of the logs"),
    })
}
