//! What the core asks the shell to do. The shell does them in order and stops at the first that fails;
//! the order is safe to crash anywhere in.

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
    /// Keep an object until its work has ended. The same write makes the cluster a pool's owner, and labels an
    /// Operation with its own uid, so that a copy of it can be recognised.
    AddFinalizer(ObjectId),
    /// Let go of an object.
    RemoveFinalizer(ObjectId),
    /// Make the cluster the owner of a pool that is kept.
    AdoptPool(String),
    /// Put a label on an object by which the API server finds it, or take it away.
    Label {
        /// The object.
        id: ObjectId,
        /// The label's key.
        label: &'static str,
        /// Whether the object is to have it.
        has: bool,
    },
    /// Delete a pool of a cluster that is going.
    DeletePool(String),
    /// Create an Operation; its name makes a second creation harmless.
    CreateOperation(Box<Operation>),
    /// Delete an Operation that ended, for there are newer ones enough.
    DeleteOperation(String),
    /// Write what a person's Operation asks for into its target's spec, or delete its target.
    ChangeSpec {
        /// The Operation's uid.
        uid: String,
        /// What is to change.
        change: SpecChange,
    },
    /// Tell the work of an Operation to stop.
    StopWork {
        /// The Operation's uid.
        uid: String,
        /// How.
        stop: Stop,
    },
    /// Write an Operation's status.
    WriteOperationStatus {
        /// The Operation's name.
        name: String,
        /// All of its status.
        status: Box<OperationStatus>,
    },
    /// Write a pool's status.
    WritePoolStatus {
        /// The pool's name.
        name: String,
        /// All of its status.
        status: Box<AgentPoolStatus>,
    },
    /// Write the cluster's status, and the lock with it.
    WriteClusterStatus(Box<ManagedClusterStatus>),
    /// Start the work of an Operation, in a task of its own.
    StartWork {
        /// What is to be brought about.
        job: Box<Job>,
        /// How it starts: `No` for work, otherwise to come to a stop what a restart left begun.
        stop: Stop,
    },
    /// Forget the work of an Operation that has ended.
    ForgetWork {
        /// The Operation's uid.
        uid: String,
    },
    /// Leave nothing in the middle of the work of these Operations, by their uids: they have ended.
    Mend {
        /// The Operations' uids.
        uids: BTreeSet<String>,
    },
    /// Ask the API server whether an Operation that holds the lock is there still: no store shows it.
    LookForOperation {
        /// The Operation's name.
        name: String,
        /// The Operation's uid.
        uid: String,
    },
    /// Publish an Event on an Operation and on its target.
    Publish(Note),
}
