//go:build unix

package source

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes an advisory lock on a file that ends with the process, and
// reports whether it was free.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	return err == nil, err
}
