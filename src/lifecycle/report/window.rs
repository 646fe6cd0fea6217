//! What waits for a maintenance window, as clusters and pools show it. They are Ready meanwhile: they are as their specs ask
//! for now, and a tool that waits for Ready, such as Flux, isn't kept waiting until the window opens.

use std::collections::BTreeSet;

use crate::{
    api::{Aspect, Hold},
    lifecycle::{desired, facts::Target, gate, windows::Windows},
};

use super::Report;

/// Whether a hold on these aspects ends by itself when a window opens.
pub fn is_until_window(hold: &Hold, aspects: &BTreeSet<Aspect>) -> bool {
    let mut aspects = aspects.iter();
    aspects.all(|aspect| hold.until_window.contains(aspect))
}

impl Report<'_, '_> {
    /// Returns what of a target waits for a window now, as the end of a sentence. None if nothing does.
    pub(super) fn waits_for_window(&self, target: &Target<'_>) -> Option<String> {
        let wait = self.facts.windows.wait();
        if wait.is_empty() || target.deleted.is_some() {
            return None;
        }
        if let Some(hold) = self.paused_by_window(target) {
            let name = &hold.operation.name;
            return Some(format!(
                "Operation {name} was paused when its maintenance window closed, and the rest of it {wait}"
            ));
        }
        let own = gate::awaited_operation(self.facts, target, None);
        let is_with_cluster = || {
            let cluster = &self.facts.cluster;
            let needs_it =
                self.waits_for_cluster(target) || gate::why_it_lags(self.facts, target).is_some();
            needs_it
                && (gate::awaited_operation(self.facts, cluster, None).is_some()
                    || self.paused_by_window(cluster).is_some())
        };
        if own.is_none() && !is_with_cluster() {
            return None;
        }
        let wanted = match own.and_then(|own| own.kubernetes_version) {
            Some(wanted) => Some(wanted),
            None => desired::wanted_version(target).map(|version| version.to_string()),
        };
        let wanted = wanted.unwrap_or_default();
        Some(format!("the change to {wanted} {wait}"))
    }

    /// Returns the hold on a target that ends when a window opens, if nothing else is on hold.
    fn paused_by_window(&self, target: &Target<'_>) -> Option<Hold> {
        let (hold, aspects) = self.hold(target)?;
        is_until_window(&hold, &aspects).then_some(hold)
    }

    /// Returns why it isn't known when a window is open: on the cluster always, on a pool for which a change waits.
    pub(super) fn window_is_invalid(&self, target: &Target<'_>, waits: bool) -> Option<String> {
        let is_cluster = target.is_cluster() && target.deleted.is_none();
        match &self.facts.windows {
            Windows::Unknown(why) if waits || is_cluster => Some(format!(
                "{why}. Until then no change of a version begins by itself"
            )),
            _ => None,
        }
    }
}
