//! How the policies distinguish Belay's own requests from people's.

use crate::{
    api::GROUP,
    machinery::{FIELD_MANAGER, SPEC_MANAGER},
};

/// The verb, on `managedclusters`, of who runs Belay. Kubernetes itself has no such verb.
pub const OPERATE: &str = "operate";

/// Whether a request is Belay's own: a CEL expression of type bool.
///
/// It takes two things. The field manager says what the request means to be: no client sends Belay's by
/// itself, so an administrator, who may do everything, is refused like anybody else. The verb says who may
/// mean so: to send Belay's field manager helps nobody who hasn't been given that verb. Who has both, on
/// purpose, could as well delete the policy; and the lock itself isn't decided here, so the worst of it is
/// a change that waits for its turn.
///
/// Neither is a name: Belay may run under any account, or outside of the cluster.
pub fn is_operator() -> String {
    format!("{} && {}", has_our_field_manager(), may_operate())
}

/// Whether who asks may run Belay: a CEL expression of type bool.
pub fn may_operate() -> String {
    format!(
        "authorizer.group(\"{GROUP}\").resource(\"managedclusters\").namespace(request.namespace).check(\"{OPERATE}\").allowed()"
    )
}

/// Whether who asks is an account that runs Belay, for nodes, which have no namespace: a CEL expression of
/// type bool. The verb is asked for on `nodes` of Belay's group, which has no such kind.
pub fn may_operate_nodes() -> String {
    format!("authorizer.group(\"{GROUP}\").resource(\"nodes\").check(\"{OPERATE}\").allowed()")
}

/// Whether who asks may do everything, as cluster administrators may: a CEL expression of type bool. They have
/// the verb `operate` too, but they aren't Belay.
pub fn may_do_everything() -> String {
    "authorizer.group(\"*\").resource(\"*\").check(\"*\").allowed()".to_owned()
}

/// Whether a request says by its field manager that it is Belay's: a CEL expression of type bool.
pub fn has_our_field_manager() -> String {
    format!(
        "request.?options.?fieldManager.orValue(\"\") in [\"{FIELD_MANAGER}\", \"{SPEC_MANAGER}\"]"
    )
}
