# METADATA
# title: Commits
# description: Reads the message and the author of the commit.
package lib.commit

# The paragraphs of the message; the first one is the subject.
paragraphs := [paragraph |
	is_string(input.commit.message)
	some part in regex.split(`\n[ \t]*\n`, replace(input.commit.message, "\r\n", "\n"))
	paragraph := trim(part, " \t\n")
	paragraph != ""
]

subject := split(paragraphs[0], "\n")[0]

# The trailers as [key, value]: the lines "Key: value" of the last paragraph, which
# is not the first one. Keys are in lower case, as git compares them.
trailers contains [lower(parts[1]), trim_space(parts[2])] if {
	count(paragraphs) > 1
	some line in split(paragraphs[count(paragraphs) - 1], "\n")
	[parts] := regex.find_all_string_submatch_n(`^([A-Za-z0-9][A-Za-z0-9-]*):[ \t]*(.*)$`, line, 1)
}

# The domain of the author's address, in lower case; undefined where there is none.
author_domain := lower(parts[1]) if {
	is_string(input.commit.author)
	[parts] := regex.find_all_string_submatch_n(`<[^<>@\s]+@([^<>@\s]+)>$`, input.commit.author, 1)
}

signers contains signer if {
	some signer in input.commit.signers
	signer != ""
}
