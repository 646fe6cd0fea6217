//! Questions about managed fields: who wrote which field, as recorded by the API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

/// Whether the entry's manager applies the spec, as `kubectl apply --server-side` and Flux do.
pub fn applies_spec(entry: &ManagedFieldsEntry) -> bool {
    entry.operation.as_deref() == Some("Apply") && entry.subresource.is_none() && writes_spec(entry)
}

/// Whether the entry's manager wrote fields of the spec.
pub fn writes_spec(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref();
    fields.is_some_and(|fields| !fields.0["f:spec"].is_null())
}

/// Whether the entry's manager wrote that annotation.
pub fn writes_annotation(entry: &ManagedFieldsEntry, annotation: &str) -> bool {
    let field = format!("f:{annotation}");
    let fields = entry.fields_v1.as_ref();
    fields.is_some_and(|fields| !fields.0["f:metadata"]["f:annotations"][&field].is_null())
}
