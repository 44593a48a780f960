// Command prebuild builds the control plane that tests and the demo run, so
// that none of them has to. It prints the paths of the programs; progress goes
// to standard error.
//
//	go run ./test/testkit/cluster/prebuild
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"gitgate.dev/gitgate/test/testkit/cluster"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "prebuild:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bin, err := cluster.Binaries(ctx, os.Stderr)
	if err != nil {
		return err
	}
	for _, path := range []string{bin.Etcd, bin.APIServer, bin.ControllerManager, bin.Scheduler, bin.Kwok} {
		fmt.Println(path)
	}
	return nil
}
