# METADATA
# title: Git discipline
# description: Who may change what, with whom, and what a commit says of itself. The rules judge the commit that brings an object, whatever the object is.
# related_resources:
# - ref: https://slsa.dev/spec/v1.2/source-requirements
package git_discipline

import data.lib.commit
import data.lib.parameters

parameter_types := {
	"pathSigners": "entries",
	"everyPathOwned": "boolean",
	"kindSigners": "lists",
	"minimumSigners": "count",
	"environments": "lists",
	"requiredTrailers": "patterns",
	"subjectPattern": "pattern",
	"maxSubjectLength": "count",
	"authorDomains": "strings",
	"maxPaths": "count",
}

# METADATA
# title: Wrong parameters
# description: A parameter of the wrong type would make rules look past what they are to find.
# custom:
#   severity: high
#   remediation: Correct the parameter; parameters.jsonschema of the pack says what it must be.
deny_wrong_parameters contains {"msg": msg} if some msg in parameters.problems(parameter_types)

has_commit if {
	is_string(input.commit.message)
	is_array(input.commit.signers)
	is_array(input.commit.paths)
}

# METADATA
# title: No commit
# description: Without the commit none of this can be decided. A door that knows no commit says that it is undetermined.
# custom:
#   severity: high
#   remediation: "Use these rules where commits are judged: in a GitSync and in gitgate check."
deny_no_commit contains {"field": "commit", "msg": msg} if {
	not has_commit
	msg := "the commit is not known here, or has no message, signers or paths: use this pack where commits are judged"
}

path_signers := parameters.get("pathSigners", [])

matching(globs) := {path |
	some path in input.commit.paths
	some pattern in globs
	glob.match(pattern, ["/"], path)
}

# METADATA
# title: Signers of paths
# description: Paths in the parameter pathSigners are changed by commits that enough of their signers have signed.
# custom:
#   severity: high
#   remediation: Have the commit signed by whom the path is entrusted to.
deny_path_signers contains {"field": "commit.signers", "msg": msg} if {
	some entry in path_signers
	paths := matching(entry.paths)
	paths != set()
	enough := object.get(entry, "minimum", 1)
	count(commit.signers & {signer | some signer in entry.signers}) < enough
	msg := sprintf("%s may be changed with %v of the signatures of %s: have the commit signed", [min(paths), enough, concat(", ", entry.signers)])
}

# METADATA
# title: Paths of nobody
# description: With everyPathOwned, every path that a commit changes is entrusted to somebody.
# custom:
#   severity: medium
#   remediation: Add the path to pathSigners.
deny_unowned_path contains {"field": "commit.paths", "msg": msg} if {
	parameters.get("everyPathOwned", false)
	owned := {path | some entry in path_signers; some path in matching(entry.paths)}
	unowned := {path | some path in input.commit.paths} - owned
	unowned != set()
	msg := sprintf("%s is entrusted to nobody: add it to pathSigners", [min(unowned)])
}

# The kind of the object, or of the one that is deleted, with and without its group:
# Role and Role.rbac.authorization.k8s.io.
kind_names contains input.object.kind

kind_names contains input.oldObject.kind if not input.object.kind

kind_names contains sprintf("%s.%s", [input.object.kind, group]) if {
	[group, _] := split(input.object.apiVersion, "/")
}

kind_names contains sprintf("%s.%s", [input.oldObject.kind, group]) if {
	not input.object.kind
	[group, _] := split(input.oldObject.apiVersion, "/")
}

# METADATA
# title: Signers of kinds
# description: Objects of the kinds in the parameter kindSigners are changed by commits that one of their signers has signed.
# custom:
#   severity: high
#   remediation: Have the commit signed by whom the kind is entrusted to.
deny_kind_signers contains {"field": "kind", "msg": msg} if {
	has_commit
	some kind, signers in parameters.get("kindSigners", {})
	kind in kind_names
	commit.signers & {signer | some signer in signers} == set()
	msg := sprintf("%s may be changed with a signature of %s: have the commit signed", [kind, concat(", ", signers)])
}

