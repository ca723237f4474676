//! `client scenario`: plays what hardly ever happens by itself, tells it step by step, and checks each claim.
//!
//! `cast` (the nodes that play), `stage` (the engine: hear, wait, claim), `moves` (what scenarios do again and again),
//! `telling` (the words on the terminal); then a file for each family: `lab`, `service`, `report`, `figure8`.

mod cast;
mod figure8;
mod lab;
mod list;
mod moves;
mod report;
mod service;
mod stage;
mod telling;
mod timers;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use raft_lab::logs::{self, Reader, Verdict};
use raft_lab::raft::types::NodeId;

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print, print_line};
use crate::palette;
use cast::{Cast, write_logs};
use list::{Pace, PreVote, SCENARIOS, Scenario};
use stage::{Played, Stage, Stop};
use telling::Teller;
use timers::Timers;

pub const COMMAND: Command = Command {
    name: "scenario",
    usage: "scenario [NAME…|all] …",
    summary: "plays a split vote, a partition, an overwritten entry …, and checks what must hold",
    help: "Without a name: lists the scenarios. With one or several: plays each on a cluster of its own (processes on
loopback, short timers, temporary data), tells step by step what it does and why, with the lines of the
nodes' logs that matter, and checks each claim. At the end the logs go through the checks of client verify.
Ends with PASS NAME, or FAIL NAME and the line that broke a claim. all: a grader's run, with a table.

  --lab-timers      election timeout 6-10 s and heartbeats every 2 s, slow enough to read along
  --keep DIR        keep the nodes' logs in DIR/NAME/node_1.log …, for client verify and client columns
  --quiet           only the last line of each scenario, and the table
  --election-timeout-ms, --heartbeat-interval-ms
                    other timers: see node --help
  --pre-vote off    says of a given cluster that it runs without pre-vote

  client --cluster LIST scenario NAME
                    plays on that cluster instead, Docker's included (CLUSTER in the environment is not enough). It
                    must have the scenario's size, run with FAULTS=on, and is believed to have the lab's timers
                    unless they are given. Nodes that die come back by themselves (client fault N crash --for …)

Exit code: 0 if all that was played has passed, 1 otherwise, 2 wrong usage.
",
    flags: &[
        ("--lab-timers", None),
        ("--keep", Some("DIR")),
        ("--quiet", None),
        ("--election-timeout-ms", Some("LOW-HIGH")),
        ("--heartbeat-interval-ms", Some("MS")),
        ("--pre-vote", Some("on|off")),
    ],
    run,
};

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.words.is_empty() {
        return list();
    }
    let chosen = chosen(&arguments.words)?;
    let plan = Plan::read(options, arguments)?;
    chosen.iter().try_for_each(|scenario| plan.check(scenario))?;
    let mut outcomes = Vec::new();
    for (number, scenario) in chosen.iter().enumerate() {
        if number > 0 && !plan.quiet {
            print(&format!("\n{}\n\n", "─".repeat(100)))?;
        }
        let began = Instant::now();
        let passed = plan.play(scenario)?;
        outcomes.push((scenario, passed, began.elapsed()));
    }
    if outcomes.len() > 1 {
        table(&outcomes)?;
    }
    match outcomes.iter().filter(|(_, passed, _)| !passed).count() {
        0 => Ok(()),
        1 if outcomes.len() == 1 => Err(Failure::NotDone("a claim of the scenario does not hold".to_string())),
        failed => Err(Failure::NotDone(format!("{failed} of {} scenarios have failed", outcomes.len()))),
    }
}

fn list() -> Result<(), Failure> {
    print("The scenarios; client scenario NAME plays one, client scenario all plays all:\n\n")?;
    for Scenario { name, sentence, size, .. } in SCENARIOS {
        print(&format!("  {name:<30} {sentence} ({size} nodes)\n"))?;
    }
    print("\nEach runs on a cluster of its own and needs no Docker; client scenario --help says more.\n")
}

fn chosen(words: &[String]) -> Result<Vec<&'static Scenario>, Failure> {
    if words == ["all"] {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |word: &String| {
        SCENARIOS.iter().find(|scenario| scenario.name == word).ok_or_else(|| {
            let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            Failure::Usage(format!("unknown scenario {word:?}; expected all, or of {}", names.join(", ")))
        })
    };
    words.iter().map(find).collect()
}

fn table(outcomes: &[(&&Scenario, bool, Duration)]) -> Result<(), Failure> {
    print_line("")?;
    for (scenario, passed, took) in outcomes {
        let verdict = if *passed { "PASS" } else { "FAIL" };
        print(&format!("{verdict}  {:<30} {:>6.1} s\n", scenario.name, took.as_secs_f64()))?;
    }
    let passed = outcomes.iter().filter(|(_, passed, _)| *passed).count();
    print(&format!("{passed} of {} scenarios have passed\n", outcomes.len()))
}

/// How scenarios are to be played.
struct Plan<'a> {
    options: &'a Options,
    given: bool,
    timers: Option<Timers>,
    /// What is said of a given cluster.
    pre_vote: bool,
    keep: Option<PathBuf>,
    quiet: bool,
}

