package git_discipline_test

good := {
	"sha": "0123456789abcdef", "author": "Ann <ann@example.com>", "signers": ["ann"], "paths": ["shop/web.yaml"],
	"message": "shop: version 2\n\nTicket: OPS-12\n",
}

web := {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "web"}}

findings(document) := {[name, place(result)] |
	some name, results in data.git_discipline with input as document
	startswith(name, "deny_")
	some result in results
}

place(result) := result.field

place(result) := "" if not result.field

signers := "commit.signers"

entry := {"paths": ["shop/**"], "signers": ["bob", "eve"]}

cases := [
	[{}, {}, set()],
	[{}, {"pathSigners": [{"paths": ["shop/*.yaml"], "signers": ["ann"]}]}, set()],
	[{}, {"pathSigners": [entry]}, {["deny_path_signers", signers]}],
	[{"signers": ["eve"]}, {"pathSigners": [entry]}, set()],
	[{"signers": ["eve"]}, {"pathSigners": [object.union(entry, {"minimum": 2})]}, {["deny_path_signers", signers]}],
	[{"signers": ["eve", "eve"]}, {"pathSigners": [object.union(entry, {"minimum": 2})]}, {["deny_path_signers", signers]}],
	[{"signers": ["eve", "bob"]}, {"pathSigners": [object.union(entry, {"minimum": 2})]}, set()],
	[{"signers": ["eve"]}, {"pathSigners": [entry, {"paths": ["**"], "signers": ["ann"]}]}, {["deny_path_signers", signers]}],
	[{"paths": ["shops/web.yaml"]}, {"pathSigners": [entry]}, set()],
	[{"paths": []}, {"pathSigners": [entry]}, set()],
	[{}, {"pathSigners": [{"paths": ["shop/web.yaml"], "signers": []}]}, {["deny_path_signers", signers]}],
	[{"paths": ["shop/a", "docs/b"]}, {"pathSigners": [{"paths": ["shop/*"], "signers": ["ann"]}], "everyPathOwned": true}, {["deny_unowned_path", "commit.paths"]}],
	[{}, {"pathSigners": [{"paths": ["shop/*"], "signers": ["ann"]}], "everyPathOwned": true}, set()],
	[{}, {"kindSigners": {"Role": ["bob"], "ClusterRole": ["eve"]}}, {["deny_kind_signers", "kind"]}],
	[{}, {"kindSigners": {"Role.rbac.authorization.k8s.io": ["bob"]}}, {["deny_kind_signers", "kind"]}],
	[{}, {"kindSigners": {"Role": ["bob", "ann"], "role": ["bob"], "Role.example.com": ["bob"]}}, set()],
	[{"signers": []}, {}, {["deny_too_few_signers", signers]}],
	[{"signers": [""]}, {}, {["deny_too_few_signers", signers]}],
	[{}, {"minimumSigners": 2}, {["deny_too_few_signers", signers]}],
	[{"signers": ["ann", "ann"]}, {"minimumSigners": 2}, {["deny_too_few_signers", signers]}],
	[{"signers": ["ann", "bob"]}, {"minimumSigners": 2}, set()],
	[{"paths": ["a/x", "b/x"]}, {"environments": {"a": ["a/**"], "b": ["b/**"]}}, {["deny_mixed_environments", "commit.paths"]}],
	[{"paths": ["a/x", "docs/x"]}, {"environments": {"a": ["a/**"], "b": ["b/**"]}}, set()],
	[{}, {"requiredTrailers": {"ticket": "^OPS-[0-9]+$"}}, set()],
	[{}, {"requiredTrailers": {"Ticket": "^DEV-"}}, {["deny_trailer_missing", "commit.message"]}],
	[{"message": "a\n\nOther: OPS-12"}, {"requiredTrailers": {"Ticket": "^OPS"}}, {["deny_trailer_missing", "commit.message"]}],
	[{"message": "Ticket: OPS-12"}, {"requiredTrailers": {"Ticket": "^OPS"}}, {["deny_trailer_missing", "commit.message"]}],
	[{"message": ""}, {}, {["deny_subject", "commit.message"]}],
	[{}, {"subjectPattern": "^(feat|fix): "}, {["deny_subject", "commit.message"]}],
	[{}, {"maxSubjectLength": 9}, {["deny_subject", "commit.message"]}],
	[{"message": "WIP version 2"}, {}, {["deny_unfinished", "commit.message"]}],
	[{"message": "fixup! version 2"}, {}, {["deny_unfinished", "commit.message"]}],
	[{"message": "Wipe the disk"}, {}, set()],
	[{}, {"authorDomains": ["example.com"]}, set()],
	[{}, {"authorDomains": ["ample.com"]}, {["deny_author_domain", "commit.author"]}],
	[{"author": "Ann"}, {"authorDomains": ["example.com"]}, {["deny_author_domain", "commit.author"]}],
	[{"author": null}, {"authorDomains": ["example.com"]}, {["deny_author_domain", "commit.author"]}],
	[{"paths": ["a", "b", "c"]}, {"maxPaths": 2}, {["deny_too_many_paths", "commit.paths"]}],
	[{"paths": ["a", "b"]}, {"maxPaths": 2}, set()],
	[{"signers": "ann"}, {}, {["deny_no_commit", "commit"]}],
	[{"paths": "shop/web.yaml"}, {"maxPaths": 100}, {["deny_no_commit", "commit"]}],
	[{"message": 7}, {}, {["deny_no_commit", "commit"]}],
	[{}, {"maxPaths": -1}, {["deny_wrong_parameters", ""]}],
]

test_cases if {
	every case in cases {
		got := findings({"object": web, "commit": object.union(good, case[0]), "parameters": case[1]})
		print(case, " found ", got)
		got == case[2]
	}
}

test_deletions_are_judged if {
	got := findings({"operation": "DELETE", "oldObject": web, "commit": good, "parameters": {"kindSigners": {"Role": ["bob"]}}})
	got == {["deny_kind_signers", "kind"]}
}

# The kind is that of the new object; an old one counts when there is none.
test_updates_are_judged_by_the_new_object if {
	old := {"apiVersion": "v1", "kind": "Namespace"}
	findings({"operation": "UPDATE", "object": web, "oldObject": old, "commit": good, "parameters": {"kindSigners": {"Namespace": ["bob"]}}}) == set()
}

test_core_kinds if {
	got := findings({"object": {"apiVersion": "v1", "kind": "Namespace"}, "commit": good, "parameters": {"kindSigners": {"Namespace": ["bob"]}}})
	got == {["deny_kind_signers", "kind"]}
}

test_no_commit if findings({"object": web, "parameters": {"minimumSigners": 2}}) == {["deny_no_commit", "commit"]}
