package main

import (
	"fmt"
	"math"
	"slices"
)

// A series holds the values of one quantity, round by round.
type series []float64

// median is the middle value; NaN of nothing.
func (s series) median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// per divides round by round: the machine was the same within a round.
func (s series) per(other series) series {
	out := make(series, min(len(s), len(other)))
	for i := range out {
		out[i] = s[i] / other[i]
	}
	return out
}

// format gives the median, and the range when there is one.
func (s series) format(unit string) string {
	if len(s) == 0 {
		return ""
	}
	text := number(s.median())
	if low, high := slices.Min(s), slices.Max(s); number(low) != number(high) {
		text += fmt.Sprintf(" (%s–%s)", number(low), number(high))
	}
	if unit != "" {
		text += " " + unit
	}
	return text
}

// number prints three significant digits, and counts as they are.
func number(v float64) string {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return "–"
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e9 {
		return fmt.Sprintf("%.0f", v)
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return fmt.Sprintf("%.*f", min(max(decimals, 0), 4), v)
}
