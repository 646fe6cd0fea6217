//! How the policies distinguish Belay's own requests from people's.

use crate::{
    api::GROUP,
    machinery::{FIELD_MANAGER, SPEC_MANAGER},
};

/// The verb on `managedclusters` for accounts that run Belay. Kubernetes itself has no such verb.
pub const OPERATE: &str = "operate";

/// Whether a request is Belay's own: a CEL expression of type bool.
///
/// It needs two things. The field manager says that the request claims to be Belay's. No client sends Belay's field
/// manager by itself, so an administrator, who may do everything, is refused like anybody else. The verb says who may
/// make this claim: without the verb, Belay's field manager has no effect. A person who has both on purpose could also
/// delete the policy. The lock itself isn't decided here, so the worst result is a change that waits for its turn.
///
/// Neither is a name, because Belay may run under any account, or outside the cluster.
pub fn is_operator() -> String {
    format!("{} && {}", has_our_field_manager(), may_operate())
}

/// Whether the user may run Belay: a CEL expression of type bool.
pub fn may_operate() -> String {
    format!(
        "authorizer.group(\"{GROUP}\").resource(\"managedclusters\").namespace(request.namespace).check(\"{OPERATE}\").allowed()"
    )
}

/// Whether the user is an account that runs Belay, for nodes, which have no namespace: a CEL expression of type bool.
/// It checks the verb on `nodes` of Belay's group, which has no such kind.
pub fn may_operate_nodes() -> String {
    format!("authorizer.group(\"{GROUP}\").resource(\"nodes\").check(\"{OPERATE}\").allowed()")
}

/// Whether the user may do everything, as cluster administrators may: a CEL expression of type bool. Administrators
/// have the verb `operate` too, but they aren't Belay.
pub fn may_do_everything() -> String {
    "authorizer.group(\"*\").resource(\"*\").check(\"*\").allowed()".to_owned()
}

/// Whether a request's field manager claims that it is Belay's: a CEL expression of type bool.
pub fn has_our_field_manager() -> String {
    format!(
        "request.?options.?fieldManager.orValue(\"\") in [\"{FIELD_MANAGER}\", \"{SPEC_MANAGER}\"]"
    )
}
