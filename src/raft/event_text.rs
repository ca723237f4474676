// Stand-in until branch text lands: in a merge take the other side.
use super::event::*;
use super::types::*;
impl Told {
    pub fn of(c: &Command) -> Told {
        match c {
            Command::Noop => Told::Noop,
            Command::Append { text, .. } => Told::Text(text.clone()),
        }
    }
}
impl Span {
    pub fn of(e: &[Entry], sum: u32) -> Span {
        let (a, b) = (&e[0], &e[e.len() - 1]);
        Span {
            first: a.id,
            last: b.id,
            opening: Told::of(&a.command),
            closing: Told::of(&b.command),
            sum: (e.len() > 1).then_some(sum),
        }
    }
}
