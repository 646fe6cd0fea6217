//! The updates of clusters and nodegroups.

use std::{collections::BTreeSet, time::Duration};

use super::{
    answers::Refusal,
    call::Call,
    now,
    resources::{Id, Resources},
    signature::hash,
    update::{Kind, Plan, Status, Update},
    work::{Pace, Work},
};

/// All updates.
#[derive(Default)]
pub(super) struct Updates {
    all: Vec<Update>,
    pace: Pace,
    /// The clusters whose rollbacks have left the phase in which nodes roll back.
    back: BTreeSet<String>,
}

impl Updates {
    /// Sets how long an update takes, and how long an update takes to stop.
    pub fn takes(&mut self, update: Duration, cancel: Duration) {
        self.pace.set(update, cancel);
    }

    /// Pauses the updates of resources with this name, or lets them continue.
    pub fn hold(&mut self, name: &str, is_held: bool) {
        self.pace.hold(name, is_held);
    }

    /// Makes the next update of a resource with this name fail.
    pub fn fail_next(&mut self, name: &str, code: &str, message: &str) {
        self.pace.fail_next(name, code, message);
    }

    /// Forgets all updates by their ids and by the tokens of their requests. Updates in progress continue.
    pub fn forget(&mut self) {
        for update in &mut self.all {
            update.is_forgotten = true;
        }
    }

    /// Turns the rollback of a cluster into a rollback of its control plane from now on.
    pub fn nodes_are_back(&mut self, cluster: &str, resources: &mut Resources) {
        self.back.insert(cluster.to_owned());
        let on = Id::cluster(cluster);
        let all = self.all.iter_mut();
        for update in all.filter(|update| update.on == on && update.is_in_progress()) {
            update.nodes_are_back();
            resources.set_status(&on, update.status_of_resource());
        }
    }

    /// Returns the ids of the updates of a cluster itself or of a nodegroup, in no particular order.
    pub fn ids(&self, on: &Id) -> Vec<String> {
        let all = self.all.iter().filter(|update| update.on == *on);
        let ids: BTreeSet<_> = all
            .filter(|update| update.is_shown())
            .map(|update| update.id.clone())
            .collect();
        ids.into_iter().collect()
    }

    /// Returns an update by its id.
    pub fn get(&mut self, on: &Id, id: &str) -> Result<&mut Update, Refusal> {
        let mut all = self.all.iter_mut();
        let found = all.find(|update| update.on == *on && update.id == id && update.is_shown());
        found.ok_or_else(|| Refusal::not_found(format!("No update found for ID: {id}")).about(on))
    }

    /// Returns the update that the same request has already started.
    pub fn repeated(&self, call: &Call) -> Result<Option<&Update>, Refusal> {
        let Some(token) = &call.asked.token else {
            return Ok(None);
        };
        let mut all = self.all.iter().filter(|update| !update.is_forgotten);
        let Some(update) = all.find(|update| update.asked.token.as_ref() == Some(token)) else {
            return Ok(None);
        };
        if update.asked == call.asked {
            return Ok(Some(update));
        }
        let message = "The client request token was already used with other parameters.";
        Err(Refusal::parameter(message).about(&update.on))
    }

    /// Returns why no update can start on a resource now.
    pub fn in_the_way_of(&self, on: &Id, kind: Kind) -> Option<Refusal> {
        let mut all = self.all.iter();
        let other = all.find(|other| other.is_in_progress() && other.on.excludes(on))?;
        if other.on == *on && on.is_nodegroup() {
            return Some(Refusal::busy(on));
        }
        let message = format!(
            "Cannot {} because {} currently has update {} in progress",
            kind.text(),
            other.on.what(),
            other.id
        );
        Some(Refusal::in_use(message).about(on))
    }

    /// Starts an update for a request.
    pub fn begin(
        &mut self,
        on: &Id,
        plan: Plan,
        call: &Call,
        resources: &mut Resources,
    ) -> &Update {
        let at = self.all.len();
        let rolls_nodes_back = plan.kind == Kind::VersionRollback
            && resources.is_auto(on)
            && !self.back.contains(on.name());
        let update = Update {
            id: unique(at),
            on: on.clone(),
            plan,
            status: Status::InProgress,
            created: now(),
            work: Work::default(),
            rolls_nodes_back,
            cancellation: None,
            is_forgotten: false,
            asked: call.asked.clone(),
        };
        resources.set_status(on, update.status_of_resource());
        self.all.push(update);
        &self.all[at]
    }

    /// Ends the updates whose time is over, and updates their resources.
    pub fn settle(&mut self, resources: &mut Resources) {
        let passed = self.pace.passed();
        let all = self.all.iter_mut();
        for update in all.filter(|update| update.is_in_progress()) {
            let name = update.on.name();
            if let Some(end) = self.pace.advance(&mut update.work, name, passed) {
                update.finish(end, resources);
            }
        }
    }
}

/// Returns an id that doesn't show when it was made.
fn unique(number: usize) -> String {
    let hash = hash(number.to_string().as_bytes());
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hash[part]);
    parts.join("-")
}
