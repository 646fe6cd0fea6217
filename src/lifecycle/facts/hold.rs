//! What is on hold now. A hold records what was asked for when it began. It ends, aspect by aspect, when the spec
//! asks for something else.

use crate::{
    api::{AskedFor, Aspect, Hold},
    lifecycle::{plan::Aspects, windows::Windows},
};

/// The aspects of a target that are on hold, by the operation that caused the hold.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Caused by an operation on the target itself.
    pub own: Aspects,
    /// On a pool: caused by an operation on its cluster.
    pub by_cluster: Aspects,
}

impl Held {
    /// Returns all of them.
    pub fn all(&self) -> Aspects {
        self.own.union(&self.by_cluster).copied().collect()
    }

    /// Adds the count if the power is on hold and differs from the spec: a pool that has to stay on or off keeps its
    /// number of nodes.
    pub fn with_count(self, power_differs: bool) -> Self {
        let with_count = |mut aspects: Aspects| {
            if power_differs && aspects.contains(&Aspect::Power) {
                aspects.insert(Aspect::Count);
            }
            aspects
        };
        Self {
            own: with_count(self.own),
            by_cluster: with_count(self.by_cluster),
        }
    }
}

/// Returns the aspects that a hold still covers, now that the spec asks for `now`.
///
/// After a failure an edit may be the fix: an edit of the version, the settings or the options ends the whole hold.
/// An edit of only the count or the power, as autoscalers make it, ends the hold on these two.
///
/// What the end of a maintenance window paused isn't held while a window is open.
pub fn held_back(hold: Option<&Hold>, now: &AskedFor, windows: &Windows) -> Aspects {
    let Some(hold) = hold else {
        return Aspects::new();
    };
    let then = &hold.asked_for;
    let differs = |aspect: Aspect| then.differs(now, aspect);
    let was_mended =
        differs(Aspect::Version) || differs(Aspect::Settings) || then.options != now.options;
    let was_resized = differs(Aspect::Count) || differs(Aspect::Power);
    let ends = |aspect: Aspect| match aspect {
        aspect if !hold.is_after_failure(aspect) => differs(aspect),
        Aspect::Count | Aspect::Power => was_mended || was_resized,
        aspect => was_mended || differs(aspect),
    };
    let aspects = hold.aspects.iter().copied();
    let goes_on = |aspect: &Aspect| !windows.keep_waiting() && hold.until_window.contains(aspect);
    aspects
        .filter(|aspect| !ends(*aspect) && !goes_on(aspect))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{OperationPhase, OperationReference, OperationTarget, PowerState, TargetKind};

    fn asked() -> AskedFor {
        AskedFor {
            kubernetes_version: Some("1.36.3".into()),
            count: Some(3),
            power_state: Some(PowerState::Running),
            settings: Some("a".into()),
            options: Some("a".into()),
        }
    }

    fn hold(phase: OperationPhase) -> Hold {
        Hold {
            operation: OperationReference::default(),
            target: OperationTarget {
                kind: TargetKind::AgentPool,
                name: "np1".into(),
            },
            phase,
            message: String::new(),
            since: None,
            aspects: ALL.to_vec(),
            ended_otherwise: Vec::new(),
            until_window: Vec::new(),
            asked_for: asked(),
        }
    }

    const ALL: [Aspect; 5] = [
        Aspect::Version,
        Aspect::Count,
        Aspect::Power,
        Aspect::Settings,
        Aspect::Deletion,
    ];

    type Edit = fn(&mut AskedFor);

    #[test]
    fn an_edit_ends_the_hold_of_the_aspect_that_it_changes() {
        use Aspect::{Count, Deletion, Power, Settings, Version};
        use OperationPhase::{Canceled, Failed};
        let nothing: Edit = |_| ();
        let version: Edit = |asked| asked.kubernetes_version = Some("1.36.4".into());
        let count: Edit = |asked| asked.count = Some(5);
        let power: Edit = |asked| asked.power_state = Some(PowerState::Stopped);
        let settings: Edit = |asked| asked.settings = Some("b".into());
        let options: Edit = |asked| asked.options = Some("b".into());
        let table: [(OperationPhase, Edit, &[Aspect]); 12] = [
            (Canceled, nothing, &ALL),
            (Canceled, version, &[Count, Power, Settings, Deletion]),
            (Canceled, count, &[Version, Power, Settings, Deletion]),
            (Canceled, power, &[Version, Count, Settings, Deletion]),
            (Canceled, settings, &[Version, Count, Power, Deletion]),
            (Canceled, options, &ALL),
            (Failed, nothing, &ALL),
            (Failed, version, &[]),
            (Failed, count, &[Version, Settings, Deletion]),
            (Failed, power, &[Version, Settings, Deletion]),
            (Failed, settings, &[]),
            (Failed, options, &[]),
        ];
        for (row, (phase, edit, left)) in table.into_iter().enumerate() {
            let mut now = asked();
            edit(&mut now);
            let held: Vec<_> = held_back(Some(&hold(phase)), &now, &Windows::None)
                .into_iter()
                .collect();
            assert_eq!(held, left, "row {row}: {phase:?}");
        }
    }

    #[test]
    fn fixing_a_failure_does_not_end_the_hold_of_an_aborted_aspect() {
        use Aspect::{Count, Deletion, Power};
        let mut now = asked();
        now.settings = Some("b".into());
        for (phase, ended_otherwise) in [
            (OperationPhase::Failed, vec![Count, Power, Deletion]),
            (
                OperationPhase::Canceled,
                vec![Aspect::Version, Aspect::Settings],
            ),
        ] {
            let hold = Hold {
                ended_otherwise,
                ..hold(phase)
            };
            let held: Vec<_> = held_back(Some(&hold), &now, &Windows::None)
                .into_iter()
                .collect();
            assert_eq!(held, [Count, Power, Deletion], "{phase:?}");
        }
    }

    #[test]
    fn a_hold_of_a_different_power_state_also_holds_the_count() {
        let held = Held {
            own: [Aspect::Power].into(),
            by_cluster: Aspects::new(),
        };
        let holds_count = |differs: bool| held.clone().with_count(differs).all();
        assert!(holds_count(true).contains(&Aspect::Count));
        assert!(!holds_count(false).contains(&Aspect::Count));
    }
}
