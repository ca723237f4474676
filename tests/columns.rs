//! `client columns` on the logs of real nodes, and on what it cannot show.

mod common;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use common::played::*;
use common::{Lab, TempDir};
use raft_lab::raft::event::{Event, Fact};

fn columns(arguments: &[&str]) -> std::process::Output {
    client(&[], &[&["columns"], arguments].concat())
}

/// The cells of each row of the page, as a browser would take them apart. Every element must be closed.
fn rows(page: &str) -> Vec<Vec<String>> {
    let table = page.split_once("<table").unwrap().1.split_once("</table>").unwrap().0;
    let rows = table.split("<tr ").skip(1).map(|row| row.split_once("</tr>").expect("the row is closed").0);
    let cells = |row: &str| {
        let body = row.split_once('>').unwrap().1.replace("</th>", "</td>").replace("<th", "<td");
        let cells: Vec<&str> = body.split("</td>").collect();
        assert_eq!(cells.last(), Some(&""), "the last cell is closed: {row}");
        let text = |cell: &&str| {
            let (tag, text) = cell.split_once('>').unwrap();
            assert!(tag.starts_with("<td"), "{cell}");
            text.to_string()
        };
        cells[..cells.len() - 1].iter().map(text).collect()
    };
    rows.map(cells).collect()
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' => in_tag = false,
            _ if in_tag => {}
            c => plain.push(c),
        }
    }
    let plain = plain.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    plain.replace("&amp;", "&")
}

/// Every line of every node is there once, in its node's column, and in the node's order.
#[test]
fn a_run_with_a_kill() {
    let mut lab = Lab::start(3);
    let leader = lab.wait_for_leader();
    lab.append("<script>alert(1)</script> & 'so'");
    lab.kill(leader);
    lab.append("after the end");
    lab.start_node(leader);
    lab.append("all are back");
    lab.wait_for_equal_logs();
    for node in 1..=3 {
        lab.kill(node);
    }
    let directory = TempDir::new();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let mut compose = String::new();
    let mut lines = Vec::new();
    for node in 1..=3 {
        lines.push(lab.lines(node));
        fs::write(path(&format!("{node}.log")), lines[node - 1].join("\n") + "\n").unwrap();
        compose.extend(lines[node - 1].iter().map(|line| format!("node_{node}    | {line}\n")));
    }
    let (files, page) = (["1.log", "2.log", "3.log"].map(path), path("run.html"));
    let files = files.each_ref().map(String::as_str);

    let output = columns(&[&files[..], &["--html", &page]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with(&format!("{page}: ")), "{}", text(&output.stdout));
    let page = fs::read_to_string(&page).unwrap();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#39;so&#39;"));
    let mut told = vec![Vec::new(); 3];
    for cells in rows(&page) {
        assert_eq!(cells.len(), 4, "{cells:?}");
        let said: Vec<_> = (0..3).filter(|node| !cells[node + 1].is_empty()).collect();
        if let [node] = said[..] {
            // Role, term and topic stand before.
            told[node].push(unescaped(&cells[node + 1]).splitn(4, ' ').nth(3).unwrap_or_default().to_string());
        } else {
            assert!(said.is_empty(), "two nodes in a row: {cells:?}");
        }
    }
    for node in 0..3 {
        let events: Vec<Event> = lines[node].iter().filter_map(|line| line.parse().ok()).collect();
        let text = |event: &Event| {
            let line = event.to_string();
            let at = line.find(event.topic()).unwrap() + event.topic().len();
            line[at..].trim_start().to_string()
        };
        let expected: Vec<String> = events.iter().map(text).collect();
        assert_eq!(told[node], expected, "node_{}", node + 1);
        let starts = events.iter().filter(|event| matches!(event.fact, Fact::Start { .. })).count();
        assert_eq!(starts, if node + 1 == leader { 2 } else { 1 });
    }

    // The same as one stream with the prefixes of Compose, in the terminal.
    let apart = columns(&[&files[..], &["--no-heartbeats", "--width=200"]].concat());
    let mut running = command(&[], &["columns", "-", "--no-heartbeats", "--width", "200"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    running.stdin.take().unwrap().write_all(compose.as_bytes()).unwrap();
    done(&running.wait_with_output().unwrap(), text(&apart.stdout));
    assert!(text(&apart.stdout).contains("┃ L t1 STATE candidate -> leader: 2 of 3 votes"), "{}", text(&apart.stdout));
}

#[test]
fn what_cannot_be_shown_is_said_with_the_cure() {
    let directory = TempDir::new();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (log, page, other) = (path("node_2.log"), path("page.html"), path("other.txt"));
    let mut lines = "12:00:00.000 node_2 t1  FOLLOWER  PEER       node_1 connected: a:1\n".to_string();
    lines += &"12:00:01.000 node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_1\n".repeat(20_000);
    fs::write(&log, &lines).unwrap();
    fs::write(&other, "hello\nworld\n").unwrap();

    failed(&columns(&[]), 2, &["columns expects the nodes' logs: files, or - for standard input"]);
    failed(&columns(&[&path("none")]), 2, &["cannot read", "none: "]);
    failed(&columns(&[&other]), 1, &["no line of a node's log there, and 2 of other programs"]);
    failed(
        &columns(&[&log, "--from", "13:00"]),
        1,
        &["no line to show: the logs go from 12:00:00.000 to 12:00:01.000"],
    );
    failed(&columns(&[&log, "--to", "noon"]), 2, &["--to: expected a time of day like 12:00:07", "\"noon\""]);
    failed(&columns(&[&log, "--width", "10"]), 2, &["--width: expected a number from 40 to 1000, got \"10\""]);
    failed(&columns(&[&log, "--color=blue"]), 2, &["--color: expected auto, always or never, got \"blue\""]);

    let too_many = ["20001 rows", "more than 20000", "--no-heartbeats, which leaves 1", "12:00:00.000 to 12:00:01.000"];
    failed(&columns(&[&log, "--html", &page]), 1, &too_many);
    assert!(fs::read(&page).is_err(), "nothing is written");
    let written = format!("{page}: 1 rows, 12:00:00.000 to 12:00:00.000\n");
    done(&columns(&[&log, "--html", &page, "--no-heartbeats"]), &written);

    // The page must not take the place of a log, by whatever name.
    let detour = directory.path().join(".").join("node_2.log").display().to_string();
    failed(&columns(&[&log, "--html", &detour]), 2, &["--html: ", "is one of the logs; name another file"]);
    assert_eq!(fs::read_to_string(&log).unwrap(), lines);
    failed(&columns(&[&log, "--no-heartbeats", "--html", &path("no/page.html")]), 1, &["cannot write ", "page.html: "]);
}

/// `client columns … | head -1` is a normal end.
#[test]
fn a_closed_pipe_is_a_normal_end() {
    let directory = TempDir::new();
    let log = directory.path().join("node_2.log");
    let line = "12:00:01.000 node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_1\n";
    fs::write(&log, line.repeat(20_000)).unwrap();
    let mut command = command(&[], &["columns", log.to_str().unwrap()]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(running.stdout.take());
    let output = running.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}
