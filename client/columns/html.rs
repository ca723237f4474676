//! The rows as a page for a browser: one file, no script, nothing from elsewhere.

use std::fmt::Write;

use raft_lab::raft::types::Role;
use raft_lab::text::plain;

use super::table::{Kind, Lives, Row, Table, letter};
use super::time;

const STYLE: &str = include_str!("page.css");
/// What the marks behind the times mean.
const MARKS: [(Kind, &str); 6] = [
    (Kind::Start, "start"),
    (Kind::Election, "wants to be elected"),
    (Kind::Won, "elected"),
    (Kind::Commit, "committed"),
    (Kind::Fault, "fault, on order"),
    (Kind::Trouble, "error, or entries taken back"),
];
/// The least width of a node's column on a screen, in em.
const COLUMN_EM: usize = 15;

/// The whole page. What comes from the logs and from the command line is escaped, and the browser is told to run nothing.
pub fn page(table: &Table) -> String {
    let (from, to) = table.span();
    let nodes: Vec<String> = table.nodes.iter().map(|node| node.to_string()).collect();
    let nodes = nodes.join(", ");
    let heartbeats = table.shown().filter(|row| row.kind == Kind::Heartbeat).count();
    let mut page = Page { text: String::new() };
    page.raw(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    page.raw(&format!("<title>raft-lab: {nodes}, {from} to {to}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"));
    page.raw(&format!("<h1>{nodes}, {from} to {to} UTC</h1>\n<p>{} lines from ", table.shown().count()));
    page.escaped(&plain(&table.logs.files.join(", ")));
    if table.logs.skipped > 0 {
        page.raw(&format!("; {} lines of other programs are left out", table.logs.skipped));
    }
    page.raw("</p>\n");
    page.notes(table);
    page.leaders(table);
    page.legend();
    if heartbeats > 0 {
        page.raw(&format!(
            "<input type=\"checkbox\" id=\"heartbeats\"><label for=\"heartbeats\">show the {heartbeats} heartbeats</label>\n"
        ));
    }
    page.table(table);
    page.raw("</body>\n</html>\n");
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\'' => self.text.push_str("&#39;"),
                c => self.text.push(c),
            }
        }
    }

    fn notes(&mut self, table: &Table) {
        for note in table.notes() {
            self.raw("<p class=\"note\">Note: ");
            self.escaped(&note);
            self.raw("</p>\n");
        }
    }

    /// Who led when, each with a way to its row.
    fn leaders(&mut self, table: &Table) {
        let won = table.rows.iter().enumerate().filter(|(_, row)| row.shown && row.kind == Kind::Won);
        let links: Vec<String> = won
            .map(|(number, row)| {
                let event = &row.line.event;
                let at = time::of_day(event.at);
                format!("<a href=\"#row-{number}\">t{} {}</a> at {at}", event.term, event.node)
            })
            .collect();
        if !links.is_empty() {
            self.raw(&format!("<p>Leaders: {}</p>\n", links.join(" · ")));
        }
    }

    fn legend(&mut self) {
        self.raw("<ul class=\"legend\">\n");
        for role in Role::ALL {
            let letter = letter(role);
            self.raw(&format!("<li class=\"{letter}\"><b>{letter}</b> {role}</li>\n"));
        }
        for (kind, what) in MARKS {
            self.raw(&format!("<li><span class=\"mark\">{}</span> {what}</li>\n", mark(kind)));
        }
        self.raw("<li>no line down the column: its log says nothing more until its next start</li>\n</ul>\n");
    }

    fn table(&mut self, table: &Table) {
        let width = 8 + table.nodes.len() * COLUMN_EM;
        self.raw(&format!("<table style=\"min-width:{width}em\">\n<thead><tr><th class=\"time\">time (UTC)</th>"));
        for node in &table.nodes {
            self.raw(&format!("<th>{node}</th>"));
        }
        self.raw("</tr></thead>\n<tbody>\n");
        let mut lives = Lives::new(table);
        let mut before = Before::default();
        for (number, row) in table.rows.iter().enumerate() {
            if row.shown {
                self.between(table, &lives, &before, row);
                self.row(&lives, row, number);
                before.step(row);
            }
            lives.step(row);
        }
        self.raw("</tbody>\n</table>\n");
    }

    /// Midnight, and silence: with the heartbeats, and as it looks when they are folded.
    fn between(&mut self, table: &Table, lives: &Lives, before: &Before, row: &Row) {
        let at = row.line.event.at;
        let silence =
            |since: Option<_>| since.map(|since| at.saturating_sub(since)).filter(|quiet| *quiet > table.quiet);
        if before.any.is_some_and(|before| time::day(before) != time::day(at)) {
            self.gap("midnight", "midnight", lives);
        }
        let any = silence(before.any);
        let folded = silence(before.shown).filter(|_| row.kind != Kind::Heartbeat);
        match (any, folded) {
            (Some(quiet), Some(longer)) if quiet == longer => self.gap("quiet", &time::lasting(quiet), lives),
            (any, folded) => {
                if let Some(quiet) = any {
                    self.gap("quiet unfolded", &time::lasting(quiet), lives);
                }
                if let Some(quiet) = folded {
                    let text = format!("{}, {} heartbeats", time::lasting(quiet), before.heartbeats);
                    self.gap("quiet folded", &text, lives);
                }
            }
        }
    }

    fn gap(&mut self, class: &str, text: &str, lives: &Lives) {
        self.raw(&format!("<tr class=\"{class}\"><th class=\"time\">{text}</th>"));
        for life in &lives.0 {
            self.idle(*life);
        }
        self.raw("</tr>\n");
    }

    fn idle(&mut self, life: Option<Role>) {
        match life {
            // Writing to a String cannot fail.
            Some(role) => _ = write!(self.text, "<td class=\"{}\"></td>", letter(role)),
            None => self.raw("<td></td>"),
        }
    }

    fn row(&mut self, lives: &Lives, row: &Row, number: usize) {
        let event = &row.line.event;
        let id = if row.kind == Kind::Won { format!(" id=\"row-{number}\"") } else { String::new() };
        let (at, mark) = (time::of_day(event.at), mark(row.kind));
        self.raw(&format!("<tr class=\"{}\"{id}><th class=\"time\">{at}", class(row.kind)));
        if !mark.is_empty() {
            self.raw(&format!(" <span class=\"mark\">{mark}</span>"));
        }
        self.raw("</th>");
        for (column, life) in lives.0.iter().enumerate() {
            if column != row.column {
                self.idle(*life);
                continue;
            }
            let (topic, words) = row.words();
            let (letter, end) = (letter(event.role), if row.ends { " end" } else { "" });
            self.raw(&format!("<td class=\"{letter} said{end}\">"));
            if row.line.after_hole {
                self.raw("<em>lines are missing before this one</em> ");
            }
            self.raw(&format!("<b>{letter} t{}</b> <i>{topic}</i> ", event.term));
            self.escaped(&words);
            self.raw("</td>");
        }
        self.raw("</tr>\n");
    }
}

/// The times of the rows before.
#[derive(Default)]
struct Before {
    any: Option<std::time::Duration>,
    /// Of one that is no heartbeat, and how many heartbeats came since.
    shown: Option<std::time::Duration>,
    heartbeats: usize,
}

impl Before {
    fn step(&mut self, row: &Row) {
        let at = Some(row.line.event.at);
        self.any = at;
        if row.kind == Kind::Heartbeat {
            self.heartbeats += 1;
        } else {
            self.shown = at;
            self.heartbeats = 0;
        }
    }
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Plain => "plain",
        Kind::Heartbeat => "heartbeat",
        Kind::Start => "start",
        Kind::Election => "election",
        Kind::Won => "won",
        Kind::Commit => "commit",
        Kind::Fault => "fault",
        Kind::Trouble => "trouble",
    }
}

/// What tells the kind of a row to those who see no colours.
fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Plain | Kind::Heartbeat => "",
        Kind::Start => "▸",
        Kind::Election => "?",
        Kind::Won => "★",
        Kind::Commit => "✓",
        Kind::Fault => "⚡",
        Kind::Trouble => "!",
    }
}
