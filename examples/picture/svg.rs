//! A terminal as SVG: text that stays text, on its own dark background, so that it is readable on any page.

use std::{fmt::Write as _, ops::Range};

use vt100::{Cell, Color, Screen};

/// The width and the height of a character, and the margin around the text.
const WIDTH: f32 = 8.0;
const HEIGHT: u16 = 18;
const MARGIN: u16 = 16;
const TITLE_BAR: u16 = 30;

const STYLE: &str = "text { font: 13.3px ui-monospace, 'SFMono-Regular', Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #d6dde6; white-space: pre }
.b { font-weight: bold; fill: #ffffff } .d { fill: #8b949e }
.c1 { fill: #ff8f88 } .c2 { fill: #7ee787 } .c3 { fill: #e8bd5a } .c4, .c6 { fill: #7cc4ff } .c5 { fill: #e2a7ff }";

/// Returns a picture with the rows of some acts, one below the other.
pub fn picture(screen: &Screen, acts: &[Range<u16>]) -> String {
    let columns = screen.size().1;
    let rows: Vec<Option<u16>> = acts
        .iter()
        .flat_map(|act| act.clone().map(Some).chain([None]))
        .collect();
    let rows = &rows[..rows.len().saturating_sub(1)];
    let number = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    let width = f32::from(columns) * WIDTH + f32::from(2 * MARGIN);
    let height = number * HEIGHT + TITLE_BAR + MARGIN;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>An upgrade that hangs on a PodDisruptionBudget, and its abort</title>\n\
         <style>{STYLE}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#161b22\"/>\n\
         <circle cx=\"20\" cy=\"15\" r=\"5\" fill=\"#ff5f57\"/><circle cx=\"38\" cy=\"15\" r=\"5\" fill=\"#febc2e\"/><circle cx=\"56\" cy=\"15\" r=\"5\" fill=\"#28c840\"/>\n\
         <text x=\"{}\" y=\"20\" text-anchor=\"middle\" class=\"d\">make demo</text>\n",
        width / 2.0
    );
    for (line, row) in (1_u16..).zip(rows) {
        let Some(row) = row else { continue };
        let y = TITLE_BAR + line * HEIGHT - 4;
        let spans: String = runs(screen, *row).iter().map(Run::to_svg).collect();
        if !spans.is_empty() {
            writeln!(picture, "<text y=\"{y}\">{spans}</text>").expect("a string takes all");
        }
    }
    picture.push_str("</svg>\n");
    picture
}

/// Adjacent characters of the same style.
struct Run {
    column: u16,
    class: String,
    text: String,
}

impl Run {
    /// Returns the run as SVG. Each run has its own position, so that columns line up with any font width.
    fn to_svg(&self) -> String {
        let x = f32::from(self.column) * WIDTH + f32::from(MARGIN);
        let class = match self.class.as_str() {
            "" => String::new(),
            class => format!(" class=\"{class}\""),
        };
        let text = self.text.trim_end();
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        format!("<tspan x=\"{x}\"{class}>{text}</tspan>")
    }
}

fn runs(screen: &Screen, row: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut gap = 0;
    for column in 0..screen.size().1 {
        let cell = screen.cell(row, column);
        let Some(cell) = cell.filter(|cell| !cell.contents().trim().is_empty()) else {
            gap += 1;
            continue;
        };
        let class = class(cell);
        match runs.last_mut() {
            // A single space separates words of the same text.
            Some(run) if run.class == class && gap < 2 => {
                run.text.extend((0..gap).map(|_| ' '));
                run.text.push_str(cell.contents());
            }
            _ => runs.push(Run {
                column,
                class,
                text: cell.contents().to_owned(),
            }),
        }
        gap = 0;
    }
    runs
}

fn class(cell: &Cell) -> String {
    let mut classes = Vec::new();
    if cell.bold() {
        classes.push("b".to_owned());
    }
    if cell.dim() {
        classes.push("d".to_owned());
    }
    if let Color::Idx(colour) = cell.fgcolor() {
        classes.push(format!("c{}", colour % 8));
    }
    classes.join(" ")
}
