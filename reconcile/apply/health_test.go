package apply_test

import (
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policy/verdict"
)

func TestHealth(t *testing.T) {
	b := newBench(t)
	t.Run("Slow", func(t *testing.T) {
		p := b.newPlan(strings.Replace(web, "image: registry", "readinessProbe: {exec: {command: [x]}}\n        image: registry", 1))
		b.apply(p)
		// Nodes that do not exist take no Pod, so this never becomes ready.
		p = b.newPlan(strings.Replace(web, "      containers:", "      nodeName: nowhere\n      containers:", 1))
		b.apply(p)
		fs := b.a.Wait(timeout(t, 500*time.Millisecond), p)
		if len(fs) != 1 || fs[0].Reason != verdict.HealthCheckFailed || fs[0].Object != b.ns+"/Deployment.apps/web" || fs[0].Line != 1 {
			t.Errorf("findings %v, want the Deployment that is not ready", fs)
		}
	})
	t.Run("JobFails", func(t *testing.T) {
		p := b.newPlan(`{apiVersion: batch/v1, kind: Job, metadata: {name: bad, namespace: NS}, spec: {backoffLimit: 0, activeDeadlineSeconds: 1, template: {spec: {restartPolicy: Never, nodeName: nowhere, containers: [{name: a, image: a}]}}}}`)
		b.apply(p)
		start := time.Now()
		fs := b.a.Wait(timeout(t, 60*time.Second), p)
		if len(fs) != 1 || !strings.Contains(fs[0].Message, "failed") || time.Since(start) > 30*time.Second {
			t.Errorf("after %v: %v; a failed Job is final, waiting does not help", time.Since(start), fs)
		}
	})
}
