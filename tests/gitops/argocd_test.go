package gitops

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// engine returns the engine of Argo CD with the settings that users add to argocd-cm.
func engine(t *testing.T) lua.VM {
	t.Helper()
	text, err := os.ReadFile("../../deploy/argocd/argocd-cm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		t.Fatal(err)
	}
	overrides := map[string]v1alpha1.ResourceOverride{}
	for _, kind := range kinds {
		take := func(of string) string {
			key := "resource.customizations." + of + ".belay.dev_" + kind
			script, ok := config.Data[key]
			if !ok {
				t.Fatalf("there is no %s", key)
			}
			delete(config.Data, key)
			return script
		}
		overrides["belay.dev/"+kind] = v1alpha1.ResourceOverride{HealthLua: take("health"), Actions: take("actions")}
	}
	if len(config.Data) > 0 {
		t.Fatalf("keys without a kind: %v", slices.Collect(maps.Keys(config.Data)))
	}
	return lua.VM{ResourceOverrides: overrides}
}

func health(t *testing.T, object *unstructured.Unstructured) (string, string) {
	t.Helper()
	result, err := lua.ResourceHealthOverrides(engine(t).ResourceOverrides).GetResourceHealth(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(result.Status), result.Message
}

func TestArgoCDReportsTheHealthOfEveryPhase(t *testing.T) {
	table := map[string]Expected{
		"new":                   {"Progressing", "Progressing", "Progressing"},
		"creating":              {"Progressing", "Progressing", "Progressing"},
		"at rest":               {"Healthy", "Healthy", ""},
		"changed, not yet seen": {"Progressing", "Healthy", ""},
		"waiting for the lock":  {"Progressing", "Healthy", "Progressing"},
		"pending":               {"Progressing", "Progressing", "Progressing"},
		"in progress":           {"Progressing", "Progressing", "Progressing"},
		"blocked":               {"Progressing", "Progressing", "Progressing"},
		"canceling":             {"Progressing", "Progressing", "Progressing"},
		"canceled":              {"Degraded", "Degraded", "Degraded"},
		"failed":                {"Degraded", "Degraded", "Degraded"},
		"succeeded":             {"Healthy", "Healthy", "Healthy"},
		"waiting for a window":  {"Healthy", "Healthy", "Progressing"},
		"paused by its window":  {"Healthy", "Healthy", "Degraded"},
		"deleting":              {"Progressing", "Progressing", "Progressing"},
	}
	each(t, table, func(t *testing.T, object *unstructured.Unstructured) string {
		status, message := health(t, object)
		if message == "" {
			t.Error("there is no message")
		}
		return status
	})
}

func TestTheHealthOfABlockedUpgradeNamesTheCause(t *testing.T) {
	operation := &unstructured.Unstructured{Object: moments(t)["blocked"]["Operation"]}
	if _, message := health(t, operation); !strings.Contains(message, "PodDisruptionBudget") {
		t.Errorf("the message is %q", message)
	}
}

func TestActionsAreEnabledOnlyWhenTheyArePossible(t *testing.T) {
	table := map[string]Expected{
		"new":                   {"reconcile stop", "reconcile stop", "abort"},
		"creating":              {"abort", "", "abort"},
		"at rest":               {"reconcile stop", "reconcile stop", ""},
		"changed, not yet seen": {"reconcile stop", "reconcile stop", ""},
		"waiting for the lock":  {"reconcile stop", "reconcile stop", "abort"},
		"pending":               {"abort", "", "abort"},
		"in progress":           {"abort", "", "abort"},
		"blocked":               {"abort", "", "abort"},
		"canceling":             {"", "", ""},
		"canceled":              {"reconcile stop", "reconcile stop", ""},
		"failed":                {"reconcile stop", "reconcile stop", ""},
		"succeeded":             {"reconcile stop", "reconcile stop", ""},
		"waiting for a window":  {"reconcile stop", "reconcile stop", "abort"},
		"paused by its window":  {"reconcile stop", "reconcile stop", ""},
		"deleting":              {"", "", "abort"},
	}
	engine := engine(t)
	each(t, table, func(t *testing.T, object *unstructured.Unstructured) string {
		scripts, err := engine.GetResourceActionDiscovery(object)
		if err != nil {
			t.Fatal(err)
		}
		offered, err := engine.ExecuteResourceActionDiscovery(object, scripts)
		if err != nil {
			t.Fatal(err)
		}
		var enabled []string
		for _, action := range offered {
			if _, err := engine.GetResourceAction(object, action.Name); err != nil {
				t.Errorf("%s is offered but not possible: %v", action.Name, err)
			}
			if !action.Disabled {
				enabled = append(enabled, action.Name)
			}
		}
		slices.Sort(enabled)
		return strings.Join(enabled, " ")
	})
}

// act runs an action on an object, and returns its only result.
func act(t *testing.T, moment, kind, name string) lua.ImpactedResource {
	t.Helper()
	object := &unstructured.Unstructured{Object: moments(t)[moment][kind]}
	engine := engine(t)
	action, err := engine.GetResourceAction(object, name)
	if err != nil {
		t.Fatal(err)
	}
	done, err := engine.ExecuteResourceAction(object, action.ActionLua, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(done) != 1 {
		t.Fatalf("%s of %s has %d results", name, kind, len(done))
	}
	return done[0]
}

func TestAbortSetsOnlyTheAnnotation(t *testing.T) {
	for _, kind := range kinds {
		done := act(t, "blocked", kind, "abort")
		if done.K8SOperation != lua.PatchOperation {
			t.Errorf("%s: the operation is %q", kind, done.K8SOperation)
		}
		after := done.UnstructuredObj
		annotations := after.GetAnnotations()
		if reason := annotations["belay.dev/abort"]; !strings.Contains(reason, "Argo CD") {
			t.Errorf("%s: the reason is %q", kind, reason)
		}
		delete(annotations, "belay.dev/abort")
		if len(annotations) == 0 {
			annotations = nil
		}
		after.SetAnnotations(annotations)
		if before := moments(t)["blocked"][kind]; !equality.Semantic.DeepEqual(before, after.Object) {
			t.Errorf("%s became %v", kind, after.Object)
		}
	}
}

func TestReconcileStartAndStopCreateAnOperation(t *testing.T) {
	for name, type_ := range map[string]string{"reconcile": "Reconcile", "start": "Start", "stop": "Stop"} {
		for _, kind := range []string{"ManagedCluster", "AgentPool"} {
			done := act(t, "canceled", kind, name)
			if done.K8SOperation != lua.CreateOperation {
				t.Errorf("%s of %s: the operation is %q", name, kind, done.K8SOperation)
			}
			operation := done.UnstructuredObj
			created, _, _ := unstructured.NestedString(operation.Object, "spec", "type")
			target, _, _ := unstructured.NestedString(operation.Object, "spec", "target", "kind")
			if operation.GetKind() != "Operation" || created != type_ || target != kind {
				t.Errorf("%s of %s creates %v", name, kind, operation.Object)
			}
			if operation.GetNamespace() == "" || operation.GetName() == "" {
				t.Errorf("%s of %s creates an Operation without a namespace or a name", name, kind)
			}
		}
	}
}
