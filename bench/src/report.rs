//! Medians, ratios and targets.

use crate::measure::Sample;
use std::fmt::Write as _;

/// What must hold: a metric of Spelunk against a bound, a ratio to a peer or a plain value.
struct Target {
    course: &'static str,
    metric: &'static str,
    /// The peer whose median is the measure; none when the bound is in the metric's own unit.
    peer: Option<&'static str>,
    at_most: f64,
}

/// The targets. ntfs-3g is measured as a user starts it; with daemon and client on one core it is about twice
/// as fast, which the table shows beside it.
static TARGETS: &[Target] = &[
    Target { course: "ext4", metric: "first listing, cold", peer: None, at_most: 0.1 },
    Target { course: "ntfs", metric: "first listing, cold", peer: None, at_most: 0.1 },
    Target { course: "ext4", metric: "find, cold", peer: Some("kernel"), at_most: 1.0 },
    Target { course: "ntfs", metric: "find, cold", peer: Some("ntfs-3g"), at_most: 0.25 },
    Target {
        course: "ext4",
        metric: "sequential read of 1 GiB, cold",
        peer: Some("kernel"),
        at_most: 1.0 / 0.8,
    },
    Target { course: "ext4", metric: "peak memory, worker", peer: None, at_most: 64.0 },
    Target { course: "ntfs", metric: "peak memory, worker", peer: None, at_most: 64.0 },
];

/// All samples, grouped.
#[derive(Default)]
pub struct Report {
    series: Vec<Series>,
}

struct Series {
    course: &'static str,
    contender: &'static str,
    metric: &'static str,
    unit: &'static str,
    values: Vec<f64>,
}

impl Series {
    fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
    }
}

impl Report {
    /// Takes the samples of one round. Of several processes of one kind the largest counts.
    pub fn add(&mut self, course: &'static str, contender: &'static str, samples: Vec<Sample>) {
        let mut largest: Vec<Sample> = Vec::new();
        for sample in samples {
            match largest.iter_mut().find(|known| known.metric == sample.metric) {
                Some(known) => known.value = known.value.max(sample.value),
                None => largest.push(sample),
            }
        }
        for Sample { metric, value, unit } in largest {
            let known = self.series.iter_mut().find(|series| {
                series.course == course && series.contender == contender && series.metric == metric
            });
            match known {
                Some(series) => series.values.push(value),
                None => self.series.push(Series { course, contender, metric, unit, values: vec![value] }),
            }
        }
    }

    fn median(&self, course: &str, contender: &str, metric: &str) -> Option<f64> {
        let series = |series: &&Series| {
            series.course == course && series.contender == contender && series.metric == metric
        };
        self.series.iter().find(series).map(Series::median)
    }

    /// Tables of medians with the ratio of Spelunk to each peer, and the targets.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for course in distinct(self.series.iter().map(|series| series.course)) {
            self.course_table(&mut text, course);
        }
        text.push_str("| target | bound | measured | |\n|---|---|---|---|\n");
        for target in TARGETS {
            let against = target.peer.map_or(String::new(), |peer| format!(" of {peer}"));
            let (measured, verdict) = match self.measured(target) {
                Some(value) => {
                    (format!("{value:.3}"), if value <= target.at_most { "met" } else { "MISSED" })
                }
                None => ("not measured".to_owned(), "MISSED"),
            };
            let Target { course, metric, at_most, .. } = target;
            let _ =
                writeln!(text, "| {course}: {metric} | <= {at_most:.2}{against} | {measured} | {verdict} |");
        }
        text
    }

    fn course_table(&self, text: &mut String, course: &str) {
        let of_course = || self.series.iter().filter(|series| series.course == course);
        let contenders = distinct(of_course().map(|series| series.contender));
        let _ = writeln!(text, "| {course} | {} |", contenders.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(contenders.len()));
        for metric in distinct(of_course().map(|series| series.metric)) {
            let unit = of_course().find(|series| series.metric == metric).map_or("", |series| series.unit);
            let _ = write!(text, "| {metric} |");
            let own = self.median(course, "spelunk", metric);
            for contender in &contenders {
                let _ = match (self.median(course, contender, metric), own) {
                    (Some(peer), Some(own)) if *contender != "spelunk" && peer > 0.0 => {
                        write!(text, " {peer:.4} {unit} (spelunk {:.2}) |", own / peer)
                    }
                    (Some(value), _) => write!(text, " {value:.4} {unit} |"),
                    (None, _) => write!(text, " - |"),
                };
            }
            text.push('\n');
        }
        text.push('\n');
    }

    fn measured(&self, target: &Target) -> Option<f64> {
        let own = self.median(target.course, "spelunk", target.metric)?;
        match target.peer {
            None => Some(own),
            Some(peer) => self.median(target.course, peer, target.metric).map(|peer| own / peer),
        }
    }

    /// Whether every target was measured and met.
    pub fn targets_met(&self) -> bool {
        TARGETS.iter().all(|target| self.measured(target).is_some_and(|value| value <= target.at_most))
    }

    /// All samples.
    pub fn json(&self) -> String {
        let series: Vec<_> = self
            .series
            .iter()
            .map(|series| {
                serde_json::json!({
                    "image": series.course, "contender": series.contender, "metric": series.metric,
                    "unit": series.unit, "samples": series.values, "median": series.median(),
                })
            })
            .collect();
        serde_json::json!({ "schema": 1, "series": series }).to_string()
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
