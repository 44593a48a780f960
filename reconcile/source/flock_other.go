//go:build !unix

package source

import (
	"errors"
	"os"
)

func tryLock(*os.File) (bool, error) {
	return false, errors.New("this system has no file locks that gitgate knows")
}
