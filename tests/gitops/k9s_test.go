package gitops

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xeipuuv/gojsonschema"
	"k8s.io/client-go/util/jsonpath"
	"k8s.io/kubectl/pkg/cmd/get"
	"sigs.k8s.io/yaml"
)

// k9s is the version whose schemas the files in deploy/k9s follow.
const k9s = "github.com/derailed/k9s@v0.50.16"

// Plugin is a key of k9s. The schema allows more fields, which Belay's plugins don't have.
type Plugin struct {
	ShortCut, Description, Command string
	Confirm, Dangerous             bool
	Scopes, Args                   []string
}

// Crd is the part of a CustomResourceDefinition that says what an object is called, and which columns kubectl prints.
type Crd struct {
	Spec struct {
		Names    struct{ Kind, Plural string }
		Versions []struct {
			AdditionalPrinterColumns []struct{ Name string }
		}
	}
}

func read(t *testing.T, path string, into any) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return text
}

func plugins(t *testing.T) map[string]Plugin {
	t.Helper()
	var file struct{ Plugins map[string]Plugin }
	read(t, "../../deploy/k9s/plugins.yaml", &file)
	if len(file.Plugins) == 0 {
		t.Fatal("there are no plugins")
	}
	return file.Plugins
}

// views returns the columns of each kind, by group, version and resource.
func views(t *testing.T) map[string][]string {
	t.Helper()
	var file struct {
		Views map[string]struct{ Columns []string }
	}
	read(t, "../../deploy/k9s/views.yaml", &file)
	columns := map[string][]string{}
	for resource, view := range file.Views {
		columns[resource] = view.Columns
	}
	return columns
}

// crds returns Belay's kinds for users, by their plural names.
func crds(t *testing.T) map[string]Crd {
	t.Helper()
	all := map[string]Crd{}
	for _, kind := range kinds {
		var crd Crd
		plural := strings.ToLower(kind) + "s"
		read(t, "../../crds/"+plural+".yaml", &crd)
		all[plural] = crd
	}
	return all
}

// schemas returns the folder of k9s's schemas, within its module.
func schemas(t *testing.T) string {
	t.Helper()
	download := exec.Command("go", "mod", "download", "-json", k9s)
	// Not this module: k9s requires other versions of what it requires too.
	download.Dir = t.TempDir()
	printed, err := download.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(printed, &module); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(module.Dir, "internal/config/json/schemas")
}

