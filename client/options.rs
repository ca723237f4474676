//! The command line: options for all commands, a command, its own options and words.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use raft_lab::cluster::Cluster;
use raft_lab::raft::types::NodeId;

use crate::output::Failure;

/// How long to go on trying where nothing else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time that `--timeout` accepts.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What holds for every command.
pub struct Options {
    pub cluster: Cluster,
    /// How long to go on without success before giving up.
    pub timeout: Duration,
}

/// One command of the client.
pub struct Command {
    pub name: &'static str,
    /// Name and words, as in `append TEXT…`.
    pub usage: &'static str,
    /// One line for the overall help.
    pub summary: &'static str,
    /// The rest of `client COMMAND --help`.
    pub help: &'static str,
    /// Its own options, each with the name of its value if it takes one.
    pub flags: &'static [(&'static str, Option<&'static str>)],
    pub run: fn(&Options, &Arguments) -> Result<(), Failure>,
}

/// What was given to a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub words: Vec<String>,
    flags: BTreeMap<String, String>,
}

/// What the command line asks for.
pub enum Call<'a> {
    Help(String),
    Run { command: &'a Command, options: Options, arguments: Arguments },
}

const GLOBAL: [(&str, Option<&str>); 3] =
    [("--cluster", Some("LIST")), ("--timeout", Some("SECONDS")), ("--help", None)];

impl Arguments {
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains_key(flag)
    }

    pub fn value(&self, flag: &str) -> Option<&str> {
        self.flags.get(flag).map(String::as_str)
    }

    /// The value of `flag` as a whole number from `low` to `high`.
    pub fn number(&self, flag: &str, low: u64, high: u64) -> Result<Option<u64>, Failure> {
        self.value(flag).map(|given| whole_number(flag, given, low, high)).transpose()
    }

    /// A command that takes no words has been given none.
    pub fn no_words(&self, command: &str) -> Result<(), Failure> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(Failure::Usage(format!("{command} takes no words, got {word:?}"))),
        }
    }
}

/// `given` as a whole number from `low` to `high`; `name` is what the error calls it.
pub fn whole_number(name: &str, given: &str, low: u64, high: u64) -> Result<u64, Failure> {
    let digits = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit());
    given
        .parse()
        .ok()
        .filter(|number| digits && (low..=high).contains(number))
        .ok_or_else(|| Failure::Usage(format!("{name}: expected a number from {low} to {high}, got {given:?}")))
}

impl Options {
    /// What to do when the nodes do not answer or have no leader.
    pub fn cure(&self) -> String {
        let size = self.cluster.size();
        format!(
            "Cure: {} of {size} nodes must run and reach each other: docker-compose up, and ask from its network \
             (docker-compose run --rm client …); or client cluster, and name its nodes with --cluster",
            size / 2 + 1
        )
    }

    /// The member that `--node N` means.
    pub fn node(&self, arguments: &Arguments) -> Result<Option<NodeId>, Failure> {
        Ok(arguments.number("--node", 1, self.cluster.size())?.map(NodeId))
    }
}

/// Reads the program's arguments and environment.
pub fn read<'a>(commands: &[&'a Command]) -> Result<Call<'a>, Failure> {
    let given = env::args_os().skip(1).map(|argument| {
        let unreadable = |argument| Failure::Usage(format!("expected UTF-8, got {argument:?}"));
        argument.into_string().map_err(unreadable)
    });
    interpret(commands, given.collect::<Result<Vec<_>, _>>()?, |name| env::var(name).ok().filter(|v| !v.is_empty()))
}

fn interpret<'a>(
    commands: &[&'a Command],
    given: Vec<String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Call<'a>, Failure> {
    let mut command: Option<&'a Command> = None;
    let mut arguments = Arguments::default();
    let mut help = given.is_empty();
    let mut rest = given.into_iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            arguments.words.extend(rest.by_ref());
        } else if argument == "--help" || argument == "-h" {
            help = true;
        } else if argument.starts_with("--") {
            let (flag, value) = read_flag(command, &argument, &mut rest)?;
            if arguments.flags.insert(flag.clone(), value).is_some() {
                return Err(Failure::Usage(format!("{flag} is given twice")));
            }
        } else if command.is_none() && argument == "help" {
            help = true;
        } else if command.is_none() {
            let unknown =
                || Failure::Usage(format!("unknown command {argument:?}; expected one of {}", names(commands)));
            command = Some(commands.iter().find(|c| c.name == argument).ok_or_else(unknown)?);
        } else {
            arguments.words.push(argument);
        }
    }
    let Some(command) = command else {
        let missing = || Failure::Usage(format!("no command given; expected one of {}", names(commands)));
        return if help { Ok(Call::Help(overview(commands))) } else { Err(missing()) };
    };
    if help {
        return Ok(Call::Help(manual(command)));
    }
    let options = Options { cluster: read_cluster(&arguments, variable)?, timeout: read_timeout(&arguments)? };
    Ok(Call::Run { command, options, arguments })
}

