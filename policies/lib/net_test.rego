package lib.net_test

import data.lib.net

test_covered if {
	every case in [
		["a.example.com", ["a.example.com"], true],
		["a.example.com", ["*.example.com"], true],
		["a.b.example.com", ["*.example.com"], false],
		["example.com", ["*.example.com"], false],
		["localhost", ["*.example.com"], false],
		[1, ["*.example.com"], false],
	] {
		count([1 | net.covered(case[0], case[1])]) == {true: 1, false: 0}[case[2]]
	}
}

test_within if {
	every case in [
		["example.com", true],
		["a.example.com", true],
		["badexample.com", false],
	] {
		count([1 | net.within(case[0], "example.com")]) == {true: 1, false: 0}[case[1]]
	}
}

test_wildcard if {
	every host in ["", "*", null, "*.example.com"] {
		net.wildcard(host)
	}
	not net.wildcard("example.com")
}

test_open_range if {
	every range in ["0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/7", "::/0", "2000::/3", "10.0.0.1", "everybody", null, 7] {
		net.open_range(range)
	}
	every range in ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"] {
		not net.open_range(range)
	}
}
