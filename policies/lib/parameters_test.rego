package lib.parameters_test

import data.lib.parameters

test_given if parameters.get("a", 1) == 2 with input as {"parameters": {"a": 2}}

test_given_false if parameters.get("a", true) == false with input as {"parameters": {"a": false}}

test_fallback if {
	every document in [{}, {"parameters": {}}, {"parameters": {"a": null}}, {"parameters": null}, {"parameters": []}] {
		parameters.get("a", 1) == 1 with input as document
	}
}

right := {
	"boolean": [true, false],
	"count": [0, 7],
	"text": ["a"],
	"pattern": ["^a+$", ""],
	"strings": [[], ["a"]],
	"texts": [{}, {"a": "b"}],
	"patterns": [{}, {"a": "b+"}],
	"lists": [{}, {"a": []}, {"a": ["b"]}],
	"counts": [{}, {"a": 0}, {"a": 3, "b": 1}],
	"severity": ["low", "medium", "high", "critical"],
	"entries": [[], [{"paths": ["a"], "signers": []}, {"paths": [], "signers": ["b"], "minimum": 2}]],
}

wrong := {
	"boolean": ["true", 1, []],
	"count": [-1, 0.5, "7", []],
	"text": ["", 1, ["a"]],
	"pattern": ["(", 1],
	"strings": ["a", {}, [1], [["a"]]],
	"texts": ["a", [], {"a": 1}],
	"patterns": ["a", {"a": "("}, {"a": 1}],
	"lists": [[], {"a": "b"}, {"a": [1]}],
	"counts": [3, [3], {"a": "3"}, {"a": -1}],
	"severity": ["", "CRITICAL", "worst", 7, ["low"]],
	"entries": ["a", {}, ["a"], [{}], [{"paths": ["a"]}], [{"paths": "a", "signers": []}], [{"paths": [], "signers": [], "minimum": "2"}], [{"paths": [], "signers": [], "more": 1}]],
}

test_right if {
	object.keys(right) == object.keys(parameters.wants)
	every type, values in right {
		every value in values {
			parameters.problems({"a": type}) == {} with input.parameters as {"a": value}
		}
	}
}

test_wrong if {
	object.keys(wrong) == object.keys(parameters.wants)
	every type, values in wrong {
		every value in values {
			object.keys(parameters.problems({"a": type})) == {"a"} with input.parameters as {"a": value}
		}
	}
}

test_not_given if parameters.problems({"a": "boolean"}) == {} with input as {}

test_message if {
	found := parameters.problems({"a": "count"}) with input.parameters as {"a": -1}
	found == {"a": "parameter a must be a whole number, 0 or more: correct it in the policy set"}
}
