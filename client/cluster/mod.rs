//! `client cluster`: a cluster of processes on loopback, for a machine without Docker.

mod console;

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use raft_lab::cluster::Cluster;
use raft_lab::raft::types::{MAX_CLUSTER_SIZE, NodeId};
use raft_lab::settings::{self, Wanted};
use raft_lab::text::random::Random;

use crate::lines::{GATHER, Line, in_order};
use crate::options::{Arguments, Command, Options, whole_number};
use crate::output::{Failure, print};
use crate::palette;
use crate::process::{News, Process, program};
use console::Order;

pub const COMMAND: Command = Command {
    name: "cluster",
    usage: "cluster [N] [--data-dir DIR] …",
    summary: "runs N nodes (3) as processes on loopback; needs no Docker",
    help: "Runs N nodes, 3 where nothing is said, as processes on 127.0.0.1 and prints their logs, each line behind the
name of its node. It says at the start how to talk to them. However it ends (Ctrl-C, kill, a closed
terminal), no node is left behind.

While it runs, type into its terminal, with Enter:
  stop 3     kills node 3 at once (kill -9)          start 3    starts it again, with its data
  help       says this again                         quit       ends all

  --data-dir DIR                keep the data in DIR/node_1 …; otherwise in a fresh temporary folder
  --base-port PORT              the port of node 1, and those after it for the others; 26001 where nothing is said
  --color auto|always|never     auto: on a terminal, unless NO_COLOR is set
  --faults on|off               on: client fault, partition, heal and split-vote may break the nodes; on where nothing is said
  --election-timeout-ms, --heartbeat-interval-ms, --pre-vote, --snapshot-log-bytes
                                passed on to every node: see node --help
",
    flags: &[
        ("--data-dir", Some("DIR")),
        ("--base-port", Some("PORT")),
        ("--election-timeout-ms", Some("LOW-HIGH")),
        ("--heartbeat-interval-ms", Some("MS")),
        ("--pre-vote", Some("on|off")),
        ("--snapshot-log-bytes", Some("BYTES")),
        ("--faults", Some("on|off")),
        ("--color", Some("auto|always|never")),
    ],
    run,
};

const DEFAULT_BASE_PORT: u64 = 26001;
/// What is passed on to the nodes as it is.
const PASSED_ON: [&str; 4] = ["--election-timeout-ms", "--heartbeat-interval-ms", "--pre-vote", "--snapshot-log-bytes"];
/// The most lines that wait to be printed; beyond that the nodes wait, and end when that takes too long.
const QUEUE: usize = 20_000;
/// The most lines that go out with one write.
const BATCH: usize = 5000;

/// What the main thread hears of.
enum Happening {
    News(News),
    Ordered(Order),
    /// No more orders can come.
    ConsoleClosed,
}

impl From<News> for Happening {
    fn from(news: News) -> Happening {
        Happening::News(news)
    }
}

fn run(_: &Options, arguments: &Arguments) -> Result<(), Failure> {
    let plan = Plan::read(arguments)?;
    let program = program::find()?;
    plan.check_ports()?;
    fs::create_dir_all(&plan.data)
        .map_err(|error| Failure::NotDone(format!("cannot make {}: {error}", plan.data.display())))?;
    let (sender, happenings) = sync_channel(QUEUE);
    let mut nodes = Vec::new();
    for (node, _) in plan.cluster.members() {
        nodes.push(Process::start(node, &program, plan.node_arguments(node), sender.clone())?);
    }
    print(&plan.greeting(&nodes))?;
    let listening = console::listen(sender.clone());
    if !listening {
        print("client  | this runs in the background: it takes no commands here\n")?;
    }
    Supervisor { plan, nodes, program, sender, listening }.run(&happenings)
}

/// What is to run where.
struct Plan {
    cluster: Cluster,
    data: PathBuf,
    settings: Vec<String>,
    /// The nodes may be broken.
    faults: bool,
    colors: bool,
}

