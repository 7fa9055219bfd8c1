package aws

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Settings is the body of an `aws:` target in an environment's file.
type Settings struct {
	Role      string   `yaml:"role"`       // ARN of the environment's one role; may be left out at an endpoint that knows no roles
	Region    string   `yaml:"region"`     // of the resources
	AccessKey string   `yaml:"access_key"` // a reference to the id of the broker's access key: env:STAGING_AWS_ACCESS_KEY_ID
	SecretKey string   `yaml:"secret_key"` // a reference to the key itself
	Resources []string `yaml:"resources"`  // what is this environment's: names, or prefixes that end in "*"
	Locks     []Lock   `yaml:"locks"`      // lock objects of Terraform backends that a write lease may remove
	Endpoint  string   `yaml:"endpoint"`   // https://host:port of a server that speaks S3 and STS and is not AWS
}

// role is an IAM role's ARN, taken apart.
type role struct {
	arn       string
	partition string // aws, aws-cn, aws-us-gov
	account   string
	name      string // without its path
}

var (
	rolePattern   = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):iam::([0-9]{12}):role/(?:[\w+=,.@/-]+/)?([\w+=,.@-]{1,64})$`)
	regionPattern = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	anyRegion     = regexp.MustCompile(`^[a-z0-9-]{1,64}$`) // of a server that is not AWS
)

// noRole is sent to a server without roles, because the protocol wants one.
const noRole = "arn:aws:iam::000000000000:role/none"

// check says what is wrong with the settings; its errors are CodeInvalid and name the field.
func (s Settings) check() error {
	switch {
	case s.Endpoint == "" && !rolePattern.MatchString(s.Role):
		return invalid("role", "must be the ARN of an IAM role, like arn:aws:iam::111122223333:role/hourkey-staging")
	case s.Endpoint != "" && s.Role != "" && !rolePattern.MatchString(s.Role):
		return invalid("role", "must be left out, or be an ARN like arn:aws:iam::111122223333:role/hourkey-staging")
	case s.Endpoint == "" && !regionPattern.MatchString(s.Region), !anyRegion.MatchString(s.Region):
		return invalid("region", "must be a region, like eu-central-1")
	case s.Endpoint == "" && partitionOf(s.Region) != parseRole(s.Role).partition:
		return invalid("region", "is of the partition "+partitionOf(s.Region)+", and the role is not")
	case len(s.Resources) == 0:
		return invalid("resources", `is missing: list what is this environment's, like ["s3/acme-staging-uploads/*"]`)
	case s.Endpoint != "" && !isSafeURL(s.Endpoint):
		return invalid("endpoint", "must be https://HOST or https://HOST:PORT, without a path; http is accepted on loopback alone")
	}
	for at, resource := range s.Resources {
		t, wrong := parseThing(broker.Resource(resource))
		if wrong != "" {
			return invalid("resources", fmt.Sprintf("names %.80q, which %s", resource, wrong))
		}
		if s.Endpoint != "" && t.service.name != s3Name {
			return invalid("resources", "names a service other than s3: the endpoint has S3 alone")
		}
		if slices.Contains(s.Resources[:at], resource) {
			return invalid("resources", "names "+resource+" twice")
		}
	}
	return s.checkLocks()
}

func (s Settings) checkLocks() error {
	for _, lock := range s.Locks {
		if lock.Object == "" || lock.Why == "" {
			return invalid("locks", "has an entry without object or why: reviewers are shown both")
		}
		of, wrong := parseLock(lock)
		if wrong != "" {
			return invalid("locks", "names "+lock.Object+", which "+wrong)
		}
		if !slices.ContainsFunc(s.Resources, func(r string) bool { return broker.Resource(r).Covers(of.resource) }) {
			return invalid("locks", "names "+lock.Object+", which is not among the resources")
		}
		if s.Endpoint != "" && of.service.name != s3Name {
			return invalid("locks", "names a table: the endpoint has S3 alone")
		}
	}
	return nil
}

// isSafeURL: nothing but loopback is spoken to without TLS, since the answer of STS is a secret.
func isSafeURL(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// canonical writes an endpoint in the one way that it is compared by: another spelling must not be another environment's.
func canonical(endpoint string) string {
	u, err := url.Parse(strings.ToLower(endpoint))
	if err != nil || endpoint == "" {
		return endpoint
	}
	port := u.Port()
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Scheme + "://" + u.Host
}

// partitionOf tells which of AWS's separate clouds a region is in.
func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// parseRole reads an ARN that check has seen.
func parseRole(arn string) role {
	if arn == "" {
		arn = noRole
	}
	match := rolePattern.FindStringSubmatch(arn)
	return role{arn: arn, partition: match[1], account: match[2], name: match[3]}
}

// suffix is the end of the hosts of a partition.
func (r role) suffix() string {
	if r.partition == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

func invalid(field, problem string) *broker.Error {
	return broker.Errorf(broker.CodeInvalid, "aws: %s %s", field, problem).WithField(field)
}
