package lib.net_test

import data.lib.net

test_covered if {
	net.covered("a.example.com", ["a.example.com"])
	net.covered("a.example.com", ["*.example.com"])
	not net.covered("a.b.example.com", ["*.example.com"])
	not net.covered("example.com", ["*.example.com"])
	not net.covered("localhost", ["*.example.com"])
	not net.covered(1, ["*.example.com"])
}

test_within if {
	net.within("example.com", "example.com")
	net.within("a.example.com", "example.com")
	not net.within("badexample.com", "example.com")
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
