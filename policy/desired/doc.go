// Package desired says what an object in the cluster ought to be, and how what
// is there differs.
//
// G is the manifest as rendered. D is what the API server makes of G under a
// name that nobody has touched: G with every default, and with what admission
// adds. [Kind.Normalise] strips an object of what the server alone decides,
// [Mask.Diff] compares two normalised objects leaf by leaf in order, and the table of
// open leaves ([Kind.OpenLeaves]) says which leaves controllers may write. What
// differs from D and is not open is not what Git says.
//
// The reconciler uses it to find and undo drift: a [Mask] leaves an open leaf to
// whoever wrote it. The admission webhook uses it to refuse the writes that would
// cause drift: a [Guard] leaves it to its writer alone, and [Guard.Away] judges
// the step from what was to what would be. The package makes no request and
// holds no state.
package desired
