//! The events of an episode.

use std::{fmt, time::Duration};

use crate::faults::{Fault, Stream};

/// An event, some time after the previous one.
#[derive(Clone, Debug)]
pub struct Event {
    pub after: Duration,
    pub what: What,
}

/// The pools that users work on.
pub const POOLS: [&str; 3] = ["np1", "np2", "np3"];

/// The kinds of events. A number that selects one of several objects is taken modulo their number.
#[derive(Clone, Debug)]
pub enum What {
    // Changes of the cluster by users.
    Version(&'static str),
    Policy(&'static str),
    ClusterPower(&'static str),
    ProvisioningTime(&'static str),
    DeleteCluster,
    CreateCluster,
    // Changes of a pool by users.
    Count(&'static str, usize),
    ScaleSubresource(&'static str, usize),
    Labels(&'static str, usize),
    Surge(&'static str, usize, usize),
    PoolPower(&'static str, &'static str),
    DeletePool(&'static str),
    CreatePool(&'static str, usize),
    // Operations and aborts by users.
    OperationOnCluster(&'static str),
    OperationOnPool(&'static str, &'static str),
    Abort(usize, Option<&'static str>),
    AbortOnCluster,
    AbortOnPool(&'static str),
    DeleteOperation(usize),
    // Changes by others.
    ProtectedPods(usize),
    DeleteNode(usize),
    Cordon(usize, bool),
    DeletePod(usize),
    // Faults of the operator.
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
