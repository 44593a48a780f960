package commit

import "slices"

// forgeKeyIDs are the keys with which GitHub signs for whoever presses a button:
// those published at https://github.com/web-flow.gpg.
var forgeKeyIDs = map[uint64]bool{
	0x4AEE18F83AFDEB23: true, // until January 2024
	0xB5690EEEBB952194: true,
}

// forgeEmails are addresses under which forges sign merges and web edits.
var forgeEmails = []string{
	"noreply@github.com",
	"noreply@gitlab.com",
	"noreply@bitbucket.org",
	"noreply@codeberg.org",
	"noreply@gitea.io",
	"gitea@fake.local",
	"noreply@forgejo.org",
}

// isForge reports whether a certificate is one of a forge's web flow.
func (e *openPGPEntity) isForge() bool {
	return slices.ContainsFunc(e.keys, func(k *openPGPKey) bool { return forgeKeyIDs[k.public.KeyId] }) ||
		slices.ContainsFunc(e.users, func(u *openPGPUser) bool { return containsEmail(forgeEmails, u.email()) })
}
