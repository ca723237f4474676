use std::time::Duration;

use raft_lab::logs::{Logs, Reader};
use raft_lab::text::random::Random;

use super::table::{Choice, Kind, Lives, Table};
use super::*;

const ALL: Choice = Choice { from: None, to: None, heartbeats: true };

/// An election, an entry, the leader's end and its return.
const NODE_1: &str = r#"12:00:00.000 node_1 t0  FOLLOWER  START      node_1 of 3, election timeout 6-10 s, heartbeat every 2 s, new disk
12:00:07.412 node_1 t0  PRE-CAND  STATE      follower -> pre-candidate: no heartbeat for 7.411 s
12:00:07.412 node_1 t0  PRE-CAND  VOTE       pre-vote received from node_2: 2 of 3
12:00:07.412 node_1 t1  CANDIDATE STATE      pre-candidate -> candidate: 2 of 3 would vote for it
12:00:07.412 node_1 t1  CANDIDATE VOTE       voted for node_1 (itself): 1 of 3
12:00:07.412 node_1 t1  CANDIDATE VOTE       received from node_2: 2 of 3
12:00:07.412 node_1 t1  LEADER    STATE      candidate -> leader: 2 of 3 votes
12:00:07.412 node_1 t1  LEADER    APPEND     1@1 no-op: opens term 1
12:00:07.412 node_1 t1  LEADER    HEARTBEAT  sent to node_2
12:00:07.412 node_1 t1  LEADER    REPLICATED 1@1 on node_2: 2 of 3
12:00:07.412 node_1 t1  LEADER    COMMIT     1@1 no-op
12:00:09.500 node_1 t1  LEADER    APPEND     2@1 "<script>alert('&')</script>" from client
12:00:30.000 node_1 t1  FOLLOWER  START      node_1 of 3, election timeout 6-10 s, heartbeat every 2 s, log through 1@1 sum=00000000
"#;
const NODE_2: &str = r#"12:00:00.100 node_2 t0  FOLLOWER  START      node_2 of 3, election timeout 6-10 s, heartbeat every 2 s, new disk
12:00:07.412 node_2 t0  FOLLOWER  VOTE       pre-vote granted to node_1 for t1
12:00:07.412 node_2 t1  FOLLOWER  TERM       t0 -> t1: node_1 is at t1
12:00:07.412 node_2 t1  FOLLOWER  VOTE       granted to node_1
12:00:07.412 node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_1
12:00:07.412 node_2 t1  FOLLOWER  APPEND     1@1 no-op from leader node_1
12:00:07.412 node_2 t1  FOLLOWER  COMMIT     1@1 no-op
12:00:31.000 node_2 t1  FOLLOWER  PEER       node_1 connected: 10.0.0.3:1234
"#;

fn logs(files: &[(&str, &str)]) -> Logs {
    let mut reader = Reader::new();
    for (name, text) in files {
        reader.read(name, text.as_bytes()).unwrap_or_else(|why| panic!("{name}: {why:?}"));
    }
    reader.finish()
}

fn run() -> Logs {
    logs(&[("node_2.log", NODE_2), ("node_1.log", NODE_1)])
}

fn in_terminal(table: &Table, width: usize, colors: bool) -> String {
    let mut text = String::new();
    let take = |piece: &str| {
        text.push_str(piece);
        Ok(())
    };
    terminal::show(table, width, colors, take).unwrap();
    text
}

