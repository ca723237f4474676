//! The story of a run: the lines of all nodes, and what the scheduler did to them.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::raft::event::Event;

use super::profile::Micros;

/// Lines that are kept for the report of a failure.
const KEPT: usize = 60;

enum Line {
    Told(Event),
    Note(Micros, String),
}

/// The last lines; all of them go to standard output if `aloud`.
pub struct Chronicle {
    /// Is somebody reading along? Then even what clients say is told.
    pub aloud: bool,
    keeps: usize,
    lines: VecDeque<Line>,
}

impl Chronicle {
    pub fn new(aloud: bool) -> Chronicle {
        Chronicle { aloud, keeps: KEPT, lines: VecDeque::with_capacity(KEPT + 1) }
    }

    /// Keeps all lines.
    pub fn whole() -> Chronicle {
        Chronicle { keeps: usize::MAX, ..Chronicle::new(false) }
    }

    /// What the nodes have told, as far as it is kept.
    pub fn told(&self) -> impl Iterator<Item = &Event> {
        self.lines.iter().filter_map(|line| match line {
            Line::Told(event) => Some(event),
            Line::Note(..) => None,
        })
    }

    pub fn tell(&mut self, event: Event) {
        self.add(Line::Told(event));
    }

    pub fn note(&mut self, at: Micros, text: String) {
        self.add(Line::Note(at, text));
    }

    fn add(&mut self, line: Line) {
        if self.aloud {
            println!("{}", line.text());
        }
        // Formatting costs more than the run itself, so it waits until somebody wants to read.
        if self.lines.len() == self.keeps {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub fn last_lines(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    {}", line.text());
        }
        text
    }
}

impl Line {
    fn text(&self) -> String {
        match self {
            Line::Told(event) => event.to_string(),
            Line::Note(at, text) => format!("{:>4}.{:06} s -- {text}", at / 1_000_000, at % 1_000_000),
        }
    }
}
