package secrets_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

func TestRulesCheck(t *testing.T) {
	a := secrets.Recipient{Type: secrets.TypeAge, ID: "age1aaa"}
	b := secrets.Recipient{Type: secrets.TypeAge, ID: "age1bbb"}
	p := secrets.Recipient{Type: secrets.TypePGP, ID: "FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4"}
	k := secrets.Recipient{Type: secrets.TypeKMS, ID: "arn:aws:kms:eu:1:key/x"}
	in := func(group int, r secrets.Recipient) secrets.Recipient { r.Group = group; return r }
	info := func(rs ...secrets.Recipient) secrets.Info {
		return secrets.Info{Encrypted: true, Recipients: rs, Threshold: 2}
	}
	for name, tc := range map[string]struct {
		reason string
		rules  string
		file   string
		info   secrets.Info
		want   []string // nil: no rule matches
	}{
		"Equal":        {"Order and form of the list do not count.", "- age: age1bbb, age1aaa\n", "x.yaml", info(a, b), []string{}},
		"Missing":      {"A new colleague.", "- age: [age1aaa, age1bbb]\n", "x.yaml", info(a), []string{"RecipientMissing age1bbb"}},
		"Stale":        {"A former colleague.", "- age: age1aaa\n", "x.yaml", info(a, b), []string{"RecipientStale age1bbb"}},
		"Replaced":     {"Both at once.", "- age: age1aaa\n", "x.yaml", info(b), []string{"RecipientMissing age1aaa", "RecipientStale age1bbb"}},
		"FirstMatch":   {"The first rule decides, as in sops.", "- path_regex: ^prod/\n  age: age1aaa\n- age: age1bbb\n", "prod/x.yaml", info(b), []string{"RecipientMissing age1aaa", "RecipientStale age1bbb"}},
		"SecondRule":   {"The first does not match.", "- path_regex: ^prod/\n  age: age1aaa\n- age: age1bbb\n", "dev/x.yaml", info(b), []string{}},
		"NoRule":       {"sops would not encrypt it.", "- path_regex: ^prod/\n  age: age1aaa\n", "dev/x.yaml", info(b), nil},
		"LongKeyID":    {"PGP keys go by many names.", "- pgp: 0x3d16 cee4 a273 81b4\n", "x.yaml", info(p), []string{}},
		"ShortKeyID":   {"Short IDs are forged in seconds.", "- pgp: A27381B4\n", "x.yaml", info(p), []string{"RecipientMissing A27381B4", "RecipientStale " + p.ID}},
		"TypesDiffer":  {"A name alone says nothing.", "- pgp: age1aaa\n", "x.yaml", info(a), []string{"RecipientMissing age1aaa", "RecipientStale age1aaa"}},
		"KMSRole":      {"The role is not the key.", "- kms: arn:aws:kms:eu:1:key/x+arn:aws:iam::1:role/r\n", "x.yaml", info(k), []string{}},
		"Services":     {"Key services are compared, not called.", "- key_groups:\n  - kms: [{arn: 'arn:aws:kms:eu:1:key/x'}]\n    hc_vault: ['https://v/v1/sops/keys/a']\n", "x.yaml", info(k), []string{"RecipientMissing https://v/v1/sops/keys/a"}},
		"AzureLatest":  {"sops resolves the version when it encrypts.", "- key_groups:\n  - azure_keyvault: [{vaultUrl: 'https://v', key: k}]\n", "x.yaml", info(secrets.Recipient{Type: secrets.TypeAzureKV, ID: "https://v/keys/k/1"}), []string{}},
		"AzureOther":   {"Another key of the same vault.", "- key_groups:\n  - azure_keyvault: [{vaultUrl: 'https://v', key: k}]\n", "x.yaml", info(secrets.Recipient{Type: secrets.TypeAzureKV, ID: "https://v/keys/kk/1"}), []string{"RecipientMissing https://v/keys/k/", "RecipientStale https://v/keys/kk/1"}},
		"Anchors":      {"People name recipients once.", "- age: [*alice]\n", "x.yaml", info(a), []string{}},
		"Groups":       {"Groups are compared one by one.", "- shamir_threshold: 2\n  key_groups:\n  - age: [age1aaa]\n  - age: [age1bbb]\n", "x.yaml", info(in(0, b), in(1, a)), []string{"RecipientMissing age1aaa", "RecipientStale age1bbb", "RecipientMissing age1bbb", "RecipientStale age1aaa"}},
		"GroupsMerged": {"One group that had been two.", "- age: age1aaa,age1bbb\n", "x.yaml", info(in(0, a), in(1, b)), []string{"RecipientStale has 2 key groups"}},
		"Threshold":    {"Fewer groups suffice than the rule wants.", "- shamir_threshold: 3\n  key_groups:\n  - age: [age1aaa]\n  - age: [age1bbb]\n", "x.yaml", info(in(0, a), in(1, b)), []string{"RecipientStale is opened by 2 key groups"}},
		"MergedGroup":  {"merge joins groups.", "- key_groups:\n  - merge: [{age: [age1aaa]}, {age: [age1aaa, age1bbb]}]\n", "x.yaml", info(a, b), []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := secrets.ParseRules(".sops.yaml", []byte("keys:\n- &alice age1aaa\ncreation_rules:\n"+tc.rules))
			if err != nil {
				t.Fatal(err)
			}
			matched, found := rules.Check(tc.file, tc.info)
			if matched != (tc.want != nil) {
				t.Fatalf("%s\nmatched = %t", tc.reason, matched)
			}
			if len(found) != len(tc.want) {
				t.Fatalf("%s\ngot %v, want %v", tc.reason, found, tc.want)
			}
			for i, want := range tc.want {
				reason, text, _ := strings.Cut(want, " ")
				if string(found[i].Reason) != reason || !strings.Contains(found[i].Message, text) || found[i].Path != tc.file {
					t.Errorf("%s\ngot %v, want %s", tc.reason, found[i], want)
				}
			}
		})
	}
}

func TestParseRulesRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ reason, raw, field string }{
		"Misspelt":    {"agee would require nobody.", "creation_rules:\n- agee: age1aaa\n  pgp: ABCD\n", "creation_rules[0]"},
		"InGroup":     {"The same within a group.", "creation_rules:\n- key_groups: [{aeg: [a], age: [b]}]\n", "creation_rules[0]"},
		"NoRecipient": {"The same by omission.", "creation_rules:\n- path_regex: x\n", "creation_rules[0]"},
		"EmptyGroup":  {"The same by group.", "creation_rules:\n- key_groups: [{age: [a]}, {}]\n", "creation_rules[0]"},
		"Regex":       {"Would match nothing.", "creation_rules:\n- path_regex: '('\n  age: a\n", "creation_rules[0].path_regex"},
		"NotAList":    {"No rules.", "creation_rules: x\n", ""},
		"RuleIsText":  {"No rule.", "creation_rules: [x]\n", "creation_rules[0]"},
		"Syntax":      {"No YAML.", "creation_rules: [", ""},
		"Duplicate":   {"Which one?", "creation_rules:\n- age: a\n  age: b\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := secrets.ParseRules("x/.sops.yaml", []byte(tc.raw))
			if e := wantError(t, err, secrets.InvalidManifest); e.Field != tc.field || e.Path != "x/.sops.yaml" {
				t.Errorf("%s\ngot %v, want field %q", tc.reason, err, tc.field)
			}
		})
	}
	for _, raw := range []string{"", "# nothing\n", "stores: {yaml: {indent: 2}}\n"} {
		rules, err := secrets.ParseRules(".sops.yaml", []byte(raw))
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if matched, _ := rules.Check("x.yaml", secrets.Info{}); matched {
			t.Errorf("%q matches a file", raw)
		}
	}
}

func TestFindRules(t *testing.T) {
	x, y := newAge(t), newAge(t)
	file := func(raw []byte) *fstest.MapFile { return &fstest.MapFile{Data: raw} }
	fsys := fstest.MapFS{
		".sops.yaml":           file(sopskit.Rules(x)),
		"apps/a/.sops.yaml":    file(sopskit.Rules(x, y, newPGP(t))),
		"broken/.sops.yaml":    file([]byte("creation_rules: [")),
		"directory/.sops.yaml": {Mode: 0o755 | 1<<31},
	}
	for file, want := range map[string]string{
		"s.yaml": ".sops.yaml", "apps/s.yaml": ".sops.yaml", "apps/a/b/s.yaml": "apps/a/.sops.yaml",
	} {
		rules, err := secrets.FindRules(fsys, file)
		if err != nil || rules.Path() != want {
			t.Errorf("FindRules(%s) = %v, %v; want %s", file, rules, err, want)
		}
	}
	for _, file := range []string{"broken/s.yaml", "directory/s.yaml"} {
		_, err := secrets.FindRules(fsys, file)
		wantError(t, err, secrets.InvalidManifest)
	}
	if rules, err := secrets.FindRules(fstest.MapFS{}, "a/b.yaml"); rules != nil || err != nil {
		t.Errorf("without a file: %v, %v", rules, err)
	}
	// path_regex is matched relative to the directory of the rules, as in sops.
	rules := must[*secrets.Rules](t)(secrets.ParseRules("apps/.sops.yaml", []byte("creation_rules: [{path_regex: '^a/', age: age1aaa}]")))
	for file, want := range map[string]bool{"apps/a/s.yaml": true, "apps/b/s.yaml": false} {
		if matched, _ := rules.Check(file, secrets.Info{}); matched != want {
			t.Errorf("Check(%s) matched = %t, want %t", file, matched, want)
		}
	}
}