/// The order of the files is the wrong one here, and 16 lines are of the same millisecond.
#[test]
fn causes_stand_before_their_effects() {
    let logs = run();
    let table = Table::new(&logs, &ALL);
    let told: Vec<String> = table
        .shown()
        .filter(|row| row.line.event.at.subsec_millis() == 412)
        .map(|row| format!("{} {}", row.line.event.node.0, row.words().1))
        .collect();
    let expected = [
        "1 follower -> pre-candidate: no heartbeat for 7.411 s",
        "2 pre-vote granted to node_1 for t1",
        "1 pre-vote received from node_2: 2 of 3",
        "1 pre-candidate -> candidate: 2 of 3 would vote for it",
        "1 voted for node_1 (itself): 1 of 3",
        "2 t0 -> t1: node_1 is at t1",
        "2 granted to node_1",
        "1 received from node_2: 2 of 3",
        "1 candidate -> leader: 2 of 3 votes",
        "1 1@1 no-op: opens term 1",
        "1 sent to node_2",
        "2 received from leader node_1",
        "2 1@1 no-op from leader node_1",
        "1 1@1 on node_2: 2 of 3",
        "1 1@1 no-op",
        "2 1@1 no-op",
    ];
    assert_eq!(told, expected);
}

/// However the lines of two nodes are mixed, each node's stay in order and no effect stands before its cause.
#[test]
fn the_order_of_the_files_does_not_matter() {
    for seed in 0..200 {
        let mut random = Random::from_seed(seed);
        let (mut one, mut two) = (NODE_1.lines().peekable(), NODE_2.lines().peekable());
        let mut mixed = String::new();
        while one.peek().is_some() || two.peek().is_some() {
            let from = if random.one_in(2) { &mut one } else { &mut two };
            if let Some(line) = from.next() {
                mixed.push_str(&format!("{line}\n"));
            }
        }
        let logs = logs(&[("mixed", &mixed)]);
        let table = Table::new(&logs, &ALL);
        let rows: Vec<_> = table.shown().map(|row| &row.line.event).collect();
        for (number, event) in rows.iter().enumerate() {
            let late = |cause: &&&raft_lab::raft::event::Event| cause.at == event.at && order::causes(cause, event);
            assert_eq!(rows[number..].iter().find(late), None, "seed {seed}: {event} stands before its cause");
        }
        for (column, whole) in [NODE_1, NODE_2].iter().enumerate() {
            let lines = table.shown().filter(|row| row.column == column);
            let text: String = lines.map(|row| format!("{}\n", row.line.event)).collect();
            assert_eq!(&text, whole, "seed {seed}");
        }
    }
}

/// Made-up lines may wait for each other in a circle; and a flood of one millisecond keeps its order.
#[test]
fn contradictions_and_floods_come_to_an_end() {
    let circle = "12:00:00.000 node_1 t1  LEADER    REPLICATED 1@1 on node_2: 2 of 3\n\
                  12:00:00.000 node_1 t1  LEADER    APPEND     1@1 \"x\" from client\n\
                  12:00:00.000 node_2 t1  FOLLOWER  APPEND     1@1 \"x\" from leader node_1\n";
    let logs_of_circle = logs(&[("circle", circle)]);
    assert_eq!(order::by_cause(&logs_of_circle.lines), [0, 1, 2]);

    let beat = "12:00:00.000 node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_1\n";
    let flood = logs(&[("flood", &beat.repeat(50_000))]);
    assert!(order::by_cause(&flood.lines).iter().copied().eq(0..50_000));
}

#[test]
fn a_life_ends_with_its_last_line_and_begins_with_the_next_start() {
    let logs = run();
    let table = Table::new(&logs, &ALL);
    let mut lives = Lives::new(&table);
    let mut told = Vec::new();
    for row in &table.rows {
        lives.step(row);
        let letters = lives.0.iter().map(|life| life.map_or('-', table::letter)).collect::<String>();
        if told.last() != Some(&letters) {
            told.push(letters);
        }
    }
    // node_2's last line is that of the log as well.
    assert_eq!(told, ["F-", "FF", "PF", "CF", "LF", "-F", "--"]);
    let ends: Vec<_> = table.rows.iter().filter(|row| row.ends).map(|row| row.words().0).collect();
    assert_eq!(ends, ["APPEND", "START", "PEER"]);
}

