package gitops

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

// settings are the keys of argocd-cm that people add.
func settings(t *testing.T) map[string]string {
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
	return config.Data
}

// Actions is the value of one key for actions.
type Actions struct {
	Discovery   string `json:"discovery.lua"`
	Definitions []struct {
		Name   string `json:"name"`
		Action string `json:"action.lua"`
	} `json:"definitions"`
}

// run runs a script as Argo CD does, by the same Lua: the object is the global obj, and the result is returned.
func run(t *testing.T, script string, object *unstructured.Unstructured) any {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		"": lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString, lua.OsLibName: lua.OpenOs,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(object.Object)
	if err != nil {
		t.Fatal(err)
	}
	global, err := luajson.Decode(state, text)
	if err != nil {
		t.Fatal(err)
	}
	state.SetGlobal("obj", global)
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	text, err = luajson.Encode(state.Get(-1))
	if err != nil {
		t.Fatal(err)
	}
	var result any
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	return result
}

func TestArgoCDTellsTheHealthOfEveryPhase(t *testing.T) {
	table := map[string]Expected{
		"new":                   {"Progressing", "Progressing", "Progressing"},
		"creating":              {"Progressing", "Progressing", "Progressing"},
		"at rest":               {"Healthy", "Healthy", ""},
		"changed, not yet seen": {"Progressing", "Healthy", ""},
		"pending":               {"Progressing", "Progressing", "Progressing"},
		"in progress":           {"Progressing", "Progressing", "Progressing"},
		"blocked":               {"Progressing", "Progressing", "Progressing"},
		"canceling":             {"Progressing", "Progressing", "Progressing"},
		"canceled":              {"Degraded", "Degraded", "Degraded"},
		"failed":                {"Degraded", "Degraded", "Degraded"},
		"succeeded":             {"Healthy", "Healthy", "Healthy"},
		"deleting":              {"Progressing", "Progressing", "Progressing"},
	}
	scripts := settings(t)
	each(t, table, func(t *testing.T, object *unstructured.Unstructured) string {
		script := scripts["resource.customizations.health.belay.dev_"+object.GetKind()]
		health := run(t, script, object).(map[string]any)
		if health["message"] == "" {
			t.Error("it says nothing")
		}
		return health["status"].(string)
	})
}

func TestAnUpgradeThatIsBlockedSaysByWhat(t *testing.T) {
	operation := &unstructured.Unstructured{Object: moments(t)["blocked"]["Operation"]}
	health := run(t, settings(t)["resource.customizations.health.belay.dev_Operation"], operation).(map[string]any)
	if message := health["message"].(string); !strings.Contains(message, "PodDisruptionBudget") {
		t.Errorf("it says %q", message)
	}
}

// actions gives the scripts of a kind, and the actions that may be clicked at a moment.
func actions(t *testing.T, object *unstructured.Unstructured) (Actions, string) {
	t.Helper()
	var actions Actions
	text := settings(t)["resource.customizations.actions.belay.dev_"+object.GetKind()]
	if err := yaml.UnmarshalStrict([]byte(text), &actions); err != nil {
		t.Fatal(err)
	}
	offered := run(t, actions.Discovery, object).(map[string]any)
	var enabled []string
	for _, definition := range actions.Definitions {
		options, ok := offered[definition.Name].(map[string]any)
		if !ok {
			t.Errorf("%s isn't offered at all", definition.Name)
		}
		if options["disabled"] != true {
			enabled = append(enabled, definition.Name)
		}
	}
	return actions, strings.Join(enabled, " ")
}

func TestActionsAreOfferedWhereTheyCanBeDone(t *testing.T) {
	table := map[string]Expected{
		"new":                   {"reconcile stop", "reconcile stop", "abort"},
		"creating":              {"abort", "", "abort"},
		"at rest":               {"reconcile stop", "reconcile stop", ""},
		"changed, not yet seen": {"reconcile stop", "reconcile stop", ""},
		"pending":               {"abort", "", "abort"},
		"in progress":           {"abort", "", "abort"},
		"blocked":               {"abort", "", "abort"},
		"canceling":             {"", "", ""},
		"canceled":              {"reconcile stop", "reconcile stop", ""},
		"failed":                {"reconcile stop", "reconcile stop", ""},
		"succeeded":             {"reconcile stop", "reconcile stop", ""},
		"deleting":              {"", "", "abort"},
	}
	each(t, table, func(t *testing.T, object *unstructured.Unstructured) string {
		_, enabled := actions(t, object)
		return enabled
	})
}

func action(t *testing.T, moment, kind, name string) any {
	t.Helper()
	object := &unstructured.Unstructured{Object: moments(t)[moment][kind]}
	actions, _ := actions(t, object)
	for _, definition := range actions.Definitions {
		if definition.Name == name {
			return run(t, definition.Action, object)
		}
	}
	t.Fatalf("%s has no action %s", kind, name)
	return nil
}

func TestAbortSetsTheAnnotationAndChangesNothingElse(t *testing.T) {
	for _, kind := range []string{"Operation", "ManagedCluster"} {
		before := moments(t)["blocked"][kind]
		after := &unstructured.Unstructured{Object: action(t, "blocked", kind, "abort").(map[string]any)}
		reason := after.GetAnnotations()["belay.dev/abort"]
		if !strings.Contains(reason, "Argo CD") {
			t.Errorf("%s: the reason is %q", kind, reason)
		}
		wanted, _ := json.Marshal(before["spec"])
		got, _ := json.Marshal(after.Object["spec"])
		if string(wanted) != string(got) {
			t.Errorf("%s: the spec became %s", kind, got)
		}
	}
}

func TestReconcileStartAndStopAskByAnOperation(t *testing.T) {
	for name, type_ := range map[string]string{"reconcile": "Reconcile", "start": "Start", "stop": "Stop"} {
		for _, kind := range []string{"ManagedCluster", "AgentPool"} {
			made := action(t, "canceled", kind, name).([]any)[0].(map[string]any)
			if made["operation"] != "create" {
				t.Errorf("%s of %s doesn't create", name, kind)
			}
			operation := &unstructured.Unstructured{Object: made["resource"].(map[string]any)}
			asked, _, _ := unstructured.NestedString(operation.Object, "spec", "type")
			target, _, _ := unstructured.NestedString(operation.Object, "spec", "target", "kind")
			if operation.GetKind() != "Operation" || asked != type_ || target != kind {
				t.Errorf("%s of %s makes %v", name, kind, operation.Object)
			}
			if operation.GetNamespace() == "" || operation.GetName() == "" {
				t.Errorf("%s of %s makes an Operation without a place or a name", name, kind)
			}
		}
	}
}
