//! How a scenario is told: short paragraphs, what is done, what is claimed, and the lines that show it.

use raft_lab::raft::event::Fact;
use raft_lab::raft::types::{NodeId, Term};

use crate::lines::Line;
use crate::output::{Failure, print};

/// Paragraphs are this wide, in characters.
const WIDTH: usize = 96;
/// A line of a log is cut here: what comes behind is in the log itself.
const LINE_WIDTH: usize = 150;

/// Of lines that are all alike no more are shown.
const MOST_ALIKE: usize = 3;

pub struct Teller {
    colors: bool,
    /// Only the verdict is told.
    quiet: bool,
    steps: usize,
}

impl Teller {
    pub fn new(colors: bool, quiet: bool) -> Teller {
        Teller { colors, quiet, steps: 0 }
    }

    fn print(&self, text: &str) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { print(text) }
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colors { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// The name of the scenario and what it is about.
    pub fn title(&self, name: &str, sentence: &str) -> Result<(), Failure> {
        self.print(&format!("{}: {sentence}\n", self.painted("1", name)))
    }

    /// The next step and why it is done.
    pub fn step(&mut self, heading: &str, why: &str) -> Result<(), Failure> {
        self.steps += 1;
        let heading = self.painted("1", &format!("{}. {heading}", self.steps));
        self.print(&format!("\n{heading}\n{}", paragraph(why, "   ")))
    }

    pub fn say(&self, text: &str) -> Result<(), Failure> {
        self.print(&paragraph(text, "   "))
    }

    /// What a reader could type to do the same.
    pub fn does(&self, command: &str) -> Result<(), Failure> {
        self.print(&format!("   {}\n", self.painted("36", &format!("$ {command}"))))
    }

    /// What a command answered.
    pub fn answers(&self, text: &str) -> Result<(), Failure> {
        self.print(&format!("     {text}\n"))
    }

    /// A claim that holds.
    pub fn holds(&self, claim: &str) -> Result<(), Failure> {
        let text = paragraph(claim, "     ");
        self.print(&format!("   {} {}", self.painted("32", "✓"), text.trim_start()))
    }

    /// The votes of a candidate at a glance.
    pub fn tally(&self, node: NodeId, term: Term, votes: usize, size: usize) -> Result<(), Failure> {
        let (code, outcome) = if votes > size / 2 { ("32", "elected") } else { ("33", "no majority") };
        let boxes: String = (0..size).map(|place| if place < votes { "■ " } else { "□ " }).collect();
        self.print(&format!("       t{term}  {node}  {} {votes} of {size}: {outcome}\n", self.painted(code, &boxes)))
    }

    /// Lines of the nodes' logs.
    pub fn lines<'a>(&self, lines: impl IntoIterator<Item = &'a Line>) -> Result<(), Failure> {
        let mut text = String::new();
        let lines: Vec<&Line> = lines.into_iter().collect();
        let alike = lines.len() > MOST_ALIKE && lines.iter().all(|line| is_alike(line));
        let shown_lines = if alike { MOST_ALIKE - 1 } else { lines.len() };
        for line in &lines[..shown_lines] {
            text.push_str("       ");
            match line.event() {
                // Only what is cut must be read anew; colours are for whole lines.
                Some(_) if line.text().chars().count() <= LINE_WIDTH => line.push(&mut text, self.colors),
                _ => text.push_str(&format!("{}\n", shown(line))),
            }
        }
        if alike {
            text.push_str(&format!("       … and {} more like these\n", lines.len() - shown_lines));
        }
        self.print(&text)
    }

    pub fn passed(&self, name: &str) -> Result<(), Failure> {
        let gap = if self.quiet { "" } else { "\n" };
        print(&format!("{gap}{} {name}\n", self.painted("1;32", "PASS")))
    }

    pub fn failed(&self, name: &str, why: &str) -> Result<(), Failure> {
        print(&format!("{} {name}: {why}\n", self.painted("1;31", "FAIL")))
    }
}

/// A line as it is told: not too long.
pub fn shown(line: &Line) -> String {
    match line.text().chars().count() {
        0..=LINE_WIDTH => line.text().to_string(),
        _ => format!("{}…", line.text().chars().take(LINE_WIDTH).collect::<String>()),
    }
}

/// What the nodes tell one after the other, all the same.
fn is_alike(line: &Line) -> bool {
    matches!(line.event().map(|event| &event.fact), Some(Fact::Commit { .. } | Fact::Fault { .. }))
}

/// Heartbeats come all the time and say little.
pub fn is_heartbeat(line: &Line) -> bool {
    let fact = line.event().map(|event| &event.fact);
    matches!(fact, Some(Fact::HeartbeatSent { .. } | Fact::HeartbeatReceived { .. }))
}

/// Words in lines of [`WIDTH`], behind `indent`.
fn paragraph(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width == 0 || width + 1 + length > WIDTH {
            out.push_str(if width == 0 { "" } else { "\n" });
            out.push_str(indent);
            width = indent.len();
        } else {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out.push_str(if width == 0 { "" } else { "\n" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_wrapped_and_indented() {
        assert_eq!(paragraph("", "  "), "");
        assert_eq!(paragraph("one\n  two", "  "), "  one two\n");
        let long = paragraph(&"word ".repeat(40), "   ");
        assert!(long.lines().all(|line| line.starts_with("   word") && line.len() <= WIDTH), "{long}");
        assert_eq!(long.split_whitespace().count(), 40);
    }

    #[test]
    fn a_long_line_is_cut() {
        let line = Line::read(&"é".repeat(LINE_WIDTH + 1));
        assert_eq!(shown(&line), format!("{}…", "é".repeat(LINE_WIDTH)));
    }
}