#[test]
fn the_terminal_shows_columns_lifelines_and_silence() {
    let logs = run();
    let choice = Choice { heartbeats: false, ..ALL };
    let text = in_terminal(&Table::new(&logs, &choice), 95, false);
    for line in [
        "time (UTC)   node_1                                   node_2",
        "… 7.3 s      │                                        │",
        "12:00:07.412 ┊ P t0 STATE follower -> pre-candidate:  │",
        "             ┊ no heartbeat for 7.411 s               │",
        "12:00:07.412 ┃ L t1 STATE candidate -> leader: 2 of 3 │",
        "12:00:07.412 ┃ L t1 COMMIT 1@1 no-op                  │",
        "12:00:07.412 ┃                                        │ F t1 COMMIT 1@1 no-op",
        "… 20.5 s                                              │",
        "12:00:30.000 │ F t1 START node_1 of 3, election       │",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("HEARTBEAT") && !text.contains('\x1b'));
    assert!(text.lines().all(|line| line.chars().count() <= 95), "{text}");

    let colored = in_terminal(&Table::new(&logs, &ALL), 95, true);
    assert!(colored.contains("\x1b[32m┃\x1b[0m \x1b[32m\x1b[1mL t1 STATE candidate -> leader: 2 of 3"), "{colored}");
    assert!(colored.contains("\x1b[34m\x1b[2mF t1 HEARTBEAT received from leader"), "{colored}");
}

/// A hostile string can neither end the cell that it stands in nor begin anything else; a file's name neither.
#[test]
fn a_page_holds_no_markup_of_the_logs() {
    let logs = logs(&[("node_2.log", NODE_2), ("<b onclick='x'>\u{202e}&.log", NODE_1)]);
    let page = html::page(&Table::new(&logs, &ALL));
    assert!(
        page.contains("2@1 &quot;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;&quot; from client</td>"),
        "{page}"
    );
    assert!(page.contains("node_2.log, &lt;b onclick=&#39;x&#39;&gt;\\u{202e}&amp;.log"), "{page}");
    for never in ["<script", "<b ", "http:", "https:", "url(", "@import", " src="] {
        assert!(!page.contains(never), "{never} is in the page");
    }
}

