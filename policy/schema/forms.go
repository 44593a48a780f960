package schema

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A form is what a text must be. Its errors quote nothing of the text.
type form func(string) error

// base64Text is what encoding/json decodes into bytes.
func base64Text(s string) error {
	if _, err := base64.StdEncoding.DecodeString(s); err != nil {
		return errors.New("must be base64")
	}
	return nil
}

func timestamp(s string) error {
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		return errors.New("must be a time as in 2006-01-02T15:04:05Z (RFC 3339)")
	}
	return nil
}

func microTimestamp(s string) error {
	if _, err := time.Parse(metav1.RFC3339Micro, s); err != nil {
		return errors.New("must be a time as in 2006-01-02T15:04:05.000000Z (RFC 3339)")
	}
	return nil
}

func duration(s string) error {
	if _, err := time.ParseDuration(s); err != nil {
		return errors.New("must be a duration as in 1h30m")
	}
	return nil
}

// checkInteger reports whether v is an integer, and if it is why it is no good.
// YAML's 1.0 is one, for JSON does not tell it from 1.
func checkInteger(v any, narrow bool) (ok bool, why string) {
	var i int64
	switch v := v.(type) {
	case int64:
		i = v
	case int:
		i = int64(v)
	case float64:
		if v != math.Trunc(v) {
			return false, ""
		}
		if v >= math.MaxInt64 || v < math.MinInt64 {
			return true, "must be a 64-bit integer"
		}
		i = int64(v)
	default:
		return false, ""
	}
	if narrow && (i > math.MaxInt32 || i < math.MinInt32) {
		return true, "must be a 32-bit integer"
	}
	return true, ""
}

func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// maxQuantity bounds the length of a quantity, in bytes.
const maxQuantity = 64

// checkQuantity reports whether v is a text or a number, and if it is why it is no
// quantity.
func checkQuantity(v any) (ok bool, why string) {
	s, isText := v.(string)
	if !isText {
		f, isNumber := asFloat(v)
		if !isNumber {
			return false, ""
		}
		s = strconv.FormatFloat(f, 'g', -1, 64)
	}
	if len(s) > maxQuantity {
		return true, "must not be longer than " + strconv.Itoa(maxQuantity) + " bytes"
	}
	if _, err := resource.ParseQuantity(strings.TrimSpace(s)); err != nil {
		return true, err.Error()
	}
	return true, ""
}
