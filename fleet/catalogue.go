package fleet

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Catalogue is the list of etcd releases that may be installed.
type Catalogue struct {
	Releases []Release `yaml:"releases"`
}

// Release is one version of etcd, with a build for each platform.
type Release struct {
	Version   string              `yaml:"version"`
	Artifacts map[string]Artifact `yaml:"artifacts"` // by GOOS/GOARCH
}

// Artifact is a tar.gz laid out as etcd's official releases are.
type Artifact struct {
	URL    string `yaml:"url"`
	SHA256 string `yaml:"sha256"`
}

// ParseCatalogue reads a catalogue; source names it in errors.
func ParseCatalogue(data []byte, source string) (Catalogue, error) {
	var c Catalogue
	if err := yaml.Unmarshal(data, &c); err != nil {
		return c, Errorf(Invalid, "release catalogue "+source, "is not YAML of its form: %w", err)
	}
	for _, r := range c.Releases {
		if Minor(r.Version) == "" {
			return c, Errorf(Invalid, "release catalogue "+source, "%q is not a version such as 3.7.3", r.Version)
		}
		for platform, a := range r.Artifacts {
			if a.URL == "" || len(a.SHA256) != 64 {
				return c, Errorf(Invalid, "release catalogue "+source, "%s for %s needs a url and a sha256 of 64 hex digits", r.Version, platform)
			}
		}
	}
	return c, nil
}

// Versions are the versions in the catalogue, oldest first.
func (c Catalogue) Versions() []string {
	versions := make([]string, len(c.Releases))
	for i, r := range c.Releases {
		versions[i] = r.Version
	}
	slices.SortFunc(versions, CompareVersions)
	return versions
}

// Find gives the build of a version for a platform.
func (c Catalogue) Find(version, platform string) (Artifact, error) {
	for _, r := range c.Releases {
		if r.Version != version {
			continue
		}
		if a, ok := r.Artifacts[platform]; ok {
			return a, nil
		}
		return Artifact{}, Errorf(Invalid, "etcd "+version, "the catalogue has no build for %s", platform).
			WithRemedy("add one to the worker's release catalogue")
	}
	return Artifact{}, c.unknown(version)
}

// Has says that the catalogue has this version, for whichever platform.
func (c Catalogue) Has(version string) bool {
	return slices.Contains(c.Versions(), version)
}

func (c Catalogue) unknown(version string) *Error {
	return Errorf(Invalid, "etcd "+version, "is not in the catalogue (%s)", strings.Join(c.Versions(), ", ")).
		WithRemedy("add it to the worker's release catalogue")
}
