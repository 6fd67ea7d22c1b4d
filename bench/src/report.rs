//! All samples, and how they are told: as Markdown to people, as JSON to programs.

use crate::sample::{Sample, Unit};
use crate::targets::{self, Verdict};
use std::fmt::Write as _;

/// The program that all others are compared with.
const OWN: &str = "spelunk";

/// All samples, grouped.
#[derive(Default)]
pub struct Report {
    series: Vec<Series>,
    /// Courses and contenders that were left out, and why.
    left_out: Vec<String>,
}

struct Series {
    course: &'static str,
    contender: &'static str,
    metric: String,
    unit: Unit,
    values: Vec<f64>,
}

impl Series {
    fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
    }

    fn best(&self) -> f64 {
        self.values.iter().copied().reduce(|a, b| self.unit.better(a, b)).unwrap_or_default()
    }
}

impl Report {
    /// Takes the samples of one round.
    pub fn add(&mut self, course: &'static str, contender: &'static str, samples: Vec<Sample>) {
        for Sample { metric, value, unit } in samples {
            let known = self.series.iter_mut().find(|series| {
                series.course == course && series.contender == contender && series.metric == metric
            });
            match known {
                Some(series) => series.values.push(value),
                None => self.series.push(Series { course, contender, metric, unit, values: vec![value] }),
            }
        }
    }

    /// Notes that a contender does not take part in a course (any more).
    pub fn leave_out(&mut self, course: &str, contender: &str, why: &str) {
        self.left_out.push(format!("{course}: {contender}: {why}"));
    }

    /// The courses that have samples.
    pub fn courses(&self) -> Vec<&'static str> {
        distinct(self.series.iter().map(|series| series.course))
    }

    /// Spelunk's median.
    pub fn own(&self, course: &str, metric: &str) -> Option<f64> {
        self.find(course, OWN, metric).map(Series::median)
    }

    /// The best median of these contenders.
    pub fn best(&self, course: &str, contenders: &[&str], metric: &str) -> Option<f64> {
        let series = contenders.iter().filter_map(|contender| self.find(course, contender, metric));
        let medians = series.map(|series| (series.unit, series.median()));
        medians.reduce(|(unit, a), (_, b)| (unit, unit.better(a, b))).map(|(_, best)| best)
    }

    fn find(&self, course: &str, contender: &str, metric: &str) -> Option<&Series> {
        self.series.iter().find(|series| {
            series.course == course && series.contender == contender && series.metric == metric
        })
    }

    /// Tables of medians, best values and ratios, processor time, the targets.
    pub fn markdown(&self) -> String {
        let mut text = format!("Measured on {}.\n\n", machine());
        for course in self.courses() {
            self.table(&mut text, course, |unit| unit != Unit::CpuSeconds);
            self.table(&mut text, course, |unit| unit == Unit::CpuSeconds);
        }
        for line in &self.left_out {
            let _ = writeln!(text, "- left out: {line}");
        }
        text.push_str("\n| target | bound | measured | |\n|---|---|---|---|\n");
        for Verdict { course, metric, bound, measured, is_met } in targets::verdicts(self) {
            let measured = measured.map_or_else(|| "not measured".to_owned(), rounded);
            let verdict = if is_met { "met" } else { "MISSED" };
            let _ = writeln!(text, "| {course}: {metric} | {bound} | {measured} | {verdict} |");
        }
        text
    }

    /// The table of a course, with the metrics of some units.
    fn table(&self, text: &mut String, course: &str, shows: impl Fn(Unit) -> bool) {
        let series = || self.series.iter().filter(|series| series.course == course && shows(series.unit));
        let contenders = distinct(series().map(|series| series.contender));
        if contenders.is_empty() {
            return;
        }
        let _ = writeln!(text, "| {course} | {} |", contenders.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(contenders.len()));
        for metric in distinct(series().map(|series| series.metric.as_str())) {
            let cells = contenders.iter().map(|contender| self.cell(course, contender, metric));
            let _ = writeln!(text, "| {metric} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        text.push('\n');
    }

    /// Median, best value, and Spelunk's median as a multiple of this one.
    fn cell(&self, course: &str, contender: &str, metric: &str) -> String {
        let Some(series) = self.find(course, contender, metric) else { return "-".to_owned() };
        let median = series.median();
        let mut cell = format!("{} {}", rounded(median), series.unit.symbol());
        if series.unit == Unit::CpuSeconds {
            return cell;
        }
        if series.values.len() > 1 {
            let _ = write!(cell, " (best {})", rounded(series.best()));
        }
        if let Some(own) = self.own(course, metric)
            && contender != OWN
            && median > 0.0
        {
            let _ = write!(cell, ", {OWN} {:.2} of it", own / median);
        }
        cell
    }

    /// Whether every target of the courses that were run was measured and met.
    pub fn targets_met(&self) -> bool {
        targets::verdicts(self).iter().all(|verdict| verdict.is_met)
    }

    /// All samples and verdicts.
    pub fn json(&self) -> String {
        let series = self.series.iter().map(|series| {
            serde_json::json!({
                "course": series.course, "contender": series.contender, "metric": series.metric,
                "unit": series.unit.symbol(), "samples": series.values, "median": series.median(),
                "best": series.best(),
            })
        });
        let targets = targets::verdicts(self).into_iter().map(|verdict| {
            serde_json::json!({
                "course": verdict.course, "metric": verdict.metric, "bound": verdict.bound,
                "measured": verdict.measured, "met": verdict.is_met,
            })
        });
        serde_json::json!({
            "schema": 2, "machine": machine(), "series": series.collect::<Vec<_>>(),
            "left_out": self.left_out, "targets": targets.collect::<Vec<_>>(),
        })
        .to_string()
    }
}

/// The machine, as far as it matters.
fn machine() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = model.map_or("unknown", |(_, model)| model);
    format!("Linux {}, {cores} cores, {model}", kernel.trim())
}

/// A value with about four digits that matter.
fn rounded(value: f64) -> String {
    match value {
        large if large >= 1000.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.4}"),
    }
}

fn distinct<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_best_values_and_ratios_stand_in_the_table() {
        let mut report = Report::default();
        for (own, peer) in [(1.0, 4.0), (3.0, 2.0), (2.0, 9.0)] {
            report.add("disk", OWN, vec![Sample::new("walk", own, Unit::Seconds)]);
            report.add("disk", "kernel", vec![Sample::new("walk", peer, Unit::Seconds)]);
        }

        let text = report.markdown();

        let row = "| walk | 2.0000 s (best 1.0000) | 4.0000 s (best 2.0000), spelunk 0.50 of it |";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn of_speeds_the_larger_is_the_better() {
        let mut report = Report::default();
        for value in [10.0, 30.0, 20.0] {
            report.add("disk", OWN, vec![Sample::new("speed", value, Unit::EntriesPerSecond)]);
        }

        assert_eq!(report.series[0].best(), 30.0);
        assert_eq!(report.own("disk", "speed"), Some(20.0));
    }
}
