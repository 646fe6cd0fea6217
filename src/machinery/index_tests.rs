//! Tests of what the index shows after the events of watches.

use k8s_openapi::api::core::v1::Pod;
use kube::core::error_boundary::InvalidObject;

use super::*;

fn pod(name: &str, group: &str) -> DeserializeGuard<Pod> {
    let mut pod = Pod::default();
    pod.metadata.name = Some(name.into());
    pod.metadata.namespace = Some(group.into());
    DeserializeGuard(Ok(pod))
}

fn unreadable(name: &str, group: &str) -> DeserializeGuard<Pod> {
    let metadata = pod(name, group).0.expect("a pod").metadata;
    DeserializeGuard(Err(InvalidObject {
        error: "no such variant".into(),
        metadata,
    }))
}

/// An index of two namespaces, each with a watch of its own.
fn index() -> Index<Pod> {
    let of_namespace = |pod: &Pod| vec![(pod.namespace().unwrap_or_default(), "all".into())];
    let index = Index::new(of_namespace, |_| ());
    index.expect(2);
    for source in [0, 1] {
        index.note(source, Event::Init);
        index.note(source, Event::InitApply(pod("a", &format!("ns{source}"))));
        index.note(source, Event::InitApply(pod("b", &format!("ns{source}"))));
    }
    index
}

fn names(index: &Index<Pod>, namespace: &str) -> Vec<String> {
    let all = index.of(&(namespace.into(), "all".into()));
    all.iter().map(|pod| pod.name_any()).collect()
}

#[test]
fn an_index_is_complete_when_each_watch_has_listed_its_objects() {
    let index = index();
    index.note(0, Event::InitDone);
    assert!(!index.is_complete());
    let changes = index.note(1, Event::InitDone);
    assert!(index.is_complete() && matches!(changes[..], [Change::Complete]));
}

#[test]
fn a_restarted_watch_removes_nothing_before_its_list_is_complete() {
    let index = index();
    index.note(0, Event::InitDone);
    index.note(1, Event::InitDone);
    index.note(0, Event::Init);
    assert_eq!(names(&index, "ns0"), ["a", "b"]);
    index.note(0, Event::InitApply(pod("b", "ns0")));
    assert_eq!(names(&index, "ns0"), ["a", "b"]);
    // The watch breaks off in the middle of the list, and restarts again.
    index.note(0, Event::Init);
    index.note(0, Event::InitApply(pod("a", "ns0")));
    let changes = index.note(0, Event::InitDone);
    assert!(matches!(&changes[0], Change::Deleted(pod) if pod.name_any() == "b"));
    assert_eq!(names(&index, "ns0"), ["a"]);
    assert_eq!(names(&index, "ns1"), ["a", "b"], "another watch shows them");
}

#[test]
fn an_object_that_becomes_unreadable_stays_as_it_was_last_read() {
    let index = index();
    index.note(0, Event::InitDone);
    index.note(1, Event::InitDone);
    assert!(
        index
            .note(0, Event::Apply(unreadable("a", "ns0")))
            .is_empty()
    );
    index.note(0, Event::Init);
    index.note(0, Event::InitApply(unreadable("a", "ns0")));
    index.note(0, Event::InitApply(pod("b", "ns0")));
    index.note(0, Event::InitDone);
    assert_eq!(names(&index, "ns0"), ["a", "b"]);
    assert!(index.has_unreadable("ns0") && !index.has_unreadable("ns1"));
    index.note(0, Event::Delete(unreadable("a", "ns0")));
    assert_eq!(names(&index, "ns0"), ["b"]);
    assert!(!index.has_unreadable("ns0"));
}

fn at(version: &str) -> Pod {
    let mut pod = pod("a", "ns0").0.expect("a pod");
    pod.metadata.uid = Some("u1".into());
    pod.metadata.resource_version = Some(version.into());
    pod
}

fn shown(index: &Index<Pod>) -> Option<String> {
    index.get("ns0", "a")?.resource_version()
}

