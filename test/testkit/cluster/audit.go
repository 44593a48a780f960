package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrNoAudit means that a cluster was started without an audit log.
var ErrNoAudit = errors.New("cluster: audit log is off")

// An AuditEvent is one answered request. It has the fields of audit.k8s.io/v1
// that tests ask for; more are in the file.
type AuditEvent struct {
	AuditID    string `json:"auditID"`
	Stage      string `json:"stage"`
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string   `json:"username"`
		Groups   []string `json:"groups"`
	} `json:"user"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code   int    `json:"code"`
		Reason string `json:"reason"`
	} `json:"responseStatus"`
	Annotations    map[string]string `json:"annotations"`
	RequestObject  json.RawMessage   `json:"requestObject"`
	ResponseObject json.RawMessage   `json:"responseObject"`
	Received       time.Time         `json:"requestReceivedTimestamp"`
	Finished       time.Time         `json:"stageTimestamp"`
}

// AuditLog returns the path of the audit log, one JSON event a line. The file
// exists only if Options asked for it.
func (c *Cluster) AuditLog() string { return filepath.Join(c.dir.path, "audit.log") }

// AuditEvents returns all events so far. A request may enter the log a moment
// after its client has the answer; a watch appears when it starts and once
// more when it ends.
func (c *Cluster) AuditEvents() ([]AuditEvent, error) {
	if c.opts.AuditPolicy == "" {
		return nil, ErrNoAudit
	}
	data, err := os.ReadFile(c.AuditLog())
	if err != nil {
		return nil, err
	}
	var events []AuditEvent
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // being written
		}
		var e AuditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("audit event %d: %w", len(events), err)
		}
		events = append(events, e)
	}
	return events, nil
}
