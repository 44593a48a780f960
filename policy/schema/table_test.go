package schema_test

import (
	"testing"

	"gitgate.dev/gitgate/policy/schema"
)

// verdicts are manifests that are either fine or not, by us and by the server.
// Where they differ, differs says why, and the test holds that they still do.
var verdicts = map[string]struct {
	manifest string
	denied   bool
	differs  string
}{
	"Empty ConfigMap":      {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}", false, ""},
	"Null data":            {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: null}", false, ""},
	"Null value":           {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: {a: null}}", false, ""},
	"Number as data":       {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: {a: 1}}", true, ""},
	"Nested data":          {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: {a: {b: c}}}", true, ""},
	"Bad base64":           {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, binaryData: {a: '%'}}", true, ""},
	"Base64 over lines":    {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, binaryData: {a: \"aGk=\\n\"}}", false, ""},
	"Unknown at the root":  {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, dta: {}}", true, ""},
	"Null unknown":         {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, dta: null}", true, ""},
	"Wrong case":           {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, Data: {}}", true, ""},
	"Unknown in metadata":  {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default, label: {}}}", true, ""},
	"Metadata is a list":   {"{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: [a]}}", true, ""},
	"Bad time":             {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default, creationTimestamp: yesterday}}", true, ""},
	"Null time":            {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default, creationTimestamp: null}}", false, ""},
	"Same finalizer twice": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default, finalizers: [x.io/a, x.io/a]}}", true, ""},
	"Same owner twice": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default, ownerReferences: " +
		"[{apiVersion: v1, kind: Node, name: a, uid: u}, {apiVersion: v1, kind: Node, name: b, uid: u}]}}", true, ""},
	"Owner without uid": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default, ownerReferences: " +
		"[{apiVersion: v1, kind: Node, name: a}]}}", true, ""},
	"Null port":                 {"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: default}, spec: {containers: [{name: a, image: b}], volumes: [null]}}", true, ""},
	"Null rule":                 {"{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: a, namespace: default}, rules: [null]}", true, ""},
	"Widget status of no phase": {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1}, status: {}}", false, ""},
	"Status in a manifest":      {"{apiVersion: v1, kind: Namespace, metadata: {name: a}, status: {phase: Active, conditions: [{type: A}]}}", false, ""},
	"Unknown in the status":     {"{apiVersion: v1, kind: Namespace, metadata: {name: a}, status: {face: Active}}", true, ""},
	"Service":                   {"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: default}, spec: {ports: [{port: 80}]}}", false, ""},
	"Port as text":              {"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: default}, spec: {ports: [{port: '80'}]}}", true, ""},
	"Same port twice":           {"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: default}, spec: {ports: [{port: 80, name: a}, {port: 80, name: b}]}}", true, ""},
	"Two protocols":             {"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: default}, spec: {ports: [{port: 80, name: a}, {port: 80, name: b, protocol: UDP}]}}", false, ""},
	"Port out of range":         {"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: default}, spec: {ports: [{port: 99999}]}}", false, "validation in Go"},
	"Unknown type of Service":   {"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: default}, spec: {type: Foo, ports: [{port: 80}]}}", false, "validation in Go"},
	"No selector":               {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: default}, spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}}", true, ""},
	"Selector of others": {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: default}, spec: {selector: {matchLabels: {a: c}}, " +
		"template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}}", false, "validation in Go"},
	"No spec":               {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: default}}", true, ""},
	"Wide number":           {"{apiVersion: v1, kind: ReplicationController, metadata: {name: a, namespace: default}, spec: {replicas: 4294967297, selector: {a: b}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}}", true, "server-side apply takes it modulo 2^32"},
	"Old Deployment":        {"{apiVersion: extensions/v1beta1, kind: Deployment, metadata: {name: a, namespace: default}}", true, ""},
	"Old CronJob":           {"{apiVersion: batch/v1beta1, kind: CronJob, metadata: {name: a, namespace: default}}", true, ""},
	"Gone kind":             {"{apiVersion: policy/v1beta1, kind: PodSecurityPolicy, metadata: {name: a}}", true, ""},
	"Duration":              {"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: default}, spec: {terminationGracePeriodSeconds: 1m, containers: [{name: a, image: b}]}}", true, ""},
	"Quantity":              {"{apiVersion: v1, kind: ResourceQuota, metadata: {name: a, namespace: default}, spec: {hard: {pods: ten}}}", true, ""},
	"Quantity in exponents": {"{apiVersion: v1, kind: ResourceQuota, metadata: {name: a, namespace: default}, spec: {hard: {memory: 1e3}}}", false, ""},
	"Empty quantity":        {"{apiVersion: v1, kind: ResourceQuota, metadata: {name: a, namespace: default}, spec: {hard: {pods: ''}}}", true, ""},
	"Fraction of a second":  {"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: default}, spec: {terminationGracePeriodSeconds: 1.5, containers: [{name: a, image: b}]}}", true, ""},
	"Free-form JSON":        {"{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: a, namespace: default}, revision: 1, data: {x: [1, {y: null}]}}", false, ""},
	"Widget":                {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1}}", false, ""},
	"Widget unserved":       {"{apiVersion: example.com/v1alpha1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1}}", true, ""},
	"Widget undefined":      {"{apiVersion: example.com/v2, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1}}", true, ""},
	"Widget default":        {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, mode: null}}", false, ""},
	"Widget null":           {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, note: null}}", false, ""},
	"Widget enum":           {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, mode: Middling}}", true, ""},
	"Widget bound":          {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 11}}", true, ""},
	"Widget pattern":        {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, color: red}}", true, ""},
	"Widget format":         {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, since: now}}", true, ""},
	"Widget rule":           {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, replicas: 2}}", true, ""},
	"Widget scale":          {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, replicas: -1}}", true, ""},
	"Widget part twice":     {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, parts: [{name: a}, {name: a}]}}", true, ""},
	"Widget tag twice":      {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, tags: [a, a]}}", true, ""},
	"Widget free":           {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, free: {x: {y: [1, a]}}}}", false, ""},
	"Widget unknown":        {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, sise: 2}}", true, ""},
	"Widget metadata":       {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default, lables: {}}, spec: {size: 1}}", true, ""},
	"Widget embedded":       {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1, template: {metadata: {name: x}}}}", true, ""},
	"Widget embedded metadata": {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, " +
		"spec: {size: 1, template: {apiVersion: v1, kind: Pod, metadata: {name: x, nom: y}}}}", true, ""},
	"Widget status": {"{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, namespace: default}, spec: {size: 1}, status: {replicas: 1}}", false, ""},
}

