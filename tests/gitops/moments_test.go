// Package gitops tests how GitOps tools interpret Belay's objects: kstatus, which Flux and Helm use to decide whether an
// object is ready, and the health checks and actions for Argo CD in deploy/argocd.
package gitops

import (
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
)

// Moment contains the objects at one moment of an operation, by kind. The core of the operator wrote them.
type Moment map[string]map[string]any

var kinds = []string{"ManagedCluster", "AgentPool", "Operation"}

// Expected contains the expected answers of a tool about a cluster, its pool and the operation.
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

// each calls judge for each object of each moment, and compares the answers with the table.
func each(t *testing.T, table map[string]Expected, judge func(*testing.T, *unstructured.Unstructured) string) {
	t.Helper()
	all := moments(t)
	for name := range all {
		if _, ok := table[name]; !ok {
			t.Errorf("the table has no moment %q", name)
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
				if answer := judge(t, &unstructured.Unstructured{Object: object}); answer != expected[i] {
					t.Errorf("got %s, expected %s", answer, expected[i])
				}
			})
		}
	}
}
