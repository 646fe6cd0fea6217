//! Labels of node pools that don't come from an `AgentPool`.

/// The domains whose labels `AgentPools` can't have. On a node pool, such labels are the cloud's own, and stay.
const RESERVED: [&str; 3] = ["kubernetes.io", "k8s.io", "belay.dev"];

/// Returns whether a label is the cloud's, Kubernetes' or Belay's own.
pub fn is_reserved(key: &str) -> bool {
    let domain = key.split_once('/').map(|(domain, _)| domain);
    domain.is_some_and(|domain| {
        let mut reserved = RESERVED.iter();
        reserved.any(|reserved| {
            domain == *reserved
                || domain
                    .strip_suffix(reserved)
                    .is_some_and(|rest| rest.ends_with('.'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_kubernetes_and_their_subdomains_are_reserved() {
        for (key, reserved) in [
            ("team", false),
            ("example.com/team", false),
            ("kubernetes.azure.com/mode", false),
            ("kubernetes.io/role", true),
            ("node.kubernetes.io/role", true),
            ("notkubernetes.io/role", false),
        ] {
            assert_eq!(is_reserved(key), reserved, "{key}");
        }
    }
}
