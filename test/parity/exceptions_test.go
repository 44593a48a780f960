package parity

import (
	"strings"
	"time"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// reserved is a plan in which Alice may except, below deploy/exceptions.
func reserved(_ *site, p *plan) {
	p.trust.Spec.Exceptions = &v1alpha1.ExceptionTrust{Paths: []string{"deploy/exceptions/**"}, Signers: []string{"alice"}}
}

// exception is an exception of the ConfigMap more from the rules of the house.
func exception(namespace string, days int) string {
	return `apiVersion: gitgate.dev/v1alpha1
kind: PolicyException
metadata: {name: more}
spec:
  policies: [{policySet: ` + houseRules().Name + `, rules: [house.deny]}]
  match: {kinds: [{kind: ConfigMap}], namespaces: [` + namespace + `], names: [more]}
  owner: team-parity
  reason: the doors have to agree
  expires: "` + time.Now().AddDate(0, 0, days).UTC().Format("2006-01-02T15:04:05Z") + "\"\n"
}

// exceptionTrials are commits that need exceptions, or bring some.
func (w *world) exceptionTrials() map[string]trial {
	debug := lab.ConfigMap("more", "debug", "true")
	bob := func(c gitrepo.Change) gitrepo.Change { return by(c, w.Bob.Person(), w.Bob) }
	out := map[string]trial{}
	// add makes a trial; make gets a function that makes the exception of its site.
	add := func(name string, make func(excepts func(days int, more ...string) gitrepo.Change) trial) {
		namespace := "policy-" + strings.ToLower(name)
		tr := make(func(days int, more ...string) gitrepo.Change {
			return files(append([]string{"exceptions/more.yaml", exception(namespace, days)}, more...)...)
		})
		if tr.plan == nil {
			tr.plan = reserved
		}
		out[name] = tr
	}
	type excepts = func(int, ...string) gitrepo.Change
	add("Excepted", func(e excepts) trial {
		return trial{reason: "With an exception by who may except it passes.", change: e(60, "more.yaml", debug), want: reasons(verdict.PolicyDenied), says: "excepted until"}
	})
	add("ExceptByOther", func(e excepts) trial {
		return trial{reason: "Who may not except does not, also where he may change all else.", change: bob(e(60, "more.yaml", debug)), want: reasons(verdict.PolicyDenied, verdict.SignerNotAllowed)}
	})
	add("ExceptBefore", func(e excepts) trial {
		return trial{reason: "Nor in a commit before.", before: []gitrepo.Change{bob(e(60))}, change: bob(files("more.yaml", debug)), want: reasons(verdict.PolicyDenied, verdict.SignerNotAllowed)}
	})
	add("ExceptUsed", func(e excepts) trial {
		return trial{reason: "What was excepted before can be used by others.", before: []gitrepo.Change{e(60)}, change: bob(files("more.yaml", debug)), want: reasons(verdict.PolicyDenied)}
	})
	add("ExceptElsewhere", func(e excepts) trial {
		return trial{reason: "An exception outside of the reserved path.", change: files("more.yaml", debug, "exception.yaml", exception("policy-exceptelsewhere", 60)), want: reasons(verdict.ExceptionInvalid, verdict.PolicyDenied)}
	})
	add("ExceptNowhere", func(e excepts) trial {
		return trial{reason: "No path is reserved.", plan: func(*site, *plan) {}, change: e(60, "more.yaml", debug), want: reasons(verdict.ExceptionInvalid, verdict.PolicyDenied)}
	})
	add("ExceptOthers", func(e excepts) trial {
		return trial{reason: "The objects of another GitSync are none of its business.", change: files("exceptions/more.yaml", exception("policy-excepted", 60), "more.yaml", debug), want: reasons(verdict.ExceptionUnused, verdict.PolicyDenied), says: "does not cover it: the namespace is"}
	})
	add("ExceptUnused", func(e excepts) trial {
		return trial{reason: "Nothing to except.", change: e(60), want: reasons(verdict.ExceptionUnused)}
	})
	add("ExceptExpiring", func(e excepts) trial {
		return trial{reason: "An end that is near.", change: e(7, "more.yaml", debug), want: reasons(verdict.ExceptionExpiring, verdict.PolicyDenied)}
	})
	add("ExceptExpired", func(e excepts) trial {
		return trial{reason: "An end that was.", change: e(-1, "more.yaml", debug), want: reasons(verdict.ExceptionExpiring, verdict.PolicyDenied), says: "it expired"}
	})
	return out
}
