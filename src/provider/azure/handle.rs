//! Handles: what an operation of AKS is known by, also after a restart: the resource, and the operation's id.

use std::fmt;

/// What a handle names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The name of the node pool in Azure; none for the cluster.
    pub node_pool: Option<String>,
    /// The operation's id; empty where nothing had to be done.
    pub operation: String,
}

/// What the handle of a node pool begins with.
const NODE_POOL: &str = "agentPools/";

impl Handle {
    /// The handle that a text names.
    pub fn parse(text: &str) -> Self {
        let (of, operation) = text.rsplit_once('/').unwrap_or(("", text));
        Self {
            node_pool: of.strip_prefix(NODE_POOL).map(ToOwned::to_owned),
            operation: operation.to_owned(),
        }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node_pool {
            Some(node_pool) => write!(formatter, "{NODE_POOL}{node_pool}/{}", self.operation),
            None => write!(formatter, "managedCluster/{}", self.operation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Handle;

    #[test]
    fn a_handle_is_read_as_it_is_written() {
        for text in [
            "managedCluster/0a-1b",
            "agentPools/np1/0a-1b",
            "agentPools/np1/",
        ] {
            assert_eq!(Handle::parse(text).to_string(), text);
        }
    }
}
