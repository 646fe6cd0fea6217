//! The chart's dashboard and alerts, checked with a real Prometheus that scrapes a real operator.

use std::{
    fs,
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use belay::api::{OperationPhase, OperationType};
use serde_json::Value;
use testenv::Process;

use crate::{
    stage::belay::{Belay, World},
    telemetry::metrics,
};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/belay");
/// A window that contains the whole run.
const WINDOW: &str = "1h";

struct Prometheus {
    _process: Process,
    url: String,
    _folder: tempfile::TempDir,
}

/// The result of a query: a label set and a value for each series.
type Series = Vec<(Value, f64)>;

impl Prometheus {
    /// Starts a Prometheus that scrapes this address every second, with the chart's alerts.
    async fn start(belay: &Belay, address: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let rules = folder.path().join("rules.yaml");
        fs::write(&rules, alerts()).expect("written");
        promtool(&[
            "check",
            "rules",
            "--lint=all",
            "--lint-fatal",
            &rules.display().to_string(),
        ]);
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs: [{{job_name: belay, static_configs: [{{targets: [\"{address}\"]}}]}}]\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, config).expect("written");
        promtool(&["check", "config", &file.display().to_string()]);
        let log = folder.path().join("log");
        let flags = [
            format!("--config.file={}", file.display()),
            format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ),
            "--web.listen-address=127.0.0.1:0".to_owned(),
        ];
        let program = testenv::binary("prometheus").expect("prometheus");
        let process = Process::start_with(&program, &flags, &[], &log).expect("started");
        belay
            .eventually("Prometheus listens", || async {
                listen_address(&log).is_some()
            })
            .await;
        Self {
            _process: process,
            url: format!("http://{}", listen_address(&log).expect("an address")),
            _folder: folder,
        }
    }

    fn query(&self, expression: &str) -> Series {
        let answer = promtool(&["query", "instant", "-o", "json", &self.url, expression]);
        let series: Vec<Value> = serde_json::from_str(&answer).expect("series");
        let sample = |of: &Value| {
            let value = of["value"][1].as_str().expect("a value");
            (of["metric"].clone(), value.parse().expect("a number"))
        };
        series.iter().map(sample).collect()
    }
}

fn listen_address(log: &Path) -> Option<String> {
    let log = fs::read_to_string(log).ok()?;
    let (_, rest) = log.split_once("msg=\"Listening on\"")?;
    let (_, address) = rest.split_once("address=")?;
    address.split_whitespace().next().map(str::to_owned)
}

fn promtool(args: &[&str]) -> String {
    let program: PathBuf = testenv::binary("promtool").expect("promtool");
    let output = Command::new(program).args(args).output().expect("runs");
    let output_text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "promtool {args:?}: {output_text}{errors}"
    );
    output_text
}

/// Returns the chart's alerts. A blocked operation becomes an alert after one second.
fn alerts() -> String {
    let helm = testenv::binary("helm").expect("helm");
    let values = "metrics.prometheusRule.enabled=true,metrics.prometheusRule.blockedSeconds=1";
    let output = Command::new(helm)
        .args(["template", "belay", CHART, "--set", values])
        .args(["--api-versions", "monitoring.coreos.com/v1/PrometheusRule"])
        .args(["--show-only", "templates/prometheusrule.yaml"])
        .output()
        .expect("runs");
    assert!(output.status.success(), "{output:?}");
    let manifest = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, spec) = manifest.split_once("\nspec:\n").expect("a spec");
    spec.to_owned()
}

/// Returns the dashboard's queries, each with the legend of its lines.
fn panels() -> Vec<(String, String)> {
    let dashboard = fs::read_to_string(format!("{CHART}/files/dashboard.json")).expect("a file");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let text = |of: &Value| of.as_str().expect("a text").to_owned();
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| (text(&target["expr"]), text(&target["legendFormat"])))
        .collect()
}

/// Returns the labels that a legend names, except the label of the pod, which comes from Kubernetes.
fn labels(legend: &str) -> impl Iterator<Item = &str> {
    let parts = legend.split("{{").skip(1);
    let labels = parts.filter_map(|part| part.split_once("}}").map(|(label, _)| label));
    labels.filter(|label| *label != "pod")
}

pub async fn the_dashboard_has_data_and_an_alert_fires_for_a_blocked_operation(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let (_operator, log) = belay.operator(&[metrics::OWN_ADDRESS]);
    let address = metrics::address(&belay, &log).await;
    let prometheus = Prometheus::start(&belay, &address).await;
    let upgrade = belay.blocked_upgrade().await;
    belay
        .eventually("an alert fires", || async {
            let firing = "ALERTS{alertname=\"BelayOperationBlocked\", alertstate=\"firing\"}";
            let alerts = prometheus.query(firing);
            alerts
                .iter()
                .any(|(labels, _)| labels["reason"] == "PodDisruptionBudget")
        })
        .await;
    // If a scrape is late, the series has a gap.
    belay
        .eventually("a metric shows the time of the block", || async {
            let oldest = "max by (reason) (belay_operations_blocked_oldest_seconds)";
            let blocked = prometheus.query(oldest);
            blocked.iter().any(|(_, seconds)| *seconds > 1.0)
        })
        .await;
    belay.abort(&upgrade, "enough").await;
    belay.is_in_phase(&upgrade, OperationPhase::Canceled).await;
    for (expression, legend) in panels() {
        let expression = expression.replace("$__rate_interval", WINDOW);
        // No operation is blocked at this time.
        if expression.contains("blocked_oldest") {
            continue;
        }
        belay
            .eventually(&format!("Prometheus has data for {expression}"), || async {
                let series = prometheus.query(&expression);
                !series.is_empty()
                    && series.iter().any(|(_, value)| value.is_finite())
                    && series
                        .iter()
                        .all(|(named, _)| labels(&legend).all(|label| !named[label].is_null()))
            })
            .await;
    }
    let ended =
        format!("sum by (type, result) (increase(belay_operations_finished_total[{WINDOW}]))");
    belay
        .eventually("Prometheus counts the canceled operation", || async {
            prometheus.query(&ended).iter().any(|(of, number)| {
                of["type"] == format!("{:?}", OperationType::Upgrade)
                    && of["result"] == "Canceled"
                    && *number > 0.9
            })
        })
        .await;
    check_exposition(&metrics::get(&address, "/metrics").1);
}

/// Checks a scrape with `promtool check metrics`.
fn check_exposition(scrape: &str) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(scrape.as_bytes()).expect("written");
    file.rewind().expect("rewound");
    let promtool = testenv::binary("promtool").expect("promtool");
    let output = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(file)
        .output()
        .expect("runs");
    let problems = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && problems.is_empty(), "{problems}");
}
