//! An update of a cluster or a nodegroup.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    call::Asked,
    config::Config,
    resources::{Id, Resources},
    work::{End, Work},
};

/// A parameter of an update, with its new value.
pub(super) type Param = (&'static str, String);

/// The update that a request starts.
pub(super) struct Plan {
    pub kind: Kind,
    pub params: Vec<Param>,
    pub change: Change,
}

impl Plan {
    /// Deletes a nodegroup.
    pub fn deletion() -> Self {
        Self {
            kind: Kind::Deletion,
            params: Vec::new(),
            change: Change::Gone,
        }
    }
}

/// The kind of an update.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    VersionUpdate,
    VersionRollback,
    ConfigUpdate,
    /// The deletion of a nodegroup. EKS shows no update for it.
    Deletion,
}

impl Kind {
    /// Returns the kind as EKS writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::VersionUpdate => "VersionUpdate",
            Self::VersionRollback => "VersionRollback",
            Self::ConfigUpdate => "ConfigUpdate",
            Self::Deletion => "Deletion",
        }
    }
}

/// The change that a successful update makes to its resource.
pub(super) enum Change {
    /// A new version; for a nodegroup also a release of this version.
    Version {
        version: String,
        release: Option<String>,
    },
    Config(Box<Config>),
    Gone,
}

/// The status of an update.
#[derive(PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Successful,
    Cancelled,
    /// Failed with a code and a message.
    Failed(String, String),
}

impl Status {
    /// Returns the status as EKS writes it.
    pub fn text(&self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
            Self::Cancelled => "Cancelled",
            Self::Failed(..) => "Failed",
        }
    }
}

/// One update.
pub(super) struct Update {
    pub id: String,
    pub on: Id,
    pub plan: Plan,
    pub status: Status,
    pub created: Timestamp,
    pub work: Work,
    /// Whether the nodes of an EKS Auto Mode cluster are rolling back. The control plane rolls back after them.
    pub rolls_nodes_back: bool,
    pub cancellation: Option<Value>,
    /// Whether the update can no longer be found by its id.
    pub is_forgotten: bool,
    /// The request that started it.
    pub asked: Asked,
}

impl Update {
    /// Whether it is in progress.
    pub fn is_in_progress(&self) -> bool {
        self.status == Status::InProgress
    }

    /// Whether EKS shows it.
    pub fn is_shown(&self) -> bool {
        self.plan.kind != Kind::Deletion && !self.is_forgotten
    }

    /// Returns the status of its resource while it is in progress. A cluster whose nodes roll back stays `ACTIVE`.
    pub fn status_of_resource(&self) -> &'static str {
        match self.plan.kind {
            Kind::Deletion => "DELETING",
            _ if self.rolls_nodes_back => "ACTIVE",
            _ => "UPDATING",
        }
    }

    /// Stops it, if it can still be stopped.
    pub fn cancel(&mut self) -> Result<(), String> {
        if !self.is_in_progress() || !self.rolls_nodes_back {
            let (kind, status) = (self.plan.kind.text(), self.status.text());
            return Err(format!(
                "Update {} cannot be cancelled: its type is {kind} and its status is {status}. Only a VersionRollback of an EKS Auto Mode cluster can be cancelled, while its nodes are rolling back.",
                self.id
            ));
        }
        if !self.work.is_stopping() {
            self.work.stop();
            self.cancellation = Some(json!({"status": "InProgress"}));
        }
        Ok(())
    }

    /// Ends the rollback of the nodes: the control plane rolls back now. A pending cancellation fails.
    pub fn nodes_are_back(&mut self) {
        self.rolls_nodes_back = false;
        if self.work.is_stopping() {
            self.work.go_on();
            let reason = "The control plane rollback has already begun.";
            self.cancellation = Some(json!({"status": "Failed", "reason": reason}));
        }
    }

    /// Ends it, and updates its resource.
    pub fn finish(&mut self, end: End, resources: &mut Resources) {
        self.status = match end {
            End::Done => Status::Successful,
            End::Stopped => Status::Cancelled,
            End::Failed(code, message) => Status::Failed(code, message),
        };
        if self.status == Status::Cancelled {
            self.cancellation = Some(json!({"status": "Successful"}));
        }
        if self.status == Status::Successful {
            self.apply(resources);
        }
        let mut fields = json!({"status": "ACTIVE"});
        if let (Status::Failed(code, message), Kind::Deletion) = (&self.status, self.plan.kind) {
            let issue = json!({"code": code, "message": message, "resourceIds": [self.on.name()]});
            fields = json!({"status": "DELETE_FAILED", "health": {"issues": [issue]}});
        }
        resources.set(&self.on, &fields);
    }

    fn apply(&self, resources: &mut Resources) {
        match &self.plan.change {
            Change::Gone => resources.remove(&self.on),
            Change::Config(config) => {
                let nodegroup = resources.get_mut(&self.on).into_iter();
                nodegroup.for_each(|nodegroup| config.apply(nodegroup));
            }
            Change::Version { version, release } => {
                let mut fields = json!({"version": version});
                if let Some(release) = release {
                    fields["releaseVersion"] = json!(release);
                }
                resources.set(&self.on, &fields);
            }
        }
    }

    /// Returns it as EKS shows it.
    pub fn shown(&self) -> Value {
        let params = self.plan.params.iter();
        let params = params.map(|(name, value)| json!({"type": name, "value": value}));
        let errors = match &self.status {
            Status::Failed(code, message) => {
                json!([{"errorCode": code, "errorMessage": message, "resourceIds": [self.on.name()]}])
            }
            _ => json!([]),
        };
        let mut shown = json!({"id": self.id, "status": self.status.text(), "type": self.plan.kind.text(),
            "params": params.collect::<Vec<_>>(), "createdAt": self.created.as_duration().as_secs_f64(),
            "errors": errors});
        if let Some(cancellation) = &self.cancellation {
            shown["cancellation"] = cancellation.clone();
        }
        shown
    }
}
