//go:build !race

package main_test

// buildFlags build gitgate as the tests are built, out of the same cache.
var buildFlags []string
