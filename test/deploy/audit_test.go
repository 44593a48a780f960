package deploy

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

// TestAuditRights proves what the components of the audit grant the webhook, where, and
// that nothing else does.
func TestAuditRights(t *testing.T) {
	c := installation(t)
	if !may(t, userOf(system, webhook), "update coordination.k8s.io/leases "+system+"/gitgate-audit") {
		t.Error("the base does not grant the Lease of the audit")
	}
	for component, rights := range map[string]map[string]bool{
		"audit-secrets": {
			"watch /secrets team": true, "list /secrets team": true, "watch /secrets": false, "watch /secrets " + system: false, "update /secrets team/x": false,
		},
		"policy-reports": {
			"patch openreports.io/reports team/x": true, "create openreports.io/clusterreports": true, "watch wgpolicyk8s.io/policyreports": true,
			"delete wgpolicyk8s.io/clusterpolicyreports -/x": true, "update openreports.io/reports/status team/x": false, "patch /configmaps team/x": false,
		},
	} {
		t.Run(component, func(t *testing.T) {
			user := userOf(system, webhook)
			for right, want := range rights {
				if want && may(t, user, right) {
					t.Errorf("without the component: %s", right)
				}
			}
			install(t, c, with(t, component))
			defer func() {
				for _, kind := range []string{"ClusterRoleBinding", "RoleBinding"} {
					for _, o := range only(with(t, component), kind) {
						if !strings.Contains(o.GetName(), component) {
							continue
						}
						if err := c.Delete(stepContext(t), o); err != nil {
							t.Error(err)
						}
					}
				}
			}()
			for right, want := range rights {
				if want {
					comesTo(t, user, right, true)
				}
			}
			for right, want := range rights {
				if !want && may(t, user, right) {
					t.Errorf("%s: granted", right)
				}
			}
		})
	}
}

// TestPolicyReportsFlag proves that the component turns on what it gives rights for.
func TestPolicyReportsFlag(t *testing.T) {
	for _, d := range only(with(t, "policy-reports"), "Deployment") {
		containers := convert[appsv1.Deployment](t, d).Spec.Template.Spec.Containers
		has := slices.Contains(containers[0].Args, "--policy-reports")
		if has != (d.GetName() == webhook) {
			t.Errorf("%s: --policy-reports is there: %t", d.GetName(), has)
		}
	}
}
