package aws

import (
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// thing is a resource, taken apart: what a scope names, or what a target's file lists.
type thing struct {
	resource broker.Resource // as written
	service  service
	bucket   string // S3
	name     string // S3: the key; without the star
	prefix   bool
}

// keyPattern is what an S3 key may be made of here. IAM reads *, ?, and ${…} in a resource, and a session policy takes
// no more than ASCII; blanks and quotes would be hard to see on an approval page.
var keyPattern = regexp.MustCompile(`^[!#%&'()+,./0-9:;<=>@A-Z\[\]^_a-z|~-]*$`)

var bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// parseThing reads service/name. Its errors say what is wrong, as the end of a sentence that begins with the resource.
func parseThing(resource broker.Resource) (thing, string) {
	kind, name, found := strings.Cut(resource.Stem(), "/")
	s, known := services[kind]
	if !found || !known {
		return thing{}, "is not service/name, like s3/BUCKET/* or sqs/QUEUE: the services are " + serviceNames()
	}
	t := thing{resource: resource, service: s, name: name, prefix: resource.IsPrefix()}
	if s.name == s3Name {
		return t.asObject()
	}
	// A name that ends in a star need not be complete; nothing but its length and characters can be said.
	if !s.pattern.MatchString(name) && (!t.prefix || name != "") {
		return thing{}, "is no name that " + kind + " gives"
	}
	return t, ""
}

// asObject splits bucket and key. A bucket is never a prefix: each must be asked whether it is versioned.
func (t thing) asObject() (thing, string) {
	bucket, key, found := strings.Cut(t.name, "/")
	t.bucket, t.name = bucket, key
	switch {
	case !bucketPattern.MatchString(bucket) || !found:
		return thing{}, "is not s3/BUCKET/KEY, or s3/BUCKET/PREFIX*: the bucket is named whole"
	case key == "" && !t.prefix:
		return thing{}, "names no key: expected s3/BUCKET/KEY, or s3/BUCKET/*"
	case !keyPattern.MatchString(key):
		return thing{}, "has a character that a session policy cannot hold, or that a reader could overlook"
	case strings.HasPrefix(key, "/") || strings.Contains(key, "//") || hasDotSegment(key, t.prefix):
		return thing{}, "has an empty part, or one that is . or .., which some servers read as another key"
	}
	return t, ""
}

// hasDotSegment: of a prefix the last part may still grow.
func hasDotSegment(key string, prefix bool) bool {
	parts := strings.Split(key, "/")
	if prefix {
		parts = parts[:len(parts)-1]
	}
	return slices.Contains(parts, ".") || slices.Contains(parts, "..")
}

// pattern is the name as IAM matches it.
func (t thing) pattern() string {
	if t.prefix {
		return t.name + "*"
	}
	return t.name
}

// place is what a write is looked up for: a bucket, a table.
func (t thing) place() string {
	if t.service.name == s3Name {
		return "s3/" + t.bucket
	}
	return string(t.resource)
}
