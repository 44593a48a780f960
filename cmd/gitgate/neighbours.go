package main

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// neighbours are the objects among which another one is judged.
type neighbours struct {
	objects    []policy.Input
	inventory  *policy.Inventory
	namespaces map[string][]byte
}

func meet(objects []gate.PolicyInput) (*neighbours, error) {
	n := &neighbours{namespaces: map[string][]byte{}}
	raws := make([][]byte, len(objects))
	for i, in := range objects {
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(in.Object, &o); err != nil {
			return nil, fmt.Errorf("%s has no metadata of an object", in.ID) // the text of err quotes the input
		}
		if o.APIVersion == "v1" && o.Kind == "Namespace" {
			n.namespaces[o.Name] = in.Object
		}
		raws[i] = in.Object
	}
	var err error
	if n.inventory, err = policy.NewInventory(raws); err != nil {
		return nil, err
	}
	for _, in := range objects {
		n.objects = append(n.objects, n.input(in))
	}
	return n, nil
}

// input is what is known of an object among its neighbours; those of nil are not known.
func (n *neighbours) input(in gate.PolicyInput) policy.Input {
	out := ruleInput(in)
	if n == nil {
		return out
	}
	if out.Inventory, out.Together = n.inventory, true; !in.ClusterScoped {
		out.Namespace = n.namespaces[in.Namespace]
	}
	return out
}

// ReadsNeighbours implements [gate.NeighbourEvaluator].
func (e evaluator) ReadsNeighbours() bool { return e.engine.ReadsNeighbours() }

// Among implements [gate.NeighbourEvaluator].
func (e evaluator) Among(objects []gate.PolicyInput) (gate.TogetherEvaluator, error) {
	n, err := meet(objects)
	return evaluator{engine: e.engine, neighbours: n, trace: e.trace}, err
}

// Together implements [gate.TogetherEvaluator].
func (e evaluator) Together(ctx context.Context) []verdict.Finding {
	return e.engine.EvaluateTogether(ctx, e.neighbours.objects)
}
