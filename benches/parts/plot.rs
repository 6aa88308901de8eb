//! Time series as an SVG picture, without any library.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 190.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 46.0;
const BETWEEN: f64 = 40.0;

/// One line of a panel: its name, its colour, and points of seconds and values.
pub struct Line {
    pub name: &'static str,
    pub color: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// One panel: what is drawn over time.
pub struct Panel {
    pub unit: &'static str,
    /// Lines, or bars from the ground where `bars` is set.
    pub lines: Vec<Line>,
    pub bars: bool,
}

/// The picture's text.
pub fn svg(title: &str, panels: &[Panel]) -> String {
    let height = TOP + panels.len() as f64 * (PANEL + BETWEEN);
    let end = panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let end = end.map(|(at, _)| *at).fold(1.0, f64::max).ceil();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{title}</text>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        draw(&mut text, panel, TOP + index as f64 * (PANEL + BETWEEN), end);
    }
    text.push_str("</svg>\n");
    text
}

fn draw(text: &mut String, panel: &Panel, top: f64, end: f64) {
    let most = panel.lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value).fold(0.0, f64::max);
    let step = nice(most / 4.0);
    let most = (most / step).ceil().max(1.0) * step;
    let x = |seconds: f64| LEFT + seconds / end * (WIDTH - LEFT - 20.0);
    let y = |value: f64| top + PANEL - value / most * PANEL;
    let mut mark = 0.0;
    while mark <= most * 1.001 {
        let at = y(mark);
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{mark}</text>",
            WIDTH - 20.0,
            LEFT - 6.0,
            at + 4.0
        );
        mark += step;
    }
    let seconds = nice(end / 10.0);
    let mut mark = 0.0;
    while mark <= end {
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark} s</text>",
            x(mark),
            top + PANEL + 16.0
        );
        mark += seconds;
    }
    let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", LEFT + 4.0, top - 5.0, panel.unit);
    for (index, Line { name, color, points }) in panel.lines.iter().enumerate() {
        let mut path = String::new();
        for (index, (at, value)) in points.iter().enumerate() {
            let _ = match (panel.bars, index) {
                (true, _) => write!(path, "M{:.1} {:.1}V{:.1}", x(*at), y(0.0), y(*value)),
                (false, 0) => write!(path, "M{:.1} {:.1}", x(*at), y(*value)),
                (false, _) => write!(path, "L{:.1} {:.1}", x(*at), y(*value)),
            };
        }
        let _ = writeln!(
            text,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{color}\">{name}</text>",
            LEFT + 120.0 + index as f64 * 150.0,
            top - 5.0
        );
    }
}

/// The next of 1, 2, 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= value).unwrap_or(power)
}
