package gate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
)

// secrets refuses plaintext and decrypts the rest. It returns the objects as the
// cluster is to see them.
func (a *admission) secrets(ctx context.Context) ([]Object, bool) {
	a.begin(verdict.StageSecret)
	plain, findings := a.gate.decrypt(ctx, a.objects)
	return plain, a.end(findings...)
}

// Reopen decrypts those objects of an applied release that want selects, for
// putting them right when they drifted. The others are left out.
func (g *Gate) Reopen(ctx context.Context, a *Applied, want func(Object) bool) ([]Object, []verdict.Finding) {
	var selected []Object
	for _, o := range a.declared {
		if want(o) {
			selected = append(selected, o)
		}
	}
	return g.decrypt(ctx, selected)
}

func (g *Gate) decrypt(ctx context.Context, objects []Object) ([]Object, []verdict.Finding) {
	plain := slices.Clone(objects)
	opened := map[string]openedFile{}
	defer func() {
		for _, f := range opened {
			if f.secret != nil {
				f.secret.Close()
			}
		}
	}()
	var findings []verdict.Finding
	for i, o := range plain {
		if fs := o.hidden(); len(fs) > 0 {
			findings = append(findings, fs...)
			continue
		}
		if o.Source.Encrypted == nil {
			if isSecret(o.Unstructured) {
				findings = append(findings, g.plaintext(o)...)
				plain[i].Unstructured = foldStringData(o.Unstructured)
			}
			continue
		}
		f, ok := opened[o.Source.File]
		if !ok {
			f.secret, f.err = g.cfg.Secrets.Open(ctx, o.Source.File, o.Source.Encrypted)
			opened[o.Source.File] = f
		}
		decrypted, err := f.apply(o)
		if err != nil {
			findings = append(findings, o.finding(secretFinding(err)))
			continue
		}
		plain[i].Unstructured = foldStringData(decrypted)
		plain[i].Source.Encrypted = nil
	}
	return plain, findings
}

func (g *Gate) plaintext(o Object) []verdict.Finding {
	leaves := g.cfg.Secrets.PlaintextLeaves(o.Object)
	if len(leaves) == 0 {
		return nil
	}
	return []verdict.Finding{o.finding(verdict.Finding{
		Stage: verdict.StageSecret, Reason: verdict.PlaintextSecret, Severity: verdict.Deny, Field: leaves[0],
		Message: fmt.Sprintf("the Secret holds plaintext in %s: encrypt the file with sops, and rotate the secret, for it is in Git's history now", summary(leaves)),
	})}
}

func summary(fields []string) string {
	if len(fields) <= 3 {
		return strings.Join(fields, ", ")
	}
	return fmt.Sprintf("%s and %d more fields", strings.Join(fields[:3], ", "), len(fields)-3)
}

// An openedFile is a decrypted file or why there is none.
type openedFile struct {
	secret OpenedSecret
	err    error
}

func (f openedFile) apply(o Object) (*unstructured.Unstructured, error) {
	if f.err != nil {
		return nil, f.err
	}
	content, err := f.secret.Apply(o.Source.Document, o.Object)
	if err != nil {
		return nil, err
	}
	return unstructuredOf(content), nil
}

// ciphertextPrefix starts every value that SOPS encrypted.
const ciphertextPrefix = "ENC[AES256_GCM,"

// hidden refuses ciphertext that would come from under the mask after everybody
// has judged the mask: a hostPID, an image or an annotation that rules cannot see.
// Only the values of a Secret may be encrypted, and only those of the file that
// says with which key.
func (o Object) hidden() []verdict.Finding {
	metadata, _ := o.Object["sops"].(map[string]any)
	if o.Source.Encrypted == nil && metadata == nil && !isSecret(o.Unstructured) {
		return nil // its ciphertext, if any, is applied as it is and masked for nobody
	}
	var open, stray []string
	walkStrings(o.Object, nil, func(path []any, s string) {
		switch top := path[0]; {
		case !strings.Contains(s, ciphertextPrefix):
		case top == "sops" && metadata != nil: // never applied
		case !isSecret(o.Unstructured) || top != "data" && top != "stringData":
			stray = append(stray, fieldPath(path))
		case o.Source.Encrypted == nil:
			open = append(open, fieldPath(path))
		}
	})
	f := verdict.Finding{Stage: verdict.StageSecret, Severity: verdict.Deny}
	switch {
	case len(stray) > 0:
		f.Reason, f.Field = verdict.SecretIntegrity, stray[0]
		f.Message = fmt.Sprintf("%s holds ciphertext, and only data and stringData of a Secret may: rules and image checks could not see what it becomes; set encrypted_regex to %q and encrypt again", summary(stray), "^(data|stringData)$")
	case len(open) > 0:
		f.Reason, f.Field = verdict.SecretUndecryptable, open[0]
		f.Message = fmt.Sprintf("%s holds ciphertext of another file, or its file has lost its sops metadata: write the Secret as a manifest and encrypt that with sops", summary(open))
	case metadata != nil && o.Source.Encrypted == nil:
		f.Reason, f.Field = verdict.SecretIntegrity, "sops"
		f.Message = "the sops metadata is not from the object's own file: do not patch it in"
	default:
		return nil
	}
	return []verdict.Finding{o.finding(f)}
}

func secretFinding(err error) verdict.Finding {
	f := verdict.Finding{
		Stage: verdict.StageSecret, Reason: verdict.SecretUndecryptable, Severity: verdict.Deny,
		Message: "the file cannot be decrypted", // an unknown error is not quoted: it may hold plaintext
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		f.Severity, f.Message = verdict.Undetermined, "the file was not decrypted in time"
	}
	var known *SecretError
	if errors.As(err, &known) {
		f.Reason, f.Field, f.Message = known.Reason, known.Field, known.Message
	}
	return f
}

func isSecret(u *unstructured.Unstructured) bool {
	gvk := u.GroupVersionKind()
	return gvk.Group == "" && gvk.Kind == "Secret"
}

// foldStringData moves stringData into data, as the API server does. Otherwise
// nobody would declare data.<key> and its removal would go unseen.
func foldStringData(u *unstructured.Unstructured) *unstructured.Unstructured {
	if !isSecret(u) {
		return u
	}
	folded, ok := u.Object["stringData"].(map[string]any)
	if !ok {
		return u
	}
	u = u.DeepCopy()
	data, ok := u.Object["data"].(map[string]any)
	if !ok {
		data = map[string]any{}
	}
	for k, v := range folded {
		s, ok := v.(string)
		if !ok {
			return u // left for the API server's schema to refuse
		}
		data[k] = base64.StdEncoding.EncodeToString([]byte(s))
	}
	u.Object["data"] = data
	delete(u.Object, "stringData")
	return u
}
