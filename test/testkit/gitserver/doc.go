// Package gitserver serves bare Git repositories over loopback, for tests and
// for the demonstration.
//
// It is a real server: smart HTTP goes through git's own http-backend, SSH runs
// git-upload-pack and git-receive-pack, both with authentication. Around it sit
// a recorder ([Server.Requests]) and faults ([Server.Inject]). A [Script] takes
// git's place where a test needs answers that git would never give.
//
// Git must be on the PATH. Nothing outlives [Server.Close].
package gitserver
