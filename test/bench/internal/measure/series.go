package measure

import (
	"fmt"
	"math"
	"slices"
)

// A Series holds the values of one quantity, round by round.
type Series []float64

// Median is the middle value; NaN of nothing.
func (s Series) Median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// Per divides round by round: the machine was the same within a round.
func (s Series) Per(other Series) Series {
	out := make(Series, min(len(s), len(other)))
	for i := range out {
		out[i] = s[i] / other[i]
	}
	return out
}

// Format gives the median, and the range when there is one. It is empty of
// nothing.
func (s Series) Format(unit string) string {
	if len(s) == 0 {
		return ""
	}
	text := Number(s.Median())
	if low, high := Number(slices.Min(s)), Number(slices.Max(s)); low != high {
		text += fmt.Sprintf(" (%s–%s)", low, high)
	}
	if unit != "" {
		text += " " + unit
	}
	return text
}

// Number prints three significant digits, and counts as they are.
func Number(v float64) string {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return "–"
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e9 {
		return fmt.Sprintf("%.0f", v)
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return fmt.Sprintf("%.*f", min(max(decimals, 0), 4), v)
}
