package cluster

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// A port is a TCP port of 127.0.0.1 that is ours until released.
//
// The reservation is a socket that is bound but never listens, with
// SO_REUSEPORT set. The servers set that option too, so they may bind the same
// port; the kernel gives it to nobody else, neither to a listener that asks
// for any port nor to an outgoing connection. That leaves no moment in which
// another cluster could take it, also while a server restarts.
type port struct {
	number int
	fd     int
}

func reservePort() (*port, error) {
	syscall.ForkLock.RLock() // no child may be forked before CloseOnExec
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("reserving a port: %w", err)
	}
	n, err := bindLoopback(fd)
	if err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("reserving a port: %w", err)
	}
	return &port{number: n, fd: fd}, nil
}

func bindLoopback(fd int) (int, error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soReusePort, 1); err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	in4, ok := sa.(*syscall.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("bound to a %T", sa)
	}
	return in4.Port, nil
}

func (p *port) release() { _ = syscall.Close(p.fd) }

func (p *port) String() string { return strconv.Itoa(p.number) }

// host returns the address as host:port.
func (p *port) host() string { return net.JoinHostPort("127.0.0.1", p.String()) }

// url returns the https URL of the port.
func (p *port) url() string { return "https://" + p.host() }

// listening reports whether something accepts connections on the port.
func (p *port) listening(ctx context.Context) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", p.host())
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
