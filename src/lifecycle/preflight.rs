//! What will be in the way of an operation, as it is seen before the operation's work begins. It is a report: nothing
//! depends on it.

use serde::Serialize;

use crate::api::LONGEST_TEXT;

use super::text::{bounded, join_sentences};

/// The condition of an Operation that reports what will be in its way.
pub const PREFLIGHT: &str = "Preflight";
/// The reason if nothing was found.
const NOTHING: &str = "NothingInTheWay";
/// The reason if at least one budget will be in the way.
const BUDGETS: &str = "BudgetsInTheWay";
/// The reason if something else will be in the way, and no budget.
const FINDINGS: &str = "Findings";
/// The reason if nothing was found, but something couldn't be looked at.
const UNSEEN: &str = "NotLooked";
/// The room that is left for "and N more", in characters.
const ROOM_FOR_REST: usize = 80;

/// The kind of a finding. The kinds are in the order in which findings are listed: the ones that stop an operation
/// come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum FindingKind {
    /// A PodDisruptionBudget never allows a disruption.
    BudgetNeverAllows,
    /// Two PodDisruptionBudgets select one pod. The Eviction API refuses to evict such a pod.
    BudgetsOverlap,
    /// There is no room for the nodes that replace others.
    NoRoom,
    /// A pool would be too old or too new for its control plane.
    VersionSkew,
    /// A PodDisruptionBudget allows no disruption now.
    BudgetAllowsNoneNow,
    /// A volume of a pod exists only on the node that is deleted.
    VolumeOnNode,
    /// A pod has no controller that makes it again.
    NoController,
    /// A pod writes into a directory of the node that is deleted.
    HostPath,
}

impl FindingKind {
    fn is_budget(self) -> bool {
        matches!(
            self,
            Self::BudgetNeverAllows | Self::BudgetsOverlap | Self::BudgetAllowsNoneNow
        )
    }
}

/// Something that will be in the way of an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Its kind, in one word.
    pub reason: FindingKind,
    /// What will be in the way, by name.
    pub message: String,
    /// The command that helps.
    pub help: String,
}

/// What a look at the nodes concerned found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// What will be in the way, the worst first.
    pub findings: Vec<Finding>,
    /// What couldn't be looked at, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

impl Preflight {
    /// Returns a look that couldn't be taken.
    pub fn unseen(why: impl Into<String>) -> Self {
        Self {
            findings: Vec::new(),
            unseen: vec![why.into()],
        }
    }

    /// Returns the status of the condition, its reason, and its message.
    pub fn condition(&self) -> (&'static str, &'static str, String) {
        if !self.findings.is_empty() {
            let has_budget = self.findings.iter().any(|it| it.reason.is_budget());
            let reason = if has_budget { BUDGETS } else { FINDINGS };
            return ("False", reason, self.message());
        }
        if !self.unseen.is_empty() {
            return ("Unknown", UNSEEN, bounded(&self.unseen.join("; ")));
        }
        let nothing = "nothing is in the way of this operation now".to_owned();
        ("True", NOTHING, nothing)
    }

    /// Returns the findings in one text. Findings that don't fit into a status are counted.
    fn message(&self) -> String {
        let mut text = String::new();
        let mut left = self.findings.len();
        for finding in &self.findings {
            let next = join_findings(&text, finding);
            if next.chars().count() + ROOM_FOR_REST > LONGEST_TEXT && !text.is_empty() {
                break;
            }
            text = next;
            left -= 1;
        }
        if left > 0 {
            text = format!("{text}; and {left} more");
        }
        if !self.unseen.is_empty() {
            text = join_sentences(&text, &format!("Not looked at: {}", self.unseen.join("; ")));
        }
        bounded(&text)
    }
}

fn join_findings(text: &str, finding: &Finding) -> String {
    let Finding { message, help, .. } = finding;
    let one = if help.is_empty() {
        message.clone()
    } else {
        format!("{message} (`{help}`)")
    };
    if text.is_empty() {
        one
    } else {
        format!("{text}; {one}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(reason: FindingKind, message: &str) -> Finding {
        Finding {
            reason,
            message: message.into(),
            help: "kubectl get pdb".into(),
        }
    }

    #[test]
    fn the_condition_is_false_with_findings_unknown_if_unseen_and_otherwise_true() {
        let budget = finding(FindingKind::BudgetNeverAllows, "a budget");
        let bare = finding(FindingKind::NoController, "3 pods");
        let unseen = Preflight::unseen("pods can't be listed");
        for (findings, unseen, status, reason, message) in [
            (vec![], vec![], "True", NOTHING, "nothing is in the way"),
            (
                vec![bare.clone()],
                vec![],
                "False",
                FINDINGS,
                "3 pods (`kubectl get pdb`)",
            ),
            (
                vec![budget, bare],
                vec![],
                "False",
                BUDGETS,
                "a budget (`kubectl get pdb`); 3 pods",
            ),
            (vec![], unseen.unseen, "Unknown", UNSEEN, "pods can't be"),
        ] {
            let (is, why, text) = Preflight { findings, unseen }.condition();
            assert_eq!((is, why), (status, reason));
            assert!(text.starts_with(message), "{text}");
        }
    }

    #[test]
    fn findings_that_do_not_fit_into_a_status_are_counted() {
        let long = "x".repeat(300);
        let findings = vec![finding(FindingKind::NoController, &long); 6];
        let preflight = Preflight {
            findings,
            unseen: Vec::new(),
        };
        let (_, _, text) = preflight.condition();
        assert!(text.chars().count() <= LONGEST_TEXT);
        assert!(
            text.ends_with("; and 4 more") || text.ends_with("; and 3 more"),
            "{text}"
        );
    }
}
