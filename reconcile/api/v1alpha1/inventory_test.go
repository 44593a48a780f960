package v1alpha1

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInventory(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		objects []InventoryEntry
		want    []InventoryEntry
	}{
		"Nothing": {reason: "A release may be empty, and the list is required.", want: []InventoryEntry{}},
		"One of a kind": {
			reason:  "Such an entry is that of Flux.",
			objects: []InventoryEntry{{ID: "shop_web_apps_Deployment", Version: "v1"}, {ID: "_shop__Namespace", Version: "v1"}},
			want:    []InventoryEntry{{ID: "_shop__Namespace", Version: "v1"}, {ID: "shop_web_apps_Deployment", Version: "v1"}},
		},
		"Several of a kind": {
			reason: "They share an entry, whatever lies between them.",
			objects: []InventoryEntry{
				{ID: "shop_api_apps_Deployment", Version: "v1"}, {ID: "shop_web__Service", Version: "v1"}, {ID: "shop_web_apps_Deployment", Version: "v1"},
			},
			want: []InventoryEntry{
				{ID: "shop__apps_Deployment", Version: "v1", Names: "api web"}, {ID: "shop_web__Service", Version: "v1"},
			},
		},
		"What makes a difference": {
			reason: "Namespaces, groups, kinds and versions are told apart.",
			objects: []InventoryEntry{
				{ID: "a_x__Service", Version: "v1"}, {ID: "b_x__Service", Version: "v1"}, {ID: "a_x_serving.example_Service", Version: "v1"},
				{ID: "a_x__Secret", Version: "v1"}, {ID: "a_y__Service", Version: "v2"},
			},
			want: []InventoryEntry{
				{ID: "a_x__Secret", Version: "v1"}, {ID: "a_x__Service", Version: "v1"}, {ID: "a_x_serving.example_Service", Version: "v1"},
				{ID: "a_y__Service", Version: "v2"}, {ID: "b_x__Service", Version: "v1"},
			},
		},
		"Names of RBAC": {
			reason: "They may have colons, underscores, spaces and percent signs in their encoding.",
			objects: []InventoryEntry{
				{ID: "_a system__b_rbac.authorization.k8s.io_ClusterRole", Version: "v1"},
				{ID: "_c%5Fd_e_rbac.authorization.k8s.io_ClusterRole", Version: "v1"},
				{ID: "_system__admin_rbac.authorization.k8s.io_ClusterRole", Version: "v1"},
			},
			want: []InventoryEntry{
				{ID: "__rbac.authorization.k8s.io_ClusterRole", Version: "v1", Names: "c%5Fd_e system__admin"},
				{ID: "_a system__b_rbac.authorization.k8s.io_ClusterRole", Version: "v1"},
			},
		},
		"What is none": {
			reason:  "An entry that nobody understands stays as it is: it must be seen, not lost.",
			objects: []InventoryEntry{{ID: "", Version: "v1"}, {ID: "shop__apps_Deployment", Version: "v1"}, {ID: "web_Deployment"}},
			want:    []InventoryEntry{{ID: "", Version: "v1"}, {ID: "shop__apps_Deployment", Version: "v1"}, {ID: "web_Deployment"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inv := NewInventory(tc.objects)
			if diff := cmp.Diff(tc.want, inv.Entries); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			if n := inv.Len(); n != len(tc.objects) {
				t.Errorf("%s\n%d objects are counted of %d", tc.reason, n, len(tc.objects))
			}
			if got, want := ids(slices.Collect(inv.Objects())), ids(tc.objects); !slices.Equal(got, want) {
				t.Errorf("%s\nback are %q of %q", tc.reason, got, want)
			}
		})
	}
}

func ids(entries []InventoryEntry) (out []string) {
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%s %s %s", e.ID, e.Version, e.Names))
	}
	slices.Sort(out)
	return out
}

// TestInventoryOfOthers is for a status that somebody else wrote.
func TestInventoryOfOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		entry  InventoryEntry
		want   []string
	}{
		"Names beside a name": {
			reason: "Two things that contradict each other name nothing.",
			entry:  InventoryEntry{ID: "shop_web_apps_Deployment", Version: "v1", Names: "api"}, want: []string{"shop web apps Deployment"},
		},
		"Names without a kind": {
			reason: "An ID has three underscores at least.",
			entry:  InventoryEntry{ID: "shop__Deployment", Version: "v1", Names: "api web"}, want: []string{"shop  Deployment", "shop  Deployment"},
		},
		"Two spaces": {
			reason: "An object without a name is for the reader to refuse.",
			entry:  InventoryEntry{ID: "shop__apps_Deployment", Version: "v1", Names: "a  b"},
			want:   []string{"shop_a_apps_Deployment", "shop__apps_Deployment", "shop_b_apps_Deployment"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inv := &Inventory{Entries: []InventoryEntry{tc.entry}}
			var got []string
			for e := range inv.Objects() {
				got = append(got, e.ID)
			}
			if !slices.Equal(got, tc.want) || inv.Len() != len(got) {
				t.Errorf("%s\nit names %q, counts %d; want %q", tc.reason, got, inv.Len(), tc.want)
			}
		})
	}
	var none *Inventory
	if none.Len() != 0 || len(slices.Collect(none.Objects())) != 0 {
		t.Error("no inventory lists objects")
	}
}