#[test]
fn the_page_shows_who_led_what_stands_out_and_what_is_folded() {
    let logs = run();
    let page = html::page(&Table::new(&logs, &ALL));
    for part in [
        "<title>raft-lab: node_1, node_2, 12:00:00.000 to 12:00:31.000</title>",
        "Note: nothing of node_3 in these logs",
        "<label for=\"heartbeats\">show the 2 heartbeats</label>",
        "<th class=\"time\">time (UTC)</th><th>node_1</th><th>node_2</th></tr></thead>",
        "<b>L t1</b> <i>STATE</i> candidate -&gt; leader: 2 of 3 votes</td><td class=\"F\"></td></tr>",
        "<tr class=\"heartbeat\"><th class=\"time\">12:00:07.412</th><td class=\"L\"></td><td class=\"F said\">",
        "<tr class=\"commit\"><th class=\"time\">12:00:07.412 <span class=\"mark\">✓</span>",
        "<tr class=\"quiet\"><th class=\"time\">20.5 s</th><td></td><td class=\"F\"></td></tr>",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    // The link to the leader leads to its row.
    let row = page.split_once("href=\"#").unwrap().1.split_once('"').unwrap();
    assert!(row.1.starts_with(">t1 node_1</a> at 12:00:07.412"), "{page}");
    assert!(page.contains(&format!("<tr class=\"won\" id=\"{}\">", row.0)), "{page}");

    let without = html::page(&Table::new(&logs, &Choice { heartbeats: false, ..ALL }));
    assert!(!without.contains("<tr class=\"heartbeat\"") && !without.contains("<input"));
}

/// With heartbeats there is no silence; folded, there is one, and it says what was folded.
#[test]
fn silence_looks_different_when_heartbeats_are_folded() {
    let line = |time: &str, words: &str| format!("12:00:{time} node_2 t1  FOLLOWER  {words}\n");
    let mut text = line("00.000", "PEER       node_1 connected: a:1");
    for time in ["02.000", "04.000", "06.000"] {
        text += &line(time, "HEARTBEAT  received from leader node_1");
    }
    text += &line("06.500", "PEER       node_1 lost: closed by it");
    text += &line("20.000", "PEER       node_1 offline: refused");
    let logs = logs(&[("x", &text)]);
    let page = html::page(&Table::new(&logs, &ALL));
    let gaps: Vec<_> = page.lines().filter(|line| line.starts_with("<tr class=\"quiet")).collect();
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    assert!(gaps[0].contains("quiet folded") && gaps[0].contains("6.5 s, 3 heartbeats"), "{gaps:?}");
    assert!(gaps[1].contains("\"quiet\"") && gaps[1].contains("13.5 s"), "{gaps:?}");
}

#[test]
fn a_part_of_the_time_keeps_what_the_nodes_were_before() {
    let logs = run();
    let seconds = |seconds: u64| Some(Duration::from_secs(12 * 3600 + seconds));
    let table = Table::new(&logs, &Choice { from: seconds(9), to: seconds(30), heartbeats: true });
    assert_eq!(table.span(), ("12:00:09.500".to_string(), "12:00:30.000".to_string()));
    assert_eq!(table.shown().map(|row| row.kind).collect::<Vec<_>>(), [Kind::Plain, Kind::Start]);
    let text = in_terminal(&table, 120, false);
    assert!(text.contains("12:00:09.500 ┃ L t1 APPEND"), "{text}");
    assert!(text.lines().find(|line| line.contains("12:00:09.500")).unwrap().contains('│'), "{text}");
    let none = Table::new(&logs, &Choice { from: seconds(10), to: seconds(29), heartbeats: true });
    assert_eq!(none.shown().count(), 0);
}

#[test]
fn midnight_passes() {
    let line = |time: &str| format!("{time} node_2 t1  FOLLOWER  HEARTBEAT  received from leader node_1\n");
    let logs = logs(&[("x", &(line("23:59:58.000") + &line("00:00:00.000") + &line("00:00:02.000")))]);
    let table = Table::new(&logs, &ALL);
    assert_eq!(in_terminal(&table, 120, false).matches("midnight").count(), 1);
    assert_eq!(html::page(&table).matches("<tr class=\"midnight\">").count(), 1);
    let at = |time: &str| time::read("--from", time).ok();
    let shown = |from: &str, to: &str| {
        Table::new(&logs, &Choice { from: at(from), to: at(to), heartbeats: true }).shown().count()
    };
    assert_eq!(shown("23:59:59", "00:00:01"), 1);
    assert_eq!(shown("00:00", "00:00:02"), 2);
    assert_eq!(shown("23:00", "01:00"), 3, "before the first line and after the last");
    assert_eq!(shown("00:00:03", "01:00"), 0);
    assert_eq!(shown("23:00", "23:30"), 0);
}

#[test]
fn times_of_day_are_read_strictly() {
    let read = |given: &str| time::read("--to", given).map_err(|failure| format!("{failure:?}"));
    assert_eq!(read("00:00"), Ok(Duration::ZERO));
    assert_eq!(read("12:00:07.4").map(time::of_day), Ok("12:00:07.400".to_string()));
    assert_eq!(read("23:59:59.999").map(time::of_day), Ok("23:59:59.999".to_string()));
    for wrong in ["", "12", "24:00", "12:60", "12:00:60", "12:00.5", "12:00:00.1234", "+1:00", "1 2:00", "12:00:00:00"]
    {
        let why = read(wrong).unwrap_err();
        assert!(why.contains("--to: expected a time of day like 12:00:07") && why.contains(wrong), "{why}");
    }
    let lasting = |seconds| time::lasting(Duration::from_millis(seconds));
    assert_eq!([lasting(420), lasting(125_000), lasting(12_000_000)], ["0.4 s", "2 min 5 s", "3 h 20 min"]);
}
