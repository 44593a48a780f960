package secrets

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CheckObject fails with an [Error] when the form of a rendered object shows that
// it must not be applied, before anything is decrypted. encrypted says whether
// the file that the object comes from carries SOPS metadata.
//
// Ciphertext is refused with [SecretIntegrity] anywhere but under the data and
// stringData of a Secret, for what judges the object would not see what it
// becomes. In a Secret whose file carries no metadata it is refused with
// [SecretUndecryptable]: it would be applied as it is. Metadata that is not from
// the object's own file gives SecretIntegrity, and a value of a Secret that is not
// encrypted gives [PlaintextSecret]. In files with metadata the last is left to
// [Open].
//
// Objects of other kinds from files without metadata are never decrypted, so what
// looks like ciphertext there is text like any other.
func CheckObject(path string, object map[string]any, encrypted bool) error {
	if m := misplaced(object, encrypted); m != nil {
		e := problem(m.reason, path, "%s", m.message)
		e.Field = fieldName(m.at)
		return e
	}
	if encrypted {
		return nil
	}
	if open := PlaintextLeaves(object); len(open) > 0 {
		e := problem(PlaintextSecret, path, "the Secret holds plaintext in %s: encrypt the file with sops, and rotate the secret, for it is in Git's history now", firstOf(open))
		e.Field = open[0]
		return e
	}
	return nil
}

// A misplacement is ciphertext or metadata in the wrong place of an object.
type misplacement struct {
	reason  Reason
	at      []any
	message string
}

func misplaced(object map[string]any, encrypted bool) *misplacement {
	metadata, _ := object[metadataKey].(map[string]any)
	if !encrypted && metadata == nil && !isSecret(object) {
		return nil
	}
	var stray, open [][]any
	walkLeaves(object, nil, func(at []any, text string) {
		switch top, _ := at[0].(string); {
		case !strings.Contains(text, ciphertextPrefix):
		case top == metadataKey && metadata != nil: // never applied
		case !isSecret(object) || !slices.Contains(secretFields, top):
			stray = append(stray, push(at))
		case !encrypted && isCiphertext(text): // or else it is plaintext
			open = append(open, push(at))
		}
	})
	switch {
	case len(stray) > 0:
		return &misplacement{SecretIntegrity, stray[0], fmt.Sprintf(
			"%s holds ciphertext, and only data and stringData of a Secret may: rules and image checks could not see what it becomes; set encrypted_regex to %q and encrypt again",
			firstOf(fieldNames(stray)), "^(data|stringData)$")}
	case len(open) > 0:
		return &misplacement{SecretUndecryptable, open[0], fmt.Sprintf(
			"%s holds ciphertext of another file, or its file has lost its sops metadata: write the Secret as a manifest and encrypt that with sops",
			firstOf(fieldNames(open)))}
	case metadata != nil && !encrypted:
		return &misplacement{SecretIntegrity, []any{metadataKey}, "the sops metadata is not from the object's own file: do not patch it in"}
	}
	return nil
}

// misplaced returns one problem an object of the file that [CheckObject] refuses
// for more than plaintext.
func (f *file) misplaced() []*Error {
	encrypted, _ := f.metadata() // what is wrong with it is told by inspect
	var found []*Error
	for i, doc := range f.docs {
		for _, o := range objectsIn(value(doc)) {
			m := misplaced(o.content, encrypted)
			if m == nil {
				continue
			}
			at := slices.Concat(o.at, m.at)
			e := problem(m.reason, f.path, "%s", m.message)
			e.Line, e.Field = f.lookup(i, at), fieldName(at)
			found = append(found, e)
		}
	}
	return found
}

// An objectAt is an object of a document and where it stands.
type objectAt struct {
	at      []any
	content map[string]any
}

// objectsIn returns the objects of a document: itself, or the items of a List, as
// they are rendered. A document without a kind is no manifest and has none.
func objectsIn(document any) []objectAt {
	object, _ := document.(map[string]any)
	kind, _ := object["kind"].(string)
	if kind == "" {
		return nil
	}
	items, ok := object["items"].([]any)
	if !ok || !strings.HasSuffix(kind, "List") {
		return []objectAt{{content: object}}
	}
	var out []objectAt
	for i, item := range items {
		if content, ok := itemOf(object, item).(map[string]any); ok {
			out = append(out, objectAt{[]any{"items", i}, content})
		}
	}
	return out
}

// itemOf completes an item of a typed list, which may leave out what the list says
// of all of them.
func itemOf(list map[string]any, item any) any {
	content, ok := item.(map[string]any)
	kind, isList := strings.CutSuffix(fmt.Sprint(list["kind"]), "List")
	if !ok || !isList || kind == "" || content["kind"] != nil || content["apiVersion"] != nil {
		return item
	}
	content = maps.Clone(content)
	content["apiVersion"], content["kind"] = list["apiVersion"], kind
	return content
}

func fieldNames(paths [][]any) []string {
	names := make([]string, len(paths))
	for i, at := range paths {
		names[i] = fieldName(at)
	}
	return names
}

// firstOf names the first few fields.
func firstOf(fields []string) string {
	if len(fields) <= 3 {
		return strings.Join(fields, ", ")
	}
	return fmt.Sprintf("%s and %d more fields", strings.Join(fields[:3], ", "), len(fields)-3)
}
