//! A strict parser of the Prometheus text format. It checks that each metric has a help text and a type, that its name
//! has the suffix that its type requires, and that the buckets of a histogram are consistent.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// One scrape.
pub struct Exposition {
    samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Parses a scrape.
    pub fn parse(text: &str) -> Self {
        let (mut types, mut helps) = (BTreeMap::new(), BTreeSet::new());
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help");
                assert!(!help.is_empty(), "{line}");
                assert!(helps.insert(name.to_owned()), "declared twice: {line}");
            } else if let Some(type_) = line.strip_prefix("# TYPE ") {
                let (name, type_) = type_.split_once(' ').expect("a type");
                let before = types.insert(name.to_owned(), type_.to_owned());
                assert_eq!(before, None, "declared twice: {line}");
            } else {
                let (name, labels, value) = sample(line);
                check_name(&name, &types, &helps);
                let before = samples.insert((name, labels), value);
                assert_eq!(before, None, "declared twice: {line}");
            }
        }
        assert!(!samples.is_empty());
        let this = Self { samples };
        let histograms = types.iter().filter(|(_, type_)| *type_ == "histogram");
        for (name, _) in histograms {
            this.check_histogram(name);
        }
        this
    }

    /// Returns the value of one series.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter();
        let labels = labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.samples
            .get(&(name.to_owned(), labels.collect()))
            .copied()
    }

    /// Returns the values of all labels, except those of the metric that names the lease of a leader.
    pub fn label_values(&self) -> impl Iterator<Item = &str> {
        let series = self.samples.keys();
        let others = series.filter(|(name, _)| name != "leader_election_master_status");
        others.flat_map(|(_, labels)| labels.values().map(String::as_str))
    }

    fn check_histogram(&self, name: &str) {
        let mut counts = BTreeMap::<Labels, Vec<(f64, f64)>>::new();
        for ((bucket, labels), value) in &self.samples {
            if *bucket == format!("{name}_bucket") {
                let mut labels = labels.clone();
                let bound = labels.remove("le").expect("a bound");
                let bound = bound.replace("+Inf", "inf").parse().expect("a number");
                counts.entry(labels).or_default().push((bound, *value));
            }
        }
        for (labels, mut buckets) in counts {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(
                buckets.is_sorted_by(|one, other| one.1 <= other.1),
                "{name} {labels:?}: {buckets:?}"
            );
            let (bound, total) = *buckets.last().expect("a bucket");
            let count = self.samples[&(format!("{name}_count"), labels.clone())];
            assert!(bound.is_infinite(), "{name} {labels:?}");
            assert!((total - count).abs() < f64::EPSILON, "{name} {labels:?}");
            assert!(self.samples.contains_key(&(format!("{name}_sum"), labels)));
        }
    }
}

/// Checks that a sample's metric was declared before, and that its name has the right suffix.
fn check_name(name: &str, types: &BTreeMap<String, String>, helps: &BTreeSet<String>) {
    let suffixes = ["_bucket", "_count", "_sum"];
    let histogram = suffixes
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .find(|base| types.get(*base).is_some_and(|type_| type_ == "histogram"));
    let base = histogram.unwrap_or(name);
    let type_ = types.get(base);
    let type_ = type_.unwrap_or_else(|| panic!("{name} has no type"));
    assert!(helps.contains(base), "{name} has no help");
    let is_counter = type_ == "counter";
    assert_eq!(is_counter, base.ends_with("_total"), "{name} is a {type_}");
}

fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value = value.parse().expect("a number");
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), Labels::new(), value);
    };
    let labels = labels.strip_suffix('}').expect("labels");
    let pairs = labels.trim_end_matches(',').split(',');
    let labels = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').expect("a label");
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        (key.to_owned(), value.expect("a quoted value").to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}
