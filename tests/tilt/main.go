// Evaluates a Tiltfile with the library that Tilt uses, and prints what it asks Tilt to do as JSON. Nothing is done.
//
//	go run . TILTFILE [SETTINGS]
//
// SETTINGS is a JSON object of texts and lists of texts: what stands behind `--` of `tilt up`.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
)

// The functions of Tilt that are known here, with their parameters in order. A parameter behind "*" is named always.
var functions = map[string][]string{
	"allow_k8s_contexts": {"contexts"},
	"blob":               {"contents"},
	"custom_build": {"ref", "command", "deps", "tag", "disable_push", "skips_local_docker", "live_update",
		"match_in_env_vars", "ignore", "entrypoint", "command_bat_val", "outputs_image_ref_to", "command_bat", "image_deps"},
	"helm":     {"pathToChartDir", "name", "namespace", "values", "set", "kube_version"},
	"k8s_kind": {"kind", "api_version", "*", "image_json_path", "image_object_json_path", "pod_readiness"},
	"k8s_resource": {"workload", "new_name", "port_forwards", "extra_pod_selectors", "trigger_mode", "resource_deps",
		"objects", "auto_init", "pod_readiness", "links", "labels", "discovery_strategy"},
	"k8s_yaml": {"yaml", "allow_duplicates"},
	"local_resource": {"name", "cmd", "deps", "trigger_mode", "resource_deps", "ignore", "auto_init", "serve_cmd",
		"cmd_bat", "serve_cmd_bat", "allow_parallel", "links", "labels", "env", "serve_env", "readiness_probe", "dir",
		"serve_dir"},
}

// What the functions of the module `config` define.
var settingKinds = map[string]bool{"define_string": true, "define_string_list": true, "define_bool": true}

// Call is one call of a function of Tilt.
type Call struct {
	Function  string         `json:"function"`
	Arguments map[string]any `json:"arguments"`
}

// What a function returns that makes text: the number of its call stands for the text.
type output int

func (o output) String() string       { return fmt.Sprintf("output of call %d", int(o)) }
func (o output) Type() string         { return "blob" }
func (o output) Freeze()              {}
func (o output) Truth() starlark.Bool { return starlark.True }
func (o output) Hash() (uint32, error) {
	return uint32(o), nil
}

type recorder struct {
	calls    []Call
	settings map[string]any
	defined  map[string]bool
}

func (r *recorder) function(name string, parameters []string) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, named []starlark.Tuple) (starlark.Value, error) {
		arguments := map[string]any{}
		positional := 0
		for positional < len(parameters) && parameters[positional] != "*" {
			positional++
		}
		if len(args) > positional {
			return nil, fmt.Errorf("%s: %d arguments without a name, at most %d are possible", name, len(args), positional)
		}
		for i, value := range args {
			arguments[parameters[i]] = plain(value)
		}
		for _, pair := range named {
			key := string(pair[0].(starlark.String))
			if !contains(parameters, key) {
				return nil, fmt.Errorf("%s has no parameter %q", name, key)
			}
			if _, twice := arguments[key]; twice {
				return nil, fmt.Errorf("%s: %q is given twice", name, key)
			}
			arguments[key] = plain(pair[1])
		}
		r.calls = append(r.calls, Call{name, arguments})
		if name == "helm" || name == "blob" {
			return output(len(r.calls) - 1), nil
		}
		return starlark.None, nil
	})
}

// The module `config`: settings are defined before they are used.
func (r *recorder) config() starlark.Value {
	members := starlark.StringDict{}
	for kind := range settingKinds {
		members[kind] = starlark.NewBuiltin(kind, func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, named []starlark.Tuple) (starlark.Value, error) {
			var name, usage string
			var positional bool
			if err := starlark.UnpackArgs(kind, args, named, "name", &name, "args?", &positional, "usage?", &usage); err != nil {
				return nil, err
			}
			r.defined[name] = true
			return starlark.None, nil
		})
	}
	members["parse"] = starlark.NewBuiltin("parse", func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, named []starlark.Tuple) (starlark.Value, error) {
		if err := starlark.UnpackArgs("parse", args, named); err != nil {
			return nil, err
		}
		values := starlark.NewDict(len(r.settings))
		for name, value := range r.settings {
			if !r.defined[name] {
				return nil, fmt.Errorf("no setting is called %q", name)
			}
			converted, err := value2starlark(value)
			if err != nil {
				return nil, err
			}
			if err := values.SetKey(starlark.String(name), converted); err != nil {
				return nil, err
			}
		}
		return values, nil
	})
	return starlarkstruct.FromStringDict(starlark.String("config"), members)
}

func value2starlark(value any) (starlark.Value, error) {
	switch value := value.(type) {
	case string:
		return starlark.String(value), nil
	case []any:
		items := make([]starlark.Value, 0, len(value))
		for _, item := range value {
			converted, err := value2starlark(item)
			if err != nil {
				return nil, err
			}
			items = append(items, converted)
		}
		return starlark.NewList(items), nil
	}
	return nil, fmt.Errorf("a setting is a text or a list, not %T", value)
}

// A value as JSON has it.
func plain(value starlark.Value) any {
	switch value := value.(type) {
	case output:
		return map[string]any{"output_of": int(value)}
	case starlark.String:
		return string(value)
	case starlark.Bool:
		return bool(value)
	case starlark.Int:
		number, _ := value.Int64()
		return number
	case starlark.NoneType:
		return nil
	case *starlark.Dict:
		fields := map[string]any{}
		for _, pair := range value.Items() {
			key, _ := starlark.AsString(pair[0])
			fields[key] = plain(pair[1])
		}
		return fields
	case starlark.Iterable:
		items := []any{}
		each := value.Iterate()
		defer each.Done()
		var item starlark.Value
		for each.Next(&item) {
			items = append(items, plain(item))
		}
		return items
	}
	return value.String()
}

func contains(texts []string, wanted string) bool {
	for _, text := range texts {
		if text == wanted && text != "*" {
			return true
		}
	}
	return false
}

func run() error {
	if len(os.Args) < 2 {
		return fmt.Errorf("usage: go run . TILTFILE [SETTINGS]")
	}
	r := &recorder{settings: map[string]any{}, defined: map[string]bool{}}
	if len(os.Args) > 2 {
		if err := json.Unmarshal([]byte(os.Args[2]), &r.settings); err != nil {
			return fmt.Errorf("the settings: %w", err)
		}
	}
	known := starlark.StringDict{
		"config":              r.config(),
		"TRIGGER_MODE_AUTO":   starlark.String("auto"),
		"TRIGGER_MODE_MANUAL": starlark.String("manual"),
	}
	for name, parameters := range functions {
		known[name] = r.function(name, parameters)
	}
	thread := &starlark.Thread{Name: "Tiltfile"}
	// As Tilt does.
	options := &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true, Recursion: true}
	if _, err := starlark.ExecFileOptions(options, thread, os.Args[1], nil, known); err != nil {
		if failure, ok := err.(*starlark.EvalError); ok {
			return fmt.Errorf("%s", failure.Backtrace())
		}
		return err
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r.calls)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
