package gate_test

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/verify/image"
)

// signedImage pushes an image that the site trusts.
func (s *site) signedImage(name string) registry.Image {
	s.t.Helper()
	img := s.images.MustPushImage(s.t, name)
	if err := s.images.SignTag(img, s.cosign); err != nil {
		s.t.Fatal(err)
	}
	return img
}

func pinned(img registry.Image) string { return img.Name + "@" + img.Digest }

// TestImages proves images of revisions that came before the one in force.
func TestImages(t *testing.T) {
	s := newSite(t)
	good, other, unsigned := s.signedImage("acme/app:1"), s.signedImage("acme/app:2"), s.images.MustPushImage(t, "acme/bad:1")
	first := s.push("one", map[string]string{"app/pod.yaml": pod("web", pinned(good))})
	mixed := s.push("two", map[string]string{"app/pod.yaml": pod("web", pinned(other)), "app/bad.yaml": pod("bad", pinned(unsigned))})
	broken := s.push("three", map[string]string{"app/broken.yaml": "{"})
	crd := s.push("four", map[string]string{"app/widget.yaml": "apiVersion: x.io/v1\nkind: Widget\nmetadata: {name: w, namespace: shop}\nspec: {image: \"" + pinned(good) + "\"}\n"}, "app/broken.yaml")
	head := s.push("five", map[string]string{"app/pod.yaml": pod("web", pinned(other))}, "app/bad.yaml", "app/widget.yaml")
	side := s.repo.Commit(gitrepo.Change{Branch: "side", Parents: []plumbing.Hash{first}, Files: map[string]string{"app/pod.yaml": pod("web", pinned(good))}, Author: s.alice.Person(), Sign: s.alice})
	later := s.push("six", map[string]string{"app/pod.yaml": pod("web", pinned(good))})
	unsignedHead := s.repo.Commit(gitrepo.Change{Branch: "unsigned", Parents: []plumbing.Hash{head}, Files: map[string]string{"app/pod.yaml": pod("web", pinned(good))}})
	s.allowed(head)
	for name, tc := range map[string]struct {
		reason       string
		head, within plumbing.Hash
		want         []string
		left         []verdict.Reason
	}{
		"Earlier":    {"It was in force before.", first, head, []string{pinned(good)}, nil},
		"Same":       {"The head itself is no less verified.", head, head, []string{pinned(other)}, nil},
		"InPart":     {"Each image stands for itself.", mixed, head, []string{pinned(other)}, []verdict.Reason{verdict.ImageUnsigned}},
		"Unreadable": {"What does not render has none.", broken, head, nil, []verdict.Reason{verdict.InvalidManifest}},
		"Uncovered":  {"Where images may hide in an object, none of it counts.", crd, head, []string{pinned(other)}, []verdict.Reason{verdict.ImageUnsigned, verdict.UncoveredImage}},
		"Later":      {"Not the future.", later, head, nil, []verdict.Reason{verdict.NonFastForward}},
		"Side":       {"Signed, but never in this history.", side, head, nil, []verdict.Reason{verdict.NonFastForward}},
		"Unknown":    {"There is no such commit.", plumbing.NewHash("1111111111111111111111111111111111111111"), head, nil, []verdict.Reason{verdict.NonFastForward}},
		"Root":       {"The root is verified, and has nothing at the path.", s.root, head, nil, []verdict.Reason{verdict.InvalidManifest}},
		"Unsigned":   {"A history that nobody verified vouches for nothing.", first, unsignedHead, nil, []verdict.Reason{verdict.UnsignedCommit}},
	} {
		t.Run(name, func(t *testing.T) {
			proven, left := s.gate.Images(t.Context(), gate.Earlier{Objects: s.repo.Objects(), Head: tc.head, Within: tc.within})
			var got []string
			for _, e := range proven {
				if !e.Valid() {
					t.Errorf("invalid evidence %v", e)
				}
				got = append(got, e.Pinned())
			}
			var reasons []verdict.Reason
			for _, f := range left {
				reasons = append(reasons, f.Reason)
			}
			slices.Sort(reasons)
			if !slices.Equal(got, tc.want) || !slices.Equal(slices.Compact(reasons), tc.left) {
				t.Errorf("%s\nproven %v, want %v; left out for %v, want %v\n%v", tc.reason, got, tc.want, reasons, tc.left, left)
			}
		})
	}
}

// Trust is what is in force now, and what is not known may be known later.
func TestImagesTrustOfNow(t *testing.T) {
	s := newSite(t)
	img := s.signedImage("acme/app:1")
	first := s.push("one", map[string]string{"app/pod.yaml": pod("web", pinned(img))})
	head := s.push("two", map[string]string{"app/pod.yaml": pod("web", pinned(img))})
	s.allowed(head)
	e := gate.Earlier{Objects: s.repo.Objects(), Head: first, Within: head}
	if proven, left := s.gate.Images(t.Context(), e); len(proven) != 1 || len(left) != 0 {
		t.Fatalf("proven %v, left out %v", proven, left)
	}
	key, err := registry.NewKey(registry.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	former := s.cosign
	s.cosign = key
	if proven, left := s.open().Images(t.Context(), e); len(proven) != 0 || len(left) != 1 || left[0].Severity != verdict.Deny {
		t.Errorf("the signer is trusted no more: proven %v, left out %v", proven, left)
	}
	s.cosign = former
	s.images.Close()
	if proven, left := s.open().Images(t.Context(), e); len(proven) != 0 || len(left) != 1 || left[0].Severity != verdict.Undetermined {
		t.Errorf("the registry is away: proven %v, left out %v", proven, left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if proven, left := s.gate.Images(ctx, e); len(proven) != 0 || len(left) == 0 || left[0].Severity != verdict.Undetermined {
		t.Errorf("nobody waits any more: proven %v, left out %v", proven, left)
	}
}

// A panic is no permission, and its text goes nowhere.
func TestImagesPanic(t *testing.T) {
	s := newSite(t)
	head := s.push("one", map[string]string{"app/map.yaml": configMap("a", "1")})
	commits, err := commit.NewVerifier(commit.Config{Signers: []commit.SignerConfig{{Name: "alice", OpenPGP: s.alice.Public()}}, Root: s.root.String()})
	if err != nil {
		t.Fatal(err)
	}
	images, err := image.NewVerifier(image.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Commits: commits, Renderer: panicking{}, Images: images, Policies: evaluator{}, Secrets: s.secrets, Cluster: s.cluster})
	if err != nil {
		t.Fatal(err)
	}
	proven, left := g.Images(t.Context(), gate.Earlier{Objects: s.repo.Objects(), Head: head, Within: head})
	if len(proven) != 0 || len(left) != 1 || left[0].Reason != verdict.Internal || left[0].Severity != verdict.Undetermined || strings.Contains(left[0].Message, "hunter2") {
		t.Errorf("proven %v, left out %v", proven, left)
	}
}

type panicking struct{ renderer }

func (panicking) Render(context.Context, fs.FS) ([]gate.Object, []verdict.Finding) { panic("hunter2") }
