# METADATA
# title: Names and networks
# description: Compares host names and address ranges.
package lib.net

# Whether a host is one of a list of names. "*.example.com" stands for hosts of one
# more label, as in a certificate.
covered(host, names) if host in names

covered(host, names) if {
	[_, rest] := split_first(host)
	concat("", ["*.", rest]) in names
}

split_first(host) := [substring(host, 0, i), substring(host, i + 1, -1)] if {
	is_string(host)
	i := indexof(host, ".")
	i > 0
}

# Whether a host is a domain, or below it.
within(host, domain) if host == domain

within(host, domain) if endswith(host, concat("", [".", domain]))

wildcard(host) if host in {"", "*", null}

wildcard(host) if startswith(host, "*.")

# Whether a range is so wide that it is no restriction, or is no range at all.
open_range(range) if not net.cidr_is_valid(range)

open_range(range) if {
	net.cidr_is_valid(range)
	[address, bits] := split(range, "/")
	to_number(bits) < least_bits(address)
}

least_bits(address) := 16 if contains(address, ":")

least_bits(address) := 8 if not contains(address, ":")
