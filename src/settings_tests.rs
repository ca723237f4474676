use super::*;

fn read_with(args: &[&str], environment: &[(&str, &str)]) -> Result<Wanted, String> {
    let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
    read(&args, |name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string()))
}

fn settings(args: &[&str], environment: &[(&str, &str)]) -> Settings {
    match read_with(args, environment) {
        Ok(Wanted::Run(settings)) => *settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_are_the_labs() {
    let node = settings(&["2"], &[]);
    assert_eq!(node.id, NodeId(2));
    assert_eq!(node.cluster, Cluster::of_size(3).unwrap());
    assert_eq!(node.listen, "0.0.0.0:1234");
    assert_eq!(node.data_dir, PathBuf::from("data/node_2"));
    assert_eq!(node.told(), "election timeout 6-10 s, heartbeat every 2 s");
    assert!(node.pre_vote && !node.faults && !node.stop_with_stdin);
    assert_eq!((node.color, node.snapshot_log_bytes), (Color::Auto, 4 * 1024 * 1024));
}

#[test]
fn a_flag_wins_over_its_variable_and_an_empty_variable_is_none() {
    let environment = [("NODE_ID", "1"), ("CLUSTER_SIZE", "5"), ("PRE_VOTE", "off"), ("PEERS", ""), ("COLOR", "never")];
    let node = settings(&["--id=4", "--color", "always", "--faults=on", "--stop-with-stdin"], &environment);
    assert_eq!((node.id, node.cluster.size(), node.pre_vote), (NodeId(4), 5, false));
    assert_eq!(node.color, Color::Always);
    assert!(node.stop_with_stdin && node.faults);
    assert_eq!(node.told(), "election timeout 6-10 s, heartbeat every 2 s, pre-vote off");
}

#[test]
fn peers_replace_the_convention_and_give_the_port() {
    let node = settings(&["1", "--peers", "1=127.0.0.1:7001,2=127.0.0.1:7002"], &[]);
    assert_eq!((node.cluster.size(), node.listen.as_str()), (2, "0.0.0.0:7001"));
    let node = settings(&["1", "--election-timeout-ms=150-300", "--heartbeat-interval-ms=50"], &[]);
    assert_eq!(node.told(), "election timeout 150-300 ms, heartbeat every 50 ms");
    assert_eq!(settings(&["1", "--snapshot-log-bytes=256"], &[("SNAPSHOT_LOG_BYTES", "1")]).snapshot_log_bytes, 256);
}

#[test]
fn errors_name_the_setting_what_was_given_and_what_is_allowed() {
    for (args, error) in [
        (
            &[][..],
            "--id (or NODE_ID) is required: expected a number from 1 to 3 (the cluster size), for example `node 1`",
        ),
        (&["4"], "--id: expected a number from 1 to 3 (the cluster size), got \"4\""),
        (&["01"], "--id: expected a number from 1 to 3 (the cluster size), got \"01\""),
        (&["--id="], "--id: expected a number from 1 to 3 (the cluster size), got \"\""),
        (&["--id"], "--id needs a value: --id N"),
        (&["--id", "--peers"], "--id needs a value: --id N"),
        (&["1", "--id", "2"], "--id is given twice; once is enough"),
        (&["1", "--cluster-size", "ten"], "--cluster-size: expected a number from 1 to 9, got \"ten\""),
        (&["1", "--cluster-size=10"], "--cluster-size: expected a number from 1 to 9, got \"10\""),
        (
            &["1", "--cluster-size=3", "--peers=1=a:1"],
            "--peers: expected 3 members, as --cluster-size says, got 1; leave one of the two out",
        ),
        (&["1", "--peers=a:1"], "--peers: expected NUMBER=host:port, got \"a:1\""),
        (&["1", "--listen=1234"], "--listen: expected host:port, got \"1234\""),
        (&["1", "--data-dir="], "--data-dir: expected a directory, got \"\""),
        (
            &["1", "--election-timeout-ms=300-150"],
            "--election-timeout-ms: expected LOW-HIGH in milliseconds, 50 <= LOW < HIGH <= 600000, got \"300-150\"",
        ),
        (
            &["1", "--heartbeat-interval-ms=1"],
            "--heartbeat-interval-ms: expected milliseconds from 10 to 300000, got \"1\"",
        ),
        (
            &["1", "--heartbeat-interval-ms=3000"],
            "--heartbeat-interval-ms: twice the heartbeat interval must be less than the lower bound of \
             --election-timeout-ms, got 3000 ms and 6000 ms: one lost heartbeat must not start an election",
        ),
        (&["1", "--faults=true"], "--faults: expected on or off, got \"true\""),
        (&["1", "--pre-vote=yes"], "--pre-vote: expected on or off, got \"yes\""),
        (
            &["1", "--snapshot-log-bytes=255"],
            "--snapshot-log-bytes: expected bytes from 256 to 1073741824, got \"255\"",
        ),
        (
            &["1", "--snapshot-log-bytes=4MiB"],
            "--snapshot-log-bytes: expected bytes from 256 to 1073741824, got \"4MiB\"",
        ),
        (&["1", "--color=red"], "--color: expected auto, always or never, got \"red\""),
        (
            &["1", "--data-dir=a\nb"],
            "--data-dir: expected at most 4096 bytes without control characters, got \"a\\nb\"",
        ),
    ] {
        assert_eq!(read_with(args, &[]), Err(error.to_string()), "{args:?}");
    }
    let unknown = read_with(&["1", "--port", "7"], &[]).unwrap_err();
    assert!(unknown.starts_with("unknown flag \"--port\"; allowed are --id, --cluster-size, "), "{unknown}");
    assert!(read_with(&["1", "2"], &[]).unwrap_err().starts_with("unknown word \"2\"; allowed are "));
    let variable = read_with(&["1"], &[("ELECTION_TIMEOUT_MS", "1s")]).unwrap_err();
    assert!(variable.starts_with("ELECTION_TIMEOUT_MS: expected LOW-HIGH"), "{variable}");
}

#[test]
fn help_names_every_setting_and_fits_a_terminal() {
    let Ok(Wanted::Print(help)) = read_with(&["--help"], &[]) else { panic!() };
    for setting in &SETTINGS {
        assert!(help.contains(setting.flag) && help.contains(setting.variable) && help.contains(setting.default));
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(
        matches!(read_with(&["--version"], &[]), Ok(Wanted::Print(version)) if version.starts_with("node (raft-lab) "))
    );
}