# METADATA
# title: Four eyes
# description: A commit has the signatures of as many different signers as the parameter minimumSigners says.
# custom:
#   severity: high
#   remediation: Have somebody else sign it as well, as with a signed merge.
deny_too_few_signers contains {"field": "commit.signers", "msg": msg} if {
	has_commit
	least := parameters.get("minimumSigners", 1)
	count(commit.signers) < least
	msg := sprintf("%v have signed, of %v who must: have the commit signed by others too", [count(commit.signers), least])
}

# METADATA
# title: Several environments at once
# description: A commit that changes several environments leaves no time to see what it does in the first one.
# custom:
#   severity: medium
#   remediation: Make one commit for each environment.
deny_mixed_environments contains {"field": "commit.paths", "msg": msg} if {
	touched := {name |
		some name, globs in parameters.get("environments", {})
		matching(globs) != set()
	}
	count(touched) > 1
	msg := sprintf("%s are changed by one commit: make one for each", [concat(" and ", sort(touched))])
}

# METADATA
# title: Trailers
# description: A commit message ends with the trailers in the parameter requiredTrailers, each with a value that fits.
# custom:
#   severity: medium
#   remediation: Add the trailer as a line of the last paragraph.
deny_trailer_missing contains {"field": "commit.message", "msg": msg} if {
	has_commit
	some name, pattern in parameters.get("requiredTrailers", {})
	not has_trailer(name, pattern)
	msg := sprintf("the commit message has no trailer \"%s:\" with a value like %s: add it as a line of the last paragraph", [name, pattern])
}

has_trailer(name, pattern) if {
	some [key, value] in commit.trailers
	key == lower(name)
	regex.match(pattern, value)
}

# METADATA
# title: Subject
# description: The first line of a message says what the commit does, in the form and length that the parameters want.
# custom:
#   severity: low
#   remediation: Change the first line.
deny_subject contains {"field": "commit.message", "msg": msg} if {
	has_commit
	not good_subject
	msg := "the first line of the commit message is empty, too long or of another form than subjectPattern: change it"
}

good_subject if {
	regex.match(parameters.get("subjectPattern", "^\\S"), commit.subject)
	count(commit.subject) <= parameters.get("maxSubjectLength", 100)
}

# METADATA
# title: Unfinished commits
# description: What calls itself unfinished does not belong where it is applied.
# custom:
#   severity: medium
#   remediation: Finish it, and squash the commits.
deny_unfinished contains {"field": "commit.message", "msg": msg} if {
	regex.match(`(?i)^(fixup!|squash!|amend!|wip\b|do not merge|dnm\b)`, commit.subject)
	msg := "the commit calls itself unfinished: finish it, and squash the commits"
}

# METADATA
# title: Domain of the author
# description: The author has an address of the domains in the parameter authorDomains, if it is given.
# custom:
#   severity: medium
#   remediation: Set user.email to an address of the domain.
deny_author_domain contains {"field": "commit.author", "msg": msg} if {
	has_commit
	domains := parameters.get("authorDomains", [])
	domains != []
	not author_known(domains)
	msg := sprintf("the author has no address of %s: set user.email to one", [concat(", ", domains)])
}

author_known(domains) if commit.author_domain in domains

# METADATA
# title: Size of a commit
# description: A commit that changes more paths than maxPaths says cannot be reviewed; 0 is no limit.
# custom:
#   severity: low
#   remediation: Make several commits.
deny_too_many_paths contains {"field": "commit.paths", "msg": msg} if {
	most := parameters.get("maxPaths", 0)
	most > 0
	count(input.commit.paths) > most
	msg := sprintf("the commit changes %v paths, more than %v: make several", [count(input.commit.paths), most])
}