impl Plan<'_> {
    fn read<'a>(options: &'a Options, arguments: &Arguments) -> Result<Plan<'a>, Failure> {
        let given = arguments.has("--cluster");
        let pre_vote = match arguments.value("--pre-vote") {
            Some("off") if given => false,
            None | Some("on") => true,
            _ => {
                let why =
                    "--pre-vote: expected on, or of a --cluster off; a cluster of its own is as the scenario needs it";
                return Err(Failure::Usage(why.to_string()));
            }
        };
        let lab = arguments.has("--lab-timers") || given;
        let mut timers = lab.then(Timers::of_the_lab);
        let (range, beat) = (arguments.value("--election-timeout-ms"), arguments.value("--heartbeat-interval-ms"));
        if range.is_some() || beat.is_some() {
            let (Some(range), Some(beat)) = (range, beat) else {
                let why = "--election-timeout-ms and --heartbeat-interval-ms go together";
                return Err(Failure::Usage(why.to_string()));
            };
            timers = Some(Timers::read(range, beat)?);
        }
        let keep = arguments.value("--keep").map(PathBuf::from);
        Ok(Plan { options, given, timers, pre_vote, keep, quiet: arguments.has("--quiet") })
    }

    /// Whether the given cluster is one for this scenario.
    fn check(&self, scenario: &Scenario) -> Result<(), Failure> {
        let (name, size) = (scenario.name, self.options.cluster.size());
        if !self.given {
            return Ok(());
        }
        if let Some(why) = scenario.own_alone {
            let why = format!("{name} cannot be played on a given cluster: {why}. Cure: leave --cluster out");
            return Err(Failure::Usage(why));
        }
        if size != scenario.size {
            return Err(Failure::Usage(format!("{name} is played by {} nodes, --cluster names {size}", scenario.size)));
        }
        match (scenario.pre_vote, self.pre_vote) {
            (PreVote::Off, true) => Err(Failure::Usage(format!(
                "{name} needs nodes without pre-vote. Cure: start them with PRE_VOTE=off and say --pre-vote off, or leave \
                 --cluster out"
            ))),
            (PreVote::On, false) => Err(Failure::Usage(format!("{name} needs nodes with pre-vote"))),
            _ => Ok(()),
        }
    }

    /// Plays one; whether it has passed.
    fn play(&self, scenario: &Scenario) -> Result<bool, Failure> {
        let teller = Teller::new(palette::wanted(), self.quiet);
        let wished = self.timers.filter(|_| scenario.pace != Pace::Still);
        let timers = wished.unwrap_or_else(|| scenario.pace.timers());
        let pre_vote = match scenario.pre_vote {
            PreVote::On => true,
            PreVote::Off => false,
            PreVote::Either => self.given && self.pre_vote,
        };
        teller.title(scenario.name, scenario.sentence)?;
        teller.say(&format!("{} nodes, {}", scenario.size, timers.told(pre_vote)))?;
        let cast = match self.given {
            true => Cast::given(&self.options.cluster)?,
            false => Cast::own(scenario.size, timers.settings(pre_vote))?,
        };
        let mut stage = Stage::new(cast, teller, timers, pre_vote);
        let played = stage.open().and_then(|()| (scenario.play)(&mut stage));
        let (mut teller, logs) = stage.close();
        let verdict = match played {
            Ok(()) => verify(&mut teller, &logs),
            Err(stop) => Err(stop),
        };
        if let Some(keep) = &self.keep {
            self.keep_logs(&teller, &keep.join(scenario.name), &logs)?;
        }
        match verdict {
            Ok(()) => teller.passed(scenario.name).map(|()| true),
            Err(Stop::Failed(Failure::OutputClosed)) => Err(Failure::OutputClosed),
            Err(Stop::Broken { claim, line }) => {
                teller.failed(scenario.name, &format!("claim \"{claim}\": {line}")).map(|()| false)
            }
            Err(Stop::Failed(Failure::NotDone(why) | Failure::Refused(why) | Failure::Usage(why))) => {
                teller.failed(scenario.name, &format!("it could not be played: {why}")).map(|()| false)
            }
        }
    }

    fn keep_logs(&self, teller: &Teller, folder: &Path, logs: &BTreeMap<NodeId, String>) -> Result<(), Failure> {
        write_logs(folder, logs)?;
        let program = env::current_exe().map_or("client".to_string(), |path| path.display().to_string());
        let files = format!("{}/node_*.log", folder.display());
        teller.say("The logs are kept; to look at them:")?;
        teller.does(&format!("{program} verify {files}"))?;
        teller.does(&format!("{program} columns {files}"))
    }
}

/// The properties of Raft, judged from the logs of the run alone, as `client verify` does.
fn verify(teller: &mut Teller, logs: &BTreeMap<NodeId, String>) -> Played {
    let mut reader = Reader::new();
    for (node, text) in logs {
        let cannot = |why| Stop::Failed(Failure::NotDone(format!("the log of {node} cannot be judged: {why:?}")));
        reader.read(&format!("{node}.log"), text.as_bytes()).map_err(cannot)?;
    }
    let logs = reader.finish();
    let judgement = logs::judge(&logs);
    for (property, verdict) in &judgement.verdicts {
        if let Verdict::Broken(broken) = verdict {
            let lines = broken.earlier.into_iter().chain([broken.line]).filter_map(|line| logs.lines.get(line));
            let lines: Vec<String> = lines.map(|line| line.event.to_string()).collect();
            let line = format!("{}: {}", broken.why, lines.join(" / "));
            return Err(Stop::Broken { claim: format!("verify: {property}"), line });
        }
    }
    let judged = judgement.verdicts.values().filter(|verdict| matches!(verdict, Verdict::Holds(_))).count();
    let (lines, nodes) = (logs.lines.len(), logs.nodes().len());
    teller.step(
        "The logs of this run, judged from their lines alone",
        "This is what client verify does with any logs.",
    )?;
    Ok(teller.holds(&format!("{lines} lines of {nodes} nodes: {judged} properties of Raft hold"))?)
}
