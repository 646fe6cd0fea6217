//! Results of reconciles, counted as in controller-runtime.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::{CONTROLLER, Labels};

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did everything that was decided.
    Done,
    /// It waits until a watch shows something.
    Waits,
    /// It failed, with an error of this category.
    Failed(&'static str),
}

/// Counts reconciles.
#[derive(Clone)]
pub struct Reconciles {
    total: Family<Labels<2>, Counter>,
    errors: Family<Labels<2>, Counter>,
    seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
}

impl Reconciles {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let this = Self {
            total: Family::default(),
            errors: Family::default(),
            seconds: Family::new_with_constructor(|| {
                Histogram::new([
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
                    30.0, 60.0,
                ])
            }),
        };
        registry.register(
            "controller_runtime_reconcile",
            "Reconciles of a cluster, by result",
            this.total.clone(),
        );
        registry.register(
            "controller_runtime_reconcile_errors",
            "Reconciles that failed and are tried again, by category of the error",
            this.errors.clone(),
        );
        registry.register(
            "controller_runtime_reconcile_time_seconds",
            "How long a reconcile took",
            this.seconds.clone(),
        );
        this
    }

    /// Counts a reconcile that ended.
    pub fn ended(&self, outcome: Outcome, took: Duration) {
        let controller = ("controller", CONTROLLER.to_owned());
        let result = match outcome {
            Outcome::Done => "success",
            Outcome::Waits => "requeue_after",
            Outcome::Failed(category) => {
                let labels = [controller.clone(), ("category", category.into())];
                self.errors.get_or_create(&labels).inc();
                "error"
            }
        };
        self.total
            .get_or_create(&[controller.clone(), ("result", result.into())])
            .inc();
        self.seconds
            .get_or_create(&[controller])
            .observe(took.as_secs_f64());
    }
}