impl Plan {
    fn read(arguments: &Arguments) -> Result<Plan, Failure> {
        let size = match &arguments.words[..] {
            [] => raft_lab::cluster::DEFAULT_SIZE,
            [size] => whole_number("cluster", size, 1, MAX_CLUSTER_SIZE)?,
            [_, more, ..] => return Err(Failure::Usage(format!("cluster takes one number, got {more:?} too"))),
        };
        let highest = u64::from(u16::MAX) + 1 - size;
        let base = arguments.number("--base-port", 1024, highest)?.unwrap_or(DEFAULT_BASE_PORT);
        let addresses: Vec<_> = (0..size).map(|offset| format!("127.0.0.1:{}", base + offset)).collect();
        let cluster = Cluster::parse_in_order(&addresses.join(",")).map_err(Failure::Usage)?;
        let mut settings = Vec::new();
        for flag in PASSED_ON {
            if let Some(value) = arguments.value(flag) {
                settings.extend([flag.to_string(), value.to_string()]);
            }
        }
        // On loopback, for those who learn: here they may break them.
        let faults = arguments.value("--faults").unwrap_or("on");
        settings.extend(["--faults".to_string(), faults.to_string()]);
        let colors = palette::chosen(arguments)?;
        let fresh = || env::temp_dir().join(format!("raft-lab-{:016x}", Random::from_os().next_u64()));
        let data = arguments.value("--data-dir").map_or_else(fresh, PathBuf::from);
        let plan = Plan { cluster, data, settings, faults: faults == "on", colors };
        // The nodes would say it too, each of them.
        match settings::read(&plan.node_arguments(NodeId(1)), |_| None) {
            Ok(Wanted::Run(_)) => Ok(plan),
            Ok(Wanted::Print(_)) => Err(Failure::Usage("cluster: a setting of the nodes has no value".to_string())),
            Err(why) => Err(Failure::Usage(why)),
        }
    }

    fn node_arguments(&self, node: NodeId) -> Vec<String> {
        let listen = self.cluster.address(node).unwrap_or_default();
        let data = self.data.join(node.to_string());
        let mut arguments = vec![
            format!("--id={}", node.0),
            format!("--cluster-size={}", self.cluster.size()),
            format!("--peers={}", self.cluster),
            format!("--listen={listen}"),
            format!("--data-dir={}", data.display()),
            "--color=never".to_string(),
            "--stop-with-stdin".to_string(),
        ];
        arguments.extend(self.settings.iter().cloned());
        arguments
    }

    /// Says which port is taken before any node has started.
    fn check_ports(&self) -> Result<(), Failure> {
        for (node, address) in self.cluster.members() {
            TcpListener::bind(address).map_err(|error| {
                Failure::NotDone(format!(
                    "{node} cannot listen at {address}: {error}. Cure: end the other program (another client cluster?), or choose \
                     other ports with --base-port"
                ))
            })?;
        }
        Ok(())
    }

    fn greeting(&self, nodes: &[Process]) -> String {
        let program = env::current_exe().map_or("client".to_string(), |path| path.display().to_string());
        let places: Vec<_> = self.cluster.members().map(|(_, address)| address).collect();
        let mut text = String::new();
        let mut say = |line: &str| text.push_str(&format!("client  | {line}\n"));
        for process in nodes {
            let (node, address) = (process.node(), self.cluster.address(process.node()).unwrap_or_default());
            say(&format!("{node} runs at {address}, process {}", process.pid()));
        }
        say(&format!("data in {}", self.data.display()));
        say("to talk to them, in another terminal:");
        say(&format!("  export CLUSTER={}", places.join(",")));
        say(&format!("  {program} append \"hello\"      (or log, put, get, status, watch, web, demo)"));
        if self.faults {
            say("to break them, there: client partition 1 2,3, heal, split-vote, fault 1 pause 5s");
        }
        say("to kill and revive one, here: stop 3, start 3 and Enter; Ctrl-C ends all");
        text
    }
}

