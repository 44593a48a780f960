package secrets

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/keyservice"
)

// dataKeySize is the length of the key that sops makes for each file.
const dataKeySize = 32

// An Opened is a decrypted file. Apply may be called concurrently, Close not.
// Printing an Opened shows nothing of what it holds.
type Opened struct {
	file   *file
	values map[leaf]plain
	closed bool
}

// Open decrypts a whole file as it lies in Git and verifies its MAC over all of
// it. The path chooses the format by its extension and appears in errors; nothing
// is read from it.
//
// It fails with an [Error]: [SecretUndecryptable] when no key opens the file,
// [KeyServiceDenied] when the recipients that remain would need a key service or
// an age plugin, [SecretIntegrity] when the MAC is missing, leaves out plaintext
// (mac_only_encrypted) or does not match, or when a ciphertext was changed or
// moved, [PlaintextSecret] when a Secret in the file has a value that is not
// encrypted, and [InvalidManifest] when the file is malformed or over a limit.
// When ctx ends it returns an error that wraps ctx's.
//
// It opens ciphertext wherever it stands; where it may stand in an object that is
// to be applied [CheckObject] says. Call [Opened.Close] when done.
func Open(ctx context.Context, path string, raw []byte, keys *Keys) (opened *Opened, err error) {
	defer func() {
		if recover() != nil { // the value may quote the file
			opened, err = nil, problem(SecretUndecryptable, path, "the SOPS metadata is malformed; restore the file as sops wrote it")
		}
	}()
	f, err := parse(path, raw)
	if err != nil {
		return nil, err
	}
	info, tree, err := f.inspect(raw)
	if err == nil {
		err = f.orphaned(info)
	}
	if err != nil {
		return nil, err
	}
	if tree == nil {
		return nil, problem(SecretUndecryptable, path, "is not encrypted with sops")
	}
	if err := f.admissible(tree); err != nil {
		return nil, err
	}
	if found := f.plaintext(); len(found) > 0 {
		return nil, found[0]
	}
	dataKey, err := recoverKey(ctx, path, tree, info, keys)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	return f.open(ctx, tree, dataKey)
}

// load reads the tree of sops.
func (f *file) load(raw []byte) (tree *sops.Tree, err error) {
	defer func() {
		if recover() != nil {
			tree, err = nil, f.unusable()
		}
	}()
	if tree, err = f.tree(raw); err != nil {
		return nil, f.unusable()
	}
	return tree, nil
}

func (f *file) unusable() error {
	e := problem(SecretUndecryptable, f.path, "the SOPS metadata is malformed; restore the file as sops wrote it")
	e.Line = f.lookup(0, []any{metadataKey})
	return e
}

// patternFault says what is wrong with a pattern from the metadata; empty means
// nothing. sops compiles it anew for every key on the way to every value, and
// takes one that does not compile for one that never matches.
func patternFault(pattern string) string {
	if pattern == "" {
		return ""
	}
	if len(pattern) > maxPattern {
		return fmt.Sprintf("is longer than %d bytes", maxPattern)
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return "is not a regular expression"
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || repeats(parsed) {
		return "uses counted repetition, which is too costly here"
	}
	return ""
}

func repeats(re *syntax.Regexp) bool {
	if re.Op == syntax.OpRepeat {
		return true
	}
	for _, sub := range re.Sub {
		if repeats(sub) {
			return true
		}
	}
	return false
}

// recoverKey asks sops for the data key with our key service as the only one.
func recoverKey(ctx context.Context, path string, tree *sops.Tree, info Info, keys *Keys) ([]byte, error) {
	if keys == nil {
		keys = &Keys{}
	}
	service := keyservice.NewCustomLocalClient(&keyService{ctx: ctx, keys: keys})
	dataKey, err := tree.Metadata.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{service}, sops.DefaultDecryptionOrder)
	if ctxErr := ctx.Err(); ctxErr != nil {
		return nil, fmt.Errorf("secrets: open %s: %w", printable(path), ctxErr)
	}
	if err != nil {
		return nil, unopened(path, info.Recipients, keys.recipients)
	}
	if len(dataKey) != dataKeySize {
		clear(dataKey)
		return nil, problem(SecretUndecryptable, path, "the data key does not have %d bytes; encrypt the file again", dataKeySize)
	}
	return dataKey, nil
}

