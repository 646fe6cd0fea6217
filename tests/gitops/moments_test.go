// Package gitops tests what GitOps tools make of Belay's objects: kstatus, by which Flux and Helm tell whether
// something is done, and the health checks and actions for Argo CD in deploy/argocd.
package gitops

import (
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
)

// Moment is the objects at one moment of an operation's life, by kind. The operator's core wrote them.
type Moment map[string]map[string]any

var kinds = []string{"ManagedCluster", "AgentPool", "Operation"}

// Expected is what a tool is to say of a cluster, its pool and the operation at a moment.
type Expected [3]string

func moments(t *testing.T) map[string]Moment {
	t.Helper()
	text, err := os.ReadFile("testdata/moments.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]Moment
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// each calls judge for each object of each moment, and compares what it says with the table.
func each(t *testing.T, table map[string]Expected, judge func(*testing.T, *unstructured.Unstructured) string) {
	t.Helper()
	all := moments(t)
	for name := range all {
		if _, ok := table[name]; !ok {
			t.Errorf("the table doesn't tell of the moment %q", name)
		}
	}
	for name, expected := range table {
		moment, ok := all[name]
		if !ok {
			t.Errorf("there is no moment %q", name)
		}
		for i, kind := range kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				object := moment[kind]
				if object == nil && expected[i] == "" {
					return
				}
				if said := judge(t, &unstructured.Unstructured{Object: object}); said != expected[i] {
					t.Errorf("%s, not %s", said, expected[i])
				}
			})
		}
	}
}
