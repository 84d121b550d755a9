package fleet

import "strings"

// Place is one region of one provider.
type Place struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
}

// Place is where the cluster is to be.
func (s Spec) Place() Place { return Place{s.Provider, s.Region} }

// Places are all places where the cluster is to be, its home first.
func (s Spec) Places() []Place {
	if s.StandbyElsewhere() {
		return []Place{s.Place(), s.StandbyPlace()}
	}
	return []Place{s.Place()}
}

// String gives "aws/eu-central-1".
func (p Place) String() string { return p.Provider + "/" + p.Region }

// Qualify gives the name of a host, a disk or a zone of this place as other places
// know it: "aws/eu-central-1/i-0f2a". An empty name stays empty.
func (p Place) Qualify(name string) string {
	if name == "" {
		return ""
	}
	return p.String() + "/" + name
}

// SplitPlace takes a qualified name apart. It gives false, and the name as it is, for
// one that is not: nothing that a provider names has a slash in it.
func SplitPlace(name string) (Place, string, bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return Place{}, name, false
	}
	return Place{parts[0], parts[1]}, parts[2], true
}

// Unqualified gives the name by which its own place knows a host, a disk or a zone.
func Unqualified(name string) string {
	_, bare, _ := SplitPlace(name)
	return bare
}
