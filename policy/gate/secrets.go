package gate

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"

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
		// Before anything is opened: what came from under the mask now would come
		// after everybody has judged the mask.
		if err := g.cfg.Secrets.Check(o); err != nil {
			findings = append(findings, o.finding(secretFinding(err)))
			continue
		}
		if o.Source.Encrypted == nil {
			plain[i].Unstructured = foldStringData(o.Unstructured)
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
		if known.Undetermined {
			f.Severity = verdict.Undetermined
		}
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
