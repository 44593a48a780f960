package reconcile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/image"
)

// A BundleSource fetches bundles that are signed. Only the command knows what is in
// them.
type BundleSource interface {
	// Fetch returns the bundle that the source of a set names, or the one with another
	// reference, if somebody has signed it whose word counts there. Offline it asks no
	// registry: what was fetched before is verified again. The error is an
	// [*image.Error], or says that there is no bundle.
	Fetch(ctx context.Context, q BundleQuery) (*SignedBundle, error)
}

// A BundleQuery names a bundle.
type BundleQuery struct {
	Set *v1alpha1.PolicySet
	// Ref is where it is, without oci://.
	Ref string
	// Pull holds the credentials; nil for none.
	Pull *corev1.Secret
	// Dir is a directory that keeps bundles and signatures of this set.
	Dir     string
	Offline bool
}

// A SignedBundle is a bundle that was verified.
type SignedBundle struct {
	// Digest is that of the artifact: what was signed.
	Digest string
	// Tag is the one that was asked for; empty of a digest.
	Tag   string
	Bytes []byte
	// Version is the revision that the bundle says it has.
	Version string
}

func (b *SignedBundle) revision() string {
	if b.Tag == "" {
		return b.Digest
	}
	return b.Tag + "@" + b.Digest
}

func (b *SignedBundle) rules(url string) *RemoteRules {
	sum := sha256.Sum256(b.Bytes)
	return &RemoteRules{URL: url, Revision: b.revision(), Version: b.Version, Digest: "sha256:" + hex.EncodeToString(sum[:]), Bundle: b.Bytes}
}

// A bundleRecord says, beyond restarts, which bundle of a set is in force. It only says
// where to look: the bundle is verified again.
type bundleRecord struct {
	URL     string `json:"url"`
	Tag     string `json:"tag,omitempty"`
	Digest  string `json:"digest"`
	Version string `json:"version,omitempty"`
	// Earlier are digests that were in force before and were replaced, oldest first.
	Earlier []string `json:"earlier,omitempty"`
}

// maxEarlierBundles bounds what is remembered of bundles that were in force.
const maxEarlierBundles = 256

// bundleDir keeps what belongs to one set, whatever it is called.
func (s *RuleStore) bundleDir(set *v1alpha1.PolicySet) string {
	sum := sha256.Sum256([]byte(set.Name))
	return filepath.Join(s.Dir, hex.EncodeToString(sum[:16]))
}

func (s *RuleStore) recordFile(set *v1alpha1.PolicySet) string {
	return filepath.Join(s.bundleDir(set), "in-force.json")
}

// maxBundleRecord bounds the record.
const maxBundleRecord = 1 << 20

// readBundleRecord returns nil where nothing of this source was in force.
func (s *RuleStore) readBundleRecord(set *v1alpha1.PolicySet) (*bundleRecord, error) {
	info, err := os.Stat(s.recordFile(set))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxBundleRecord {
		err = errors.New("it is too large")
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(s.recordFile(set))
	}
	var r bundleRecord
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		// To take it for nothing would be to accept any former bundle.
		return nil, ruleErrorf(verdict.HashMismatch, "the record of what was in force cannot be read (%v): remove %s if that is accepted", err, s.recordFile(set))
	}
	if r.URL != set.Spec.Source.OCI.URL {
		return nil, nil // another source, which this one owes nothing
	}
	return &r, nil
}

// writeBundleRecord replaces the record as a whole.
func (s *RuleStore) writeBundleRecord(set *v1alpha1.PolicySet, r *bundleRecord) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.bundleDir(set), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.bundleDir(set), "record-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.recordFile(set)); err != nil {
		return err
	}
	tidyBundles(s.bundleDir(set))
	return nil
}

// keptBundleFiles is how many files of bundles stay beside a record: a few versions, of
// three files each.
const keptBundleFiles = 24

// tidyBundles removes the files of bundles that were used least recently. What is in
// force was used just now. What cannot be removed stays.
func tidyBundles(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "sha256-*"))
	if err != nil || len(files) <= keptBundleFiles {
		return
	}
	used := func(file string) int64 {
		info, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(used(b), used(a)) })
	for _, file := range files[keptBundleFiles:] {
		_ = os.Remove(file)
	}
}

// query is what is asked for of a set.
func (s *RuleStore) query(set *v1alpha1.PolicySet) BundleQuery {
	return BundleQuery{Set: set, Ref: strings.TrimPrefix(set.Spec.Source.OCI.URL, "oci://"), Dir: s.bundleDir(set)}
}

