package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/test/testkit/cluster"
)

// auditLag is how long a request may take to enter the log after its answer.
const auditLag = 300 * time.Millisecond

// An auditLog reads the audit log of the API server as it grows.
type auditLog struct {
	path string

	mu     sync.Mutex
	offset int64
	events []cluster.AuditEvent
}

// between returns the requests that user sent from one moment to another.
// Watches are left out: they last, and cost nothing while nothing happens.
func (a *auditLog) between(ctx context.Context, user string, from, to time.Time) ([]cluster.AuditEvent, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(time.Until(to.Add(auditLag))):
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.read(); err != nil {
		return nil, err
	}
	var out []cluster.AuditEvent
	for _, e := range a.events {
		if e.User.Username == user && e.Stage == "ResponseComplete" && e.Verb != "watch" &&
			!e.Received.Before(from) && e.Received.Before(to) {
			out = append(out, e)
		}
	}
	return out, nil
}

// forget drops what was read so far, so that memory stays small.
func (a *auditLog) forget() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.read()
	a.events = nil
	return err
}

func (a *auditLog) read() error {
	f, err := os.Open(a.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(a.offset, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // the rest is being written
		}
		if err != nil {
			return err
		}
		a.offset += int64(len(line))
		var e cluster.AuditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		a.events = append(a.events, e)
	}
}

// A count is how many requests were sent, by what they cost a cluster.
type count struct {
	Total   int `json:"total"`   // all but watches
	Writes  int `json:"writes"`  // that change what is stored, apart from events and leases
	Status  int `json:"status"`  // those of Writes that go to a status
	DryRuns int `json:"dryRuns"` // writes that change nothing
	Lists   int `json:"lists"`
	Gets    int `json:"gets"`
	Events  int `json:"events"`
	Leases  int `json:"leases"`
	Other   int `json:"other"` // discovery, schemas, reviews
}

// reviews are kinds that are created but not stored.
var reviews = []string{
	"selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews", "localsubjectaccessreviews",
	"tokenreviews", "selfsubjectreviews",
}

func countRequests(events []cluster.AuditEvent) count {
	var c count
	for _, e := range events {
		c.Total++
		switch {
		case e.ObjectRef.Resource == "leases":
			c.Leases++
		case e.ObjectRef.Resource == "events":
			c.Events++
		case e.ObjectRef.Resource == "", slices.Contains(reviews, e.ObjectRef.Resource):
			c.Other++
		case e.Verb == "list":
			c.Lists++
		case e.Verb == "get":
			c.Gets++
		case strings.Contains(e.RequestURI, "dryRun=All"):
			c.DryRuns++
		default:
			c.Writes++
			if e.ObjectRef.Subresource == "status" {
				c.Status++
			}
		}
	}
	return c
}

// outside is the share of the time from one moment to another in which the API
// server was working on none of the requests.
func outside(events []cluster.AuditEvent, from, to time.Time) float64 {
	slices.SortFunc(events, func(a, b cluster.AuditEvent) int { return cmp.Compare(a.Received.UnixNano(), b.Received.UnixNano()) })
	var busy time.Duration
	end := from
	for _, e := range events {
		start, finish := e.Received, e.Finished
		if start.Before(end) {
			start = end
		}
		if finish.After(to) {
			finish = to
		}
		if finish.After(start) {
			busy += finish.Sub(start)
			end = finish
		}
	}
	return 1 - float64(busy)/float64(to.Sub(from))
}
