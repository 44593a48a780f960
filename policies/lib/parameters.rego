# METADATA
# title: Parameters
# description: Reads the parameters of a set, and says which of them are of the wrong type.
package lib.parameters

# A parameter that is null counts as one that is not given.
given(name) if input.parameters[name] != null

get(name, _) := input.parameters[name] if given(name)

get(name, fallback) := fallback if not given(name)

# What is wrong with the parameters, by name, where types says of each what it
# must be. A rule that meets a list where it looks for an object would find
# nothing; so each pack denies while its parameters are wrong.
problems(types) := {name: msg |
	some name, type in types
	given(name)
	value := input.parameters[name]
	not is(value, type)
	msg := sprintf("parameter %s must be %s: correct it in the policy set", [name, wants[type]])
}

wants := {
	"boolean": "true or false",
	"text": "a text",
	"count": "a whole number, 0 or more",
	"pattern": "a regular expression",
	"strings": "a list of texts",
	"texts": "an object of texts",
	"patterns": "an object of regular expressions",
	"lists": "an object of lists of texts",
	"counts": "an object of whole numbers, 0 or more",
	"severity": "low, medium, high or critical",
	"entries": "a list of objects with paths, signers and perhaps minimum",
}

is(value, "boolean") if is_boolean(value)

is(value, "count") if is_count(value)

is(value, "text") if {
	is_string(value)
	value != ""
}

is(value, "pattern") if is_pattern(value)

is(value, "strings") if is_strings(value)

is(value, "texts") if {
	is_object(value)
	every item in value {
		is_string(item)
	}
}

is(value, "patterns") if {
	is_object(value)
	every item in value {
		is_pattern(item)
	}
}

is(value, "lists") if {
	is_object(value)
	every item in value {
		is_strings(item)
	}
}

is(value, "counts") if {
	is_object(value)
	every item in value {
		is_count(item)
	}
}

is(value, "severity") if value in {"low", "medium", "high", "critical"}

is(value, "entries") if {
	is_array(value)
	every item in value {
		is_entry(item)
	}
}

is_entry(item) if {
	is_strings(item.paths)
	is_strings(item.signers)
	object.keys(item) - {"minimum", "paths", "signers"} == set()
	is_count(object.get(item, "minimum", 1))
}

is_pattern(value) if {
	is_string(value)
	regex.is_valid(value)
}

is_strings(value) if {
	is_array(value)
	every item in value {
		is_string(item)
	}
}

is_count(value) if {
	is_number(value)
	value >= 0
	floor(value) == value
}
