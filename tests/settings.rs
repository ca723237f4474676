//! The node's command line as its users meet it: exit codes, and what is printed where.

use std::process::{Command, Output, Stdio};

/// Runs the node with nothing but these settings. Should it start against expectation, it ends at once
/// with its standard input, and with exit code 0.
fn node(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
    command.args(args).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("cannot run the node: {error}"))
}

/// A wrong setting: exit code 2, nothing on standard output, one line on standard error.
fn wrong(args: &[&str], environment: &[(&str, &str)]) -> String {
    let output = node(args, environment);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let what = format!("{args:?} {environment:?}: {output:?}");
    assert_eq!(output.status.code(), Some(2), "{what}");
    assert!(output.stdout.is_empty() && error.ends_with('\n') && error.lines().count() == 1, "{what}");
    error
}

#[test]
fn each_wrong_setting_names_itself_what_was_given_and_what_is_allowed() {
    let long = "x".repeat(5000);
    // A flag and its variable, a wrong value, and words of what is allowed.
    for (flag, variable, value, allowed) in [
        ("--id", "NODE_ID", "0", "a number from 1 to 3"),
        ("--id", "NODE_ID", "4", "a number from 1 to 3"),
        ("--id", "NODE_ID", "+1", "a number from 1 to 3"),
        ("--id", "NODE_ID", "18446744073709551617", "a number from 1 to 3"),
        ("--cluster-size", "CLUSTER_SIZE", "0", "a number from 1 to 9"),
        ("--cluster-size", "CLUSTER_SIZE", "10", "a number from 1 to 9"),
        ("--cluster-size", "CLUSTER_SIZE", "three", "a number from 1 to 9"),
        ("--peers", "PEERS", "node_1:1234", "NUMBER=host:port"),
        ("--peers", "PEERS", "1=a:1,3=c:3", "every node from 1 to"),
        ("--peers", "PEERS", "1=a:0", "a port from 1 to 65535"),
        ("--listen", "LISTEN", "1234", "host:port"),
        ("--listen", "LISTEN", "0.0.0.0:65536", "a port from 1 to 65535"),
        ("--data-dir", "DATA_DIR", &long, "at most 4096 bytes"),
        ("--election-timeout-ms", "ELECTION_TIMEOUT_MS", "6000", "LOW-HIGH in milliseconds"),
        ("--election-timeout-ms", "ELECTION_TIMEOUT_MS", "10000-6000", "LOW < HIGH"),
        ("--election-timeout-ms", "ELECTION_TIMEOUT_MS", "6-10 s", "LOW-HIGH in milliseconds"),
        ("--heartbeat-interval-ms", "HEARTBEAT_INTERVAL_MS", "0", "milliseconds from 10 to"),
        ("--heartbeat-interval-ms", "HEARTBEAT_INTERVAL_MS", "3000", "less than the lower bound"),
        ("--pre-vote", "PRE_VOTE", "ON", "on or off"),
        ("--faults", "FAULTS", "yes", "on or off"),
        ("--snapshot-log-bytes", "SNAPSHOT_LOG_BYTES", "4k", "bytes from 256 to"),
        ("--color", "COLOR", "red", "auto, always or never"),
    ] {
        let id: &[&str] = if flag == "--id" { &[] } else { &["1"] };
        let given = value.split('=').next_back().map_or("", |given| &given[..given.len().min(20)]);
        let by_flag = wrong(&[id, &[&format!("{flag}={value}")]].concat(), &[]);
        assert!([flag, given, allowed].iter().all(|part| by_flag.contains(part)), "{by_flag}");
        let by_variable = wrong(id, &[(variable, value)]);
        assert!([variable, given, allowed].iter().all(|part| by_variable.contains(part)), "{by_variable}");
    }
}

#[test]
fn a_wrong_flag_wins_over_a_right_variable() {
    let error = wrong(&["1", "--pre-vote", "maybe"], &[("PRE_VOTE", "on")]);
    assert!(error.contains("--pre-vote") && error.contains("maybe"), "{error}");
}

#[test]
fn what_is_missing_unknown_or_given_twice() {
    for (args, words) in [
        (&[][..], ["--id", "NODE_ID", "1 to 3"]),
        (&["1", "--peer", "x"], ["--peer\"", "unknown flag", "--peers"]),
        (&["1", "2"], ["\"2\"", "unknown word", "--id"]),
        (&["1", "--color"], ["--color", "needs a value", "auto|always|never"]),
        (&["1", "--id", "2"], ["--id", "given twice", "once"]),
    ] {
        let error = wrong(args, &[]);
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_text_is_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let latin = OsStr::from_bytes(b"d\xe9");
    for (flag, variable) in [(Some("--data-dir"), None), (None, Some("DATA_DIR"))] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
        command.arg("1").env_clear().stdin(Stdio::null()).current_dir(std::env::temp_dir());
        if let Some(flag) = flag {
            command.arg(flag).arg(latin);
        }
        if let Some(variable) = variable {
            command.env(variable, latin);
        }
        let output = command.output().unwrap_or_else(|error| panic!("cannot run the node: {error}"));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(error.lines().count() == 1 && error.contains("expected UTF-8"), "{error}");
        assert!(variable.is_none_or(|name| error.contains(name)), "{error}");
    }
}

#[test]
fn help_and_version_are_printed_and_nothing_else_happens() {
    for args in [&["--help"][..], &["-h"], &["help"], &["1", "--help"]] {
        let output = node(args, &[("PRE_VOTE", "wrong")]);
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        for row in [
            ["--id", "NODE_ID", "required"],
            ["--cluster-size", "CLUSTER_SIZE", "3"],
            ["--peers", "PEERS", "node_1:1234"],
            ["--listen", "LISTEN", "0.0.0.0"],
            ["--data-dir", "DATA_DIR", "data/node_<id>"],
            ["--election-timeout-ms", "ELECTION_TIMEOUT_MS", "6000-10000"],
            ["--heartbeat-interval-ms", "HEARTBEAT_INTERVAL_MS", "2000"],
            ["--pre-vote", "PRE_VOTE", "on"],
            ["--snapshot-log-bytes", "SNAPSHOT_LOG_BYTES", "4194304"],
            ["--faults", "FAULTS", "off"],
            ["--color", "COLOR", "auto"],
        ] {
            assert!(row.iter().all(|part| help.contains(part)), "{row:?} in\n{help}");
        }
    }
    for args in [&["--version"][..], &["-V"]] {
        let output = node(args, &[]);
        let version = format!("node (raft-lab) {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((output.status.success(), String::from_utf8_lossy(&output.stdout)), (true, version.into()));
    }
}
