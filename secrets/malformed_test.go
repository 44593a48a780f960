package secrets_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

// judge runs all that reads a file of unknown origin. It fails the test on an
// error of another type, on more than one line, and when it takes long.
func judge(t *testing.T, name string, raw []byte, keys *secrets.Keys) error {
	t.Helper()
	start := time.Now()
	known := func(err error) {
		var e *secrets.Error
		if err != nil && (!errors.As(err, &e) || e.Reason == "" || strings.ContainsAny(err.Error(), "\n\r")) {
			t.Errorf("got %T %q for:\n%s", err, err, raw)
		}
	}
	_, inspectErr := secrets.Inspect(name, raw)
	known(inspectErr)
	info, found := secrets.Check(name, raw)
	for _, e := range found {
		known(e)
	}
	opened, err := secrets.Open(t.Context(), name, raw, keys)
	known(err)
	if err == nil {
		// Where ciphertext stands in an object is not Open's business.
		found = slices.DeleteFunc(found, func(e *secrets.Error) bool {
			return strings.Contains(e.Message, "only data and stringData of a Secret")
		})
		if len(found) > 0 || !info.Encrypted {
			t.Errorf("Open accepts what Check refuses (%v):\n%s", found, raw)
		}
		defer opened.Close()
		for i, doc := range rendered(t, raw) {
			if object, err := opened.Apply(i, doc); err == nil {
				secrets.Masked(object)
				secrets.PlaintextLeaves(object)
			} else {
				known(err)
			}
		}
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s for %d bytes", took, len(raw))
	}
	return err
}

func TestAttack_O4_MalformedMetadata(t *testing.T) {
	x := newAge(t)
	keys := keysOf(t, x)
	good := string(encrypt(t, "s.yaml", secretYAML, sopskit.For(x)))
	body, meta, _ := strings.Cut(good, "sops:\n")
	mac := "    mac: " + cipherOf(t, []byte(good), "mac") + "\n    lastmodified: \"2026-01-02T03:04:05Z\"\n    version: 3.13.3\n"
	_, age, _ := strings.Cut(meta, "enc: |\n")
	age, _, _ = strings.Cut(age, "-----END AGE")
	recipients := func(kind, entry string) string {
		return body + "sops:\n    " + kind + ":\n        - " + entry + "\n" + mac
	}
	for name, tc := range map[string]struct{ reason, raw string }{
		"Null":            {"Metadata that is nothing.", body + "sops: null\n"},
		"List":            {"Metadata that is a list.", body + "sops: [mac, version]\n"},
		"Empty":           {"Metadata without a MAC.", body + "sops: {version: 3}\n"},
		"NoRecipients":    {"Nobody can read it.", body + "sops:\n" + mac},
		"ContextNull":     {"sops panics on a null in the context of a KMS key.", recipients("kms", `{arn: a, enc: b, created_at: "2026-01-02T03:04:05Z", context: {a: null}}`)},
		"RecipientIsText": {"Wrong types.", recipients("age", "age1aaa")},
		"RecipientIsList": {"Wrong types.", recipients("age", "[[[a]]]")},
		"RecipientIsNull": {"Wrong types.", recipients("age", "null")},
		"EncIsNumber":     {"Wrong types.", recipients("age", "{recipient: 1, enc: 2}")},
		"EncIsEmpty":      {"No data key.", recipients("age", "{recipient: age1aaa, enc: ''}")},
		"EncIsHuge":       {"A bound on work.", recipients("age", "{recipient: age1aaa, enc: '"+strings.Repeat("A", 1<<20)+"'}")},
		"ManyRecipients":  {"A bound on work.", recipients("age", strings.Repeat("{recipient: a, enc: b}\n        - ", 5000)+"{recipient: a, enc: b}")},
		"PGPGarbage":      {"No message.", recipients("pgp", `{fp: a, enc: "-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----", created_at: "2026-01-02T03:04:05Z"}`)},
		"HCKMSGarbage":    {"No key ID.", recipients("hckms", `{key_id: ":::", enc: b, created_at: "2026-01-02T03:04:05Z"}`)},
		"GroupsEmpty":     {"No group.", body + "sops:\n    key_groups: [{}, {}]\n    shamir_threshold: 2\n" + mac},
		"ThresholdZero":   {"No share needed.", body + "sops:\n    key_groups: [{age: [{recipient: a, enc: b}]}, {age: [{recipient: a, enc: b}]}]\n" + mac},
		"ThresholdHuge":   {"More than there are.", body + "sops:\n    key_groups: [{age: [{recipient: a, enc: b}]}, {age: [{recipient: a, enc: b}]}]\n    shamir_threshold: 99999999999\n" + mac},
		"CutArmor":        {"Half a data key.", strings.Replace(good, age, age[:len(age)/2], 1)},
		"TwoRules":        {"Rules exclude each other.", strings.Replace(good, "    encrypted_regex:", "    encrypted_suffix: x\n    encrypted_regex:", 1)},
		"ShortIV":         {"A nonce that AES-GCM cannot have.", strings.Replace(good, ",iv:", ",iv:AAAA,iv:", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			if err := judge(t, "s.yaml", []byte(tc.raw), keys); err == nil {
				t.Errorf("%s\nOpen accepted it:\n%s", tc.reason, tc.raw)
			}
		})
	}
}

