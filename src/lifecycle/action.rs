//! What the core asks the shell to do. The shell performs the actions in order and stops at the first that fails. The
//! order is safe: the operator may crash between any two actions.

use std::collections::BTreeSet;

use crate::api::{AgentPoolStatus, ManagedClusterStatus, Operation, OperationStatus};

use super::{
    gate::SpecChange,
    plan::Job,
    report::Note,
    snapshot::{ObjectId, Stop},
};

/// One thing to write or to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Adds the finalizer to an object, so that it stays until its work has ended. The same write makes the cluster
    /// the owner of a pool, and labels an Operation with its own uid, so that a copy of it can be recognized.
    AddFinalizer(ObjectId),
    /// Removes the finalizer from an object.
    RemoveFinalizer(ObjectId),
    /// Makes the cluster the owner of a pool that already has the finalizer.
    AdoptPool(String),
    /// Adds a label to an object, or removes it. Admission policies select objects by it.
    Label {
        /// The object.
        id: ObjectId,
        /// The label's key.
        label: &'static str,
        /// Whether the object has to have it.
        has: bool,
    },
    /// Deletes a pool of a cluster that is being deleted.
    DeletePool(String),
    /// Creates an Operation. Its name is deterministic, so a second creation does no harm.
    CreateOperation(Box<Operation>),
    /// Deletes an Operation that ended, because enough newer ones exist.
    DeleteOperation(String),
    /// Writes what a person's Operation asks for into its target's spec, or deletes its target.
    ChangeSpec {
        /// The Operation's uid.
        uid: String,
        /// What to change.
        change: SpecChange,
    },
    /// Asks the work of an Operation to stop.
    StopWork {
        /// The Operation's uid.
        uid: String,
        /// How to stop.
        stop: Stop,
    },
    /// Writes an Operation's status.
    WriteOperationStatus {
        /// The Operation's name.
        name: String,
        /// The complete new status.
        status: Box<OperationStatus>,
    },
    /// Writes a pool's status.
    WritePoolStatus {
        /// The pool's name.
        name: String,
        /// The complete new status.
        status: Box<AgentPoolStatus>,
    },
    /// Writes the cluster's status, which contains the lock.
    WriteClusterStatus(Box<ManagedClusterStatus>),
    /// Starts the work of an Operation in its own task.
    StartWork {
        /// What the work has to bring about.
        job: Box<Job>,
        /// How it starts: `No` to do the work; otherwise only to stop what an earlier process left in progress.
        stop: Stop,
    },
    /// Forgets the work of an Operation that has ended.
    ForgetWork {
        /// The Operation's uid.
        uid: String,
    },
    /// Cleans up what the work of these Operations left half-done. They have ended.
    Mend {
        /// The Operations' uids.
        uids: BTreeSet<String>,
    },
    /// Asks the API server whether an Operation that holds the lock still exists: no cache shows it.
    LookForOperation {
        /// The Operation's name.
        name: String,
        /// The Operation's uid.
        uid: String,
    },
    /// Publishes an Event on an Operation and on its target.
    Publish(Note),
}
