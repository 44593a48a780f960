package main

import (
	"bytes"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/secrets"
)

// recorded is what the decision log of the webhook holds of objects: with
// --log-objects what rules see of them, and else nothing.
func (o *webhookOptions) recorded() func(*admissionv1.AdmissionRequest) (object, oldObject []byte) {
	if !o.logObjects {
		return nil
	}
	return recordedObjects
}

// recordedObjects leaves out what rules do not judge, and reviews of tokens, which
// hold the token.
func recordedObjects(req *admissionv1.AdmissionRequest) (object, oldObject []byte) {
	if req.Kind.Group == authenticationv1.GroupName || !judged(req) {
		return nil, nil
	}
	secret := req.Kind.Group == "" && req.Kind.Kind == "Secret"
	return withoutSecrets(req.Object.Raw, secret), withoutSecrets(req.OldObject.Raw, secret)
}

// ciphertext begins every value that SOPS encrypted.
var ciphertext = []byte("ENC[")

// withoutSecrets is an object without secret values, or nil where it cannot be read.
// What is no Secret and holds no ciphertext stays byte by byte as rules see it.
func withoutSecrets(raw []byte, secret bool) []byte {
	if raw == nil || !secret && !bytes.Contains(raw, []byte(`"sops"`)) && !bytes.Contains(raw, ciphertext) {
		return raw
	}
	var content map[string]any
	if err := utiljson.Unmarshal(raw, &content); err != nil || content == nil {
		return nil
	}
	masked, err := utiljson.Marshal(secrets.Masked(content))
	if err != nil {
		return nil
	}
	return masked
}
