// Package author is what people who write policies work with: it runs their tests,
// finds what is wrong with rules that load all the same, measures them, and makes a
// catalogue of what they say of themselves.
//
// [Run] runs tests in three notations: Rego's own as opa test does, manifests of
// kind PolicyTest with the findings that are expected, and the suites of
// Gatekeeper's gator. A test that asserts nothing is a failure, and so is a
// directory without a test.
//
// Nothing here decides anything about a cluster. What is read is still a
// stranger's: files are bounded, symbolic links are not followed, and what is
// printed can neither steer a terminal nor a CI system.
package author
