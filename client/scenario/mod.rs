//! `client scenario`: plays what hardly ever happens by itself, tells it step by step, and checks each claim.
//!
//! `cast` (the nodes that play), `stage` (the engine: hear, wait, claim), `moves` (what scenarios do again and again),
//! `telling` (the words on the terminal); then a file for each family: `lab`, `service`, `report`, `figure8`.

mod cast;
mod lab;
mod moves;
mod report;
mod service;
mod stage;
mod telling;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use raft_lab::logs::{self, Reader, Verdict};
use raft_lab::raft::types::NodeId;
use raft_lab::settings::{self, Wanted};

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print, print_line};
use crate::palette;
use cast::{Cast, write_logs};
use stage::{Played, Stage, Stop, Timers};
use telling::Teller;

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

/// Pre-vote (thesis §9.6), as a scenario needs it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PreVote {
    On,
    Off,
    /// It can be told with it and without; own nodes are without.
    Either,
}

/// One scenario.
struct Scenario {
    name: &'static str,
    sentence: &'static str,
    size: u64,
    pre_vote: PreVote,
    pace: Pace,
    /// Why it can be played on nodes of its own alone.
    own_alone: Option<&'static str>,
    play: fn(&mut Stage) -> Played,
}

/// The timers of own nodes, where none are given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Elections come soon.
    Quick,
    /// A leader stays, even if the machine is busy for most of a second.
    Calm,
}

impl Pace {
    fn timers(self) -> Timers {
        let (low, high, heartbeat) = match self {
            Pace::Quick => (500, 900, 100),
            Pace::Calm => (1200, 2000, 150),
        };
        Timers::from_millis(low, high, heartbeat)
    }
}

const LAB_TIMERS: (u64, u64, u64) = (6000, 10_000, 2000);

