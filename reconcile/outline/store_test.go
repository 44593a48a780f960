package outline

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sketched is an outline as tests need one.
func sketched(n int) *Outline {
	o := &Outline{dir: "app", moved: n == 2, files: map[string]file{}}
	for i := range n {
		name := "app/" + strconv.Itoa(i) + ".yaml"
		o.files[name] = file{keys: []string{"/ConfigMap/shop/a " + name, "apps/Deployment//b"}, images: []string{"registry.example.com/a:1"}, special: i == 1}
	}
	o.choose()
	return o
}

var compare = cmp.AllowUnexported(Outline{}, file{})

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "outlines")
	plain, sealed, other := Store{Dir: dir}, Store{Dir: dir, Key: []byte("k")}, Store{Dir: dir, Key: []byte("other")}
	o := sketched(3)
	for name, tc := range map[string]struct {
		reason     string
		save, load Store
		saved      Name
		want       *Outline
	}{
		"Plain":   {"What is kept comes back.", plain, plain, Name{1}, o},
		"Sealed":  {"With a key too.", sealed, sealed, Name{2}, o},
		"Other":   {"Another key is none.", sealed, other, Name{3}, nil},
		"NoKey":   {"Nobody is believed who lacks the key.", plain, sealed, Name{4}, nil},
		"Nowhere": {"The zero value keeps nothing.", Store{}, Store{}, Name{5}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tc.save.Save(tc.saved, o)
			if diff := cmp.Diff(tc.want, tc.load.Load(tc.saved), compare); diff != "" {
				t.Errorf("%s (-want +got)\n%s", tc.reason, diff)
			}
			if got := tc.load.Load(Name{9, tc.saved[0]}); got != nil {
				t.Errorf("an outline that was never saved: %v", got)
			}
		})
	}
	if err := os.Rename(plain.file(Name{1}), plain.file(Name{7})); err != nil {
		t.Fatal(err)
	}
	if plain.Load(Name{7}) != nil {
		t.Error("the outline of one tree was taken for that of another")
	}
}

func TestStoreForgets(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	for i := range maxOutlines + 10 {
		s.Save(Name{byte(i)}, sketched(2))
	}
	files, err := os.ReadDir(s.Dir)
	if err != nil || len(files) != maxOutlines {
		t.Errorf("%d files, want %d (%v)", len(files), maxOutlines, err)
	}
}

// FuzzDecode: whatever a file says, reading it ends, and what it says is what would
// be written.
func FuzzDecode(f *testing.F) {
	f.Add(string(sketched(3).encode()))
	f.Add(string(sketched(2).encode()))
	f.Add("dir app\nkey x\nfile \n")
	f.Add("file a\nimage b")
	f.Fuzz(func(t *testing.T, body string) {
		o := decode(body)
		if o == nil {
			return
		}
		if again := decode(string(o.encode())); !cmp.Equal(o, again, compare) {
			t.Errorf("%q: %s", body, cmp.Diff(o, again, compare))
		}
	})
}

// TestNameOf: whatever the content of an outline depends on is in its name.
func TestNameOf(t *testing.T) {
	names := map[Name]string{}
	for _, tc := range []struct {
		reason string
		tree   hashed
		dir    string
		rest   []string
	}{
		{"a tree", hashed{"app": "1"}, "app", nil},
		{"another tree", hashed{"app": "2"}, "app", nil},
		{"another directory", hashed{"app": "1", "lib": "1"}, "lib", nil},
		{"below another", hashed{"a/app": "1"}, "a/app", nil},
		{"attributes above", hashed{"a/app": "1", "a/.gitattributes": "x"}, "a/app", nil},
		{"attributes at the top", hashed{"a/app": "1", ".gitattributes": "x"}, "a/app", nil},
		{"something else", hashed{"app": "1"}, "app", []string{"x"}},
		{"divided in another way", hashed{"app": "1"}, "app", []string{"x", ""}},
	} {
		name, ok := NameOf(tc.tree, tc.dir, tc.rest...)
		if !ok {
			t.Errorf("%s has no name", tc.reason)
		}
		if before, twice := names[name]; twice {
			t.Errorf("%s has the name of %s", tc.reason, before)
		}
		names[name] = tc.reason
	}
	if _, ok := NameOf(hashed{}, "app"); ok {
		t.Error("a directory that is not there has a name")
	}
}

// hashed is a tree of which only the hashes count.
type hashed map[string]string

func (h hashed) TreeHash(dir string) string { return h[dir] }

func (h hashed) BlobHash(name string) (string, error) {
	if hash, ok := h[name]; ok {
		return hash, nil
	}
	return "", os.ErrNotExist
}