func unopened(path string, recipients, ours []Recipient) *Error {
	var foreign []Recipient
	for _, r := range recipients {
		if r.foreign() {
			foreign = append(foreign, r)
		}
	}
	have := "no key was given"
	if len(ours) > 0 {
		have = "the keys given are " + list(describe(ours))
	}
	if len(foreign) > 0 {
		return problem(KeyServiceDenied, path, "%s, and what a file says never makes gitgate use %s; encrypt the file to an age or PGP key as well (sops updatekeys)",
			have, list(describe(foreign)))
	}
	return problem(SecretUndecryptable, path, "is encrypted to %s, but %s; add the key, or run sops updatekeys", list(describe(recipients)), have)
}

// list joins the first few of names.
func list(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// open decrypts the tree and verifies its MAC.
func (f *file) open(ctx context.Context, tree *sops.Tree, dataKey []byte) (*Opened, error) {
	sealedMAC, err := parseCiphertext(tree.Metadata.MessageAuthenticationCode)
	if err != nil {
		return nil, problem(SecretIntegrity, f.path, "the MAC is not a ciphertext of sops; restore the file as sops wrote it")
	}
	want, err := sealedMAC.open(dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		return nil, problem(SecretIntegrity, f.path, "the MAC or the time of encryption was changed; restore the file as sops wrote it")
	}
	c := &recorder{ctx: ctx, values: map[bound]plain{}}
	got, err := tree.Decrypt(dataKey, c)
	opened := &Opened{file: f, values: map[leaf]plain{}}
	if err == nil {
		err = opened.bind(c.values)
	} else if ctxErr := ctx.Err(); ctxErr != nil {
		err = fmt.Errorf("secrets: open %s: %w", printable(f.path), ctxErr)
	} else {
		err = f.undecrypted(c.failed)
	}
	if err == nil && subtle.ConstantTimeCompare(want, []byte(got)) != 1 {
		err = problem(SecretIntegrity, f.path, "the MAC does not match: a value was changed, moved, added or removed after encryption; restore the file, or edit it with sops")
	}
	if err != nil {
		c.wipe()
		return nil, err
	}
	return opened, nil
}

// undecrypted points at the value on which decryption failed.
func (f *file) undecrypted(failed *bound) error {
	e := problem(SecretIntegrity, f.path, "a value that should be ciphertext is not a string; restore the file, or edit it with sops")
	if failed == nil {
		return e
	}
	e.Message = "this value is not the ciphertext that sops wrote here: it was changed, moved or never encrypted; restore the file, or edit it with sops"
	for i, doc := range f.docs {
		walkLeaves(value(doc), nil, func(at []any, text string) {
			if e.Field == "" && text == failed.text && additionalData(at) == failed.additionalData {
				e.Field, e.Line = fieldName(at), f.lookup(i, at)
			}
		})
	}
	return e
}

// bind ties each plaintext to the documents and paths at which the raw file has
// its ciphertext, and refuses ciphertext that was not decrypted.
func (o *Opened) bind(values map[bound]plain) error {
	var stray *Error
	for i, doc := range o.file.docs {
		walkLeaves(value(doc), nil, func(at []any, text string) {
			if len(at) == 0 || at[0] == metadataKey || !strings.HasPrefix(text, ciphertextPrefix) {
				return
			}
			b := bound{text, additionalData(at)}
			v, ok := values[b]
			if !ok && stray == nil {
				stray = problem(SecretIntegrity, o.file.path, "this ciphertext stands where the metadata says that nothing is encrypted; encrypt the file again")
				stray.Field, stray.Line = fieldName(at), o.file.lookup(i, at)
			}
			o.values[leaf{document: i, bound: b}] = v
		})
	}
	if stray != nil {
		return stray
	}
	return nil
}

// Close overwrites the plaintexts, as far as Go lets it: strings that [Opened.Apply]
// put into objects are the caller's. Apply fails afterwards.
func (o *Opened) Close() {
	for _, v := range o.values {
		clear(v.text)
	}
	o.values, o.closed = nil, true
}

// Format writes the path of the file and nothing that was in it, whatever the verb.
func (o *Opened) Format(s fmt.State, _ rune) {
	if o == nil || o.file == nil {
		io.WriteString(s, "secrets.Opened(nil)")
		return
	}
	fmt.Fprintf(s, "secrets.Opened(%s)", printable(o.file.path))
}