/// What can be played, in the order of the list.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "typical-run",
        sentence: "a leader is elected, a string is replicated and committed, heartbeats keep the peace",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: Some("it begins with the start of the cluster"),
        play: lab::typical_run,
    },
    Scenario {
        name: "split-vote",
        sentence: "two candidates in one term, a vote each: nobody wins, and random timeouts end it",
        size: 3,
        pre_vote: PreVote::Either,
        pace: Pace::Calm,
        own_alone: None,
        play: lab::split_vote,
    },
    Scenario {
        name: "dead-leader",
        sentence: "the leader dies, another is elected, and the old one comes back as a follower",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: lab::dead_leader,
    },
    Scenario {
        name: "dead-follower",
        sentence: "a follower dies and comes back; the leader does not change",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: lab::dead_follower,
    },
    Scenario {
        name: "leader-election",
        sentence: "the leader dies three times, and each time another is elected in a later term",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: service::leader_election,
    },
    Scenario {
        name: "log-consistency",
        sentence: "ten strings through one leader: five equal logs",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: service::log_consistency,
    },
    Scenario {
        name: "crash-and-recovery",
        sentence: "all nodes die at once and come back: nothing that was committed is lost",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: service::crash_and_recovery,
    },
    Scenario {
        name: "network-partition",
        sentence: "the leader is cut off: another one commits, and the old one must give up its entry",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: service::network_partition,
    },
    Scenario {
        name: "end-to-end",
        sentence: "a key with a list through a crash, a cut and the return of all",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: service::end_to_end,
    },
    Scenario {
        name: "overwritten-entry",
        sentence: "an entry that a stopped leader alone had is overwritten, and nobody was promised it",
        size: 3,
        pre_vote: PreVote::Either,
        pace: Pace::Calm,
        own_alone: None,
        play: report::overwritten_entry,
    },
    Scenario {
        name: "two-of-five",
        sentence: "without a majority terms grow and nothing is committed, then all return",
        size: 5,
        pre_vote: PreVote::Off,
        pace: Pace::Quick,
        own_alone: None,
        play: report::two_of_five,
    },
    Scenario {
        name: "two-of-five-pre-vote",
        sentence: "the same with pre-vote: the terms stay",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: report::two_of_five,
    },
    Scenario {
        name: "minority-holds-leader",
        sentence: "partition 2 | 3, the old leader on the smaller side: the report's first",
        size: 5,
        pre_vote: PreVote::Off,
        pace: Pace::Quick,
        own_alone: None,
        play: report::minority_holds_leader,
    },
    Scenario {
        name: "minority-holds-leader-pre-vote",
        sentence: "the same with pre-vote: the terms stay, and so does the new leader",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: report::minority_holds_leader,
    },
    Scenario {
        name: "majority-holds-leader",
        sentence: "partition 3 | 2: the smaller side's terms grow and depose the leader: the report's second",
        size: 5,
        pre_vote: PreVote::Off,
        pace: Pace::Quick,
        own_alone: None,
        play: report::majority_holds_leader,
    },
    Scenario {
        name: "majority-holds-leader-pre-vote",
        sentence: "the same with pre-vote: the terms stay, and so does the leader",
        size: 5,
        pre_vote: PreVote::On,
        pace: Pace::Calm,
        own_alone: None,
        play: report::majority_holds_leader,
    },
    Scenario {
        name: "one-of-three",
        sentence: "one node alone: its term grows, and it elects nobody",
        size: 3,
        pre_vote: PreVote::Off,
        pace: Pace::Quick,
        own_alone: None,
        play: report::one_of_three,
    },
    Scenario {
        name: "one-of-three-pre-vote",
        sentence: "the same with pre-vote: its term stays",
        size: 3,
        pre_vote: PreVote::On,
        pace: Pace::Quick,
        own_alone: None,
        play: report::one_of_three,
    },
];

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
        let mut timers = lab.then(|| Timers::from_millis(LAB_TIMERS.0, LAB_TIMERS.1, LAB_TIMERS.2));
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
        let timers = self.timers.unwrap_or_else(|| scenario.pace.timers());
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
        teller.say(&format!("The logs are kept: {program} verify {files}, {program} columns {files}"))
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
    teller.step("The logs of the run, judged from the lines alone", "as client verify does.")?;
    Ok(teller.holds(&format!("{lines} lines of {nodes} nodes: {judged} properties of Raft hold"))?)
}

impl Timers {
    fn from_millis(low: u64, high: u64, heartbeat: u64) -> Timers {
        let [low, high, heartbeat] = [low, high, heartbeat].map(Duration::from_millis);
        Timers { low, high, heartbeat }
    }

    /// Checked as a node does it.
    fn read(range: &str, beat: &str) -> Result<Timers, Failure> {
        let arguments =
            ["--id=1".to_string(), format!("--election-timeout-ms={range}"), format!("--heartbeat-interval-ms={beat}")];
        match settings::read(&arguments, |_| None).map_err(Failure::Usage)? {
            Wanted::Run(settings) => {
                let (low, high) = settings.election_timeout;
                Ok(Timers { low, high, heartbeat: settings.heartbeat_interval })
            }
            Wanted::Print(_) => Err(Failure::Usage("scenario: a setting of the nodes has no value".to_string())),
        }
    }

    fn told(&self, pre_vote: bool) -> String {
        let (low, high, beat) = (self.low.as_millis(), self.high.as_millis(), self.heartbeat.as_millis());
        let plain = if pre_vote { "" } else { ", pre-vote off" };
        format!("election timeout {low}-{high} ms, heartbeat every {beat} ms{plain}.")
    }

    fn settings(&self, pre_vote: bool) -> Vec<String> {
        vec![
            format!("--election-timeout-ms={}-{}", self.low.as_millis(), self.high.as_millis()),
            format!("--heartbeat-interval-ms={}", self.heartbeat.as_millis()),
            format!("--pre-vote={}", if pre_vote { "on" } else { "off" }),
            "--faults=on".to_string(),
        ]
    }
}
