package registration

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"gitgate.dev/gitgate/webhook/lock"
)

func evaluate(t *testing.T, expression string, vars map[string]any) any {
	t.Helper()
	var options []cel.EnvOption
	for name := range vars {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		t.Fatal(err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		t.Fatalf("%s: %v", expression, issues.Err())
	}
	program, err := env.Program(ast)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := program.Eval(vars)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return out.Value()
}

// TestQuote keeps names from becoming code.
func TestQuote(t *testing.T) {
	for _, s := range []string{"", "plain", "it's", `back\slash`, `'] || true || x in ['`, "new\nline\ttab\x00", `\'`, "ä☃𝄞", `"`} {
		if got := evaluate(t, quote(s), map[string]any{}); got != s {
			t.Errorf("quote(%q) = %s, which means %q", s, quote(s), got)
		}
	}
}

func testConfig() Config {
	c, err := Config{
		Client: &kubernetes.Clientset{}, Namespace: "gitgate-system", Secret: "tls", URL: "https://127.0.0.1/admit",
		Bundle: func() []byte { return nil }, Ready: func() bool { return true }, Mode: func() lock.Mode { return lock.Enforce },
		OwnPods: func() []Template {
			return []Template{TemplateOf(corev1.PodSpec{Containers: []corev1.Container{{Image: "a"}}})}
		},
	}.complete()
	if err != nil {
		panic(err)
	}
	return c
}

// TestExemptions evaluates what is left out on requests without most members, as
// the API server sends them, and on some that must never be left out.
func TestExemptions(t *testing.T) {
	request := func(user, group, resource, namespace, name, operation, sub string, groups ...string) map[string]any {
		r := map[string]any{
			"resource": map[string]any{"group": group, "version": "v1", "resource": resource}, "operation": operation,
			"userInfo": map[string]any{"username": user}, "dryRun": false,
		}
		for key, value := range map[string]string{"namespace": namespace, "name": name, "subResource": sub} {
			if value != "" {
				r[key] = value
			}
		}
		if groups != nil {
			r["userInfo"].(map[string]any)["groups"] = groups
		}
		return map[string]any{"request": r}
	}
	for name, tc := range map[string]struct {
		request map[string]any
		want    []string
	}{
		"Bare":              {request("", "", "configmaps", "", "", "CREATE", ""), nil},
		"BareLease":         {request("system:kube-scheduler", groupCoordination, "leases", "", "", "UPDATE", ""), nil},
		"Event":             {request("anybody", "events.k8s.io", "events", "shop", "x", "CREATE", ""), []string{"events"}},
		"EventElsewhere":    {request("anybody", "example.com", "events", "shop", "x", "CREATE", ""), nil},
		"Scheduler":         {request("system:kube-scheduler", groupCoordination, "leases", "kube-system", "kube-scheduler", "UPDATE", ""), []string{"component-leases"}},
		"SchedulerDeletes":  {request("system:kube-scheduler", groupCoordination, "leases", "kube-system", "kube-scheduler", "DELETE", ""), nil},
		"AliceLease":        {request("alice", groupCoordination, "leases", "kube-system", "kube-scheduler", "UPDATE", ""), nil},
		"NodeLease":         {request("system:node:n", groupCoordination, "leases", "kube-node-lease", "n", "UPDATE", "", "system:nodes"), []string{"node-leases"}},
		"NodeLeaseOther":    {request("system:node:n", groupCoordination, "leases", "kube-node-lease", "m", "UPDATE", "", "system:nodes"), nil},
		"NodeLeaseNoGroup":  {request("system:node:n", groupCoordination, "leases", "kube-node-lease", "n", "UPDATE", ""), nil},
		"NodeStatus":        {request("system:node:n", "", "nodes", "", "n", "UPDATE", "status", "system:nodes"), []string{"node-status"}},
		"NodeSpec":          {request("system:node:n", "", "nodes", "", "n", "UPDATE", "", "system:nodes"), nil},
		"RoleByAPIServer":   {request(userAPIServer, groupRBAC, "clusterroles", "", "x", "UPDATE", "", "system:masters"), []string{"bootstrap-roles"}},
		"RoleDeleted":       {request(userAPIServer, groupRBAC, "clusterroles", "", "x", "DELETE", "", "system:masters"), nil},
		"SecretByAPIServer": {request(userAPIServer, "", "secrets", "kube-system", "x", "CREATE", "", "system:masters"), nil},
		"OwnPod":            {request(account("kube-system", "replicaset-controller"), "", "pods", "gitgate-system", "", "CREATE", ""), []string{"own-pods"}},
		"OtherPod":          {request(account("kube-system", "replicaset-controller"), "", "pods", "shop", "", "CREATE", ""), nil},
		"OwnPodExec":        {request("system:node:n", "", "pods", "gitgate-system", "x", "CONNECT", "exec", "system:nodes"), nil},
		"OwnEviction":       {request("system:node:n", "", "pods", "gitgate-system", "x", "CREATE", "eviction", "system:nodes"), nil},
		"OwnToken":          {request("system:node:n", "", "serviceaccounts", "gitgate-system", "x", "CREATE", "token", "system:nodes"), []string{"own-tokens"}},
		"OwnDeployment":     {request(account("kube-system", "deployment-controller"), "apps", "deployments", "gitgate-system", "x", "UPDATE", ""), nil},
		"OwnSecret":         {request(account("gitgate-system", "gitgate-webhook"), "", "secrets", "gitgate-system", "tls", "UPDATE", ""), []string{"own-certificates"}},
		"OwnSecretDeleted":  {request(account("gitgate-system", "gitgate-webhook"), "", "secrets", "gitgate-system", "tls", "DELETE", ""), nil},
		"Reconciler":        {request(account("gitgate-system", "gitgate-reconciler"), "", "configmaps", "shop", "x", "UPDATE", ""), nil},
		"ManagerToken":      {request(userManager, "", "serviceaccounts", "kube-system", "job-controller", "CREATE", "token"), []string{"controller-tokens"}},
		"ManagerTokenOther": {request(userManager, "", "serviceaccounts", "kube-system", "clusteradmin", "CREATE", "token"), nil},
		"ManagerTokenShop":  {request(userManager, "", "serviceaccounts", "shop", "job-controller", "CREATE", "token"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range testConfig().Pairs() {
				if evaluate(t, p.When, tc.request) == true {
					got = append(got, p.Name)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("left out by %v, want %v", got, tc.want)
			}
		})
	}
}

// TestRetired finds every policy that a mode may leave behind.
func TestRetired(t *testing.T) {
	c := testConfig()
	gone := c.retired(lock.Off)
	for _, p := range c.Policies(lock.Enforce) {
		if name := p.Policy.Name; name != dryRunPolicy && !slices.Contains(gone, name) {
			t.Errorf("%s stays when no lock is on", name)
		}
	}
	if left := c.retired(lock.Enforce); len(left) != 0 {
		t.Errorf("%v are removed while they are wanted", left)
	}
	c.OwnPods = nil
	if left := c.retired(lock.Enforce); !slices.Equal(left, []string{"gitgate-own-pods"}) {
		t.Errorf("without templates %v is removed", left)
	}
}

func TestConfiguration(t *testing.T) {
	c := testConfig()
	pins := Pins{schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}: "v2"}
	live := c.Configuration(lock.Enforce, []byte("ca"), pins)
	others := live.Webhooks[1].MatchConditions[len(live.Webhooks[1].MatchConditions)-1].Expression
	for resource, want := range map[string]bool{"horizontalpodautoscalers": false, "pods": true} {
		got := evaluate(t, others, map[string]any{"request": map[string]any{"resource": map[string]any{"group": "autoscaling", "resource": resource}}})
		if got != want {
			t.Errorf("the second webhook is asked about %s: %v, want %t", resource, got, want)
		}
	}
	if n := len(c.Configuration(lock.Enforce, nil, nil).Webhooks); n != 1 {
		t.Errorf("%d webhooks where nothing is pinned, want 1", n)
	}
	// The API server allows 64 conditions, and 253 characters for a name.
	if n := len(live.Webhooks[1].MatchConditions); n > 64 {
		t.Errorf("%d conditions", n)
	}
	service := c
	service.URL, service.Service = "", &Service{Namespace: "gitgate-system", Name: "gitgate-webhook", Port: 443}
	ref := service.Configuration(lock.Enforce, nil, nil).Webhooks[0].ClientConfig
	if ref.URL != nil || ref.Service == nil || ref.Service.Name != "gitgate-webhook" || *ref.Service.Path != "/admit" || *ref.Service.Port != 443 {
		t.Errorf("clientConfig = %+v", ref)
	}
}

func TestNewRefuses(t *testing.T) {
	good := testConfig()
	for name, change := range map[string]func(*Config){
		"NoClient":    func(c *Config) { c.Client = nil },
		"NoEndpoint":  func(c *Config) { c.URL = "" },
		"BothEnds":    func(c *Config) { c.Service = &Service{} },
		"HTTP":        func(c *Config) { c.URL = "http://127.0.0.1/" },
		"NotAURL":     func(c *Config) { c.URL = "https://%zz" },
		"NoMode":      func(c *Config) { c.Mode = nil },
		"NoNamespace": func(c *Config) { c.Namespace = "" },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
}

// TestStaticManifests keeps to what the API server takes from files.
func TestStaticManifests(t *testing.T) {
	files, err := StaticManifests("gitgate-system", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if text := string(data); strings.Count(text, "\nkind: ValidatingAdmissionPolicy\n") != 1 || strings.Count(text, "\nkind: ValidatingAdmissionPolicyBinding\n") != 1 ||
			strings.Contains(text, "status:") || !strings.Contains(text, staticSuffix) || !strings.Contains(text, "system:serviceaccount:gitgate-system:gitgate-") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}
