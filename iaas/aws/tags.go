package aws

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// tagName is what the console shows as a resource's name.
const tagName = "Name"

// bought gives the tags of a new resource, always in the same order: a token is good
// for one request, to the letter.
func bought(kind types.ResourceType, name, token string, tags iaas.Tags) []types.TagSpecification {
	all := map[string]string{tagName: name, fleet.TagToken: token}
	maps.Copy(all, tags)
	return []types.TagSpecification{{ResourceType: kind, Tags: listed(all)}}
}

func listed(tags map[string]string) []types.Tag {
	var all []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return all
}

// unlisted gives tags without the name, and the name.
func unlisted(tags []types.Tag) (map[string]string, string) {
	all, name := map[string]string{}, ""
	for _, t := range tags {
		if aws.ToString(t.Key) == tagName {
			name = aws.ToString(t.Value)
			continue
		}
		all[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return all, name
}

// filtersFor narrows a list by tags. Those of our own making are enough where none has
// a value: the rest of the account is not ours. Filters of the same name would not all
// have to match, so what has to is looked at again.
func filtersFor(tags iaas.Tags) []types.Filter {
	var filters []types.Filter
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if tags[key] != "" {
			filters = append(filters, filter("tag:"+key, literal(tags[key])))
		}
	}
	if len(filters) == 0 {
		filters = append(filters, filter("tag-key", fleet.TagToken))
	}
	return filters
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// literal keeps a value from being a pattern ("Using filtering": wildcards).
func literal(value string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`).Replace(value)
}

// tag adds tags to a resource.
func (p *Provider) tag(ctx context.Context, resource, id string, tags iaas.Tags) error {
	if _, ok := tags[""]; ok {
		return fleet.Errorf(fleet.Invalid, resource, "a tag needs a key")
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := p.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: listed(tags)})
	return translate(resource, err)
}