// TestVerdicts holds the table without a server.
func TestVerdicts(t *testing.T) {
	v := schema.New(schema.Options{})
	if err := v.AddCRD(object(t, file(t, "widgets.yaml"))); err != nil {
		t.Fatal(err)
	}
	for name, tc := range verdicts {
		t.Run(name, func(t *testing.T) {
			problems, err := v.Validate(t.Context(), object(t, tc.manifest))
			if err != nil {
				t.Fatal(err)
			}
			if got := len(problems) > 0; got != tc.denied {
				t.Errorf("denied = %t: %q, want %t", got, messages(problems), tc.denied)
			}
		})
	}
}

func agreeOnTable(t *testing.T, j *judge) {
	v := schema.New(schema.Options{})
	if err := v.AddCRD(object(t, file(t, "widgets.yaml"))); err != nil {
		t.Fatal(err)
	}
	for name, tc := range verdicts {
		t.Run(name, func(t *testing.T) {
			obj := object(t, tc.manifest)
			problems, _ := v.Validate(t.Context(), obj)
			said := j.ask(t.Context(), obj)
			if err := judged(said); err != nil {
				t.Fatal(err)
			}
			if agree := (said != nil) == tc.denied; agree != (tc.differs == "") {
				t.Errorf("the server says %v, and here it is %q (listed as different: %q)", said, messages(problems), tc.differs)
			}
		})
	}
}
