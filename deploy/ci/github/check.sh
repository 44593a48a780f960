#!/bin/sh
# The step of action.yml, which says what the variables GITGATE_* are.
set -eu

# fail MESSAGE: an annotation that says why nothing was judged. What a message quotes
# cannot become an order to the runner: its line breaks are escaped.
fail() {
	printf '::error title=gitgate::%s\n' "$(printf '%s' "$*" | sed -e 's/%/%25/g' | tr '\r\n' '  ')"
	printf 'verdict=error\n' >>"$GITHUB_OUTPUT"
	exit 2
}

# one_line NAME VALUE: a value that goes to GITHUB_OUTPUT must not bring lines along.
one_line() {
	case $2 in *'
'*) fail "$1 must be a single line" ;; esac
}

case ${GITHUB_EVENT_NAME:-} in
pull_request | push | merge_group) ;;
pull_request_target)
	fail "this action does not run on pull_request_target: there a stranger's branch would meet the secrets and the token of this repository. Use pull_request"
	;;
*)
	test -n "$GITGATE_BASE" && test -n "$GITGATE_HEAD" ||
		fail "the event ${GITHUB_EVENT_NAME:-} does not say what to judge: set base and head"
	;;
esac
for value in "$GITGATE_SARIF" "$GITGATE_MARKDOWN" "$GITGATE_BASE" "$GITGATE_HEAD"; do
	one_line 'a file, base and head' "$value"
done

binary=$(command -v "$GITGATE_BINARY") || fail "$GITGATE_BINARY is not there: install gitgate in a step before this one"
if test -n "$GITGATE_SHA256"; then
	sum=$({ sha256sum 2>/dev/null || shasum -a 256; } <"$binary" | cut -d ' ' -f 1)
	test "$sum" = "$GITGATE_SHA256" || fail "$GITGATE_BINARY has the checksum $sum, which is not the one that sha256 says"
else
	real=$(readlink -f "$binary") || fail "$GITGATE_BINARY cannot be found"
	case $real in
	"$(cd "$GITHUB_WORKSPACE" && pwd -P)"/*)
		fail 'the program lies in the workspace, which the branch can write to: say its sha256, or put it into RUNNER_TEMP'
		;;
	esac
fi

test -e "$GITGATE_REPOSITORY/.git" || fail "$GITGATE_REPOSITORY is not a checked out repository: use actions/checkout before, with git on the PATH"
test ! -e "$GITGATE_REPOSITORY/.git/shallow" || fail 'the clone is shallow: set fetch-depth: 0 for actions/checkout'

# A branch that is new has no base: the default branch judges it.
set -- --repo "$GITGATE_REPOSITORY" --head "$GITGATE_HEAD" --fail-on "$GITGATE_FAIL_ON"
test -n "$GITGATE_HEAD" || fail 'there is no head to judge'
case $GITGATE_HEAD in *[!0]*) ;; *) fail 'the branch was deleted: there is nothing to judge' ;; esac
judge=$GITGATE_BASE
case $judge in
*[!0]*) ;;
*)
	test -n "$GITGATE_DEFAULT_BRANCH" || fail 'there is no base: say what is in force'
	judge=refs/remotes/origin/$GITGATE_DEFAULT_BRANCH
	set -- "$@" --all
	;;
esac
set -- "$@" --base "$judge"

if test -n "$GITGATE_CONFIG_FILES"; then
	lines=$GITGATE_CONFIG_FILES prefix=
else
	lines=$GITGATE_CONFIG prefix=$judge:
fi
while IFS= read -r line; do
	test -z "$line" || set -- "$@" -c "$prefix$line"
done <<END
$lines
END
while IFS= read -r line; do
	test -z "$line" || set -- "$@" --gitsync "$line"
done <<END
$GITGATE_GITSYNC
END
while IFS= read -r line; do
	test -z "$line" || set -- "$@" "$line"
done <<END
$GITGATE_ARGS
END

temp=$(mktemp -d "${RUNNER_TEMP:-/tmp}/gitgate.XXXXXX")
sarif=${GITGATE_SARIF:-$temp/gitgate.sarif} markdown=${GITGATE_MARKDOWN:-$temp/gitgate.md}

# Names of files and messages of commits are in what follows: nothing in it is an
# order to the runner until the token comes again.
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
test "${#token}" = 32 || fail '/dev/urandom cannot be read'
printf '::stop-commands::%s\n' "$token"
code=0
"$binary" check "$@" -o text -o "github=$temp/annotations" -o "sarif=$sarif" -o "markdown=$markdown" 2>&1 || code=$?
printf '\n::%s::\n' "$token"

case $code in
0) verdict=allowed ;;
1) verdict=denied ;;
3) verdict=undetermined ;;
*) fail "gitgate check could not judge (exit $code): see above" ;;
esac
cat "$temp/annotations"
# The runner takes at most 1 MiB of a summary, and drops all of a longer one.
if test "$(wc -c <"$markdown")" -lt 1000000; then
	cat "$markdown" >>"$GITHUB_STEP_SUMMARY"
else
	printf 'gitgate: %s. The report is too long to be shown here.\n' "$verdict" >>"$GITHUB_STEP_SUMMARY"
fi
printf '%s\n' "verdict=$verdict" "sarif-file=$sarif" "markdown-file=$markdown" >>"$GITHUB_OUTPUT"
exit "$code"
