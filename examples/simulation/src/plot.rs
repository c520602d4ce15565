//! Lines over time, as SVG.

use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::PathElement;
use plotters::prelude::SVGBackend;
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, RGBColor, WHITE};

/// A plot: a title, what the axes show, and lines.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Stands above.
    pub title: String,
    /// What the upright axis shows, with its unit; the other one shows seconds.
    pub what: String,
    /// The lines, each with its name for the legend.
    pub lines: Vec<Line>,
    /// Moments to be marked by an upright line, with what happened then.
    pub marks: Vec<(f64, String)>,
}

/// One line: points of time in seconds and value, in order of time.
#[derive(Clone, Debug)]
pub struct Line {
    /// For the legend.
    pub name: String,
    /// In order of time.
    pub points: Vec<(f64, f64)>,
}

/// Why there is no plot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// No line has a point, or a number is not finite.
    #[error("there is nothing that could be drawn")]
    Nothing,
    /// It could not be drawn.
    #[error("the plot could not be drawn: {0}")]
    Drawing(String),
}

const SIZE: (u32, u32) = (960, 480);
/// Dark enough to be seen on white, and told apart by most.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 90, 181),
    RGBColor(200, 40, 40),
    RGBColor(0, 120, 80),
    RGBColor(120, 60, 160),
    RGBColor(150, 90, 20),
    RGBColor(60, 60, 60),
];

impl Plot {
    /// Draws it.
    ///
    /// # Errors
    /// [`PlotError`] when there is nothing to draw, or it cannot be drawn.
    pub fn to_svg(&self) -> Result<String, PlotError> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        if points().next().is_none() || points().any(|(at, value)| !at.is_finite() || !value.is_finite()) {
            return Err(PlotError::Nothing);
        }
        let start = points().map(|point| point.0).fold(f64::MAX, f64::min);
        let end = points().map(|point| point.0).fold(f64::MIN, f64::max).max(start + 1.0);
        let low = points().map(|point| point.1).fold(0.0, f64::min);
        let high = points().map(|point| point.1).fold(low, f64::max);
        // Room for the legend above the highest line.
        let entries = (self.lines.len() + self.marks.len()) as f64;
        let high = if high > low { high + (high - low) * (entries + 1.0) / 20.0 } else { low + 1.0 };
        let mut svg = String::new();
        self.draw(&mut svg, (start, end), (low, high)).map_err(|error| PlotError::Drawing(error.to_string()))?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String, (start, end): (f64, f64), (low, high): (f64, f64)) -> Result<(), Failure> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(start..end, low..high)?;
        chart.configure_mesh().x_desc("time in s").y_desc(&self.what).light_line_style(WHITE).draw()?;
        for (number, line) in self.lines.iter().enumerate() {
            let style = COLOURS[number % COLOURS.len()].stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        for (number, (at, what)) in self.marks.iter().enumerate() {
            let style = BLACK.mix(0.6);
            chart
                .draw_series(LineSeries::new([(*at, low), (*at, high)], style))?
                .label(format!("{}: {what}", number + 1))
                .legend(move |(x, y)| PathElement::new([(x + 9, y - 6), (x + 9, y + 6)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()?;
        area.present()?;
        Ok(())
    }
}

type Failure = DrawingAreaErrorKind<std::io::Error>;

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(lines: Vec<Line>) -> Plot {
        Plot { title: "fill < target".to_owned(), what: "bits".to_owned(), lines, marks: vec![(5.0, "cut".to_owned())] }
    }

    fn line(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Line {
        Line { name: name.to_owned(), points: points.into_iter().collect() }
    }

    #[test]
    fn lines_legend_and_title_are_in_the_svg() {
        let rising = (0..=10).map(|at| (f64::from(at), f64::from(at * at)));
        let falling = (0..=10).map(|at| (f64::from(at), f64::from(100 - at)));
        let svg = plot(vec![line("berlin", rising), line("frankfurt", falling)]).to_svg().expect("drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["berlin", "frankfurt", "fill &lt; target", "time in s", "bits", "1: cut"] {
            assert!(svg.contains(text), "{text} is missing");
        }
        // Two lines of eleven points and one mark, inside of the picture.
        let lines: Vec<Vec<(i32, i32)>> =
            svg.split("points=\"").skip(1).filter_map(|rest| points(rest.split('"').next()?)).collect();
        assert_eq!(lines.iter().filter(|points| points.len() == 11).count(), 2, "{svg}");
        let (rising, falling) = (&lines.iter().filter(|points| points.len() == 11).collect::<Vec<_>>()[0], 1);
        assert!(rising[0].1 > rising[10].1, "up is less in an SVG");
        assert!(lines.iter().flatten().all(|&(x, y)| (0..=960).contains(&x) && (0..=480).contains(&y)));
        assert_eq!(falling, 1);
    }

    fn points(text: &str) -> Option<Vec<(i32, i32)>> {
        text.split_whitespace()
            .map(|pair| pair.split_once(',').and_then(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?))))
            .collect()
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        assert_eq!(plot(vec![]).to_svg(), Err(PlotError::Nothing));
        assert_eq!(plot(vec![line("a", [(0.0, f64::NAN)])]).to_svg(), Err(PlotError::Nothing));
        assert!(plot(vec![line("flat", [(0.0, 0.0), (1.0, 0.0)])]).to_svg().is_ok());
    }
}
