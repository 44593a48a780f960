package main

import (
	"encoding/json"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
)

func made(t *testing.T, seed uint64, w workload, n int) [][]byte {
	t.Helper()
	reviews, err := newGenerator(seed).reviews(w, n)
	if err != nil {
		t.Fatal(err)
	}
	return reviews
}

// Reviews are what the figures are about: their size, their kinds, and that none
// comes twice.
func TestReviews(t *testing.T) {
	for _, w := range []workload{everyNew, repeating} {
		t.Run(string(w), func(t *testing.T) {
			reviews := made(t, 1, w, 2000)
			size, pods, seen := 0, 0, map[string]bool{}
			for _, raw := range reviews {
				var review admissionv1.AdmissionReview
				if err := json.Unmarshal(raw, &review); err != nil {
					t.Fatal(err)
				}
				size += len(raw)
				if review.Request.Kind.Kind == "Pod" {
					pods++
				}
				if seen[string(review.Request.Object.Raw)] {
					t.Fatal("an object comes twice")
				}
				seen[string(review.Request.Object.Raw)] = true
			}
			if mean := size / len(reviews); mean < 9<<10 || mean > 12<<10 {
				t.Errorf("a review has %d bytes on average, want about 10 kB", mean)
			}
			if pods < 800 || pods > 1200 {
				t.Errorf("%d of 2000 are Pods, want about half", pods)
			}
			if again := made(t, 1, w, 2000); !slices.EqualFunc(reviews, again, slices.Equal) {
				t.Error("the same seed makes other reviews")
			}
			if other := made(t, 2, w, 2); string(other[0]) == string(reviews[0]) {
				t.Error("another seed makes the same reviews")
			}
		})
	}
}
