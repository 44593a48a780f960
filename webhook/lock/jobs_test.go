package lock_test

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

const (
	liveTick = `{apiVersion: batch/v1, kind: CronJob, metadata: {name: tick, namespace: shop, uid: c1}, spec: {schedule: "* * * * *", jobTemplate: {spec: {template:
  {metadata: {labels: {app: tick}}, spec: {restartPolicy: Never, containers: [{name: app, image: "example.com/tick:1"}]}}}}}}`
	newTick = `{apiVersion: batch/v1, kind: Job, metadata: {name: tick-1, namespace: shop, uid: j1, labels: {app: tick, batch.kubernetes.io/controller-uid: j1, batch.kubernetes.io/job-name: tick-1, controller-uid: j1, job-name: tick-1},
  ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: tick, uid: c1, controller: true}]}, spec: {selector: {matchLabels: {batch.kubernetes.io/controller-uid: j1}}, template:
  {metadata: {labels: {app: tick, batch.kubernetes.io/controller-uid: j1, batch.kubernetes.io/job-name: tick-1, controller-uid: j1, job-name: tick-1}}, spec: {restartPolicy: Never, containers: [{name: app, image: "example.com/tick:1"}]}}}}`
)

// TestJobOfCronJob checks the labels of a Job whose template has none: the server
// gives it those of its Pods.
func TestJobOfCronJob(t *testing.T) {
	w := newWorld(t)
	w.release(func(r *lock.Release) { r.Namespaces = []string{"shop"} }, w.object(liveTick))
	w.own(liveTick)
	by := controller("cronjob-controller")
	w.check(t, "Those of the Pods.", try{user: by, op: admissionv1.Create, new: newTick, name: "-"}, "")
	w.check(t, "No others.", try{user: by, op: admissionv1.Create, new: edit(newTick, "labels: {app: tick, batch.kubernetes.io/controller-uid: j1, batch.kubernetes.io/job-name: tick-1, controller-uid: j1, job-name: tick-1},\n", "labels: {app: web},\n"), name: "-"}, verdict.NotDerived)
	w.check(t, "Not where its Pods have others too.", try{user: by, op: admissionv1.Create, new: edit(newTick, "app: tick,", "app: web,"), name: "-"}, verdict.NotDerived)
	w.check(t, "By its controller.", try{user: alice, op: admissionv1.Create, new: newTick, name: "-"}, verdict.NotDerived)
}

// TestFinishedJob checks when a Job may go by itself, also while the release that
// drops it is on its way.
func TestFinishedJob(t *testing.T) {
	const job = `{apiVersion: batch/v1, kind: Job, metadata: {name: once, namespace: shop}, spec: {ttlSecondsAfterFinished: 5, template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}`
	done := edit(job, "kind: Job,", "kind: Job, status: {conditions: [{type: Complete, status: 'True'}]},")
	ttl := controller("ttl-after-finished-controller")
	w := newWorld(t)
	w.release(nil, w.object(job))
	drop := func() {
		w.release(func(r *lock.Release) {
			r.Revision, r.Applied = "main@sha1:2222222222222222222222222222222222222222", false
		})
	}
	for _, when := range []string{"in Git", "dropped"} {
		if when == "dropped" {
			drop()
		}
		w.check(t, "A finished Job goes, "+when+".", try{user: ttl, op: admissionv1.Delete, old: done}, "")
		w.check(t, "One that runs does not, "+when+".", try{user: ttl, op: admissionv1.Delete, old: job}, verdict.ManagedDelete)
		w.check(t, "People do not delete it, "+when+".", try{user: alice, op: admissionv1.Delete, old: done}, verdict.ManagedDelete)
	}
	w = newWorld(t)
	w.release(nil, w.object(edit(job, "ttlSecondsAfterFinished: 5, ", "")))
	w.check(t, "It stays where Git does not say when it goes.", try{user: ttl, op: admissionv1.Delete, old: done}, verdict.ManagedDelete)
	drop()
	w.check(t, "Also when it is dropped.", try{user: ttl, op: admissionv1.Delete, old: done}, verdict.ManagedDelete)
}