/// `--flag value`, `--flag=value` or a flag that takes none.
fn read_flag(
    command: Option<&Command>,
    argument: &str,
    rest: &mut impl Iterator<Item = String>,
) -> Result<(String, String), Failure> {
    let (flag, attached) = match argument.split_once('=') {
        Some((flag, value)) => (flag, Some(value.to_string())),
        None => (argument, None),
    };
    let own = command.map_or(&[][..], |command| command.flags);
    let Some((_, takes)) = GLOBAL.iter().chain(own).find(|(name, _)| *name == flag) else {
        let allowed: Vec<_> = GLOBAL.iter().chain(own).map(|(name, _)| *name).collect();
        let place = command.map_or("before the command".to_string(), |command| format!("of {}", command.name));
        return Err(Failure::Usage(format!(
            "unknown option {flag:?} {place}; expected {} (a text that starts with -- goes behind a lone --)",
            allowed.join(", ")
        )));
    };
    let value = match (takes, attached) {
        (None, None) => String::new(),
        (None, Some(value)) => return Err(Failure::Usage(format!("{flag} takes no value, got {value:?}"))),
        (Some(_), Some(value)) => value,
        (Some(what), None) => rest.next().ok_or_else(|| Failure::Usage(format!("{flag} expects {what} behind it")))?,
    };
    Ok((flag.to_string(), value))
}

/// `--cluster`, else `CLUSTER`, else the convention for `CLUSTER_SIZE`.
fn read_cluster(arguments: &Arguments, variable: impl Fn(&str) -> Option<String>) -> Result<Cluster, Failure> {
    let (name, cluster) = if let Some(list) = arguments.value("--cluster") {
        ("--cluster", Cluster::parse(list))
    } else if let Some(list) = variable("CLUSTER") {
        ("CLUSTER", Cluster::parse(&list))
    } else if let Some(size) = variable("CLUSTER_SIZE") {
        ("CLUSTER_SIZE", Cluster::parse_size(&size))
    } else {
        ("CLUSTER_SIZE", Cluster::of_size(raft_lab::cluster::DEFAULT_SIZE))
    };
    cluster.map_err(|why| Failure::Usage(format!("{name}: {why}")))
}

fn read_timeout(arguments: &Arguments) -> Result<Duration, Failure> {
    let Some(given) = arguments.value("--timeout") else {
        return Ok(DEFAULT_TIMEOUT);
    };
    read_seconds(given).filter(|timeout| !timeout.is_zero()).ok_or_else(|| {
        let most = MAX_TIMEOUT.as_secs();
        Failure::Usage(format!("--timeout: expected seconds above 0 and up to {most}, like 30 or 0.5, got {given:?}"))
    })
}

/// `2` or `0.5`: seconds up to [`MAX_TIMEOUT`].
pub fn read_seconds(given: &str) -> Option<Duration> {
    let plain = given.starts_with(|first: char| first.is_ascii_digit())
        && given.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = given.parse::<f64>().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= MAX_TIMEOUT)
}

fn names(commands: &[&Command]) -> String {
    commands.iter().map(|command| command.name).collect::<Vec<_>>().join(", ")
}

fn overview(commands: &[&Command]) -> String {
    let mut lines = String::new();
    for command in commands {
        lines.push_str(&format!("  {:<41} {}\n", command.usage, command.summary));
    }
    format!(
        "The client of raft-lab: it finds the leader by itself, follows redirects, survives an election in the\n\
         middle, and never makes a change twice however often it has to retry.\n\n\
         usage: client [--cluster LIST] [--timeout SECONDS] COMMAND …\n\n\
         commands (client COMMAND --help says more)\n{lines}\n\
         options\n\
         {}\n\
         environment\n\
         \x20 CLUSTER         as --cluster, which wins\n\
         \x20 CLUSTER_SIZE    3 where nothing is said: the nodes are node_1:1234 … node_3:1234\n\
         \x20 NO_COLOR        set to anything: no colours\n\n\
         exit codes\n\
         \x20 0  done\n\
         \x20 1  not done; of a change the message says whether it may still be committed\n\
         \x20 2  wrong usage\n",
        GLOBAL_HELP
    )
}