#[test]
fn the_response_to_a_write_is_visible_at_once_and_no_older_event_reverts_it() {
    let index = index();
    index.note(0, Event::InitApply(DeserializeGuard(Ok(at("5")))));
    index.note(0, Event::InitDone);
    index.put(at("9"));
    assert_eq!(shown(&index).as_deref(), Some("9"));
    for known in ["7", "9"] {
        let changes = index.note(0, Event::Apply(DeserializeGuard(Ok(at(known)))));
        assert!(changes.is_empty());
    }
    assert_eq!(shown(&index).as_deref(), Some("9"));
    index.put(at("8"));
    assert_eq!(shown(&index).as_deref(), Some("9"));
    let changes = index.note(0, Event::Apply(DeserializeGuard(Ok(at("10")))));
    assert!(matches!(changes[..], [Change::Applied(_)]));
}

#[test]
fn the_response_to_a_write_does_not_bring_back_a_deleted_object() {
    let index = index();
    index.note(0, Event::InitApply(DeserializeGuard(Ok(at("5")))));
    index.note(0, Event::InitDone);
    index.note(0, Event::Delete(DeserializeGuard(Ok(at("6")))));
    index.put(at("7"));
    assert_eq!(shown(&index), None);
    // Another object with the same name.
    let mut other = at("8");
    other.metadata.uid = Some("u2".into());
    index.note(0, Event::Apply(DeserializeGuard(Ok(other))));
    index.put(at("9"));
    assert_eq!(shown(&index).as_deref(), Some("8"));
}

#[test]
fn a_new_list_is_visible_even_if_its_versions_are_lower() {
    let index = index();
    index.note(0, Event::InitApply(DeserializeGuard(Ok(at("50")))));
    index.note(0, Event::InitDone);
    index.note(0, Event::Init);
    index.note(0, Event::InitApply(DeserializeGuard(Ok(at("5")))));
    assert_eq!(shown(&index).as_deref(), Some("5"));
}

#[test]
fn an_object_that_changes_its_group_is_found_only_by_the_new_one() {
    let group = |pod: &Pod| vec![(pod.labels()["group"].clone(), String::new())];
    let index = Index::<Pod>::new(group, |_| ());
    index.expect(1);
    let of = |group: &str| {
        let mut guard = pod("a", "ns");
        let labels = guard.0.as_mut().expect("a pod").labels_mut();
        labels.insert("group".into(), group.into());
        guard
    };
    let found = |group: &str| index.of(&(group.into(), String::new())).len();
    index.note(0, Event::Apply(of("old")));
    let woken = index.changes_of(&("old".into(), String::new()));
    index.note(0, Event::Apply(of("new")));
    assert_eq!((found("old"), found("new")), (0, 1));
    assert!(woken.has_changed().expect("the index is there"));
}

#[test]
fn an_object_that_does_not_match_the_filter_is_hidden_or_removed() {
    let of_namespace = |pod: &Pod| vec![(pod.namespace().unwrap_or_default(), "all".into())];
    let is_kept = |pod: &Pod| pod.labels().get("of").is_none_or(|of| of == "us");
    let index = Index::keeping(of_namespace, |_| (), is_kept);
    index.expect(1);
    let labelled = |name: &str, of: &str| {
        let mut guard = pod(name, "ns");
        let labels = guard.0.as_mut().expect("a pod").labels_mut();
        labels.insert("of".into(), of.into());
        guard
    };
    index.note(0, Event::Init);
    index.note(0, Event::InitApply(labelled("a", "us")));
    let dropped = index.note(0, Event::InitApply(labelled("b", "others")));
    assert!(dropped.is_empty());
    let changes = index.note(0, Event::InitDone);
    assert!(matches!(changes[..], [Change::Complete]));
    assert_eq!(names(&index, "ns"), ["a"]);
    assert!(
        index
            .note(0, Event::Delete(labelled("b", "others")))
            .is_empty()
    );
    let changes = index.note(0, Event::Apply(labelled("a", "others")));
    assert!(matches!(&changes[..], [Change::Deleted(pod)] if pod.name_any() == "a"));
    assert!(names(&index, "ns").is_empty());
    index.note(0, Event::Apply(labelled("a", "us")));
    assert_eq!(names(&index, "ns"), ["a"]);
}