/// Prints what the nodes say and does what is ordered, until the end.
struct Supervisor {
    plan: Plan,
    nodes: Vec<Process>,
    program: PathBuf,
    sender: SyncSender<Happening>,
    listening: bool,
}

impl Supervisor {
    fn run(mut self, happenings: &Receiver<Happening>) -> Result<(), Failure> {
        // This side holds a sender too, so the channel never closes.
        while let Ok(first) = happenings.recv() {
            thread::sleep(GATHER);
            let mut lines = Vec::new();
            let mut text = String::new();
            for happening in std::iter::once(first).chain(happenings.try_iter().take(BATCH)) {
                if let Happening::News(News::Line(node, line)) = happening {
                    lines.push((node, line));
                    continue;
                }
                self.push_lines(&mut text, &mut lines);
                match happening {
                    Happening::News(News::Line(..)) => {}
                    Happening::News(News::Ended(node, process)) => text.push_str(&self.ended(node, process)),
                    Happening::Ordered(Order::Quit) => return print(&text),
                    Happening::Ordered(order) => text.push_str(&format!("client  | {}\n", self.obey(&order)?)),
                    Happening::ConsoleClosed => self.listening = false,
                }
            }
            self.push_lines(&mut text, &mut lines);
            print(&text)?;
            self.check_alive()?;
        }
        Ok(())
    }

    /// What came before and after a node's end is not mixed: `lines` is empty after.
    fn push_lines(&self, text: &mut String, lines: &mut Vec<(NodeId, Line)>) {
        in_order(lines, |(_, line)| line);
        for (node, line) in lines.drain(..) {
            let name = format!("{node}  |");
            text.push_str(&if self.plan.colors { palette::paint(node, &name) } else { name });
            text.push(' ');
            line.push(text, self.plan.colors);
        }
    }

    fn process(&mut self, node: NodeId) -> Option<&mut Process> {
        self.nodes.iter_mut().find(|process| process.node() == node)
    }

    fn ended(&mut self, node: NodeId, process: u32) -> String {
        // One that was killed and revived in one breath runs as another process by now.
        let Some(process) = self.process(node).filter(|current| current.pid() == process) else {
            return String::new();
        };
        let how = process.reap();
        let cure = if self.listening { format!("; to revive it: start {}", node.0) } else { String::new() };
        format!("client  | {node} {how}{cure}\n")
    }

    fn obey(&mut self, order: &Order) -> Result<String, Failure> {
        let (size, program, sender) = (self.plan.cluster.size(), self.program.clone(), self.sender.clone());
        let (Order::Stop(node) | Order::Start(node)) = order else {
            return Ok(match order {
                Order::Unclear(what) => format!("{what} is not understood; {}", console::HELP),
                _ => console::HELP.to_string(),
            });
        };
        let arguments = self.plan.node_arguments(*node);
        let Some(process) = self.process(*node) else {
            return Ok(format!("there is no {node}; the nodes are 1 to {size}"));
        };
        match (order, process.is_running()) {
            (Order::Stop(_), true) => {
                process.kill();
                Ok(format!("{node} is killed"))
            }
            (Order::Start(_), false) => {
                // Killed a moment ago, it may still hold its port and its data.
                process.reap();
                *process = Process::start(*node, &program, arguments, sender)?;
                Ok(format!("{node} runs again, process {}", process.pid()))
            }
            (Order::Stop(_), false) => Ok(format!("{node} does not run; to revive it: start {}", node.0)),
            _ => Ok(format!("{node} runs already, process {}", process.pid())),
        }
    }

    /// Ends when no node runs and none can be started, or all ended by themselves.
    fn check_alive(&self) -> Result<(), Failure> {
        if self.nodes.iter().any(Process::is_running) {
            return Ok(());
        }
        if self.listening && !self.nodes.iter().all(Process::gave_up) {
            return Ok(());
        }
        Err(Failure::NotDone(format!("all nodes have ended; their data is in {}", self.plan.data.display())))
    }
}