const GLOBAL_HELP: &str =
    "  --cluster LIST      where the nodes are: host:port,host:port,… in the order of their numbers,
                      or 1=host:port,2=host:port,…
  --timeout SECONDS   how long to go on without success, 30 where nothing is said; a single attempt
                      takes at most 3 s, since a node that is cut off may never answer
  --help              this, or the help of a command
";

fn manual(command: &Command) -> String {
    format!("usage: client [--cluster LIST] [--timeout SECONDS] {}\n\n{}", command.usage, command.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: Command = Command {
        name: "say",
        usage: "say WORD",
        summary: "says it",
        help: "Says it.\n",
        flags: &[("--from", Some("INDEX")), ("--json", None)],
        run: |_, _| Ok(()),
    };

    fn call(given: &[&str]) -> Result<(Options, Arguments), String> {
        let given = given.iter().map(ToString::to_string).collect();
        match interpret(&[&TEST], given, |name| (name == "CLUSTER_SIZE").then(|| "5".to_string())) {
            Ok(Call::Run { options, arguments, .. }) => Ok((options, arguments)),
            Ok(Call::Help(text)) => Err(text),
            Err(Failure::Usage(why)) => Err(why),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn options_stand_before_and_behind_the_command() {
        let (options, arguments) =
            call(&["--timeout", "0.5", "say", "a b", "--from=7", "-5", "-", "--json", "--", "--x"]).unwrap();
        assert_eq!(options.timeout, Duration::from_millis(500));
        assert_eq!(options.cluster.size(), 5);
        assert_eq!(arguments.words, ["a b", "-5", "-", "--x"]);
        assert_eq!(arguments.number("--from", 1, 9).ok().flatten(), Some(7));
        assert!(arguments.has("--json"));
        assert_eq!(call(&["say", "--cluster", "h:1,i:2"]).unwrap().0.cluster.size(), 2);
    }

    #[test]
    fn wrong_usage_names_what_was_given_and_what_is_allowed() {
        for (given, why) in [
            (&["shout"][..], "unknown command \"shout\"; expected one of say"),
            (&["--timeout", "3"], "no command given; expected one of say"),
            (&["say", "--from"], "--from expects INDEX behind it"),
            (&["say", "--json=1"], "--json takes no value, got \"1\""),
            (&["say", "--json", "--json"], "--json is given twice"),
            (
                &["say", "--timeout", "0"],
                "--timeout: expected seconds above 0 and up to 86400, like 30 or 0.5, got \"0\"",
            ),
            (
                &["say", "--timeout", "-1"],
                "--timeout: expected seconds above 0 and up to 86400, like 30 or 0.5, got \"-1\"",
            ),
            (
                &["say", "--timeout", "1e9"],
                "--timeout: expected seconds above 0 and up to 86400, like 30 or 0.5, got \"1e9\"",
            ),
            (&["say", "--cluster", "x"], "--cluster: expected host:port, got \"x\""),
        ] {
            assert_eq!(call(given).err().as_deref(), Some(why));
        }
        let unknown = call(&["say", "--form", "1"]).err().unwrap_or_default();
        assert!(unknown.starts_with("unknown option \"--form\" of say; expected --cluster, --timeout, --help, --from"));
        let (_, arguments) = call(&["say", "--from", "+1"]).unwrap();
        assert!(matches!(arguments.number("--from", 1, 9), Err(Failure::Usage(why))
            if why == "--from: expected a number from 1 to 9, got \"+1\""));
    }

    #[test]
    fn help_wins_over_everything_behind_the_command() {
        assert_eq!(call(&["say", "--help"]).err().as_deref(), Some(manual(&TEST).as_str()));
        assert_eq!(call(&["help", "say"]).err().as_deref(), Some(manual(&TEST).as_str()));
        assert_eq!(call(&[]).err(), call(&["--help"]).err());
    }
}
