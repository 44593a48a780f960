package author

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy"
)

// nothingElse: what is not given is not there, as in gator.
var nothingElse = func() policy.Part {
	var all policy.Part
	for part := range maps.Values(parts) {
		all |= part
	}
	return all
}()

// input is the object of a case with its inventory.
func (r *suiteRun) input(c suiteCase) (policy.Input, error) {
	in := policy.Input{None: nothingElse}
	object, err := objectRef{file: c.Object}.resolve(r.source, r.dir)
	if err != nil {
		return in, err
	}
	in.Object = object
	if err := unpackReview(&in); err != nil {
		return in, fmt.Errorf("%s: %w", c.Object, err)
	}
	var inventory [][]byte
	for _, name := range c.Inventory {
		more, err := r.objects(name)
		if err != nil {
			return in, err
		}
		inventory = append(inventory, more...)
	}
	if in.Inventory, err = policy.NewInventory(inventory); err != nil {
		return in, fmt.Errorf("inventory: %w", err)
	}
	in.Namespace = namespaceOf(judged(in), inventory)
	return in, nil
}

// judged is the object that a request is about.
func judged(in policy.Input) []byte {
	if in.Object == nil {
		return in.OldObject
	}
	return in.Object
}

// objects reads a file of the inventory, which may hold several.
func (r *suiteRun) objects(name string) ([][]byte, error) {
	file, err := within(r.dir, name)
	if err != nil {
		return nil, err
	}
	raw, err := r.source.read(file)
	if err != nil {
		return nil, err
	}
	found, problems := ReadManifests(r.source.show(file), raw)
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s: %s", problems[0].Where(), problems[0].Message)
	}
	var out [][]byte
	for _, m := range found {
		out = append(out, m.JSON)
	}
	return out, nil
}

// An identity is what tells objects apart.
type identity struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
}

// namespaceOf finds the Namespace of an object in the inventory, as Gatekeeper does.
func namespaceOf(object []byte, inventory [][]byte) []byte {
	var of identity
	if json.Unmarshal(object, &of) != nil || of.Metadata.Namespace == "" {
		return nil
	}
	i := slices.IndexFunc(inventory, func(raw []byte) bool {
		var ns identity
		return json.Unmarshal(raw, &ns) == nil && ns.APIVersion == "v1" && ns.Kind == "Namespace" && ns.Metadata.Name == of.Metadata.Namespace
	})
	if i < 0 {
		return nil
	}
	return inventory[i]
}

// unpackReview takes the request out of an AdmissionReview.
func unpackReview(in *policy.Input) error {
	var review struct {
		identity
		Request *struct {
			Operation policy.Operation `json:"operation"`
			Object    json.RawMessage  `json:"object"`
			OldObject json.RawMessage  `json:"oldObject"`
			UserInfo  *struct {
				Username string              `json:"username"`
				UID      string              `json:"uid"`
				Groups   []string            `json:"groups"`
				Extra    map[string][]string `json:"extra"`
			} `json:"userInfo"`
		} `json:"request"`
	}
	if err := json.Unmarshal(in.Object, &review); err != nil {
		return nil // some other object that has a request
	}
	if review.Kind != "AdmissionReview" || !strings.HasPrefix(review.APIVersion, "admission.k8s.io/") {
		return nil
	}
	request := review.Request
	if request == nil || given(request.Object) == nil && given(request.OldObject) == nil {
		return errors.New("the AdmissionReview holds no request with an object")
	}
	in.Operation, in.Object, in.OldObject = request.Operation, given(request.Object), given(request.OldObject)
	if u := request.UserInfo; u != nil {
		in.User = &policy.UserInfo{Username: u.Username, UID: u.UID, Groups: u.Groups, Extra: u.Extra}
	}
	return nil
}

// given is nil for null.
func given(raw json.RawMessage) []byte {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
