package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// LayerType is the media type of the bundle: the one that OPA looks for.
	LayerType = string(types.OCILayer)
	// ConfigType is the media type of the configuration, which is empty. It tells an
	// artifact of ours from an image.
	ConfigType = "application/vnd.cncf.openpolicyagent.config.v1+json"
	// ManifestType is the media type of the artifact.
	ManifestType = string(types.OCIManifestSchema1)
)

const (
	titleAnnotation    = "org.opencontainers.image.title"
	revisionAnnotation = "org.opencontainers.image.revision"
	// unpackAnnotation has oras, and so conftest, unpack the layer where it is pulled to.
	unpackAnnotation = "io.deis.oras.content.unpack"
)

// ErrNotBundle is wrapped by errors about artifacts that are something else.
var ErrNotBundle = errors.New("not a policy bundle")

// A notBundle says what it is in the place of one.
type notBundle string

func (e notBundle) Error() string { return string(e) }
func (e notBundle) Unwrap() error { return ErrNotBundle }

func notBundlef(format string, args ...any) error { return notBundle(fmt.Sprintf(format, args...)) }

var emptyConfig = []byte("{}")

// layout is the manifest of a bundle. The same bundle has the same one.
func layout(raw []byte, revision string) ([]byte, error) {
	layer, err := descriptor(raw, LayerType)
	if err != nil {
		return nil, err
	}
	layer.Annotations = map[string]string{titleAnnotation: ".", unpackAnnotation: "true"}
	config, err := descriptor(emptyConfig, ConfigType)
	if err != nil {
		return nil, err
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{layer}}
	if revision != "" {
		m.Annotations = map[string]string{revisionAnnotation: revision}
	}
	return json.Marshal(m)
}

func descriptor(raw []byte, mediaType string) (v1.Descriptor, error) {
	hash, size, err := v1.SHA256(bytes.NewReader(raw))
	return v1.Descriptor{MediaType: types.MediaType(mediaType), Digest: hash, Size: size}, err
}

// imageConfigs are the types that images share with artifacts of other tools.
var imageConfigs = []types.MediaType{types.OCIConfigJSON, types.DockerConfigJSON}

// parse takes a manifest apart: the descriptors of the layer and, if it has to be
// looked at, of the configuration.
func parse(raw []byte, mediaType string) (layer v1.Descriptor, config *v1.Descriptor, err error) {
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return layer, nil, notBundlef("its manifest cannot be parsed")
	}
	if m.MediaType != "" {
		mediaType = string(m.MediaType)
	}
	if types.MediaType(mediaType).IsIndex() {
		return layer, nil, notBundlef("it is an index of several images: push the bundle on its own")
	}
	for _, l := range m.Layers {
		if l.MediaType == "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego" {
			return layer, nil, notBundlef("it was pushed by conftest, as single files: build a bundle of the policies and push that")
		}
	}
	if len(m.Layers) != 1 {
		return layer, nil, notBundlef("it has %d layers, and a bundle has one", len(m.Layers))
	}
	if layer = m.Layers[0]; string(layer.MediaType) != LayerType {
		return layer, nil, notBundlef("its layer is of the type %.100q, not %s", layer.MediaType, LayerType)
	}
	if slices.Contains(imageConfigs, m.Config.MediaType) {
		return layer, &m.Config, nil
	}
	return layer, nil, nil
}

// maxConfigBytes bounds the configuration of an artifact.
const maxConfigBytes = 64 << 10

// checkConfig tells an image by its configuration.
func checkConfig(raw []byte) error {
	var config struct {
		RootFS json.RawMessage `json:"rootfs"`
		OS     json.RawMessage `json:"os"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return notBundlef("its configuration cannot be parsed")
	}
	if config.RootFS != nil || config.OS != nil {
		return notBundlef("it is a container image")
	}
	return nil
}
