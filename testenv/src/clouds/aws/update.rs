//! An update of a cluster or a nodegroup.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    call::Asked,
    config::Config,
    resources::{Id, Resources},
    work::{End, Work},
};

/// What an update changes, with its new value.
pub(super) type Param = (&'static str, String);

/// What a request begins.
pub(super) struct Plan {
    pub kind: Kind,
    pub params: Vec<Param>,
    pub change: Change,
}

impl Plan {
    /// A nodegroup goes.
    pub fn deletion() -> Self {
        Self {
            kind: Kind::Deletion,
            params: Vec::new(),
            change: Change::Gone,
        }
    }
}

/// What kind of work it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    VersionUpdate,
    VersionRollback,
    ConfigUpdate,
    /// A nodegroup goes. EKS has no update for that.
    Deletion,
}

impl Kind {
    /// As EKS writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::VersionUpdate => "VersionUpdate",
            Self::VersionRollback => "VersionRollback",
            Self::ConfigUpdate => "ConfigUpdate",
            Self::Deletion => "Deletion",
        }
    }
}

/// What its resource is when it has succeeded.
pub(super) enum Change {
    /// At a version; a nodegroup at a release of it.
    Version {
        version: String,
        release: Option<String>,
    },
    Config(Box<Config>),
    Gone,
}

/// How it stands.
#[derive(PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Successful,
    Cancelled,
    /// With a code and a message.
    Failed(String, String),
}

impl Status {
    /// As EKS writes it.
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
    /// Whether the nodes of an EKS Auto Mode cluster roll back. The control plane does so after them.
    pub rolls_nodes_back: bool,
    pub cancellation: Option<Value>,
    /// Whether nobody can ask for it by its id any more.
    pub is_forgotten: bool,
    /// By which request it was begun.
    pub asked: Asked,
}

impl Update {
    /// Whether it goes on.
    pub fn is_in_progress(&self) -> bool {
        self.status == Status::InProgress
    }

    /// Whether EKS shows it.
    pub fn is_shown(&self) -> bool {
        self.plan.kind != Kind::Deletion && !self.is_forgotten
    }

    /// What its resource's status is while it goes on. A cluster whose nodes roll back is as active as ever.
    pub fn status_of_resource(&self) -> &'static str {
        match self.plan.kind {
            Kind::Deletion => "DELETING",
            _ if self.rolls_nodes_back => "ACTIVE",
            _ => "UPDATING",
        }
    }

    /// Stops it, where it still can be.
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

    /// Its nodes are back: the control plane rolls back now, whether or not that was to be cancelled.
    pub fn nodes_are_back(&mut self) {
        self.rolls_nodes_back = false;
        if self.work.is_stopping() {
            self.work.go_on();
            let reason = "The control plane rollback has already begun.";
            self.cancellation = Some(json!({"status": "Failed", "reason": reason}));
        }
    }

    /// Brings it to its end, and its resource with it.
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

    /// As EKS shows it.
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
