//! [`MaintenanceWindow`]: when a cluster may be upgraded.

use kube::{KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time, repeated each week, in which changes of a Kubernetes version may begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// The days on which the window opens, in its time zone. If absent, it opens every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub days: Vec<Weekday>,

    /// When the window opens, HH:MM, in its time zone. If a clock change skips this time, the window opens as much later as
    /// the clock was put forward. If the time occurs twice, the window opens once, at the first time.
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')").message("must be HH:MM from 00:00 to 23:59, for example 22:00"))]
    pub start: String,

    /// How long the window is open: 15m to 24h. It may go past midnight. A clock change doesn't make it shorter or longer.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('15m') && duration(self) <= duration('24h')").message("must be a duration from 15m to 24h, for example 4h"))]
    pub duration: Duration,

    /// The time zone of `days` and `start`: a name of the IANA database, such as Europe/Berlin.
    #[serde(default = "default_time_zone")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$')").message("must be a name of the IANA time zone database, for example Europe/Berlin"))]
    pub time_zone: String,

    /// What happens when the window closes to an operation that had to wait for it.
    #[serde(default)]
    pub at_end: AtEnd,
}

fn default_time_zone() -> String {
    "UTC".into()
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "a day needs no explanation")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// What happens to an operation that runs when its window closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AtEnd {
    /// It goes on to its end.
    #[default]
    Continue,
    /// It stops after the step in progress, and Belay goes on with the rest when a window opens.
    Pause,
}