// Limits must be what stops a file, not a later accident.
func TestAttack_O4_LimitsAreNamed(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(x))
	many := make([]sopskit.Recipient, 65)
	for i := range many {
		many[i] = x
	}
	for name, tc := range map[string]struct {
		raw  []byte
		want string
	}{
		"Recipients": {encrypt(t, "s.yaml", secretYAML, sopskit.For(many...)), "65 recipients, more than the limit of 64"},
		"NoMAC":      {dropLine(t, raw, "    mac:"), "the MAC is missing"},
		"BadMAC":     {setLine(t, raw, "    mac:", "    mac: none"), "the MAC is not a ciphertext"},
		"LongRegex":  {replace(t, raw, "^(data|stringData)$", "^(data|"+strings.Repeat("x", 300)+")$"), "is longer than 256 bytes"},
		"Values":     {replace(t, raw, "stringData:", "more: ["+strings.Repeat("{a: {a: {a: {a: {a: 1}}}}},", 16_000)+"]\nstringData:"), "holds more than 100000 values"},
		"Matches":    {replace(t, raw, "stringData:", "more: "+strings.Repeat("{a: ", 50)+"["+strings.Repeat("1,", 1_500)+"]"+strings.Repeat("}", 50)+"\nstringData:"), "too many values to match"},
		"Documents":  {[]byte(strings.Repeat("---\na: b\n", 1_001)), "more than 1000 documents"},
	} {
		t.Run(name, func(t *testing.T) {
			err := judge(t, "s.yaml", tc.raw, keysOf(t, x))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// mutate changes a file at random: bytes, lines, and pieces of other lines.
func mutate(r *rand.Rand, raw []byte) []byte {
	lines := strings.Split(string(raw), "\n")
	i, j := r.IntN(len(lines)), r.IntN(len(lines))
	switch r.IntN(6) {
	case 0:
		lines[i] = lines[j]
	case 1:
		lines[i], lines[j] = lines[j], lines[i]
	case 2:
		lines[i] = ""
	case 3:
		lines[i] += lines[j]
	case 4:
		if _, v, ok := strings.Cut(lines[j], ": "); ok {
			k, _, _ := strings.Cut(lines[i], ":")
			lines[i] = k + ": " + v
		}
	default:
		if l := lines[i]; l != "" {
			at := r.IntN(len(l))
			lines[i] = l[:at] + string(rune(r.IntN(128))) + l[at+1:]
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// seeds are encrypted files of all kinds.
func seeds(tb testing.TB) (files map[string][]byte, keys *secrets.Keys) {
	tb.Helper()
	check := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	x, err := sopskit.NewAge()
	check(err)
	p, err := sopskit.NewPGP("gitgate")
	check(err)
	private, err := p.PrivateKey()
	check(err)
	keys, err = secrets.NewKeys(map[string][]byte{"a.agekey": x.PrivateKey(), "b.asc": private})
	check(err)
	files = map[string][]byte{}
	for name, o := range map[string]sopskit.Options{
		"age.yaml": sopskit.For(x), "pgp.yaml": sopskit.For(p), "age.json": sopskit.For(x),
		"groups.yaml": {Groups: [][]sopskit.Recipient{{x}, {p}}},
		"whole.yaml":  {Recipients: []sopskit.Recipient{x}, WholeFile: true},
		"mac.yaml":    {Recipients: []sopskit.Recipient{x}, MACOnlyEncrypted: true},
	} {
		plain := secretYAML + "---\n# c\nkind: Thing\ndata: {list: [a, 1, {b: c}]}\n"
		if strings.HasSuffix(name, ".json") {
			plain = `{"kind": "Secret", "data": {"a": "aGVsbG8="}, "list": [1, [true, null]]}`
		}
		files[name], err = sopskit.Encrypt(name, []byte(plain), o)
		check(err)
	}
	return files, keys
}

func TestAttack_O4_MutatedFiles(t *testing.T) {
	files, keys := seeds(t)
	for name, raw := range files {
		r := rand.New(rand.NewPCG(1, uint64(len(name))))
		t.Run(name, func(t *testing.T) {
			for range 100 {
				mutated := mutate(r, raw)
				if r.IntN(2) == 0 {
					mutated = mutate(r, mutated)
				}
				if err := judge(t, name, mutated, keys); err != nil {
					noCanary(t, "error", fmt.Sprint(err))
				}
			}
		})
	}
}

// FuzzOpen asserts that no file brings Open down, that each is judged by a typed
// error, and that what opens is what Check lets pass.
func FuzzOpen(f *testing.F) {
	files, keys := seeds(f)
	for name, raw := range files {
		f.Add(strings.HasSuffix(name, ".json"), raw)
	}
	f.Add(false, []byte("sops: {mac: a, version: b, lastmodified: c}"))
	f.Fuzz(func(t *testing.T, json bool, raw []byte) {
		name := "s.yaml"
		if json {
			name = "s.json"
		}
		judge(t, name, raw, keys)
	})
}
