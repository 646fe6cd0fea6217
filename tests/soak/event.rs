//! The events of an episode.

use std::{fmt, time::Duration};

use crate::faults::{Fault, Stream};

/// An event, some time after the previous one.
#[derive(Clone, Debug)]
pub struct Event {
    pub after: Duration,
    pub what: What,
}

/// The pools that people know.
pub const POOLS: [&str; 3] = ["np1", "np2", "np3"];

/// The kinds of events. A number that selects one of several objects is taken modulo their number.
#[derive(Clone, Debug)]
pub enum What {
    // What people want of the cluster.
    Version(&'static str),
    Policy(&'static str),
    ClusterPower(&'static str),
    ProvisioningTime(&'static str),
    DeleteCluster,
    MakeCluster,
    // What people want of a pool.
    Count(&'static str, usize),
    ScaleSubresource(&'static str, usize),
    Labels(&'static str, usize),
    Surge(&'static str, usize, usize),
    PoolPower(&'static str, &'static str),
    DeletePool(&'static str),
    MakePool(&'static str, usize),
    // What people want of operations.
    AskCluster(&'static str),
    AskPool(&'static str, &'static str),
    Abort(usize, Option<&'static str>),
    AbortOnCluster,
    AbortOnPool(&'static str),
    DeleteOperation(usize),
    // What others do to the cluster.
    Keep(usize),
    DeleteNode(usize),
    Cordon(usize, bool),
    DeletePod(usize),
    // What happens to the operator.
    Dies,
    DiesAt(usize, Fault),
    Refused(usize, usize, Fault),
    Watches(&'static str, Stream, Duration),
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "after {:?}: {:?}", self.after, self.what)
    }
}
