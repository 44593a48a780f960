package secrets

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
)

// Apply returns a copy of an object that was rendered from a document of the file,
// with each ciphertext replaced by its plaintext and the metadata of SOPS left
// out. The object itself is not changed; it may have been renamed, labelled or
// patched on the way. document is the 0-based index of the document in the file.
//
// A ciphertext counts only where SOPS put it: in that document and under the same
// keys. Any other gives [SecretIntegrity], a value of a Secret that was not
// encrypted gives [PlaintextSecret], and a value that no Secret can hold, as a
// number, or text under data that is not base64, gives [InvalidManifest].
func (o *Opened) Apply(document int, object map[string]any) (map[string]any, error) {
	if o.closed || o.file == nil {
		return nil, problem(SecretUndecryptable, "", "the decrypted file was closed already")
	}
	if document < 0 || document >= len(o.file.docs) {
		return nil, problem(InvalidManifest, o.file.path, "there is no document %d", document)
	}
	a := applier{opened: o, document: document}
	out := make(map[string]any, len(object))
	for _, k := range slices.Sorted(maps.Keys(object)) {
		if k == metadataKey && isMetadata(object[k]) {
			continue
		}
		v, err := a.replace(object[k], []any{k})
		if err != nil {
			return nil, err
		}
		out[k] = v
	}
	if isSecret(out) {
		if err := a.judge(object, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type applier struct {
	opened   *Opened
	document int
}

func (a applier) fail(r Reason, at []any, message string) *Error {
	e := problem(r, a.opened.file.path, "%s", message)
	e.Field, e.Line = fieldName(at), a.opened.file.lookup(a.document, at)
	return e
}

// replace copies a value with its ciphertexts replaced.
func (a applier) replace(v any, at []any) (any, error) {
	if len(at) > maxDepth {
		return nil, a.fail(InvalidManifest, at[:1], "is nested too deep")
	}
	switch v := v.(type) {
	case string:
		p, ok, err := a.plain(v, at)
		if err != nil || !ok {
			return v, err
		}
		if p.comment {
			return nil, a.fail(SecretIntegrity, at, "an encrypted comment stands in the place of a value; restore the file as sops wrote it")
		}
		if p.text != nil {
			return string(p.text), nil
		}
		return p.value, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			item, err := a.replace(v[k], push(at, k))
			if err != nil {
				return nil, err
			}
			m[k] = item
		}
		return m, nil
	case []any:
		return a.replaceItems(v, at)
	}
	return v, nil
}

// replaceItems drops encrypted comments: sops writes those of a list as items.
func (a applier) replaceItems(list []any, at []any) (any, error) {
	items := make([]any, 0, len(list))
	for i, item := range list {
		if s, ok := item.(string); ok {
			p, ok, err := a.plain(s, push(at, i))
			if err != nil {
				return nil, err
			}
			if ok && p.comment {
				continue
			}
		}
		item, err := a.replace(item, push(at, i))
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// plain looks a string up. It reports false for what is not ciphertext at all.
func (a applier) plain(s string, at []any) (plain, bool, error) {
	if !strings.HasPrefix(s, ciphertextPrefix) {
		return plain{}, false, nil
	}
	p, ok := a.opened.values[leaf{a.document, bound{s, additionalData(at)}}]
	if !ok {
		return plain{}, false, a.fail(SecretIntegrity, at, "this ciphertext is not from the same place in the file; a patch or replacement moved it, or the object comes from another file")
	}
	return p, true, nil
}

// judge looks at the values of a Secret, before and after decryption.
func (a applier) judge(before, after map[string]any) error {
	var open [][]any
	for _, field := range secretFields {
		open = appendPlaintext(open, before[field], []any{field}, 0)
	}
	if len(open) > 0 {
		return a.fail(PlaintextSecret, open[0], "this value of a Secret is not encrypted; encrypt it with sops rather than patch it in")
	}
	for _, field := range secretFields {
		if after[field] == nil {
			continue
		}
		values, ok := after[field].(map[string]any)
		if !ok {
			return a.fail(InvalidManifest, []any{field}, "is not a map of names to values")
		}
		for _, k := range slices.Sorted(maps.Keys(values)) {
			if values[k] == nil {
				continue
			}
			s, ok := values[k].(string)
			if !ok {
				return a.fail(InvalidManifest, []any{field, k}, "does not decrypt to a string; quote the value before encrypting it")
			}
			// The API server would quote the value when it refuses it.
			if _, err := base64.StdEncoding.DecodeString(s); field == "data" && err != nil {
				return a.fail(InvalidManifest, []any{field, k}, "does not decrypt to base64; put plain text under stringData")
			}
		}
	}
	return nil
}

// Verify reports what [Opened.Apply] would refuse in the documents of the file as
// they are, before anything renders them.
func (o *Opened) Verify() error {
	for i, doc := range o.file.docs {
		object, _ := value(doc).(map[string]any)
		if _, err := o.Apply(i, object); err != nil {
			return err
		}
	}
	return nil
}