// recallOCI verifies again the bundle that was in force, from disk.
func (s *RuleStore) recallOCI(ctx context.Context, set *v1alpha1.PolicySet) (*RemoteRules, error) {
	url := set.Spec.Source.OCI.URL
	record, err := s.readBundleRecord(set)
	if err != nil {
		return nil, err
	}
	if record == nil {
		return nil, ruleErrorf(verdict.RegistryUnavailable, "nothing was fetched from %s yet", url)
	}
	q := s.query(set)
	q.Ref, q.Offline = repositoryOf(q.Ref)+"@"+record.Digest, true
	b, err := s.Bundles.Fetch(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("%s was in force: %w", record.Digest, err)
	}
	b.Tag = record.Tag
	return b.rules(url), nil
}

// repositoryOf is a reference without tag and digest.
func repositoryOf(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	return ref
}

// fetchOCI asks the registry, and verifies what the tag names now.
func (s *RuleStore) fetchOCI(ctx context.Context, set *v1alpha1.PolicySet) (question, revision string, c func() (*candidate, error), err error) {
	q := s.query(set)
	if q.Pull, err = s.pullSecret(ctx, set); err != nil {
		return "", "", nil, err
	}
	b, err := s.Bundles.Fetch(ctx, q)
	var known *image.Error
	switch {
	case errors.As(err, &known) && known.Undetermined, err != nil && ctx.Err() != nil:
		return "", "", nil, err
	case err != nil:
		failure := err
		return "", q.Ref, func() (*candidate, error) { return nil, failure }, nil
	}
	return b.Digest, b.revision(), func() (*candidate, error) { return s.candidateBundle(set, b) }, nil
}

// pullSecret reads the credentials of a set; nil for none.
func (s *RuleStore) pullSecret(ctx context.Context, set *v1alpha1.PolicySet) (*corev1.Secret, error) {
	ref := set.Spec.Source.OCI.SecretRef
	if ref == nil {
		return nil, nil
	}
	var out corev1.Secret
	err := s.Direct.Get(ctx, types.NamespacedName{Namespace: s.SystemNamespace, Name: ref.Name}, &out)
	if err != nil && s.Lenient {
		return nil, nil
	}
	if err != nil {
		return nil, notFound(err, verdict.RegistryUnavailable, "spec.source.oci.secretRef: Secret %s/%s", s.SystemNamespace, ref.Name)
	}
	return &out, nil
}

// digestIn is the digest of a revision.
func digestIn(revision string) string {
	if i := strings.LastIndexByte(revision, '@'); i >= 0 {
		return revision[i+1:]
	}
	return revision
}

// candidateBundle refuses what takes back what was in force: a registry can move a tag
// to any bundle that was ever signed. Who means to go back pins the digest.
func (s *RuleStore) candidateBundle(set *v1alpha1.PolicySet, b *SignedBundle) (*candidate, error) {
	url := set.Spec.Source.OCI.URL
	record, err := s.readBundleRecord(set)
	if err != nil {
		return nil, err
	}
	if record == nil {
		record = &bundleRecord{URL: url, Version: toldVersion(set)}
	}
	if !strings.Contains(url, "@sha256:") {
		if slices.Contains(record.Earlier, b.Digest) {
			return nil, ruleErrorf(verdict.NonFastForward, "it was in force before and was replaced, and a tag must not lead back: push the old rules as a new version, or pin the digest in spec.source.oci.url")
		}
		if older(b.Version, record.Version) {
			return nil, ruleErrorf(verdict.NonFastForward, "its version %s is older than %s, which was in force: push a newer version, or pin the digest in spec.source.oci.url", b.Version, record.Version)
		}
	}
	next := &bundleRecord{URL: url, Tag: b.Tag, Digest: b.Digest, Version: b.Version, Earlier: record.Earlier}
	if record.Digest != "" && record.Digest != b.Digest {
		next.Earlier = append(slices.Clone(record.Earlier), record.Digest)
		next.Earlier = next.Earlier[max(0, len(next.Earlier)-maxEarlierBundles):]
	}
	return &candidate{b.rules(url), func() error { return s.writeBundleRecord(set, next) }}, nil
}

// toldVersion is what the status says was in force of this source. It only counts where
// our own record is lost, and then it can but refuse more.
func toldVersion(set *v1alpha1.PolicySet) string {
	if a := set.Status.Artifact; a != nil && a.URL == set.Spec.Source.RemoteURL() {
		return a.Version
	}
	return ""
}

// older reports whether one semantic version precedes another. Of other texts nobody
// can tell.
func older(a, b string) bool {
	a, b = "v"+strings.TrimPrefix(a, "v"), "v"+strings.TrimPrefix(b, "v")
	return semver.IsValid(a) && semver.IsValid(b) && semver.Compare(a, b) < 0
}