func TestK9sAcceptsTheFiles(t *testing.T) {
	folder := schemas(t)
	for _, name := range []string{"plugins", "views"} {
		var file any
		read(t, "../../deploy/k9s/"+name+".yaml", &file)
		schema, err := os.ReadFile(filepath.Join(folder, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		result, err := gojsonschema.Validate(gojsonschema.NewBytesLoader(schema), gojsonschema.NewGoLoader(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range result.Errors() {
			t.Errorf("%s.yaml: %v", name, problem)
		}
	}
}

func TestK9sHasEachKeyOnceInEachView(t *testing.T) {
	// What k9s itself does in the views of all kinds, and of those that can be scaled or have an owner.
	taken := []string{"c", "d", "e", "n", "s", "v", "w", "y", "Shift-A", "Shift-J", "Shift-N", "Shift-P"}
	isKey := regexp.MustCompile(`^([a-z]|Shift-[A-Z]|Ctrl-[A-Z])$`)
	seen := map[string]string{}
	for name, plugin := range plugins(t) {
		if !isKey.MatchString(plugin.ShortCut) || slices.Contains(taken, plugin.ShortCut) {
			t.Errorf("%s can't have the key %s", name, plugin.ShortCut)
		}
		for _, scope := range plugin.Scopes {
			if _, ok := crds(t)[scope]; !ok {
				t.Errorf("%s: there is no resource %s", name, scope)
			}
			key := scope + " " + plugin.ShortCut
			if other, ok := seen[key]; ok {
				t.Errorf("%s and %s have the same key: %s", name, other, key)
			}
			seen[key] = name
		}
	}
}

func TestWhatChangesSomethingAsksFirst(t *testing.T) {
	for name, plugin := range plugins(t) {
		changes := slices.ContainsFunc(plugin.Args, func(arg string) bool {
			return slices.Contains([]string{"abort", "pause", "resume", "reconcile"}, arg)
		})
		if plugin.Confirm != changes || plugin.Dangerous != changes {
			t.Errorf("%s: changes something: %v, confirm: %v, dangerous: %v", name, changes, plugin.Confirm, plugin.Dangerous)
		}
	}
}

func TestK9sKnowsEachVariable(t *testing.T) {
	variable := regexp.MustCompile(`\$!?[\w-]+|\$\{[^}]*\}`)
	for name, plugin := range plugins(t) {
		used := variable.FindAllString(strings.Join(plugin.Args, " "), -1)
		for _, needed := range []string{"$NAME", "$NAMESPACE", "$CONTEXT"} {
			// A pool's cluster is in a column.
			if !slices.Contains(used, needed) && (needed != "$NAME" || !slices.Contains(used, "$COL-CLUSTER")) {
				t.Errorf("%s doesn't use %s", name, needed)
			}
		}
		for _, used := range used {
			column, isColumn := strings.CutPrefix(used, "$COL-")
			if isColumn {
				for _, scope := range plugin.Scopes {
					if !slices.Contains(views(t)["belay.dev/v1alpha1/"+scope], column) {
						t.Errorf("%s: the view of %s has no column %s", name, scope, column)
					}
				}
			} else if !slices.Contains([]string{"$NAME", "$NAMESPACE", "$CONTEXT"}, used) {
				t.Errorf("%s: k9s doesn't know %s", name, used)
			}
		}
	}
}

func TestEachColumnShowsSomethingAtSomeMoment(t *testing.T) {
	// As k9s parses it: a name, an optional JSONPath, optional attributes.
	column := regexp.MustCompile(`^([\w\s%/-]+):?([\w\W]*?)\|?([NTWSLRH]{0,3})$`)
	views := views(t)
	for plural, crd := range crds(t) {
		resource := "belay.dev/v1alpha1/" + plural
		columns, ok := views[resource]
		if !ok {
			t.Errorf("there is no view of %s", resource)
		}
		delete(views, resource)
		printed := []string{"NAMESPACE", "NAME"}
		for _, own := range crd.Spec.Versions[0].AdditionalPrinterColumns {
			printed = append(printed, strings.ToUpper(own.Name))
		}
		for _, text := range columns {
			parts := column.FindStringSubmatch(text)
			if parts == nil {
				t.Errorf("%s: k9s can't parse the column %q", resource, text)
			} else if parts[2] == "" && !slices.Contains(printed, parts[1]) {
				t.Errorf("%s has no column %s", resource, parts[1])
			} else if parts[2] != "" && !shows(t, crd.Spec.Names.Kind, parts[2]) {
				t.Errorf("%s: %s is always empty", resource, text)
			}
		}
	}
	for resource := range views {
		t.Errorf("there is no %s", resource)
	}
}

// shows says whether a JSONPath has a value in the object of a kind at some moment.
func shows(t *testing.T, kind, path string) bool {
	t.Helper()
	expression, err := get.RelaxedJSONPathExpression(path)
	if err != nil {
		t.Fatal(err)
	}
	parser := jsonpath.New(path).AllowMissingKeys(true)
	if err := parser.Parse(expression); err != nil {
		t.Fatal(err)
	}
	for _, moment := range moments(t) {
		var value bytes.Buffer
		if object := moment[kind]; object != nil {
			if err := parser.Execute(&value, object); err != nil {
				t.Fatal(err)
			}
		}
		if value.Len() > 0 {
			return true
		}
	}
	return false
}
