//! The rows in a terminal: the time, then a column for each node.

use raft_lab::paint;
use raft_lab::raft::types::Role;

use super::table::{Lives, Row, Table, letter};
use super::time;
use crate::output::Failure;
use crate::palette;

/// The time and the space behind it, in characters.
const TIME: usize = 13;
/// A column is never narrower than this, in characters, however narrow the terminal is.
const MIN_COLUMN: usize = 16;
/// After so many rows the names of the nodes are told again.
const NAMES_AGAIN: usize = 50;
/// How much is printed with one write, in bytes.
const BATCH: usize = 64 * 1024;

/// Hands out the table in pieces of whole lines.
pub fn show(
    table: &Table,
    width: usize,
    colors: bool,
    mut out: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let nodes = table.nodes.len();
    let column = (width.saturating_sub(TIME) / nodes.max(1)).max(MIN_COLUMN);
    let mut paper = Paper { text: String::new(), column, colors };
    let mut lives = Lives::new(table);
    let mut before = None;
    paper.legend();
    for (number, row) in table.rows.iter().scan(0, |shown, row| {
        *shown += usize::from(row.shown);
        Some((*shown, row))
    }) {
        if row.shown {
            if number % NAMES_AGAIN == 1 {
                paper.names(table);
            }
            let at = row.line.event.at;
            if let Some(before) = before.replace(at) {
                if time::day(before) != time::day(at) {
                    paper.between(&lives, "midnight");
                }
                let quiet = at.saturating_sub(before);
                if quiet > table.quiet {
                    paper.between(&lives, &format!("… {}", time::lasting(quiet)));
                }
            }
            paper.row(&lives, row);
        }
        lives.step(row);
        if paper.text.len() >= BATCH {
            out(&std::mem::take(&mut paper.text))?;
        }
    }
    out(&paper.text)
}

struct Paper {
    text: String,
    column: usize,
    colors: bool,
}

impl Paper {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colors && !code.is_empty() { format!("{code}{text}{}", paint::RESET) } else { text.to_string() }
    }

    /// Ends a line: nothing invisible stays behind it.
    fn end(&mut self) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
    }

    fn legend(&mut self) {
        self.text.push_str(&" ".repeat(TIME));
        for role in Role::ALL {
            let name = format!("{} {} {role}", lifeline(role), letter(role));
            self.text.push_str(&self.paint(paint::of_role(role), &name));
            self.text.push_str("   ");
        }
        self.end();
    }

    fn names(&mut self, table: &Table) {
        self.text.push_str(&format!("{:<TIME$}", "time (UTC)"));
        for node in &table.nodes {
            let name = format!("{:<width$}", node.to_string(), width = self.column);
            self.text.push_str(&if self.colors { palette::paint(*node, &name) } else { name });
        }
        self.end();
    }

    /// Something between the rows, with the columns going on.
    fn between(&mut self, lives: &Lives, what: &str) {
        let what = self.paint("\x1b[2m", &pad(what, TIME - 1));
        self.text.push_str(&what);
        self.text.push(' ');
        for life in &lives.0 {
            self.idle(*life);
        }
        self.end();
    }

    /// A column in which nothing is said.
    fn idle(&mut self, life: Option<Role>) {
        match life {
            Some(role) => self.text.push_str(&self.paint(paint::of_role(role), &lifeline(role).to_string())),
            None => self.text.push(' '),
        }
        self.text.push_str(&" ".repeat(self.column - 1));
    }

    fn row(&mut self, lives: &Lives, row: &Row) {
        let event = &row.line.event;
        let (topic, words) = row.words();
        let hole = if row.line.after_hole { "(lines are missing before this one) " } else { "" };
        let said = format!("{hole}{} t{} {topic} {words}", letter(event.role), event.term);
        // The lifeline and a space before, a space behind.
        let pieces = wrap(&said, self.column - 3);
        let code = paint::of_fact(&event.fact).unwrap_or_default();
        let role = paint::of_role(event.role);
        for (number, piece) in pieces.iter().enumerate() {
            let time = if number == 0 { time::of_day(event.at) } else { String::new() };
            self.text.push_str(&format!("{time:<TIME$}"));
            for (column, life) in lives.0.iter().enumerate() {
                if column != row.column {
                    self.idle(*life);
                    continue;
                }
                let fill = " ".repeat(self.column - 2 - columns_of(piece));
                let lifeline = self.paint(role, &lifeline(event.role).to_string());
                // Bold, dim and red on top of the role's colour.
                let piece = self.paint(&format!("{role}{code}"), piece);
                self.text.push_str(&format!("{lifeline} {piece}{fill}"));
            }
            self.end();
        }
    }
}

/// The line down the column of a node that runs: a role looks different without colours, too.
fn lifeline(role: Role) -> char {
    match role {
        Role::Follower => '│',
        Role::PreCandidate => '┊',
        Role::Candidate => '╎',
        Role::Leader => '┃',
    }
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns_of(text))))
}

/// Breaks the text at spaces into pieces of at most `width` columns; a word that is longer is broken anywhere.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut pieces, mut piece, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        let needed = columns_of(word);
        if used > 0 && used + 1 + needed > width {
            pieces.push(std::mem::take(&mut piece));
            used = 0;
        } else if used > 0 {
            piece.push(' ');
            used += 1;
        }
        for c in word.chars() {
            let more = columns_of_char(c);
            if used + more > width {
                pieces.push(std::mem::take(&mut piece));
                used = 0;
            }
            piece.push(c);
            used += more;
        }
    }
    pieces.push(piece);
    pieces
}

fn columns_of(text: &str) -> usize {
    text.chars().map(columns_of_char).sum()
}

/// How many columns of a terminal a character takes: two for those of East Asia and for pictures, none for what is put
/// onto the character before. Roughly: std has no table of it.
fn columns_of_char(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_spaces_and_long_words_anywhere() {
        assert_eq!(wrap("granted to node_1", 10), ["granted to", "node_1"]);
        assert_eq!(wrap("abcdefgh ij", 5), ["abcde", "fgh", "ij"]);
        assert_eq!(wrap("a  b", 10), ["a  b"]);
        assert_eq!(wrap("世界 🎉", 4), ["世界", "🎉"]);
        for piece in wrap("one \"世界世界世界 and\" a-very-long-word-that-has-no-space e\u{301}e\u{301}", 7) {
            assert!(columns_of(&piece) <= 7, "{piece:?}");
        }
    }
}
