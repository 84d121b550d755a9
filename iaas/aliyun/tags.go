package aliyun

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

const (
	// tagName keeps a resource's name: ECS takes no name that begins with a digit.
	tagName = "flotilla:name"
	// maxTags is how many tags a call and a resource take ("Limits" of tags: 20).
	maxTags = 20
)

type pair struct{ key, value string }

// bought gives the tags of a new resource, always in the same order: a token is good
// for one request, to the letter.
func bought(resource, name, token string, tags iaas.Tags) ([]pair, error) {
	all := map[string]string{tagName: name, fleet.TagToken: token}
	maps.Copy(all, tags)
	return listed(resource, all)
}

// listed gives tags in the order of their keys. ECS takes 1 to 128 characters for a
// key and up to 128 for a value, and keeps some beginnings for itself (TagResources).
func listed(resource string, tags map[string]string) ([]pair, error) {
	if len(tags) > maxTags {
		return nil, fleet.Errorf(fleet.Invalid, resource, "it has %d tags, and Alibaba Cloud takes %d", len(tags), maxTags)
	}
	var all []pair
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		switch {
		case key == "":
			return nil, fleet.Errorf(fleet.Invalid, resource, "a tag needs a key")
		case len(key) > 128 || len(value) > 128:
			return nil, fleet.Errorf(fleet.Invalid, resource, "tag %q is longer than 128 characters", key)
		case strings.HasPrefix(key, "aliyun") || strings.HasPrefix(key, "acs:") || strings.Contains(key+value, "://"):
			return nil, fleet.Errorf(fleet.Invalid, resource, "tag %q is one that Alibaba Cloud takes from nobody", key)
		}
		all = append(all, pair{key, value})
	}
	return all, nil
}

// unlisted gives tags without the name, and the name.
func unlisted(tags []ecs.Tag, otherwise string) (map[string]string, string) {
	all, name := map[string]string{}, otherwise
	for _, t := range tags {
		if t.TagKey == tagName {
			name = t.TagValue
			continue
		}
		all[t.TagKey] = t.TagValue
	}
	return all, name
}

// filters narrow a list by tags that have a value, all of which must match. Those that
// have none are looked at in what comes.
func filters(tags iaas.Tags) []pair {
	var all []pair
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if tags[key] != "" && len(all) < maxTags {
			all = append(all, pair{key, tags[key]})
		}
	}
	return all
}

// ours says whether a resource belongs into a list: the rest of the account does not
// where no tag with a value tells.
func ours(have map[string]string, want iaas.Tags) bool {
	return (have[fleet.TagToken] != "" || len(filters(want)) > 0) && cloud.Matches(have, want)
}

// unnameable is what a name may not have (RunInstances, InstanceName: 2 to 128
// characters, a letter first, then also digits, colons, underscores, periods and hyphens).
var unnameable = regexp.MustCompile(`[^A-Za-z0-9:_.-]+`)

// shown is the name that the console shows.
func shown(name string) string {
	name = unnameable.ReplaceAllString(name, "-")
	if len(name) < 2 || !strings.ContainsAny(name[:1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		name = "flotilla-" + name
	}
	return name[:min(len(name), 128)]
}

// tag adds tags to a resource of a kind that TagResources knows: instance or disk.
func (p *Provider) tag(ctx context.Context, resource, kind, id string, tags iaas.Tags) error {
	all, err := listed(resource, tags)
	if err != nil {
		return err
	}
	in := ecs.CreateTagResourcesRequest()
	in.ResourceType, in.ResourceId = kind, &[]string{id}
	in.Tag = &[]ecs.TagResourcesTag{}
	for _, t := range all {
		*in.Tag = append(*in.Tag, ecs.TagResourcesTag{Key: t.key, Value: t.value})
	}
	_, err = call(ctx, p, resource, (*ecs.Client).TagResources, in)
	return err
}
