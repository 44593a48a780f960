// Package registration tells the API server to ask gitgate, and sees to it that
// it goes on asking.
//
// [Registrar] installs a ValidatingWebhookConfiguration that covers every write,
// without selectors that a label could slip through, and a set of
// ValidatingAdmissionPolicies. It restores what somebody deletes or weakens
// within seconds. Several replicas may do so at once: all of them want the same
// content, and whoever writes second finds it there.
//
// # What never reaches the webhook
//
// If every write had to pass, an outage of the webhook would take the control
// plane with it: nodes could not renew their leases, the API server could not
// write its bootstrap roles and would end itself, and nobody could start our own
// Pods again. So a short list of pairs of a user and a resource is left out by
// matchConditions ([Pairs]). Whoever may impersonate those users reaches the same
// resources; a policy per pair, evaluated by the API server itself, bounds what
// they can be made to hold.
//
// # Modes
//
// While no lock is on, nothing but the policy on the dry-run account is
// installed: gitgate has no opinion about any write, so it must not be able to
// hold one up. In Audit the webhook is installed with failurePolicy Ignore and the
// policies report only, because Audit promises that nothing is refused, and an
// outage would refuse. As soon as one lock enforces, failurePolicy is Fail and
// the policies deny. Getting stricter is immediate. Getting laxer waits until this
// replica has wanted it for a minute, so that one that lags, or was cut off from
// Git, cannot switch off what the others enforce for long. Where replicas disagree
// the stricter one has its way: the other takes its mode up and waits for a minute
// again. The webhook's failurePolicy tells which mode is in effect.
//
// The first step to Enforce is a trial: as long as the API server has not asked
// this replica anything, Enforce is installed as Audit is. A wrong Service or
// NetworkPolicy then shows as a log line and a metric rather than as a cluster
// that refuses every write. Once Enforce is in force it is never tried again.
//
// Objects are written by PUT, not by server-side apply: apply would leave in place
// what somebody added, such as one more matchCondition that lets his writes pass.
package registration
